package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// perReplica is what one replica carries in these tests, in running requests.
const perReplica = 12

// ahead is a deployment with a Headroom and an HPA, and a load that is shared by its Ready pods.
type ahead struct {
	*fleet
	load atomic.Int64
}

// deciders starts adapters that decide, on one port, and points the APIServices at them. The first to start leads.
func deciders(t *testing.T, n int) []*testbed.Adapter {
	t.Helper()
	must(t, shared.InstallCRDs(t.Context()))
	port, err := testbed.FreePort()
	must(t, err)
	adapters := make([]*testbed.Adapter, n)
	for i := range adapters {
		adapters[i], err = shared.StartAdapter(t.Context(), testbed.AdapterOptions{
			Name: fmt.Sprintf("decider-%d-%d", port, i), Rules: baseRules, PrometheusURL: shared.prometheus.URL, Port: port, ShareThePort: true,
			Args: append(fastArgs, "--decide-interval", "1s", "--hpa-sync-period", syncPeriod.String(), "--lease-namespace", testbed.Namespace),
		})
		must(t, err)
		t.Cleanup(adapters[i].Stop)
		if i == 0 && n > 1 {
			waitLeader(t, adapters[0])
		}
	}
	must(t, shared.RegisterAPIServices(t.Context(), port))
	t.Cleanup(func() {
		if err := shared.RegisterAPIServices(context.Background(), shared.adapter.Port); err != nil {
			t.Error(err)
		}
	})
	return adapters
}

// waitLeader waits until an adapter decides.
func waitLeader(t *testing.T, a *testbed.Adapter) {
	t.Helper()
	waitLeaderWithin(t, a, soon)
}

func waitLeaderWithin(t *testing.T, a *testbed.Adapter, within time.Duration) {
	t.Helper()
	must(t, testbed.WaitFor(t.Context(), within, a.Name+" to lead", func(ctx context.Context) (bool, string) {
		text, err := a.Metrics(ctx)
		return err == nil && containsLine(text, "headroom_controller_leader 1"), fmt.Sprint(err)
	}))
}

func containsLine(text, line string) bool { return strings.Contains("\n"+text, "\n"+line+"\n") }

// hold is the scaleDownHold of these tests.
const hold = 4 * time.Second

func startAhead(t *testing.T, load int64, mode v1alpha1.ActuationMode, change func(*v1alpha1.HeadroomSpec)) *ahead {
	t.Helper()
	a := &ahead{fleet: deploy(t, "llm", 1)}
	a.load.Store(load)
	shared.exporter.ExportFunc(a.export("requests_offered", func(_ time.Time, _ string, _, pods int) float64 {
		return float64(a.load.Load()) / float64(pods)
	}))
	replicas, reserve := int32(2), int32(0)
	hr := &v1alpha1.Headroom{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name},
		Spec: v1alpha1.HeadroomSpec{
			ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: a.name},
			Demand:         v1alpha1.Demand{Metric: &v1alpha1.DemandMetric{Name: "requests_offered"}, PerReplica: *resource.NewQuantity(perReplica, resource.DecimalSI)},
			Forecast:       v1alpha1.Forecast{Mode: v1alpha1.ForecastOff},
			Buffer:         v1alpha1.Buffer{Replicas: &replicas, OnForecast: &reserve},
			ScaleDownHold:  &metav1.Duration{Duration: hold},
			Actuation:      v1alpha1.Actuation{Mode: mode},
		},
	}
	if change != nil {
		change(&hr.Spec)
	}
	must(t, shared.AddHeadroom(t.Context(), hr))
	t.Cleanup(func() {
		c, err := shared.HeadroomClient()
		if err == nil {
			err = c.Delete(context.Background(), hr)
		}
		if client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	return a
}

// headroomHPA is the HPA of the documentation: Headroom's two metrics, and no tolerance on the way up.
func (a *ahead) headroomHPA(t *testing.T, maximum int32, tolerance string) {
	t.Helper()
	own := map[string]string{"headroom": a.name}
	must(t, shared.AddHPA(t.Context(), a.namespace, a.name, 1, maximum,
		testbed.ExternalMetric("headroom_replicas", own, "1"), testbed.ExternalMetric("headroom_schedule_replicas", own, "1")))
	a.setTolerance(t, tolerance)
}

func (a *ahead) setTolerance(t *testing.T, tolerance string) {
	t.Helper()
	hpas := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(a.namespace)
	hpa, err := hpas.Get(t.Context(), a.name, metav1.GetOptions{})
	must(t, err)
	if hpa.Spec.Behavior == nil {
		hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{}
	}
	if hpa.Spec.Behavior.ScaleUp == nil {
		hpa.Spec.Behavior.ScaleUp = &autoscalingv2.HPAScalingRules{}
	}
	hpa.Spec.Behavior.ScaleUp.Tolerance = nil
	if tolerance != "" {
		quantity := resource.MustParse(tolerance)
		hpa.Spec.Behavior.ScaleUp.Tolerance = &quantity
	}
	_, err = hpas.Update(t.Context(), hpa, metav1.UpdateOptions{})
	must(t, err)
}

func (a *ahead) headroom(ctx context.Context) (*v1alpha1.Headroom, error) {
	c, err := shared.HeadroomClient()
	if err != nil {
		return nil, err
	}
	var hr v1alpha1.Headroom
	return &hr, c.Get(ctx, client.ObjectKey{Namespace: a.namespace, Name: a.name}, &hr)
}

// waitCondition waits until a condition has a status and its reason or message contains the words.
func (a *ahead) waitCondition(t *testing.T, kind string, status metav1.ConditionStatus, words string) {
	t.Helper()
	must(t, testbed.WaitFor(t.Context(), soon, kind+" to be "+string(status)+" "+words, func(ctx context.Context) (bool, string) {
		hr, err := a.headroom(ctx)
		if err != nil {
			return false, err.Error()
		}
		c := meta.FindStatusCondition(hr.Status.Conditions, kind)
		return c != nil && c.Status == status && strings.Contains(c.Reason+": "+c.Message, words), fmt.Sprintf("%+v", c)
	}))
}

// waitAhead waits for replicas, all of them Ready, and then for them to stay.
func (a *ahead) waitAhead(t *testing.T, want int32) {
	t.Helper()
	a.wait(t, want)
	_, err := shared.WaitReady(t.Context(), soon, a.namespace, a.name, int(want))
	must(t, err)
}

func TestNPlusTwoPodsAreReady(t *testing.T) {
	deciders(t, 1)
	everyWay(t, func(t *testing.T, start func(int64, func(*v1alpha1.HeadroomSpec)) *ahead) {
		a := start(5*perReplica, nil)
		a.waitAhead(t, 7)
		a.stays(t, 7, watched)
		a.load.Store(25 * perReplica)
		a.waitAhead(t, 27)
		a.waitCondition(t, v1alpha1.ConditionFloorEffective, metav1.ConditionTrue, "")
		a.load.Store(5 * perReplica)
		a.waitAhead(t, 7)
	})
}

func TestADefaultToleranceHidesTheBufferAndTheConditionSaysSo(t *testing.T) {
	deciders(t, 1)
	a := startAhead(t, 23*perReplica, v1alpha1.ActuateMetric, nil)
	a.headroomHPA(t, 40, "")
	a.waitAhead(t, 25)
	a.load.Store(25 * perReplica)
	a.waitCondition(t, v1alpha1.ConditionFloorEffective, metav1.ConditionFalse, "ToleranceHidesBuffer")
	a.stays(t, 25, watched)
	a.setTolerance(t, "0")
	a.waitAhead(t, 27)
	a.waitCondition(t, v1alpha1.ConditionFloorEffective, metav1.ConditionTrue, "")
}
