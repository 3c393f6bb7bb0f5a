package app

import (
	"context"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/headroom-autoscaler/headroom/adapter/kubernetes"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// question is one thing that an HPA asks.
type question struct {
	hpa       string // namespace/name
	kind      rules.Kind
	namespace string
	resource  rules.Resource
	objectGK  schema.GroupKind
	object    string // "" for pods by selector
	pods      labels.Selector
	metric    string
	selector  labels.Selector
}

// questions are what the cluster's HPAs ask, in a stable order.
func (a *Adapter) questions(ctx context.Context) ([]question, error) {
	config, err := a.base.ClientConfig()
	if err != nil {
		return nil, err
	}
	targets, err := kubernetes.NewTargets(config, a.resources)
	if err != nil {
		return nil, err
	}
	hpas := a.hpas.All()
	slices.SortFunc(hpas, func(x, y *autoscalingv2.HorizontalPodAutoscaler) int {
		return strings.Compare(x.Namespace+"/"+x.Name, y.Namespace+"/"+y.Name)
	})
	var questions []question
	for _, hpa := range hpas {
		for _, metric := range hpa.Spec.Metrics {
			if q, ok := a.question(ctx, hpa, metric, targets); ok {
				questions = append(questions, q)
			}
		}
	}
	return questions, nil
}

func (a *Adapter) question(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, metric autoscalingv2.MetricSpec, targets *kubernetes.Targets) (question, bool) {
	q := question{hpa: hpa.Namespace + "/" + hpa.Name, kind: rules.Custom, namespace: hpa.Namespace}
	var identifier autoscalingv2.MetricIdentifier
	switch {
	case metric.Pods != nil:
		identifier, q.resource = metric.Pods.Metric, rules.Resource{Name: "pods"}
		pods, err := targets.Selector(ctx, hpa)
		if err != nil {
			a.log.Error("the HPA's target cannot be read", "hpa", q.hpa, "error", err)
			return q, false
		}
		q.pods = pods
	case metric.Object != nil:
		identifier, q.object = metric.Object.Metric, metric.Object.DescribedObject.Name
		gv, _ := schema.ParseGroupVersion(metric.Object.DescribedObject.APIVersion)
		q.objectGK = schema.GroupKind{Group: gv.Group, Kind: metric.Object.DescribedObject.Kind}
		resource, known := a.resources.ForKind(metric.Object.DescribedObject.APIVersion, metric.Object.DescribedObject.Kind)
		if !known {
			a.log.Error("the HPA describes an object of a kind that the cluster does not know", "hpa", q.hpa, "kind", q.objectGK)
			return q, false
		}
		q.resource = resource
	case metric.External != nil:
		identifier, q.kind = metric.External.Metric, rules.External
	default:
		return q, false // resource metrics are metrics-server's
	}
	q.metric, q.selector = identifier.Name, labels.Everything()
	if identifier.Selector != nil {
		selector, err := metav1.LabelSelectorAsSelector(identifier.Selector)
		if err != nil {
			return q, false
		}
		q.selector = selector
	}
	return q, true
}
