package meter

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Observer reads what the servers around an adapter have done. Fields that are empty are not observed.
type Observer struct {
	PrometheusURL string // base URL
	// ApiserverMetricsURL is kube-apiserver's /metrics, read with Apiserver, which carries credentials.
	ApiserverMetricsURL string
	Apiserver           *http.Client
	Processes           map[string]int // process IDs by name
}

// Observation is one reading of everything. Observing costs a little itself: one GET at each server, which is subtracted.
type Observation struct {
	prometheus, apiserver Reading
	account               Account
}

// Observe reads all counters, the processes last, so that the scrapes themselves are outside the next interval.
func (o *Observer) Observe(ctx context.Context) (Observation, error) {
	var seen Observation
	var err error
	if o.PrometheusURL != "" {
		if seen.prometheus, err = Scrape(ctx, http.DefaultClient, o.PrometheusURL+"/metrics"); err != nil {
			return seen, fmt.Errorf("observe Prometheus: %w", err)
		}
	}
	if o.ApiserverMetricsURL != "" {
		if seen.apiserver, err = Scrape(ctx, o.Apiserver, o.ApiserverMetricsURL); err != nil {
			return seen, fmt.Errorf("observe kube-apiserver: %w", err)
		}
	}
	if seen.account, err = Take(time.Now(), o.Processes); err != nil {
		return seen, err
	}
	return seen, nil
}

// Cost is what happened between two observations.
type Cost struct {
	// Queries are Prometheus' API requests by path, without its own scrapes of itself.
	Queries map[string]float64
	// Requests are kube-apiserver's finished requests by verb and resource; long-running WATCHes count when they end.
	Requests map[string]float64
	Spending
}

// Since compares with an earlier observation.
func (seen Observation) Since(before Observation) Cost {
	c := Cost{Spending: seen.account.Since(before.account)}
	c.Queries = DeltaBy(before.prometheus, seen.prometheus, Match{Name: "prometheus_http_requests_total"}, "handler")
	for handler := range c.Queries {
		if !strings.HasPrefix(handler, "/api/") {
			delete(c.Queries, handler)
		}
	}
	c.Requests = DeltaBy(before.apiserver, seen.apiserver, Match{Name: "apiserver_request_total"}, "verb", "group", "resource", "subresource")
	return c
}

// QueryCount is the number of Prometheus queries, instant and range.
func (c Cost) QueryCount() float64 {
	return c.Queries["/api/v1/query"] + c.Queries["/api/v1/query_range"]
}

// lists are the LISTs of objects at kube-apiserver, by resource. The aggregated metrics APIs have groups of their own, which
// are the questions, not their cost.
func (c Cost) lists() map[string]float64 {
	found := map[string]float64{}
	for key, n := range c.Requests {
		if what, ok := strings.CutPrefix(key, "LIST "); ok &&
			!strings.HasPrefix(what, "custom.metrics.k8s.io") && !strings.HasPrefix(what, "external.metrics.k8s.io") {
			found[what] = n
		}
	}
	return found
}

// ListCount is the number of LISTs of objects at kube-apiserver.
func (c Cost) ListCount() float64 {
	total := 0.0
	for _, n := range c.lists() {
		total += n
	}
	return total
}

// ListsOf is the number of LISTs of some resources, such as "pods" or "apps deployments".
func (c Cost) ListsOf(resources ...string) float64 {
	total := 0.0
	for what, n := range c.lists() {
		if slices.Contains(resources, what) {
			total += n
		}
	}
	return total
}

// Lists says in words what was listed.
func (c Cost) Lists() string {
	lists := c.lists()
	words := make([]string, 0, len(lists))
	for _, what := range Largest(lists) {
		words = append(words, fmt.Sprintf("%.0f of %s", lists[what], what))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// RequestCount is the number of kube-apiserver requests by what they are, such as "POST authorization.k8s.io
// subjectaccessreviews".
func (c Cost) RequestCount(key string) float64 { return c.Requests[key] }

// Writes are the requests that changed objects of a resource, and how many of which.
func (c Cost) Writes(resource string) (total float64, words string) {
	found := map[string]float64{}
	for key, n := range c.Requests {
		fields := strings.Fields(key)
		if len(fields) > 1 && slices.Contains(fields[1:], resource) && slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, fields[0]) {
			found[key] += n
			total += n
		}
	}
	parts := make([]string, 0, len(found))
	for _, key := range Largest(found) {
		parts = append(parts, fmt.Sprintf("%.0f %s", found[key], key))
	}
	return total, strings.Join(parts, ", ")
}
