package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// handOver is how long a dead leader's lease lasts, with what another needs to notice and begin.
const handOver = 15*time.Second + soon

// everyWay runs a story by each of the actuations that reach an HPA.
func everyWay(t *testing.T, story func(t *testing.T, start func(load int64, change func(*v1alpha1.HeadroomSpec)) *ahead)) {
	t.Helper()
	t.Run("as a metric", func(t *testing.T) {
		story(t, func(load int64, change func(*v1alpha1.HeadroomSpec)) *ahead {
			a := startAhead(t, load, v1alpha1.ActuateMetric, change)
			a.headroomHPA(t, 40, "0")
			return a
		})
	})
	t.Run("as a minimum", func(t *testing.T) {
		story(t, func(load int64, change func(*v1alpha1.HeadroomSpec)) *ahead {
			a := startAhead(t, load, v1alpha1.ActuateMinReplicas, change)
			must(t, shared.AddHPA(t.Context(), a.namespace, a.name, 2, 40, testbed.PodsMetric("requests_offered", "12")))
			return a
		})
	})
	t.Run("through a ScaledObject", func(t *testing.T) {
		installKEDAsCRD(t)
		story(t, func(load int64, change func(*v1alpha1.HeadroomSpec)) *ahead {
			a := startAhead(t, load, v1alpha1.ActuateScaledObject, func(spec *v1alpha1.HeadroomSpec) {
				spec.Actuation.ScaledObjectName = "llm"
				if change != nil {
					change(spec)
				}
			})
			a.startKEDA(t)
			return a
		})
	})
}

// startKEDA makes a ScaledObject with a minimum of 2 and an HPA, and copies the one's minimum to the other until the test ends, as
// KEDA does.
func (a *ahead) startKEDA(t *testing.T) {
	t.Helper()
	objects := shared.Dynamic.Resource(scaledObjects).Namespace(a.namespace)
	object := newScaledObject(a.namespace, a.name)
	must(t, unstructured.SetNestedField(object.Object, int64(2), "spec", "minReplicaCount"))
	must(t, unstructured.SetNestedField(object.Object, int64(40), "spec", "maxReplicaCount"))
	_, err := objects.Create(t.Context(), object, metav1.CreateOptions{FieldManager: "kubectl-create"})
	must(t, err)
	must(t, shared.AddHPA(t.Context(), a.namespace, a.name, 2, 40, testbed.PodsMetric("requests_offered", "12")))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var copying sync.WaitGroup
	copying.Go(func() {
		last := int64(2)
		for ctx.Err() == nil {
			if live, err := objects.Get(ctx, a.name, metav1.GetOptions{}); err == nil {
				if n, ok, _ := unstructured.NestedInt64(live.Object, "spec", "minReplicaCount"); ok && n != last {
					patch := fmt.Appendf(nil, `{"spec":{"minReplicas":%d}}`, n)
					if _, err := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(a.namespace).Patch(ctx, a.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "keda"}); err == nil {
						last = n
					}
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(250 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { stop(); copying.Wait() })
}

func TestOneLowSampleDeletesNoPod(t *testing.T) {
	deciders(t, 1)
	everyWay(t, func(t *testing.T, start func(int64, func(*v1alpha1.HeadroomSpec)) *ahead) {
		a := start(5*perReplica, func(spec *v1alpha1.HeadroomSpec) { spec.ScaleDownHold = &metav1.Duration{Duration: 30 * time.Second} })
		a.waitAhead(t, 7)
		a.load.Store(0)
		a.stays(t, 7, 5*time.Second) // several scrapes, decisions and HPA periods, and the HPA's own stabilisation
		a.load.Store(5 * perReplica)
		a.stays(t, 7, watched)
	})
}

func TestAKilledLeaderDeletesNoPodAndAnotherGoesOn(t *testing.T) {
	everyWay(t, func(t *testing.T, start func(int64, func(*v1alpha1.HeadroomSpec)) *ahead) {
		pair := deciders(t, 2)
		a := start(5*perReplica, nil)
		a.waitAhead(t, 7)
		pair[0].Kill()
		a.stays(t, 7, 10*time.Second)
		waitLeaderWithin(t, pair[1], handOver)
		a.stays(t, 7, watched)
		a.load.Store(9 * perReplica)
		a.waitAhead(t, 11)
	})
}

func TestAWindowOpensOnTimeWithoutALeader(t *testing.T) {
	pair := deciders(t, 2)
	opens := time.Now().Add(45 * time.Second).Truncate(time.Second)
	const lead = 20 * time.Second // the pods take a moment, the HPA its period
	a := startAhead(t, perReplica, v1alpha1.ActuateMetric, func(spec *v1alpha1.HeadroomSpec) {
		from, until := metav1.NewTime(opens), metav1.NewTime(opens.Add(time.Hour))
		spec.Prewarm = &v1alpha1.Prewarm{Windows: []v1alpha1.Window{{Name: "launch", From: &from, Until: &until, Replicas: 9}}}
		spec.LeadTime = v1alpha1.LeadTime{Mode: v1alpha1.LeadTimeFixed, Value: &metav1.Duration{Duration: lead}}
	})
	a.headroomHPA(t, 40, "0")
	a.waitAhead(t, 3)
	if !time.Now().Before(opens.Add(-lead)) {
		t.Skip("this machine took too long to begin")
	}
	pair[0].Kill() // its lease outlives the moment at which the floor must rise
	ready := 0
	must(t, testbed.WaitFor(t.Context(), time.Until(opens)+time.Second, "the window to open", func(ctx context.Context) (bool, string) {
		pods, err := shared.ReadyPods(ctx, a.namespace, a.name)
		if ready = len(pods); err != nil {
			return false, err.Error()
		}
		if ready > 3 && time.Now().Before(opens.Add(-lead-2*time.Second)) {
			t.Errorf("%d pods are Ready %s before the window opens", ready, time.Until(opens))
		}
		return !time.Now().Before(opens), fmt.Sprint(ready, " Ready")
	}))
	if ready != 9 {
		t.Errorf("%d pods are Ready when the window opens, want 9", ready)
	}
}

func TestPrometheusGoneLowersNothing(t *testing.T) {
	deciders(t, 1)
	everyWay(t, func(t *testing.T, start func(int64, func(*v1alpha1.HeadroomSpec)) *ahead) {
		a := start(5*perReplica, nil)
		a.waitAhead(t, 7)
		must(t, shared.prometheus.Pause())
		t.Cleanup(func() { _ = shared.prometheus.Resume() })
		a.waitCondition(t, v1alpha1.ConditionDemandAvailable, metav1.ConditionFalse, "")
		a.load.Store(0)
		a.stays(t, 7, watched)
		must(t, shared.prometheus.Resume())
		a.load.Store(6 * perReplica)
		a.waitAhead(t, 8)
	})
}

// What becomes of an unknown demand in each mode, TestPrometheusGoneLowersNothing shows.
func TestDemandThatIsNoNumberLowersNothing(t *testing.T) {
	deciders(t, 1)
	a := startAhead(t, 5*perReplica, v1alpha1.ActuateMinReplicas, nil)
	must(t, shared.AddHPA(t.Context(), a.namespace, a.name, 2, 40, testbed.PodsMetric("requests_offered", "12")))
	a.waitAhead(t, 7)
	shared.exporter.ExportFunc(a.export("requests_offered", func(time.Time, string, int, int) float64 { return math.NaN() }))
	a.waitCondition(t, v1alpha1.ConditionDemandAvailable, metav1.ConditionFalse, "")
	a.stays(t, 7, watched)
}

func TestAFrozenAPIServerCostsNoPod(t *testing.T) {
	deciders(t, 1)
	a := startAhead(t, 5*perReplica, v1alpha1.ActuateMinReplicas, nil)
	must(t, shared.AddHPA(t.Context(), a.namespace, a.name, 2, 40, testbed.PodsMetric("requests_offered", "12")))
	a.waitAhead(t, 7)
	apiserver, err := os.FindProcess(shared.PIDs["kube-apiserver"])
	must(t, err)
	must(t, apiserver.Signal(syscall.SIGSTOP))
	thaw := time.AfterFunc(12*time.Second, func() { _ = apiserver.Signal(syscall.SIGCONT) }) // longer than a leader's renew deadline
	t.Cleanup(func() { thaw.Stop(); _ = apiserver.Signal(syscall.SIGCONT) })
	<-time.After(13 * time.Second)
	a.stays(t, 7, watched)
	a.load.Store(8 * perReplica)
	a.waitAhead(t, 10)
}

func TestAnAPIServerThatRestartsKeepsNoWindowShut(t *testing.T) {
	deciders(t, 1)
	const lead = 35 * time.Second
	opens := time.Now().Add(lead + 25*time.Second).Truncate(time.Second)
	a := startAhead(t, perReplica, v1alpha1.ActuateMetric, func(spec *v1alpha1.HeadroomSpec) {
		from, until := metav1.NewTime(opens), metav1.NewTime(opens.Add(time.Hour))
		spec.Prewarm = &v1alpha1.Prewarm{Windows: []v1alpha1.Window{{Name: "launch", From: &from, Until: &until, Replicas: 9}}}
		spec.LeadTime = v1alpha1.LeadTime{Mode: v1alpha1.LeadTimeFixed, Value: &metav1.Duration{Duration: lead}}
	})
	a.headroomHPA(t, 40, "0")
	a.waitAhead(t, 3)
	<-time.After(time.Until(opens.Add(-lead)))
	must(t, shared.RestartAPIServer(t.Context())) // in the moment in which the floor rises
	_, err := shared.WaitReady(t.Context(), time.Until(opens), a.namespace, a.name, 9)
	must(t, err)
	a.load.Store(11 * perReplica)
	a.waitAhead(t, 13)
}

func TestAnUpgradedDefinitionKeepsTheObjects(t *testing.T) {
	deciders(t, 1)
	a := startAhead(t, 5*perReplica, v1alpha1.ActuateMinReplicas, nil)
	must(t, shared.AddHPA(t.Context(), a.namespace, a.name, 2, 40, testbed.PodsMetric("requests_offered", "12")))
	a.waitAhead(t, 7)
	// An older definition knows less; the objects and what is held survive the way there and back.
	patch := []byte(`[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/nextWindow"}]`)
	_, err := shared.Dynamic.Resource(crdResource).Patch(t.Context(), "headrooms.headroom.dev", types.JSONPatchType, patch, metav1.PatchOptions{})
	must(t, err)
	a.stays(t, 7, watched)
	must(t, shared.InstallCRDs(t.Context()))
	a.load.Store(6 * perReplica)
	a.waitAhead(t, 8)
	a.waitMinimum(t, 8)
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func TestWhatIsHeldIsGivenBack(t *testing.T) {
	deciders(t, 1)
	a := startAhead(t, 5*perReplica, v1alpha1.ActuateMinReplicas, nil)
	must(t, shared.AddHPA(t.Context(), a.namespace, a.name, 3, 40, testbed.PodsMetric("requests_offered", "12")))
	a.waitAhead(t, 7)
	a.waitMinimum(t, 7)

	// A manifest that is applied again brings its own minimum, and is answered at once, not at the next look.
	patch := []byte(`{"spec":{"minReplicas":4}}`)
	_, err := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(a.namespace).Patch(t.Context(), a.name, types.MergePatchType, patch, metav1.PatchOptions{})
	must(t, err)
	a.waitMinimum(t, 7)
	hpa, err := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(a.namespace).Get(t.Context(), a.name, metav1.GetOptions{})
	must(t, err)
	if !strings.Contains(hpa.Annotations["headroom.dev/user-min-replicas"], "4") {
		t.Errorf("the owner's new minimum is not kept: %v", hpa.Annotations)
	}

	// An HPA that is made anew is met as its owner made it.
	hpas := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(a.namespace)
	must(t, hpas.Delete(t.Context(), a.name, metav1.DeleteOptions{}))
	must(t, shared.AddHPA(t.Context(), a.namespace, a.name, 2, 40, testbed.PodsMetric("requests_offered", "12")))
	a.waitMinimum(t, 7)

	c, err := shared.HeadroomClient()
	must(t, err)
	hr, err := a.headroom(t.Context())
	must(t, err)
	must(t, c.Delete(t.Context(), hr))
	a.waitMinimum(t, 2)
	must(t, testbed.WaitFor(t.Context(), soon, "the Headroom to be gone", func(ctx context.Context) (bool, string) {
		_, err := a.headroom(ctx)
		return err != nil, fmt.Sprint(err)
	}))
}

// waitMinimum waits for the HPA's minReplicas.
func (a *ahead) waitMinimum(t *testing.T, want int32) {
	t.Helper()
	must(t, testbed.WaitFor(t.Context(), soon, fmt.Sprintf("minReplicas to be %d", want), func(ctx context.Context) (bool, string) {
		hpa, err := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(a.namespace).Get(ctx, a.name, metav1.GetOptions{})
		if err != nil || hpa.Spec.MinReplicas == nil {
			return false, fmt.Sprint(err)
		}
		return *hpa.Spec.MinReplicas == want, fmt.Sprint(*hpa.Spec.MinReplicas, hpa.Annotations)
	}))
}

func TestALostLeaseEndsTheControllerAndNothingElse(t *testing.T) {
	only := deciders(t, 1)[0]
	a := startAhead(t, 5*perReplica, v1alpha1.ActuateMetric, nil)
	a.headroomHPA(t, 40, "0")
	a.waitAhead(t, 7)

	path := "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + a.namespace + "/headroom_replicas?labelSelector=headroom%3D" + a.name
	ctx, stop := context.WithCancel(t.Context())
	var asked, failed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			status, _, err := only.Get(ctx, path)
			if ctx.Err() != nil {
				return
			}
			if asked.Add(1); err != nil || status != http.StatusOK {
				failed.Add(1)
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()

	steal := []byte(`{"spec":{"holderIdentity":"somebody-else","renewTime":"` + time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}`)
	_, err := shared.Client.CoordinationV1().Leases(testbed.Namespace).Patch(t.Context(), "headroom-controller", types.MergePatchType, steal, metav1.PatchOptions{})
	must(t, err)
	must(t, testbed.WaitFor(t.Context(), soon, "the controller to end", func(ctx context.Context) (bool, string) {
		text, err := only.Metrics(ctx)
		return err == nil && !containsLine(text, "headroom_controller_leader 1"), fmt.Sprint(err)
	}))
	waitLeaderWithin(t, only, handOver) // the thief does not renew it
	a.load.Store(8 * perReplica)
	a.waitAhead(t, 10)
	stop()
	<-done
	t.Logf("%d answers while the lease was lost and won back", asked.Load())
	if failed.Load() > 0 {
		t.Errorf("%d of %d answers failed", failed.Load(), asked.Load())
	}
}
