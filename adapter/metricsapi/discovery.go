package metricsapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/kubernetes"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// MaxListed bounds the names in discovery: kube-apiserver fetches the list five times every 30 s with a limit of 5 s, and
// the HPA never reads it.
const MaxListed = 1000

// ListWanted lists what the wants name, sorted, at most MaxListed.
func ListWanted(wants []collect.Want, resources *kubernetes.Resources) []rules.Entry {
	seen := map[rules.Entry]bool{}
	for _, want := range wants {
		entry := rules.Entry{Kind: want.Key.Kind, Resource: want.Key.Resource, Metric: want.Key.Metric, Namespaced: true}
		if entry.Kind == rules.Custom {
			info, known := resources.Resolve(entry.Resource)
			if !known {
				continue
			}
			entry.Namespaced = info.Namespaced
		}
		seen[entry] = true
	}
	entries := make([]rules.Entry, 0, len(seen))
	for entry := range seen {
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b rules.Entry) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Resource.String(), b.Resource.String()), cmp.Compare(a.Metric, b.Metric))
	})
	return entries[:min(len(entries), MaxListed)]
}

// Discovery publishes the metrics in aggregated discovery, which the library leaves empty.
type Discovery struct {
	Manager          aggregated.ResourceManager
	Custom, External bool
}

// Publish replaces what aggregated discovery says of the groups that are served.
func (d *Discovery) Publish(entries []rules.Entry) {
	if d.Custom {
		for _, version := range []string{"v1beta2", "v1beta1"} {
			d.Manager.AddGroupVersion(custom_metrics.GroupName, apidiscoveryv2.APIVersionDiscovery{
				Version: version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent, Resources: customResources(entries, version),
			})
		}
	}
	if d.External {
		d.Manager.AddGroupVersion(external_metrics.GroupName, apidiscoveryv2.APIVersionDiscovery{
			Version: "v1beta1", Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent, Resources: externalResources(entries),
		})
	}
}

// customResources puts each metric as a subresource of what it describes: pods → pods/requests_per_second.
func customResources(entries []rules.Entry, version string) []apidiscoveryv2.APIResourceDiscovery {
	var resources []apidiscoveryv2.APIResourceDiscovery
	at := map[rules.Resource]int{}
	for _, entry := range entries {
		if entry.Kind != rules.Custom {
			continue
		}
		i, seen := at[entry.Resource]
		if !seen {
			i = len(resources)
			at[entry.Resource] = i
			resources = append(resources, apidiscoveryv2.APIResourceDiscovery{Resource: entry.Resource.String(), Scope: scope(entry.Namespaced)})
		}
		resources[i].Subresources = append(resources[i].Subresources, apidiscoveryv2.APISubresourceDiscovery{
			Subresource:  entry.Metric,
			ResponseKind: &metav1.GroupVersionKind{Group: custom_metrics.GroupName, Version: version, Kind: "MetricValueList"},
			Verbs:        []string{"get"},
		})
	}
	return resources
}

func externalResources(entries []rules.Entry) []apidiscoveryv2.APIResourceDiscovery {
	var resources []apidiscoveryv2.APIResourceDiscovery
	for _, entry := range entries {
		if entry.Kind == rules.External {
			resources = append(resources, apidiscoveryv2.APIResourceDiscovery{
				Resource: entry.Metric, Scope: apidiscoveryv2.ScopeNamespace, Verbs: []string{"get"},
				ResponseKind: &metav1.GroupVersionKind{Group: external_metrics.GroupName, Version: "v1beta1", Kind: "ExternalMetricValueList"},
			})
		}
	}
	return resources
}

func scope(namespaced bool) apidiscoveryv2.ResourceScope {
	if namespaced {
		return apidiscoveryv2.ScopeNamespace
	}
	return apidiscoveryv2.ScopeCluster
}

// Handler answers 400 to a metric selector that does not parse; the library would call it a server error.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if selector := r.URL.Query().Get("metricLabelSelector"); selector != "" {
			if _, err := labels.Parse(selector); err != nil {
				status := apierrors.NewBadRequest(fmt.Sprintf("metricLabelSelector: %v", err)).Status()
				status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_ = json.NewEncoder(w).Encode(status) // the client is gone if this fails
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
