package scenario

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/client-go/rest"

	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
	"github.com/headroom-autoscaler/headroom/bench/load/meter"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

//go:embed rules.yaml
var rulesFile []byte

// RulesFile is the configuration that serves the fleet.
func RulesFile() []byte { return rulesFile }

// answerable are the resources that the fleet's questions are about: an adapter that lists them does so for an answer.
// Other LISTs are kube-apiserver's own and some component's informer's, and are named beside the figure.
var answerable = []string{"pods", "apps deployments"}

// rulesServed is the number of rules in rules.yaml; each may cost a query for values and one for ages.
const rulesServed = 6

func (r *run) queriesPerRound() float64 { return 2 * rulesServed }

func (r *run) observe(processes map[string]int) *meter.Observer {
	client, err := rest.HTTPClientFor(r.Admin)
	if err != nil {
		panic(err) // the same configuration made the typed client
	}
	return &meter.Observer{PrometheusURL: r.PrometheusURL, Apiserver: client,
		ApiserverMetricsURL: r.Admin.Host + "/metrics", Processes: processes}
}

// withAdapter are all processes around an answer, the empty provider's apart.
func (r *run) withAdapter() map[string]int {
	processes := maps.Clone(r.Processes)
	processes["adapter"] = r.adapter.pid
	return processes
}

// watch observes for a while in which nothing is asked.
func (r *run) watch(ctx context.Context, processes map[string]int, length time.Duration) (meter.Cost, error) {
	observer := r.observe(processes)
	before, err := observer.Observe(ctx)
	if err != nil {
		return meter.Cost{}, err
	}
	if err := pause(ctx, length); err != nil {
		return meter.Cost{}, err
	}
	after, err := observer.Observe(ctx)
	return after.Since(before), err
}

// backgroundLength holds several scrapes and collections, and enough 10 ms ticks of CPU time to tell 0.10 core.
const backgroundLength = 30 * time.Second

// idlePrometheus is what Prometheus takes for scraping alone, before any adapter runs.
func (r *run) idlePrometheus(ctx context.Context, shape exporter.Shape) (cores float64, err error) {
	if !r.wants(Background) {
		return 0, nil
	}
	r.Progress("%s: Prometheus without an adapter", shape)
	cost, err := r.watch(ctx, r.Processes, backgroundLength)
	return cost.Cores("prometheus"), err
}

// background measures the collection with all HPAs in the cluster and nobody asking.
func (r *run) background(ctx context.Context, shape exporter.Shape, prometheusIdle float64) error {
	cost, err := r.watch(ctx, r.withAdapter(), backgroundLength)
	if err != nil {
		return err
	}
	rounds := cost.Elapsed.Seconds() / r.CollectInterval.Seconds()
	r.add(
		report.Measured(Background, shape.String(), "adapter", "cores", cost.Cores("adapter")).AtMost(0.10).
			Because("%d HPAs with 4 Pods, 1 Object and 1 External metric; others on the machine %.2f cores", shape.Deployments(),
				cost.Others.Seconds()/cost.Elapsed.Seconds()),
		report.Measured(Background, shape.String(), "Prometheus, above scraping alone", "cores", cost.Cores("prometheus")-prometheusIdle).AtMost(0.10).
			Because("scraping alone %.3f", prometheusIdle),
		report.Measured(Background, shape.String(), "Prometheus queries per round", "queries", cost.QueryCount()/rounds).
			AtMost(r.queriesPerRound()*(1+1/rounds)).Because("2 × %d rules × 1 backend; one round more or less may fall in the %.0f s", rulesServed, cost.Elapsed.Seconds()),
		report.Measured(Background, shape.String(), "kube-apiserver LISTs", "LISTs", cost.ListsOf(answerable...)).AtMost(0).
			Because("of what answers are made from; in all: %s", cost.Lists()),
	)
	return nil
}

// memory is read after the load scenarios.
func (r *run) memory(_ context.Context, shape exporter.Shape) error {
	adapter, err := meter.Process(r.adapter.pid)
	if err != nil {
		return err
	}
	empty, err := meter.Process(r.empty.pid)
	if err != nil {
		return err
	}
	const MiB = 1 << 20
	resident := float64(adapter.ResidentBytes) / MiB
	r.resident[shape.Pods] = resident
	f := report.Measured(Memory, shape.String(), "resident after load", "MiB", resident).
		Because("peak %.0f; empty provider %.0f", float64(adapter.PeakBytes)/MiB, float64(empty.ResidentBytes)/MiB)
	if shape.Pods <= 5000 {
		f = f.AtMost(150)
	}
	r.add(f)
	return nil
}

// growth compares the smallest and the largest shape.
func (r *run) growth() {
	first, last := r.Shapes[0], r.Shapes[len(r.Shapes)-1]
	name := fmt.Sprintf("%d → %d pods", first, last)
	if first == last {
		return
	}
	if small, large := r.medians[first], r.medians[last]; small > 0 && large > 0 {
		r.add(report.Measured(Growth, name, "p50 of a Pods answer", "ratio", large/small).AtMost(1.2).
			Because("%.3f → %.3f ms", small, large))
	}
	if small, large := r.resident[first], r.resident[last]; small > 0 && large > 0 {
		r.add(report.Measured(Growth, name, "resident memory per further pod", "KiB", (large-small)*1024/float64(last-first)).AtMost(20).
			Because("%.0f → %.0f MiB, after load, garbage included", small, large))
	}
}

// query asks Prometheus for one number: the sum that an expression gives now.
func (r *run) query(ctx context.Context, expression string) (value float64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.PrometheusURL+"/api/v1/query?query="+url.QueryEscape(expression), nil)
	if err != nil {
		return 0, false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, false, fmt.Errorf("ask Prometheus: %w", err)
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, false, fmt.Errorf("ask Prometheus: %w", err)
	}
	if len(answer.Data.Result) == 0 {
		return 0, false, nil
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	value, err = strconv.ParseFloat(text, 64)
	return value, err == nil, err
}

// awaitScrapes waits until Prometheus has three scrapes of every pod: rate() needs two, and one may be cut by the growth.
func (r *run) awaitScrapes(ctx context.Context, shape exporter.Shape) error {
	ctx, cancel := context.WithTimeout(ctx, 10*r.ScrapeInterval+30*time.Second)
	defer cancel()
	expression := fmt.Sprintf("count(count_over_time(%s[1m]) >= 3)", exporter.RequestsTotal)
	for {
		n, _, err := r.query(ctx, expression)
		if err == nil && int(n) == shape.Pods {
			return nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("prometheus has %v of %d pods (%w)", n, shape.Pods, context.Cause(ctx))
		}
	}
}
