package kubernetes

import (
	"context"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/scale"
)

// Targets reads the scale subresource of what HPAs scale, as the HPA controller does to learn the pod selector.
type Targets struct {
	client    scale.ScalesGetter
	resources *Resources
}

// NewTargets needs the right to get the scale subresource; only "headroom check" uses it.
func NewTargets(config *rest.Config, resources *Resources) (*Targets, error) {
	config = rest.CopyConfig(config) // NewForConfig writes into it
	client, err := scale.NewForConfig(config, resources.known.Load().mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(resources.client))
	if err != nil {
		return nil, fmt.Errorf("scale client: %w", err)
	}
	return &Targets{client: client, resources: resources}, nil
}

// Selector is the pod selector of an HPA's target, in the form in which the HPA controller sends it.
func (t *Targets) Selector(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler) (labels.Selector, error) {
	ref := hpa.Spec.ScaleTargetRef
	resource, known := t.resources.ForKind(ref.APIVersion, ref.Kind)
	if !known {
		return nil, fmt.Errorf("scaleTargetRef: the cluster knows no %s of %s", ref.Kind, ref.APIVersion)
	}
	found, err := t.client.Scales(hpa.Namespace).Get(ctx, schema.GroupResource{Group: resource.Group, Resource: resource.Name}, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("scale of %s %s: %w", ref.Kind, ref.Name, err)
	}
	return labels.Parse(found.Status.Selector)
}
