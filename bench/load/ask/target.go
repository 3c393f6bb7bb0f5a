// Package ask builds the requests that a HorizontalPodAutoscaler's controller sends for its metrics, and reads the answers.
//
// Paths, headers and verbs are those of Kubernetes 1.37: pkg/controller/podautoscaler/metrics/client.go over the clients
// of k8s.io/metrics. They are built by hand, not by these clients, because a load must not wait in their rate limiter
// (20 requests/s) and must see the status code and the time of every answer.
package ask

import (
	"fmt"
	"net/url"
)

// Kind is the source of a metric in an HPA.
type Kind uint8

const (
	Pods     Kind = iota + 1 // all pods of the scale target's selector
	Object                   // one named object
	External                 // series chosen by labels
)

func (k Kind) String() string {
	switch k {
	case Pods:
		return "Pods"
	case Object:
		return "Object"
	case External:
		return "External"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Target is what one HPA asks about one of its metrics.
type Target struct {
	Kind      Kind
	Namespace string // the HPA's
	Resource  string // Object: plural with its group, such as "deployments.apps"
	Name      string // Object: the object's name
	Metric    string
	Selector  string // Pods: the scale target's selector; External: the metric's selector; canonical text, may be empty
	// MetricSelector narrows the series of Pods and Object metrics; canonical text, usually empty.
	MetricSelector string
	// Items is how many items a good answer holds; zero accepts any number above none.
	Items int
}

// Path is the request path with its query. customVersion is the version of custom.metrics.k8s.io that the aggregator
// prefers, "v1beta2" where both are registered; External has v1beta1 alone.
func (t Target) Path(customVersion string) string {
	query := url.Values{}
	var path string
	switch t.Kind {
	case Pods:
		// client-go escapes the name "*".
		path = fmt.Sprintf("/apis/custom.metrics.k8s.io/%s/namespaces/%s/pods/%%2A/%s", customVersion, t.Namespace, t.Metric)
		set(query, "labelSelector", t.Selector)
		set(query, "metricLabelSelector", t.MetricSelector)
	case Object:
		path = fmt.Sprintf("/apis/custom.metrics.k8s.io/%s/namespaces/%s/%s/%s/%s", customVersion, t.Namespace, t.Resource, t.Name, t.Metric)
		if t.Resource == "namespaces" {
			// The HPA's own namespace is meant, whatever the object's name.
			path = fmt.Sprintf("/apis/custom.metrics.k8s.io/%s/namespaces/%s/metrics/%s", customVersion, t.Namespace, t.Metric)
		}
		set(query, "metricLabelSelector", t.MetricSelector)
	case External:
		path = fmt.Sprintf("/apis/external.metrics.k8s.io/v1beta1/namespaces/%s/%s", t.Namespace, t.Metric)
		set(query, "labelSelector", t.Selector)
	default:
		panic("target without a kind")
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

func set(query url.Values, key, value string) {
	if value != "" {
		query.Set(key, value)
	}
}
