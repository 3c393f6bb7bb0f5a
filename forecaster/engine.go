package forecaster

import (
	"fmt"
	"math"
	"time"
)

// Engine forecasts one series. It is not safe for use by two goroutines at once; different engines share nothing.
type Engine struct {
	opts    Options
	minutes float64 // the step
	median  int     // index of the quantile nearest to one half
	present uint64  // experts that the options leave in

	started bool
	bin     int64     // last bin observed, counted from 1970 in steps
	known   int64     // last bin with a measured value
	late    int       // observations in a row that came for bins already past
	lateAt  int64     // the last of them
	recent  []float64 // ring by bin: values, NaN where unknown
	bound   []bool    // ring by bin: the value is a lower bound
	level   levels
	seasons seasons
	horizon []*horizon
	hints   hints
	made    uint  // a bit per horizon: its now is the forecast for bin madeFor
	madeFor int64 // last complete bin
}

// New returns an engine without history. Every problem of the options is in the error.
func New(o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("forecaster options: %w", err)
	}
	o.Leads = append([]time.Duration(nil), o.Leads...)
	o.Quantiles = append([]float64(nil), o.Quantiles...)
	e := &Engine{opts: o, minutes: o.Step.Minutes(), seasons: newSeasons(o.Step), present: (1<<cells - 1) &^ absent(o.Without)}
	for j, q := range o.Quantiles {
		if math.Abs(q-0.5) < math.Abs(o.Quantiles[e.median]-0.5) {
			e.median = j
		}
	}
	longest := int(o.Leads[len(o.Leads)-1] / o.Step)
	e.recent, e.bound = make([]float64, longest+1), make([]bool, longest+1)
	e.blank()
	for _, l := range o.Leads {
		h := e.newHorizon(l)
		if o.Without&PooledPrior == 0 {
			h.believe(o.Prior, o.Quantiles)
		}
		e.horizon = append(e.horizon, h)
	}
	return e, nil
}

// Options are those that the engine was made with.
func (e *Engine) Options() Options { return e.opts }

// rebaseAfter late observations in a row, each after the one before, the clock is believed to have been set back.
const rebaseAfter = 5

// Observe takes what is known of the bin that starts at t (any moment inside the bin will do). Bins left out count as
// missing. It reports whether the observation was taken: one for a bin already past is not, so that repeats and late
// arrivals change nothing; but when they go on, the clock has been set back and the engine goes on from there.
func (e *Engine) Observe(t time.Time, o Observation) bool {
	o = o.sane()
	bin := e.binOf(t)
	if !e.started {
		e.started = true
		e.bin, e.known = bin-1, bin-1
	}
	if bin <= e.bin {
		if !e.setBack(bin) {
			return false
		}
		e.rebase(bin)
	}
	e.late = 0
	e.advance(bin)
	e.take(t, o)
	return true
}

// binOf counts bins from 1970; Validate allows steps of whole seconds only.
func (e *Engine) binOf(t time.Time) int64 { return floorDiv(t.Unix(), int64(e.opts.Step/time.Second)) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// setBack counts late observations and says when they mean a clock set back.
func (e *Engine) setBack(bin int64) bool {
	if e.late > 0 && bin <= e.lateAt {
		return false // a repeat of a repeat says nothing
	}
	e.late++
	e.lateAt = bin
	return e.late >= rebaseAfter
}

// rebase goes on as if bin were the next one: what was expected of the bins between is dropped, what was learned stays.
func (e *Engine) rebase(bin int64) {
	e.bin, e.known = bin-1, bin-1
	e.blank()
	for _, h := range e.horizon {
		h.forget()
	}
}

func (e *Engine) blank() {
	for i := range e.recent {
		e.recent[i], e.bound[i] = math.NaN(), false
	}
}

// advance marks the bins before bin as missing.
func (e *Engine) advance(bin int64) {
	gap := bin - e.bin - 1
	if gap >= int64(len(e.recent)) || gap < 0 {
		e.blank()
		for _, h := range e.horizon {
			h.forget()
		}
		e.bin = bin - 1
		return
	}
	for ; gap > 0; gap-- {
		e.bin++
		e.recent[e.ringAt(e.bin)], e.bound[e.ringAt(e.bin)] = math.NaN(), false
	}
}

func (e *Engine) ringAt(bin int64) int {
	n := int64(len(e.recent))
	return int((bin%n + n) % n)
}

// take puts o into the next bin, learns from the forecasts that it completes, and makes those to be learned from later.
func (e *Engine) take(t time.Time, o Observation) {
	e.bin++
	e.made, e.madeFor = 0, e.bin
	at := e.ringAt(e.bin)
	e.recent[at], e.bound[at] = math.NaN(), o.Kind == AtLeast
	if o.Kind != Missing {
		e.recent[at] = o.Value
	}
	for _, h := range e.horizon {
		h.resolve(e)
	}
	// A lower bound below the last value says nothing of where demand is now: it is an absence for the levels, and
	// counts only in labels.
	if o.Kind == Measured || o.Kind == AtLeast && (!e.level.started || o.Value >= e.level.last) {
		phase := e.seasons.phaseAt(t, e.opts.Zone)
		e.level.learn(o.Value, phase, &e.seasons, e.minutes)
		e.level.remember(o.Value, floorDiv(t.Unix(), 24*3600))
		e.known = e.bin
		for _, h := range e.horizon {
			h.observed(e, o.Value)
		}
	}
	if !e.level.started {
		return
	}
	from := e.end(e.bin)
	for i, h := range e.horizon {
		if e.bin%int64(h.stride) == 0 {
			h.forecast(e, from, 0)
			h.push()
			e.made |= 1 << i
		}
	}
}

// end is when a bin ends.
func (e *Engine) end(bin int64) time.Time {
	return time.Unix((bin+1)*int64(e.opts.Step/time.Second), 0)
}

// Forecast gives the quantiles of the maximum over each lead, starting at the end of the last bin that is complete at now.
// Bins that should have come since the last observation count as missing. It changes nothing that a later forecast or
// observation depends on.
func (e *Engine) Forecast(now time.Time) (Forecast, error) {
	if !e.level.started {
		return Forecast{}, ErrInsufficientHistory
	}
	// The last complete bin; a clock behind the data does not take data back.
	bin := max(e.binOf(now)-1, e.bin)
	from := e.end(bin)
	if e.madeFor != bin {
		e.made, e.madeFor = 0, bin
	}
	for i, h := range e.horizon {
		if e.made>>i&1 == 0 {
			h.forecast(e, from, bin-e.bin)
			e.made |= 1 << i
		}
	}
	f := Forecast{From: from, nLeads: len(e.opts.Leads), nQuantiles: len(e.opts.Quantiles)}
	if gap := bin - e.known; gap > int64(maxAge/e.opts.Step) {
		f.Age = maxAge
	} else {
		f.Age = time.Duration(gap) * e.opts.Step
	}
	copy(f.leads[:], e.opts.Leads)
	copy(f.quantiles[:], e.opts.Quantiles)
	most := e.level.peak7()
	for i, h := range e.horizon {
		f.record[i] = h.record.public(f.nQuantiles)
		row := &h.now.final
		if h.record.fallback {
			row = &h.now.ref
		}
		if demand, ok := e.hints.announced(from, from.Add(e.opts.Leads[i])); ok {
			most = max(most, demand)
		}
		for j := range f.nQuantiles {
			v := min(row[j], most*e.opts.MaxGrowth)
			if i > 0 {
				v = max(v, f.value[i-1][j]) // a longer window cannot have a smaller maximum
			}
			f.value[i][j] = v
		}
	}
	return f, nil
}

// maxAge is as old as a Forecast says its data is.
const maxAge = 365 * 24 * time.Hour

// Weight is an expert's share in one quantile of one lead's mixture.
type Weight struct {
	Expert string
	Share  []float64 // per quantile
}

// Weights are the experts' shares at the i-th declared lead, as of the last forecast.
func (e *Engine) Weights(i int) []Weight {
	h := e.horizon[i]
	out := make([]Weight, cells)
	nm := len(h.first)
	for c := range out {
		out[c] = Weight{Expert: cellNames[c], Share: make([]float64, len(e.opts.Quantiles))}
	}
	for j := range e.opts.Quantiles {
		all := 0.0
		for c := range out {
			if h.now.awake>>c&1 == 0 {
				continue
			}
			for m := range nm {
				out[c].Share[j] += float64(h.second[j*nm+m].weight[c])
			}
			all += out[c].Share[j]
		}
		for c := range out {
			if all > 0 {
				out[c].Share[j] /= all
			}
		}
	}
	return out
}
