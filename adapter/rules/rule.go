package rules

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Rule turns series into metrics. Immutable.
type Rule struct {
	Name         string // "rules[2]", "externalRules[0]", "presets[0].vllm.rules[1]"
	Line         int    // of the file; of the preset's own line in a preset
	Preset       string // "" for the file's own rules
	Kind         Kind
	Backend      string        // "": the default backend
	MaxStaleness time.Duration // 0: the server's default
	Partial      Partial
	EmptyIsZero  bool
	Age          Age
	Namespaced   bool

	seriesQuery string // "" in a fixed rule
	filters     []seriesFilter
	matches     *regexp.Regexp // nil in a fixed rule
	as          string
	association association
	query       *queryTemplate
	queryText   string
	static      []matcher // added to every query, after all others
	raw         bool      // Legacy.RawRegexps
	batches     bool
}

// seriesFilter is one of seriesFilters; all must hold.
type seriesFilter struct {
	pattern *regexp.Regexp
	not     bool
}

// SeriesQuery is the selector for discovery, "" when the series are fixed.
func (r *Rule) SeriesQuery() string { return r.seriesQuery }

// Fixed rules name their series in the query and give one metric, always on
// offer: nothing needs to be discovered.
func (r *Rule) Fixed() bool { return r.seriesQuery == "" }

// Literal is the metric's name where it is the same for every series.
func (r *Rule) Literal() (metric string, ok bool) { return r.as, !strings.Contains(r.as, "$") }

// MetricFor says which metric the rule makes of a series. A fixed rule
// answers for the series "".
func (r *Rule) MetricFor(series string) (metric string, ok bool) {
	if r.Fixed() {
		return r.as, series == ""
	}
	for _, f := range r.filters {
		if f.pattern.MatchString(series) == f.not {
			return "", false
		}
	}
	at := r.matches.FindStringSubmatchIndex(series)
	if at == nil {
		return "", false
	}
	metric = string(r.matches.ExpandString(nil, r.as, series, at))
	// The name is one segment of a URL's path: no request could name others.
	return metric, metric != "" && !strings.ContainsAny(metric, "/%")
}

// LabelFor is the label that names an object of the resource.
func (r *Rule) LabelFor(res Resource, rs Resources) (label string, ok bool) {
	info, ok := rs.Resolve(res)
	if !ok {
		return "", false
	}
	return r.association.labelFor(info, rs)
}

// ResourceFor is the resource whose objects the label names.
func (r *Rule) ResourceFor(label string, rs Resources) (ResourceInfo, bool) {
	return r.association.resourceFor(label, rs)
}

// Labels are those that overrides name, in the file's order. Of a fixed rule
// they are all; its metric is offered for their resources, without namespaces
// where there is another (that label is only for telling pods apart).
func (r *Rule) Labels() []string {
	var out []string
	for _, o := range r.association.overrides {
		out = append(out, o.label)
	}
	return out
}

// offers says whether a fixed rule has its metric for the resource.
func (r *Rule) offers(info ResourceInfo) bool {
	return !r.Fixed() || info.Resource != namespaces || !slices.ContainsFunc(r.association.overrides,
		func(o override) bool { return !isNamespaces(o.resource) })
}

// Batches says that one query for several namespaces at once, with no object
// names (custom) or no namespace (external), gives every object or namespace
// exactly the value that a query of its own would give.
func (r *Rule) Batches() bool { return r.batches }

// FiltersInMemory says that, in an external rule, the selector may be left out
// of the query and applied with Selector.Matches to the labels of the result.
// It depends on the keys: `sum by (topic)` answers for topic but not for group.
func (r *Rule) FiltersInMemory(s Selector) bool {
	if r.Kind != External {
		return false
	}
	if len(s) == 0 {
		return true
	}
	keys := make([]string, len(s))
	for i, req := range s {
		if m, err := req.matcher(r.raw); err != nil || m.regex && r.raw {
			return false
		}
		keys[i] = req.Key
	}
	return r.separates(keys)
}

// Stand-ins for what a real query has; no configuration contains them.
const (
	standInSeries    = "headroom_series"
	standInNamespace = "headroom_namespace"
	standInObject    = "headroom_object"
)

// separates asks for the template, before any query: with the labels of an
// object (custom), or with these keys (external).
func (r *Rule) separates(keys []string) bool {
	if r.query.pieces == nil || !r.query.uses("LabelMatchers") {
		return false
	}
	narrow := []matcher{equal(standInNamespace, "a", "b")}
	var by, groupBy []string
	if r.Kind == Custom {
		by = []string{standInNamespace, standInObject}
		groupBy = by
	} else {
		by = keys
	}
	return separates(r.query, standInSeries, narrow, groupBy, by)
}

// separates renders a query and asks whether it is separable by the labels,
// where every selector has the first of the matchers.
func separates(q *queryTemplate, series string, matchers []matcher, groupBy, by []string) bool {
	text, err := q.render(series, matchers, groupBy)
	if err != nil {
		return false
	}
	n, err := readQuery(text)
	if err != nil {
		return false
	}
	return separableBy(n, by, matchers)
}

func separableBy(n *node, by []string, narrow []matcher) bool {
	_, ok := separation{by: by, narrowed: hasAllOf(narrow)}.separable(n)
	return ok
}

// hasAllOf says whether a selector has all the matchers that the query got.
func hasAllOf(wanted []matcher) func([]labelMatcher) bool {
	return func(have []labelMatcher) bool {
		for _, m := range wanted {
			value := m.values[0]
			if m.regex {
				value = alternation(m.values, m.raw)
			}
			if !slices.Contains(have, labelMatcher{m.label, m.operator(), value}) {
				return false
			}
		}
		return true
	}
}
