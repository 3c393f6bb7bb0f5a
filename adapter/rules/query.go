package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ask is a question to a rule.
type Ask struct {
	Series   string
	Resource Resource // custom only
	// Names of the objects wanted (custom only). None: all objects of the
	// namespaces, which needs Batches, and the answer is grouped by namespace too.
	// For the resource namespaces itself, Names are the namespaces.
	Names       []string
	Namespaces  []string // several need Batches
	Selector    Selector
	MatchLabels map[string]string // of the backend
}

// Query is PromQL that answers an Ask.
type Query struct {
	Value string
	// Age gives, for the objects of Value, the time in Unix seconds of the newest
	// raw sample that Value stands on. "" with EvaluationAge.
	Age            string
	ResourceLabel  string        // names the object in the result; "" for external
	NamespaceLabel string        // names its namespace in the result; "" when the result has none
	Window         time.Duration // the longest range; 0: none, or the query cannot be read
}

// What Build can answer instead of a query.
var (
	ErrUnsupportedOperator = errors.New("operator not supported by prometheus")
	ErrValuesRequired      = errors.New("operator requires values")
	ErrValuesRefused       = errors.New("operator does not support values")
	ErrEmptyQuery          = errors.New("the template gives an empty query")
	ErrNoLabel             = errors.New("no label of the rule names it")
	ErrNotBatched          = errors.New("the rule's query cannot be asked for several at once")
	ErrNoAge               = errors.New("the samples behind the query cannot be named; the rule needs `age: evaluation`")
)

// Build writes the queries.
func (r *Rule) Build(a Ask, rs Resources) (Query, error) {
	matchers, err := r.selectorMatchers(a.Selector)
	if err != nil {
		return Query{}, fmt.Errorf("rule %s: selector: %w", r.Name, err)
	}
	var q Query
	if r.Kind == External {
		q, err = r.buildExternal(a, matchers)
	} else {
		q, err = r.buildCustom(a, rs, matchers)
	}
	if err != nil {
		return Query{}, fmt.Errorf("rule %s: %w", r.Name, err)
	}
	return q, nil
}

func (r *Rule) selectorMatchers(s Selector) ([]matcher, error) {
	var out []matcher
	for _, req := range s.sorted() {
		m, err := req.matcher(r.raw)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// scope are the matchers that narrow the query to objects and namespaces, and
// what the answer has to be separable by when it stands for several of them.
type scope struct {
	matchers []matcher
	groupBy  []string
	apart    []string // nil: one answer is wanted, nothing to tell apart
}

func (r *Rule) buildCustom(a Ask, rs Resources, matchers []matcher) (Query, error) {
	info, ok := rs.Resolve(a.Resource)
	if !ok {
		return Query{}, fmt.Errorf("%s: the cluster has no such resource", a.Resource)
	}
	label, ok := r.association.labelFor(info, rs)
	if !ok {
		return Query{}, fmt.Errorf("%s: %w; add an entry to resources.overrides", info.Resource, ErrNoLabel)
	}
	var s scope
	q := Query{ResourceLabel: label}
	names, spaces := a.Names, a.Namespaces
	if info.Resource == namespaces {
		if len(names) == 0 {
			names = spaces
		}
		spaces = nil
	} else if !r.Namespaced || !info.Namespaced {
		spaces = nil
	}
	batch := len(names) == 0 || len(spaces) > 1
	if len(spaces) > 0 || batch && r.Namespaced && info.Namespaced {
		nsLabel, ok := r.association.namespaceLabel()
		if !ok {
			return Query{}, fmt.Errorf("the namespace of %s: %w; add `namespace: {resource: namespace}` to resources.overrides, or namespaced: false",
				info.Resource, ErrNoLabel)
		}
		if len(spaces) > 0 {
			s.matchers = append(s.matchers, equal(nsLabel, sortedSet(spaces)...))
		}
		if batch {
			q.NamespaceLabel = nsLabel
			s.groupBy = append(s.groupBy, nsLabel)
		}
	}
	switch {
	case len(names) > 0:
		m := equal(label, withoutRepeats(names)...)
		m.raw = r.raw
		s.matchers = append(s.matchers, m)
	case len(s.matchers) == 0:
		// Without namespaces something must narrow the query to series of the
		// resource, and be there for the comma of `{<<.LabelMatchers>>,a="b"}`.
		s.matchers = append(s.matchers, matcher{label: label, values: []string{""}, negative: true})
	}
	s.groupBy = append(s.groupBy, label)
	if batch {
		s.apart = s.groupBy
	}
	return r.finish(q, a, append(matchers, s.matchers...), s)
}

// withoutRepeats keeps the caller's order: it shows in the query.
func withoutRepeats(names []string) []string {
	seen := make(map[string]bool, len(names))
	out := make([]string, 0, len(names))
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

func sortedSet(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *Rule) buildExternal(a Ask, matchers []matcher) (Query, error) {
	var s scope
	var q Query
	if r.Namespaced {
		label, ok := r.association.namespaceLabel()
		if !ok {
			return Query{}, fmt.Errorf("the namespace: %w", ErrNoLabel)
		}
		if r.batches {
			q.NamespaceLabel = label
		}
		if len(a.Namespaces) != 1 {
			s.apart = []string{label}
		}
		if len(a.Namespaces) > 0 {
			matchers = append(matchers, equal(label, sortedSet(a.Namespaces)...))
		}
	}
	return r.finish(q, a, matchers, s)
}

func (r *Rule) finish(q Query, a Ask, matchers []matcher, s scope) (Query, error) {
	always := append(slices.Clone(r.static), labelsAsMatchers(a.MatchLabels)...)
	matchers = append(matchers, always...)
	if s.groupBy == nil {
		s.groupBy = []string{} // prints as [], like an empty slice of the old adapter
	}
	text, err := r.query.render(a.Series, matchers, s.groupBy)
	if err != nil {
		return Query{}, err
	}
	n, err := readQuery(text)
	if err == nil && len(always) > 0 { // also where the template has no <<.LabelMatchers>>
		text = narrow(text, n, always)
		n, err = readQuery(text)
	}
	q.Value = text
	if len(s.apart) > 0 && (!r.batches || err != nil || !separableBy(n, s.apart, matchers)) {
		return Query{}, ErrNotBatched
	}
	if err == nil {
		q.Window = n.longestWindow()
	}
	if r.Age == EvaluationAge {
		return q, nil
	}
	if err != nil {
		return Query{}, fmt.Errorf("%w: %w", ErrNoAge, err)
	}
	age, ok := ages{text}.of(n)
	if !ok || age.none() {
		return Query{}, ErrNoAge
	}
	if r.Kind == Custom {
		age = ages{text}.per(age, n, s.groupBy)
	}
	q.Age = age.promql(text)
	return q, nil
}

func labelsAsMatchers(labels map[string]string) (out []matcher) {
	for _, label := range sortedKeys(labels) {
		out = append(out, equal(label, labels[label]))
	}
	return out
}

// Narrow adds label matchers to a series selector, such as those of a backend to
// a rule's SeriesQuery. One that cannot be read is left as it is.
func Narrow(selector string, labels map[string]string) string {
	n, err := readQuery(selector)
	if err != nil || len(labels) == 0 {
		return selector
	}
	return narrow(selector, n, labelsAsMatchers(labels))
}

// narrow adds matchers to every selector of a query that lacks them.
func narrow(text string, n *node, matchers []matcher) string {
	type insertion struct {
		at   int
		text string
	}
	var insertions []insertion
	n.walk(func(n *node) {
		if n.kind != nodeSelector || hasAllOf(matchers)(n.matchers) {
			return
		}
		add := make([]string, len(matchers))
		for i, m := range matchers {
			add[i] = m.String()
		}
		in := insertion{n.braceEnd, strings.Join(add, ",")}
		if text[n.braceEnd-1] != '}' { // a name alone
			in.text = "{" + in.text + "}"
		} else {
			in.at--
			if before := strings.TrimRight(text[n.start:in.at], " \t\r\n"); !strings.HasSuffix(before, "{") && !strings.HasSuffix(before, ",") {
				in.text = "," + in.text
			}
		}
		insertions = append(insertions, in)
	})
	slices.SortFunc(insertions, func(a, b insertion) int { return b.at - a.at }) // from the end: positions stay true
	for _, in := range insertions {
		text = text[:in.at] + in.text + text[in.at:]
	}
	return text
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
