package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ruleReader reads lists of rules, of a file or of a preset.
type ruleReader struct {
	*document
	legacy   Legacy
	backends []string // that a rule may name

	// of a preset, from where it is listed
	preset       string
	backend      string
	maxStaleness time.Duration
	partial      Partial
	static       []matcher
	window       time.Duration
	labels       map[string]string // the preset's label names to the user's
}

// maxStalenessLimit: an older value says nothing about what to scale now.
const maxStalenessLimit = 24 * time.Hour

func (rr *ruleReader) list(n *yaml.Node, path string, kind Kind) []*Rule {
	var out []*Rule
	for i, item := range rr.document.list(n, path) {
		if r := rr.rule(item, index(path, i), kind); r != nil {
			out = append(out, r)
		}
	}
	return out
}

// rule is nil when it has problems, or can never give a metric.
func (rr *ruleReader) rule(n *yaml.Node, path string, kind Kind) *Rule {
	before := len(rr.problems)
	if n = target(n); isNull(n) || n.Kind != yaml.MappingNode {
		rr.problem(n, path, "must be a rule: seriesQuery, resources, metricsQuery …")
		return nil
	}
	f := rr.mapping(n, path, "seriesQuery", "seriesFilters", "resources", "name", "metricsQuery",
		"backend", "maxStaleness", "partial", "emptyIsZero", "age")
	r := &Rule{
		Name: path, Line: n.Line, Preset: rr.preset, Kind: kind, static: rr.static, raw: rr.legacy.RawRegexps,
		Backend:      rr.text(f.value["backend"], path+".backend"),
		MaxStaleness: rr.duration(f.value["maxStaleness"], path+".maxStaleness", time.Second, maxStalenessLimit),
		Partial:      choice(rr.document, f.value["partial"], path+".partial", Omit, Omit, Fail),
		EmptyIsZero:  rr.boolean(f.value["emptyIsZero"], path+".emptyIsZero", false),
		seriesQuery:  rr.text(f.value["seriesQuery"], path+".seriesQuery"),
	}
	if r.Backend != "" && !slices.Contains(rr.backends, r.Backend) {
		rr.problem(target(f.value["backend"]), path+".backend", "no backend has this name; %s", oneOf("backends are", rr.backends))
	}
	if kind == External && f.has("partial") {
		rr.problem(&yaml.Node{Line: target(f.value["partial"]).Line}, path+".partial", "is for rules of pods; an external rule has no pods to miss")
	}
	misspelt := len(rr.problems) > before
	rr.resources(r, f.value["resources"], path+".resources")
	if r.seriesQuery != "" || !misspelt { // a seriesQueri is not a rule without seriesQuery
		rr.name(r, n, f, path)
	}
	rr.queries(r, n, f, path)
	if len(rr.problems) > before || r.query == nil {
		return nil
	}
	rr.fromPreset(r)
	rr.judge(r, f, path)
	if len(rr.problems) > before {
		return nil
	}
	return r
}

func oneOf(intro string, words []string) string {
	if len(words) == 0 {
		return intro + " none"
	}
	return intro + " " + strings.Join(words, ", ")
}

func (rr *ruleReader) fromPreset(r *Rule) {
	if rr.preset == "" {
		return
	}
	r.Backend = rr.backend
	if rr.maxStaleness > 0 {
		r.MaxStaleness = rr.maxStaleness
	}
	if rr.partial != 0 && r.Kind == Custom {
		r.Partial = rr.partial
	}
}

func (rr *ruleReader) resources(r *Rule, n *yaml.Node, path string) {
	f := rr.mapping(n, path, "template", "overrides", "namespaced")
	r.Namespaced = rr.boolean(f.value["namespaced"], path+".namespaced", true) || r.Kind == Custom && rr.legacy.IgnoreNamespaced
	if text := rr.text(f.value["template"], path+".template"); text != "" {
		t, err := parseLabelTemplate(text)
		if err != nil {
			rr.problem(target(f.value["template"]), path+".template", "%v", err)
		}
		r.association.template = t
	}
	overrides := rr.anyMapping(f.value["overrides"], path+".overrides")
	for _, key := range overrides.keys {
		at := path + ".overrides." + key.Value
		o := rr.mapping(overrides.value[key.Value], at, "group", "resource")
		res := Resource{Group: rr.text(o.value["group"], at+".group"), Name: rr.text(o.value["resource"], at+".resource")}
		if res.Name == "" {
			rr.problem(&yaml.Node{Line: key.Line}, at+".resource", "must name a resource, such as pod, or deployment with group: apps")
			continue
		}
		label := key.Value
		if to := rr.labels[label]; to != "" {
			label = to
		}
		if i := slices.IndexFunc(r.association.overrides, func(o override) bool { return o.resource == res }); i >= 0 {
			rr.note(&yaml.Node{Line: key.Line}, at, "%s names %s too; queries use %s, which comes first", key.Value, res, r.association.overrides[i].label)
		}
		r.association.overrides = append(r.association.overrides, override{label, res})
	}
}

func (rr *ruleReader) name(r *Rule, n *yaml.Node, f fields, path string) {
	name := rr.mapping(f.value["name"], path+".name", "matches", "as")
	matches := rr.text(name.value["matches"], path+".name.matches")
	r.as = rr.text(name.value["as"], path+".name.as")
	if r.seriesQuery == "" {
		rr.fixed(r, n, f, matches, path)
		return
	}
	for i, item := range rr.document.list(f.value["seriesFilters"], path+".seriesFilters") {
		rr.filter(r, item, index(path+".seriesFilters", i))
	}
	if _, err := readQuery(r.seriesQuery); err != nil {
		rr.note(target(f.value["seriesQuery"]), path+".seriesQuery", "does not read as a series selector: %v", err)
	}
	pattern := matches
	if pattern == "" {
		pattern = ".*"
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		rr.problem(target(name.value["matches"]), path+".name.matches", "%v", err)
		return
	}
	r.matches = re
	if matches != "" { // also a filter, as in prometheus-adapter
		r.filters = append(r.filters, seriesFilter{pattern: re})
	}
	if r.as == "" {
		switch re.NumSubexp() {
		case 0:
			r.as = "$0"
		case 1:
			r.as = "$1"
		default:
			rr.problem(&yaml.Node{Line: or(name.value["matches"], n).Line}, path+".name.as", "must be given, because name.matches has %d groups: $1, ${1}_${2} …", re.NumSubexp())
		}
	}
}

// fixed is a rule without discovery: its metric is always on offer.
func (rr *ruleReader) fixed(r *Rule, n *yaml.Node, f fields, matches, path string) {
	at := or(f.value["seriesQuery"], f.value["name"], n)
	line := &yaml.Node{Line: at.Line}
	switch {
	case r.as == "" || strings.ContainsAny(r.as, "$/%") || matches != "" || f.has("seriesFilters"):
		rr.problem(line, path+".seriesQuery", "must be a series selector; it may only be left out when name.as is a plain name, and name.matches and seriesFilters are not given")
	case r.Kind == Custom && (len(r.association.overrides) == 0 || r.association.template != nil):
		rr.problem(line, path+".resources", "must name the labels of the objects in overrides, without a template, when seriesQuery is left out")
	}
}

func (rr *ruleReader) filter(r *Rule, n *yaml.Node, path string) {
	f := rr.mapping(n, path, "is", "isNot")
	is, isNot := rr.text(f.value["is"], path+".is"), rr.text(f.value["isNot"], path+".isNot")
	if (is == "") == (isNot == "") {
		rr.problem(&yaml.Node{Line: or(n, &yaml.Node{}).Line}, path, "must have exactly one of is and isNot, a regular expression each")
		return
	}
	re, err := regexp.Compile(is + isNot)
	if err != nil {
		rr.problem(or(f.value["is"], f.value["isNot"]), path, "%v", err)
		return
	}
	r.filters = append(r.filters, seriesFilter{pattern: re, not: isNot != ""})
}

func (rr *ruleReader) queries(r *Rule, n *yaml.Node, f fields, path string) {
	at := or(f.value["metricsQuery"], n)
	text := rr.text(f.value["metricsQuery"], path+".metricsQuery")
	if rr.preset != "" {
		text = strings.NewReplacer("${window}", promDuration(rr.window), "${window_seconds}", fmt.Sprint(rr.window.Seconds())).Replace(text)
	}
	if strings.TrimSpace(text) == "" {
		rr.warn(&yaml.Node{Line: at.Line}, path+".metricsQuery", "is empty, so this rule gives no metric; write a query such as sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)")
		return
	}
	q, err := parseQueryTemplate(text)
	if err != nil {
		rr.problem(at, path+".metricsQuery", "%v", err)
		return
	}
	r.query, r.queryText = q, text
}

// promDuration writes a duration for a PromQL range.
func promDuration(d time.Duration) string {
	if d%time.Second != 0 {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return fmt.Sprintf("%ds", int64(d.Seconds()))
}

// judge looks at the whole rule: what it will be able to answer.
func (rr *ruleReader) judge(r *Rule, f fields, path string) {
	_, hasNamespace := r.association.namespaceLabel()
	switch {
	case r.Kind == Custom && r.association.template == nil && len(r.association.overrides) == 0:
		rr.note(&yaml.Node{Line: r.Line}, path+".resources", "has neither template nor overrides, so this rule gives no metric; name the labels of the objects")
	case r.Kind == External && r.Namespaced && !hasNamespace:
		rr.note(&yaml.Node{Line: r.Line}, path+".resources", "does not say which label is the namespace; the label namespace is used. For series without it write namespaced: false")
		r.association.overrides = append(r.association.overrides, override{"namespace", namespaces})
		hasNamespace = true
	}
	r.Age = rr.age(r, f, path)
	if r.Kind == Custom {
		r.batches = r.separates(nil)
	} else if !r.Namespaced {
		r.batches = true
	} else if hasNamespace {
		label, _ := r.association.namespaceLabel()
		r.batches = r.separates([]string{label})
	}
}

// example is the query with stand-ins for what is asked, under the labels that
// the rule is known to use.
func (r *Rule) example() (string, error) {
	labels := r.Labels()
	if nsLabel, ok := r.association.namespaceLabel(); ok && !slices.Contains(labels, nsLabel) {
		labels = append(labels, nsLabel)
	}
	var matchers []matcher
	for _, label := range append(labels, standInObject) {
		matchers = append(matchers, equal(label, "a"))
	}
	groupBy := []string{standInObject}
	if r.Kind == External {
		groupBy = []string{}
	}
	return r.query.render(standInSeries, matchers, groupBy)
}

// age decides by a rendering with stand-ins whether samples can be named.
func (rr *ruleReader) age(r *Rule, f fields, path string) Age {
	asked := choice(rr.document, f.value["age"], path+".age", 0, SampleAge, EvaluationAge)
	if asked == EvaluationAge {
		return asked
	}
	at := &yaml.Node{Line: or(f.value["metricsQuery"], f.value["age"]).Line}
	if r.Fixed() && r.query.uses("Series") {
		rr.problem(at, path+".metricsQuery", "uses <<.Series>>, which is empty because seriesQuery is left out; name the series")
		return SampleAge
	}
	text, reason := r.example()
	if reason != nil {
		// Not for certain: a template may fail for stand-ins and work for what is asked.
		reason = fmt.Errorf("a trial of the template fails: %w", reason)
	} else if n, err := readQuery(text); err != nil {
		reason = err
	} else if _, ok := ageQuery(text, n); ok {
		return SampleAge
	} else {
		reason = fmt.Errorf("it holds a function whose samples cannot be named")
	}
	if asked == SampleAge {
		rr.problem(target(f.value["age"]), path+".age", "cannot be known: %v; write age: evaluation to take every answer as new", reason)
		return SampleAge
	}
	rr.note(at, path+".metricsQuery", "the samples behind it cannot be named (%v), so every answer counts as new, however old its data; write age: evaluation if that is meant", reason)
	return EvaluationAge
}
