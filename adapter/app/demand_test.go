package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	prometheusclient "github.com/prometheus/client_golang/prometheus"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apiserver/pkg/storage/names"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// TestPodNames tries the patterns on names made by Kubernetes' own code.
func TestPodNames(t *testing.T) {
	ofReplicaSet := func(name string) string { return names.SimpleNameGenerator.GenerateName(name + "-") }
	ofDeployment := func(name string) string {
		return ofReplicaSet(name + "-" + utilrand.SafeEncodeString(fmt.Sprint(utilrand.Int63nRange(1, math.MaxUint32))))
	}
	long := strings.Repeat("x", 50)
	for _, test := range []struct {
		name           string
		kind, workload string
		its, others    func() string
	}{
		{"a Deployment", "Deployment", "llm", func() string { return ofDeployment("llm") }, func() string { return ofDeployment("llm-canary") }},
		{"a Deployment beside a StatefulSet", "Deployment", "llm", func() string { return ofDeployment("llm") }, func() string { return "llm-canary-0" }},
		{"a Deployment beside a ReplicaSet", "Deployment", "llm", func() string { return ofDeployment("llm") }, func() string { return ofReplicaSet("llm-canary") }},
		{"a dot is a dot", "Deployment", "llm.v1", func() string { return ofDeployment("llm.v1") }, func() string { return ofDeployment("llm-v1") }},
		{"a long name", "Deployment", long, func() string { return ofDeployment(long) }, func() string { return ofDeployment("llm") }},
		{"a very long name", "Deployment", long + long, func() string { return ofDeployment(long + long) }, func() string { return ofDeployment(long) }},
		{"a name of just 58", "Deployment", long + "xxxxxxxx", func() string { return ofDeployment(long + "xxxxxxxx") }, func() string { return ofDeployment("llm") }},
		{"a StatefulSet", "StatefulSet", "llm", func() string { return fmt.Sprintf("llm-%d", utilrand.Intn(1000)) }, func() string { return ofDeployment("llm") }},
		{"a ReplicaSet", "ReplicaSet", "llm", func() string { return ofReplicaSet("llm") }, func() string { return ofDeployment("llm") }},
		{"anything else", "LeaderWorkerSet", "llm", func() string { return fmt.Sprintf("llm-%d-%d", utilrand.Intn(9), utilrand.Intn(9)) }, func() string { return "other-0-1" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			pattern := podNames(v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: test.kind, Name: test.workload})
			if test.kind == "LeaderWorkerSet" {
				pattern = podNames(v1alpha1.ScaleTargetRef{APIVersion: "leaderworkerset.x-k8s.io/v1", Kind: test.kind, Name: test.workload})
			}
			anchored := regexp.MustCompile("^(?:" + pattern + ")$")
			for range 200 {
				if its := test.its(); !anchored.MatchString(its) {
					t.Fatalf("%s does not match its own pod %s", pattern, its)
				}
				if others := test.others(); anchored.MatchString(others) {
					t.Fatalf("%s matches another's pod %s", pattern, others)
				}
			}
		})
	}
}

func TestSaturates(t *testing.T) {
	external := v1alpha1.Demand{Metric: &v1alpha1.DemandMetric{Name: "requests_per_second", Type: v1alpha1.ExternalDemand}}
	for _, test := range []struct {
		name   string
		demand v1alpha1.Demand
		want   bool
	}{
		{"finished", podsDemand("requests_per_second"), true},
		{"at work on", podsDemand("requests_running"), true},
		{"of a GPU", podsDemand("gpu_sm_active_ratio"), true},
		{"offered", podsDemand("requests_offered_per_second"), false},
		{"waiting", podsDemand("requests_waiting"), false},
		{"external", external, false},
		{"a query", v1alpha1.Demand{Query: "sum(x)"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := saturates(test.demand); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func podsDemand(name string) v1alpha1.Demand {
	return v1alpha1.Demand{Metric: &v1alpha1.DemandMetric{Name: name, Type: v1alpha1.PodsDemand}}
}

// answering is a Prometheus that answers every instant query with the same rows.
type answering struct {
	rows    atomic.Pointer[string]
	asked   atomic.Int64
	lastOne atomic.Pointer[string]
}

func (a *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	a.asked.Add(1)
	query := r.Form.Get("query")
	rows := *a.rows.Load()
	if strings.Contains(query, "timestamp(") {
		rows = regexp.MustCompile(`"[^"]+"\]`).ReplaceAllString(rows, fmt.Sprintf("%q]", fmt.Sprint(time.Now().Unix())))
	} else {
		a.lastOne.Store(&query)
	}
	_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[`+rows+`]}}`)
}

func (a *answering) set(rows ...string) {
	for i, r := range rows {
		labels, value, _ := strings.Cut(r, " ")
		rows[i] = fmt.Sprintf(`{"metric":%s,"value":[%d,%q]}`, labels, time.Now().Unix(), value)
	}
	text := strings.Join(rows, ",")
	a.rows.Store(&text)
}

func demandsOf(t *testing.T, allow string, rows ...string) (*answering, *demands) {
	a := &answering{}
	a.set(rows...)
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return a, demandsAt(t, server.URL, allow)
}

func demandsAt(t *testing.T, url, allow string) *demands {
	config, err := rules.Parse("rules.yaml", []byte(`
presets: [vllm]
externalRules:
- seriesQuery: queue_length
  resources: {namespaced: false}
  name: {as: queue_length}
  metricsQuery: sum by (topic) (queue_length{<<.LabelMatchers>>})
`), rules.ParseOptions{Backends: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := prometheus.New(rules.Backend{Name: "default", URLs: []string{url}}, prometheus.NewMetrics(prometheusclient.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	wanted := collect.NewWanted(100)
	collector := collect.New(collect.Options{
		Store: store.New(), Wanted: wanted, Resources: offline{}, Observer: newMetrics(prometheusclient.NewRegistry(), wanted, slog.New(slog.DiscardHandler)),
		DefaultStaleness: time.Minute, RelistInterval: time.Hour, MaxAge: time.Hour,
	})
	backend := collect.Backend{Name: "default", Querier: client}
	collector.Use(config, map[string]collect.Backend{"": backend, "default": backend})
	return newDemands(collector, newQueries(allow, collector, time.Minute), 5*time.Second)
}

func readyPod(name string, since time.Duration) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: name},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Add(-since)),
		}}},
	}
}

func demandOf(metric string) *v1alpha1.Headroom {
	hr := &v1alpha1.Headroom{ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: "llm"}}
	hr.Spec.Demand = podsDemand(metric)
	hr.Spec.Demand.PerReplica = resource.MustParse("10")
	return hr
}

func TestDemandOfPods(t *testing.T) {
	row := func(pod string, value float64) string {
		return fmt.Sprintf(`{"namespace":"inference","pod":%q} %g`, pod, value)
	}
	old := func(names ...string) (pods []*corev1.Pod) {
		for _, n := range names {
			pods = append(pods, readyPod(n, time.Hour))
		}
		return pods
	}
	half := intstr.FromString("50%")
	for _, test := range []struct {
		name      string
		metric    string
		missing   *intstr.IntOrString
		rows      []string
		pods      []*corev1.Pod
		value     float64
		saturated bool
		filled    int
		unknown   string
	}{
		{name: "the sum of the Ready pods", rows: []string{row("a", 4), row("b", 5), row("another's", 100)}, pods: old("a", "b"), value: 9},
		{name: "zero is a number", rows: []string{row("a", 0)}, pods: old("a"), value: 0},
		{name: "no pod", rows: []string{row("a", 4)}, unknown: "no pod is Ready"},
		{name: "one of two is missing", rows: []string{row("a", 4)}, pods: old("a", "b"), unknown: "(b)"},
		{name: "up to the share the mean counts", missing: &half, rows: []string{row("a", 4)}, pods: old("a", "b"), value: 8, filled: 1},
		{name: "a new pod is not missed", rows: []string{row("a", 4)}, pods: append(old("a"), readyPod("new", 20*time.Second)), value: 4},
		{name: "NaN is no number", rows: []string{`{"namespace":"inference","pod":"a"} NaN`}, pods: old("a"), unknown: "NaN"},
		{name: "finished requests saturate", metric: "requests_per_second", rows: []string{row("a", 10), row("b", 10)}, pods: old("a", "b"), value: 20, saturated: true},
		{name: "and do not below", metric: "requests_per_second", rows: []string{row("a", 10), row("b", 9)}, pods: old("a", "b"), value: 19},
		{name: "what is offered does not saturate", rows: []string{row("a", 10), row("b", 10)}, pods: old("a", "b"), value: 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			metric := test.metric
			if metric == "" {
				metric = "requests_offered_per_second"
			}
			_, d := demandsOf(t, queriesNone, test.rows...)
			hr := demandOf(metric)
			hr.Spec.Demand.MaxMissing = test.missing
			first := d.Demand(t.Context(), hr, test.pods, time.Now())
			if first.Known {
				t.Error("known before anything was collected")
			}
			d.collector.Tick(t.Context(), false)
			d.collector.Wait()
			now := time.Now().Add(100 * time.Hour) // of another clock
			got := d.Demand(t.Context(), hr, test.pods, now)
			if test.unknown != "" {
				if got.Known || !strings.Contains(got.Reason, test.unknown) {
					t.Errorf("%+v, want a reason with %q", got, test.unknown)
				}
				return
			}
			if !got.Known || got.Value != test.value || got.Saturated != test.saturated || got.Filled != test.filled || !got.At.Equal(now) || got.Ready != len(test.pods) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestDemandWaitsForNothing(t *testing.T) {
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hung.Close()
	d := demandsAt(t, hung.URL, queriesNone)
	ctx, cancel := context.WithCancel(t.Context())
	d.collector.Tick(ctx, false)
	began := time.Now()
	got := d.Demand(ctx, demandOf("requests_running"), []*corev1.Pod{readyPod("a", time.Hour)}, time.Now())
	if got.Known || time.Since(began) > time.Second {
		t.Errorf("%+v after %s", got, time.Since(began))
	}
	cancel()
	d.collector.Wait()
}

func TestDemandOfAnExternalMetric(t *testing.T) {
	_, d := demandsOf(t, queriesNone, `{"topic":"a"} 30`, `{"topic":"b"} 4`)
	hr := demandOf("queue_length")
	hr.Spec.Demand.Metric.Type = v1alpha1.ExternalDemand
	d.Demand(t.Context(), hr, nil, time.Now())
	// Which series there are would be looked up; the fake answers that with nothing it can read.
	if got := d.Demand(t.Context(), hr, nil, time.Now()); got.Known || got.Reason == "" {
		t.Errorf("%+v", got)
	}
	hr.Spec.Demand.Metric.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "topic", Operator: "Nonsense"}}}
	if got := d.Demand(t.Context(), hr, nil, time.Now()); got.Known || !strings.Contains(got.Reason, "demand.metric.selector") {
		t.Errorf("%+v", got)
	}
}

func TestDemandOfAQuery(t *testing.T) {
	hr := demandOf("")
	hr.Spec.Demand.Metric, hr.Spec.Demand.Query = nil, `sum(rate(gateway_requests_total[1m]))`
	ask := func(t *testing.T, d *demands) {
		d.queries.ask(t.Context(), time.Now())
		d.queries.work.Wait()
	}
	t.Run("off", func(t *testing.T) {
		a, d := demandsOf(t, queriesNone, `{} 7`)
		got := d.Demand(t.Context(), hr, nil, time.Now())
		ask(t, d)
		if got.Known || !strings.Contains(got.Reason, "--allow-queries") || a.asked.Load() != 0 {
			t.Errorf("%+v, asked %d times", got, a.asked.Load())
		}
		if _, err := d.queries.past(t.Context(), hr, time.Now().Add(-time.Hour), time.Now(), time.Minute); err == nil {
			t.Error("its history is read")
		}
	})
	t.Run("namespaced", func(t *testing.T) {
		a, d := demandsOf(t, queriesNamespaced, `{} 7`)
		if got := d.Demand(t.Context(), hr, nil, time.Now()); got.Known || !strings.Contains(got.Reason, "not asked yet") {
			t.Errorf("%+v", got)
		}
		ask(t, d)
		if got := d.Demand(t.Context(), hr, nil, time.Now()); !got.Known || got.Value != 7 || got.Saturated {
			t.Errorf("%+v", got)
		}
		if want := `sum(rate(gateway_requests_total{namespace="inference"}[1m]))`; *a.lastOne.Load() != want {
			t.Errorf("asked %s, want %s", *a.lastOne.Load(), want)
		}
		a.set(`{"pod":"a"} 7`, `{"pod":"b"} 8`)
		ask(t, d)
		if got := d.Demand(t.Context(), hr, nil, time.Now()); !got.Known {
			t.Errorf("the last good value is dropped at once: %+v", got)
		}
		d.now = func() time.Time { return time.Now().Add(2 * time.Minute) }
		if got := d.Demand(t.Context(), hr, nil, time.Now()); got.Known || !strings.Contains(got.Reason, "aggregate it to one") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("what cannot be confined", func(t *testing.T) {
		a, d := demandsOf(t, queriesNamespaced, `{} 7`)
		bad := hr.DeepCopy()
		bad.Spec.Demand.Query = `sum(x @ 0)`
		got := d.Demand(t.Context(), bad, nil, time.Now())
		ask(t, d)
		if got.Known || !strings.Contains(got.Reason, "refused") || a.asked.Load() != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("any", func(t *testing.T) {
		a, d := demandsOf(t, queriesAny, `{} 7`)
		d.Demand(t.Context(), hr, nil, time.Now())
		ask(t, d)
		if *a.lastOne.Load() != hr.Spec.Demand.Query {
			t.Errorf("asked %s", *a.lastOne.Load())
		}
	})
	t.Run("numbers that are no demand", func(t *testing.T) {
		for _, value := range []string{"NaN", "+Inf", "-1"} {
			_, d := demandsOf(t, queriesAny, `{} `+value)
			d.Demand(t.Context(), hr, nil, time.Now())
			ask(t, d)
			if got := d.Demand(t.Context(), hr, nil, time.Now()); got.Known {
				t.Errorf("%s: %+v", value, got)
			}
		}
	})
	t.Run("many objects of one namespace", func(t *testing.T) {
		_, d := demandsOf(t, queriesAny, `{} 7`)
		for i := range queriesEach + 1 {
			one := hr.DeepCopy()
			one.Name = fmt.Sprint("llm-", i)
			got := d.Demand(t.Context(), one, nil, time.Now())
			if refused := strings.Contains(got.Reason, "most that is allowed"); refused != (i == queriesEach) {
				t.Errorf("object %d: %+v", i, got)
			}
		}
	})
}
