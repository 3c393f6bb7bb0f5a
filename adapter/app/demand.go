package app

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// demands knows the demand of Headroom objects from what the adapter has collected. It implements controller.Demands, and
// waits for nothing.
type demands struct {
	collector *collect.Collector
	queries   *queries
	// settle is how long a pod is Ready before it is expected to have a sample: two scrapes, which a rate takes, and a collection.
	settle time.Duration
	// now is the clock of the store and of the pods' conditions, whatever clock decisions go by.
	now func() time.Time
}

// scrapeInterval is what is taken for the time between two scrapes of a pod, which no API says. It is the default of the
// Prometheus operator and the longest in common use short of the minute that a rate over a minute rules out.
const scrapeInterval = 30 * time.Second

func newDemands(collector *collect.Collector, queries *queries, collectInterval time.Duration) *demands {
	return &demands{collector: collector, queries: queries, settle: 2*scrapeInterval + 2*collectInterval, now: time.Now}
}

// Demand implements controller.Demands.
func (d *demands) Demand(ctx context.Context, hr *v1alpha1.Headroom, ready []*corev1.Pod, now time.Time) prewarm.Demand {
	demand := d.measure(ctx, hr, ready)
	demand.At, demand.Ready = now, len(ready)
	if demand.Known && saturates(hr.Spec.Demand) {
		// The rest of the policy does not matter here.
		if policy, err := manifest.Policy(&hr.Spec, 0, 0); err == nil {
			demand.Saturated = policy.Saturates(demand.Value, len(ready))
		}
	}
	return demand
}

func (d *demands) measure(ctx context.Context, hr *v1alpha1.Headroom, ready []*corev1.Pod) prewarm.Demand {
	unknown := func(why error) prewarm.Demand { return prewarm.Demand{Reason: why.Error()} }
	if hr.Spec.Demand.Metric == nil {
		value, err := d.queries.value(hr, d.now())
		if err != nil {
			return unknown(err)
		}
		return prewarm.Demand{Value: value, Known: true}
	}
	want, err := demandWant(hr)
	if err != nil {
		return unknown(err)
	}
	view, err := d.view(ctx, want)
	switch {
	case err != nil:
		return unknown(err)
	case view == nil || !view.Answered():
		return unknown(fmt.Errorf("metric %s: %w", hr.Spec.Demand.Metric.Name, view.Explain()))
	case hr.Spec.Demand.Metric.Type == v1alpha1.ExternalDemand:
		rows, absence := view.Rows(d.now())
		if absence != nil {
			return unknown(fmt.Errorf("metric %s: %w", hr.Spec.Demand.Metric.Name, absence))
		}
		demand := prewarm.Demand{Known: true}
		for _, row := range rows {
			demand.Value += row.Number
		}
		return demand
	}
	return d.sum(hr, view, ready)
}

// view looks into the store. What nobody has asked for before is collected from now on, and known at one of the next looks.
func (d *demands) view(ctx context.Context, want collect.Want) (*store.View, error) {
	ctx, cancel := context.WithCancel(ctx)
	cancel() // so that it waits for nothing
	return d.collector.Lookup(ctx, want)
}

func (d *demands) sum(hr *v1alpha1.Headroom, view *store.View, ready []*corev1.Pod) prewarm.Demand {
	now := d.now()
	samples := make([]prewarm.Sample, len(ready))
	var why *store.Absence
	for i, pod := range ready {
		samples[i] = prewarm.Sample{Pod: pod.Name, ReadySince: readySince(pod)}
		value, absence := view.Value(pod.Name, now)
		if absence == nil {
			samples[i].Value, samples[i].Known = value.Number, true
		} else if why == nil || why.LastGood.IsZero() {
			why = absence
		}
	}
	demand := prewarm.SumDemand(now, samples, maxMissing(hr.Spec.Demand), d.settle)
	if !demand.Known && why != nil {
		demand.Reason += ": " + why.Error()
	}
	return demand
}

func readySince(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// maxMissing is the share of pods that may lack a sample; CEL has seen to its form.
func maxMissing(d v1alpha1.Demand) float64 {
	const fallback = 0.1
	if d.MaxMissing == nil {
		return fallback
	}
	percent, err := strconv.Atoi(strings.TrimSuffix(d.MaxMissing.StrVal, "%"))
	if err != nil {
		return fallback
	}
	return float64(percent) / 100
}

// saturates says whether a demand stops growing when its pods have all they can carry.
//
// What pods have finished, or are at work on, ends at what they can do; that the ready replicas carry all they can then says
// that demand is at least this. What is offered to them goes on growing, and the same look says nothing: taken for a
// lower bound it would double the replicas whenever demand is exactly what they are for. Metrics of queues and of arrivals are
// known by their names (those that presets give, and what is named like them); a metric of something else than pods,
// such as a queue in Kafka or the requests at an ingress, is measured before the pods; and who writes a query is told
// to measure what is offered.
func saturates(d v1alpha1.Demand) bool {
	if d.Metric == nil || d.Metric.Type == v1alpha1.ExternalDemand {
		return false
	}
	for _, word := range strings.FieldsFunc(d.Metric.Name, func(r rune) bool { return r == '_' || r == ':' || r == '-' || r == '.' }) {
		switch strings.ToLower(word) {
		case "offered", "arrived", "arrivals", "received", "waiting", "pending", "queue", "queued", "backlog", "lag":
			return false
		}
	}
	return true
}
