package collect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

var podsResource = rules.Resource{Name: "pods"}

// cluster knows pods, namespaces and nodes.
type cluster struct{}

func (cluster) Resolve(r rules.Resource) (rules.ResourceInfo, bool) {
	switch strings.TrimSuffix(r.Name, "s") {
	case "pod":
		return rules.ResourceInfo{Resource: podsResource, Singular: "pod", Namespaced: true}, true
	case "namespace":
		return rules.ResourceInfo{Resource: rules.Resource{Name: "namespaces"}, Singular: "namespace"}, true
	case "node":
		return rules.ResourceInfo{Resource: rules.Resource{Name: "nodes"}, Singular: "node"}, true
	}
	return rules.ResourceInfo{}, false
}

func (cluster) Names(_ context.Context, _ rules.Resource, namespace, selector string) ([]string, error) {
	return []string{namespace + "-" + selector + "-1", namespace + "-" + selector + "-2"}, nil
}

func parse(t *testing.T, text string) *rules.Config {
	t.Helper()
	config, err := rules.Parse("rules.yaml", []byte(text), rules.ParseOptions{Backends: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func podWant(namespace, metric string) Want {
	return Want{Key: store.Key{Kind: rules.Custom, Namespace: namespace, Resource: podsResource, Metric: metric}}
}

func lagWant(namespace, group string) Want {
	selector := rules.Selector{{Key: "consumergroup", Operator: rules.Equals, Values: []string{group}}}
	return Want{Key: store.Key{Kind: rules.External, Namespace: namespace, Metric: "kafka_consumer_lag", Selector: selector.String()}, Selector: selector}
}

func noLabels(seriesRef) (map[string]bool, bool) { return nil, false }

func TestFiveHundredHPAsOnPresetsAreOneUnitForEachRule(t *testing.T) {
	catalog := rules.NewCatalog(parse(t, "presets: [vllm, kafka-exporter]"))
	var wants []Want
	for i := range 500 {
		namespace := fmt.Sprintf("team-%d", i%50)
		wants = append(wants, lagWant(namespace, fmt.Sprintf("group-%d", i)))
		if i < 50 { // HPAs of one namespace share its pods' key
			wants = append(wants, podWant(namespace, "requests_per_second"), podWant(namespace, "requests_waiting"))
		}
	}
	p := makePlan(wants, catalog, true, noLabels, cluster{})
	var asked []string
	for _, u := range p.units {
		asked = append(asked, fmt.Sprintf("%d feeds, %d namespaces, selector %q", len(u.feeds), len(u.ask.Namespaces), u.ask.Selector.String()))
	}
	slices.Sort(asked)
	want := []string{`50 feeds, 50 namespaces, selector ""`, `50 feeds, 50 namespaces, selector ""`, `500 feeds, 0 namespaces, selector ""`}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if len(p.unknown) != 0 {
		t.Errorf("unknown: %v", p.unknown)
	}
}

const unbatchable = `
rules:
- seriesQuery: 'queue_depth{pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: 'topk(1, <<.Series>>{<<.LabelMatchers>>})'
`

func TestARuleThatCannotBeSplitIsAskedForEachQuestion(t *testing.T) {
	config := parse(t, unbatchable)
	catalog := rules.NewCatalog(config).With(map[*rules.Rule][]string{config.Rules[0]: {"queue_depth"}})
	labels := func(seriesRef) (map[string]bool, bool) { return map[string]bool{"pod": true, "namespace": true}, true }
	one, all, hpa := podWant("a", "queue_depth"), podWant("a", "queue_depth"), podWant("a", "queue_depth")
	one.Key.Objects = "pod-1"
	all.Key.Objects = store.SelectorPrefix + "app=x"
	p := makePlan([]Want{one, all, hpa}, catalog, true, labels, cluster{})
	var names [][]string
	for _, u := range p.units {
		n, err := u.names(context.Background(), cluster{})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	if diff := cmp.Diff([][]string{{"a-app=x-1", "a-app=x-2"}, {"pod-1"}}, names); diff != "" {
		t.Errorf("an HPA's want waits for its selector; names asked for (-want +got):\n%s", diff)
	}
}

func TestASeriesWithoutTheLabelDoesNotGiveTheMetric(t *testing.T) {
	config := parse(t, strings.ReplaceAll(unbatchable, "topk(1, <<.Series>>{<<.LabelMatchers>>})", "sum by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>})"))
	catalog := rules.NewCatalog(config).With(map[*rules.Rule][]string{config.Rules[0]: {"queue_depth"}})
	want := podWant("a", "queue_depth")

	p := makePlan([]Want{want}, catalog, true, noLabels, cluster{})
	if len(p.units) != 0 || len(p.unknown) != 0 || len(p.needs) != 1 {
		t.Errorf("before its labels are known: %d units, unknown %v, needs %v", len(p.units), p.unknown, p.needs)
	}
	without := func(seriesRef) (map[string]bool, bool) { return map[string]bool{"namespace": true}, true }
	p = makePlan([]Want{want}, catalog, true, without, cluster{})
	if len(p.units) != 0 || len(p.unknown) != 1 {
		t.Errorf("without the pod label: %d units, unknown %v", len(p.units), p.unknown)
	}
	p = makePlan([]Want{podWant("a", "no_such")}, catalog, false, without, cluster{})
	if len(p.unknown) != 0 {
		t.Errorf("before discovery nothing is unknown: %v", p.unknown)
	}
}

func TestAgesAreJoinedByTheLabelsTheyHave(t *testing.T) {
	now := time.Unix(1000, 0)
	evaluated := time.Unix(5000, 0) // the backend's clock is far off, and that does not matter
	a := answer{
		query: rules.Query{Age: "…"},
		values: []Sample{
			{Labels: map[string]string{"namespace": "n", "pod": "a"}, Value: 1},
			{Labels: map[string]string{"namespace": "n", "pod": "b"}, Value: 2},
		},
		ages: []Sample{{Labels: map[string]string{"namespace": "n", "pod": "a"}, Value: 4990, Evaluated: evaluated}},
	}
	rows, invalid := a.readings(now)
	if got := rows[0].reading; got.Invalid != 0 || got.Age(now) != 10*time.Second || !got.SampledAt.Equal(time.Unix(4990, 0)) {
		t.Errorf("a: %+v", got)
	}
	if rows[1].reading.Invalid != store.NoRawSample || invalid[store.NoRawSample] != 1 {
		t.Errorf("b, whose series ended: %+v, %v", rows[1].reading, invalid)
	}
	a.ages = []Sample{{Value: 4980, Evaluated: evaluated}} // one age for the whole answer
	rows, _ = a.readings(now)
	for _, r := range rows {
		if r.reading.Invalid != 0 || r.reading.Age(now) != 20*time.Second {
			t.Errorf("%v: %+v", r.labels, r.reading)
		}
	}
}

func TestSelectionInMemoryDoesNotDependOnTheIndex(t *testing.T) {
	var rows []row
	for i := range 300 {
		rows = append(rows, row{labels: map[string]string{"consumergroup": fmt.Sprintf("g%d", i%7), "topic": fmt.Sprintf("t%d", i)}})
	}
	s := &split{rows: rows}
	for _, selector := range []rules.Selector{
		{{Key: "consumergroup", Operator: rules.Equals, Values: []string{"g3"}}},
		{{Key: "topic", Operator: rules.In, Values: []string{"t3", "t4"}}, {Key: "consumergroup", Operator: rules.Equals, Values: []string{"g3"}}},
		{{Key: "absent", Operator: rules.Equals, Values: []string{""}}},
		nil,
	} {
		slow := 0
		for _, r := range rows {
			if selector.Matches(r.labels) {
				slow++
			}
		}
		if got := len(s.external(Want{Selector: selector})); got != slow {
			t.Errorf("%s: %d rows, want %d", selector, got, slow)
		}
	}
}

// An External rule that sums its selector's labels away was never found: its rows were selected once more in memory, by
// labels that they no longer had.
func TestASelectorInTheQueryIsNotAppliedToItsRowsAgain(t *testing.T) {
	catalog := rules.NewCatalog(parse(t, `
externalRules:
- resources: {namespaced: false}
  name: {as: kafka_consumer_lag}
  metricsQuery: 'sum(lag{<<.LabelMatchers>>})'
`))
	p := makePlan([]Want{lagWant("a", "g1")}, catalog, true, noLabels, cluster{})
	if len(p.units) != 1 {
		t.Fatalf("%d units, want one", len(p.units))
	}
	u := p.units[0]
	into := store.New()
	reading := store.Reading{Value: store.Value{Number: 4}}
	u.deliver(rules.Query{}, []row{{labels: map[string]string{}, reading: reading}}, store.Terms{MaxStaleness: time.Minute}, into, time.Time{})
	rows, absence := into.View(u.feeds[0].table).Rows(time.Time{})
	if absence != nil || len(rows) != 1 || rows[0].Number != 4 {
		t.Errorf("%v, %v", rows, absence)
	}
}
