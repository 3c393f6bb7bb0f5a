package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of everything that Headroom adds to a cluster, and the prefix of its annotations.
const Group = "headroom.dev"

// GroupVersion names this package's group and version.
var GroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}

// AddToScheme adds the types of this group and version to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &Headroom{}, &HeadroomList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

// Resource is the plural name with the group, as errors and RBAC name it.
func Resource(name string) schema.GroupResource {
	return GroupVersion.WithResource(name).GroupResource()
}
