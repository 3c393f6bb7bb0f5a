package hpa

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Flags are those of kube-controller-manager that change what an HPA does.
type Flags struct {
	SyncPeriod              time.Duration // --horizontal-pod-autoscaler-sync-period
	DownscaleStabilization  time.Duration // --horizontal-pod-autoscaler-downscale-stabilization
	Tolerance               float64       // --horizontal-pod-autoscaler-tolerance, a ratio; in both directions
	CPUInitializationPeriod time.Duration // --horizontal-pod-autoscaler-cpu-initialization-period
	InitialReadinessDelay   time.Duration // --horizontal-pod-autoscaler-initial-readiness-delay
}

// DefaultFlags are the defaults of 1.37 (pkg/controller/podautoscaler/config/v1alpha1/defaults.go).
func DefaultFlags() Flags {
	return Flags{
		SyncPeriod:              15 * time.Second,
		DownscaleStabilization:  5 * time.Minute,
		Tolerance:               0.1,
		CPUInitializationPeriod: 5 * time.Minute,
		InitialReadinessDelay:   30 * time.Second,
	}
}

// Spec is what an HPA says, as far as its arithmetic reads it.
type Spec struct {
	MinReplicas int32 // 0 needs an Object or External metric; the API server's default is 1
	MaxReplicas int32 // at least 1, not below MinReplicas
	Metrics     []Metric
	Behavior    *Behavior // nil: no behavior was given; its defaults are not the same as none (see Behavior)
}

// Behavior is spec.behavior. With none at all the controller doubles at most (or goes to four), holds the way down for the
// controller manager's window and remembers no rates. With one, even an empty one, both directions get Rules with defaults.
type Behavior struct{ ScaleUp, ScaleDown Rules }

// Rules are the scaling rules of one direction. Zero values stand for the API server's defaults.
type Rules struct {
	StabilizationWindow *time.Duration // nil: none on the way up, Flags.DownscaleStabilization on the way down
	SelectPolicy        SelectPolicy   // 0: SelectMax
	Policies            []Policy       // nil: 4 pods or 100 % in 15 s on the way up, 100 % in 15 s on the way down
	Tolerance           *float64       // nil: Flags.Tolerance. See Tolerance for why this is not in milli-units
}

// Tolerance is the float that the controller makes of a tolerance of so many thousandths. The API server stores "0.07" as
// 70m, and 70 × 10⁻³ is not the float nearest to 0.07: the last bit decides at the boundary.
func Tolerance(milli int64) float64 { return float64(milli) * math.Pow10(-3) }

// Policy is one scaling policy: so many pods, or so many per cent, in a period.
type Policy struct {
	Kind   PolicyKind
	Value  int32         // above 0
	Period time.Duration // whole seconds, above 0, at most 30 minutes
}

// Metric is one entry of spec.metrics.
type Metric struct {
	Kind   MetricKind
	Name   string     // for messages
	Target TargetKind // Pods: AverageValue; Object, External: Value or AverageValue; the resources: AverageValue or Utilization
	// TargetMilli is the target in thousandths (as Quantity.MilliValue gives it), above 0. For Utilization it is per cent.
	TargetMilli int64
	// CPU says that a Resource or ContainerResource metric is of cpu: of all metrics, that alone looks at readiness.
	CPU bool
	// Headroom says that this is one of Headroom's own (headroom_replicas, headroom_schedule_replicas). Examine reads it.
	Headroom bool
}

// rules are Rules with every default filled in, times in nanoseconds.
type rules struct {
	window   int64
	choose   SelectPolicy
	policies []Policy
	longest  int64 // period of the longest policy
}

var (
	defaultUp   = []Policy{{PodsPolicy, 4, 15 * time.Second}, {PercentPolicy, 100, 15 * time.Second}}
	defaultDown = []Policy{{PercentPolicy, 100, 15 * time.Second}}
)

func (r Rules) resolve(window time.Duration, policies []Policy) rules {
	if r.StabilizationWindow != nil {
		window = *r.StabilizationWindow
	}
	if r.Policies != nil {
		policies = r.Policies
	}
	out := rules{window: int64(window), choose: r.SelectPolicy, policies: policies}
	if out.choose == 0 {
		out.choose = SelectMax
	}
	for _, p := range policies {
		out.longest = max(out.longest, int64(p.Period))
	}
	return out
}

// Validate reports every field that the API server would refuse or that the arithmetic cannot use.
func (s Spec) Validate() error {
	var problems []error
	refuse := func(path string, value any, allowed string) {
		problems = append(problems, fmt.Errorf("%s: %v: must be %s", path, value, allowed))
	}
	if s.MinReplicas < 0 {
		refuse("minReplicas", s.MinReplicas, "0 or more")
	}
	if s.MaxReplicas < 1 || s.MaxReplicas < s.MinReplicas {
		refuse("maxReplicas", s.MaxReplicas, "at least 1 and at least minReplicas")
	}
	if len(s.Metrics) == 0 {
		refuse("metrics", "none", "at least one (without any the API server writes cpu at 80 %)")
	}
	fromOutside := false
	for i, m := range s.Metrics {
		path := fmt.Sprintf("metrics[%d]", i)
		fromOutside = fromOutside || m.Kind == Object || m.Kind == External
		if m.Kind < Pods || m.Kind > ContainerResource {
			refuse(path+".type", m.Kind, "Pods, Object, External, Resource or ContainerResource")
		} else if !m.takes(m.Target) {
			refuse(path+".target.type", m.Target, "one that "+m.Kind.String()+" metrics have")
		}
		if m.TargetMilli <= 0 || m.Target == Utilization && m.TargetMilli > math.MaxInt32 {
			refuse(path+".target", m.TargetMilli, "above 0 (and an int32 for a utilization)")
		}
	}
	if s.MinReplicas == 0 && !fromOutside && len(s.Metrics) > 0 {
		refuse("minReplicas", 0, "1 or more without an Object or External metric")
	}
	if s.Behavior != nil {
		problems = append(problems, s.Behavior.ScaleUp.problems("behavior.scaleUp")...)
		problems = append(problems, s.Behavior.ScaleDown.problems("behavior.scaleDown")...)
	}
	return errors.Join(problems...)
}

func (r Rules) problems(path string) []error {
	var problems []error
	refuse := func(field string, value any, allowed string) {
		problems = append(problems, fmt.Errorf("%s.%s: %v: must be %s", path, field, value, allowed))
	}
	if w := r.StabilizationWindow; w != nil && (*w < 0 || *w > time.Hour || *w%time.Second != 0) {
		refuse("stabilizationWindowSeconds", *w, "whole seconds from 0 to 3600")
	}
	if r.SelectPolicy > SelectDisabled {
		refuse("selectPolicy", r.SelectPolicy, "Max, Min or Disabled")
	}
	if r.Policies != nil && len(r.Policies) == 0 {
		refuse("policies", "none", "at least one, or the field left out")
	}
	for i, p := range r.Policies {
		field := fmt.Sprintf("policies[%d]", i)
		if p.Kind != PodsPolicy && p.Kind != PercentPolicy {
			refuse(field+".type", p.Kind, "Pods or Percent")
		}
		if p.Value <= 0 {
			refuse(field+".value", p.Value, "above 0")
		}
		if p.Period <= 0 || p.Period > 30*time.Minute || p.Period%time.Second != 0 {
			refuse(field+".periodSeconds", p.Period, "whole seconds from 1 to 1800")
		}
	}
	if t := r.Tolerance; t != nil && !(*t >= 0) {
		refuse("tolerance", *t, "0 or more")
	}
	return problems
}

func (m Metric) takes(target TargetKind) bool {
	switch m.Kind {
	case Pods:
		return target == AverageValue
	case Object, External:
		return target == Value || target == AverageValue
	case Resource, ContainerResource:
		return target == AverageValue || target == Utilization
	}
	return false
}

// perPod says that the metric is read pod by pod, and not as one number.
func (m Metric) perPod() bool { return m.Kind != Object && m.Kind != External }
