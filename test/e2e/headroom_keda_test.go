package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

var (
	scaledObjects   = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}
	capacityBuffers = schema.GroupVersionResource{Group: "autoscaling.x-k8s.io", Version: "v1beta1", Resource: "capacitybuffers"}
)

func installKEDAsCRD(t *testing.T) {
	t.Helper()
	installCRD(t, "testdata/scaledobjects.keda.sh.yaml")
	t.Cleanup(func() { removeCRD(t, "scaledobjects.keda.sh") })
}

func (h *held) scaledObject() *unstructured.Unstructured {
	h.t.Helper()
	live, err := shared.Dynamic.Resource(scaledObjects).Namespace(h.namespace).Get(h.t.Context(), h.name, metav1.GetOptions{})
	must(h.t, err)
	return live
}

func (h *held) patchScaledObject(format string, args ...any) {
	h.t.Helper()
	_, err := shared.Dynamic.Resource(scaledObjects).Namespace(h.namespace).Patch(h.t.Context(), h.name, types.MergePatchType,
		fmt.Appendf(nil, format, args...), metav1.PatchOptions{FieldManager: "kubectl-patch"})
	must(h.t, err)
}

// counts checks minReplicaCount; want nil is a field that is left out.
func (h *held) counts(want *int32) *held {
	h.t.Helper()
	got, there, err := unstructured.NestedInt64(h.scaledObject().Object, "spec", "minReplicaCount")
	must(h.t, err)
	if there != (want != nil) || there && got != int64(*want) {
		h.t.Fatalf("minReplicaCount is %d (%v), want %v\n%+v", got, there, want, h.last)
	}
	return h
}

// kedaMakesItsHPA does with the ScaledObject what KEDA does: the HPA's minimum is minReplicaCount, or 1 where that is 0 or left
// out, its maximum maxReplicaCount.
func (h *held) kedaMakesItsHPA() {
	h.t.Helper()
	spec := h.scaledObject().Object["spec"].(map[string]any)
	min, ok := spec["minReplicaCount"].(int64)
	if !ok || min == 0 {
		min = 1
	}
	max, ok := spec["maxReplicaCount"].(int64)
	if !ok {
		max = 100
	}
	hpa := hpaManifest(h.namespace, h.name, new(int32(min)))
	hpa.SetName("keda-hpa-" + h.name)
	must(h.t, unstructured.SetNestedField(hpa.Object, max, "spec", "maxReplicas"))
	must(h.t, replace(h.t.Context(), hpa))
}

func newScaledObject(namespace, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{
			"scaleTargetRef": map[string]any{"name": name},
			"triggers":       []any{map[string]any{"type": "prometheus", "metadata": map[string]any{"query": "up", "threshold": "1"}}},
		},
	}}
}

func TestAFloorReachesAScaledObject(t *testing.T) {
	h := newHeld(t, "llm")
	f := deploy(t, "llm", 1)
	h.change(func(hr *v1alpha1.Headroom) {
		hr.Spec.Actuation.Mode, hr.Spec.Actuation.ScaledObjectName = v1alpha1.ActuateScaledObject, "llm"
	})
	h.apply(4).problem(controller.KEDANotInstalled)
	t.Log(h.last.Problem.Message)
	installKEDAsCRD(t)
	h.apply(4).problem(controller.ScaledObjectNotFound)
	if controller.HasFinalizer(h.object()) {
		t.Error("a finalizer though nothing is held")
	}
	client := shared.Dynamic.Resource(scaledObjects).Namespace(h.namespace)
	_, err := client.Create(t.Context(), newScaledObject(h.namespace, "llm"), metav1.CreateOptions{FieldManager: "kubectl-create"})
	must(t, err)
	before := h.scaledObject().Object["spec"]

	h.apply(4).counts(new(int32(4))).problem(noProblem)
	h.kedaMakesItsHPA()
	f.wait(t, 4)
	if got := controller.UserMin(h.object(), nil); got != 0 || *h.last.UserMin != 0 || h.last.Status.UserMinReplicas != nil {
		t.Errorf("the owner left the minimum out: %d, %+v", got, h.last)
	}
	applies := h.writes.applies.Load()
	h.apply(4).apply(4)
	if h.writes.applies.Load() != applies {
		t.Error("it writes though nothing changed")
	}
	h.apply(500).counts(new(int32(100))) // KEDA's default maximum
	h.patchScaledObject(`{"spec":{"minReplicaCount":3,"maxReplicaCount":10}}`)
	h.apply(500).counts(new(int32(10)))
	if *h.last.UserMin != 3 {
		t.Errorf("the owner's minimum is read as %d", *h.last.UserMin)
	}
	must(t, h.wants(controller.Wanted{Floor: 5}))
	h.counts(new(int32(10))) // demand is unknown

	h.patchScaledObject(`{"spec":{"idleReplicaCount":0}}`)
	h.apply(7).counts(new(int32(7))).problem(controller.ScaledObjectIdles)
	h.patchScaledObject(`{"spec":{"idleReplicaCount":null},"metadata":{"annotations":{"autoscaling.keda.sh/paused":"true"}}}`)
	h.apply(5).counts(new(int32(7))).problem(controller.ScaledObjectPaused)
	h.patchScaledObject(`{"metadata":{"annotations":{"autoscaling.keda.sh/paused":"false"}}}`)
	h.apply(5).counts(new(int32(5))).problem(noProblem)
	h.patchScaledObject(`{"spec":{"minReplicaCount":null,"maxReplicaCount":null}}`)
	h.apply(5).counts(new(int32(5)))
	h.release().counts(nil)
	if after := h.scaledObject(); !equal(before, after.Object["spec"]) || controller.HasFinalizer(h.object()) {
		t.Errorf("given back: %v, was %v", after.Object["spec"], before)
	}
	for _, entry := range h.scaledObject().GetManagedFields() {
		if entry.Manager == "headroom" {
			t.Errorf("Headroom still owns %s", entry.FieldsV1.GetRawString())
		}
	}

	// From KEDA to a plain HPA: the ScaledObject is given back before the HPA is raised.
	h.apply(5).counts(new(int32(5)))
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", new(int32(2)))))
	h.change(func(hr *v1alpha1.Headroom) {
		hr.Spec.Actuation.Mode, hr.Spec.Actuation.ScaledObjectName = v1alpha1.ActuateMinReplicas, ""
	})
	h.apply(6).counts(nil).stands(6).userMin(2)
	h.change(func(hr *v1alpha1.Headroom) {
		hr.Spec.Actuation.Mode, hr.Spec.Actuation.ScaledObjectName = v1alpha1.ActuateScaledObject, "llm"
	})
	h.apply(6).stands(2).counts(new(int32(6)))

	for range 3 {
		h.patchScaledObject(`{"spec":{"minReplicaCount":null}}`)
		h.now = h.now.Add(time.Minute)
		h.apply(6)
	}
	h.counts(nil).problem(controller.ForeignOwner)

	// KEDA is taken away while something is held: no error, and the Headroom can go.
	h.change(func(hr *v1alpha1.Headroom) { hr.Spec.Limits.MaxReplicas = new(int32(50)) })
	h.apply(6).counts(new(int32(6)))
	removeCRD(t, "scaledobjects.keda.sh")
	h.apply(7)
	if h.last.Problem == nil {
		t.Error("no problem without KEDA")
	}
	h.release()
}

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestACapacityBufferIsSized(t *testing.T) {
	h := newHeld(t, "llm")
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
	h.change(func(hr *v1alpha1.Headroom) { hr.Spec.CapacityBuffer = &v1alpha1.CapacityBufferRef{Name: "nodes"} })
	spare := func(n int32) { must(t, h.wants(controller.Wanted{Floor: 8, MayLower: true, SpareReplicas: &n})) }
	has := func(want controller.ProblemReason) {
		t.Helper()
		var got controller.ProblemReason
		if p := h.last.BufferProblem; p != nil {
			got = p.Reason
		}
		if got != want {
			t.Fatalf("%+v, want %s", h.last.BufferProblem, want)
		}
		h.stands(8).problem(noProblem) // a buffer in trouble is no trouble for the floor
	}
	spare(4)
	has(controller.CapacityBufferNotServed)
	installCRD(t, "testdata/capacitybuffers.autoscaling.x-k8s.io.yaml")
	defer removeCRD(t, "capacitybuffers.autoscaling.x-k8s.io")
	spare(4)
	has(controller.CapacityBufferNotFound)

	client := shared.Dynamic.Resource(capacityBuffers).Namespace(h.namespace)
	buffer := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "autoscaling.x-k8s.io/v1beta1", "kind": "CapacityBuffer", "metadata": map[string]any{"name": "nodes"},
		"spec": map[string]any{"scalableRef": map[string]any{"apiGroup": "apps", "kind": "Deployment", "name": "llm"}},
	}}
	_, err := client.Create(t.Context(), buffer, metav1.CreateOptions{FieldManager: "kubectl-create"})
	must(t, err)
	stands := func(want int64) {
		t.Helper()
		live, err := client.Get(t.Context(), "nodes", metav1.GetOptions{})
		must(t, err)
		if got, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); got != want || int64(*h.last.Status.CapacityBufferReplicas) != want {
			t.Fatalf("replicas %d, status %d, want %d", got, *h.last.Status.CapacityBufferReplicas, want)
		}
		for _, entry := range live.GetManagedFields() {
			if entry.Manager == "headroom" && string(entry.FieldsV1.GetRawBytes()) != `{"f:spec":{"f:replicas":{}}}` {
				t.Errorf("Headroom wrote more than replicas: %s", entry.FieldsV1.GetRawString())
			}
		}
	}
	for _, n := range []int32{4, 0, 7} {
		spare(n)
		has(noProblem)
		stands(int64(n))
	}
	patches := h.writes.patches.Load()
	spare(7)
	must(t, h.wants(controller.Wanted{Floor: 8})) // demand is unknown: what stands stays
	stands(7)
	if h.writes.patches.Load() > patches+2 { // the status of the Headroom itself
		t.Error("it writes though nothing changed")
	}
	_, err = client.Patch(t.Context(), "nodes", types.MergePatchType, []byte(`{"spec":{"percentage":50}}`), metav1.PatchOptions{})
	must(t, err)
	spare(7)
	has(controller.CapacityBufferHasPercentage)

	// Shadow acts on nothing.
	h.change(func(hr *v1alpha1.Headroom) { hr.Spec.Actuation.Mode = v1alpha1.ActuateNone })
	shadow := int32(9)
	must(t, h.wants(controller.Wanted{Floor: 8, MayLower: true, SpareReplicas: &shadow}))
	live, err := client.Get(t.Context(), "nodes", metav1.GetOptions{})
	must(t, err)
	if got, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); got != 7 || h.last.Status.CapacityBufferReplicas != nil {
		t.Errorf("in shadow the buffer has %d replicas, the status says %v", got, h.last.Status.CapacityBufferReplicas)
	}
	h.stands(3)
}

// TestTheRightsThatAreDocumentedAreEnough runs the actuator with nothing but them, and then without one.
func TestTheRightsThatAreDocumentedAreEnough(t *testing.T) {
	h := newHeld(t, "llm")
	installKEDAsCRD(t)
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
	role := grant(t, h.namespace, []rule{
		{"autoscaling", "horizontalpodautoscalers", []string{"get", "list", "patch"}},
		{"headroom.dev", "headrooms", []string{"get", "list", "patch"}},
	})
	h.actuator.Client = newClient(t, role.config, h.writes)
	h.apply(8).stands(8).problem(noProblem)
	h.apply(6).stands(6).problem(noProblem)
	h.release().stands(3) // KEDA's objects are forbidden, and none of them is held

	role.change(t, []rule{
		{"autoscaling", "horizontalpodautoscalers", []string{"get", "list"}},
		{"headroom.dev", "headrooms", []string{"get", "list", "patch"}},
	})
	must(t, testbed.WaitFor(t.Context(), soon, "the right to be gone", func(context.Context) (bool, string) {
		h.apply(8)
		return h.last.Problem != nil, "it still writes"
	}))
	h.problem(controller.RefusedByServer)
	if message := h.last.Problem.Message; !strings.Contains(message, "cannot patch resource") {
		t.Error(message)
	}
	// What is held and cannot be given back keeps its finalizer.
	h.actuator.Client = h.client
	h.apply(8).stands(8)
	h.actuator.Client = newClient(t, role.config, h.writes)
	if err := h.actuator.Release(t.Context(), h.object()); err == nil || !controller.HasFinalizer(h.object()) {
		t.Errorf("released without the right to: %v", err)
	}
	h.stands(8)
}
