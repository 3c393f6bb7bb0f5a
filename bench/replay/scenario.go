package replay

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// Step is the grid of a replay: the HPA's period, and the grid on which shortfall is defined.
const Step = 15 * time.Second

const (
	stepSeconds    = 15.0
	stepsPerMinute = 4
	stepsPerDay    = 24 * 60 * stepsPerMinute
)

// Scenario is what all policies of a comparison live through.
type Scenario struct {
	Start   time.Time
	Offered []float64 // load over each step, in the unit of PerReplica; NaN where it is unknown

	// RunFrom is the step at which pods begin to be simulated, with as many Ready as the first known demand takes, and
	// ScoreFrom the one from which everything is counted.
	RunFrom, ScoreFrom int

	PerReplica float64 // what one Ready replica carries
	HPA        hpa.Spec
	Flags      hpa.Flags
	Sources    []Source // where each of HPA.Metrics is read, in its order

	Signal Signal
	Lead   LeadTimes
	GPUs   int     // pods that can run at once; 0: no limit
	Fails  float64 // failures of a Ready pod per hour; its replacement starts from nothing
	Seed   uint64

	Service  Service       // of the queue
	Patience time.Duration // how long a request waits before it goes away; 0: for ever
}

// Signal is how late demand is known.
type Signal struct {
	Window time.Duration // demand is a mean over this, like rate(…[1m])
	Delay  time.Duration // scrape and collection
}

// DefaultSignal is a rate over a minute of counters that are scraped every 15 s.
func DefaultSignal() Signal { return Signal{Window: time.Minute, Delay: Step} }

// SourceKind is where the number of an HPA's metric comes from in a replay.
type SourceKind uint8

const (
	DemandSource   SourceKind = iota + 1 // the demand, times Scale
	FloorSource                          // headroom_replicas
	ScheduleSource                       // headroom_schedule_replicas
)

// Source is one of them.
type Source struct {
	Kind  SourceKind
	Scale float64 // from the unit of demand to the metric's unit; of a DemandSource alone
}

// LeadTimes is how long pods take from creation (or, where they wait for one, from getting a GPU) to Ready.
type LeadTimes struct {
	Min, Max time.Duration   // evenly spread; equal for one fixed time
	Measured []time.Duration // drawn from these instead, when there are any
}

// FixedLead is one and the same for all pods.
func FixedLead(d time.Duration) LeadTimes { return LeadTimes{Min: d, Max: d} }

func (l LeadTimes) draw(r *rand.Rand) time.Duration {
	switch {
	case len(l.Measured) > 0:
		return l.Measured[r.IntN(len(l.Measured))]
	case l.Max > l.Min:
		return l.Min + time.Duration(r.Int64N(int64(l.Max-l.Min)+1))
	}
	return l.Min
}

// Quantile is the time within which a share p of pods is Ready.
func (l LeadTimes) Quantile(p float64) time.Duration {
	if n := len(l.Measured); n > 0 {
		sorted := slices.Sorted(slices.Values(l.Measured))
		return sorted[min(max(int(math.Ceil(p*float64(n)))-1, 0), n-1)]
	}
	return l.Min + time.Duration(p*float64(l.Max-l.Min))
}

// String is as --lead-time takes it.
func (l LeadTimes) String() string {
	switch {
	case len(l.Measured) > 0:
		return fmt.Sprintf("%d measured, P50 %v, P90 %v", len(l.Measured), l.Quantile(0.5), l.Quantile(0.9))
	case l.Max > l.Min:
		return fmt.Sprintf("%v..%v", l.Min, l.Max)
	}
	return l.Min.String()
}

// Validate says everything that is wrong with a scenario.
func (s *Scenario) Validate() error {
	var problems []error
	refuse := func(wrong bool, path string, value any, allowed string) {
		if wrong {
			problems = append(problems, fmt.Errorf("%s: %v: must be %s", path, value, allowed))
		}
	}
	refuse(len(s.Offered) == 0, "offered", "none", "at least one step")
	refuse(s.RunFrom < 0 || s.ScoreFrom < s.RunFrom || s.ScoreFrom >= len(s.Offered), "scoreFrom", s.ScoreFrom,
		fmt.Sprintf("between runFrom (%d) and the end of the trace (%d)", s.RunFrom, len(s.Offered)))
	refuse(!(s.PerReplica > 0) || math.IsInf(s.PerReplica, 0), "perReplica", s.PerReplica, "a finite number above 0")
	refuse(len(s.Sources) != len(s.HPA.Metrics), "sources", len(s.Sources), fmt.Sprintf("one for each of the %d metrics", len(s.HPA.Metrics)))
	refuse(s.Lead.Min < 0 || s.Lead.Max < s.Lead.Min, "lead", s.Lead, "a time of 0 or more, or two of them in order")
	refuse(s.GPUs < 0, "gpus", s.GPUs, "0 (no limit) or more")
	refuse(!(s.Fails >= 0) || s.Fails > 100, "fails", s.Fails, "between 0 and 100 an hour")
	refuse(s.Signal.Window < Step, "signal.window", s.Signal.Window, "15s or more")
	refuse(s.Signal.Delay < 0, "signal.delay", s.Signal.Delay, "0 or more")
	refuse(s.Service.Rate != nil && len(s.Service.Rate) != len(s.Offered) || s.Service.Slots != nil && len(s.Service.Slots) != len(s.Service.Rate), "service", len(s.Service.Rate),
		"of as many steps as the load")
	refuse(s.Patience < 0, "patience", s.Patience, "0 (for ever) or more")
	return errors.Join(append(problems, s.HPA.Validate())...)
}

// Offered puts a series on the grid of a replay: each bin's load is even within the bin. What is not measured, or only bounded,
// is NaN.
func Offered(s forecaster.Series) ([]float64, error) {
	if s.Step < Step || s.Step%Step != 0 {
		return nil, fmt.Errorf("bins of %v: must be a multiple of %v", s.Step, Step)
	}
	per := int(s.Step / Step)
	out := make([]float64, 0, per*len(s.Bins))
	for _, bin := range s.Bins {
		v, ok := bin.Number()
		if !ok {
			v = math.NaN()
		}
		for range per {
			out = append(out, v)
		}
	}
	return out, nil
}

// signal is the demand as it is known at each step: the mean over the window that ended Delay ago, NaN where a step of the
// window is unknown or lies before the trace.
func (s *Scenario) signal() []float64 {
	window, delay := max(int(s.Signal.Window/Step), 1), int((s.Signal.Delay+Step-1)/Step)
	out := make([]float64, len(s.Offered))
	for k := range out {
		first, last := k-delay-window, k-delay
		if first < 0 {
			out[k] = math.NaN()
			continue
		}
		sum := 0.0
		for _, v := range s.Offered[first:last] {
			sum += v
		}
		out[k] = sum / float64(window)
	}
	return out
}

// at is the moment of a step.
func (s *Scenario) at(k int) time.Time { return s.Start.Add(time.Duration(k) * Step) }

// need is the least whole number of replicas that carry a load; as prewarm rounds it, so that a sum of floats that should be
// a whole number of replicas is one.
func need(load, perReplica float64) int {
	q := load / perReplica
	if !(q < math.MaxInt32) {
		return math.MaxInt32
	}
	return int(math.Ceil(q * (1 - 1e-9)))
}
