package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
	"github.com/headroom-autoscaler/headroom/bench/load/latency"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// steps are made one after the other, each up: on the way down the HPA waits five minutes.
const steps = 4

// step measures the road from a gauge that steps to the HPA's new spec.replicas, and where the time goes.
func (r *run) step(ctx context.Context) error {
	hpas := min(100, r.world.shape.Deployments())
	if err := r.letTheControllerAsk(ctx); err != nil {
		return err
	}
	r.Fleet.SetLevel(1, time.Now())
	if err := r.world.autoscalers(ctx, 0, onlyPods); err != nil {
		return err
	}
	if err := r.world.settle(ctx); err != nil {
		return err
	}
	if err := pause(ctx, 2*r.ScrapeInterval+2*r.CollectInterval); err != nil {
		return err
	}
	if err := r.world.autoscalers(ctx, hpas, onlyPods); err != nil {
		return err
	}
	watched, err := r.watchReplicas(ctx)
	if err != nil {
		return err
	}
	defer watched.stop()
	if err := pause(ctx, 2*r.SyncPeriod); err != nil {
		return err
	}

	var whole, scrape, collect, period latency.Histogram
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)) //nolint:gosec // phases of the periods, nothing secret
	for i := range steps {
		// A random phase against every period in the chain.
		if err := pause(ctx, time.Duration(random.Float64()*float64(r.SyncPeriod))); err != nil {
			return err
		}
		level := float64(i + 2)
		replicas := int32(level) * exporter.PodsPerDeployment
		r.Progress("step %d of %d", i+1, steps)
		stepped := time.Now()
		r.Fleet.SetLevel(level, stepped)
		limit := r.ScrapeInterval + r.CollectInterval + 3*r.SyncPeriod
		served, err := r.servedAt(ctx, level, limit)
		if err != nil {
			return err
		}
		scraped, err := r.scrapedAt(ctx, level)
		if err != nil {
			return err
		}
		changed, err := watched.await(ctx, replicas, hpas, limit)
		if err != nil {
			return err
		}
		scrape.Record(scraped.Sub(stepped))
		collect.Record(served.Sub(scraped))
		for _, at := range changed {
			whole.Record(at.Sub(stepped))
			period.Record(at.Sub(served))
		}
	}
	shape := fmt.Sprintf("%d HPAs", hpas)
	seconds := func(h *latency.Histogram, q float64) float64 {
		d, _ := h.Quantile(q)
		return d.Seconds()
	}
	budget := r.ScrapeInterval + r.CollectInterval + r.SyncPeriod + time.Second
	r.add(
		report.Measured(Step, shape, "gauge to spec.replicas, p50", "s", seconds(&whole, 0.5)).
			Because("%d steps at random phases, %d changes", steps, whole.Count()),
		report.Measured(Step, shape, "gauge to spec.replicas, max", "s", seconds(&whole, 1)).AtMost(budget.Seconds()).
			Because("scrape %s + collect %s + HPA %s + 1 s", r.ScrapeInterval, r.CollectInterval, r.SyncPeriod),
		report.Measured(Step, shape, "  of it until scraped, max", "s", seconds(&scrape, 1)).Because("p50 %.2f; one scrape serves all pods", seconds(&scrape, 0.5)),
		report.Measured(Step, shape, "  of it until the adapter serves it, max", "s", seconds(&collect, 1)).Because("p50 %.2f", seconds(&collect, 0.5)),
		report.Measured(Step, shape, "  of it until the HPA has acted, max", "s", seconds(&period, 1)).Because("p50 %.2f", seconds(&period, 0.5)),
	)
	return nil
}

// servedAt is when the adapter first answers with the level's value, by asking it ten times a second.
func (r *run) servedAt(ctx context.Context, level float64, limit time.Duration) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	question := r.world.shape.Targets(ask.Pods, exporter.Waiting)[0]
	want := fmt.Sprintf("%.0f", level*exporter.Target)
	for {
		answer, err := r.adapter.client.Ask(ctx, question)
		if err == nil && answer.Value == want {
			return time.Now(), nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return time.Time{}, fmt.Errorf("the adapter does not serve %s after %s: %q, %w", want, limit, answer.Value, err)
		}
	}
}

// scrapedAt is the timestamp of the first raw sample with the level's value.
func (r *run) scrapedAt(ctx context.Context, level float64) (time.Time, error) {
	value := level * exporter.Target
	// Samples of the level are the newest of the last two minutes; min over a subquery at 100 ms finds the first.
	expression := fmt.Sprintf(`min_over_time((timestamp(%s{pod=%q}) and %s{pod=%q} == %v)[30s:100ms])`,
		exporter.Waiting, exporter.Pod(0, 0), exporter.Waiting, exporter.Pod(0, 0), value)
	unix, ok, err := r.query(ctx, expression)
	if err != nil || !ok {
		return time.Time{}, fmt.Errorf("find the scrape of value %v: found %v, %w", value, ok, err)
	}
	return time.UnixMilli(int64(unix * 1000)), nil
}

// replicaWatch remembers when each Deployment's spec.replicas first had each value.
type replicaWatch struct {
	mu   sync.Mutex
	seen map[int32]map[string]time.Time
	stop func()
}

func (r *run) watchReplicas(ctx context.Context) (*replicaWatch, error) {
	w := &replicaWatch{seen: map[int32]map[string]time.Time{}}
	list, err := r.world.client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("watch deployments: %w", err)
	}
	watch, err := r.world.client.AppsV1().Deployments("").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return nil, fmt.Errorf("watch deployments: %w", err)
	}
	w.stop = watch.Stop
	go func() {
		for event := range watch.ResultChan() {
			d, ok := event.Object.(*appsv1.Deployment)
			if !ok || d.Spec.Replicas == nil || !strings.HasPrefix(d.Namespace, "bench-") {
				continue
			}
			w.mu.Lock()
			if w.seen[*d.Spec.Replicas] == nil {
				w.seen[*d.Spec.Replicas] = map[string]time.Time{}
			}
			if _, known := w.seen[*d.Spec.Replicas][d.Name]; !known {
				w.seen[*d.Spec.Replicas][d.Name] = time.Now()
			}
			w.mu.Unlock()
		}
	}()
	return w, nil
}

// await waits until n Deployments have had the number of replicas.
func (w *replicaWatch) await(ctx context.Context, replicas int32, n int, limit time.Duration) (map[string]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		w.mu.Lock()
		seen := w.seen[replicas]
		w.mu.Unlock()
		if len(seen) >= n {
			return seen, nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return nil, fmt.Errorf("%d of %d HPAs set %d replicas in %s", len(seen), n, replicas, limit)
		}
	}
}
