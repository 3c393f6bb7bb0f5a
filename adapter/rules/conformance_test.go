package rules

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Facts about prometheus-adapter v0.12.0, as asked of its own builders: the
// resource's label is "resource", the namespace's "namespaces".
func TestCustomQueriesAreThoseOfPrometheusAdapter(t *testing.T) {
	tests := []struct {
		name     string
		template string
		ask      Ask
		want     string
	}{
		{"one name is equality", `<<.LabelMatchers>>`, Ask{Names: []string{"bar"}}, `resource="bar"`},
		{"names are an alternation", `<<.LabelMatchers>>`, Ask{Names: []string{"bar", "baz"}}, `resource=~"bar|baz"`},
		{"the selector comes first", `<<.LabelMatchers>>`,
			Ask{Names: []string{"bar"}, Selector: Selector{{"metric1", Equals, []string{"value1"}}}}, `metric1="value1",resource="bar"`},
		{"the namespace comes between", `<<.LabelMatchers>>`,
			Ask{Names: []string{"bar"}, Namespaces: []string{"default"}, Selector: Selector{{"z", Exists, nil}, {"a", DoesNotExist, nil}}},
			`a="",z!="",namespaces="default",resource="bar"`},
		{"series", `<<.Series>>`, Ask{Series: "foo", Names: []string{"bar"}}, `foo`},
		{"values by name", `<<index .LabelValuesByName "resource">>`, Ask{Names: []string{"bar", "baz"}}, `bar|baz`},
		{"values of namespace and resource", `<<index .LabelValuesByName "namespaces">> <<index .LabelValuesByName "resource">>`,
			Ask{Names: []string{"bar", "baz"}, Namespaces: []string{"default"}}, `default bar|baz`},
		{"a missing value is empty", `[<<index .LabelValuesByName "other">>]`, Ask{Names: []string{"bar"}}, `[]`},
		{"group by", `<<.GroupBy>>`, Ask{Names: []string{"bar"}}, `resource`},
		{"group by as a slice", `<<.GroupBySlice>>`, Ask{Names: []string{"bar"}}, `[resource]`},
		{"conditions and loops", `<<range .GroupBySlice>><<.>>!<<end>><<if .Series>>yes<<end>>`,
			Ask{Series: "s", Names: []string{"bar"}}, `resource!yes`},
		{"values are quoted", `<<.LabelMatchers>>`, Ask{Names: []string{"a\"b\\c\n"}}, `resource="a\"b\\c\n"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := oneRule(t, Custom, tt.template, ParseOptions{})
			r.Age = EvaluationAge // these templates are no queries
			tt.ask.Resource = Resource{Name: "pods"}
			got, err := r.Build(tt.ask, testCluster)
			if err != nil || got.Value != tt.want {
				t.Errorf("got %q, %v; want %q", got.Value, err, tt.want)
			}
		})
	}
}

func TestExternalQueriesAreThoseOfPrometheusAdapter(t *testing.T) {
	fooBar := Requirement{"foo", Equals, []string{"bar"}}
	tests := []struct {
		name     string
		template string
		ask      Ask
		want     string
	}{
		{"selector", `<<.LabelMatchers>>`, Ask{Selector: Selector{fooBar}, Namespaces: []string{"default"}}, `foo="bar",namespaces="default"`},
		{"keys are sorted, values too", `<<.LabelMatchers>>`,
			Ask{Selector: Selector{{"qux", In, []string{"baz", "bar"}}, fooBar}, Namespaces: []string{"default"}},
			`foo="bar",qux=~"bar|baz",namespaces="default"`},
		{"values by name", `<<.LabelValuesByName>>`,
			Ask{Selector: Selector{{"foo", In, []string{"bar", "baz"}}}, Namespaces: []string{"default"}}, `map[foo:bar|baz namespaces:default]`},
		{"group by is empty", `[<<.GroupBy>>] <<.GroupBySlice>>`, Ask{Namespaces: []string{"default"}}, `[] []`},
		{"no selector", `{<<.LabelMatchers>>}`, Ask{Namespaces: []string{"default"}}, `{namespaces="default"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := oneRule(t, External, tt.template, ParseOptions{})
			r.Age = EvaluationAge
			got, err := r.Build(tt.ask, testCluster)
			if err != nil || got.Value != tt.want {
				t.Errorf("got %q, %v; want %q", got.Value, err, tt.want)
			}
		})
	}
	t.Run("not namespaced", func(t *testing.T) {
		cfg := mustParse(t, `
externalRules:
- seriesQuery: foo
  resources: {namespaced: false, template: "<<.Resource>>"}
  metricsQuery: '<<index .LabelValuesByName "namespace">> <<index .LabelValuesByName "foo">>{<<.LabelMatchers>>}'
  age: evaluation`, ParseOptions{})
		got, err := cfg.Rules[0].Build(Ask{Selector: Selector{fooBar}, Namespaces: []string{"default"}}, testCluster)
		if want := ` bar{foo="bar"}`; err != nil || got.Value != want {
			t.Errorf("got %q, %v; want %q", got.Value, err, want)
		}
	})
}

func TestOperatorsBecomeMatchers(t *testing.T) {
	tests := []struct {
		name   string
		req    Requirement
		want   string
		legacy string // what RawRegexps writes, where it differs
		err    error
	}{
		{"equal", Requirement{"k", Equals, []string{"v"}}, `k="v"`, "", nil},
		{"equal to several", Requirement{"k", Equals, []string{"b", "a"}}, `k=~"a|b"`, "", nil},
		{"equal to nothing", Requirement{"k", Equals, nil}, "", "", ErrValuesRequired},
		{"not equal", Requirement{"k", NotEquals, []string{"v"}}, `k!="v"`, "", nil},
		{"not equal to several", Requirement{"k", NotEquals, []string{"a", "b"}}, `k!~"a|b"`, "", nil},
		{"not equal to nothing", Requirement{"k", NotEquals, nil}, "", "", ErrValuesRequired},
		{"in one", Requirement{"k", In, []string{"v"}}, `k="v"`, `k=~"v"`, nil},
		{"in several", Requirement{"k", In, []string{"a", "b"}}, `k=~"a|b"`, "", nil},
		{"in none", Requirement{"k", In, nil}, "", "", ErrValuesRequired},
		{"in a repetition of one", Requirement{"k", In, []string{"v", "v"}}, `k="v"`, `k=~"v"`, nil},
		{"not in one", Requirement{"k", NotIn, []string{"v"}}, `k!="v"`, `k!~"v"`, nil},
		{"not in several", Requirement{"k", NotIn, []string{"a", "b"}}, `k!~"a|b"`, "", nil},
		{"not in none", Requirement{"k", NotIn, nil}, "", "", ErrValuesRequired},
		{"exists", Requirement{"k", Exists, nil}, `k!=""`, "", nil},
		{"exists with a value", Requirement{"k", Exists, []string{"v"}}, "", "", ErrValuesRefused},
		{"does not exist", Requirement{"k", DoesNotExist, nil}, `k=""`, "", nil},
		{"does not exist with a value", Requirement{"k", DoesNotExist, []string{"v"}}, "", "", ErrValuesRefused},
		{"greater", Requirement{"k", GreaterThan, []string{"1"}}, "", "", ErrUnsupportedOperator},
		{"less", Requirement{"k", LessThan, []string{"1"}}, "", "", ErrUnsupportedOperator},
		{"a dot is a dot", Requirement{"k", In, []string{"a.b", "c"}}, `k=~"a\\.b|c"`, `k=~"a.b|c"`, nil},
		{"a Kubernetes key is quoted", Requirement{"app.kubernetes.io/name", Equals, []string{"v"}}, `"app.kubernetes.io/name"="v"`, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, raw := range []bool{false, true} {
				r := oneRule(t, External, `<<.LabelMatchers>>`, ParseOptions{Legacy: Legacy{RawRegexps: raw}})
				r.Namespaced, r.Age = false, EvaluationAge
				want := tt.want
				if raw && tt.legacy != "" {
					want = tt.legacy
				}
				got, err := r.Build(Ask{Selector: Selector{tt.req}}, testCluster)
				if !errors.Is(err, tt.err) || got.Value != want {
					t.Errorf("raw %v: got %q, %v; want %q, %v", raw, got.Value, err, want, tt.err)
				}
			}
		})
	}
}

// generatedConfig is the rule set that prometheus-adapter's config-gen tool
// writes with --rate-interval=1m --label-prefix=kube_; much of what runs in
// clusters descends from it.
const generatedConfig = `
rules:
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: []
  resources:
    overrides:
      namespace: {resource: namespace}
      pod: {resource: pod}
  name: {matches: ^container_(.*)_seconds_total$, as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters:
  - isNot: ^container_.*_seconds_total$
  resources:
    overrides:
      namespace: {resource: namespace}
      pod: {resource: pod}
  name: {matches: ^container_(.*)_total$, as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters:
  - isNot: ^container_.*_total$
  resources:
    overrides:
      namespace: {resource: namespace}
      pod: {resource: pod}
  name: {matches: ^container_(.*)$, as: ""}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>,container!="POD"}) by (<<.GroupBy>>)
- seriesQuery: '{kube_namespace!="",__name__!~"^container_.*"}'
  seriesFilters:
  - isNot: .*_total$
  resources: {template: kube_<<.Resource>>}
  name: {matches: "", as: ""}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: '{kube_namespace!="",__name__!~"^container_.*"}'
  seriesFilters:
  - isNot: .*_seconds_total
  resources: {template: kube_<<.Resource>>}
  name: {matches: ^(.*)_total$, as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
- seriesQuery: '{kube_namespace!="",__name__!~"^container_.*"}'
  seriesFilters: []
  resources: {template: kube_<<.Resource>>}
  name: {matches: ^(.*)_seconds_total$, as: ""}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
`

// The series that the generated rules find, with their labels.
var generatedSeries = map[string][]string{
	"container_some_usage":              {"pod", "namespace", "container"},
	"container_some_count_total":        {"pod", "namespace", "container"},
	"container_some_time_seconds_total": {"pod", "namespace", "container"},
	"ingress_hits_total":                {"kube_ingress", "kube_service", "kube_namespace"},
	"service_proxy_packets":             {"kube_service", "kube_namespace"},
	"work_queue_wait_seconds_total":     {"kube_deployment", "kube_namespace"},
	"node_gigawatts":                    {"kube_node"},
	"volume_claims_total":               {"kube_persistentvolume"},
	"node_fan_seconds_total":            {"kube_node"},
}

// generatedCluster is an old one: its deployments and ingresses are extensions.
var generatedCluster = newCluster("pods pod namespaced", "namespaces namespace cluster", "nodes node cluster",
	"persistentvolumes persistentvolume cluster", "services service namespaced",
	"deployments.extensions deployment namespaced", "ingresses.extensions ingress namespaced")

func generatedCatalog(t testing.TB) *Catalog {
	cfg := mustParse(t, generatedConfig, ParseOptions{})
	discovered := map[*Rule][]string{}
	for i, r := range cfg.Rules {
		for series := range generatedSeries {
			if isContainer := len(series) > 10 && series[:10] == "container_"; isContainer == (i < 3) {
				discovered[r] = append(discovered[r], series)
			}
		}
	}
	return NewCatalog(cfg).With(discovered)
}

func TestGeneratedConfigAsksWhatPrometheusAdapterAsked(t *testing.T) {
	c := generatedCatalog(t)
	param1 := Selector{{"param1", Equals, []string{"value1"}}}
	tests := []struct {
		name      string
		resource  Resource
		metric    string
		namespace string
		names     []string
		selector  Selector
		want      string
		age       string
	}{
		{"gauge", Resource{Name: "service"}, "service_proxy_packets", "somens", []string{"somesvc"}, nil,
			`sum(service_proxy_packets{kube_namespace="somens",kube_service="somesvc"}) by (kube_service)`,
			`max by (kube_service) (timestamp(service_proxy_packets{kube_namespace="somens",kube_service="somesvc"}))`},
		{"gauge with a selector", Resource{Name: "services"}, "service_proxy_packets", "somens", []string{"somesvc"}, param1,
			`sum(service_proxy_packets{param1="value1",kube_namespace="somens",kube_service="somesvc"}) by (kube_service)`, ""},
		{"counter", Resource{Name: "service"}, "ingress_hits", "somens", []string{"somesvc"}, nil,
			`sum(rate(ingress_hits_total{kube_namespace="somens",kube_service="somesvc"}[1m])) by (kube_service)`,
			`max by (kube_service) (timestamp(ingress_hits_total{kube_namespace="somens",kube_service="somesvc"}))`},
		{"counter of another resource", Resource{"extensions", "ingress"}, "ingress_hits", "somens", []string{"someingress"}, nil,
			`sum(rate(ingress_hits_total{kube_namespace="somens",kube_ingress="someingress"}[1m])) by (kube_ingress)`, ""},
		{"namespaces", Resource{Name: "namespaces"}, "ingress_hits", "", []string{"somens"}, nil,
			`sum(rate(ingress_hits_total{kube_namespace="somens"}[1m])) by (kube_namespace)`, ""},
		{"seconds counter", Resource{"extensions", "deployment"}, "work_queue_wait", "somens", []string{"somedep"}, nil,
			`sum(rate(work_queue_wait_seconds_total{kube_namespace="somens",kube_deployment="somedep"}[1m])) by (kube_deployment)`, ""},
		{"container seconds", Resource{Name: "pod"}, "some_time", "somens", []string{"somepod"}, nil,
			`sum(rate(container_some_time_seconds_total{namespace="somens",pod="somepod",container!="POD"}[1m])) by (pod)`,
			`max by (pod) (timestamp(container_some_time_seconds_total{namespace="somens",pod="somepod",container!="POD"}))`},
		{"container counter", Resource{Name: "pod"}, "some_count", "somens", []string{"pod1", "pod2"}, nil,
			`sum(rate(container_some_count_total{namespace="somens",pod=~"pod1|pod2",container!="POD"}[1m])) by (pod)`, ""},
		{"container gauge", Resource{Name: "pod"}, "some_usage", "somens", []string{"somepod"}, nil,
			`sum(container_some_usage{namespace="somens",pod="somepod",container!="POD"}) by (pod)`, ""},
		{"cluster-scoped gauge", Resource{Name: "node"}, "node_gigawatts", "", []string{"somenode"}, nil,
			`sum(node_gigawatts{kube_node="somenode"}) by (kube_node)`, ""},
		{"cluster-scoped counter", Resource{Name: "persistentvolume"}, "volume_claims", "", []string{"somepv"}, nil,
			`sum(rate(volume_claims_total{kube_persistentvolume="somepv"}[1m])) by (kube_persistentvolume)`, ""},
		{"cluster-scoped seconds", Resource{Name: "node"}, "node_fan", "", []string{"somenode"}, nil,
			`sum(rate(node_fan_seconds_total{kube_node="somenode"}[1m])) by (kube_node)`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := c.Candidates(Custom, tt.resource, tt.metric, generatedCluster)
			if len(got) != 1 {
				t.Fatalf("want one candidate, have %d", len(got))
			}
			ask := Ask{Series: got[0].Series, Resource: tt.resource, Names: tt.names, Selector: tt.selector}
			if tt.namespace != "" {
				ask.Namespaces = []string{tt.namespace}
			}
			q, err := got[0].Rule.Build(ask, generatedCluster)
			if err != nil || q.Value != tt.want {
				t.Errorf("got  %s, %v\nwant %s", q.Value, err, tt.want)
			}
			if tt.age != "" && q.Age != tt.age {
				t.Errorf("age: got  %s\nwant %s", q.Age, tt.age)
			}
			if !got[0].Rule.Batches() {
				t.Errorf("does not batch")
			}
		})
	}
}

func TestGeneratedConfigListsWhatPrometheusAdapterListed(t *testing.T) {
	c := generatedCatalog(t)
	var got []string
	for _, e := range c.Metrics(generatedCluster, func(_ *Rule, series string) []string { return generatedSeries[series] }) {
		scope := ""
		if e.Namespaced {
			scope = " namespaced"
		}
		got = append(got, e.Resource.String()+"/"+e.Metric+scope)
	}
	want := []string{
		"deployments.extensions/work_queue_wait namespaced",
		"ingresses.extensions/ingress_hits namespaced",
		"namespaces/ingress_hits",
		"namespaces/service_proxy_packets",
		"namespaces/some_count",
		"namespaces/some_time",
		"namespaces/some_usage",
		"namespaces/work_queue_wait",
		"nodes/node_fan",
		"nodes/node_gigawatts",
		"persistentvolumes/volume_claims",
		"pods/some_count namespaced",
		"pods/some_time namespaced",
		"pods/some_usage namespaced",
		"services/ingress_hits namespaced",
		"services/service_proxy_packets namespaced",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if got := c.Overlaps(generatedCluster); len(got) > 0 {
		t.Errorf("overlaps: %v", got)
	}
}
