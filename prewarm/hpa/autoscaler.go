package hpa

import (
	"fmt"
	"time"
)

// Autoscaler is one HPA as the controller remembers it between syncs. It is not safe for concurrent use.
type Autoscaler struct {
	spec        Spec
	flags       Flags
	tolerance   tolerances
	up, down    rules // meaningful with a behavior only
	fromOutside bool  // has an Object or External metric

	recommended []recommendation
	ups, downs  []event
	conditions  Conditions
}

// Conditions are the HPA's, as in its status. They outlive a restart of the controller manager.
type Conditions struct{ AbleToScale, ScalingActive, ScalingLimited, ScaledToZero Condition }

// Condition is one of them.
type Condition struct {
	Status Status
	Reason Reason
}

// Result is what one sync did.
type Result struct {
	Replicas int32 // what spec.replicas of the target is after the sync
	Rescaled bool  // whether it was written
	Cause    Cause
	// Proposal is the largest that a metric asked for, and Stabilized what the windows made of it; of meaning with ByMetrics only.
	Proposal, Stabilized int32
	Metric               int // index of the metric that gave the proposal; -1: none
	Failed               int // metrics that gave none
	Failure              Failure
	FailedMetric         int // the first of them, -1: none
	Conditions           Conditions
}

// New makes the autoscaler of an HPA that the controller has just met.
func New(spec Spec, flags Flags) (*Autoscaler, error) {
	a := &Autoscaler{}
	if err := a.Configure(spec, flags); err != nil {
		return nil, err
	}
	return a, nil
}

// Configure changes the spec under a running autoscaler, as a write to the HPA does: what was recommended and done stays known.
func (a *Autoscaler) Configure(spec Spec, flags Flags) error {
	if err := spec.Validate(); err != nil {
		return fmt.Errorf("HPA: %w", err)
	}
	a.spec, a.flags = spec, flags
	a.fromOutside = false
	for _, m := range spec.Metrics {
		a.fromOutside = a.fromOutside || m.Kind == Object || m.Kind == External
	}
	a.tolerance = spec.tolerances(flags)
	if spec.Behavior != nil {
		a.up = spec.Behavior.ScaleUp.resolve(0, defaultUp)
		// The controller keeps this default as whole seconds.
		a.down = spec.Behavior.ScaleDown.resolve(flags.DownscaleStabilization.Truncate(time.Second), defaultDown)
	}
	return nil
}

func (s Spec) tolerances(flags Flags) tolerances {
	up, down := flags.Tolerance, flags.Tolerance
	if s.Behavior != nil && s.Behavior.ScaleUp.Tolerance != nil {
		up = *s.Behavior.ScaleUp.Tolerance
	}
	if s.Behavior != nil && s.Behavior.ScaleDown.Tolerance != nil {
		down = *s.Behavior.ScaleDown.Tolerance
	}
	return tolerances{low: 1 - down, high: 1 + up}
}

// SetBounds changes minReplicas and maxReplicas alone, as an actuator does between two syncs. The bounds have to be valid.
func (a *Autoscaler) SetBounds(minReplicas, maxReplicas int32) {
	a.spec.MinReplicas, a.spec.MaxReplicas = minReplicas, maxReplicas
}

// Restart forgets what the controller manager keeps in memory: recommendations and changes. The conditions stay.
func (a *Autoscaler) Restart() {
	a.recommended, a.ups, a.downs = a.recommended[:0], a.ups[:0], a.downs[:0]
}

// Step is one sync (reconcileAutoscaler in horizontal.go). Readings are in the order of spec.metrics; one that is not there is
// absent. now must not run backwards. In steady state a step allocates nothing.
func (a *Autoscaler) Step(now time.Time, w Workload, readings []Reading) Result {
	at, current := now.UnixNano(), w.SpecReplicas
	result := Result{Replicas: current, Metric: -1, FailedMetric: -1}
	a.conditions.AbleToScale = Condition{True, SucceededGetScale}
	if len(a.recommended) == 0 {
		a.recommended = append(a.recommended, recommendation{at, current})
	}
	desired := current
	switch {
	case current == 0 && !a.wakes():
		a.conditions.ScalingActive = Condition{False, ScalingDisabled}
		result.Cause = AtZero
	case current != 0 && current > a.spec.MaxReplicas:
		desired, result.Cause = a.spec.MaxReplicas, AboveMaximum
	case current != 0 && current < a.spec.MinReplicas:
		desired, result.Cause = a.spec.MinReplicas, BelowMinimum
	default:
		if !a.ask(now, &w, readings, &result) {
			result.Cause, result.Conditions = Frozen, a.conditions
			return result
		}
		result.Cause = ByMetrics
		desired = a.normalize(at, current, &result)
		if current == 0 && a.spec.MinReplicas != 0 && desired < a.spec.MinReplicas {
			desired = a.spec.MinReplicas
		}
	}
	if desired != current {
		a.rescale(at, current, desired)
		result.Replicas, result.Rescaled = desired, true
	}
	result.Conditions = a.conditions
	return result
}

// wakes says whether an HPA at 0 replicas looks at its metrics: only if it went to 0 by itself, and either may not stay there
// (minReplicas was raised since) or has a metric that can be read without pods.
func (a *Autoscaler) wakes() bool {
	return a.conditions.ScaledToZero.Status == True && (a.spec.MinReplicas != 0 || a.fromOutside)
}

// ask takes the largest proposal of the metrics. It is false when nothing may be done: all failed, or some did and the rest
// would scale down.
func (a *Autoscaler) ask(now time.Time, w *Workload, readings []Reading, result *Result) bool {
	if w.Conflict {
		a.conditions.ScalingActive = Condition{False, AmbiguousSelector}
		result.Failure = SelectorConflict
		return false
	}
	proposal := int32(0)
	for i := range a.spec.Metrics {
		m := &a.spec.Metrics[i]
		want, failure := int32(0), NotRead
		if i < len(readings) {
			want, failure = a.propose(now, m, w, &readings[i])
		}
		if failure != 0 {
			if result.Failed == 0 {
				result.Failure, result.FailedMetric = failure, i
			}
			result.Failed++
			continue
		}
		if proposal == 0 || want > proposal {
			proposal, result.Metric = want, i
		}
	}
	if failed := result.Failed; failed == len(a.spec.Metrics) || failed > 0 && proposal < w.SpecReplicas {
		a.conditions.ScalingActive = Condition{False, a.spec.Metrics[result.FailedMetric].Kind.failed()}
		result.Metric = -1
		return false
	}
	a.conditions.ScalingActive = Condition{True, ValidMetricFound}
	result.Proposal = max(proposal, 0)
	return true
}

// normalize holds the proposal by the windows, then by the rates and bounds. The windows come first: a floor that was held by
// minReplicas alone is in no recommendation and falls as soon as minReplicas does.
func (a *Autoscaler) normalize(now int64, current int32, result *Result) int32 {
	proposal := result.Proposal
	able, limited := ReadyForNewScale, False
	var desired int32
	var reason Reason
	if a.spec.Behavior == nil {
		result.Stabilized = a.holdDown(now, proposal)
		if result.Stabilized != proposal {
			able = ScaleDownStabilized
		}
		desired, reason = a.limitPlain(current, result.Stabilized)
	} else {
		result.Stabilized = a.holdBoth(now, current, proposal)
		if result.Stabilized != proposal {
			able = ScaleDownStabilized
			if proposal >= current {
				able = ScaleUpStabilized
			}
		}
		desired, reason = a.limitRates(now, current, result.Stabilized)
	}
	if desired != result.Stabilized {
		limited = True
	}
	a.conditions.AbleToScale = Condition{True, able}
	a.conditions.ScalingLimited = Condition{limited, reason}
	return desired
}

func (a *Autoscaler) rescale(now int64, current, desired int32) {
	a.conditions.AbleToScale = Condition{True, SucceededRescale}
	a.record(now, current, desired)
	a.conditions.ScaledToZero = Condition{False, NotScaledToZero}
	if current > 0 && desired == 0 && a.spec.MinReplicas == 0 && a.fromOutside {
		a.conditions.ScaledToZero = Condition{True, ScaledToZero}
	}
}
