package backtest

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// Predictor is anything that can be scored: it is fed each bin once, in order, and asked at some of the origins.
type Predictor interface {
	// Observe takes the bin that starts at t.
	Observe(t time.Time, o forecaster.Observation)
	// Quantiles writes one number per quantile of the protocol into dst, and reports whether it had a forecast.
	Quantiles(now time.Time, dst []float64) bool
}

// Protocol fixes what is scored. Two people with the same Protocol and trace get the same numbers.
type Protocol struct {
	Lead      time.Duration
	Every     time.Duration
	Warmup    time.Duration
	Quantiles []float64 // ascending, inside (0, 1)
}

// ErrTooShort is returned for a series that leaves no origin to score.
var ErrTooShort = errors.New("no origin between warm-up and the end of the series")

// Validate reports every problem of p for a series of the given step.
func (p Protocol) Validate(step time.Duration) error {
	var all []error
	bad := func(name string, v any, allowed string) {
		all = append(all, fmt.Errorf("%s: %v: must be %s", name, v, allowed))
	}
	whole := fmt.Sprintf("a positive multiple of the step, %v", step)
	if step <= 0 {
		bad("step", step, "positive")
		step = 1
	}
	if p.Lead <= 0 || p.Lead%step != 0 {
		bad("lead", p.Lead, whole)
	}
	if p.Every <= 0 || p.Every%step != 0 {
		bad("every", p.Every, whole)
	}
	if p.Warmup < 0 || p.Warmup%step != 0 {
		bad("warmup", p.Warmup, "zero or "+whole)
	}
	if len(p.Quantiles) == 0 {
		bad("quantiles", p.Quantiles, "at least one")
	}
	for i, q := range p.Quantiles {
		if !(q > 0 && q < 1) || i > 0 && q <= p.Quantiles[i-1] {
			bad(fmt.Sprintf("quantiles[%d]", i), q, "between 0 and 1 and above the one before")
		}
	}
	return errors.Join(all...)
}

// For returns p with the warm-up that a series of this length gets: the one asked for, or half of a shorter trace
// (rounded down to a whole step).
func (p Protocol) For(s forecaster.Series) Protocol {
	if s.Span() <= p.Warmup {
		p.Warmup = (s.Span() / 2).Truncate(s.Step)
	}
	return p
}

// Run is one predictor's forecasts on one series: row i belongs to origin i.
type Run struct {
	Protocol  Protocol
	Step      time.Duration
	Origins   []time.Duration // from the start of the series
	Forecasts [][]float64     // nil where the predictor had none
	Targets   []float64       // NaN where a bin of the target is missing: such a row is not scored
	Now       []float64       // the last known value at each origin, NaN if there is none: tells ramps from calm
}

// Evaluate runs the predictors side by side through the series and returns one Run each. watch, if not nil, is told the
// share of bins done, about a hundred times.
func Evaluate(s forecaster.Series, p Protocol, watch func(done, total int), predictors ...Predictor) ([]Run, error) {
	if err := p.Validate(s.Step); err != nil {
		return nil, err
	}
	p = p.For(s)
	runs := make([]Run, len(predictors))
	for i := range runs {
		runs[i] = Run{Protocol: p, Step: s.Step}
	}
	ahead, every, warm := int(p.Lead/s.Step), int(p.Every/s.Step), int(p.Warmup/s.Step)
	last := math.NaN()
	buffer := make([]float64, len(p.Quantiles))
	for bin := 0; bin <= len(s.Bins); bin++ {
		// Here exactly the bins before bin are known: bin·step is the origin.
		if bin >= warm && (bin-warm)%every == 0 && bin+ahead <= len(s.Bins) {
			target := maximum(s.Bins[bin : bin+ahead])
			for i, f := range predictors {
				var row []float64
				if f.Quantiles(s.At(bin), buffer) {
					row = append(row, buffer...)
				}
				runs[i].Origins = append(runs[i].Origins, time.Duration(bin)*s.Step)
				runs[i].Forecasts = append(runs[i].Forecasts, row)
				runs[i].Targets = append(runs[i].Targets, target)
				runs[i].Now = append(runs[i].Now, last)
			}
		}
		if bin == len(s.Bins) {
			break
		}
		for _, f := range predictors {
			f.Observe(s.At(bin), s.Bins[bin])
		}
		if v, ok := s.Bins[bin].Number(); ok {
			last = v
		}
		if watch != nil && bin%(len(s.Bins)/100+1) == 0 {
			watch(bin, len(s.Bins))
		}
	}
	if watch != nil {
		watch(len(s.Bins), len(s.Bins))
	}
	if len(runs) > 0 && len(runs[0].Origins) == 0 {
		return nil, fmt.Errorf("%w: %v of data, warm-up %v, lead %v", ErrTooShort, s.Span(), p.Warmup, p.Lead)
	}
	return runs, nil
}

// maximum is the target: NaN if any of its bins is not a measured number.
func maximum(bins []forecaster.Observation) float64 {
	m := math.Inf(-1)
	for _, o := range bins {
		v, ok := o.Number()
		if !ok {
			return math.NaN()
		}
		m = max(m, v)
	}
	return m
}
