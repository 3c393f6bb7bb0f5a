package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/test/testbed"
)

const (
	syncPeriod    = 2 * time.Second
	stabilization = 6 * time.Second
	staleAfter    = 8 * time.Second
	collectEvery  = time.Second
	// soon is how long a scale decision may take when all is well: scrape, collection, HPA period, and a busy machine.
	soon = 40 * time.Second
)

// shared is what all tests stand on.
type sharedBed struct {
	*testbed.Bed
	exporter   *testbed.Exporter
	prometheus *testbed.MetricsServer
	adapter    *testbed.Adapter
}

var shared *sharedBed

// baseRules are what the shared adapter serves. BACKENDS is where tests that break a backend add their own.
const baseRules = `
presets:
- vllm
- {name: dcgm-exporter}
- {name: kafka-exporter, window: 15s}
rules:
- seriesQuery: 'gateway_requests_total{namespace!="",service!=""}'
  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (<<.GroupBy>>)'
- seriesQuery: 'app_requests_total{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^app_(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (<<.GroupBy>>)'
- seriesQuery: 'requests_offered{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`

func TestMain(m *testing.M) {
	if os.Getenv("HEADROOM_E2E") == "" {
		fmt.Println("skipped: set HEADROOM_E2E=1 (make e2e does) to compile and run a control plane")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, testbed.Options{SyncPeriod: syncPeriod, DownscaleStabilization: stabilization})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer bed.Close()
	shared = &sharedBed{Bed: bed}
	if err := shared.start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.exporter.Close()
	return m.Run()
}

func (s *sharedBed) start(ctx context.Context) (err error) {
	if s.exporter, err = testbed.NewExporter(); err != nil {
		return err
	}
	if s.prometheus, err = s.StartPrometheus(ctx, testbed.PrometheusOptions{Targets: []string{s.exporter.Address()}}); err != nil {
		return err
	}
	// Tests about Headroom objects start adapters of their own, which decide; this one only serves.
	if s.adapter, err = s.StartAdapter(ctx, testbed.AdapterOptions{Rules: baseRules, PrometheusURL: s.prometheus.URL, Args: append(fastArgs, "--headrooms=false")}); err != nil {
		return err
	}
	for i := range 4 {
		if err := s.AddNode(ctx, fmt.Sprintf("gpu-%d", i), 500); err != nil {
			return err
		}
	}
	return s.RegisterAPIServices(ctx, s.adapter.Port)
}

// fastArgs compress an adapter's time as the controller's is.
var fastArgs = []string{"--collect-interval", collectEvery.String(), "--max-staleness", staleAfter.String(), "--prometheus-timeout", "2s"}

// must fails the test with what the adapter said last.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\nthe adapter's log ends:\n%s", err, shared.adapter.Tail(15))
	}
}

// fleet is a deployment with Ready pods and an exporter of its own text.
type fleet struct {
	namespace, name string
	pods            []string
}

// deploy makes a namespace with one deployment of so many Ready pods.
func deploy(t *testing.T, name string, replicas int) *fleet {
	t.Helper()
	namespace := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r == '+':
			return 'p' // +Inf and -Inf are two tests
		}
		return '-'
	}, strings.ToLower(t.Name()))
	namespace = strings.Trim(namespace[max(0, len(namespace)-50):], "-")
	must(t, shared.AddDeployment(t.Context(), testbed.Deployment{Namespace: namespace, Name: name, Replicas: int32(replicas)}))
	pods, err := shared.WaitReady(t.Context(), soon, namespace, name, replicas)
	must(t, err)
	return &fleet{namespace: namespace, name: name, pods: pods}
}

// export shows a gauge with the given value for each of the fleet's pods as they are at each scrape.
func (f *fleet) export(series string, value func(now time.Time, pod string, index, pods int) float64) func(now time.Time) string {
	return func(now time.Time) string {
		pods, err := shared.ReadyPods(context.Background(), f.namespace, f.name)
		if err != nil {
			return "" // a scrape without the series: what an exporter that lost its source shows
		}
		var text strings.Builder
		for i, pod := range pods {
			fmt.Fprintf(&text, "%s{namespace=%q,pod=%q} %v\n", series, f.namespace, pod, value(now, pod, i, len(pods)))
		}
		return text.String()
	}
}

// wait waits for the deployment's replicas.
func (f *fleet) wait(t *testing.T, want int32) {
	t.Helper()
	must(t, shared.WaitReplicas(t.Context(), soon, f.namespace, f.name, want))
}

// stays checks that the replicas do not change for a while: long enough for the HPA to look several times and for a
// scale-down to have come out of its stabilisation.
func (f *fleet) stays(t *testing.T, want int32, during time.Duration) {
	t.Helper()
	end := time.Now().Add(during)
	err := testbed.WaitFor(t.Context(), during+soon, "time to pass", func(ctx context.Context) (bool, string) {
		got, err := shared.Replicas(ctx, f.namespace, f.name)
		if err == nil && got != want {
			t.Fatalf("%d replicas instead of the %d that should stay\n%s\n%s", got, want, shared.DescribeHPA(ctx, f.namespace, f.name), shared.adapter.Tail(10))
		}
		return time.Now().After(end), "still waiting"
	})
	must(t, err)
}
