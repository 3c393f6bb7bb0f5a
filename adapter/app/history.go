package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/kubernetes"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// histories reads the past of Headroom objects' demand from the backends. It implements controller.History.
//
// A metric of pods is the sum over the pods that the target had at each moment. They are gone, and so are their labels: a
// series has only their names. So the target's pods are told by the pattern that its controller names pods by, see podNames.
type histories struct {
	collector *collect.Collector
	queries   *queries
}

// Past implements controller.History.
func (h *histories) Past(ctx context.Context, hr *v1alpha1.Headroom, from, to time.Time, step time.Duration) ([]controller.Point, error) {
	if hr.Spec.Demand.Metric == nil {
		found, err := h.queries.past(ctx, hr, from, to, step)
		return pointsOf(found), err
	}
	want, err := demandWant(hr)
	if err != nil {
		return nil, err
	}
	pasts, err := h.collector.Past(want, podNames(hr.Spec.ScaleTargetRef))
	if err != nil {
		return nil, fmt.Errorf("metric %s: %w", hr.Spec.Demand.Metric.Name, err)
	}
	for _, past := range pasts {
		client, ok := past.Backend.Querier.(*prometheus.Client)
		if !ok {
			return nil, fmt.Errorf("backend %s has no history", past.Backend.Name)
		}
		found, err := prometheus.NewHistory(client).Points(ctx, past.Query, from, to, step)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue // the next backend may have it
		}
		points := pointsOf(found)
		if !saturates(hr.Spec.Demand) {
			return points, nil
		}
		counts, err := prometheus.NewHistory(client).Points(ctx, past.Count, from, to, step)
		if err != nil {
			return nil, err
		}
		return points, markSaturated(hr, points, counts)
	}
	return nil, nil
}

// markSaturated says of each point whether the pods that there were then carried all they could. Those that had a value are
// taken for the Ready ones: a server that still loads its model has none.
func markSaturated(hr *v1alpha1.Headroom, points []controller.Point, counts []prometheus.Point) error {
	policy, err := manifest.Policy(&hr.Spec, 0, 0)
	if err != nil {
		return err
	}
	pods := make(map[int64]int, len(counts))
	for _, c := range counts {
		pods[c.At.UnixMilli()] = int(c.Value)
	}
	for i := range points {
		points[i].Saturated = policy.Saturates(points[i].Value, pods[points[i].At.UnixMilli()])
	}
	return nil
}

func pointsOf(found []prometheus.Point) []controller.Point {
	points := make([]controller.Point, len(found))
	for i, p := range found {
		points[i] = controller.Point{At: p.At, Value: p.Value}
	}
	return points
}

// demandWant is what the adapter collects for an object's demand metric. Where a rule cannot be asked for a whole namespace, pods
// are told by the target's selector, which the status has.
func demandWant(hr *v1alpha1.Headroom) (collect.Want, error) {
	metric := hr.Spec.Demand.Metric
	want := collect.Want{Key: store.Key{Kind: rules.Custom, Namespace: hr.Namespace, Metric: metric.Name, Resource: rules.Resource{Name: "pods"}}}
	if metric.Type == v1alpha1.ExternalDemand {
		selector := labels.Everything()
		if metric.Selector != nil {
			var err error
			if selector, err = metav1.LabelSelectorAsSelector(metric.Selector); err != nil {
				return collect.Want{}, fmt.Errorf("demand.metric.selector: %w", err)
			}
		}
		want.Selector = kubernetes.SelectorOf(selector)
		want.Key.Kind, want.Key.Resource, want.Key.Selector = rules.External, rules.Resource{}, want.Selector.String()
		return want, nil
	}
	if selector, err := labels.Parse(hr.Status.Selector); err == nil && !selector.Empty() {
		want.Key.Objects = store.SelectorPrefix + selector.String()
	}
	return want, nil
}

const (
	// generated are the letters and digits that Kubernetes makes up names from: those that form no words.
	generated = "[bcdfghjklmnpqrstvwxz2456789]"
	// generatedFrom is how much of a name is kept when five are added to it.
	generatedFrom = 58
)

// podNames is a regular expression for the names of a workload's pods, now and in the past, that those of other workloads
// do not match where it can be helped:
//
//	Deployment, Rollout    name-<hash of the template>-<five>
//	StatefulSet            name-<number>
//	ReplicaSet, DaemonSet  name-<five>
//	any other              name-<anything>: another workload whose name goes on from this one's with a hyphen counts too
//
// Of names so long that Kubernetes cuts them off, the rest is anything.
func podNames(target v1alpha1.ScaleTargetRef) string {
	literally := strings.NewReplacer(".", "[.]") // the one character of names that means something else in an expression
	name := literally.Replace(target.Name)
	cut := func(tail int) bool { return len(target.Name)+tail > generatedFrom }
	group := schema.FromAPIVersionAndKind(target.APIVersion, target.Kind).Group
	switch kind := target.Kind; {
	case group == "apps" && kind == "StatefulSet":
		return name + "-[0-9]+"
	case group == "apps" && (kind == "ReplicaSet" || kind == "DaemonSet") && !cut(len("-")):
		return name + "-" + generated + "{5}"
	case (group == "apps" && kind == "Deployment" || group == "argoproj.io" && kind == "Rollout") && !cut(len("-1234567890-")):
		return name + "-" + generated + "{1,10}-" + generated + "{5}"
	case len(target.Name) >= generatedFrom:
		return literally.Replace(target.Name[:generatedFrom]) + ".*"
	}
	return name + "-.*"
}
