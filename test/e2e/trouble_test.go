package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// watched is long enough for several HPA periods, for staleness to pass and for a scale-down to leave its stabilisation.
const watched = staleAfter + stabilization + 6*syncPeriod

// ownPrometheus gives a test a Prometheus that it may break: the metric's name says which backend it comes from.
func ownPrometheus(t *testing.T) (exporter *testbed.Exporter, server *testbed.MetricsServer) {
	t.Helper()
	exporter, err := testbed.NewExporter()
	must(t, err)
	t.Cleanup(exporter.Close)
	server, err = shared.StartPrometheus(t.Context(), testbed.PrometheusOptions{Name: "own-" + strings.ToLower(t.Name()), Targets: []string{exporter.Address()}})
	must(t, err)
	t.Cleanup(server.Stop)
	return exporter, server
}

// withBackend adds a backend and a rule for own_load from it to the adapter's rules, and takes them out at the end.
func withBackend(t *testing.T, url string) {
	t.Helper()
	must(t, shared.adapter.SetRules(strings.Replace(baseRules, "rules:\n", fmt.Sprintf(`backends:
- {name: own, url: %q, timeout: 2s}
rules:
- seriesQuery: 'own_load{namespace!="",pod!=""}'
  backend: own
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`, url), 1)))
	t.Cleanup(func() { _ = shared.adapter.SetRules(baseRules) })
}

func TestAPrometheusOutageFreezesScaleDownAndLetsOthersScaleUp(t *testing.T) {
	exporter, server := ownPrometheus(t)
	withBackend(t, server.URL)
	f := deploy(t, "llm", 4)
	exporter.ExportFunc(f.export("own_load", func(_ time.Time, _ string, _, pods int) float64 { return 40 / float64(pods) }))
	var running atomic.Int64
	running.Store(1)
	shared.exporter.ExportFunc(f.export("vllm:num_requests_running", func(_ time.Time, _ string, _, pods int) float64 {
		return float64(running.Load()) / float64(pods)
	}))
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("own_load", "10"), testbed.PodsMetric("requests_running", "1")))
	f.stays(t, 4, watched) // both metrics answer: own_load wants 4, requests_running 1

	for name, break_ := range map[string]func() error{
		"frozen": server.Pause,
		"gone":   func() error { server.Kill(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			must(t, break_())
			f.stays(t, 4, watched) // the other metric alone would say 1
		})
	}
	running.Store(7)
	f.wait(t, 7) // one metric is unknown, and the other scales up
	must(t, server.Start())
	running.Store(1)
	f.wait(t, 4) // both are known again
}

func TestNaNAndInfinityDoNotScaleToTheMinimum(t *testing.T) {
	values := []string{"NaN", "+Inf", "-Inf", "-5"}
	fleets := make([]*fleet, len(values))
	for i := range values {
		fleets[i] = deploy(t, fmt.Sprintf("llm-%d", i), 3)
	}
	var phase atomic.Int64
	shared.exporter.ExportFunc(func(time.Time) string {
		var b strings.Builder
		for i, f := range fleets {
			pods, _ := shared.ReadyPods(context.Background(), f.namespace, f.name)
			for _, pod := range pods {
				fmt.Fprintf(&b, "vllm:num_requests_running{namespace=%q,pod=%q} %s\n", f.namespace, pod, []string{"10", values[i], "20"}[phase.Load()])
			}
		}
		return b.String()
	})
	for _, f := range fleets {
		must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("requests_running", "10")))
	}
	stay := func(during time.Duration) {
		t.Helper()
		for _, f := range fleets {
			f.stays(t, 3, during/time.Duration(len(fleets)))
		}
	}
	stay(4 * syncPeriod)
	phase.Store(1)
	stay(watched + 8*time.Second)
	phase.Store(2)
	for _, f := range fleets {
		f.wait(t, 20) // 20 each at a target of 10 doubles until the maximum
	}
}

func TestAPrometheusThatRestartsEmptyChangesNothing(t *testing.T) {
	exporter, server := ownPrometheus(t)
	withBackend(t, server.URL)
	f := deploy(t, "llm", 4)
	load := f.export("own_load", func(_ time.Time, _ string, _, pods int) float64 { return 40 / float64(pods) })
	exporter.ExportFunc(load)
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("own_load", "10")))
	f.stays(t, 4, 3*syncPeriod)
	exporter.Export("") // it comes back, answers, and has nothing yet
	server.Kill()
	must(t, server.Forget())
	must(t, server.Start())
	must(t, server.WaitReady(t.Context()))
	f.stays(t, 4, watched)
	exporter.ExportFunc(f.export("own_load", func(_ time.Time, _ string, _, pods int) float64 { return 60 / float64(pods) }))
	f.wait(t, 6)
}

func TestTheBusiestHalfStopsAnswering(t *testing.T) {
	f := deploy(t, "llm", 6)
	var silent atomic.Bool
	shared.exporter.ExportFunc(func(time.Time) string {
		pods, _ := shared.ReadyPods(context.Background(), f.namespace, f.name)
		var b strings.Builder
		for i, pod := range pods {
			switch {
			case i%2 == 1:
				fmt.Fprintf(&b, "vllm:num_requests_running{namespace=%q,pod=%q} 5\n", f.namespace, pod)
			case !silent.Load():
				fmt.Fprintf(&b, "vllm:num_requests_running{namespace=%q,pod=%q} 15\n", f.namespace, pod)
			}
		}
		return b.String()
	})
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("requests_running", "10")))
	f.stays(t, 6, 3*syncPeriod)
	silent.Store(true)
	// First the last good values hold. Then the answer lacks those pods, and the HPA takes a missing pod as at its
	// target on the way down: three at half of it and three at it need 5, not the 3 that the answering half shows.
	f.wait(t, 5)
	must(t, testbed.WaitFor(t.Context(), soon, "the missing pods to be counted", func(ctx context.Context) (bool, string) {
		text := ownMetrics(ctx, shared.adapter)
		return strings.Contains(text, fmt.Sprintf(`headroom_adapter_pods_without_sample{metric="requests_running",namespace=%q} 3`, f.namespace)) ||
			strings.Contains(text, fmt.Sprintf(`headroom_adapter_pods_without_sample{metric="requests_running",namespace=%q} 2`, f.namespace)), grep(text, "pods_without_sample")
	}))
}

func TestAnAdapterThatRestartsLosesNothing(t *testing.T) {
	f := deploy(t, "llm", 3)
	shared.exporter.ExportFunc(f.export("vllm:num_requests_running", func(_ time.Time, _ string, _, pods int) float64 { return 30 / float64(pods) }))
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("requests_running", "10")))
	f.stays(t, 3, 3*syncPeriod)
	for range 3 {
		shared.adapter.Kill()
		must(t, shared.adapter.Start())
		must(t, shared.adapter.WaitReady(t.Context()))
		status, body, err := shared.adapter.Get(t.Context(), podsPath(f, "requests_running"))
		if err != nil || status != http.StatusOK {
			t.Errorf("the first answer after it is ready: %d %s %v", status, body, err)
		}
	}
	f.stays(t, 3, watched)
}

func TestARolloutDuringAPrometheusOutageComesUp(t *testing.T) {
	_, server := ownPrometheus(t)
	server.Kill()
	start := time.Now()
	second, err := shared.StartAdapter(t.Context(), testbed.AdapterOptions{Name: "rollout", Rules: baseRules, PrometheusURL: server.URL, Args: fastArgs})
	must(t, err)
	t.Cleanup(second.Stop)
	t.Logf("ready %s after its start, without a backend", time.Since(start).Round(100*time.Millisecond))
	if status, body, err := second.Get(t.Context(), "/livez"); err != nil || status != http.StatusOK {
		t.Errorf("live: %d %s %v", status, body, err)
	}
	if status, body, err := second.Get(t.Context(), "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/x/requests_running"); err != nil || status != http.StatusNotFound || !strings.Contains(body, "backend failed") {
		t.Errorf("a metric: %d %s %v", status, body, err)
	}
	if at, err := plainGet(t.Context(), second.MetricsURL); err != nil || !strings.Contains(at, "headroom_adapter_collection_failures_total") {
		t.Errorf("own metrics: %v\n%s", err, grep(at, "headroom_"))
	}
}

func TestGoodRulesTakeEffectAndBadOnesChangeNothing(t *testing.T) {
	f := deploy(t, "llm", 2)
	shared.exporter.ExportFunc(f.export("vllm:num_requests_running", func(_ time.Time, _ string, _, pods int) float64 { return 20 / float64(pods) }))
	must(t, shared.AddHPA(t.Context(), f.namespace, f.name, 1, 20, testbed.PodsMetric("requests_running", "10")))
	f.stays(t, 2, 3*syncPeriod)
	t.Cleanup(func() { _ = shared.adapter.SetRules(baseRules) })

	missed := askAllTheTime(t, podsPath(f, "requests_running"))
	must(t, shared.adapter.SetRules("rules: [{seriesQuery: up, metricsQuerry: up}]\n"))
	must(t, testbed.WaitFor(t.Context(), soon, "the bad rules to be refused", func(ctx context.Context) (bool, string) {
		text := ownMetrics(ctx, shared.adapter)
		return strings.Contains(text, "headroom_adapter_config_last_reload_successful 0"), grep(text, "reload")
	}))
	if tail := shared.adapter.Tail(40); !strings.Contains(tail, "did you mean metricsQuery") {
		t.Errorf("the log does not say what is wrong:\n%s", tail)
	}
	must(t, shared.adapter.SetRules(baseRules+`
- seriesQuery: 'vllm:num_requests_running{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: doubled}
  metricsQuery: '2 * sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`))
	must(t, testbed.WaitFor(t.Context(), soon, "the new rule to answer", func(ctx context.Context) (bool, string) {
		status, body, err := shared.adapter.Get(ctx, podsPath(f, "doubled"))
		return err == nil && status == http.StatusOK && strings.Contains(body, `"value":"20"`), body
	}))
	if asked, failed := missed(); len(failed) > 0 || asked < 20 {
		t.Errorf("of %d answers during the reloads %d failed, such as %v", asked, len(failed), failed[:min(3, len(failed))])
	}
}

func podsPath(f *fleet, metric string) string {
	return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + f.namespace + "/pods/*/" + metric + "?labelSelector=app%3D" + f.name
}

// askAllTheTime asks the adapter until the returned function is called, which tells how often and what failed.
func askAllTheTime(t *testing.T, path string) (stop func() (asked int, failed []string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var asked int
	var failed []string
	go func() {
		defer close(done)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			status, body, err := shared.adapter.Get(ctx, path)
			if ctx.Err() != nil {
				return
			}
			asked++
			if err != nil || status != http.StatusOK {
				failed = append(failed, fmt.Sprint(status, body, err))
			}
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}()
	return func() (int, []string) {
		cancel()
		<-done
		return asked, failed
	}
}

func ownMetrics(ctx context.Context, a *testbed.Adapter) string {
	text, err := plainGet(ctx, a.MetricsURL)
	if err != nil {
		return err.Error()
	}
	return text
}

func grep(text, word string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// plainGet reads a plain HTTP endpoint.
func plainGet(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}
