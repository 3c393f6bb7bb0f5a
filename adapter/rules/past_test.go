package rules

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuildPast(t *testing.T) {
	cfg := mustParse(t, `
backends: [{name: eu, url: http://eu, matchLabels: {cluster: eu}}]
rules:
- seriesQuery: 'x_total'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: x}
  metricsQuery: 'sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[1m])) # per second'
- seriesQuery: 'y_total'
  resources: {overrides: {kube_namespace: {resource: namespace}, kube_pod: {resource: pod}}}
  name: {as: x}
  metricsQuery: y_total{<<.LabelMatchers>>}
- seriesQuery: 'z_total'
  resources: {namespaced: false, overrides: {pod: {resource: pod}}}
  name: {as: x}
  metricsQuery: z_total{<<.LabelMatchers>>,pod=~"<<index .LabelValuesByName "pod">>"}
externalRules:
- seriesQuery: 'queue'
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum by (topic) (<<.Series>>{<<.LabelMatchers>>})
`, ParseOptions{})
	ask := Ask{Series: "s", Resource: Resource{Name: "pods"}, Namespaces: []string{"inference"}, MatchLabels: map[string]string{"cluster": "eu"}}
	const names = `llm[.]a-[0-9]+`
	var queries []Query
	for _, rule := range cfg.Rules[:3] {
		q, err := rule.BuildPast(ask, names, testCluster)
		if err != nil {
			t.Fatal(err)
		}
		if q.Age != "" {
			t.Errorf("%s asks for ages: %s", rule.Name, q.Age)
		}
		queries = append(queries, q)
	}
	external, err := cfg.Rules[3].BuildPast(Ask{Series: "queue", Namespaces: []string{"inference"}, Selector: Selector{{Key: "topic", Operator: Equals, Values: []string{"a"}}}}, "", testCluster)
	if err != nil {
		t.Fatal(err)
	}
	const (
		x = `sum by (pod) (rate(s{namespace="inference",pod=~"llm[.]a-[0-9]+",cluster="eu"}[1m])) # per second`
		y = `y_total{kube_namespace="inference",kube_pod=~"llm[.]a-[0-9]+",cluster="eu"}`
		z = `z_total{pod=~"llm[.]a-[0-9]+",cluster="eu",pod=~"llm[.]a-[0-9]+"}`
	)
	for _, test := range []struct {
		name    string
		kind    Kind
		queries []Query
		want    string
	}{
		{"one rule", Custom, queries[1:2], `sum(max by (kube_pod) ((` + y + `)))`},
		{"a comment at its end", Custom, queries[:1], "sum(max by (pod) ((" + x + "\n)))"},
		{"the same label", Custom, []Query{queries[2], queries[0]}, `sum(max by (pod) ((` + z + `)) or max by (pod) ((` + x + "\n)))"},
		{"other labels", Custom, queries[1:], `sum(max by (headroom_object) (label_replace((` + y + `), "headroom_object", "$1", "kube_pod", "(.+)"))` +
			` or max by (headroom_object) (label_replace((` + z + `), "headroom_object", "$1", "pod", "(.+)")))`},
		{"external", External, []Query{external}, `sum((sum by (topic) (queue{topic="a",namespace="inference"})))`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, count, err := Together(test.kind, test.queries)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if want := strings.Replace(test.want, "sum(", "count(", 1); test.kind == Custom && count != want || test.kind == External && count != "" {
				t.Errorf("count is %s", count)
			}
		})
	}
	if _, _, err := Together(Custom, nil); err == nil {
		t.Error("no rule gives a query")
	}
	if _, err := cfg.Rules[0].BuildPast(ask, `a\.b`, testCluster); err == nil {
		t.Error("a backslash goes into a template's quotes")
	}
	if _, err := cfg.Rules[0].BuildPast(Ask{Resource: Resource{Name: "nodes"}}, "a", testCluster); err == nil {
		t.Error("a query for a resource that no label names")
	}
}
