package conformance

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// What prometheus-adapter got wrong, or could not do, over HTTP.

func (a *adapter) wants(path string, parts ...string) {
	a.t.Helper()
	status, body := a.get(path)
	for _, part := range parts {
		if status != http.StatusOK || !strings.Contains(body, part) {
			a.t.Errorf("%s: no %s in %d %s", path, part, status, body)
		}
	}
}

func TestNamespacedFalseWorksForPods(t *testing.T) {
	a := serve(t, `
rules:
- seriesQuery: 'gpu_busy'
  resources: {namespaced: false, overrides: {pod: {resource: pod}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`)
	a.prometheus.set("gpu_busy", row{map[string]string{"pod": "web-0"}, "0.5"})
	a.wants(v1beta2+"/namespaces/default/pods/*/gpu_busy?labelSelector=app%3Dweb", `"name":"web-0"`, `"value":"500m"`)
	values, _ := a.asked()
	if len(values) != 1 || strings.Contains(values[0], "namespace") {
		t.Errorf("asked %q", values)
	}
}

func TestClusterScopedCustomResourcesAreReachable(t *testing.T) {
	a := serve(t, `
rules:
- seriesQuery: 'pool_load'
  resources: {overrides: {namespace: {resource: namespace}, pool: {group: gpu.example.org, resource: pool}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`, &metav1.APIResourceList{GroupVersion: "gpu.example.org/v1", APIResources: []metav1.APIResource{{Name: "pools", SingularName: "pool", Kind: "Pool"}}})
	a.prometheus.set("pool_load", row{map[string]string{"namespace": "monitoring", "pool": "h100"}, "3"})
	a.wants(v1beta2+"/pools.gpu.example.org/h100/pool_load", `"kind":"Pool"`, `"apiVersion":"gpu.example.org/v1"`, `"value":"3"`)
}

func TestNamesAreEscapedWhereTheyAreAlternatives(t *testing.T) {
	a := classicAdapter(t)
	a.prometheus.set("node_gigawatts", row{map[string]string{"node": "n1.example.org"}, "1"}, row{map[string]string{"node": "n2.example.org"}, "2"})
	a.wants(v1beta1+"/nodes/n1.example.org/node_gigawatts", `"value":"1"`)
	a.wants(v1beta1+"/nodes/n2.example.org/node_gigawatts", `"value":"2"`)
	a.asked()
	a.round()
	values, _ := a.asked()
	if want := `sum(node_gigawatts{node=~"n1\\.example\\.org|n2\\.example\\.org"}) by (node)`; len(values) != 1 || values[0] != want {
		t.Errorf("asked %q, want %s", values, want)
	}
}

// An External rule that sums the selector's labels away was never found.
func TestAnExternalSumOverASelection(t *testing.T) {
	a := serve(t, `
externalRules:
- seriesQuery: 'queue_length'
  resources: {namespaced: false}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>,source!="test"}[1m]))'
`)
	a.prometheus.set("queue_length", row{map[string]string{}, "7"})
	a.wants(ext+"/namespaces/default/queue_length?labelSelector=queue%3Da", `"value":"7"`, `"metricLabels":{}`, `"window":60`)
	a.wants(ext+"/namespaces/default/queue_length", `"value":"7"`)
	values, _ := a.asked()
	for _, want := range []string{`sum(rate(queue_length{queue="a",source!="test"}[1m]))`, `sum(rate(queue_length{source!="test"}[1m]))`} {
		found := false
		for _, value := range values {
			found = found || value == want
		}
		if !found {
			t.Errorf("asked %q, want %s", values, want)
		}
	}
}

// Each sync of an HPA on an object's metric that no rule gives waited two seconds, and heard that it was not collected yet.
func TestWhatNoRuleGivesMakesNoHPAWait(t *testing.T) {
	a := classicAdapter(t)
	a.wanted.SetStanding("HPA", []collect.Want{{Key: store.Key{
		Kind: rules.Custom, Namespace: "default", Resource: rules.Resource{Name: "services"}, Metric: "nope", Objects: "front",
	}}})
	a.begin()
	for range 3 { // series' names and labels first
		a.round()
	}
	start := time.Now()
	status, body := a.get(v1beta2 + "/namespaces/default/services/front/nope")
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %s", took)
	}
	if status != http.StatusNotFound || !strings.Contains(body, "no rule gives this metric") {
		t.Errorf("%d %s", status, body)
	}
}

func TestNumbersAreRoundedToThousandths(t *testing.T) {
	for number, want := range map[string]string{"0": "0", "0.0004": "0", "0.0016": "2m", "1e3": "1k", "123456789.5": "123456789500m", "9e15": "9P"} {
		a := classicAdapter(t)
		a.prometheus.set("http_requests_total", pod("default", "web-0", number))
		a.wants(onePod, `"value":"`+want+`"`)
	}
	a := classicAdapter(t)
	a.prometheus.set("http_requests_total", pod("default", "web-0", "1e16")) // past int64 thousandths
	if status, body := a.get(onePod); status != http.StatusNotFound || !strings.Contains(body, "infinite") {
		t.Errorf("%d %s", status, body)
	}
}

func TestTheMetricSelectorIsRepeatedInTheAnswer(t *testing.T) {
	a := classicAdapter(t)
	a.wants(onePod+"?metricLabelSelector=verb%3DGET", `"metric":{"name":"http_requests_per_second","selector":{"matchLabels":{"verb":"GET"}}}`)
}

func TestAnObjectWithTwoRowsIsOneItem(t *testing.T) {
	a := classicAdapter(t)
	a.prometheus.set("http_requests_total", pod("default", "web-0", "1"), pod("default", "web-0", "2"))
	status, body := a.get(v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb")
	if status != http.StatusOK || strings.Count(body, `"name":"web-0"`) != 1 || !strings.Contains(body, `"value":"2"`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestAnswersCostKubernetesNothing(t *testing.T) {
	a := classicAdapter(t)
	path := v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb"
	a.wants(path, "web-0")
	before := len(a.discovery.Actions()) // of the whole fake cluster
	if before == 0 {
		t.Fatal("the fake counts nothing")
	}
	for range 50 {
		a.wants(path, "web-0")
	}
	if more := len(a.discovery.Actions()) - before; more != 0 {
		t.Errorf("50 answers cost %d requests: %v", more, a.discovery.Actions()[before:])
	}
}

// TestEachBackendIsAskedForItsRulesAlone, and one that hangs harms no metric of another.
func TestEachBackendIsAskedForItsRulesAlone(t *testing.T) {
	a := serve(t, "presets: [tgi]")
	other := newPrometheus(t)
	config, err := rules.Parse("rules.yaml", []byte("presets: [{name: vllm, backend: gpus}, tgi]"), rules.ParseOptions{Backends: []string{"default", "gpus"}})
	if err != nil {
		t.Fatal(err)
	}
	backends := map[string]collect.Backend{}
	for name, at := range map[string]*fakePrometheus{"default": a.prometheus, "gpus": other} {
		client, err := prometheus.New(rules.Backend{Name: name, URLs: []string{at.URL}, Timeout: queryTimeout}, nil)
		if err != nil {
			t.Fatal(err)
		}
		backends[name] = collect.Backend{Name: name, Querier: client}
	}
	backends[""] = backends["default"]
	a.collector.Use(config, backends)
	a.prometheus.set("tgi_queue_size", pod("default", "web-0", "4"))
	other.set("vllm:num_requests_waiting", pod("default", "web-1", "5"))
	path := v1beta2 + "/namespaces/default/pods/*/requests_waiting?labelSelector=app%3Dweb"
	a.wants(path, `"value":"4"`, `"value":"5"`)
	a.asked()
	other.asked()
	a.round()
	values, all := a.asked()
	valuesOther, allOther := other.asked()
	if all != 2 || allOther != 2 || !strings.Contains(values[0], "tgi_") || !strings.Contains(valuesOther[0], "vllm:") {
		t.Errorf("asked %d %q and %d %q, want a value and an age of each", all, values, allOther, valuesOther)
	}
	other.hangs()
	a.tick(t.Context(), false)
	a.prometheus.set("tgi_queue_size", pod("default", "web-0", "6"))
	a.wait()
	a.tick(t.Context(), false)
	a.wait()
	a.wants(path, `"value":"6"`)
}

// TestReloadsUnderLoadLeaveNoGap: the rules change to and fro between one that is asked for whole namespaces and one that
// is not, while everybody asks.
func TestReloadsUnderLoadLeaveNoGap(t *testing.T) {
	a := classicAdapter(t)
	single := strings.Replace(classic, "'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'", "'topk(9, <<.Series>>{<<.LabelMatchers>>})'", 1)
	if single == classic {
		t.Fatal("the rules are the same")
	}
	paths := []string{onePod, v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb", ext + "/namespaces/default/queue_length"}
	for _, text := range []string{classic, single} { // both forms have answered once
		a.use(text)
		for _, path := range paths {
			a.wants(path, `"value"`)
		}
	}
	done := make(chan struct{})
	var asking sync.WaitGroup
	for _, path := range paths {
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					a.wants(path, `"value"`)
				}
			}
		})
	}
	for i := range 10 {
		a.use([]string{classic, single}[i%2])
		a.round()
	}
	close(done)
	asking.Wait()
}

// TestARemovedRulesMetricEnds: its last good values age like any others, and then it is said that no rule gives it.
func TestARemovedRulesMetricEnds(t *testing.T) {
	a := classicFor(t, maxStaleness)
	a.wants(onePod, `"1500m"`)
	a.use(strings.Replace(classic, "http_requests_total{", "http_replies_total{", 1))
	stale(t, a, "no rule gives this metric")
}
