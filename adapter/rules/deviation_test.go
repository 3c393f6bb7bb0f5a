package rules

import (
	"errors"
	"strings"
	"testing"
)

// What prometheus-adapter gets wrong and this package does not; the list on the
// migration page. Each with its switch, where there is one.

func TestNamespacedFalseWorksInRules(t *testing.T) {
	const text = `
rules:
- seriesQuery: foo
  resources: {overrides: {pod: {resource: pod}}, namespaced: false}
  metricsQuery: sum(foo{<<.LabelMatchers>>}) by (<<.GroupBy>>)`
	ask := Ask{Resource: Resource{Name: "pods"}, Names: []string{"a"}, Namespaces: []string{"ns"}}
	q, err := mustParse(t, text, ParseOptions{}).Rules[0].Build(ask, testCluster)
	if want := `sum(foo{pod="a"}) by (pod)`; err != nil || q.Value != want || q.NamespaceLabel != "" {
		t.Errorf("got %+v, %v; want %s", q, err, want)
	}
	_, err = mustParse(t, text, ParseOptions{Legacy: Legacy{IgnoreNamespaced: true}}).Rules[0].Build(ask, testCluster)
	if !errors.Is(err, ErrNoLabel) || !strings.Contains(err.Error(), "namespaced: false") {
		t.Errorf("legacy: %v", err)
	}
	ask.Names = nil
	q, err = mustParse(t, text, ParseOptions{}).Rules[0].Build(ask, testCluster)
	if want := `sum(foo{pod!=""}) by (pod)`; err != nil || q.Value != want {
		t.Errorf("batch: got %+v, %v; want %s", q, err, want)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	const query = `sum(foo{<<.LabelMatchers>>,again=~"<<index .LabelValuesByName "resource">>"}) by (<<.GroupBy>>)`
	ask := Ask{Resource: Resource{Name: "pods"}, Names: []string{"web.1", "web.2"}}
	q, err := oneRule(t, Custom, query, ParseOptions{}).Build(ask, testCluster)
	if want := `sum(foo{resource=~"web\\.1|web\\.2",again=~"web\\.1|web\\.2"}) by (resource)`; err != nil || q.Value != want {
		t.Errorf("got  %s, %v\nwant %s", q.Value, err, want)
	}
	q, err = oneRule(t, Custom, query, ParseOptions{Legacy: Legacy{RawRegexps: true}}).Build(ask, testCluster)
	if want := `sum(foo{resource=~"web.1|web.2",again=~"web.1|web.2"}) by (resource)`; err != nil || q.Value != want {
		t.Errorf("legacy: got %s, %v\nwant %s", q.Value, err, want)
	}
	// A name cannot break out of the string that the template puts it into.
	ask.Names = []string{`x"} or vector(1) or foo{a="`}
	q, err = oneRule(t, Custom, `sum(foo{pod="<<index .LabelValuesByName "resource">>"}) by (<<.GroupBy>>)`, ParseOptions{}).Build(ask, testCluster)
	if want := `sum(foo{pod="x\"} or vector(1) or foo{a=\""}) by (resource)`; err != nil || q.Value != want {
		t.Errorf("got  %s, %v\nwant %s", q.Value, err, want)
	}
}

// With a matcher on the name in its place, every such query was refused: "metric name must not be set twice".
func TestNoMatchersLeaveNoComma(t *testing.T) {
	for query, want := range map[string]string{
		`sum(foo{<<.LabelMatchers>>,a="b"})`:                                `sum(foo{a="b"})`,
		`sum(foo{c="d",<<.LabelMatchers>> , a="b"})`:                        `sum(foo{c="d", a="b"})`,
		`sum(foo{<<.LabelMatchers>>}) + sum(bar{<<.LabelMatchers>>,a="b"})`: `sum(foo{}) + sum(bar{a="b"})`,
		`sum(foo{a="b",<<.LabelMatchers>>})`:                                `sum(foo{a="b",})`,
	} {
		cfg := mustParse(t, "externalRules:\n- {seriesQuery: foo, resources: {namespaced: false}, metricsQuery: '"+query+"'}", ParseOptions{})
		q, err := cfg.Rules[0].Build(Ask{}, testCluster)
		if err != nil || q.Value != want {
			t.Errorf("%s: got %q, %v; want %q", query, q.Value, err, want)
		}
	}
}

func TestExternalRuleWithoutANamespaceLabel(t *testing.T) {
	cfg := mustParse(t, "externalRules:\n- {seriesQuery: foo, metricsQuery: 'sum(foo{<<.LabelMatchers>>}) by (name)'}", ParseOptions{})
	q, err := cfg.Rules[0].Build(Ask{Namespaces: []string{"a"}}, testCluster)
	if want := `sum(foo{namespace="a"}) by (name)`; err != nil || q.Value != want {
		t.Errorf("got %q, %v; want %q", q.Value, err, want)
	}
}

func TestMatchersOfTheBackendComeLast(t *testing.T) {
	r := oneRule(t, Custom, `sum(foo{<<.LabelMatchers>>}) by (<<.GroupBy>>)`, ParseOptions{})
	q, err := r.Build(Ask{Resource: Resource{Name: "pods"}, Namespaces: []string{"b", "a", "b"}, Selector: Selector{{"s", Exists, nil}},
		MatchLabels: map[string]string{"region": "eu", "cluster": "eu-1"}}, testCluster)
	want := Query{
		Value:         `sum(foo{s!="",namespaces=~"a|b",cluster="eu-1",region="eu"}) by (namespaces,resource)`,
		Age:           `max by (namespaces, resource) (timestamp(foo{s!="",namespaces=~"a|b",cluster="eu-1",region="eu"}))`,
		ResourceLabel: "resource", NamespaceLabel: "namespaces",
	}
	if err != nil || q != want {
		t.Errorf("got  %+v, %v\nwant %+v", q, err, want)
	}
}

func TestMatchersOfTheBackendReachEverySelector(t *testing.T) {
	r := oneRule(t, Custom, "sum(foo{<<.LabelMatchers>>}) by (<<.GroupBy>>) * on () group_left sum(bar) + sum({__name__=\"x\", } offset 1m) - baz{}", ParseOptions{})
	q, err := r.Build(Ask{Resource: Resource{Name: "pods"}, Names: []string{"a"}, MatchLabels: map[string]string{"cluster": "eu"}}, testCluster)
	want := `sum(foo{resource="a",cluster="eu"}) by (resource) * on () group_left sum(bar{cluster="eu"}) + sum({__name__="x", cluster="eu"} offset 1m) - baz{cluster="eu"}`
	if err != nil || q.Value != want {
		t.Errorf("got  %s, %v\nwant %s", q.Value, err, want)
	}
	for selector, want := range map[string]string{
		`foo`: `foo{cluster="eu"}`, `{a="b"}`: `{a="b",cluster="eu"}`, `foo{}`: `foo{cluster="eu"}`, `foo{cluster="eu"}`: `foo{cluster="eu"}`, `{a=}`: `{a=}`,
	} {
		if got := Narrow(selector, map[string]string{"cluster": "eu"}); got != want {
			t.Errorf("%s: got %s, want %s", selector, got, want)
		}
	}
}

func TestAgeIsOfTheObject(t *testing.T) {
	// The value has several series for an object, or more labels: the age has one.
	for query, want := range map[string]string{
		`foo{<<.LabelMatchers>>}`:                                  `max by (resource) (timestamp(foo{resource="a"}))`,
		`sum by (<<.GroupBy>>, core) (foo{<<.LabelMatchers>>})`:    `max by (resource) (timestamp(foo{resource="a"}))`,
		`sum by (<<.GroupBy>>) (foo{<<.LabelMatchers>>})`:          `max by (resource) (timestamp(foo{resource="a"}))`,
		`foo{<<.LabelMatchers>>} + on (x) bar{<<.LabelMatchers>>}`: `max by (resource) ((timestamp(foo{resource="a"}) - on (x) clamp_min(timestamp(foo{resource="a"}) - on (x) timestamp(bar{resource="a"}), 0)))`,
	} {
		q, err := oneRule(t, Custom, query, ParseOptions{}).Build(Ask{Resource: Resource{Name: "pods"}, Names: []string{"a"}}, testCluster)
		if err != nil || q.Age != want {
			t.Errorf("%s: age %s, %v; want %s", query, q.Age, err, want)
		}
	}
}
