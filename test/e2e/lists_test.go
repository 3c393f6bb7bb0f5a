package e2e

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

var (
	listEverything = metav1.ListOptions{ResourceVersion: "0"}
	deleteNow      = metav1.DeleteOptions{}
)

// listOf selects the events of one object.
func listOf(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: "involvedObject.name=" + name}
}
