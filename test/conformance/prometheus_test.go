package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// row is one row of an answer.
type row struct {
	labels map[string]string
	value  string
}

// fakePrometheus answers from a table of series names and keeps every query. It knows no PromQL: a query is answered with
// the rows of the series whose name it holds; one for ages with a time shortly ago.
type fakePrometheus struct {
	*httptest.Server

	mu      sync.Mutex
	series  map[string][]row
	queries []string // instant queries
	lookups int      // of names and labels
	broken  http.HandlerFunc
	hang    chan struct{}
	age     time.Duration
}

func newPrometheus(t *testing.T) *fakePrometheus {
	t.Helper()
	f := &fakePrometheus{series: map[string][]row{}, age: 500 * time.Millisecond}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() { f.release(); f.Close() })
	return f
}

// set replaces a series' rows.
func (f *fakePrometheus) set(name string, rows ...row) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.series[name] = rows
}

// breaks makes every query answered by the handler; nil mends it.
func (f *fakePrometheus) breaks(with http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = with
}

// hangs keeps every request unanswered until release.
func (f *fakePrometheus) hangs() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hang = make(chan struct{})
}

func (f *fakePrometheus) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hang != nil {
		close(f.hang)
		f.hang = nil
	}
}

// asked returns the value queries since the last call, and how many queries there were in all.
func (f *fakePrometheus) asked() (values []string, all int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all = len(f.queries)
	values = slices.DeleteFunc(f.queries, func(q string) bool { return strings.Contains(q, "timestamp(") })
	f.queries = nil
	return values, all
}

func (f *fakePrometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f.mu.Lock()
	broken, hang := f.broken, f.hang
	query := r.Form.Get("query")
	if query != "" {
		f.queries = append(f.queries, query)
	} else {
		f.lookups++
	}
	f.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	if broken != nil {
		broken(w, r)
		return
	}
	f.answer(w, r)
}

// answer answers well.
func (f *fakePrometheus) answer(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/label/__name__/values"):
		f.success(w, f.names(r.Form.Get("match[]")))
	case strings.HasSuffix(r.URL.Path, "/labels"):
		f.success(w, f.labels(r.Form.Get("match[]")))
	default:
		f.success(w, map[string]any{"resultType": "vector", "result": f.rows(r.Form.Get("query"))})
	}
}

func (f *fakePrometheus) success(w http.ResponseWriter, data any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
}

func (f *fakePrometheus) names(match string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := []string{}
	for name := range f.series {
		if strings.Contains(match, name) || strings.HasPrefix(match, "{") {
			names = append(names, name)
		}
	}
	return names
}

func (f *fakePrometheus) labels(match string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[string]bool{"__name__": true}
	for name, rows := range f.series {
		if strings.Contains(match, name) {
			for _, r := range rows {
				for label := range r.labels {
					seen[label] = true
				}
			}
		}
	}
	labels := []string{}
	for label := range seen {
		labels = append(labels, label)
	}
	return labels
}

func (f *fakePrometheus) rows(query string) []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := float64(time.Now().UnixMilli()) / 1000
	result := []any{}
	for name, rows := range f.series {
		if !strings.Contains(query, name+"{") {
			continue
		}
		for _, r := range rows {
			value := r.value
			if strings.Contains(query, "timestamp(") {
				value = fmt.Sprintf("%.3f", now-f.age.Seconds())
			}
			result = append(result, map[string]any{"metric": r.labels, "value": []any{now, value}})
		}
	}
	return result
}

// pod is a row about a pod.
func pod(namespace, name, value string) row {
	return row{map[string]string{"namespace": namespace, "pod": name}, value}
}
