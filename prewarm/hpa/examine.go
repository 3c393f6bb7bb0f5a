package hpa

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"
)

// Actuation is how a floor is given to an HPA.
type Actuation uint8

const (
	ByMetric      Actuation = iota + 1 // by metrics that the HPA reads: tolerance, windows and rates apply
	ByMinReplicas                      // by minReplicas, an HPA's or a ScaledObject's: only maxReplicas holds it
)

// Examination is one HPA and what is asked of it.
type Examination struct {
	Spec      Spec  // as the API server stored it
	Flags     Flags // of the controller manager, as far as they are known
	Actuation Actuation
	Lift      bool // the metric is served lifted (see Lift)
	// ToleranceDropped says that behavior.scaleUp.tolerance was asked for and is not in what the API server stored.
	ToleranceDropped bool
	ScaledToZero     bool // the HPA's own condition of that name

	Replicas int32         // N, now
	Floor    int32         // what has to be reached, now or (examined ahead) at a window's start
	Buffer   int32         // by how much the floor stays above the need: the distance that tolerance has to let through
	LeadTime time.Duration // how long reaching it may take
}

// ProblemReason is what swallows a floor, in words for a machine.
type ProblemReason uint8

const (
	MaxBelowFloor ProblemReason = iota + 1
	OffAtZero
	NoHeadroomMetric
	ValueTarget
	TargetNotOne
	ToleranceHidesBuffer
	ToleranceDropped
	ScaleUpDisabled
	ScaleUpTooSlow
	OtherMetrics
)

var problemReasons = [...]string{"", "MaxBelowFloor", "OffAtZero", "NoHeadroomMetric", "ValueTarget", "TargetNotOne",
	"ToleranceHidesBuffer", "ToleranceDropped", "ScaleUpDisabled", "ScaleUpTooSlow", "OtherMetrics"}

func (r ProblemReason) String() string { return word(problemReasons[:], r) }

// Severity says whether a problem bites now.
type Severity uint8

const (
	Swallows Severity = iota + 1 // the floor does not arrive, or not in time
	Warns                        // it will not at another count, or something else suffers
)

var severities = [...]string{"", "Swallows", "Warns"}

func (s Severity) String() string { return word(severities[:], s) }

// Problem is one thing that swallows a floor.
type Problem struct {
	Reason   ProblemReason
	Severity Severity
	Field    string        // of the HPA, below spec
	From     int32         // ToleranceHidesBuffer, ToleranceDropped: the count at which it begins; 0: at none up to maxReplicas
	Needs    time.Duration // ScaleUpTooSlow: the time that the rules need; 0: more than a day
	Message  string        // one sentence, with the way out
}

// Examine says what would swallow the floor, the worst first. An HPA in which nothing does gives none. The spec has to be valid.
func Examine(x Examination) []Problem {
	var found []Problem
	add := func(p Problem, format string, args ...any) {
		p.Message = fmt.Sprintf(format, args...)
		found = append(found, p)
	}
	if x.Floor > x.Spec.MaxReplicas {
		add(Problem{Reason: MaxBelowFloor, Severity: Swallows, Field: "maxReplicas"},
			"maxReplicas %d is below the floor of %d: raise it, or let the Headroom object ask for less (limits.maxReplicas, or the window's replicas)",
			x.Spec.MaxReplicas, x.Floor)
	}
	if x.Replicas == 0 && x.Floor > 0 && !x.ScaledToZero {
		add(Problem{Reason: OffAtZero, Severity: Swallows, Field: "scaleTargetRef"},
			"the target was scaled to 0 replicas by something else than this HPA, which therefore stays off: scale the target to 1")
	}
	if x.Actuation == ByMetric {
		x.targets(add)
		x.hidden(add)
		x.rates(add)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Severity < found[j].Severity })
	return found
}

type report func(p Problem, format string, args ...any)

// targets looks at the metrics: Headroom's count replicas, and stand alone.
func (x *Examination) targets(add report) {
	if !slices.ContainsFunc(x.Spec.Metrics, func(m Metric) bool { return m.Headroom }) {
		add(Problem{Reason: NoHeadroomMetric, Severity: Swallows, Field: "metrics"},
			"the HPA lists none of Headroom's metrics: add headroom_replicas and headroom_schedule_replicas, or use actuation mode MinReplicas")
		return
	}
	for i, m := range x.Spec.Metrics {
		field := fmt.Sprintf("metrics[%d]", i)
		switch {
		case !m.Headroom:
			add(Problem{Reason: OtherMetrics, Severity: Warns, Field: field},
				"%s (%s %s) is read with the same tolerance as Headroom's metrics, and stops every scale-down when it cannot be read: Headroom's own contain the need already, so remove it, or use actuation mode MinReplicas",
				field, m.Kind, m.Name)
		case m.Target == Value:
			add(Problem{Reason: ValueTarget, Severity: Swallows, Field: field + ".target"},
				"%s (%s) has a Value target, which multiplies the ready pods and so asks for too few while pods load: set type AverageValue and averageValue \"1\"",
				field, m.Name)
		case m.TargetMilli != 1000:
			add(Problem{Reason: TargetNotOne, Severity: Swallows, Field: field + ".target"},
				"%s (%s) counts replicas, and an averageValue of %s makes another number of it: set averageValue \"1\"", field, m.Name, decimal(m.TargetMilli))
		}
	}
}

// hidden looks at the tolerance: at the present count, and at the first at which it hides the buffer.
func (x *Examination) hidden(add report) {
	tolerance := x.Spec.tolerances(x.Flags)
	now := x.Floor > x.Replicas && x.Replicas > 0 && x.hides(tolerance, x.Floor, x.Replicas)
	from := x.firstHidden(tolerance)
	dropped := x.ToleranceDropped && !x.Lift
	if !now && from == 0 && !dropped {
		return
	}
	p := Problem{Reason: ToleranceHidesBuffer, Severity: Warns, Field: "behavior.scaleUp.tolerance", From: from}
	percent := strconv.FormatFloat((tolerance.high-1)*100, 'g', 4, 64) + " %"
	way := "set behavior.scaleUp.tolerance to \"0\" (Kubernetes 1.35 and later), or use actuation mode MinReplicas"
	if dropped {
		p.Reason = ToleranceDropped
		way = "use actuation mode MinReplicas, or deadband: Lift"
	} else if x.Lift {
		way = "deadband: Lift reaches over 10 % only, so set behavior.scaleUp.tolerance to \"0\" or use actuation mode MinReplicas"
	}
	text := "the HPA's scale-up tolerance of " + percent
	if dropped {
		text = "this Kubernetes keeps no behavior.scaleUp.tolerance (1.35 and later do), so the tolerance of " + percent
	}
	if now {
		p.Severity = Swallows
		text += fmt.Sprintf(" hides the floor of %d at the present %d replicas", x.Floor, x.Replicas)
	}
	switch {
	case from > 0 && now:
		text += fmt.Sprintf(", and a raise by %d from %d replicas on", x.raise(), from)
	case from > 0:
		text += fmt.Sprintf(" will hide a raise by %d from %d replicas on", x.raise(), from)
	case !now:
		text += fmt.Sprintf(" holds, though up to maxReplicas %d it hides no raise by %d", x.Spec.MaxReplicas, x.raise())
	}
	add(p, "%s: %s", text, way)
}

// raise is the smallest change that has to get through: the buffer, or a single replica.
func (x *Examination) raise() int32 { return max(1, x.Buffer) }

// hides computes as the controller does for a metric of replicas with averageValue "1".
func (x *Examination) hides(t tolerances, floor, replicas int32) bool {
	if x.Lift {
		floor = Lift(floor, replicas)
	}
	return t.within(float64(int64(floor)*1000) / (1000 * float64(replicas)))
}

// firstHidden is the lowest count from which a raise is hidden, as long as the raise stays within maxReplicas; 0: none.
func (x *Examination) firstHidden(t tolerances) int32 {
	raise := x.raise()
	last := int(x.Spec.MaxReplicas) - int(raise)
	if last < 1 {
		return 0
	}
	if !x.Lift { // (n + raise) / n falls with n
		n := int32(1 + sort.Search(last, func(i int) bool { return x.hides(t, int32(i+1)+raise, int32(i+1)) }))
		if int(n) > last {
			return 0
		}
		return n
	}
	// Lifted, the ratio is not monotone in n, but at most the larger of 1 + raise/n and 1.1 + 1/n: once both are within the
	// tolerance, every count is hidden, and with a tolerance up to a tenth none is.
	over := t.high - 1
	if over <= 0.1 {
		return 0
	}
	bound := max(float64(raise)/over, 1/(over-0.1)) + 2
	for n := int32(1); int(n) <= last && float64(n) <= min(bound, liftedSearch); n++ {
		if x.hides(t, n+raise, n) {
			return n
		}
	}
	return 0
}

// liftedSearch is as many counts as are tried for a lifted floor: no target has a million replicas.
const liftedSearch = 1e6

// rates looks at the time that the scaleUp rules need.
func (x *Examination) rates(add report) {
	if b := x.Spec.Behavior; b != nil && b.ScaleUp.SelectPolicy == SelectDisabled {
		add(Problem{Reason: ScaleUpDisabled, Severity: Swallows, Field: "behavior.scaleUp.selectPolicy"},
			"behavior.scaleUp.selectPolicy Disabled lets no metric raise anything: remove it, or use actuation mode MinReplicas, which it does not hold")
		return
	}
	to := min(x.Floor, x.Spec.MaxReplicas)
	needs, reached := TimeToReach(x.Spec.Behavior, x.Replicas, to, x.Flags.SyncPeriod)
	if reached && needs <= x.LeadTime {
		return
	}
	p := Problem{Reason: ScaleUpTooSlow, Severity: Swallows, Field: "behavior.scaleUp", Needs: needs}
	takes := "more than a day"
	if reached {
		takes = needs.String()
	}
	add(p, "from %d to %d replicas the scaleUp rules need %s and the lead time is %s: allow more at a time or shorten stabilizationWindowSeconds, or use actuation mode MinReplicas, which they do not hold",
		x.Replicas, to, takes, x.LeadTime)
}

// decimal writes thousandths as a number.
func decimal(milli int64) string { return strconv.FormatFloat(float64(milli)/1000, 'f', -1, 64) }
