package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
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
