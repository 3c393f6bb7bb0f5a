package controller

import (
	"context"
	"encoding/json"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// hpaKind is mode MinReplicas. While a minimum is held, the API server refuses a maximum below it: who lowers maxReplicas that
// far sets minReplicas in the same request, and Headroom then counts with both.
var hpaKind = kind{
	GroupVersionKind: autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"),
	minField:         "minReplicas", maxField: "maxReplicas", defaultMin: 1, defaultMax: 1,
	obstacle: hpaObstacle,
	absent:   func(string, error) *Problem { return nil },
}

func hpaObstacle(live autoscaler, p plan) (*Problem, bool) {
	for _, owner := range live.GetOwnerReferences() {
		if owner.Controller != nil && *owner.Controller && owner.Kind == "ScaledObject" {
			return problem(ManagedByKEDA, "HPA %s was made by KEDA from the ScaledObject %s, which overwrites its minReplicas: use actuation mode ScaledObject with that name.", live.GetName(), owner.Name), true
		}
	}
	// An HPA leaves a workload with 0 replicas alone when its minimum is above 0, unless it scaled it to 0 itself and said so
	// (Kubernetes 1.37; older ones never say so). With a minimum of 0 it may still rise by its metric.
	if min := count32(live.Object, "spec", "minReplicas"); min != nil && *min == 0 && p.claim.Held > 0 && atZero(live) {
		return problem(WorkloadAtZero, "The workload has 0 replicas, and HPA %s does not say that it scaled it there: a minReplicas above 0 would switch the HPA off. Scale the workload to 1 once.", live.GetName()), true
	}
	return nil, false
}

// atZero says that an HPA has seen its workload at 0 replicas without having scaled it there.
func atZero(live autoscaler) bool {
	replicas := count32(live.Object, "status", "currentReplicas")
	conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
	seen := false
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == string(autoscalingv2.ScaledToZero) && condition["status"] == string(metav1.ConditionTrue) {
			return false
		}
		seen = seen || condition["type"] == string(autoscalingv2.AbleToScale)
	}
	return seen && (replicas == nil || *replicas == 0)
}

// hintOf is what an informer knows of an HPA. What it may lack is taken to be as it was when the annotation was written.
func hintOf(hpa *autoscalingv2.HorizontalPodAutoscaler) *bounds {
	b := &bounds{namespace: hpa.Namespace, name: hpa.Name, uid: hpa.UID, min: hpa.Spec.MinReplicas, max: hpa.Spec.MaxReplicas, ours: true}
	if b.annotation, b.annotated = hpa.Annotations[UserMinAnnotation]; b.annotated {
		var c claim
		if json.Unmarshal([]byte(b.annotation), &c) == nil {
			b.manifest = c.Manifest
		}
	}
	return b
}

// UserMin is the minimum that the owner of a workload's autoscaler wants: the one for the formula where limits.minReplicas is
// left out. It is never what Headroom wrote itself, which would ratchet.
func UserMin(hr *v1alpha1.Headroom, hpa *autoscalingv2.HorizontalPodAutoscaler) int32 {
	if hr.Spec.Actuation.Mode == v1alpha1.ActuateScaledObject {
		// The HPA's minimum is KEDA's copy of what is held. Before the first look 0 is right: Apply goes below no owner's minimum.
		if s := hr.Status.Actuation; s != nil && s.Mode == v1alpha1.ActuateScaledObject && s.Object == hr.Spec.Actuation.ScaledObjectName {
			return scaledObjectKind.effective(s.UserMinReplicas)
		}
		return scaledObjectKind.defaultMin
	}
	return hpaKind.effective(hintOf(hpa).owner(hr.Status.Actuation).user)
}

// withoutHPA is mode MinReplicas where the workload has no HPA, or more than one. Nothing is lowered for that: a second HPA, or
// one that is being re-created, is no reason to delete pods. Only an HPA that was turned to another workload is given back.
func (a *Actuator) withoutHPA(ctx context.Context, hr *v1alpha1.Headroom) (Held, error) {
	held := Held{Status: v1alpha1.ActuationStatus{Mode: v1alpha1.ActuateMinReplicas}}
	before := hr.Status.Actuation
	if before == nil || before.Object == "" {
		return held, nil
	}
	if before.Mode == v1alpha1.ActuateMinReplicas {
		live, err := hpaKind.read(ctx, a.Client, types.NamespacedName{Namespace: hr.Namespace, Name: before.Object})
		switch {
		case apierrors.IsNotFound(err):
			return held, nil
		case err != nil:
			return held, err
		}
		if manifest.SameTarget(targetOf(live), hr.Spec.ScaleTargetRef) {
			held.Status = *before
			return held, nil
		}
	}
	return held, a.giveBackAll(ctx, hr, keep{})
}

func targetOf(live autoscaler) autoscalingv2.CrossVersionObjectReference {
	text := func(field string) string {
		value, _, _ := unstructured.NestedString(live.Object, "spec", "scaleTargetRef", field)
		return value
	}
	return autoscalingv2.CrossVersionObjectReference{APIVersion: text("apiVersion"), Kind: text("kind"), Name: text("name")}
}
