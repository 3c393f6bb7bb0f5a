package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/apiserver/pkg/server/healthz"

	prometheusclient "github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/kubernetes"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
)

const (
	// readyAnyway is how long readiness waits for the first collection: a rollout during a backend's outage must come up.
	readyAnyway = 10 * time.Second
	// settle lets a burst of changes, such as the first list of 500 HPAs, end in one round instead of many.
	settle = 20 * time.Millisecond
	// stuckAfter is how long the loop may not turn before the process asks to be restarted.
	stuckAfter = 30 * time.Second
	// publishEvery is how often discovery is brought up to date; clients cache it for longer than that.
	publishEvery = 30 * time.Second
)

// loop turns the collector: every interval for everything, and at once for what is new.
type loop struct {
	interval  time.Duration
	metrics   *metrics
	collector *collect.Collector
	wanted    *collect.Wanted
	hpas      *kubernetes.HPAs
	headrooms *controller.Mirror
	queries   *queries
	synced    func() bool
	publish   func()

	hpaChanged chan struct{}
	firstTick  atomic.Int64 // unix nanoseconds; 0 before
	lastTick   atomic.Int64
	done       sync.WaitGroup
}

func newLoop(o *Options, m *metrics) *loop {
	return &loop{interval: o.CollectInterval, metrics: m, hpaChanged: make(chan struct{}, 1)}
}

// changed tells the loop that what HPAs want may have changed. It never blocks.
func (l *loop) changed() {
	select {
	case l.hpaChanged <- struct{}{}:
	default:
	}
}

func (l *loop) start(ctx context.Context) {
	l.lastTick.Store(time.Now().UnixNano())
	l.done.Go(func() { l.run(ctx) })
}

func (l *loop) wait() {
	l.done.Wait()
	l.collector.Wait()
}

func (l *loop) run(ctx context.Context) {
	for !l.synced() { // what is wanted is not known before
		l.lastTick.Store(time.Now().UnixNano())
		if !sleep(ctx, settle) {
			return
		}
	}
	l.wanted.SetStanding("HPA", l.hpas.Wants())
	l.wanted.SetStanding("Headroom", headroomWants(l.headrooms.All()))
	l.tick(ctx, false)
	l.firstTick.Store(time.Now().UnixNano())
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	published := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.wanted.SetStanding("HPA", l.hpas.Wants()) // an object's kind may have become known
			l.wanted.SetStanding("Headroom", headroomWants(l.headrooms.All()))
			l.queries.ask(ctx, time.Now())
			l.tick(ctx, false)
			if now := time.Now(); now.Sub(published) > publishEvery {
				l.publish()
				published = now
			}
		case <-l.collector.Kicked():
			if !sleep(ctx, settle) {
				return
			}
			l.tick(ctx, true)
			published = time.Time{}
		case <-l.hpaChanged:
			if !sleep(ctx, settle) {
				return
			}
			if l.wanted.SetStanding("HPA", l.hpas.Wants()) {
				l.tick(ctx, true)
				published = time.Time{}
			}
		}
	}
}

func (l *loop) tick(ctx context.Context, onlyNew bool) {
	l.collector.Tick(ctx, onlyNew)
	l.lastTick.Store(time.Now().UnixNano())
	l.metrics.lastTick.SetToCurrentTime()
}

// ready: the caches are filled and one collection was attempted, answered or not. It never depends on a backend.
func (l *loop) ready() healthz.HealthChecker {
	return healthz.NamedCheck("collection", func(*http.Request) error {
		first := l.firstTick.Load()
		switch {
		case !l.synced():
			return errors.New("pods and HPAs are not listed yet")
		case first == 0:
			return errors.New("the collection loop has not turned yet")
		}
		wants, _ := l.wanted.All()
		if len(wants) == 0 || l.collector.Attempted() || time.Since(time.Unix(0, first)) > readyAnyway {
			return nil
		}
		return errors.New("no collection has been attempted yet")
	})
}

// live: the loop turns.
func (l *loop) live() healthz.HealthChecker {
	return healthz.NamedCheck("collection-loop", func(*http.Request) error {
		last := time.Unix(0, l.lastTick.Load())
		if since := time.Since(last); since > max(stuckAfter, 3*l.interval) {
			return fmt.Errorf("the collection loop has not turned for %s", since.Round(time.Second))
		}
		return nil
	})
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// withoutProcess leaves out the metrics that both this process's registry and Kubernetes' own report.
type withoutProcess struct{ prometheusclient.Gatherer }

// Gather implements prometheus.Gatherer.
func (g withoutProcess) Gather() ([]*dto.MetricFamily, error) {
	families, err := g.Gatherer.Gather()
	kept := families[:0]
	for _, family := range families {
		switch name := family.GetName(); {
		case len(name) > 3 && name[:3] == "go_", len(name) > 8 && name[:8] == "process_":
		default:
			kept = append(kept, family)
		}
	}
	return kept, err
}
