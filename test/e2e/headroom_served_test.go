package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// lookAgain is how long an adapter may take to notice that Headroom objects exist now, on a busy machine.
const lookAgain = 30 * time.Second

// The shared adapter serves Headroom objects and never decides: what these tests write is the only status.

// headroomFor is the least that a Headroom for a deployment says.
func headroomFor(namespace, name string) *v1alpha1.Headroom {
	return &v1alpha1.Headroom{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.HeadroomSpec{
			ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			Demand:         v1alpha1.Demand{Metric: &v1alpha1.DemandMetric{Name: "requests_offered_per_second"}, PerReplica: resource.MustParse("12")},
			LeadTime:       v1alpha1.LeadTime{Mode: v1alpha1.LeadTimeFixed, Value: &metav1.Duration{Duration: 10 * time.Second}},
		},
	}
}

// statusOf is what a leader would have written at a time.
func statusOf(floor int32, at time.Time) v1alpha1.HeadroomStatus {
	when := metav1.NewTime(at)
	return v1alpha1.HeadroomStatus{
		ObservedGeneration: 1,
		Decision:           &v1alpha1.Decision{Need: floor - 2, Buffer: 2, Floor: floor, Kind: "Reactive", Reason: "demand and the buffer", At: when},
		Demand:             &v1alpha1.DemandStatus{Value: resource.MustParse("60500m"), At: when},
		Forecast: &v1alpha1.ForecastStatus{At: when, Horizon: metav1.Duration{Duration: 4 * time.Minute}, Quantiles: []v1alpha1.QuantileStatus{
			{Quantile: "0.5", Value: resource.MustParse("70")}, {Quantile: "0.95", Value: resource.MustParse("161")},
		}},
		Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionDemandAvailable, Status: metav1.ConditionTrue, Reason: "Known", LastTransitionTime: when,
		}},
	}
}

func externalPath(namespace, metric, selector string) string {
	return "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + namespace + "/" + metric + "?labelSelector=" + url.QueryEscape(selector)
}

func objectPath(namespace, name, metric string) string {
	return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/headrooms.headroom.dev/" + name + "/" + metric
}

// answers waits until kube-apiserver gives a status and a body with all of the texts.
func answers(t *testing.T, within time.Duration, path string, status int, texts ...string) {
	t.Helper()
	must(t, testbed.WaitFor(t.Context(), within, fmt.Sprintf("%d with %q from %s", status, texts, path), func(ctx context.Context) (bool, string) {
		got, body, err := shared.Get(ctx, path)
		for _, text := range texts {
			if !strings.Contains(body, text) {
				return false, fmt.Sprint(got, " ", body, err)
			}
		}
		return err == nil && got == status, fmt.Sprint(got, " ", body, err)
	}))
}

func setStatus(t *testing.T, hr *v1alpha1.Headroom, status v1alpha1.HeadroomStatus) {
	t.Helper()
	must(t, shared.SetHeadroomStatus(t.Context(), client.ObjectKeyFromObject(hr), status))
}

func TestHeadroomObjectsAreServedAsMetrics(t *testing.T) {
	must(t, shared.InstallCRDs(t.Context()))
	const ns = "served"
	hr := headroomFor(ns, "llama")
	hr.Status = statusOf(7, time.Now())
	must(t, shared.AddHeadroom(t.Context(), hr))

	answers(t, lookAgain, externalPath(ns, "headroom_replicas", "headroom=llama"), http.StatusOK, `"value":"7"`, `"metricLabels":{"headroom":"llama"}`)
	answers(t, soon, externalPath(ns, "headroom_need", "headroom=llama"), http.StatusOK, `"value":"5"`)
	answers(t, soon, externalPath(ns, "headroom_demand", "headroom=llama"), http.StatusOK, `"value":"60500m"`)
	answers(t, soon, externalPath(ns, "headroom_forecast_demand", "headroom=llama,quantile=0.95"), http.StatusOK, `"value":"161"`, `"quantile":"0.95"`)
	answers(t, soon, externalPath(ns, "headroom_schedule_replicas", "headroom=llama"), http.StatusOK, `"value":"0"`)
	answers(t, soon, objectPath(ns, "llama", "headroom_replicas"), http.StatusOK, `"value":"7"`, `"kind":"Headroom"`, `"apiVersion":"headroom.dev/v1alpha1"`)
	answers(t, soon, objectPath(ns, "%2A", "headroom_replicas"), http.StatusOK, `"value":"7"`, `"name":"llama"`)
	answers(t, soon, objectPath(ns, "llama", "headroom_forecast_demand")+"?metricLabelSelector=quantile%3D0.5", http.StatusOK, `"value":"70"`)

	for name, refused := range map[string]struct{ path, why string }{
		"without the label":       {externalPath(ns, "headroom_replicas", ""), "name one Headroom by the label headroom, such as headroom=llama-70b"},
		"two of them":             {externalPath(ns, "headroom_replicas", "headroom in (llama,mistral)"), "gives the label headroom no single value"},
		"which quantile":          {externalPath(ns, "headroom_forecast_demand", "headroom=llama"), "choose one by the label quantile; there are 0.5, 0.95"},
		"a label that is not its": {externalPath(ns, "headroom_replicas", "headroom=llama,app=llama"), "it has no label app, only headroom"},
	} {
		t.Run(name, func(t *testing.T) { answers(t, soon, refused.path, http.StatusBadRequest, refused.why) })
	}
	answers(t, soon, externalPath(ns, "headroom_replicas", "headroom=mistral"), http.StatusNotFound, "namespace served has no Headroom mistral")
	answers(t, soon, externalPath("default", "headroom_replicas", "headroom=llama"), http.StatusNotFound, "namespace default has no Headroom llama")

	stale := statusOf(7, time.Now().Add(-4*time.Minute))
	setStatus(t, hr, stale)
	answers(t, soon, externalPath(ns, "headroom_replicas", "headroom=llama"), http.StatusNotFound, "no valid decision: the last one is of ", "counts for 3m0s")
	answers(t, soon, objectPath(ns, "llama", "headroom_replicas"), http.StatusNotFound, "no valid decision")

	unknown := statusOf(7, time.Now())
	unknown.Conditions[0].Status, unknown.Conditions[0].Message = metav1.ConditionFalse, "4 of 9 pods have no sample"
	setStatus(t, hr, unknown)
	answers(t, soon, externalPath(ns, "headroom_replicas", "headroom=llama"), http.StatusNotFound, "no valid decision: demand is unknown: 4 of 9 pods have no sample")
	answers(t, soon, externalPath(ns, "headroom_schedule_replicas", "headroom=llama"), http.StatusOK, `"value":"0"`)

	for _, path := range []string{"/apis/external.metrics.k8s.io/v1beta1", "/apis/custom.metrics.k8s.io/v1beta2"} {
		answers(t, soon, path, http.StatusOK, "headroom_replicas", "headroom_schedule_replicas")
	}
	c, err := shared.HeadroomClient()
	must(t, err)
	must(t, c.Delete(t.Context(), hr))
	answers(t, soon, externalPath(ns, "headroom_schedule_replicas", "headroom=llama"), http.StatusNotFound, "namespace served has no Headroom llama")
}

func TestTheResourceIsInstalledRemovedAndInstalledAgain(t *testing.T) {
	must(t, shared.RemoveCRDs(t.Context()))
	t.Cleanup(func() { must(t, shared.InstallCRDs(context.Background())) })
	floor := externalPath("late", "headroom_replicas", "headroom=llama")
	answers(t, lookAgain, floor, http.StatusNotFound, "this cluster has no Headroom objects, since their CustomResourceDefinition (headrooms.headroom.dev) is not installed")

	must(t, shared.InstallCRDs(t.Context()))
	hr := headroomFor("late", "llama")
	hr.Status = statusOf(7, time.Now())
	must(t, shared.AddHeadroom(t.Context(), hr))
	answers(t, lookAgain, floor, http.StatusOK, `"value":"7"`)
	answers(t, lookAgain, objectPath("late", "llama", "headroom_replicas"), http.StatusOK, `"value":"7"`)

	must(t, shared.RemoveCRDs(t.Context())) // and its objects with it
	answers(t, lookAgain, floor, http.StatusNotFound)
	answers(t, lookAgain, floor, http.StatusNotFound, "is not installed")

	must(t, shared.InstallCRDs(t.Context()))
	hr = headroomFor("late", "llama")
	hr.Status = statusOf(9, time.Now())
	must(t, shared.AddHeadroom(t.Context(), hr))
	answers(t, lookAgain, floor, http.StatusOK, `"value":"9"`)
}

// documentedMetrics are the two that the HPA of a Headroom in Metric mode lists.
func documentedMetrics(name string) []autoscalingv2.MetricSpec {
	selector := map[string]string{"headroom": name}
	return []autoscalingv2.MetricSpec{
		testbed.ExternalMetric("headroom_replicas", selector, "1"),
		testbed.ExternalMetric("headroom_schedule_replicas", selector, "1"),
	}
}

// TestAWindowOpensWithNoLeader: nobody ever decides here. The window opens by the replica's own clock, its pods are Ready at
// its start, and after its end the missing decision keeps the HPA from scaling down.
func TestAWindowOpensWithNoLeader(t *testing.T) {
	must(t, shared.InstallCRDs(t.Context()))
	f := deploy(t, "llm", 2)
	opens := time.Now().Add(30 * time.Second).Truncate(time.Second)
	hr := headroomFor(f.namespace, f.name)
	hr.Spec.LeadTime.Value = &metav1.Duration{Duration: 15 * time.Second}
	hr.Spec.Prewarm = &v1alpha1.Prewarm{Windows: []v1alpha1.Window{
		{Name: "launch", From: &metav1.Time{Time: opens}, Until: &metav1.Time{Time: opens.Add(10 * time.Second)}, Replicas: 5},
	}}
	must(t, shared.AddHeadroom(t.Context(), hr))
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, documentedMetrics(f.name)...))

	var raised, ready time.Time
	must(t, testbed.WaitFor(t.Context(), 2*time.Minute, "five Ready pods", func(ctx context.Context) (bool, string) {
		if n, err := shared.Replicas(ctx, f.namespace, f.name); err == nil && n == 5 && raised.IsZero() {
			raised = time.Now()
		}
		pods, err := shared.ReadyPods(ctx, f.namespace, f.name)
		ready = time.Now()
		return err == nil && len(pods) == 5, fmt.Sprint(pods, err)
	}))
	t.Logf("raised %s and Ready %s before the window's start", opens.Sub(raised).Round(100*time.Millisecond), opens.Sub(ready).Round(100*time.Millisecond))
	if early := opens.Sub(raised); early > 16*time.Second {
		t.Errorf("raised %s before the start, with a lead time of 15s", early)
	}
	if ready.After(opens) {
		t.Errorf("Ready %s after the start", ready.Sub(opens))
	}
	must(t, testbed.WaitFor(t.Context(), time.Minute, "the window to close", func(context.Context) (bool, string) {
		return time.Now().After(opens.Add(11 * time.Second)), "it is open"
	}))
	answers(t, soon, externalPath(f.namespace, "headroom_schedule_replicas", "headroom="+f.name), http.StatusOK, `"value":"0"`)
	f.stays(t, 5, watched)

	setStatus(t, hr, statusOf(3, time.Now())) // somebody leads again
	f.wait(t, 3)
}

// TestAPlainHPAScalesOnTheObjectsOwnMetric is how it works where external.metrics.k8s.io is somebody else's.
func TestAPlainHPAScalesOnTheObjectsOwnMetric(t *testing.T) {
	must(t, shared.InstallCRDs(t.Context()))
	f := deploy(t, "llm", 2)
	hr := headroomFor(f.namespace, f.name)
	hr.Spec.Demand.Metric, hr.Spec.Demand.Query = nil, "vector(1)" // which makes no metric wanted
	hr.Status = statusOf(7, time.Now())
	must(t, shared.AddHeadroom(t.Context(), hr))
	one := resource.MustParse("1")
	metric := testbed.ObjectMetric("headroom_replicas", "headroom.dev/v1alpha1", "Headroom", f.name, "1")
	metric.Object.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &one}
	wanted := ownMetric(t, "headroom_adapter_wanted_metrics")
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, append(documentedMetrics(f.name), metric)...))
	f.wait(t, 7)
	setStatus(t, hr, statusOf(4, time.Now()))
	f.wait(t, 4)
	if now := ownMetric(t, "headroom_adapter_wanted_metrics"); now > wanted {
		t.Errorf("%v metrics are wanted of backends after an HPA asked for Headroom's own, %v before", now, wanted)
	}
}

// ownMetric is a gauge of the shared adapter's.
func ownMetric(t *testing.T, name string) (value float64) {
	t.Helper()
	text, err := shared.adapter.Metrics(t.Context())
	must(t, err)
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no %s in the adapter's metrics", name)
	return 0
}
