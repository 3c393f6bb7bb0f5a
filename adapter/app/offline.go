package app

import (
	"strings"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// offline knows the resources that rules usually name, for checking a file where no cluster is at hand.
type offline struct{}

var offlineResources = []rules.ResourceInfo{
	{Resource: rules.Resource{Name: "pods"}, Singular: "pod", Namespaced: true},
	{Resource: rules.Resource{Name: "services"}, Singular: "service", Namespaced: true},
	{Resource: rules.Resource{Name: "namespaces"}, Singular: "namespace"},
	{Resource: rules.Resource{Name: "nodes"}, Singular: "node"},
	{Resource: rules.Resource{Name: "persistentvolumes"}, Singular: "persistentvolume"},
	{Resource: rules.Resource{Name: "persistentvolumeclaims"}, Singular: "persistentvolumeclaim", Namespaced: true},
	{Resource: rules.Resource{Group: "apps", Name: "deployments"}, Singular: "deployment", Namespaced: true},
	{Resource: rules.Resource{Group: "apps", Name: "statefulsets"}, Singular: "statefulset", Namespaced: true},
	{Resource: rules.Resource{Group: "apps", Name: "replicasets"}, Singular: "replicaset", Namespaced: true},
	{Resource: rules.Resource{Group: "apps", Name: "daemonsets"}, Singular: "daemonset", Namespaced: true},
	{Resource: rules.Resource{Group: "batch", Name: "jobs"}, Singular: "job", Namespaced: true},
	{Resource: rules.Resource{Group: "networking.k8s.io", Name: "ingresses"}, Singular: "ingress", Namespaced: true},
}

// Resolve implements rules.Resources.
func (offline) Resolve(resource rules.Resource) (rules.ResourceInfo, bool) {
	name := strings.ToLower(resource.Name)
	for _, info := range offlineResources {
		if (name == info.Name || name == info.Singular) && (resource.Group == "" || resource.Group == info.Group) {
			return info, true
		}
	}
	return rules.ResourceInfo{}, false
}
