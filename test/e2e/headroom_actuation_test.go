package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// TestAFloorReachesPodsThroughMinReplicas is the whole way on a real HPA that also has a metric of its own.
func TestAFloorReachesPodsThroughMinReplicas(t *testing.T) {
	h := newHeld(t, "llm")
	f := deploy(t, "llm", 2)
	if f.namespace != h.namespace {
		t.Fatalf("%s and %s", f.namespace, h.namespace)
	}
	var offered atomic.Int64
	offered.Store(30)
	shared.exporter.ExportFunc(integrate(f, "app_requests_total", func() float64 { return float64(offered.Load()) }))
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 2, 12, testbed.PodsMetric("requests_per_second", "10")))
	f.wait(t, 3)

	h.apply(7).stands(7).userMin(2).problem(noProblem)
	f.wait(t, 7)
	applies, patches := h.writes.applies.Load(), h.writes.patches.Load()
	for range 5 {
		h.apply(7)
	}
	if a, p := h.writes.applies.Load(), h.writes.patches.Load(); a != applies || p != patches {
		t.Errorf("%d applies and %d patches though nothing changed", a-applies, p-patches)
	}
	if hr := h.object(); !controller.HasFinalizer(hr) || *hr.Status.Actuation.AppliedMinReplicas != 7 {
		t.Errorf("finalizers %v, %+v", hr.Finalizers, hr.Status.Actuation)
	}

	h.apply(50).stands(12).userMin(2) // the HPA's maximum
	f.wait(t, 12)

	// Demand is unknown: nothing is lowered, and what a window asks for is raised.
	must(t, h.wants(controller.Wanted{Floor: 4}))
	h.stands(12)
	f.stays(t, 12, 2*stabilization)

	h.apply(5).stands(5)
	f.wait(t, 5)
	h.release().stands(2)
	f.wait(t, 3) // what the HPA's own metric asks for
	if hr := h.object(); controller.HasFinalizer(hr) {
		t.Errorf("finalizers after the release: %v", hr.Finalizers)
	}
	if _, there := h.live().GetAnnotations()[controller.UserMinAnnotation]; there {
		t.Error("the annotation is still there")
	}
}

// TestAnOwnersChangeIsNotLost lets the owner write between Headroom's read and its write.
func TestAnOwnersChangeIsNotLost(t *testing.T) {
	h := newHeld(t, "llm")
	kubectl := clientSideApply("kubectl-client-side-apply")
	must(t, kubectl(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
	h.writes.before = func() { must(t, kubectl(t.Context(), hpaManifest(h.namespace, "llm", new(int32(5))))) }
	h.apply(8).stands(8).userMin(5)
	h.writes.before = func() { must(t, kubectl(t.Context(), hpaManifest(h.namespace, "llm", new(int32(6))))) }
	h.release().stands(6)
	if h.apply(8).stands(8).userMin(6); h.writes.before != nil {
		t.Fatal("nobody interfered")
	}
	h.writes.before = func() {
		must(t, shared.Client.AutoscalingV2().HorizontalPodAutoscalers(h.namespace).Delete(t.Context(), "llm", metav1.DeleteOptions{}))
	}
	must(t, h.wants(controller.Wanted{Floor: 9, MayLower: true}))
	if h.hpa() != nil {
		t.Error("an apply brought a deleted HPA back")
	}
	h.release() // there is nothing to give back
}

// TestNobodysLastWordIsLost lets an owner and Headroom write at the same time, as fast as they can.
func TestNobodysLastWordIsLost(t *testing.T) {
	for _, o := range []owner{
		{name: "client-side", apply: clientSideApply("kubectl-client-side-apply")}, {name: "server-side", apply: serverSideApply("kustomize-controller", true)},
	} {
		t.Run(o.name, func(t *testing.T) {
			h := newHeld(t, "llm")
			must(t, o.apply(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
			last, done := int32(3), make(chan error, 1)
			go func() {
				random := rand.New(rand.NewPCG(3, 4))
				for range 150 {
					value := 1 + random.Int32N(20)
					switch err := o.apply(t.Context(), hpaManifest(h.namespace, "llm", &value)); {
					case err == nil:
						last = value
					case !apierrors.IsConflict(err):
						done <- err
						return
					}
				}
				done <- nil
			}()
			random, looks, gaveUp := rand.New(rand.NewPCG(5, 6)), 0, 0
			for running := true; running; looks++ {
				switch err := h.wants(controller.Wanted{Floor: random.Int32N(25), MayLower: random.IntN(2) == 0}); {
				case apierrors.IsConflict(err):
					gaveUp++ // for this round
				default:
					must(t, err)
				}
				h.now = h.now.Add(15 * time.Minute) // no feud
				select {
				case err := <-done:
					must(t, err)
					running = false
				default:
				}
			}
			h.apply(20).stands(20).userMin(last)
			h.release().stands(last)
			t.Logf("%d looks beside 150 applies, %d of them gave up for a round; %d writes", looks, gaveUp, h.writes.applies.Load())
		})
	}
}

// TestAMaximumBelowWhatIsHeldIsTheOwnersToSay shows what kube-apiserver lets an owner do while a minimum is held.
func TestAMaximumBelowWhatIsHeldIsTheOwnersToSay(t *testing.T) {
	h := newHeld(t, "llm")
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
	h.apply(8).stands(8)
	patch := func(text string) error {
		_, err := shared.Dynamic.Resource(hpas).Namespace(h.namespace).Patch(t.Context(), "llm", types.MergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
	if err := patch(`{"spec":{"maxReplicas":5}}`); !apierrors.IsInvalid(err) {
		t.Fatalf("maxReplicas below what is held: %v", err)
	}
	must(t, patch(`{"spec":{"maxReplicas":5,"minReplicas":2}}`))
	h.apply(8).stands(5).userMin(2)
	h.release().stands(2)
}

func TestWhoPutsItBackAgainAndAgainIsLeftAlone(t *testing.T) {
	h := newHeld(t, "llm")
	argo := clientSideApply("argocd-controller")
	heal := func() { must(t, argo(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3))))) }
	heal()
	h.apply(8).stands(8).problem(noProblem)
	for range 2 {
		heal()
		h.now = h.now.Add(time.Minute)
		h.apply(8).stands(8).problem(noProblem)
	}
	heal()
	h.now = h.now.Add(time.Minute)
	h.apply(8).stands(3).userMin(3).problem(controller.ForeignOwner)
	t.Log(h.last.Problem.Message)
	if !strings.Contains(h.last.Problem.Message, "argocd-controller") {
		t.Errorf("the message does not name the manager: %s", h.last.Problem.Message)
	}
	if _, there := h.live().GetAnnotations()[controller.UserMinAnnotation]; there {
		t.Error("an annotation says that Headroom holds what it does not")
	}
	applies, patches := h.writes.applies.Load(), h.writes.patches.Load()
	for range 10 {
		h.now = h.now.Add(5 * time.Minute)
		h.apply(9).stands(3).problem(controller.ForeignOwner)
	}
	if h.writes.applies.Load() != applies || h.writes.patches.Load() != patches {
		t.Error("it writes during the truce")
	}
	h.now = h.now.Add(11 * time.Minute)
	h.apply(9).stands(9).userMin(3).problem(noProblem)
	heal()
	h.now = h.now.Add(time.Minute)
	h.apply(9).stands(3).problem(controller.ForeignOwner) // one is enough now
	h.change(func(hr *v1alpha1.Headroom) { hr.Spec.Limits.MaxReplicas = new(int32(15)) })
	h.apply(9).stands(9).problem(noProblem)
	h.release().stands(3)
}

func TestAnHPAThatIsCreatedAgainBringsItsOwnMinimum(t *testing.T) {
	h := newHeld(t, "llm")
	client := shared.Dynamic.Resource(hpas).Namespace(h.namespace)
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
	h.apply(8).stands(8).userMin(3)
	copied := h.live().GetAnnotations()[controller.UserMinAnnotation]

	must(t, client.Delete(t.Context(), "llm", metav1.DeleteOptions{}))
	must(t, h.wants(controller.Wanted{Floor: 8, MayLower: true}))
	again := hpaManifest(h.namespace, "llm", new(int32(5)))
	again.SetAnnotations(map[string]string{controller.UserMinAnnotation: copied})
	_, err := client.Create(t.Context(), again, metav1.CreateOptions{FieldManager: "kubectl-create"})
	must(t, err)
	h.apply(8).stands(8).userMin(5)
	h.release().stands(5)
}

func TestAnAnnotationThatIsLostIsNotMisread(t *testing.T) {
	h := newHeld(t, "llm")
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
	h.apply(8).stands(8).userMin(3)
	_, err := shared.Dynamic.Resource(hpas).Namespace(h.namespace).Patch(t.Context(), "llm", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"`+controller.UserMinAnnotation+`":null}}}`), metav1.PatchOptions{FieldManager: "kubectl-annotate"})
	must(t, err)
	h.apply(9).stands(9).userMin(3)
	h.release().stands(3)
}

// TestAnHPAThatGoesToZeroKeepsWorking needs the gate that Kubernetes 1.37 turns on by default.
func TestAnHPAThatGoesToZeroKeepsWorking(t *testing.T) {
	h := newHeld(t, "llm")
	f := deploy(t, "llm", 1)
	var lag atomic.Int64
	shared.exporter.ExportFunc(func(time.Time) string {
		return fmt.Sprintf("kafka_consumergroup_lag{namespace=\"kafka\",consumergroup=\"zero\",topic=\"t\",partition=\"0\"} %d\n", lag.Load())
	})
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 0, 12, testbed.ExternalMetric("kafka_consumer_lag", map[string]string{"consumergroup": "zero"}, "1000")))
	h.scaledToZero()
	h.apply(0).stands(0).userMin(0).problem(noProblem)
	if controller.HasFinalizer(h.object()) {
		t.Error("a finalizer though nothing is held")
	}
	h.apply(2).stands(2).userMin(0).problem(noProblem)
	f.wait(t, 2)
	h.apply(0).stands(0)
	h.scaledToZero()
	h.apply(2)
	f.wait(t, 2)
	h.release().stands(0)
	h.scaledToZero()

	// A person scaled it to zero: a minimum above 0 changes nothing, and switches off the HPA's way up by its metric.
	lag.Store(2500)
	f.wait(t, 3)
	byHand := func(n int) {
		_, err := shared.Client.AppsV1().Deployments(f.namespace).Patch(t.Context(), f.name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{})
		must(t, err)
	}
	byHand(0)
	must(t, testbed.WaitFor(t.Context(), soon, "the HPA to see it", func(ctx context.Context) (bool, string) {
		hpa, err := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(f.namespace).Get(ctx, f.name, metav1.GetOptions{})
		return err == nil && hpa.Status.CurrentReplicas == 0, shared.DescribeHPA(ctx, f.namespace, f.name)
	}))
	h.apply(2).stands(0).problem(controller.WorkloadAtZero)

	// The metric is taken out while a minimum is held: 0 is no longer allowed.
	byHand(1)
	f.wait(t, 3)
	h.apply(2).stands(2).problem(noProblem)
	_, err := shared.Dynamic.Resource(hpas).Namespace(h.namespace).Patch(t.Context(), "llm", types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/spec/metrics","value":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]}]`), metav1.PatchOptions{})
	must(t, err)
	h.release().stands(1)
}

func TestKEDAsHPAIsLeftToKEDA(t *testing.T) {
	h := newHeld(t, "llm")
	manifest := hpaManifest(h.namespace, "llm", new(int32(1)))
	manifest.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "llm", UID: "a", Controller: &[]bool{true}[0]}})
	must(t, replace(t.Context(), manifest))
	h.apply(8).problem(controller.ManagedByKEDA)
	if h.writes.applies.Load() != 0 {
		t.Error("it wrote to KEDA's HPA")
	}
}

func TestOneHeadroomHoldsAnHPA(t *testing.T) {
	h := newHeld(t, "llm")
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
	h.apply(8).stands(8)
	second := minReplicasHeadroom(h.namespace, "second")
	second.Spec.ScaleTargetRef.Name = "llm"
	must(t, h.client.Create(t.Context(), second))
	got, err := h.actuator.Apply(t.Context(), second, h.hpa(), controller.Wanted{Floor: 6, MayLower: true})
	must(t, err)
	if got.Problem == nil || got.Problem.Reason != controller.HeldByAnother {
		t.Fatalf("%+v", got.Problem)
	}
	h.stands(8)
	// The first goes, finalizer and all; the second inherits what is held and what is to be given back.
	h.change(func(hr *v1alpha1.Headroom) { hr.Finalizers = nil })
	must(t, h.client.Delete(t.Context(), h.object()))
	got, err = h.actuator.Apply(t.Context(), second, h.hpa(), controller.Wanted{Floor: 6, MayLower: true})
	must(t, err)
	if h.stands(6); got.Problem != nil || *got.UserMin != 3 {
		t.Fatalf("%+v %d", got.Problem, *got.UserMin)
	}
	must(t, h.actuator.Release(t.Context(), second))
	h.stands(3)
}

func TestAChangeOfModeOrTargetGivesBackFirst(t *testing.T) {
	h := newHeld(t, "llm")
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", new(int32(3)))))
	h.apply(8).stands(8)
	for _, mode := range []v1alpha1.ActuationMode{v1alpha1.ActuateNone, v1alpha1.ActuateMetric} {
		h.change(func(hr *v1alpha1.Headroom) { hr.Spec.Actuation.Mode = mode })
		h.apply(8).stands(3)
		if hr := h.object(); controller.HasFinalizer(hr) || hr.Status.Actuation.Mode != mode || hr.Status.Actuation.AppliedMinReplicas != nil {
			t.Errorf("%s: finalizers %v, %+v", mode, hr.Finalizers, hr.Status.Actuation)
		}
		h.change(func(hr *v1alpha1.Headroom) { hr.Spec.Actuation.Mode = v1alpha1.ActuateMinReplicas })
		h.apply(8).stands(8)
	}
	// No HPA is found for a moment, as when a second one appears: nothing is lowered.
	hr := h.object()
	got, err := h.actuator.Apply(t.Context(), hr, nil, controller.Wanted{Floor: 8, MayLower: true})
	must(t, err)
	if h.stands(8); got.Status.Object != "llm" {
		t.Errorf("%+v", got.Status)
	}
	// The HPA is turned to another workload.
	_, err = shared.Dynamic.Resource(hpas).Namespace(h.namespace).Patch(t.Context(), "llm", types.MergePatchType, []byte(`{"spec":{"scaleTargetRef":{"name":"another"}}}`), metav1.PatchOptions{})
	must(t, err)
	got, err = h.actuator.Apply(t.Context(), hr, nil, controller.Wanted{Floor: 8, MayLower: true})
	must(t, err)
	if h.stands(3); got.Status.Object != "" {
		t.Errorf("%+v", got.Status)
	}
}
