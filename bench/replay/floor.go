package replay

import (
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/prewarm"
)

// Floor is what a policy asks for at one step, as its metric and its minimum give it.
type Floor struct {
	AtLeast  int32 // may be raised to, whatever is known
	Schedule int32 // headroom_schedule_replicas
	Valid    bool  // demand is known: AtLeast is the floor, and may be lowered to
}

// Floors is where a policy's floor comes from. It is asked once a step, in order.
type Floors interface {
	At(k int, pods Pods) Floor
}

// Pods are those of the workload at a step.
type Pods struct{ Ready, NotReady, Unschedulable int }

// Outlook is a forecast of the maximum of demand over a lead time, by minute: Value[m] is made from the complete bins before
// minute m, NaN where there is none.
type Outlook struct {
	Value    []float32
	Quantile float64
	Horizon  time.Duration
}

// at is the forecast that is known at step k: bins reach the forecaster as late as demand reaches anybody.
func (o *Outlook) at(k, delay int) float64 {
	m := (k - delay) / stepsPerMinute
	if m < 0 || m >= len(o.Value) {
		return math.NaN()
	}
	return float64(o.Value[m])
}

// Decided is prewarm.Decide itself in the loop, with the decisions at hand for a person.
type Decided struct {
	Policy   prewarm.Policy
	Calendar *prewarm.Calendar
	Outlook  *Outlook // nil: no forecast
	Lead     prewarm.LeadTime

	// Watch, when there is one, is shown every decision.
	Watch func(k int, d *prewarm.Decision)

	scenario *Scenario
	signal   []float64
	delay    int
	state    prewarm.State
}

func (d *Decided) begin(s *Scenario, signal []float64) {
	d.scenario, d.signal, d.delay, d.state = s, signal, delaySteps(s), prewarm.State{HistoryLoaded: true}
}

func delaySteps(s *Scenario) int { return int((s.Signal.Delay + Step - 1) / Step) }

// At decides.
func (d *Decided) At(k int, pods Pods) Floor {
	now := d.scenario.at(k)
	demand := prewarm.Demand{Value: d.signal[k], Known: !math.IsNaN(d.signal[k]), At: now,
		Ready: pods.Ready, NotReady: pods.NotReady, Unschedulable: pods.Unschedulable}
	if !demand.Known {
		demand.Value, demand.Reason = 0, "the trace says nothing of this time"
	}
	forecast := prewarm.Forecast{Reason: "no forecast"}
	if d.Outlook != nil {
		v := d.Outlook.at(k, d.delay)
		forecast = prewarm.Forecast{Value: v, Known: !math.IsNaN(v), Quantile: d.Outlook.Quantile, Horizon: d.Outlook.Horizon, Reason: "too little history"}
	}
	schedule := d.Calendar.FloorAt(now, d.Lead.Total())
	decision, state := prewarm.Decide(now, d.state, demand, forecast, schedule, d.Lead, d.Policy)
	d.state = state
	if d.Watch != nil {
		d.Watch(k, &decision)
	}
	return Floor{AtLeast: int32(decision.FloorAtLeast), Schedule: int32(schedule.Replicas), Valid: decision.Valid}
}

// Swept is the floor of prewarm.Decide without its words and without a calendar, for the many settings of a sweep; a test
// compares the two. It does not look at pods.
type Swept struct {
	Buffer, OnForecast int
	Outlook            *Outlook // nil: no forecast
	Hold               time.Duration
	Min, Max           int

	scenario *Scenario
	signal   []float64
	delay    int
	hold     maxima
	floor    int32
}

func (w *Swept) begin(s *Scenario, signal []float64) {
	w.scenario, w.signal, w.delay, w.floor = s, signal, delaySteps(s), 0
	w.hold = maxima{keep: int((w.Hold + Step - 1) / Step), levels: w.hold.levels[:0]}
}

// At is the floor at step k.
func (w *Swept) At(k int, _ Pods) Floor {
	load := w.signal[k]
	if load != load { // unknown: what stands counts as decided now
		w.floor = w.limited(w.floor)
		w.hold.add(k, max(w.floor, w.hold.top()))
		return Floor{AtLeast: w.floor}
	}
	raw := need(load, w.scenario.PerReplica) + w.Buffer
	if w.Outlook != nil {
		if v := w.Outlook.at(k, w.delay); v == v {
			raw = max(raw, need(v, w.scenario.PerReplica)+w.OnForecast)
		}
	}
	w.hold.add(k, int32(min(raw, math.MaxInt32)))
	w.floor = w.limited(w.hold.top())
	return Floor{AtLeast: w.floor, Valid: true}
}

func (w *Swept) limited(n int32) int32 {
	n = max(n, int32(w.Min))
	if w.Max > 0 {
		n = min(n, int32(w.Max))
	}
	return n
}

// maxima is the maximum of the last keep steps, and of the one before them while they are fewer: a monotonic deque.
type maxima struct {
	keep   int
	levels []levelAt
	first  int
}

type levelAt struct {
	at int
	v  int32
}

func (m *maxima) add(k int, v int32) {
	for m.first < len(m.levels)-1 && m.levels[m.first].at <= k-m.keep {
		m.first++
	}
	n := len(m.levels)
	for n > m.first && m.levels[n-1].v <= v {
		n--
	}
	m.levels = append(m.levels[:n], levelAt{k, v})
	if m.first > 256 {
		m.levels = m.levels[:copy(m.levels, m.levels[m.first:])]
		m.first = 0
	}
}

func (m *maxima) top() int32 {
	if m.first >= len(m.levels) {
		return 0
	}
	return m.levels[m.first].v
}

// Foresight is the oracle's floor: what the largest load over (now, now + ahead] takes. It is given the future and nothing else.
type Foresight struct {
	Ahead time.Duration
	Max   int

	floors []int32
}

func (f *Foresight) begin(s *Scenario, _ []float64) {
	steps := max(int(f.Ahead/Step), 1)
	f.floors = make([]int32, len(s.Offered))
	var window []int // of steps, loads falling
	for k := len(s.Offered) - 1; k >= 0; k-- {
		// The load over step j is offered after moment j, so (now, now+ahead] is steps k … k+steps−1.
		if v := s.Offered[k]; v == v {
			for len(window) > 0 && s.Offered[window[len(window)-1]] <= v {
				window = window[:len(window)-1]
			}
			window = append(window, k)
		}
		for len(window) > 0 && window[0] >= k+steps {
			window = window[1:]
		}
		if len(window) > 0 {
			f.floors[k] = int32(need(s.Offered[window[0]], s.PerReplica))
			if f.Max > 0 {
				f.floors[k] = min(f.floors[k], int32(f.Max))
			}
		}
	}
}

// At is the floor at step k.
func (f *Foresight) At(k int, _ Pods) Floor { return Floor{AtLeast: f.floors[k], Valid: true} }
