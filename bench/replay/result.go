package replay

import (
	"fmt"
	"math"
	"time"
)

// Result is what became of one policy.
type Result struct {
	Policy string

	Offered, Late float64 // work: load × seconds
	LateShare     float64 // of the offered
	UnknownShare  float64 // of the time: the trace said nothing

	MinutesShort      int
	MinutesShortShare float64 // of the minutes that are known

	PodHours  float64 // from creation to deletion
	Started   int     // pods
	Failed    int     // pods
	Rescales  int
	MostPods  int
	MeanPods  float64
	Batches   []time.Duration // how long each raise took to its last Ready pod
	WorstDay  Day
	Unserved  float64 // share of the offered that was lost from the queue, or is in it at the end
	Wait50    time.Duration
	Wait95    time.Duration
	Wait99    time.Duration
	WaitMost  bool // Wait99 is at the end of what is told apart: it, or more
	ScoredFor time.Duration
}

// Day is one day of a result, counted from the first that is scored.
type Day struct {
	From      time.Time
	LateShare float64 // of the day's own work
}

// balanceError is the largest relative error that sums of floats may show.
const balanceError = 1e-6

func (r *run) result() (Result, error) {
	f := r.fleet
	if there := f.created - f.deleted; there != f.pods() {
		return Result{}, fmt.Errorf("replay %s: %d pods created, %d deleted, and %d there", r.p.Name, f.created, f.deleted, f.pods())
	}
	if off := math.Abs(r.offered-r.carried-r.late) / max(r.offered, math.SmallestNonzeroFloat64); off > balanceError {
		return Result{}, fmt.Errorf("replay %s: work offered %g, carried %g, late %g", r.p.Name, r.offered, r.carried, r.late)
	}
	if off := r.queue.balance(); off > balanceError {
		return Result{}, fmt.Errorf("replay %s: of the work that arrived %g is neither served, waiting nor lost", r.p.Name, off)
	}
	out := Result{
		Policy: r.p.Name, Offered: r.offered * stepSeconds, Late: r.late * stepSeconds, LateShare: share(r.late, r.offered),
		UnknownShare: share(float64(r.steps-r.known), float64(r.steps)), MinutesShort: r.minutesShort,
		MinutesShortShare: share(float64(r.minutesShort), float64(r.known)/stepsPerMinute),
		PodHours:          float64(r.podSteps) * stepSeconds / 3600, Started: f.created - r.startedAtScore, Failed: f.failed, Rescales: r.rescales,
		MostPods: r.most, MeanPods: share(float64(r.podSteps), float64(r.steps)),
		Unserved: share(r.queue.lost+max(r.queue.inLine, 0), r.queue.arrived),
		Wait50:   r.queue.waits.quantile(0.5), Wait95: r.queue.waits.quantile(0.95), Wait99: r.queue.waits.quantile(0.99),
		ScoredFor: time.Duration(r.steps) * Step,
	}
	out.WaitMost = int(out.Wait99/time.Second) == len(r.queue.waits.bins)-1
	for _, b := range f.batches {
		out.Batches = append(out.Batches, time.Duration(b)*Step)
	}
	for i, d := range r.days {
		if s := share(d.late, d.offered); i == 0 || s > out.WorstDay.LateShare {
			out.WorstDay = Day{From: r.s.at(r.s.ScoreFrom + i*stepsPerDay), LateShare: s}
		}
	}
	return out, nil
}

func share(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part / whole
}

// Timeline is a run by the minute, for plots. Entries before RunFrom are zero.
type Timeline struct {
	Ready  []int32   // the fewest in the minute
	Pods   []int32   // the most
	Floor  []int32   // the highest; 0 without one
	Late   []float32 // work over the minute, as a mean load
	Reason []string  // of the minute's last decision; "" where it is much as that of the minute before, nil for a policy that gives none
	said   said
}

// NewTimeline has room for a scenario.
func NewTimeline(s *Scenario) *Timeline {
	n := (len(s.Offered) + stepsPerMinute - 1) / stepsPerMinute
	return &Timeline{Ready: make([]int32, n), Pods: make([]int32, n), Floor: make([]int32, n), Late: make([]float32, n)}
}

func (t *Timeline) note(s *Scenario, k int, f *fleet, floor Floor) {
	m := k / stepsPerMinute
	if ready := int32(f.ready); k%stepsPerMinute == 0 || k == s.RunFrom || ready < t.Ready[m] {
		t.Ready[m] = ready
	}
	t.Pods[m] = max(t.Pods[m], int32(f.pods()))
	t.Floor[m] = max(t.Floor[m], floor.AtLeast)
	if short := s.Offered[k] - float64(f.ready)*s.PerReplica; short > s.Offered[k]*1e-9 {
		t.Late[m] += float32(short / stepsPerMinute)
	}
}
