package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAssociation(t *testing.T) {
	cfg := mustParse(t, `
rules:
- seriesQuery: foo
  resources:
    template: "kube_<<.Group>>_<<.Resource>>"
    overrides:
      ns: {resource: namespace}
      dep: {group: apps, resource: deployments}
      other_dep: {group: apps, resource: deployment}
      later: {group: example.com, resource: gpupool}
      unknown: {resource: nosuchthing}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: foo
  resources: {template: "<<if .Group>><<.Group>>_<<end>><<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: foo
  resources: {template: "a.b(<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
`, ParseOptions{})
	tests := []struct {
		name     string
		rule     int
		resource Resource
		label    string // "": none
		back     string // the resource that the label means, if another
	}{
		{"override", 0, Resource{Name: "namespaces"}, "ns", ""},
		{"the first of two", 0, Resource{"apps", "deployments"}, "dep", ""},
		{"singular", 0, Resource{"apps", "deployment"}, "dep", "deployments.apps"},
		{"no group: the preferred one", 0, Resource{Name: "deployments"}, "dep", "deployments.apps"},
		{"another group: by the template", 0, Resource{"extensions", "deployments"}, "kube_extensions_deployment", ""},
		{"dots of a group", 0, Resource{"networking.k8s.io", "ingresses"}, "kube_networking_k8s_io_ingress", ""},
		{"a cluster-scoped resource of a CRD", 0, Resource{"example.com", "gpupools"}, "later", ""},
		{"no such resource", 0, Resource{Name: "nosuchthing"}, "", ""},
		{"a condition", 1, Resource{Name: "pods"}, "pod", ""},
		{"a condition with a group", 1, Resource{"example.com", "models"}, "example_com_model", ""},
		{"a literal is literal", 2, Resource{Name: "pods"}, "a.b(pod", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := cfg.Rules[tt.rule]
			label, ok := r.LabelFor(tt.resource, testCluster)
			if ok != (tt.label != "") || label != tt.label {
				t.Fatalf("label %q, %v; want %q", label, ok, tt.label)
			}
			back := tt.back
			if back == "" {
				back = tt.resource.String()
			}
			info, found := r.ResourceFor(label, testCluster)
			if ok && back != "none" && (!found || info.String() != back) {
				t.Errorf("back: %s, %v; want %s", info, found, back)
			}
		})
	}
	for _, label := range []string{"", "pod", "kube_pod", "kube__nosuch", "unknown", "kube__", "kube_apps_nosuch"} {
		if info, ok := cfg.Rules[0].ResourceFor(label, testCluster); ok {
			t.Errorf("label %q means %s", label, info)
		}
	}
	// A CRD that is installed later is known later, with the same rule.
	small := newCluster("namespaces namespace cluster")
	if _, ok := cfg.Rules[0].LabelFor(Resource{"example.com", "gpupools"}, small); ok {
		t.Errorf("a label for a resource that the cluster lacks")
	}
}

func TestCandidates(t *testing.T) {
	cfg := mustParse(t, `
presets: [vllm, sglang]
rules:
- seriesQuery: one
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: ".*", as: requests_waiting}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: two
  resources: {overrides: {namespace: {resource: namespace}, svc: {resource: service}}}
  name: {as: requests_waiting}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: three
  name: {as: requests_waiting}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
`, ParseOptions{})
	byQuery := map[string]*Rule{}
	for _, r := range cfg.Rules {
		byQuery[r.SeriesQuery()] = r
	}
	empty := NewCatalog(cfg)
	full := empty.With(map[*Rule][]string{byQuery["one"]: {"b_total", "a_total", "a_total"}, byQuery["two"]: {"c"}, byQuery["three"]: {"d"}})
	names := func(matches []Match) (out []string) {
		for _, m := range matches {
			out = append(out, strings.TrimSpace(m.Rule.Name+" "+m.Series+" "+m.Label))
		}
		return out
	}
	pods, services := Resource{Name: "pods"}, Resource{Name: "service"}
	tests := []struct {
		name     string
		catalog  *Catalog
		kind     Kind
		resource Resource
		metric   string
		want     []string
	}{
		{"presets need no discovery, the later first", empty, Custom, pods, "requests_waiting",
			[]string{"presets[1].sglang.rules[2]  pod", "presets[0].vllm.rules[2]  pod"}},
		{"the file before presets, every series", full, Custom, pods, "requests_waiting",
			[]string{"rules[0] a_total pod", "rules[0] b_total pod", "presets[1].sglang.rules[2]  pod", "presets[0].vllm.rules[2]  pod"}},
		{"only rules with a label for the resource", full, Custom, services, "requests_waiting", []string{"rules[1] c svc"}},
		{"a preset's namespaces are no objects", full, Custom, Resource{Name: "namespaces"}, "requests_running", nil},
		{"external is apart", full, External, Resource{}, "requests_waiting", []string{"externalRules[0] d"}},
		{"no such metric", full, Custom, pods, "nothing", nil},
		{"no such resource", full, Custom, Resource{Name: "nothing"}, "requests_waiting", nil},
		{"what is not named is kept", full.With(map[*Rule][]string{byQuery["two"]: nil}), Custom, pods, "requests_waiting",
			[]string{"rules[0] a_total pod", "rules[0] b_total pod", "presets[1].sglang.rules[2]  pod", "presets[0].vllm.rules[2]  pod"}},
		{"what is gone is gone", full.With(map[*Rule][]string{byQuery["two"]: nil}), Custom, services, "requests_waiting", nil},
		{"another configuration's rules are ignored", empty.With(map[*Rule][]string{{}: {"x"}}), Custom, services, "requests_waiting", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := names(tt.catalog.Candidates(tt.kind, tt.resource, tt.metric, testCluster))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	cfg.Legacy.HideOverlaps = true
	if got := names(full.Candidates(Custom, pods, "requests_waiting", testCluster)); !slices.Equal(got, []string{"rules[0] a_total pod"}) {
		t.Errorf("with overlaps hidden: %v", got)
	}
	cfg.Legacy.HideOverlaps = false

	var overlaps []string
	for _, o := range full.Overlaps(testCluster) {
		if slices.ContainsFunc(o.Matches, func(m Match) bool { return m.Rule.Preset == "" }) {
			overlaps = append(overlaps, fmt.Sprintf("%s %s %d", o.Kind, o.Metric, len(o.Matches)))
		}
	}
	if want := []string{"custom requests_waiting 5"}; !slices.Equal(overlaps, want) {
		t.Errorf("overlaps %v, want %v", overlaps, want)
	}
}

func TestMetricsListsCRDsByTheirOwnScope(t *testing.T) {
	cfg := mustParse(t, `
rules:
- seriesQuery: foo
  resources: {overrides: {namespace: {resource: namespace}, pool: {group: example.com, resource: gpupool}, model: {group: example.com, resource: model}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- {seriesQuery: bar, resources: {namespaced: false}, metricsQuery: "sum(<<.Series>>{<<.LabelMatchers>>})"}
`, ParseOptions{})
	c := NewCatalog(cfg).With(map[*Rule][]string{cfg.Rules[0]: {"foo"}, cfg.Rules[1]: {"bar"}})
	got := c.Metrics(testCluster, func(*Rule, string) []string { return []string{"namespace", "pool", "model", "other"} })
	want := []Entry{
		{Custom, Resource{"example.com", "gpupools"}, false, "foo"},
		{Custom, Resource{"example.com", "models"}, true, "foo"},
		{Custom, Resource{Name: "namespaces"}, false, "foo"},
		{External, Resource{}, true, "bar"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := c.Metrics(testCluster, nil); !slices.Equal(got, want[3:]) {
		t.Errorf("without labels: %v", got)
	}
	q, err := cfg.Rules[0].Build(Ask{Series: "foo", Resource: Resource{"example.com", "gpupools"}, Names: []string{"a"}, Namespaces: []string{"ignored"}}, testCluster)
	if want := `sum(foo{pool="a"}) by (pool)`; err != nil || q.Value != want {
		t.Errorf("query %q, %v; want %q", q.Value, err, want)
	}
}
