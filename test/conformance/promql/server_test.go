package promql

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// serve puts the three requests of Prometheus' HTTP API that the adapter makes in front of the engine. Its clock stands
// still at askedAt.
func (d *database) serve(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, data any, err error) {
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(map[string]any{"status": "error", "errorType": "execution", "error": err.Error()})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
	}
	mux.HandleFunc("/api/v1/query", func(w http.ResponseWriter, r *http.Request) {
		rows, err := d.evaluate(r.FormValue("query"), time.Unix(askedAt, 0))
		result := []any{}
		for _, row := range rows {
			result = append(result, map[string]any{"metric": row.labels, "value": []any{askedAt, number(row.value)}})
		}
		answer(w, map[string]any{"resultType": "vector", "result": result}, err)
	})
	mux.HandleFunc("/api/v1/labels", func(w http.ResponseWriter, r *http.Request) {
		names, err := d.labels(r, func(l labels.Label) string { return l.Name })
		answer(w, names, err)
	})
	mux.HandleFunc("/api/v1/label/__name__/values", func(w http.ResponseWriter, r *http.Request) {
		names, err := d.labels(r, func(l labels.Label) string {
			if l.Name == model.MetricNameLabel {
				return l.Value
			}
			return ""
		})
		answer(w, names, err)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// labels collects something of every label of the series that the request's match[] selects.
func (d *database) labels(r *http.Request, of func(labels.Label) string) ([]string, error) {
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(r.FormValue("match[]"))
	if err != nil {
		return nil, err
	}
	querier, err := d.storage.Querier(0, askedAt*1000)
	if err != nil {
		return nil, err
	}
	defer func() { _ = querier.Close() }()
	seen, names := map[string]bool{"": true}, []string{}
	series := querier.Select(r.Context(), false, nil, matchers...)
	for series.Next() {
		series.At().Labels().Range(func(l labels.Label) {
			if name := strings.Clone(of(l)); !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		})
	}
	return names, series.Err()
}
