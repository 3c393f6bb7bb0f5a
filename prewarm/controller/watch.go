package controller

import (
	"context"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// onlyBounds strips an HPA to what tells that somebody wrote its bounds: its spec is read elsewhere.
func onlyBounds(object any) (any, error) {
	hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return object, nil // a tombstone
	}
	kept := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: hpa.Name, Namespace: hpa.Namespace, UID: hpa.UID, ResourceVersion: hpa.ResourceVersion},
		Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: hpa.Spec.ScaleTargetRef, MinReplicas: hpa.Spec.MinReplicas, MaxReplicas: hpa.Spec.MaxReplicas},
	}
	for key, value := range hpa.Annotations {
		if strings.HasPrefix(key, v1alpha1.Group+"/") {
			metav1.SetMetaDataAnnotation(&kept.ObjectMeta, key, value)
		}
	}
	return kept, nil
}

// boundsChanged lets through that an HPA is new or that its bounds, or what is held of them, have changed.
var boundsChanged = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return true },
	DeleteFunc:  func(event.DeleteEvent) bool { return true },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*autoscalingv2.HorizontalPodAutoscaler)
		after, ok2 := e.ObjectNew.(*autoscalingv2.HorizontalPodAutoscaler)
		return !ok || !ok2 || minimumOf(before) != minimumOf(after) || before.Spec.MaxReplicas != after.Spec.MaxReplicas ||
			before.Spec.ScaleTargetRef != after.Spec.ScaleTargetRef || before.Annotations[UserMinAnnotation] != after.Annotations[UserMinAnnotation]
	},
}

func minimumOf(hpa *autoscalingv2.HorizontalPodAutoscaler) int32 {
	if hpa.Spec.MinReplicas == nil {
		return 1 // the API server's default
	}
	return *hpa.Spec.MinReplicas
}

// informersApart is how far the process's own HPA informer, from which a look reads, may be behind the watch that asks for it.
const informersApart = 200 * time.Millisecond

// whenBoundsChange has the objects of an HPA looked at.
func (r *reconciler) whenBoundsChange() handler.EventHandler {
	look := func(ctx context.Context, object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, request := range r.headroomsOf(ctx, object) {
			queue.AddAfter(request, informersApart)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			look(ctx, e.Object, queue)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			look(ctx, e.ObjectNew, queue)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			look(ctx, e.Object, queue)
		},
	}
}

// headroomsOf are the objects that hold an HPA's target in mode MinReplicas.
func (r *reconciler) headroomsOf(ctx context.Context, object client.Object) []reconcile.Request {
	hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return nil
	}
	var list v1alpha1.HeadroomList
	if err := r.client.List(ctx, &list, client.InNamespace(hpa.Namespace)); err != nil {
		return nil // the next look comes by itself
	}
	var requests []reconcile.Request
	for i := range list.Items {
		hr := &list.Items[i]
		if hr.Spec.Actuation.Mode == v1alpha1.ActuateMinReplicas && manifest.SameTarget(hpa.Spec.ScaleTargetRef, hr.Spec.ScaleTargetRef) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(hr)})
		}
	}
	return requests
}
