package conformance

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// generated is what prometheus-adapter's config-gen tool wrote with --rate-interval=1m --label-prefix=kube_; much of what
// runs in clusters descends from it, and prometheus-adapter's own tests stand on it.
const generated = `
rules:
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: []
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: ^container_(.*)_seconds_total$, as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: ^container_.*_seconds_total$}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: ^container_(.*)_total$, as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: ^container_.*_total$}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: ^container_(.*)$, as: ""}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>,container!="POD"}) by (<<.GroupBy>>)
- seriesQuery: '{kube_namespace!="",__name__!~"^container_.*"}'
  seriesFilters: [{isNot: .*_total$}]
  resources: {template: kube_<<.Resource>>}
  name: {matches: "", as: ""}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: '{kube_namespace!="",__name__!~"^container_.*"}'
  seriesFilters: [{isNot: .*_seconds_total}]
  resources: {template: kube_<<.Resource>>}
  name: {matches: ^(.*)_total$, as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{kube_namespace!="",__name__!~"^container_.*"}'
  seriesFilters: []
  resources: {template: kube_<<.Resource>>}
  name: {matches: ^(.*)_seconds_total$, as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
`

// TestTheGeneratedConfigurationAnswers: each request of prometheus-adapter's own registry test is answered, and with that
// test's query, but for all objects of the namespace at once.
func TestTheGeneratedConfigurationAnswers(t *testing.T) {
	for _, test := range []struct {
		name, path string
		series     string
		labels     map[string]string
		query      string
	}{
		{"gauge", "/namespaces/somens/service/somesvc/service_proxy_packets", "service_proxy_packets", map[string]string{"kube_namespace": "somens", "kube_service": "somesvc"},
			`sum(service_proxy_packets{kube_namespace="somens"}) by (kube_namespace,kube_service)`},
		{"gauge with a selector", "/namespaces/somens/services/somesvc/service_proxy_packets?metricLabelSelector=param1%3Dvalue1", "service_proxy_packets", map[string]string{"kube_namespace": "somens", "kube_service": "somesvc"},
			`sum(service_proxy_packets{param1="value1",kube_namespace="somens"}) by (kube_namespace,kube_service)`},
		{"counter", "/namespaces/somens/service/somesvc/ingress_hits", "ingress_hits_total", map[string]string{"kube_namespace": "somens", "kube_service": "somesvc"},
			`sum(rate(ingress_hits_total{kube_namespace="somens"}[1m])) by (kube_namespace,kube_service)`},
		{"counter of another resource", "/namespaces/somens/ingress.extensions/someingress/ingress_hits", "ingress_hits_total", map[string]string{"kube_namespace": "somens", "kube_ingress": "someingress"},
			`sum(rate(ingress_hits_total{kube_namespace="somens"}[1m])) by (kube_namespace,kube_ingress)`},
		{"namespaces", "/namespaces/somens/metrics/ingress_hits", "ingress_hits_total", map[string]string{"kube_namespace": "somens"},
			`sum(rate(ingress_hits_total{kube_namespace="somens"}[1m])) by (kube_namespace)`},
		{"seconds counter", "/namespaces/somens/deployments.extensions/somedep/work_queue_wait", "work_queue_wait_seconds_total", map[string]string{"kube_namespace": "somens", "kube_deployment": "somedep"},
			`sum(rate(work_queue_wait_seconds_total{kube_namespace="somens"}[1m])) by (kube_namespace,kube_deployment)`},
		{"container seconds", "/namespaces/somens/pods/somepod/some_time", "container_some_time_seconds_total", map[string]string{"namespace": "somens", "pod": "somepod"},
			`sum(rate(container_some_time_seconds_total{namespace="somens",container!="POD"}[1m])) by (namespace,pod)`},
		{"container counter", "/namespaces/somens/pod/somepod/some_count", "container_some_count_total", map[string]string{"namespace": "somens", "pod": "somepod"},
			`sum(rate(container_some_count_total{namespace="somens",container!="POD"}[1m])) by (namespace,pod)`},
		{"container gauge", "/namespaces/somens/pods/somepod/some_usage", "container_some_usage", map[string]string{"namespace": "somens", "pod": "somepod"},
			`sum(container_some_usage{namespace="somens",container!="POD"}) by (namespace,pod)`},
		{"cluster-scoped gauge", "/nodes/somenode/node_gigawatts", "node_gigawatts", map[string]string{"kube_node": "somenode"},
			`sum(node_gigawatts{kube_node="somenode"}) by (kube_node)`},
		{"cluster-scoped counter", "/persistentvolumes/somepv/volume_claims", "volume_claims_total", map[string]string{"kube_persistentvolume": "somepv"},
			`sum(rate(volume_claims_total{kube_persistentvolume="somepv"}[1m])) by (kube_persistentvolume)`},
		{"cluster-scoped seconds", "/node/somenode/node_fan", "node_fan_seconds_total", map[string]string{"kube_node": "somenode"},
			`sum(rate(node_fan_seconds_total{kube_node="somenode"}[1m])) by (kube_node)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := serve(t, generated,
				&metav1.APIResourceList{GroupVersion: "extensions/v1beta1", APIResources: []metav1.APIResource{
					{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true},
					{Name: "ingresses", SingularName: "ingress", Kind: "Ingress", Namespaced: true},
				}})
			a.prometheus.set(test.series, row{test.labels, "5"})
			status, body := a.get(v1beta1 + test.path)
			if status != http.StatusOK || !strings.Contains(body, `"value":"5"`) {
				t.Errorf("%d %s", status, body)
			}
			values, _ := a.asked()
			if len(values) != 1 || values[0] != test.query {
				t.Errorf("asked %q\nwant   %q", values, test.query)
			}
		})
	}
}
