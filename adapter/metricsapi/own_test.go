package metricsapi

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// floors owns the external metric headroom_replicas and the one on Headroom objects, and says 7.
type floors struct{}

var headroomObjects = schema.GroupResource{Group: "headroom.dev", Resource: "headrooms"}

func (floors) Owns(of schema.GroupResource, metric string) bool {
	return metric == "headroom_replicas" && (of == schema.GroupResource{} || of == headroomObjects)
}

func (floors) GetMetricByName(context.Context, types.NamespacedName, provider.CustomMetricInfo, labels.Selector) (*custom_metrics.MetricValue, error) {
	return &custom_metrics.MetricValue{Value: resource.MustParse("7")}, nil
}

func (floors) GetMetricBySelector(context.Context, string, labels.Selector, provider.CustomMetricInfo, labels.Selector) (*custom_metrics.MetricValueList, error) {
	return &custom_metrics.MetricValueList{Items: []custom_metrics.MetricValue{{Value: resource.MustParse("7")}}}, nil
}

func (floors) GetExternalMetric(context.Context, string, labels.Selector, provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{Value: resource.MustParse("7")}}}, nil
}

func (floors) ListAllMetrics() []provider.CustomMetricInfo {
	return []provider.CustomMetricInfo{{GroupResource: headroomObjects, Namespaced: true, Metric: "headroom_replicas"}}
}

func (floors) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	return []provider.ExternalMetricInfo{{Metric: "headroom_replicas"}}
}

// given lists what it is.
type given []rules.Entry

func (g given) Listed() []rules.Entry { return g }

func TestOwnMetricsAreAskedBeforeAnyRule(t *testing.T) {
	p, _, _ := serving(t, 10)
	p.Own = floors{}
	external, err := p.GetExternalMetric(t.Context(), "inference", labels.Everything(), provider.ExternalMetricInfo{Metric: "headroom_replicas"})
	if err != nil || external.Items[0].Value.Value() != 7 {
		t.Error(external, err)
	}
	onObject := provider.CustomMetricInfo{GroupResource: headroomObjects, Namespaced: true, Metric: "headroom_replicas"}
	one, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "inference", Name: "llama"}, onObject, labels.Everything())
	if err != nil || one.Value.Value() != 7 {
		t.Error(one, err)
	}
	many, err := p.GetMetricBySelector(t.Context(), "inference", labels.Everything(), onObject, labels.Everything())
	if err != nil || len(many.Items) != 1 {
		t.Error(many, err)
	}
	// The same name on pods is a rule's, and no rule has answered here.
	onPods := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: "headroom_replicas"}
	if got, err := p.GetMetricBySelector(t.Context(), "inference", labels.Everything(), onPods, labels.Everything()); err == nil {
		t.Error("a rule's metric was answered by Own:", got)
	}
}

func TestDiscoveryShowsOwnMetricsInPlaceOfRulesOfTheirNames(t *testing.T) {
	p, _, _ := serving(t, 0)
	pods := rules.Entry{Kind: rules.Custom, Resource: rules.Resource{Name: "pods"}, Metric: "headroom_replicas", Namespaced: true}
	queue := rules.Entry{Kind: rules.External, Metric: "queue_length", Namespaced: true}
	p.Lister = given{pods, {Kind: rules.External, Metric: "headroom_replicas", Namespaced: true}, queue}
	p.Own = floors{}
	want := []rules.Entry{
		{Kind: rules.Custom, Resource: rules.Resource{Group: "headroom.dev", Name: "headrooms"}, Metric: "headroom_replicas", Namespaced: true},
		{Kind: rules.External, Metric: "headroom_replicas", Namespaced: true},
		pods, queue,
	}
	if diff := cmp.Diff(want, p.Listed()); diff != "" {
		t.Error(diff)
	}
	if custom, external := len(p.ListAllMetrics()), len(p.ListAllExternalMetrics()); custom != 2 || external != 2 {
		t.Error(custom, external)
	}
}
