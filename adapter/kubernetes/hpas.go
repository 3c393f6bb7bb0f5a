package kubernetes

import (
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// HPAs knows what the HorizontalPodAutoscalers of the cluster will ask for.
type HPAs struct {
	informer  cache.SharedIndexInformer
	resources *Resources
	// Own, if it is set before the factory starts, says which metrics of a resource (the zero one for external metrics) are
	// answered without any backend: there is nothing to collect for them, so they are no wants.
	Own func(resource schema.GroupResource, metric string) bool
}

// NewHPAs prepares the HPA informer of the factory; the factory starts it. changed is called, possibly very often, when
// what HPAs ask for may have changed.
func NewHPAs(factory informers.SharedInformerFactory, resources *Resources, changed func()) (*HPAs, error) {
	informer := factory.Autoscaling().V2().HorizontalPodAutoscalers().Informer()
	if err := informer.SetTransform(stripHPA); err != nil {
		return nil, fmt.Errorf("HPA informer: %w", err)
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { changed() },
		UpdateFunc: func(before, after any) {
			old, ok := before.(*autoscalingv2.HorizontalPodAutoscaler)
			if now, ok2 := after.(*autoscalingv2.HorizontalPodAutoscaler); !ok || !ok2 || old.Generation != now.Generation || old.Generation == 0 {
				changed() // status alone, which changes every 15 s, changes nothing here
			}
		},
		DeleteFunc: func(any) { changed() },
	})
	if err != nil {
		return nil, fmt.Errorf("HPA informer: %w", err)
	}
	return &HPAs{informer: informer, resources: resources}, nil
}

// Synced says whether the first list has arrived.
func (h *HPAs) Synced() bool { return h.informer.HasSynced() }

// All returns the HPAs, read only, in no particular order.
func (h *HPAs) All() []*autoscalingv2.HorizontalPodAutoscaler {
	var hpas []*autoscalingv2.HorizontalPodAutoscaler
	for _, object := range h.informer.GetStore().List() {
		if hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler); ok && hpa.DeletionTimestamp == nil {
			hpas = append(hpas, hpa)
		}
	}
	return hpas
}

// In returns the HPAs of one namespace, read only, in no particular order.
func (h *HPAs) In(namespace string) []*autoscalingv2.HorizontalPodAutoscaler {
	objects, err := h.informer.GetIndexer().ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return nil // only an unknown index fails, and the factory's informers have this one
	}
	hpas := make([]*autoscalingv2.HorizontalPodAutoscaler, 0, len(objects))
	for _, object := range objects {
		if hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler); ok && hpa.DeletionTimestamp == nil {
			hpas = append(hpas, hpa)
		}
	}
	return hpas
}

// Wants are the keys that all HPAs together name, each once. A metric whose selector does not parse, or whose object is
// of a kind that the cluster does not know, is left out: the HPA controller reports it.
func (h *HPAs) Wants() []collect.Want {
	seen := map[store.Key]bool{}
	var wants []collect.Want
	for _, hpa := range h.All() {
		for _, metric := range hpa.Spec.Metrics {
			if want, ok := h.want(hpa.Namespace, metric); ok && !seen[want.Key] {
				seen[want.Key] = true
				wants = append(wants, want)
			}
		}
	}
	return wants
}

func (h *HPAs) want(namespace string, metric autoscalingv2.MetricSpec) (collect.Want, bool) {
	key := store.Key{Kind: rules.Custom, Namespace: namespace}
	var identifier autoscalingv2.MetricIdentifier
	switch {
	case metric.Type == autoscalingv2.PodsMetricSourceType && metric.Pods != nil:
		identifier = metric.Pods.Metric
		key.Resource = podResource
	case metric.Type == autoscalingv2.ObjectMetricSourceType && metric.Object != nil:
		identifier = metric.Object.Metric
		object := metric.Object.DescribedObject
		resource, known := h.resources.ForKind(object.APIVersion, object.Kind)
		if !known {
			return collect.Want{}, false
		}
		key.Resource, key.Objects = resource, object.Name
		if resource == namespaceResource { // the HPA asks for its own namespace, whatever the name says
			key.Namespace, key.Objects = "", namespace
		}
	case metric.Type == autoscalingv2.ExternalMetricSourceType && metric.External != nil:
		identifier = metric.External.Metric
		key.Kind = rules.External
	default:
		return collect.Want{}, false
	}
	if h.Own != nil && h.Own(schema.GroupResource{Group: key.Resource.Group, Resource: key.Resource.Name}, identifier.Name) {
		return collect.Want{}, false
	}
	parsed, err := metav1.LabelSelectorAsSelector(identifier.Selector)
	if identifier.Selector == nil {
		parsed, err = labels.Everything(), nil
	}
	if err != nil {
		return collect.Want{}, false
	}
	selector := SelectorOf(parsed)
	key.Metric, key.Selector = identifier.Name, selector.String()
	return collect.Want{Key: key, Selector: selector}, true
}

func stripHPA(object any) (any, error) {
	hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return object, nil // a tombstone
	}
	kept := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{
			Name: hpa.Name, Namespace: hpa.Namespace, UID: hpa.UID, ResourceVersion: hpa.ResourceVersion,
			Generation: hpa.Generation, DeletionTimestamp: hpa.DeletionTimestamp,
		},
		Spec: hpa.Spec,
	}
	for key, value := range hpa.Annotations {
		if strings.HasPrefix(key, ownPrefix) {
			if kept.Annotations == nil {
				kept.Annotations = map[string]string{}
			}
			kept.Annotations[key] = value
		}
	}
	for _, c := range hpa.Status.Conditions {
		kept.Status.Conditions = append(kept.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{Type: c.Type, Status: c.Status, Reason: c.Reason})
	}
	return kept, nil
}

// ownPrefix begins the annotations in which Headroom keeps what it must give back.
const ownPrefix = "headroom.dev/"
