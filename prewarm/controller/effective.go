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
}

// Examine says what keeps the floor of an object from its workload, the gravest first. hpas are all HPAs of its target.
func Examine(spec *v1alpha1.HeadroomSpec, hpas []*autoscalingv2.HorizontalPodAutoscaler, s Setting) []Finding {
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
func (r *reconciler) examine(l *look) []Finding {
	spec := &l.hr.Spec
	found := Examine(spec, l.hpas, Setting{
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
