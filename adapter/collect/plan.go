package collect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// unit is one rule asked once, for as many wants as its query can serve.
type unit struct {
	id    string
	rule  *rules.Rule
	ask   rules.Ask
	feeds []feed
	// chosen are the objects that the query must list by name, where the rule cannot be split by its result.
	chosen *selection
	// everything is set when a want for all cluster-scoped objects joins those for some by name.
	everything bool
}

// feed is one want and the store key its table lives under: a want for one object of a rule that is asked for whole
// namespaces is fed with the namespace.
type feed struct {
	want  Want
	table store.Key
	rank  int // the rule's place among those that may give the metric, 0 the best
}

type selection struct{ namespace, selector string }

// seriesRef is a series of a rule whose labels are needed before a want can be decided.
type seriesRef struct {
	rule   *rules.Rule
	series string
}

// plan is what one tick does: units to ask, tables that no rule gives, and series whose labels must be looked up first.
type plan struct {
	units   []*unit
	unknown []store.Key
	needs   []seriesRef
	awaits  map[store.Key][]seriesRef // by table: those of needs that may turn out to give it
	open    []store.Key               // tables of which it is not known yet whether a rule gives them
}

// labelsOf answers which labels a rule's series carries; known is false until that was asked.
type labelsOf func(ref seriesRef) (labels map[string]bool, known bool)

// makePlan is a pure function of what is wanted and what is known.
func makePlan(wants []Want, catalog *rules.Catalog, discovered bool, labels labelsOf, resources rules.Resources) plan {
	p := plan{awaits: map[store.Key][]seriesRef{}}
	units := map[string]*unit{}
	slices.SortFunc(wants, func(a, b Want) int { return compareKeys(a.Key, b.Key) })
	for _, want := range wants {
		all := catalog.Candidates(want.Key.Kind, want.Key.Resource, want.Key.Metric, resources)
		table := want.Key
		if table.Kind == rules.Custom && table.Namespace != "" && allBatch(all) {
			table.Objects = "" // the namespace's table has the object too
		} // cluster-scoped objects are asked for by name, and each has a table of its own
		matches, needs := labelled(want.Key.Kind, all, labels)
		for _, match := range matches {
			p.add(units, want, match, table)
		}
		if len(needs) > 0 {
			p.needs = append(p.needs, needs...)
			p.awaits[table] = append(p.awaits[table], needs...)
		}
		switch {
		case len(matches) > 0:
		case len(needs) == 0 && discovered:
			p.unknown = append(p.unknown, table)
		default:
			p.open = append(p.open, table)
		}
	}
	return p
}

// ranked is a candidate with its place among all of them, 0 the best. Places do not change when those that turn out not to
// give the metric are left out.
type ranked struct {
	rules.Match
	rank int
}

// labelled leaves out the candidates whose series lacks the label that names the object, and those of which that is not
// known: needs are their series.
func labelled(kind rules.Kind, candidates []rules.Match, labels labelsOf) (matches []ranked, needs []seriesRef) {
	for rank, match := range candidates {
		if match.Series == "" || kind == rules.External {
			matches = append(matches, ranked{match, rank})
			continue
		}
		ref := seriesRef{match.Rule, match.Series}
		carried, known := labels(ref)
		switch {
		case !known:
			needs = append(needs, ref)
		case carried[match.Label]:
			matches = append(matches, ranked{match, rank})
		}
	}
	return matches, needs
}

// allBatch says that every rule which may give a metric is asked for whole namespaces. Where one is not, all of them fill
// the want's own table, so that the better rule wins whatever its form. Rules whose series turn out to lack the label
// count too: which table it is must not depend on what has been looked up.
func allBatch(matches []rules.Match) bool {
	return !slices.ContainsFunc(matches, func(m rules.Match) bool { return !m.Rule.Batches() })
}

// add puts a want into the unit that will answer it.
func (p *plan) add(units map[string]*unit, want Want, match ranked, table store.Key) {
	key, rule := want.Key, match.Rule
	ask := rules.Ask{Series: match.Series, Resource: key.Resource, Selector: want.Selector}
	id := []string{rule.Name, match.Series, key.Resource.String(), key.Metric}
	var chosen *selection
	switch {
	case key.Kind == rules.External:
		if rule.FiltersInMemory(want.Selector) {
			ask.Selector = nil
		} else {
			id = append(id, key.Selector)
		}
		if rule.Namespaced && !rule.Batches() {
			id = append(id, key.Namespace)
		}
	case rule.Batches():
		id = append(id, key.Selector)
	default:
		id = append(id, key.Selector, key.Namespace, key.Objects)
		switch selector, isSelector := strings.CutPrefix(key.Objects, store.SelectorPrefix); {
		case isSelector:
			chosen = &selection{key.Namespace, selector}
		case key.Objects != "":
			ask.Names = []string{key.Objects}
		default:
			return // which pods is known only once somebody asks with their selector
		}
	}
	u, ok := units[strings.Join(id, "\x00")]
	if !ok {
		u = &unit{id: strings.Join(id, "\x00"), rule: rule, ask: ask, chosen: chosen}
		units[u.id] = u
		p.units = append(p.units, u)
	}
	u.feeds = append(u.feeds, feed{want: want, table: table, rank: match.rank})
	if rule.Namespaced && key.Namespace != "" && !slices.Contains(u.ask.Namespaces, key.Namespace) {
		u.ask.Namespaces = append(u.ask.Namespaces, key.Namespace)
	}
	if key.Kind == rules.Custom && key.Namespace == "" && rule.Batches() {
		u.everything = u.everything || key.Objects == "" || strings.HasPrefix(key.Objects, store.SelectorPrefix)
		u.ask.Names = append(u.ask.Names, key.Objects)
	}
}

// names resolves what the unit must list by name when it is asked.
func (u *unit) names(ctx context.Context, objects Objects) ([]string, error) {
	switch {
	case u.everything:
		return nil, nil
	case u.chosen == nil:
		return slices.Compact(slices.Sorted(slices.Values(u.ask.Names))), nil
	}
	names, err := objects.Names(ctx, u.ask.Resource, u.chosen.namespace, u.chosen.selector)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no %s match %q in namespace %q", u.ask.Resource, u.chosen.selector, u.chosen.namespace)
	}
	return names, err
}

func compareKeys(a, b store.Key) int {
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Metric, b.Metric),
		cmp.Compare(a.Resource.Name, b.Resource.Name), cmp.Compare(a.Resource.Group, b.Resource.Group),
		cmp.Compare(a.Selector, b.Selector), cmp.Compare(a.Objects, b.Objects),
	)
}
