package meter

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const before = `# HELP prometheus_http_requests_total Counter of HTTP requests.
# TYPE prometheus_http_requests_total counter
prometheus_http_requests_total{code="200",handler="/api/v1/query"} 40
prometheus_http_requests_total{code="200",handler="/metrics"} 7
go_goroutines 31
odd{a="quote \" and } brace",b="back\\slash"} 1.5e3
`

const after = `prometheus_http_requests_total{code="200",handler="/api/v1/query"} 100
prometheus_http_requests_total{code="400",handler="/api/v1/query"} 2
prometheus_http_requests_total{code="200",handler="/metrics"} 8
`

func read(t *testing.T, text string) Reading {
	t.Helper()
	r, err := ReadText(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDeltas(t *testing.T) {
	b, a := read(t, before), read(t, after)
	queries := Match{"prometheus_http_requests_total", map[string]string{"handler": "/api/v1/query"}}
	if got := Delta(b, a, queries); got != 62 {
		t.Errorf("queries = %v, want 62 over both codes", got)
	}
	want := map[string]float64{"/api/v1/query 200": 60, "/api/v1/query 400": 2, "/metrics 200": 1}
	got := DeltaBy(b, a, Match{Name: "prometheus_http_requests_total"}, "handler", "code")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/api/v1/query 200", "/api/v1/query 400", "/metrics 200"}, Largest(got)); diff != "" {
		t.Error(diff)
	}
	odd := Match{"odd", map[string]string{"a": `quote " and } brace`, "b": `back\slash`}}
	if got := b.Sum(odd); got != 1500 {
		t.Errorf("escaped labels: %v, want 1500", got)
	}
	if got := Delta(b, a, Match{Name: "absent"}); got != 0 {
		t.Errorf("absent = %v", got)
	}
}

func TestBadExpositionIsRefusedWithItsLine(t *testing.T) {
	for _, text := range []string{"a 1\nb", "a 1\nb{x=\"y 1", "a 1\nb{x} 1", "a 1\nb zwei", "a 1\n{x=\"y\"} 1"} {
		if _, err := ReadText(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: error %v, want one that names line 2", text, err)
		}
	}
}

func TestScrape(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(before))
	}))
	defer server.Close()
	r, err := Scrape(t.Context(), server.Client(), server.URL+"/metrics")
	if err != nil || len(r) != 4 {
		t.Errorf("%d samples, error %v; want 4", len(r), err)
	}
	if _, err := Scrape(t.Context(), server.Client(), server.URL+"/wrong"); err == nil {
		t.Error("a 404 passes as an empty scrape")
	}
}

func TestStatCountsFromTheLastBracket(t *testing.T) {
	got, err := readStat("42 (odd) name (x) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 7 20 0 9 0 100 1000 20")
	if err != nil || got != 3*time.Second {
		t.Errorf("CPU = %v, error %v; want 3 s", got, err)
	}
	if _, err := readStat("42 (x) S 1"); err == nil {
		t.Error("a short line is accepted")
	}
}

func TestStatus(t *testing.T) {
	rss, peak, err := readStatus("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n")
	if err != nil || rss != 1<<20 || peak != 2<<20 {
		t.Errorf("rss %d, peak %d, error %v", rss, peak, err)
	}
	if _, _, err := readStatus("Name:\tzombie\n"); err == nil {
		t.Error("a zombie has no memory, and that is not zero")
	}
}

func TestMachine(t *testing.T) {
	m, err := readMachine("cpu  100 100 100 9999 9999 50 50 200 30 0\ncpu0 ...")
	if err != nil || m.Busy != 6*time.Second || m.Stolen != 2*time.Second {
		t.Errorf("%+v, error %v; want 6 s busy, 2 s of it stolen", m, err)
	}
}

func TestOwnProcessIsReadable(t *testing.T) {
	first, err := Take(time.Now(), map[string]int{"self": os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	spin := time.Now()
	for time.Since(spin) < 60*time.Millisecond {
		_ = spin
	}
	second, err := Take(time.Now(), map[string]int{"self": os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	spent := second.Since(first)
	if spent.CPU["self"] <= 0 || spent.Sum("self") != spent.CPU["self"] || first.Processes["self"].ResidentBytes < 1<<20 {
		t.Errorf("spent %+v with %+v", spent, first)
	}
	if _, err := Process(-1); err == nil {
		t.Error("process -1 has an account")
	}
}

func TestObserverCountsOnlyWhatAnAnswerCosts(t *testing.T) {
	page := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(page)) }))
	defer server.Close()
	observer := Observer{PrometheusURL: server.URL, ApiserverMetricsURL: server.URL + "/metrics", Apiserver: server.Client(),
		Processes: map[string]int{"self": os.Getpid()}}
	page = before
	first, err := observer.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page = after + `apiserver_request_total{verb="LIST",group="",resource="pods",code="200"} 3
apiserver_request_total{verb="LIST",group="apiregistration.k8s.io",resource="apiservices",code="200"} 2
apiserver_request_total{verb="LIST",group="external.metrics.k8s.io",resource="lag",code="200"} 500
apiserver_request_total{verb="POST",group="authorization.k8s.io",resource="subjectaccessreviews",code="201"} 4
`
	second, err := observer.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cost := second.Since(first)
	if cost.QueryCount() != 62 || cost.ListCount() != 5 || cost.ListsOf("pods", "apps deployments") != 3 || cost.Lists() != "3 of pods, 2 of apiregistration.k8s.io apiservices" || cost.RequestCount("POST authorization.k8s.io subjectaccessreviews") != 4 {
		t.Errorf("%v queries, %v lists in %v", cost.QueryCount(), cost.ListCount(), cost.Requests)
	}
	if _, ok := cost.Queries["/metrics"]; ok {
		t.Error("the observer's own scrape counts as a query")
	}
	server.Close()
	if _, err := observer.Observe(t.Context()); err == nil {
		t.Error("a server that is gone passes as one that did nothing")
	}
}
