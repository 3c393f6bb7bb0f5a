package kubernetes

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// mostObjects bounds a list of objects that are not pods. The HPA never asks for one; people do.
const mostObjects = 5000

// Objects names objects by selector: pods from the informer, other resources by a metadata-only list at the moment they
// are asked for, since watching every resource a person might name would cost far more.
type Objects struct {
	Pods      *Pods
	Resources *Resources
	Client    metadata.Interface
}

// Names implements collect.Objects. selector is in Kubernetes' text form; "" selects everything.
func (o *Objects) Names(ctx context.Context, resource rules.Resource, namespace, selector string) ([]string, error) {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil, fmt.Errorf("selector %q: %w", selector, err)
	}
	if resource == podResource {
		pods := o.Pods.Select(namespace, parsed)
		names := make([]string, len(pods))
		for i, pod := range pods {
			names[i] = pod.Name
		}
		return names, nil
	}
	kind, known := o.Resources.Kind(resource)
	if !known {
		return nil, fmt.Errorf("the cluster knows no resource %s", resource)
	}
	gvr := schema.GroupVersionResource{Group: resource.Group, Version: kind.Version, Resource: resource.Name}
	list, err := o.Client.Resource(gvr).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: parsed.String(), Limit: mostObjects})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", resource, err)
	}
	if list.Continue != "" {
		return nil, fmt.Errorf("more than %d %s match %q: narrow the selector", mostObjects, resource, selector)
	}
	names := make([]string, len(list.Items))
	for i, item := range list.Items {
		names[i] = item.Name
	}
	return names, nil
}
