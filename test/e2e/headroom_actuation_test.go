package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

func replicas(n int32) *int32 { return &n }

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// installCRD applies a CustomResourceDefinition and waits until its objects can be asked for.
func installCRD(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var object unstructured.Unstructured
	must(t, yaml.Unmarshal(text, &object.Object))
	_, err = shared.Dynamic.Resource(crds).Apply(t.Context(), object.GetName(), &object, metav1.ApplyOptions{FieldManager: "testbed", Force: true})
	must(t, err)
	must(t, testbed.WaitFor(t.Context(), soon, object.GetName()+" to be established", func(ctx context.Context) (bool, string) {
		live, err := shared.Dynamic.Resource(crds).Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, c := range conditions {
			if condition, ok := c.(map[string]any); ok && condition["type"] == "Established" && condition["status"] == "True" {
				return true, ""
			}
		}
		return false, fmt.Sprint(conditions)
	}))
}

func removeCRD(t *testing.T, name string) {
	t.Helper()
	must(t, client.IgnoreNotFound(shared.Dynamic.Resource(crds).Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{})))
	must(t, testbed.WaitFor(context.WithoutCancel(t.Context()), soon, name+" to be gone", func(ctx context.Context) (bool, string) {
		_, err := shared.Dynamic.Resource(crds).Get(ctx, name, metav1.GetOptions{})
		return client.IgnoreNotFound(err) == nil && err != nil, fmt.Sprint(err)
	}))
}

// writes counts what a client sent that changes something.
type writes struct {
	applies, patches atomic.Int64
	before           func() // called once, before the next write
}

func (w *writes) interfere() {
	if before := w.before; before != nil {
		w.before = nil
		before()
	}
}

func newClient(t *testing.T, config *rest.Config, w *writes) client.WithWatch {
	t.Helper()
	ctrllog.SetLogger(logr.Discard()) // it complains of none, once
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	plain, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	must(t, err)
	return interceptor.NewClient(plain, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, o ...client.ApplyOption) error {
			w.interfere()
			w.applies.Add(1)
			return c.Apply(ctx, object, o...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, p client.Patch, o ...client.PatchOption) error {
			if _, own := object.(*v1alpha1.Headroom); !own {
				w.interfere()
			}
			w.patches.Add(1)
			return c.Patch(ctx, object, p, o...)
		},
	})
}

// held is a Headroom whose floor a test gives, with the actuator that brings it.
type held struct {
	t               *testing.T
	namespace, name string
	client          client.Client
	writes          *writes
	actuator        *controller.Actuator
	now             time.Time
	last            controller.Held
}

// newHeld makes a namespace after the test and a Headroom in mode MinReplicas for the workload of the name.
func newHeld(t *testing.T, name string) *held {
	t.Helper()
	namespace := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
	return newHeldIn(t, strings.Trim(namespace[max(0, len(namespace)-50):], "-"), name)
}

func newHeldIn(t *testing.T, namespace, name string) *held {
	t.Helper()
	must(t, shared.InstallCRDs(t.Context()))
	w := &writes{}
	h := &held{
		t: t, namespace: namespace, name: name, client: newClient(t, shared.Config, w), writes: w, now: time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC),
	}
	must(t, shared.EnsureNamespace(t.Context(), h.namespace))
	h.actuator = &controller.Actuator{Client: h.client, Now: func() time.Time { return h.now }}
	must(t, h.client.Create(t.Context(), minReplicasHeadroom(h.namespace, name)))
	t.Cleanup(h.remove)
	return h
}

// remove takes the object away and leaves nothing held, so that no later test's controller finds it.
func (h *held) remove() {
	admin := newClient(h.t, shared.Config, &writes{})
	ctx := context.WithoutCancel(h.t.Context())
	_ = admin.Delete(ctx, minReplicasHeadroom(h.namespace, h.name)) // it may be gone already
	must(h.t, controller.ReleaseAll(ctx, admin, controller.ReleaseOptions{Namespace: h.namespace, Headroom: h.name}, func(controller.Released) {}))
}

func minReplicasHeadroom(namespace, name string) *v1alpha1.Headroom {
	return &v1alpha1.Headroom{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.HeadroomSpec{
			ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			Demand:         v1alpha1.Demand{Metric: &v1alpha1.DemandMetric{Name: "requests_per_second", Type: v1alpha1.PodsDemand}, PerReplica: resource.MustParse("10")},
			LeadTime:       v1alpha1.LeadTime{Mode: v1alpha1.LeadTimeAuto, Percentile: 90, Initial: metav1.Duration{Duration: 4 * time.Minute}},
			Forecast:       v1alpha1.Forecast{Mode: v1alpha1.ForecastOff, Risk: v1alpha1.Risk{Quantile: "0.95"}, History: metav1.Duration{Duration: 336 * time.Hour}},
			Actuation:      v1alpha1.Actuation{Mode: v1alpha1.ActuateMinReplicas, Deadband: v1alpha1.DeadbandNone},
		},
	}
}

func (h *held) object() *v1alpha1.Headroom {
	h.t.Helper()
	var hr v1alpha1.Headroom
	must(h.t, h.client.Get(h.t.Context(), types.NamespacedName{Namespace: h.namespace, Name: h.name}, &hr))
	return &hr
}

// change changes the object's spec, as its owner would.
func (h *held) change(change func(*v1alpha1.Headroom)) {
	h.t.Helper()
	hr := h.object()
	before := hr.DeepCopy()
	change(hr)
	must(h.t, h.client.Patch(h.t.Context(), hr, client.MergeFrom(before)))
}

func (h *held) hpa() *autoscalingv2.HorizontalPodAutoscaler {
	h.t.Helper()
	var hpa autoscalingv2.HorizontalPodAutoscaler
	switch err := h.client.Get(h.t.Context(), types.NamespacedName{Namespace: h.namespace, Name: h.name}, &hpa); {
	case client.IgnoreNotFound(err) != nil:
		must(h.t, err)
	case err != nil:
		return nil
	}
	// As the adapter's informer keeps it: without managed fields, owners and most annotations.
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: hpa.Namespace, Name: hpa.Name, UID: hpa.UID, ResourceVersion: hpa.ResourceVersion, Annotations: keepOwn(hpa.Annotations)},
		Spec:       hpa.Spec,
	}
}

func keepOwn(annotations map[string]string) map[string]string {
	own := map[string]string{}
	for key, value := range annotations {
		if strings.HasPrefix(key, "headroom.dev/") {
			own[key] = value
		}
	}
	return own
}

// wants brings a floor as the controller does: from an HPA out of an informer, and the status is written after it.
func (h *held) wants(w controller.Wanted) error {
	h.t.Helper()
	hr := h.object()
	var err error
	h.last, err = h.actuator.Apply(h.t.Context(), hr, h.hpa(), w)
	before := hr.DeepCopy()
	hr.Status.Actuation = &h.last.Status
	must(h.t, h.client.Status().Patch(h.t.Context(), hr, client.MergeFrom(before)))
	return err
}

func (h *held) apply(floor int32) *held {
	h.t.Helper()
	must(h.t, h.wants(controller.Wanted{Floor: floor, MayLower: true}))
	return h
}

func (h *held) release() *held {
	h.t.Helper()
	must(h.t, h.actuator.Release(h.t.Context(), h.object()))
	return h
}

func (h *held) live() *unstructured.Unstructured {
	h.t.Helper()
	live, err := shared.Dynamic.Resource(hpas).Namespace(h.namespace).Get(h.t.Context(), h.name, metav1.GetOptions{})
	must(h.t, err)
	return live
}

func (h *held) min() int32 {
	h.t.Helper()
	min, _, err := unstructured.NestedInt64(h.live().Object, "spec", "minReplicas")
	must(h.t, err)
	return int32(min)
}

func (h *held) managers() map[string]bool {
	h.t.Helper()
	managers := map[string]bool{}
	for _, entry := range h.live().GetManagedFields() {
		managers[entry.Manager] = true
	}
	return managers
}

// stands checks the HPA's minimum.
func (h *held) stands(want int32) *held {
	h.t.Helper()
	if got := h.min(); got != want {
		text, _ := json.MarshalIndent(h.live().Object["metadata"], "", " ")
		h.t.Fatalf("minReplicas is %d, want %d\n%+v\n%s", got, want, h.last, text)
	}
	return h
}

// userMin checks what the last Apply takes for the owner's minimum, and that the formula's own reading agrees.
func (h *held) userMin(want int32) *held {
	h.t.Helper()
	if h.last.UserMin == nil || *h.last.UserMin != want {
		h.t.Fatalf("the owner's minimum is read as %v, want %d", h.last.UserMin, want)
	}
	if got := controller.UserMin(h.object(), h.hpa()); got != want {
		h.t.Fatalf("UserMin is %d, want %d", got, want)
	}
	return h
}

// problem checks the last Apply's problem.
func (h *held) problem(want controller.ProblemReason) *held {
	h.t.Helper()
	var got controller.ProblemReason
	if h.last.Problem != nil {
		got = h.last.Problem.Reason
	}
	if got != want {
		h.t.Fatalf("problem %s (%+v), want %s", got, h.last.Problem, want)
	}
	return h
}

// scaledToZero waits until the HPA has scaled to zero and says so.
func (h *held) scaledToZero() {
	h.t.Helper()
	must(h.t, testbed.WaitFor(h.t.Context(), soon, "the HPA to scale to zero and say so", func(ctx context.Context) (bool, string) {
		hpa, err := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(h.namespace).Get(ctx, h.name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return slices.ContainsFunc(hpa.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
			return c.Type == autoscalingv2.ScaledToZero && c.Status == "True"
		}), shared.DescribeHPA(ctx, h.namespace, h.name)
	}))
}

const noProblem = controller.ProblemReason(0)

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
	must(t, kubectl(t.Context(), hpaManifest(h.namespace, "llm", replicas(3))))
	h.writes.before = func() { must(t, kubectl(t.Context(), hpaManifest(h.namespace, "llm", replicas(5)))) }
	h.apply(8).stands(8).userMin(5)
	h.writes.before = func() { must(t, kubectl(t.Context(), hpaManifest(h.namespace, "llm", replicas(6)))) }
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
			must(t, o.apply(t.Context(), hpaManifest(h.namespace, "llm", replicas(3))))
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
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", replicas(3))))
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
	heal := func() { must(t, argo(t.Context(), hpaManifest(h.namespace, "llm", replicas(3)))) }
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
	h.change(func(hr *v1alpha1.Headroom) { hr.Spec.Limits.MaxReplicas = replicas(15) })
	h.apply(9).stands(9).problem(noProblem)
	h.release().stands(3)
}

func TestAnHPAThatIsCreatedAgainBringsItsOwnMinimum(t *testing.T) {
	h := newHeld(t, "llm")
	client := shared.Dynamic.Resource(hpas).Namespace(h.namespace)
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", replicas(3))))
	h.apply(8).stands(8).userMin(3)
	copied := h.live().GetAnnotations()[controller.UserMinAnnotation]

	must(t, client.Delete(t.Context(), "llm", metav1.DeleteOptions{}))
	must(t, h.wants(controller.Wanted{Floor: 8, MayLower: true}))
	again := hpaManifest(h.namespace, "llm", replicas(5))
	again.SetAnnotations(map[string]string{controller.UserMinAnnotation: copied})
	_, err := client.Create(t.Context(), again, metav1.CreateOptions{FieldManager: "kubectl-create"})
	must(t, err)
	h.apply(8).stands(8).userMin(5)
	h.release().stands(5)
}

func TestAnAnnotationThatIsLostIsNotMisread(t *testing.T) {
	h := newHeld(t, "llm")
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", replicas(3))))
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
	manifest := hpaManifest(h.namespace, "llm", replicas(1))
	manifest.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "llm", UID: "a", Controller: &[]bool{true}[0]}})
	must(t, replace(t.Context(), manifest))
	h.apply(8).problem(controller.ManagedByKEDA)
	if h.writes.applies.Load() != 0 {
		t.Error("it wrote to KEDA's HPA")
	}
}

func TestOneHeadroomHoldsAnHPA(t *testing.T) {
	h := newHeld(t, "llm")
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", replicas(3))))
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
	must(t, replace(t.Context(), hpaManifest(h.namespace, "llm", replicas(3))))
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
