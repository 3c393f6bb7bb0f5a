package conformance

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

const onePod = v1beta2 + "/namespaces/default/pods/web-0/http_requests_per_second"

func TestNoAnswerCostsAQuery(t *testing.T) {
	a := classicAdapter(t)
	paths := []string{onePod, v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb", v1beta2 + "/namespaces/default/services/front/hits", ext + "/namespaces/default/queue_length?labelSelector=queue%3Da"}
	for _, path := range paths {
		if status, body := a.get(path); status != http.StatusOK {
			t.Fatal(status, body)
		}
	}
	a.asked()
	for range 50 {
		for _, path := range paths {
			if status, body := a.get(path); status != http.StatusOK {
				t.Fatal(status, body)
			}
		}
	}
	if _, all := a.asked(); all != 0 {
		t.Errorf("200 answers cost %d queries, want none", all)
	}
	a.round()
	if _, all := a.asked(); all != 2*3 {
		t.Errorf("a round over three rules cost %d queries, want two for each", all)
	}
}

func TestARoundDoesNotGrowWithTheHPAs(t *testing.T) {
	a := serve(t, "presets: [vllm]")
	var wants []collect.Want
	for i := range 40 {
		for _, metric := range []string{"requests_running", "requests_waiting"} {
			wants = append(wants, collect.Want{Key: store.Key{Kind: rules.Custom, Namespace: fmt.Sprintf("team-%d", i), Resource: rules.Resource{Name: "pods"}, Metric: metric}})
		}
	}
	a.wanted.SetStanding("HPA", wants[:50]) // the limit of this adapter
	a.round()
	if _, all := a.asked(); all != 2*2 {
		t.Errorf("25 namespaces and two rules cost %d queries, want 4", all)
	}
}

func TestAHundredFirstRequestsAreOneCollection(t *testing.T) {
	a := classicAdapter(t)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if status, body := a.get(onePod); status != http.StatusOK {
				t.Error(status, body)
			}
		})
	}
	all.Wait()
	values, queries := a.asked()
	if len(values) > 2 { // one that began before the last request came, and one after
		t.Errorf("%d queries for a hundred requests at once: %q", queries, values)
	}
}

// TestBackendsThatMisbehave: whatever comes instead of an answer, what was known is served until it is stale, and then
// nothing is, with a reason; the next good answer ends it.
func TestBackendsThatMisbehave(t *testing.T) {
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		}
	}
	vector := func(rows string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + rows + `]}}`
	}
	for _, test := range []struct {
		name   string
		broken http.HandlerFunc
		reason string
	}{
		{"an error of its own", text(503, `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`), "query timed out"},
		{"a proxy's page", text(502, "<html>"), "502"},
		{"no JSON", text(200, "<html>"), "read answer"},
		{"half a JSON", text(200, vector("")[:40]), "read answer"},
		{"half the data", text(200, `{"status":"success","warnings":["receive series from store-1: timeout"],"data":{"resultType":"vector","result":[]}}`), "partial"},
		{"a range", text(200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`), "matrix"},
		{"nothing at all", text(200, vector("")), "last seen"},
		{"rows about nobody", text(200, vector(`{"metric":{},"value":[1,"5"]}`)), "last seen"},
		{"a hang-up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "backend failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := classicFor(t, maxStaleness)
			if status, body := a.get(onePod); status != http.StatusOK {
				t.Fatal(status, body)
			}
			a.prometheus.breaks(test.broken)
			a.round()
			if status, body := a.get(onePod); status != http.StatusOK || !strings.Contains(body, `"1500m"`) {
				t.Errorf("the last good value is not served: %d %s", status, body)
			}
			stale(t, a, test.reason)
			a.prometheus.breaks(nil)
			a.round()
			if status, body := a.get(onePod); status != http.StatusOK {
				t.Errorf("one round after it is well again: %d %s", status, body)
			}
		})
	}
}

// stale goes on collecting until the value is no longer served, and wants the reason.
func stale(t *testing.T, a *adapter, reason string) {
	t.Helper()
	deadline := time.Now().Add(maxStaleness + 4*time.Second)
	for time.Now().Before(deadline) {
		a.round()
		status, body := a.get(onePod)
		if status == http.StatusNotFound {
			if !strings.Contains(body, reason) {
				t.Errorf("the reason is not %q: %s", reason, body)
			}
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Error("a value is served long after it is stale")
}

func TestAHungBackendMakesNobodyWait(t *testing.T) {
	a := classicAdapter(t)
	a.prometheus.age = 0
	if status, body := a.get(onePod); status != http.StatusOK {
		t.Fatal(status, body)
	}
	a.prometheus.hangs()
	a.tick(t.Context(), false) // hangs in the background
	quick := func(path string, want int, within time.Duration) {
		t.Helper()
		start := time.Now()
		status, body := a.get(path)
		if took := time.Since(start); took > within {
			t.Errorf("%s took %s", path, took)
		}
		if status != want {
			t.Errorf("%d %s, want %d", status, body, want)
		}
	}
	quick(onePod, http.StatusOK, 500*time.Millisecond) // the last good value
	quick(v1beta2+"/namespaces/default/services/front/hits", http.StatusNotFound, 3*time.Second)
	a.wait() // the queries have timed out
	quick(v1beta2+"/namespaces/default/pods/web-0/queue_top", http.StatusNotFound, 500*time.Millisecond)
	a.prometheus.release()
	a.round()
	quick(onePod, http.StatusOK, 500*time.Millisecond)
}

func TestOneFailingRuleHarmsNoOther(t *testing.T) {
	a := classicAdapter(t)
	a.get(onePod)
	a.get(v1beta2 + "/namespaces/default/services/front/hits")
	a.prometheus.breaks(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Form.Get("query"), "http_requests_total") {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"many-to-many matching not allowed"}`)
			return
		}
		a.prometheus.breaks(nil)
		a.prometheus.ServeHTTP(w, r)
	})
	a.round()
	if status, body := a.get(v1beta2 + "/namespaces/default/services/front/hits"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	for value, reason := range map[string]string{"NaN": "NaN", "+Inf": "infinite", "-Inf": "infinite", "-3": "negative"} {
		t.Run(value, func(t *testing.T) {
			a := classicAdapter(t)
			a.prometheus.set("http_requests_total", pod("default", "web-0", value), pod("default", "web-1", "2"))
			if status, body := a.get(onePod); status != http.StatusNotFound || !strings.Contains(body, reason) {
				t.Errorf("one pod: %d %s", status, body)
			}
			status, body := a.get(v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb")
			if status != http.StatusOK || strings.Contains(body, "web-0") || !strings.Contains(body, "web-1") {
				t.Errorf("all pods: %d %s", status, body)
			}
			a.prometheus.set("queue_length", row{map[string]string{"namespace": "default", "queue": "a"}, value}, row{map[string]string{"namespace": "default", "queue": "b"}, "5"})
			if status, body := a.get(ext + "/namespaces/default/queue_length"); status != http.StatusNotFound || !strings.Contains(body, reason) {
				t.Errorf("a sum with an unknown part: %d %s", status, body)
			}
		})
	}
}

func TestTheTimestampIsTheSamples(t *testing.T) {
	a := classicFor(t, maxStaleness)
	a.prometheus.age = time.Second
	before := time.Now().Add(-time.Second).Truncate(time.Second).UTC()
	_, body := a.get(onePod)
	if !strings.Contains(body, before.Format(time.RFC3339)) && !strings.Contains(body, before.Add(time.Second).Format(time.RFC3339)) {
		t.Errorf("no timestamp about %s in %s", before, body)
	}
	a.prometheus.age = maxStaleness + time.Second // rate() still answers; the sample is old
	stale(t, a, "stale")
}

func TestEmptyIsUnknownUnlessItIsSaidToBeZero(t *testing.T) {
	a := serve(t, strings.ReplaceAll(classic, "  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'", "  emptyIsZero: true\n  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)'"))
	a.prometheus.set("queue_length", row{map[string]string{"namespace": "default", "queue": "a"}, "1"})
	if status, body := a.get(ext + "/namespaces/default/queue_length"); status != http.StatusOK {
		t.Fatal(status, body)
	}
	a.prometheus.set("queue_length")
	a.round()
	if status, body := a.get(ext + "/namespaces/default/queue_length"); status != http.StatusOK || !strings.Contains(body, `"value":"0"`) {
		t.Errorf("said to be zero: %d %s", status, body)
	}
}

func TestPartialAnswersFailWhereTheRuleSaysSo(t *testing.T) {
	a := serve(t, strings.Replace(classic, "  name: {matches", "  partial: Fail\n  name: {matches", 1))
	a.prometheus.set("http_requests_total", pod("default", "web-0", "1"))
	status, body := a.get(v1beta2 + "/namespaces/default/pods/*/http_requests_per_second?labelSelector=app%3Dweb")
	if status != http.StatusNotFound || !strings.Contains(body, "2 of 3 pods are Ready and have no value") {
		t.Errorf("%d %s", status, body)
	}
}

func TestOverlappingRulesServeEachPodFromTheBestThatHasIt(t *testing.T) {
	a := serve(t, "presets: [vllm, sglang]")
	a.prometheus.set("vllm:num_requests_running", pod("default", "web-0", "3"))
	a.prometheus.set("sglang:num_running_reqs", pod("default", "web-0", "8"), pod("default", "web-1", "5"))
	status, body := a.get(v1beta2 + "/namespaces/default/pods/*/requests_running?labelSelector=app%3Dweb")
	if status != http.StatusOK || !strings.Contains(body, `"web-0"`) || !strings.Contains(body, `"web-1"`) || !strings.Contains(body, `"value":"5"`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestANewConfigurationLeavesNoGap(t *testing.T) {
	a := classicAdapter(t)
	paths := []string{onePod, v1beta2 + "/namespaces/default/pods/web-0/queue_top", ext + "/namespaces/default/queue_length"}
	for _, path := range paths {
		if status, body := a.get(path); status != http.StatusOK {
			t.Fatal(status, body)
		}
	}
	for range 5 {
		a.use(classic)
		for _, path := range paths {
			if status, body := a.get(path); status != http.StatusOK {
				t.Errorf("after a reload: %d %s", status, body)
			}
		}
		a.round()
	}
}

func TestAResourceThatIsInstalledLaterStartsWorking(t *testing.T) {
	a := serve(t, `
rules:
- seriesQuery: 'llm_load{inferenceservice!=""}'
  resources: {overrides: {namespace: {resource: namespace}, inferenceservice: {group: serving.example.org, resource: inferenceservice}}}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`)
	a.prometheus.set("llm_load", row{map[string]string{"namespace": "default", "inferenceservice": "chat"}, "4"})
	path := v1beta2 + "/namespaces/default/inferenceservices.serving.example.org/chat/llm_load"
	if status, body := a.get(path); status != http.StatusNotFound {
		t.Fatal(status, body)
	}
	a.discovery.Resources = append(a.discovery.Resources, &metav1.APIResourceList{GroupVersion: "serving.example.org/v1", APIResources: []metav1.APIResource{
		{Name: "inferenceservices", SingularName: "inferenceservice", Kind: "InferenceService", Namespaced: true},
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go a.resources.Run(ctx, func(err error) { t.Error(err) }) // the miss above has asked for a refresh
	for ctx.Err() == nil {
		a.round()
		if status, body := a.get(path); status == http.StatusOK && strings.Contains(body, `"value":"4"`) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	t.Error("the resource is still not known")
}

func TestTooManyWantedMetricsAreRefused(t *testing.T) {
	a := classicAdapter(t)
	if status, _ := a.get(onePod); status != http.StatusOK {
		t.Fatal(status)
	}
	refused := 0
	for i := range 60 {
		status, body := a.get(fmt.Sprintf("%s/namespaces/default/queue_length?labelSelector=queue%%3Dq%d", ext, i))
		if status == http.StatusTooManyRequests && strings.Contains(body, "--max-wanted") {
			refused++
		}
	}
	if refused != 11 { // 50 are allowed, and one was wanted before
		t.Errorf("%d of 60 were refused, want 11", refused)
	}
	if status, body := a.get(onePod); status != http.StatusOK {
		t.Errorf("what was served is not any more: %d %s", status, body)
	}
}
