package rules

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Catalog is which metrics exist, as far as the rules and the last discovery say. Immutable.
type Catalog struct {
	cfg        *Config
	discovered map[*Rule][]string
	byName     map[metricKey][]Match // best first; without Label
}

type metricKey struct {
	kind   Kind
	metric string
}

// NewCatalog knows the fixed metrics (presets) and nothing discovered yet.
func NewCatalog(cfg *Config) *Catalog { return newCatalog(cfg, nil) }

func newCatalog(cfg *Config, discovered map[*Rule][]string) *Catalog {
	c := &Catalog{cfg: cfg, discovered: discovered, byName: map[metricKey][]Match{}}
	for _, r := range slices.Backward(cfg.Rules) { // later wins
		c.add(c.byName, r)
	}
	return c
}

func (c *Catalog) add(byName map[metricKey][]Match, r *Rule) {
	series := c.discovered[r]
	if r.Fixed() {
		series = []string{""}
	}
	for _, s := range series {
		if metric, ok := r.MetricFor(s); ok {
			key := metricKey{r.Kind, metric}
			byName[key] = append(byName[key], Match{Rule: r, Series: s})
		}
	}
}

// With returns a catalog in which the named rules have these series. Rules that
// are not named keep theirs, so one failed discovery harms no other; rules of
// another configuration are ignored.
func (c *Catalog) With(discovered map[*Rule][]string) *Catalog {
	merged := maps.Clone(c.discovered)
	if merged == nil {
		merged = map[*Rule][]string{}
	}
	for _, r := range c.cfg.Rules {
		if series, ok := discovered[r]; ok {
			series = slices.Clone(series)
			slices.Sort(series) // which of two series comes first must not change from day to day
			merged[r] = slices.Compact(series)
		}
	}
	return newCatalog(c.cfg, merged)
}

// Match is a rule, and a series of it, that give a metric.
type Match struct {
	Rule   *Rule
	Series string // "" for a fixed rule
	Label  string // that names the object; "" for external
}

// Candidates are all that may give the metric, best first: the later rule of
// the file before the earlier, the file before presets, the later preset before
// the earlier. Ask them in order: an object (or, external, a selector) takes
// the first that has a valid value for it. None hides another.
func (c *Catalog) Candidates(kind Kind, res Resource, metric string, rs Resources) []Match {
	all := c.byName[metricKey{kind, metric}]
	if len(all) == 0 {
		return nil
	}
	var info ResourceInfo
	if kind == Custom {
		var ok bool
		if info, ok = rs.Resolve(res); !ok {
			return nil
		}
	}
	out := make([]Match, 0, len(all))
	for _, m := range all {
		if kind == Custom {
			label, ok := m.Rule.association.labelFor(info, rs)
			if !ok || !m.Rule.offers(info) {
				continue
			}
			m.Label = label
		}
		out = append(out, m)
		if c.cfg.Legacy.HideOverlaps {
			break
		}
	}
	return out
}

// Entry is one metric of the discovery list.
type Entry struct {
	Kind       Kind
	Resource   Resource // zero for external
	Namespaced bool
	Metric     string
}

// Metrics is everything on offer, sorted, without duplicates. labelsOf gives
// the label names of a discovered series; nil offers only fixed and external metrics.
func (c *Catalog) Metrics(rs Resources, labelsOf func(rule *Rule, series string) []string) []Entry {
	seen := map[Entry]bool{}
	for key, matches := range c.byName {
		if key.kind == External {
			seen[Entry{Kind: External, Namespaced: true, Metric: key.metric}] = true
			continue
		}
		for _, m := range matches {
			labels := m.Rule.Labels()
			if !m.Rule.Fixed() {
				if labelsOf == nil {
					continue
				}
				labels = labelsOf(m.Rule, m.Series)
			}
			for _, label := range labels {
				if info, ok := m.Rule.ResourceFor(label, rs); ok && m.Rule.offers(info) {
					seen[Entry{Custom, info.Resource, info.Namespaced, key.metric}] = true
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Resource.String(), b.Resource.String()), strings.Compare(a.Metric, b.Metric))
	})
}

// Overlap is a metric that more than one rule, or series, gives.
type Overlap struct {
	Kind    Kind
	Metric  string
	Matches []Match // best first
}

// Overlaps are the names with more than one candidate for the same resource.
// Rules with a literal name count before anything is discovered. Presets overlap
// by design (vllm and sglang both give requests_waiting); a reader of the list
// may want to leave out those whose matches all have a Preset.
func (c *Catalog) Overlaps(rs Resources) []Overlap {
	all := map[metricKey][]Match{}
	for _, r := range slices.Backward(c.cfg.Rules) {
		c.add(all, r)
		if name, literal := r.Literal(); literal && !r.Fixed() && len(c.discovered[r]) == 0 {
			key := metricKey{r.Kind, name}
			all[key] = append(all[key], Match{Rule: r})
		}
	}
	var out []Overlap
	for key, matches := range all {
		if overlap(matches, rs) {
			out = append(out, Overlap{key.kind, key.metric, matches})
		}
	}
	slices.SortFunc(out, func(a, b Overlap) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Metric, b.Metric))
	})
	return out
}

func overlap(matches []Match, rs Resources) bool {
	for i, a := range matches {
		for _, b := range matches[i+1:] {
			if a.Rule.Kind == External || a.Rule == b.Rule || mayShare(a.Rule, b.Rule, rs) {
				return true
			}
		}
	}
	return false
}

// mayShare is false when two rules name different resources for certain.
func mayShare(a, b *Rule, rs Resources) bool {
	if a.association.template != nil || b.association.template != nil {
		return true
	}
	for _, o := range a.association.overrides {
		x, okX := rs.Resolve(o.resource)
		for _, p := range b.association.overrides {
			y, okY := rs.Resolve(p.resource)
			same := o.resource == p.resource || okX && okY && x.Resource == y.Resource
			if same && (!okX || a.offers(x) && b.offers(x)) {
				return true
			}
		}
	}
	return false
}
