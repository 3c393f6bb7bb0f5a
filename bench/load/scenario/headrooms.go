package scenario

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
	"github.com/headroom-autoscaler/headroom/bench/load/meter"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// steadyLength is how long decisions at rest are watched: the status of each object is written once a minute.
const steadyLength = 3 * time.Minute

// headrooms measures one replica that decides for a Headroom per deployment, all in shadow, their forecasts on.
func (r *run) headrooms(ctx context.Context) error {
	n := r.world.shape.Deployments()
	shape := fmt.Sprintf("%d Headrooms", n)
	if err := r.InstallHeadrooms(ctx); err != nil {
		return err
	}
	if err := r.world.autoscalers(ctx, n, onlyPods); err != nil {
		return err
	}
	without, err := r.restart(ctx, "headrooms-without", false)
	if err != nil {
		return err
	}
	r.Progress("headrooms: at rest without objects")
	if err := pause(ctx, steadyLength/3); err != nil {
		return err
	}
	usage, err := meter.Process(r.adapter.pid)
	if err != nil {
		return err
	}
	without.resident = usage.ResidentBytes

	objects, err := r.headroomClient()
	if err != nil {
		return err
	}
	if err := each(ctx, 0, n, func(i int) error { return r.createHeadroom(ctx, objects, i) }); err != nil {
		return err
	}
	if _, err := r.restart(ctx, "headrooms-deciding", true); err != nil {
		return err
	}
	if _, err := r.allDecided(ctx, objects, n, time.Time{}, 3*time.Minute); err != nil {
		return err
	}

	// A second leader: everything is there, and the question is how soon it decides again.
	started := time.Now()
	deciding, err := r.restart(ctx, "headrooms-again", true)
	if err != nil {
		return err
	}
	took, err := r.allDecided(ctx, objects, n, started, 3*time.Minute)
	if err != nil {
		return err
	}
	r.Progress("headrooms: at rest with objects")
	if err := pause(ctx, time.Minute); err != nil {
		return err
	}
	before, err := deciding.scrape(ctx)
	if err != nil {
		return err
	}
	cost, err := r.watch(ctx, r.withAdapter(), steadyLength)
	if err != nil {
		return err
	}
	after, err := deciding.scrape(ctx)
	if err != nil {
		return err
	}
	if usage, err = meter.Process(r.adapter.pid); err != nil {
		return err
	}
	writes, names := cost.Writes("headrooms")
	const histogram = "headroom_controller_reconcile_duration_seconds"
	r.add(
		report.Measured(Headrooms, shape, "start to a fresh decision for all", "s", took.Seconds()).
			Because("process start, lease won, every status written anew; what was decided before is served from the first second"),
		report.Measured(Headrooms, shape, "look at one object, p99", "ms", 1000*bucketQuantile(before, after, histogram, 0.99)).
			Because("%.0f looks, writes included; p50 %.2f ms", meter.Delta(before, after, meter.Match{Name: histogram + "_count"}), 1000*bucketQuantile(before, after, histogram, 0.5)),
		report.Measured(Headrooms, shape, "kube-apiserver writes of theirs per minute", "", writes/steadyLength.Minutes()).AtMost(float64(n)*1.1).
			Because("one a minute for each, at rest; %s", names),
		report.Measured(Headrooms, shape, "memory for them", "MiB", float64(usage.ResidentBytes-without.resident)/(1<<20)).AtMost(100).
			Because("resident %.0f MiB with, %.0f without", float64(usage.ResidentBytes)/(1<<20), float64(without.resident)/(1<<20)),
		report.Measured(Headrooms, shape, "CPU", "cores", cost.Cores("adapter")).Because("the adapter's other work included"),
	)
	return nil
}

// decider is an adapter whose own metrics are read.
type decider struct {
	metrics  string
	resident int64
}

func (d *decider) scrape(ctx context.Context) (meter.Reading, error) {
	return meter.Scrape(ctx, http.DefaultClient, d.metrics)
}

// restart replaces the adapter under test by one that decides, or only serves.
func (r *run) restart(ctx context.Context, name string, decides bool) (*decider, error) {
	r.stopAdapters()
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	command := strings.Replace(r.Command, "--metrics-bind-address=127.0.0.1:0", "--metrics-bind-address=127.0.0.1:"+strconv.Itoa(port), 1)
	command += fmt.Sprintf(" --headrooms=%t --lease-namespace=%s", decides, r.LeaseNamespace)
	if r.adapter, err = r.start(ctx, name, command); err != nil {
		return nil, err
	}
	return &decider{metrics: fmt.Sprintf("http://127.0.0.1:%d/metrics", port)}, r.adapter.allGood(ctx, questions(r.world.shape)[:1], 90*time.Second)
}

func (r *run) headroomClient() (client.Client, error) {
	log.SetLogger(logr.Discard()) // without one, controller-runtime complains on standard error
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(r.Admin, client.Options{Scheme: scheme})
}

func (r *run) createHeadroom(ctx context.Context, objects client.Client, i int) error {
	name := exporter.Deployment(i)
	hr := &v1alpha1.Headroom{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.world.shape.Namespace(i), Name: name},
		Spec: v1alpha1.HeadroomSpec{
			ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			Demand:         v1alpha1.Demand{Metric: &v1alpha1.DemandMetric{Name: exporter.Waiting}, PerReplica: *resource.NewQuantity(exporter.Target, resource.DecimalSI)},
			Actuation:      v1alpha1.Actuation{Mode: v1alpha1.ActuateNone},
		},
	}
	if err := objects.Create(ctx, hr); err != nil {
		return fmt.Errorf("create Headroom %s: %w", name, err)
	}
	return nil
}

// allDecided waits until every object has a decision that is younger than since, and says how long after since that was.
func (r *run) allDecided(ctx context.Context, objects client.Client, n int, since time.Time, limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	decided := 0
	for {
		var list v1alpha1.HeadroomList
		if err := objects.List(ctx, &list); err != nil && ctx.Err() == nil {
			return 0, err
		}
		decided = 0
		for _, hr := range list.Items {
			if d := hr.Status.Decision; d != nil && !d.At.Time.Before(since.Truncate(time.Second)) {
				decided++
			}
		}
		if decided == n {
			return time.Since(since), nil
		}
		if pause(ctx, 250*time.Millisecond) != nil {
			return 0, fmt.Errorf("%d of %d objects have a decision after %s; the end of the adapter's log:\n%s", decided, n, limit, r.adapter.tail())
		}
	}
}

// bucketQuantile is a quantile of what a histogram counted between two readings: the upper bound of its bucket.
func bucketQuantile(before, after meter.Reading, name string, q float64) float64 {
	byBound := meter.DeltaBy(before, after, meter.Match{Name: name + "_bucket"}, "le")
	total := byBound["+Inf"]
	bounds := make([]float64, 0, len(byBound))
	texts := map[float64]string{}
	for text := range byBound {
		bound, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue
		}
		bounds = append(bounds, bound)
		texts[bound] = text
	}
	slices.Sort(bounds)
	for _, bound := range bounds {
		if byBound[texts[bound]] >= q*total {
			return bound
		}
	}
	return math.NaN()
}
