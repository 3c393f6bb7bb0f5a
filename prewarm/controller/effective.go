package controller

import (
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// Finding is one thing that keeps a floor from its workload, or will.
type Finding struct {
	Reason  string `json:"reason"`          // one word, that of a condition
	Message string `json:"message"`         // one sentence, with the way out
	Warns   bool   `json:"warns,omitempty"` // it does not bite now
}

// Setting is what an examination needs to know of an object and its surroundings.
type Setting struct {
	Replicas, Floor, Buffer int32
	LeadTime                time.Duration // how long reaching the floor may take, by the wall clock
	SyncPeriod              time.Duration // the HPA controller's
	// ToleranceField says that this Kubernetes keeps behavior.scaleUp.tolerance; older ones drop it without a word.
	ToleranceField bool
	Unschedulable  int // pods for which the scheduler finds no node
	// Blind is for how long the HPA has said that it cannot read its metrics, while they had values.
	Blind time.Duration
}

// blindFor is how long an HPA may say that it cannot read its metrics before that is a finding: it looks every 15 s, and every
// 50 s in a large cluster.
const blindFor = 2 * time.Minute

// Examine says what keeps the floor of an object from its workload, the gravest first. hpas are all HPAs of its target.
func Examine(hr *v1alpha1.Headroom, hpas []*autoscalingv2.HorizontalPodAutoscaler, s Setting) []Finding {
	spec := &hr.Spec
	var found []Finding
	add := func(warns bool, reason, format string, args ...any) {
		found = append(found, Finding{Reason: reason, Message: fmt.Sprintf(format, args...), Warns: warns})
	}
	target := spec.ScaleTargetRef.Kind + " " + spec.ScaleTargetRef.Name
	switch {
	case spec.Actuation.Mode == v1alpha1.ActuateNone:
		return nil
	case len(hpas) == 0 && spec.Actuation.Mode != v1alpha1.ActuateScaledObject:
		add(false, "NoAutoscaler", "No HorizontalPodAutoscaler in this namespace scales %s, and Headroom never does so itself: create one.", target)
	case len(hpas) > 1:
		names := make([]string, len(hpas))
		for i, h := range hpas {
			names[i] = h.Name
		}
		slices.Sort(names)
		add(false, "TwoAutoscalers", "%s is scaled by %d HorizontalPodAutoscalers (%s), which undo each other's work and hold no floor: keep one.", target, len(hpas), strings.Join(names, ", "))
	case len(hpas) == 1:
		for _, c := range hpas[0].Status.Conditions {
			if c.Status == corev1.ConditionFalse && c.Reason == "AmbiguousSelector" {
				add(false, "AmbiguousSelector", "The HPA %s has stopped: pods of %s are selected by the targets of other HPAs too; give each workload labels of its own.", hpas[0].Name, target)
			}
		}
		if spec.Actuation.Mode == v1alpha1.ActuateMetric || spec.Actuation.Mode == "" {
			aimed(hr, hpas[0], add)
			if s.Blind >= blindFor {
				add(false, "MetricsNotRead", "The HPA %s has not been able to read its metrics for %s while Headroom served them: see its events; another program, such as KEDA, may serve external.metrics.k8s.io, and then Headroom's are to be Object metrics.", hpas[0].Name, s.Blind.Round(time.Second))
			}
		}
		found = append(found, arithmetic(spec, hpas[0], s)...)
	}
	if s.Unschedulable > 0 {
		add(false, "Unschedulable", "%d pods are Pending because the scheduler finds no node for them (for want of GPUs, as a rule): add nodes, or free some.", s.Unschedulable)
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		switch {
		case a.Warns == b.Warns:
			return 0
		case a.Warns:
			return 1
		}
		return -1
	})
	return found
}

// aimed says whether the HPA asks for this object's numbers. An HPA that lists none of Headroom's metrics is found elsewhere.
func aimed(hr *v1alpha1.Headroom, autoscaler *autoscalingv2.HorizontalPodAutoscaler, add func(warns bool, reason, format string, args ...any)) {
	asks := map[string]bool{}
	for i, m := range autoscaler.Spec.Metrics {
		name, of, way := "", "", ""
		switch {
		case m.External != nil && manifest.Own(m.External.Metric.Name):
			name, way = m.External.Metric.Name, "set the label headroom of its selector to "
			if s := m.External.Metric.Selector; s != nil {
				of = s.MatchLabels["headroom"]
			}
		case m.Object != nil && manifest.Own(m.Object.Metric.Name) && strings.HasPrefix(m.Object.DescribedObject.APIVersion, v1alpha1.Group+"/"):
			name, of, way = m.Object.Metric.Name, m.Object.DescribedObject.Name, "set the name of its describedObject to "
		default:
			continue
		}
		asks[name] = true
		if of != hr.Name {
			add(false, "AnotherHeadroom", "HPA %s: metrics[%d] (%s) asks for the Headroom %q and not for this one: %s%s.", autoscaler.Name, i, name, of, way, hr.Name)
		}
	}
	switch {
	case len(asks) == 0:
	case !asks[manifest.ReplicasMetric]:
		add(false, "NoReplicasMetric", "HPA %s lists %s and not %s, so that only windows arrive: add it.", autoscaler.Name, manifest.ScheduleReplicasMetric, manifest.ReplicasMetric)
	case !asks[manifest.ScheduleReplicasMetric] && hr.Spec.Prewarm != nil:
		add(true, "NoScheduleMetric", "HPA %s does not list %s: windows do not open while demand is unknown or no replica decides; add it.", autoscaler.Name, manifest.ScheduleReplicasMetric)
	}
}

// arithmetic is what the one HPA's own numbers do to the floor.
func arithmetic(spec *v1alpha1.HeadroomSpec, autoscaler *autoscalingv2.HorizontalPodAutoscaler, s Setting) []Finding {
	x := hpa.Examination{
		Spec: manifest.Autoscaler(autoscaler), Flags: hpa.DefaultFlags(), Actuation: hpa.ByMinReplicas,
		Replicas: s.Replicas, Floor: s.Floor, Buffer: s.Buffer, LeadTime: s.LeadTime,
	}
	x.Flags.SyncPeriod = s.SyncPeriod
	if err := x.Spec.Validate(); err != nil {
		return nil // the API server refuses it too
	}
	if spec.Actuation.Mode == v1alpha1.ActuateMetric || spec.Actuation.Mode == "" {
		x.Actuation, x.Lift = hpa.ByMetric, spec.Actuation.Deadband == v1alpha1.DeadbandLift
		x.ToleranceDropped = !s.ToleranceField && (x.Spec.Behavior == nil || x.Spec.Behavior.ScaleUp.Tolerance == nil)
	}
	for _, c := range autoscaler.Status.Conditions {
		x.ScaledToZero = x.ScaledToZero || c.Type == "ScaledToZero" && c.Status == corev1.ConditionTrue
	}
	var found []Finding
	for _, p := range hpa.Examine(x) {
		found = append(found, Finding{Reason: p.Reason.String(), Message: fmt.Sprintf("HPA %s: %s.", autoscaler.Name, p.Message), Warns: p.Severity == hpa.Warns})
	}
	return found
}

// sentences are all findings as one text.
func sentences(findings []Finding) string {
	texts := make([]string, len(findings))
	for i, f := range findings {
		texts[i] = f.Message
	}
	return strings.Join(texts, " ")
}

// examine is the examination of an object that was just decided about.
func (r *reconciler) examine(o *object, l *look) []Finding {
	blind := time.Duration(0)
	if cannotRead(l.hpa()) && l.decision.Valid {
		if o.blindSince.IsZero() {
			o.blindSince = time.Now()
		}
		blind = time.Since(o.blindSince)
	} else {
		o.blindSince = time.Time{}
	}
	found := Examine(l.hr, l.hpas, Setting{
		Blind:    blind,
		Replicas: count(l.pods.active()), Floor: count(l.decision.FloorAtLeast), Buffer: count(l.policy.BufferReplicas),
		LeadTime: r.Clock.Wall(l.lead.Total()), SyncPeriod: r.HPAPeriod, ToleranceField: r.toleranceField, Unschedulable: l.pods.unschedulable,
	})
	if p := l.held.Problem; p != nil {
		found = append([]Finding{{Reason: p.Reason.String(), Message: p.Message}}, found...)
	}
	if p := l.held.BufferProblem; p != nil {
		found = append(found, Finding{Reason: p.Reason.String(), Message: p.Message, Warns: true})
	}
	return found
}

// cannotRead says that an HPA says so itself.
func cannotRead(autoscaler *autoscalingv2.HorizontalPodAutoscaler) bool {
	return autoscaler != nil && slices.ContainsFunc(autoscaler.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionFalse && strings.HasPrefix(c.Reason, "FailedGet")
	})
}

// policiesTime is how long the HPA's scaleUp rules need to reach what is about to be asked for: the floor that stands, or the next
// window. Only a floor given as a metric is subject to them.
func (r *reconciler) policiesTime(l *look, o *object) time.Duration {
	autoscaler := l.hpa()
	if autoscaler == nil || l.hr.Spec.Actuation.Mode != v1alpha1.ActuateMetric {
		return 0
	}
	to, _ := o.state.Floor()
	if opening, ok := l.calendar.Next(l.now); ok {
		to = max(to, opening.Replicas)
	}
	spec := manifest.Autoscaler(autoscaler)
	if takes, reached := hpa.TimeToReach(spec.Behavior, count(l.pods.active()), min(count(to), spec.MaxReplicas), r.HPAPeriod); reached {
		return r.Clock.Span(takes)
	}
	return 0 // FloorEffective says so
}
