package promql

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// fleetText is a made-up fleet: pods of the same names in several namespaces, with several series each, some short-lived.
func fleetText(random *rand.Rand) string {
	var b strings.Builder
	for _, namespace := range namespaces {
		for pod := range 4 {
			for series := range 3 {
				labels := fmt.Sprintf(`{namespace=%q,pod="p%d",zone="z%d",le="%d"}`, namespace, pod, series%2, series)
				for _, name := range []string{"requests_total", "queue", "capacity"} {
					if random.IntN(8) == 0 {
						continue // a pod that lacks it
					}
					fmt.Fprintf(&b, "  %s%s %d+%dx%d\n", name, labels, random.IntN(50), random.IntN(9), scrapes)
				}
			}
		}
	}
	return b.String()
}

var namespaces = []string{"a", "b", "c.d"}

// template writes a random query template of some depth, good or bad at being batched.
func template(random *rand.Rand, depth int) string {
	matchers := []string{"<<.LabelMatchers>>", `<<.LabelMatchers>>,zone="z1"`, `zone=~"z.",<<.LabelMatchers>>`}[random.IntN(3)]
	selector := func(name string) string { return name + "{" + matchers + "}" }
	leaf := func() string {
		switch random.IntN(6) {
		case 0:
			return "rate(" + selector("requests_total") + "[2m])"
		case 1:
			return "delta(" + selector("queue") + "[1m])"
		case 2:
			return "max_over_time(" + selector("queue") + "[1m])"
		case 3:
			return selector("capacity")
		default:
			return selector("queue")
		}
	}
	by := []string{"by (<<.GroupBy>>)", "by (<<.GroupBy>>)", "by (<<.GroupBy>>, zone)", "by (zone)", "", "without (zone, le)"}[random.IntN(6)]
	aggregate := func(inner string) string {
		op := []string{"sum", "avg", "max", "min", "count"}[random.IntN(5)]
		return op + " " + by + " (" + inner + ")"
	}
	if depth == 0 {
		return aggregate(leaf())
	}
	switch random.IntN(8) {
	case 0:
		return template(random, depth-1) + " / " + template(random, depth-1)
	case 1:
		return template(random, depth-1) + " + on (<<.GroupBy>>) " + template(random, depth-1)
	case 2:
		return "clamp_min(" + template(random, depth-1) + ", 1)"
	case 3:
		return "2 * " + template(random, depth-1)
	case 4:
		return template(random, depth-1) + " or " + template(random, depth-1)
	case 5:
		return "topk(1, " + template(random, depth-1) + ")"
	case 6:
		return aggregate(template(random, depth-1))
	default:
		return "histogram_quantile(0.9, sum by (le, <<.GroupBy>>) (" + leaf() + "))"
	}
}

// TestBatchedAnswersAreTheOnesAskedOneByOne: wherever a rule says that it batches, the one query for all namespaces gives
// each pod exactly the value that a query for this pod alone gives, and the same pods.
func TestBatchedAnswersAreTheOnesAskedOneByOne(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	db := load(t, fleetText(random))
	batched, compared := 0, 0
	for range 1500 {
		text := template(random, random.IntN(3))
		config, err := rules.Parse("rules.yaml", fmt.Appendf(nil, `
rules:
- seriesQuery: 'queue'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  age: evaluation
  metricsQuery: %q
`, text), rules.ParseOptions{Backends: []string{"default"}})
		if err != nil {
			continue // not a query: nothing to compare
		}
		rule := config.Rules[0]
		if !rule.Batches() {
			continue
		}
		batched++
		pods := rules.Resource{Name: "pods"}
		all, err := rule.Build(rules.Ask{Series: "queue", Resource: pods, Namespaces: namespaces}, cluster{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		together := db.rows(t, all.Value)
		for _, namespace := range namespaces {
			for pod := range 4 {
				name := fmt.Sprintf("p%d", pod)
				one, err := rule.Build(rules.Ask{Series: "queue", Resource: pods, Namespaces: []string{namespace}, Names: []string{name}}, cluster{})
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				alone := valuesOf(db.rows(t, one.Value), map[string]string{one.ResourceLabel: name})
				inBatch := valuesOf(together, map[string]string{all.NamespaceLabel: namespace, all.ResourceLabel: name})
				if !slices.EqualFunc(alone, inBatch, near) {
					t.Fatalf("%s/%s: alone %v, in the batch %v\ntemplate %s\nbatch %s\nalone %s", namespace, name, alone, inBatch, text, all.Value, one.Value)
				}
				compared += len(alone)
			}
		}
	}
	if batched < 100 || compared < 1000 {
		t.Errorf("only %d templates batch and %d values were compared: the test has lost its object", batched, compared)
	}
	t.Logf("%d templates batch, %d values compared", batched, compared)
}

// valuesOf are the values of the rows that carry the labels, in order.
func valuesOf(rows []row, labels map[string]string) []float64 {
	var values []float64
	for _, r := range rows {
		carries := true
		for name, value := range labels {
			carries = carries && r.labels[name] == value
		}
		if carries {
			values = append(values, r.value)
		}
	}
	slices.Sort(values)
	return values
}

// near allows for sums that are added up in another order. NaN is an answer too, which the store turns into an absence.
func near(a, b float64) bool {
	return a == b || a != a && b != b || (a-b)/(a+b) < 1e-9 && (b-a)/(a+b) < 1e-9
}

// TestSelectionInMemoryIsSelectionInTheQuery: an External rule that filters in memory gives the rows that the query with
// the selector gives.
func TestSelectionInMemoryIsSelectionInTheQuery(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	db := load(t, fleetText(random))
	config := parse(t, `
externalRules:
- seriesQuery: 'queue'
  resources: {namespaced: false}
  age: evaluation
  metricsQuery: 'sum by (namespace, pod, zone) (<<.Series>>{<<.LabelMatchers>>})'
`)
	rule := config.Rules[0]
	operators := []rules.Operator{rules.Equals, rules.NotEquals, rules.In, rules.NotIn, rules.Exists, rules.DoesNotExist}
	kept := 0
	for range 400 {
		var selector rules.Selector
		for range 1 + random.IntN(3) {
			r := rules.Requirement{Key: []string{"namespace", "pod", "zone", "absent"}[random.IntN(4)], Operator: operators[random.IntN(len(operators))]}
			switch r.Operator {
			case rules.Equals, rules.NotEquals:
				r.Values = []string{[]string{"a", "c.d", "cxd", "p1", "z1"}[random.IntN(5)]}
			case rules.In, rules.NotIn:
				r.Values = []string{"a", "p2", "z0", "c.d"}[:1+random.IntN(4)]
			}
			selector = append(selector, r)
		}
		if !rule.FiltersInMemory(selector) {
			continue
		}
		kept++
		with, err := rule.Build(rules.Ask{Series: "queue", Selector: selector}, cluster{})
		if err != nil {
			t.Fatal(err)
		}
		without, err := rule.Build(rules.Ask{Series: "queue"}, cluster{})
		if err != nil {
			t.Fatal(err)
		}
		want := db.ask(t, with.Value)
		got := map[string]float64{}
		for _, row := range db.rows(t, without.Value) {
			if selector.Matches(row.labels) {
				got[labelText(row.labels)] = row.value
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d rows in memory, %d in the query\n%s", selector, len(got), len(want), with.Value)
		}
		for labels, value := range want {
			if got[labels] != value {
				t.Fatalf("%s: %s is %v in memory, %v in the query", selector, labels, got[labels], value)
			}
		}
	}
	if kept < 100 {
		t.Errorf("only %d selectors are filtered in memory", kept)
	}
}
