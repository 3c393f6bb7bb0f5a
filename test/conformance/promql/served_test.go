package promql

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// The path from the wants to the served value, over the engine: planning, batching, dividing, judging, keeping. Held
// against an oracle that asks one query for each request, as prometheus-adapter did, rule after rule.

// mixedText is a fleet whose series are not all well: some ended long ago, some a minute ago, some are no numbers.
func mixedText(random *rand.Rand) string {
	var b strings.Builder
	for _, namespace := range namespaces {
		for pod := range 4 {
			for series := range 3 {
				labels := fmt.Sprintf(`{namespace=%q,pod="p%d",node="n.%d",zone="z%d",le="%d"}`, namespace, pod, pod%2, series%2, series)
				for _, name := range []string{"requests_total", "queue", "capacity", "depth"} {
					start, ends := fmt.Sprint(random.IntN(50)), scrapes
					switch random.IntN(20) {
					case 0, 1:
						continue
					case 2:
						start = "NaN"
					case 3:
						start = "-900"
					case 4:
						start = "Inf"
					case 5:
						ends = 15 // 375 s: stale, and still within the lookback
					case 6:
						ends = 10 // 150 s: beyond it
					case 7:
						ends = 38 // 570 s: older than the newest, and fresh
					}
					fmt.Fprintf(&b, "  %s%s %s+%dx%d\n", name, labels, start, random.IntN(9), ends)
				}
			}
		}
		fmt.Fprintf(&b, "  budget{namespace=%q} %d+0x%d\n", namespace, random.IntN(9), scrapes)
	}
	return b.String()
}

const freshFor = time.Minute

// oracle answers one request at a time.
type oracle struct {
	t         *testing.T
	db        *database
	catalog   *rules.Catalog
	resources rules.Resources
}

// outcome is a number and the time of the sample behind it.
type outcome struct {
	number float64
	at     int64
}

// custom are the outcomes that may be served for an object when the names are asked for together; none means that it has
// to be absent, and absent that it may be. A rule that gives an object several rows leaves open which.
func (o *oracle) custom(key store.Key, selector rules.Selector, names []string, object string) (outcomes []outcome, absent bool) {
	for _, match := range o.catalog.Candidates(rules.Custom, key.Resource, key.Metric, o.resources) {
		if match.Series == "budget" && match.Label != "namespace" {
			continue // the series lacks the label
		}
		ask := rules.Ask{Series: match.Series, Resource: key.Resource, Names: names, Selector: selector}
		if key.Namespace != "" {
			ask.Namespaces = []string{key.Namespace}
		}
		query, err := match.Rule.Build(ask, o.resources)
		if err != nil {
			continue
		}
		found, certain := o.judge(query, func(labels map[string]string) bool { return labels[query.ResourceLabel] == object })
		for _, row := range found {
			outcomes = append(outcomes, row.outcome)
		}
		if certain {
			return outcomes, false
		}
	}
	return outcomes, true
}

// external is the answer of the first rule that has a whole one; nil when none has.
func (o *oracle) external(key store.Key, selector rules.Selector) map[string]outcome {
	for _, match := range o.catalog.Candidates(rules.External, rules.Resource{}, key.Metric, o.resources) {
		query, err := match.Rule.Build(rules.Ask{Series: match.Series, Namespaces: []string{key.Namespace}, Selector: selector}, o.resources)
		if err != nil {
			continue
		}
		found, whole := o.judge(query, func(map[string]string) bool { return true })
		if whole {
			rows := map[string]outcome{}
			for _, row := range found {
				rows[labelText(row.labels)] = row.outcome
			}
			return rows
		}
	}
	return nil
}

type judged struct {
	labels map[string]string
	outcome
}

// judge are the rows that can be served. certain says that there are rows and every one can.
func (o *oracle) judge(query rules.Query, mine func(map[string]string) bool) (found []judged, certain bool) {
	values, err := o.db.evaluate(query.Value, time.Unix(askedAt, 0))
	if err != nil {
		return nil, false
	}
	ages, err := o.db.evaluate(query.Age, time.Unix(askedAt, 0))
	if err != nil {
		return nil, false
	}
	by := map[string]bool{} // the labels that tell ages apart; one that a row lacks is empty
	for _, age := range ages {
		for name := range age.labels {
			by[name] = true
		}
	}
	rows := 0
	for _, value := range values {
		if !mine(value.labels) {
			continue
		}
		rows++
		for _, age := range ages {
			same := true
			for name := range by {
				same = same && value.labels[name] == age.labels[name]
			}
			if same && value.value >= 0 && value.value < 1e15 && askedAt-age.value <= freshFor.Seconds() {
				found = append(found, judged{value.labels, outcome{value.value, int64(age.value)}})
			}
		}
	}
	return found, rows > 0 && len(found) == rows
}

// pods is which pods a selector means; the adapter asks its informer.
type pods map[string][]string

func (p pods) Names(_ context.Context, _ rules.Resource, _, selector string) ([]string, error) {
	return p[selector], nil
}

var selected = pods{"all": {"p0", "p1", "p2", "p3"}, "some": {"p1", "p3"}}

// withNodes adds a cluster-scoped resource.
type withNodes struct{ cluster }

func (c withNodes) Resolve(r rules.Resource) (rules.ResourceInfo, bool) {
	if r.Group == "" && (r.Name == "nodes" || r.Name == "node") {
		return rules.ResourceInfo{Resource: rules.Resource{Name: "nodes"}, Singular: "node"}, true
	}
	return c.cluster.Resolve(r)
}

// observer keeps the errors.
type observer struct{ t *testing.T }

func (o observer) Collected(_, rule string, _ time.Duration, _ int, _ map[store.Cause]int, err error) {
	if err != nil && !strings.Contains(err.Error(), "execution") {
		o.t.Logf("%s: %v", rule, err)
	}
}
func (observer) Discovered(string, error) {}

// randomRules are a few rules of either kind, with names that they share.
func randomRules(random *rand.Rand) string {
	var custom, external strings.Builder
	for range 2 + random.IntN(3) {
		fmt.Fprintf(&custom, `
- seriesQuery: '{__name__=~"queue|depth|budget"}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}
  name: {as: %s}
  metricsQuery: %q
`, []string{`"load"`, `"${0}"`}[random.IntN(2)], strings.ReplaceAll(template(random, random.IntN(3)), "queue{", "<<.Series>>{"))
	}
	for range 2 + random.IntN(3) {
		text := strings.ReplaceAll(template(random, random.IntN(2)), "<<.GroupBy>>", []string{"namespace", "zone", "namespace, pod"}[random.IntN(3)])
		fmt.Fprintf(&external, `
- seriesQuery: 'queue'
  resources: {namespaced: %v, overrides: {namespace: {resource: namespace}}}
  name: {as: "size"}
  metricsQuery: %q
`, random.IntN(3) > 0, text)
	}
	return "rules:" + custom.String() + "externalRules:" + external.String()
}

func randomSelector(random *rand.Rand) rules.Selector {
	return []rules.Selector{
		nil, nil,
		{{Key: "zone", Operator: rules.Equals, Values: []string{"z1"}}},
		{{Key: "zone", Operator: rules.NotIn, Values: []string{"z1", "z2"}}},
		{{Key: "absent", Operator: rules.DoesNotExist}},
		{{Key: "le", Operator: rules.Exists}, {Key: "zone", Operator: rules.In, Values: []string{"z0", "z.", "z1"}}},
		{{Key: "pod", Operator: rules.NotEquals, Values: []string{"p1"}}},
	}[random.IntN(7)]
}

// randomWants is what some HPAs and people ask.
func randomWants(random *rand.Rand) []collect.Want {
	wants := map[store.Key]collect.Want{}
	for range 12 {
		selector := randomSelector(random)
		key := store.Key{Kind: rules.Custom, Namespace: namespaces[random.IntN(3)], Metric: []string{"load", "queue", "depth", "budget"}[random.IntN(4)], Selector: selector.String()}
		switch random.IntN(6) {
		case 0:
			key.Resource, key.Objects = rules.Resource{Name: "pods"}, fmt.Sprintf("p%d", random.IntN(5))
		case 1:
			key.Resource, key.Objects = rules.Resource{Name: "pods"}, store.SelectorPrefix+slices.Sorted(maps.Keys(selected))[random.IntN(2)]
		case 2:
			key.Resource, key.Namespace, key.Objects = rules.Resource{Name: "namespaces"}, "", key.Namespace
		case 3:
			key.Resource, key.Namespace, key.Objects = rules.Resource{Name: "nodes"}, "", fmt.Sprintf("n.%d", random.IntN(3))
		default:
			key.Kind, key.Metric = rules.External, "size"
		}
		wants[key] = collect.Want{Key: key, Selector: selector}
	}
	list := slices.Collect(maps.Values(wants))
	slices.SortFunc(list, func(a, b collect.Want) int { return strings.Compare(fmt.Sprint(a.Key), fmt.Sprint(b.Key)) })
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

var seeds = flag.Uint64("seeds", 150, "how many random worlds TestServedAnswersAreThoseAskedOneByOne tries")

// TestServedAnswersAreThoseAskedOneByOne: for random rules, series, objects and selectors, what the adapter serves after
// its batched collection is what one query for each request gives.
func TestServedAnswersAreThoseAskedOneByOne(t *testing.T) {
	var served, absent uint64
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 17))
			text := randomRules(random)
			config, err := rules.Parse("rules.yaml", []byte(text), rules.ParseOptions{Backends: []string{"default"}})
			if err != nil {
				return // a query whose age cannot be told
			}
			db := load(t, mixedText(random))
			wants := randomWants(random)
			standing := random.IntN(len(wants) + 1) // the others are collected when they are asked for
			collector := collected(t, config, db, wants[:standing])
			o := &oracle{t: t, db: db, catalog: collector.Catalog(), resources: withNodes{}}
			for _, want := range wants {
				s, a := o.check(lookUp(t, collector, want), want)
				served, absent = served+s, absent+a
				if t.Failed() {
					t.Fatalf("want %+v of\n%s", want, text)
				}
			}
		})
	}
	t.Logf("%d values served, %d absent", served, absent)
	if served < 5**seeds || absent < 3**seeds {
		t.Errorf("too few to mean anything")
	}
}

// lookUp asks as a request does, and again where the machine was too slow for the first answer.
func lookUp(t *testing.T, collector *collect.Collector, want collect.Want) *store.View {
	t.Helper()
	for range 10 {
		view, err := collector.Lookup(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		if view != nil && view.Complete() {
			return view
		}
	}
	t.Fatalf("%+v is never collected", want)
	return nil
}

// collected runs an adapter's collection until it knows all that is wanted, and then of what is asked for besides.
func collected(t *testing.T, config *rules.Config, db *database, wants []collect.Want) *collect.Collector {
	t.Helper()
	client, err := prometheus.New(rules.Backend{Name: "default", URLs: []string{db.serve(t).URL}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wanted := collect.NewWanted(100)
	wanted.SetStanding("test", wants)
	collector := collect.New(collect.Options{
		Store: store.New(), Wanted: wanted, Resources: withNodes{}, Objects: selected, Observer: observer{t},
		DefaultStaleness: freshFor, RelistInterval: time.Hour, MaxAge: time.Hour,
	})
	backend := collect.Backend{Name: "default", Querier: client}
	collector.Use(config, map[string]collect.Backend{"": backend, "default": backend})
	for range 3 { // series names, their labels, the values
		collector.Tick(t.Context(), false)
		collector.Wait()
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-collector.Kicked():
				collector.Tick(ctx, true)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended; collector.Wait() })
	return collector
}

// check compares an answer with the oracle's and counts what it compared.
func (o *oracle) check(view *store.View, want collect.Want) (served, absent uint64) {
	now := time.Now()
	if want.Key.Kind == rules.External {
		expected, got := o.external(want.Key, want.Selector), map[string]outcome{}
		if view != nil {
			rows, _ := view.Rows(now)
			for _, row := range rows {
				got[labelText(row.Labels)] = outcome{row.Number, row.SampledAt.Unix()}
			}
		}
		if !maps.EqualFunc(expected, got, same) {
			o.t.Errorf("external: served %v, asked alone %v (%s)", got, expected, view.Explain())
		}
		return uint64(len(got)), uint64(1 - min(1, len(got)))
	}
	names := []string{want.Key.Objects}
	if selector, ok := strings.CutPrefix(want.Key.Objects, store.SelectorPrefix); ok {
		names = selected[selector]
	}
	for _, name := range names {
		expected, mayLack := o.custom(want.Key, want.Selector, names, name)
		if view != nil {
			if value, absence := view.Value(name, now); absence == nil {
				served++
				got := outcome{value.Number, value.SampledAt.Unix()}
				if !slices.ContainsFunc(expected, func(e outcome) bool { return same(e, got) }) {
					o.t.Errorf("%s: served %v, asked alone %v", name, got, expected)
				}
				continue
			}
		}
		absent++
		if !mayLack {
			o.t.Errorf("%s: nothing served (%s), asked alone %v", name, view.Explain(), expected)
		}
	}
	return served, absent
}

func same(a, b outcome) bool { return a.at == b.at && near(a.number, b.number) }
