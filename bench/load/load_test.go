package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

func TestReadTargets(t *testing.T) {
	got, err := readTargets(strings.NewReader(`
# the questions of two HPAs
pods inference requests_per_second app=llama,tier!=canary
object inference arrivals deployments.apps/llama code=200
external inference kafka_consumer_lag topic=prompts
external inference backlog
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []ask.Target{
		{Kind: ask.Pods, Namespace: "inference", Metric: "requests_per_second", Selector: "app=llama,tier!=canary"},
		{Kind: ask.Object, Namespace: "inference", Metric: "arrivals", Resource: "deployments.apps", Name: "llama", MetricSelector: "code=200"},
		{Kind: ask.External, Namespace: "inference", Metric: "kafka_consumer_lag", Selector: "topic=prompts"},
		{Kind: ask.External, Namespace: "inference", Metric: "backlog"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryBadLineIsReported(t *testing.T) {
	_, err := readTargets(strings.NewReader("pods a b\nobject a b c\nexternal a\nservice a b c\npods a b ==\n"))
	for line := 1; line <= 5; line++ {
		if want := "line " + strconv.Itoa(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in: %v", want, err)
		}
	}
	if _, err := readTargets(strings.NewReader("# nothing\n")); err == nil {
		t.Error("a file without questions is accepted")
	}
}

func TestQuestionsOfAnHPA(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"topic": "prompts"}}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		Metrics: []autoscalingv2.MetricSpec{
			{Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "p"}}},
			{Object: &autoscalingv2.ObjectMetricSource{DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "d"},
				Metric: autoscalingv2.MetricIdentifier{Name: "o", Selector: selector}}},
			{External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "e", Selector: selector}}},
			{Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}},
		}}}
	got, err := targetsOfHPA(hpa, "app=d", func(string, string) (schema.GroupResource, error) {
		return schema.GroupResource{Group: "apps", Resource: "deployments"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []ask.Target{
		{Kind: ask.Pods, Namespace: "ns", Metric: "p", Selector: "app=d"},
		{Kind: ask.Object, Namespace: "ns", Metric: "o", Resource: "deployments.apps", Name: "d", MetricSelector: "topic=prompts"},
		{Kind: ask.External, Namespace: "ns", Metric: "e", Selector: "topic=prompts"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The whole command against a server that answers one question well and another not at all.
func TestDrivePrintsWhatCameBack(t *testing.T) {
	queries := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/metrics":
			queries += 100
			_, _ = io.WriteString(w, `prometheus_http_requests_total{code="200",handler="/api/v1/query"} `+strconv.Itoa(queries)+"\n")
		case strings.Contains(r.URL.Path, "missing"):
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"items":[{"value":"1"}]}`)
		}
	}))
	defer server.Close()
	targets := filepath.Join(t.TempDir(), "targets")
	if err := os.WriteFile(targets, []byte("pods ns good app=a\nexternal ns missing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := captured(t, func() error {
		return run(t.Context(), []string{"drive", "--url", server.URL, "--targets", targets, "--max-requests", "50", "--duration", "10s",
			"--clients", "1", "--prometheus-url", server.URL, "--process", "self=" + strconv.Itoa(os.Getpid()), "--json"})
	})
	r, err := report.ReadJSON(out)
	if err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	got := map[string]float64{}
	for _, f := range r.Figures {
		if f.Value != nil {
			got[f.Name] = *f.Value
		}
	}
	want := map[string]float64{"answers": 25, "failed": 25, "  HTTP 404": 25, "Prometheus queries per answer": 4}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s = %v, want %v", name, got[name], value)
		}
	}
	for _, name := range []string{"latency p50", "latency p99", "throughput", "self, resident"} {
		if got[name] <= 0 {
			t.Errorf("%s = %v", name, got[name])
		}
	}
}

// captured is what do prints on standard output.
func captured(t *testing.T, do func() error) []byte {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = old }()
	done := make(chan []byte)
	go func() {
		var b bytes.Buffer
		_, _ = io.Copy(&b, r)
		done <- b.Bytes()
	}()
	err = do()
	w.Close()
	out := <-done
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func TestBadFlagsSayTheWayOut(t *testing.T) {
	targets := filepath.Join(t.TempDir(), "targets")
	if err := os.WriteFile(targets, []byte("pods ns good app=a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown command", []string{"fly"}, "unknown command"},
		{"no URL", []string{"drive"}, "--url"},
		{"no questions", []string{"drive", "--url", "https://127.0.0.1:1"}, "--targets"},
		{"no such file", []string{"drive", "--url", "https://127.0.0.1:1", "--targets", "absent"}, "absent"},
		{"wrong kind", []string{"drive", "--url", "https://127.0.0.1:1", "--targets", targets, "--kinds", "pod"}, "pods, object, external"},
		{"kind that is not there", []string{"drive", "--url", "https://127.0.0.1:1", "--targets", targets, "--kinds", "object"}, "no question"},
		{"too many clients", []string{"drive", "--url", "https://127.0.0.1:1", "--targets", targets, "--clients", "5000"}, "1 to 1000"},
		{"no cluster", []string{"drive", "--kubeconfig", "absent"}, "--kubeconfig"},
		{"stray argument", []string{"drive", "now"}, "now"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if err := run(t.Context(), tc.args); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestReportKnowsItsMachine(t *testing.T) {
	var b bytes.Buffer
	r := newReport("x", metav1.Now().Time)
	if err := r.JSON(&b); err != nil || !json.Valid(b.Bytes()) {
		t.Fatal(err)
	}
	if r.Machine.Cores < 1 || r.Machine.MemoryBytes < 1<<20 || r.Machine.Kernel == "" {
		t.Errorf("%+v", r.Machine)
	}
}
