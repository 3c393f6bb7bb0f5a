package prewarm

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Demand is the load that users offer now, or why nobody knows. The zero Demand is unknown.
type Demand struct {
	Value  float64 // of all pods together; means nothing unless Known
	Known  bool
	Reason string    // why it is unknown; or what must be said about a value that is known
	At     time.Time // when it was looked at

	// Saturated says that the ready replicas carry all they can, so that demand is Value or more.
	Saturated bool
	// Filled is how many pods had no sample and were given the mean of the others.
	Filled int
	// Partial says that so many pods have become Ready lately and have no sample yet that Value may lack what moved to them. It
	// lowers nothing.
	Partial bool

	Ready         int // pods of the target that are Ready
	NotReady      int // pods that are on their way: pending, or running and not yet Ready
	Unschedulable int // of those, the pods for which the scheduler finds no node
}

// usable says that the value may be calculated with. A number that is no number is unknown, whoever calls it known.
func (d Demand) usable() bool { return d.Known && finite(d.Value) && d.Value >= 0 }

func (d Demand) why() string {
	switch {
	case d.Known && !d.usable():
		return fmt.Sprintf("%v is no demand", d.Value)
	case d.Reason == "":
		return "never measured"
	}
	return d.Reason
}

// Sample is what is known of one Ready pod's demand.
type Sample struct {
	Pod        string
	Value      float64
	Known      bool
	ReadySince time.Time // zero: unknown, and then it counts as long ago
}

// SumDemand adds up the demand of the target's Ready pods.
//
// A pod that has been Ready for less than settle (two scrapes) may lack a sample: its load was a moment ago the load of the
// others, whose samples may still hold it, so it adds nothing. They may also hold it no longer, so where more than the share
// maxMissing (0 to 1) of all pods are such, the sum is Partial: it raises and does not lower. (Unknown it is not: a fleet that grows
// from a few pods is in that state all the time, and has to go on growing.) Of the pods that have been Ready for longer, the share
// maxMissing may lack one; each of these is given the mean of the rest. When more are missing, or none is left to take a mean of,
// demand is unknown: a sum without them would look like a fall of demand and delete pods.
func SumDemand(now time.Time, samples []Sample, maxMissing float64, settle time.Duration) Demand {
	demand := Demand{At: now, Ready: len(samples)}
	if len(samples) == 0 {
		demand.Reason = "no pod is Ready"
		return demand
	}
	var sum float64
	var known, settled, young int // young: Ready lately, without a sample
	var missing []string
	for _, s := range samples {
		have := s.Known && finite(s.Value) && s.Value >= 0
		old := now.Sub(s.ReadySince) > settle // also when ReadySince is zero
		if have {
			sum += s.Value
			known++
		}
		if old {
			settled++
		}
		switch {
		case have:
		case old:
			missing = append(missing, s.Pod)
		default:
			young++
		}
	}
	share := float64(len(missing)) / float64(max(settled, 1))
	switch {
	case known == 0 && len(missing) == 0:
		demand.Reason = fmt.Sprintf("no sample yet from %d pods, all Ready for less than %s", len(samples), shortly(settle))
		return demand
	case known == 0 || share > maxMissing*(1+relativeEpsilon):
		demand.Reason = fmt.Sprintf("no sample from %d of %d pods Ready for over %s (%s); up to %.3g%% may lack one", len(missing), settled, shortly(settle), some(missing), 100*maxMissing)
		return demand
	}
	demand.Known = true
	demand.Partial = float64(young) > maxMissing*(1+relativeEpsilon)*float64(len(samples))
	demand.Filled = len(missing)
	demand.Value = sum + float64(demand.Filled)*sum/float64(known)
	if demand.Filled > 0 {
		demand.Reason = fmt.Sprintf("no sample from %d of %d pods Ready for over %s (%s), counted as the mean of the rest", demand.Filled, settled, shortly(settle), some(missing))
	}
	return demand
}

// Saturates says that this much load is all that the ready replicas can carry, so that the true demand may be higher. With a
// buffer, replicas that carry exactly what they should are already short of it. Without one, that is the very aim of scaling,
// and only more is saturation; else a constant demand of a whole number of replicas would swing between N and N × MaxGrowth.
func (p Policy) Saturates(load float64, ready int) bool {
	if ready < 1 {
		return false
	}
	capacity := float64(ready) * p.PerReplica
	if p.BufferReplicas > 0 {
		return load >= capacity*(1-relativeEpsilon)
	}
	return load > capacity*(1+relativeEpsilon)
}

// some names the first three of names, in order.
func some(names []string) string {
	const shown = 3
	sorted := slices.Sorted(slices.Values(names))
	if len(sorted) <= shown {
		return strings.Join(sorted, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(sorted[:shown], ", "), len(sorted)-shown)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Forecast is the quantile of the maximum of demand over the horizon that the policy asks for, or why there is none. The zero
// Forecast is none.
type Forecast struct {
	Value    float64 // the quantile, in the unit of demand; means nothing unless Known
	Quantile float64
	Horizon  time.Duration // the lead time that it looks over
	Known    bool
	Reason   string  // why there is none
	Skill    float64 // the forecaster's own record, above 0: better than the simple reference. For people; an unskilled forecaster gives the reference itself.
}

func (f Forecast) usable() bool { return f.Known && finite(f.Value) && f.Value >= 0 }
