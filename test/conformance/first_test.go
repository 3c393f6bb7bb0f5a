package conformance

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The first answer to a question: it is whole, or it is none, and nobody waits long for it.

// twoSeries give one metric, each for one pod.
const twoSeries = `
rules:
- seriesQuery: '{__name__=~"new_load|old_load"}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: load}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`

const allPods = v1beta2 + "/namespaces/default/pods/*/load?labelSelector=app%3Dweb"

// lateLabels keeps back the labels of a series for a while.
func (a *adapter) lateLabels(series string) {
	late := make(chan struct{})
	a.prometheus.breaks(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/labels") && strings.Contains(r.Form.Get("match[]"), series) {
			<-late
		}
		a.prometheus.answer(w, r)
	})
	time.AfterFunc(300*time.Millisecond, func() { close(late) })
}

// The labels of one series came before those of the other: its pods were the answer, and the others' zero to the HPA.
func TestTheFirstAnswerWaitsForTheLabelsOfEverySeries(t *testing.T) {
	a := serve(t, twoSeries)
	a.prometheus.set("new_load", pod("default", "web-0", "3"))
	a.prometheus.set("old_load", pod("default", "web-1", "5"))
	a.lateLabels("old_load")
	a.wants(allPods, `"web-0"`, `"web-1"`)
}

// So too where it was once known that no rule gives the metric.
func TestTheFirstAnswerAfterSeriesAppearIsWhole(t *testing.T) {
	a := serve(t, twoSeries)
	if status, body := a.get(allPods); status != http.StatusNotFound || !strings.Contains(body, "no rule gives this metric") {
		t.Fatal(status, body)
	}
	a.prometheus.set("new_load", pod("default", "web-0", "3"))
	a.prometheus.set("old_load", pod("default", "web-1", "5"))
	a.lateLabels("old_load")
	a.use(twoSeries) // looks for series at once
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		status, body := a.get(allPods)
		if status == http.StatusOK {
			if !strings.Contains(body, `"web-0"`) || !strings.Contains(body, `"web-1"`) {
				t.Errorf("half an answer: %s", body)
			}
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Error("never answered")
}

// A rule that is asked for each question and lacks the resource's label kept the other rule's pods out of sight for ever.
func TestARuleOfAnotherResourceDoesNotHideThePods(t *testing.T) {
	a := serve(t, `
rules:
- seriesQuery: 'pod_load'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: load}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: 'service_load'
  resources: {template: "<<.Resource>>"}
  name: {as: load}
  metricsQuery: 'topk(1, <<.Series>>{<<.LabelMatchers>>})'
`)
	a.prometheus.set("pod_load", pod("default", "web-0", "3"))
	a.prometheus.set("service_load", row{map[string]string{"namespace": "default", "service": "front"}, "9"})
	for range 2 { // before the series are known, and after
		a.wants(allPods, `"web-0"`, `"value":"3"`)
		a.wants(v1beta2+"/namespaces/default/services/front/load", `"value":"9"`)
	}
}

// An adapter that starts while its backend hangs made every request wait two seconds, for as long as that went on, and for
// another 15 s knew of no series once it was over.
func TestABackendThatHangsFromTheStart(t *testing.T) {
	a := classicAdapter(t)
	a.prometheus.hangs()
	a.begin()
	path := v1beta2 + "/namespaces/default/services/front/hits"
	if status, body := a.get(path); status != http.StatusNotFound { // waits, as for any new question
		t.Fatal(status, body)
	}
	a.round() // the look-ups end for want of an answer
	var took []time.Duration
	for range 5 {
		start := time.Now()
		if status, body := a.get(path); status != http.StatusNotFound || !strings.Contains(body, "no answer in time") {
			t.Errorf("%d %s", status, body)
		}
		took = append(took, time.Since(start))
	}
	if slowest := slices.Max(took); slowest > time.Second {
		t.Errorf("a request waited %s", slowest)
	}
	a.prometheus.release()
	for range 3 { // series' names, their labels, the values
		a.round()
	}
	a.wants(path, `"value":"40"`)
}
