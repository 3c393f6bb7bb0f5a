package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// twoReplicas starts two adapters on one port and points the APIServices at it. kube-apiserver keeps one connection, so
// one of them serves it; which, the kernel decides.
func twoReplicas(t *testing.T) [2]*testbed.Adapter {
	t.Helper()
	port, err := testbed.FreePort()
	must(t, err)
	var pair [2]*testbed.Adapter
	for i := range pair {
		pair[i], err = shared.StartAdapter(t.Context(), testbed.AdapterOptions{
			Name: fmt.Sprintf("replica-%d-%s", i, strings.ToLower(t.Name())), Rules: baseRules, PrometheusURL: shared.prometheus.URL,
			Port: port, ShareThePort: true, Args: fastArgs,
		})
		must(t, err)
		t.Cleanup(pair[i].Stop)
	}
	must(t, shared.RegisterAPIServices(t.Context(), port))
	t.Cleanup(func() { // the next test finds the shared adapter again
		ctx := context.Background()
		if err := shared.RegisterAPIServices(ctx, shared.adapter.Port); err != nil {
			t.Error(err)
		}
	})
	return pair
}

// runningFleet is a deployment whose metric says that it should stay as it is.
func runningFleet(t *testing.T, replicas int) *fleet {
	t.Helper()
	f := deploy(t, "llm", replicas)
	shared.exporter.ExportFunc(f.export("vllm:num_requests_running", func(_ time.Time, _ string, _, pods int) float64 {
		return float64(10*replicas) / float64(pods)
	}))
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("requests_running", "10")))
	return f
}

// viaAPIServer asks through kube-apiserver until stopped, and returns the longest time without a good answer.
func viaAPIServer(t *testing.T, path string) (stop func() (gap time.Duration, asked int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var gap time.Duration
	var asked int
	go func() {
		defer close(done)
		last := time.Now()
		for ctx.Err() == nil {
			one, stopOne := context.WithTimeout(ctx, 3*time.Second)
			status, _, err := shared.Get(one, path)
			stopOne()
			if ctx.Err() != nil {
				break
			}
			asked++
			if err == nil && status == http.StatusOK {
				gap = max(gap, time.Since(last))
				last = time.Now()
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
		gap = max(gap, time.Since(last))
	}()
	return func() (time.Duration, int) {
		cancel()
		<-done
		return gap, asked
	}
}

func TestOneOfTwoReplicasIsKilled(t *testing.T) {
	pair := twoReplicas(t)
	f := runningFleet(t, 3)
	f.stays(t, 3, 4*syncPeriod)
	stop := viaAPIServer(t, podsPath(f, "requests_running"))
	for _, replica := range pair { // one after the other: whichever serves is among them
		replica.Kill()
		f.stays(t, 3, 3*syncPeriod)
		must(t, replica.Start())
		must(t, replica.WaitReady(t.Context()))
	}
	gap, asked := stop()
	t.Logf("longest time without an answer while each was killed once: %s, of %d requests", gap.Round(10*time.Millisecond), asked)
	if gap > 15*time.Second {
		t.Errorf("%s without an answer is longer than an HPA period", gap)
	}
}

func TestOneOfTwoReplicasIsFrozen(t *testing.T) {
	pair := twoReplicas(t)
	f := runningFleet(t, 3)
	f.stays(t, 3, 4*syncPeriod)
	var longest time.Duration
	for _, replica := range pair {
		stop := viaAPIServer(t, podsPath(f, "requests_running"))
		must(t, replica.Pause())
		err := testbed.WaitFor(t.Context(), 90*time.Second, "answers to come again", func(ctx context.Context) (bool, string) {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			for range 3 { // the frozen one shares the port: one good answer is not yet a way around it
				status, body, err := shared.Get(ctx, podsPath(f, "requests_running"))
				if err != nil || status != http.StatusOK {
					return false, fmt.Sprint(status, body, err)
				}
			}
			return true, ""
		})
		gap, _ := stop()
		must(t, replica.Resume())
		must(t, err)
		longest = max(longest, gap)
		f.stays(t, 3, syncPeriod)
	}
	t.Logf("longest time without an answer while one was frozen: %s (the aggregator gives a silent peer 30 s and 15 s more)", longest.Round(100*time.Millisecond))
	f.stays(t, 3, watched) // no scale-down came of it
}

func TestTheAPIServiceChangesItsOwnerWithoutAFailedSync(t *testing.T) {
	f := runningFleet(t, 3)
	f.stays(t, 3, 4*syncPeriod)
	other, err := shared.StartAdapter(t.Context(), testbed.AdapterOptions{Name: "other-owner", Rules: baseRules, PrometheusURL: shared.prometheus.URL, Args: fastArgs})
	must(t, err)
	t.Cleanup(other.Stop)
	// The new owner is asked before it becomes one, as the rehearsal on the migration page says: it is warm then.
	must(t, testbed.WaitFor(t.Context(), soon, "the new owner to know the metric", func(ctx context.Context) (bool, string) {
		status, body, err := other.Get(ctx, podsPath(f, "requests_running"))
		return err == nil && status == http.StatusOK, body
	}))
	before := failedSyncs(t, f)
	must(t, shared.RegisterAPIServices(t.Context(), other.Port))
	f.stays(t, 3, watched)
	must(t, shared.RegisterAPIServices(t.Context(), shared.adapter.Port))
	f.stays(t, 3, watched)
	if after := failedSyncs(t, f); after != before {
		t.Errorf("%d failed HPA syncs during the switch and back\n%s", after-before, shared.DescribeHPA(t.Context(), f.namespace, f.name))
	}
}

// failedSyncs is how often the HPA controller could not get the fleet's metric, as its events count.
func failedSyncs(t *testing.T, f *fleet) int {
	t.Helper()
	events, err := shared.Client.CoreV1().Events(f.namespace).List(t.Context(), listOf(f.name))
	must(t, err)
	failed := 0
	for _, event := range events.Items {
		if strings.HasPrefix(event.Reason, "Failed") {
			failed += max(1, int(event.Count))
		}
	}
	return failed
}

func TestTheSameFromVictoriaMetrics(t *testing.T) {
	server, err := shared.StartVictoriaMetrics(t.Context(), testbed.PrometheusOptions{Targets: []string{shared.exporter.Address()}})
	must(t, err)
	t.Cleanup(server.Stop)
	adapter, err := shared.StartAdapter(t.Context(), testbed.AdapterOptions{Name: "on-victoria-metrics", Rules: baseRules, PrometheusURL: server.URL, Args: fastArgs})
	must(t, err)
	t.Cleanup(adapter.Stop)
	must(t, shared.RegisterAPIServices(t.Context(), adapter.Port))
	t.Cleanup(func() {
		if err := shared.RegisterAPIServices(context.Background(), shared.adapter.Port); err != nil {
			t.Error(err)
		}
	})
	f := deploy(t, "llm", 2)
	var offered, lag atomic.Int64
	offered.Store(60)
	requests := integrate(f, "app_requests_total", func() float64 { return float64(offered.Load()) })
	shared.exporter.ExportFunc(func(now time.Time) string {
		return requests(now) + fmt.Sprintf("kafka_consumergroup_lag{namespace=\"kafka\",consumergroup=\"g\",topic=\"t\",partition=\"0\"} %d\n", lag.Load())
	})
	// VictoriaMetrics lets a counter that it meets for the first time begin at zero, and its first rates are too high for it.
	settled(t, f, "requests_per_second", 30)
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("requests_per_second", "10"),
		testbed.ExternalMetric("kafka_consumer_lag", map[string]string{"consumergroup": "g"}, "1000")))
	f.wait(t, 6)
	lag.Store(9000)
	f.wait(t, 9)
	server.Kill()
	offered.Store(1)
	lag.Store(0)
	f.stays(t, 9, watched)
}

// settled waits until every pod's value is within 5 % of what it should be.
func settled(t *testing.T, f *fleet, metric string, want float64) {
	t.Helper()
	must(t, testbed.WaitFor(t.Context(), soon, metric+" to settle", func(ctx context.Context) (bool, string) {
		status, body, err := shared.Get(ctx, podsPath(f, metric))
		if err != nil || status != http.StatusOK {
			return false, fmt.Sprint(status, body, err)
		}
		var answer custommetrics.MetricValueList
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return false, err.Error()
		}
		whole := len(answer.Items) == 2
		for _, item := range answer.Items {
			got := item.Value.AsApproximateFloat64()
			whole = whole && math.Abs(got-want) < 0.05*want
		}
		return whole, body
	}))
}

func TestTwoHundredHPAsAtOnce(t *testing.T) {
	const hpas = 200
	namespace := "two-hundred"
	must(t, shared.EnsureNamespace(t.Context(), namespace))
	var load atomic.Int64
	load.Store(10)
	shared.exporter.ExportFunc(func(time.Time) string {
		list, err := shared.Client.CoreV1().Pods(namespace).List(context.Background(), listEverything)
		if err != nil {
			return ""
		}
		var b strings.Builder
		for _, pod := range list.Items {
			fmt.Fprintf(&b, "vllm:num_requests_running{namespace=%q,pod=%q} %d\n", namespace, pod.Name, load.Load())
		}
		return b.String()
	})
	for i := range hpas {
		name := fmt.Sprintf("model-%03d", i)
		must(t, shared.AddDeployment(t.Context(), testbed.Deployment{Namespace: namespace, Name: name, Replicas: 1}))
		must(t, shared.AddHPA(t.Context(), namespace, name, 1, 2, testbed.PodsMetric("requests_running", "10")))
	}
	active := func() (n int) {
		list, err := shared.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(t.Context(), listEverything)
		must(t, err)
		for _, hpa := range list.Items {
			for _, c := range hpa.Status.Conditions {
				if c.Type == "ScalingActive" && c.Status == "True" {
					n++
				}
			}
		}
		return n
	}
	must(t, testbed.WaitFor(t.Context(), 3*time.Minute, "all HPAs to have their metric", func(context.Context) (bool, string) {
		n := active()
		return n == hpas, fmt.Sprintf("%d of %d", n, hpas)
	}))
	start := time.Now()
	load.Store(25)
	must(t, testbed.WaitFor(t.Context(), 3*time.Minute, "all to be scaled to 2", func(ctx context.Context) (bool, string) {
		list, err := shared.Client.AppsV1().Deployments(namespace).List(ctx, listEverything)
		if err != nil {
			return false, err.Error()
		}
		n := 0
		for _, d := range list.Items {
			if *d.Spec.Replicas == 2 {
				n++
			}
		}
		return n == hpas, fmt.Sprintf("%d of %d", n, hpas)
	}))
	t.Logf("a step in the load of %d fleets was answered by all HPAs within %s", hpas, time.Since(start).Round(time.Second))
	must(t, shared.Client.CoreV1().Namespaces().Delete(context.Background(), namespace, deleteNow))
}
