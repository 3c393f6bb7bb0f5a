package conformance

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// TestPathsThatAreNone: what the library's router refuses, as everybody who serves these groups does.
func TestPathsThatAreNone(t *testing.T) {
	a := classicAdapter(t)
	for _, path := range []string{
		v1beta1 + "/nodes/foo", v1beta1 + "/namespaces/default/pods/web-0", v1beta2 + "/namespaces/default/pods/web-0/a/b/c",
		ext + "/queue_length", ext + "/namespaces/default", ext + "/namespaces/default/queue/length",
		"/apis/custom.metrics.k8s.io/v1beta3", "/apis/metrics.k8s.io/v1beta1",
	} {
		if status, body := a.get(path); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestAggregatedDiscoveryShowsTheMetrics: the library registers its groups in the old discovery only, so that kubectl
// api-resources would show none of them. The client is kubectl's.
func TestAggregatedDiscoveryShowsTheMetrics(t *testing.T) {
	a := classicAdapter(t)
	for _, path := range []string{
		v1beta2 + "/namespaces/default/pods/web-0/http_requests_per_second",
		v1beta2 + "/nodes/n1.example.org/node_gigawatts",
		ext + "/namespaces/default/queue_length",
	} {
		if status, body := a.get(path); status != http.StatusOK {
			t.Fatal(status, body)
		}
	}
	a.publish()
	client, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: a.url})
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, list := range lists {
		if !strings.Contains(list.GroupVersion, "metrics.k8s.io") {
			continue
		}
		for _, resource := range list.APIResources {
			scope := "cluster"
			if resource.Namespaced {
				scope = "namespaced"
			}
			got = append(got, list.GroupVersion+" "+resource.Name+" "+scope+" "+strings.Join(resource.Verbs, ","))
		}
	}
	for _, want := range []string{
		"custom.metrics.k8s.io/v1beta2 pods/http_requests_per_second namespaced get",
		"custom.metrics.k8s.io/v1beta1 pods/http_requests_per_second namespaced get",
		"custom.metrics.k8s.io/v1beta2 nodes/node_gigawatts cluster get",
		"external.metrics.k8s.io/v1beta1 queue_length namespaced get",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, strings.Join(got, "\n"))
		}
	}
}
