package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	custom "k8s.io/metrics/pkg/client/custom_metrics"
	external "k8s.io/metrics/pkg/client/external_metrics"
)

// classic is a configuration as prometheus-adapter's users have it.
const classic = `
rules:
- seriesQuery: 'http_requests_total{namespace!="",pod!=""}'
  resources: {template: "<<.Resource>>"}
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
- seriesQuery: 'hits{service!=""}'
  resources: {overrides: {namespace: {resource: namespace}, service: {resource: service}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'node_gigawatts{node!=""}'
  resources: {overrides: {node: {resource: node}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'queue_top{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'topk(1, <<.Series>>{<<.LabelMatchers>>})'
externalRules:
- seriesQuery: 'queue_length{queue!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
`

func classicAdapter(t *testing.T) *adapter { return classicFor(t, time.Minute) }

func classicFor(t *testing.T, staleness time.Duration) *adapter {
	a := serveFor(t, staleness, classic)
	a.prometheus.set("http_requests_total", pod("default", "web-0", "1.5"), pod("default", "web-1", "0.25"), pod("other", "web-0", "99"))
	a.prometheus.set("hits", row{map[string]string{"namespace": "default", "service": "front"}, "40"})
	a.prometheus.set("node_gigawatts", row{map[string]string{"node": "n1.example.org"}, "1.21"})
	a.prometheus.set("queue_length", row{map[string]string{"namespace": "default", "queue": "a"}, "7"}, row{map[string]string{"namespace": "default", "queue": "b"}, "5"})
	a.prometheus.set("queue_top", pod("default", "web-0", "3"))
	return a
}

const (
	v1beta1 = "/apis/custom.metrics.k8s.io/v1beta1"
	v1beta2 = "/apis/custom.metrics.k8s.io/v1beta2"
	ext     = "/apis/external.metrics.k8s.io/v1beta1"
)

func TestWhatIsAnswered(t *testing.T) {
	a := classicAdapter(t)
	for _, test := range []struct {
		name, path string
		status     int
		want       []string // all of these
		not        string
	}{
		{"pods by selector", v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb", 200,
			[]string{`"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta2"`, `"name":"web-0"`, `"value":"1500m"`, `"name":"web-1"`, `"value":"250m"`, `"windowSeconds":120`, `"metric":{"name":"http_requests_per_second"`}, "99"},
		{"the older version's field names", v1beta1 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb", 200,
			[]string{`"metricName":"http_requests_per_second"`, `"window":120`, `"apiVersion":"/v1"`}, ""},
		{"one pod", v1beta2 + "/namespaces/default/pods/web-0/http_requests_per_second", 200, []string{`"value":"1500m"`}, "web-1"},
		{"a singular resource resolves", v1beta2 + "/namespaces/default/pod/web-0/http_requests_per_second", 200, []string{`"value":"1500m"`}, ""},
		{"one service", v1beta2 + "/namespaces/default/services/front/hits", 200, []string{`"kind":"Service"`, `"value":"40"`}, ""},
		{"a namespace's own", v1beta1 + "/namespaces/default/metrics/http_requests_per_second", 200, []string{`"kind":"Namespace"`, `"name":"default"`}, ""},
		{"a node, cluster-scoped", v1beta1 + "/nodes/n1.example.org/node_gigawatts", 200, []string{`"kind":"Node"`, `"value":"1210m"`}, ""},
		{"external", ext + "/namespaces/default/queue_length", 200, []string{`"kind":"ExternalMetricValueList"`, `"queue":"a"`, `"value":"7"`, `"queue":"b"`}, ""},
		{"external by selector", ext + "/namespaces/default/queue_length?labelSelector=queue%3Da", 200, []string{`"queue":"a"`}, `"queue":"b"`},
		{"a rule that cannot be split", v1beta2 + "/namespaces/default/pods/web-0/queue_top", 200, []string{`"value":"3"`}, ""},

		{"a pod without a sample", v1beta2 + "/namespaces/default/pods/web-2/http_requests_per_second", 404, []string{"could not find the metric http_requests_per_second for pods web-2", "no sample, never seen"}, ""},
		{"a selector that matches no pod", v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dnone", 404, []string{"no pod matches the selector"}, ""},
		{"a metric that no rule gives", v1beta2 + "/namespaces/default/pods/web-0/nope", 404, []string{"no rule gives this metric"}, ""},
		{"a metric that another resource has", v1beta2 + "/namespaces/default/services/front/http_requests_per_second", 404, []string{"no rule gives this metric"}, ""},
		{"a resource that is none", v1beta2 + "/namespaces/default/unicorns/u/x", 404, []string{"the cluster knows no such resource"}, ""},
		{"external that is none", ext + "/namespaces/default/nope", 404, []string{"could not find the metric nope"}, ""},
		{"external with a selector that nothing has", ext + "/namespaces/default/queue_length?labelSelector=queue%3Dz", 404, []string{"no sample"}, ""},
		{"a bad metric selector", v1beta2 + "/namespaces/default/pods/web-0/http_requests_per_second?metricLabelSelector=%3D%3D", 400, []string{`"reason":"BadRequest"`}, ""},
		{"a bad label selector", v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=%3D%3D", 400, []string{"BadRequest"}, ""},
		{"an operator that Prometheus lacks", v1beta2 + "/namespaces/default/pods/web-0/http_requests_per_second?metricLabelSelector=a%3E3", 404, []string{"operator not supported by prometheus"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body := a.get(test.path)
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			for _, want := range test.want {
				if !strings.Contains(body, want) {
					t.Errorf("no %s in the answer", want)
				}
			}
			if test.not != "" && strings.Contains(body, test.not) {
				t.Errorf("%s is in the answer", test.not)
			}
			if t.Failed() {
				t.Logf("%s", body)
			}
		})
	}
}

func TestEverySelectorOperatorBecomesItsMatcher(t *testing.T) {
	a := classicAdapter(t)
	for _, test := range []struct{ selector, matcher string }{
		{"a=b", `a="b"`}, {"a==d", `a="d"`}, {"a!=b", `a!="b"`}, {"a in (e)", `a="e"`}, {"a in (c,b)", `a=~"b|c"`},
		{"a notin (f)", `a!="f"`}, {"a notin (c,b)", `a!~"b|c"`}, {"a", `a!=""`}, {"!a", `a=""`}, {"a in (x.y,z)", `a=~"x\\.y|z"`},
	} {
		a.asked()
		path := v1beta2 + "/namespaces/default/pods/web-0/http_requests_per_second?metricLabelSelector=" + strings.NewReplacer(" ", "%20", "=", "%3D", "!", "%21", ",", "%2C").Replace(test.selector)
		if status, body := a.get(path); status != http.StatusOK {
			t.Errorf("%s: %d %s", test.selector, status, body)
		}
		values, _ := a.asked()
		want := fmt.Sprintf("http_requests_total{%s,namespace=\"default\"}", test.matcher)
		if len(values) != 1 || !strings.Contains(values[0], want) {
			t.Errorf("%s: asked %q, want one with %s", test.selector, values, want)
		}
	}
}

// clients are those that the HPA controller uses.
func clients(t *testing.T, a *adapter) (custom.CustomMetricsClient, external.ExternalMetricsClient) {
	t.Helper()
	a.begin()
	groups, err := restmapper.GetAPIGroupResources(a.discovery)
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: a.url, ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"}}
	e, err := external.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return custom.NewForConfig(config, restmapper.NewDiscoveryRESTMapper(groups), preferred{}), e
}

// preferred is the version that the aggregator would prefer.
type preferred struct{}

func (preferred) PreferredVersion() (schema.GroupVersion, error) {
	return schema.GroupVersion{Group: "custom.metrics.k8s.io", Version: "v1beta2"}, nil
}

func (preferred) Invalidate() {}

func TestTheHPAControllersOwnClientsUnderstandIt(t *testing.T) {
	a := classicAdapter(t)
	c, e := clients(t, a)
	list, err := c.NamespacedMetrics("default").GetForObjects(schema.GroupKind{Kind: "Pod"}, labels.SelectorFromSet(labels.Set{"app": "web"}), "http_requests_per_second", labels.Everything())
	if err != nil || len(list.Items) != 2 || list.Items[0].Value.MilliValue() != 1500 {
		t.Errorf("pods: %+v, %v", list, err)
	}
	one, err := c.NamespacedMetrics("default").GetForObject(schema.GroupKind{Kind: "Service"}, "front", "hits", labels.Everything())
	if err != nil || one.Value.Value() != 40 {
		t.Errorf("service: %+v, %v", one, err)
	}
	own, err := c.RootScopedMetrics().GetForObject(schema.GroupKind{Kind: "Namespace"}, "default", "http_requests_per_second", labels.Everything())
	if err != nil || own.DescribedObject.Name != "default" {
		t.Errorf("namespace: %+v, %v", own, err)
	}
	values, err := e.NamespacedMetrics("default").List("queue_length", labels.SelectorFromSet(labels.Set{"queue": "b"}))
	if err != nil || len(values.Items) != 1 || values.Items[0].Value.Value() != 5 {
		t.Errorf("external: %+v, %v", values, err)
	}
}

func TestDiscoveryListsWhatWasAnswered(t *testing.T) {
	a := classicAdapter(t)
	for _, path := range []string{v1beta1, v1beta2} {
		if status, body := a.get(path); status != http.StatusOK || strings.Contains(body, "http_requests") {
			t.Errorf("before anything is wanted: %d %s", status, body)
		}
	}
	a.get(v1beta2 + "/namespaces/default/pods/web-0/http_requests_per_second")
	a.get(v1beta2 + "/namespaces/default/pods/web-0/nope")
	a.get(v1beta1 + "/nodes/n1.example.org/node_gigawatts")
	a.get(ext + "/namespaces/default/queue_length")
	_, body := a.get(v1beta1)
	for _, want := range []string{`"name":"pods/http_requests_per_second","singularName":"","namespaced":true,"kind":"MetricValueList","verbs":["get"]`, `"name":"nodes/node_gigawatts","singularName":"","namespaced":false`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
	if strings.Contains(body, "nope") {
		t.Errorf("a metric that no rule gives is listed: %s", body)
	}
	if _, body := a.get(ext); !strings.Contains(body, `"name":"queue_length","singularName":"","namespaced":true,"kind":"ExternalMetricValueList"`) {
		t.Errorf("external: %s", body)
	}
}
