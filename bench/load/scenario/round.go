package scenario

import (
	"context"
	"fmt"
	"math"
	"time"

	"k8s.io/client-go/rest"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
	"github.com/headroom-autoscaler/headroom/bench/load/meter"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// The HPA controller's clients send 20 requests a second each (kube-controller-manager's default --kube-api-qps), and an
// evaluation needs one request of each client at rest and two of the scaling client while it scales.
const controllerRequestsPerSecond = 20

const reconciliations = "horizontal_pod_autoscaler_controller_reconciliations_total"

// round measures how long the real controller takes to evaluate every HPA once, at rest and while all of them scale.
func (r *run) round(ctx context.Context) error {
	hpas := min(500, r.world.shape.Deployments())
	if err := r.letTheControllerAsk(ctx); err != nil {
		return err
	}
	if err := r.world.settle(ctx); err != nil {
		return err
	}
	if err := r.world.autoscalers(ctx, hpas, podsAndAnother); err != nil {
		return err
	}
	shape := fmt.Sprintf("%d HPAs", hpas)
	floor := max(float64(hpas)/controllerRequestsPerSecond, r.SyncPeriod.Seconds())
	settle := time.Duration(2*floor) * time.Second
	r.Progress("round: %s, waiting %s until the controller has its rhythm", shape, settle)
	if err := pause(ctx, settle); err != nil {
		return err
	}
	calm, err := r.rhythm(ctx, hpas, time.Duration(2*floor)*time.Second)
	if err != nil {
		return err
	}
	r.add(
		report.Measured(Round, shape, "round at rest", "s", calm.seconds).AtMost(1.1*floor).
			Because("%.0f evaluations in %.0f s; controller's own floor %.0f s", calm.evaluations, calm.cost.Elapsed.Seconds(), floor),
		report.Measured(Round, shape, "evaluations with an error", "evaluations", calm.errors).AtMost(0).Because("%v", calm.errorKinds),
		report.Measured(Round, shape, "adapter while asked by the controller", "cores", calm.cost.Cores("adapter")).
			Because("kube-controller-manager %.2f, kube-apiserver %.2f, Prometheus %.2f, etcd %.2f, others %.2f", calm.cost.Cores("kube-controller-manager"),
				calm.cost.Cores("kube-apiserver"), calm.cost.Cores("prometheus"), calm.cost.Cores("etcd"), calm.cost.Others.Seconds()/calm.cost.Elapsed.Seconds()),
	)

	// A level that grows by a quarter every ten seconds makes every evaluation find more than the tolerance.
	climbing, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for level := 1.25; pause(climbing, 10*time.Second) == nil; level *= 1.25 {
			r.Fleet.SetLevel(level, time.Now())
		}
	}()
	r.Progress("round: now all of them scale")
	if err := pause(ctx, time.Duration(floor)*time.Second); err != nil {
		return err
	}
	busy, err := r.rhythm(ctx, hpas, time.Duration(4*floor)*time.Second)
	if err != nil {
		return err
	}
	stop()
	r.Fleet.SetLevel(1, time.Now())
	r.add(
		report.Measured(Round, shape, "round while all scale", "s", busy.seconds).AtMost(1.1*max(2*float64(hpas)/controllerRequestsPerSecond, r.SyncPeriod.Seconds())).
			Because("%.0f evaluations in %.0f s, %.0f of them scaled", busy.evaluations, busy.cost.Elapsed.Seconds(), busy.scaled),
		report.Measured(Round, shape, "evaluations with an error while all scale", "evaluations", busy.errors).AtMost(0).Because("%v", busy.errorKinds),
	)
	return nil
}

// rhythm is what the controller did in a while.
type rhythm struct {
	seconds             float64 // one evaluation of every HPA
	evaluations, errors float64
	errorKinds          map[string]float64
	scaled              float64
	cost                meter.Cost
}

func (r *run) rhythm(ctx context.Context, hpas int, length time.Duration) (rhythm, error) {
	before, err := r.ManagerMetrics(ctx)
	if err != nil {
		return rhythm{}, err
	}
	cost, err := r.watch(ctx, r.withAdapter(), length)
	if err != nil {
		return rhythm{}, err
	}
	after, err := r.ManagerMetrics(ctx)
	if err != nil {
		return rhythm{}, err
	}
	all := meter.Match{Name: reconciliations}
	got := rhythm{evaluations: meter.Delta(before, after, all), cost: cost,
		errorKinds: meter.DeltaBy(before, after, all, "error"),
		scaled:     meter.Delta(before, after, meter.Match{Name: reconciliations, Labels: map[string]string{"action": "scale_up"}})}
	delete(got.errorKinds, "none")
	for _, n := range got.errorKinds {
		got.errors += n
	}
	got.seconds = math.NaN()
	if got.evaluations > 0 {
		got.seconds = float64(hpas) / got.evaluations * cost.Elapsed.Seconds()
	}
	return got, nil
}

// letTheControllerAsk forwards to the adapter and lets kube-controller-manager go on, which was stopped so far.
func (r *run) letTheControllerAsk(ctx context.Context) error {
	if err := r.aggregate(ctx); err != nil {
		return err
	}
	return r.Resume("kube-controller-manager")
}

// aggregate makes kube-apiserver forward to the adapter and waits until it does.
func (r *run) aggregate(ctx context.Context) error {
	if r.empty != nil {
		r.empty.stop()
		r.empty = nil
	}
	if err := r.Aggregate(ctx, r.adapter.port); err != nil {
		return err
	}
	client, err := r.throughApiserver()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	question := r.world.shape.Targets(ask.Pods, exporter.Waiting)[0]
	for {
		_, err := client.Ask(ctx, question)
		if err == nil {
			return nil
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("kube-apiserver does not forward to the adapter: %w", err)
		}
	}
}

// throughApiserver is a client that asks as an administrator through kube-apiserver's aggregation layer.
func (r *run) throughApiserver() (*ask.Client, error) {
	config, err := rest.TLSConfigFor(r.Admin)
	if err != nil {
		return nil, err
	}
	return ask.NewClient(ask.Options{URL: r.Admin.Host, TLS: config, Token: r.Admin.BearerToken, Timeout: 10 * time.Second})
}
