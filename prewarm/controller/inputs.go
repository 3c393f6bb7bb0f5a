package controller

import (
	"context"
	"fmt"
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/scale"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// target is what the scale subresource says of a workload.
type target struct {
	selector labels.Selector
	read     time.Time // wall time
}

// targetFresh is how long a workload's selector is believed. Most workloads cannot change theirs at all.
const targetFresh = 5 * time.Minute

// targets reads scale subresources.
type targets struct {
	scales scale.ScalesGetter
	mapper meta.RESTMapper
}

// ownersError is what only the owner of an object can mend: trying again sooner changes nothing. reason is the condition's.
type ownersError struct {
	reason string
	err    error
}

func (e *ownersError) Error() string { return e.err.Error() }
func (e *ownersError) Unwrap() error { return e.err }

// invalid is an owner's error about the spec, or nil.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return &ownersError{reasonInvalidSpec, err}
}

func noTarget(format string, args ...any) error {
	return &ownersError{reasonNoTarget, fmt.Errorf("spec.scaleTargetRef"+format, args...)}
}

func (t *targets) read(ctx context.Context, namespace string, ref v1alpha1.ScaleTargetRef) (target, error) {
	group, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return target{}, noTarget(".apiVersion: %q is no group and version such as apps/v1", ref.APIVersion)
	}
	mapping, err := t.mapper.RESTMapping(schema.GroupKind{Group: group.Group, Kind: ref.Kind}, group.Version)
	switch {
	case meta.IsNoMatchError(err):
		return target{}, noTarget(": the cluster knows no %s of %s", ref.Kind, ref.APIVersion)
	case err != nil:
		return target{}, fmt.Errorf("resource of %s: %w", ref.Kind, err)
	}
	found, err := t.scales.Scales(namespace).Get(ctx, mapping.Resource.GroupResource(), ref.Name, metav1.GetOptions{})
	switch {
	case isNotFound(err):
		return target{}, noTarget(": there is no %s %s in this namespace, or it cannot be scaled", ref.Kind, ref.Name)
	case err != nil:
		return target{}, fmt.Errorf("scale of %s %s: %w", ref.Kind, ref.Name, err)
	}
	selector, err := labels.Parse(found.Status.Selector)
	if err != nil || selector.Empty() {
		return target{}, noTarget(": the scale of %s %s gives no pod selector (%q)", ref.Kind, ref.Name, found.Status.Selector)
	}
	return target{selector: selector, read: time.Now()}, nil
}

// podCounts are the pods of a target that have not ended, by how far they are.
type podCounts struct {
	ready         []*corev1.Pod
	notReady      int
	unschedulable int
}

func (c podCounts) active() int { return len(c.ready) + c.notReady }

// podsOf counts a target's pods and shows them to the tracker, in the clock's time.
func (r *reconciler) podsOf(namespace string, selector labels.Selector) (podCounts, []prewarm.PodView) {
	var counts podCounts
	pods := r.Pods.Select(namespace, selector)
	views := make([]prewarm.PodView, 0, len(pods))
	for _, pod := range pods {
		view := prewarm.PodView{
			UID: string(pod.UID), Created: r.Clock.At(pod.CreationTimestamp.Time), Node: pod.Spec.NodeName,
			Failed: pod.Status.Phase == corev1.PodFailed, Deleting: pod.DeletionTimestamp != nil,
		}
		if created, ok := r.Nodes.Created(pod.Spec.NodeName); ok {
			view.NodeCreated = r.Clock.At(created)
		}
		unschedulable := false
		for _, c := range pod.Status.Conditions {
			switch {
			case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue:
				view.Ready, view.ReadySince = true, r.Clock.At(c.LastTransitionTime.Time)
			case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable:
				unschedulable = true
			}
		}
		views = append(views, view)
		if view.Deleting || view.Failed || pod.Status.Phase == corev1.PodSucceeded {
			continue
		}
		if view.Ready {
			counts.ready = append(counts.ready, pod)
			continue
		}
		counts.notReady++
		if unschedulable {
			counts.unschedulable++
		}
	}
	return counts, views
}

// hpasOf are the HorizontalPodAutoscalers of an object's target.
func (r *reconciler) hpasOf(hr *v1alpha1.Headroom) []*autoscalingv2.HorizontalPodAutoscaler {
	var found []*autoscalingv2.HorizontalPodAutoscaler
	for _, candidate := range r.HPAs.In(hr.Namespace) {
		if manifest.SameTarget(candidate.Spec.ScaleTargetRef, hr.Spec.ScaleTargetRef) {
			found = append(found, candidate)
		}
	}
	return found
}

// leadPolicy is what an object and its surroundings say about its lead time.
func (r *reconciler) leadPolicy(hr *v1alpha1.Headroom, policies time.Duration) prewarm.LeadPolicy {
	p := prewarm.DefaultLeadPolicy()
	spec := hr.Spec.LeadTime
	if spec.Mode == v1alpha1.LeadTimeFixed && spec.Value != nil {
		p.Fixed = spec.Value.Duration
	}
	if spec.Percentile > 0 {
		p.Percentile = float64(spec.Percentile) / 100
	}
	if spec.Initial.Duration > 0 {
		p.Initial = spec.Initial.Duration
	}
	p.HPAPeriod, p.Collection, p.Policies = r.Clock.Span(r.HPAPeriod), r.Clock.Span(r.Collection), policies
	p.NodesKept = hr.Spec.CapacityBuffer != nil
	return p
}

func isNotFound(err error) bool { return apierrors.IsNotFound(err) }

// count is n as the API writes it.
func count(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }
