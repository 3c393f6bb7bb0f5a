package rules

import "slices"

// The question of this file: may one query stand for many? A query is
// separable by a set of labels when the part of its result that carries the
// values v of these labels depends on the series that carry v alone. Then one
// query over all values gives, for each, what a query narrowed to it would give,
// and narrowing may happen before or after. The proof goes by the shape of the
// expression; a shape that is not known here is not separable.
//
// One more thing must hold: the wide query may not fail where the narrow one
// would not. PromQL fails when two samples of an operand have the same labels, so
// every operand must be free of twins, which a series' literal name guarantees
// at the bottom and every shape below preserves.

// labelSet is which labels samples carry: these, or all but these.
type labelSet struct {
	allBut bool
	labels []string
}

func (s labelSet) has(label string) bool { return slices.Contains(s.labels, label) != s.allBut }

func (s labelSet) hasAll(labels []string) bool {
	return !slices.ContainsFunc(labels, func(l string) bool { return !s.has(l) })
}

func (s labelSet) without(labels ...string) labelSet {
	if s.allBut {
		return labelSet{true, append(slices.Clone(s.labels), labels...)}
	}
	return labelSet{false, slices.DeleteFunc(slices.Clone(s.labels), func(l string) bool { return slices.Contains(labels, l) })}
}

func (s labelSet) only(labels []string) labelSet {
	return labelSet{false, slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return !s.has(l) })}
}

// and is what samples of either of two sets carry for certain.
func (s labelSet) and(t labelSet) labelSet {
	switch {
	case s.allBut && t.allBut:
		return s.without(t.labels...)
	case s.allBut:
		return t.without(s.labels...)
	case t.allBut:
		return s.without(t.labels...)
	}
	return s.only(t.labels)
}

// separation is the question for one query.
type separation struct {
	by []string // the labels to separate by
	// narrowed says whether a selector has the matchers that the narrow query
	// narrows by. A selector without them would read other objects' series.
	narrowed func([]labelMatcher) bool
}

// separable reports whether n is, and which labels its samples carry.
func (q separation) separable(n *node) (labelSet, bool) {
	set, ok := q.shape(n)
	return set, ok && set.hasAll(q.by)
}

func (q separation) shape(n *node) (labelSet, bool) {
	switch n.kind {
	case nodeSelector:
		return labelSet{true, []string{"__name__"}}, n.name != "" && n.window == 0 && q.narrowed(n.matchers)
	case nodeUnary:
		return q.separable(n.args[0])
	case nodeCall:
		return q.call(n)
	case nodeAggregate:
		return q.aggregate(n)
	case nodeBinary:
		return q.binary(n)
	}
	return labelSet{}, false
}

func (q separation) call(n *node) (labelSet, bool) {
	f, known := functions[n.op]
	if !known || !f.separable || f.vector >= len(n.args) {
		return labelSet{}, false
	}
	for i, arg := range n.args {
		if i != f.vector && arg.kind != nodeScalar {
			return labelSet{}, false
		}
	}
	arg := n.args[f.vector]
	if f.takesRange {
		return q.overTime(arg)
	}
	set, ok := q.separable(arg)
	if f.dropsLe {
		set = set.without("le")
	}
	return set, ok && set.hasAll(q.by)
}

// overTime is the argument of rate and its like: series{…}[5m] or (…)[1h:1m].
func (q separation) overTime(n *node) (labelSet, bool) {
	switch {
	case n.kind == nodeSubquery:
		return q.separable(n.args[0])
	case n.kind == nodeSelector && n.window > 0:
		return labelSet{true, []string{"__name__"}}, n.name != "" && q.narrowed(n.matchers)
	}
	return labelSet{}, false
}

func (q separation) aggregate(n *node) (labelSet, bool) {
	switch n.op {
	case "topk", "bottomk", "count_values", "limitk", "limit_ratio": // choose between samples, or make labels
		return labelSet{}, false
	}
	if n.op == "quantile" && n.args[0].kind != nodeScalar {
		return labelSet{}, false
	}
	set, ok := q.separable(n.args[len(n.args)-1])
	if n.without {
		set = set.without(n.labels...).without("__name__")
	} else {
		set = set.only(n.labels)
	}
	return set, ok && set.hasAll(q.by)
}

func (q separation) binary(n *node) (labelSet, bool) {
	left, right, m := n.args[0], n.args[1], n.matching
	if right.kind == nodeScalar {
		return q.separable(left)
	}
	if left.kind == nodeScalar {
		return q.separable(right)
	}
	a, okA := q.separable(left)
	b, okB := q.separable(right)
	if !okA || !okB || m.ignoring || m.group != "" {
		return labelSet{}, false
	}
	set := a
	if !m.on && a.allBut != b.allBut {
		// Series as they are carry the namespace; sums by <<.GroupBy>> do so in the
		// wide query only. They would match each other there, and not in the narrow.
		return labelSet{}, false
	}
	if m.on {
		// Samples of different objects must not match each other …
		if !(labelSet{labels: m.labels}).hasAll(q.by) {
			return labelSet{}, false
		}
		// … and there must be one on either side, or in a union no twins, where
		// on (…) is narrower than the labels. Then all labels of both are in on (…).
		if n.op != "and" && n.op != "unless" {
			all := labelSet{labels: m.labels}
			if a.allBut || b.allBut || !all.hasAll(a.labels) || !all.hasAll(b.labels) {
				return labelSet{}, false
			}
		}
	}
	if n.op == "or" {
		set = a.and(b)
	}
	return set, set.hasAll(q.by)
}

// function says what the reader knows of a PromQL function.
type function struct {
	vector     int  // the argument that holds samples
	takesRange bool // that argument is over time
	separable  bool // each result sample comes from one input sample or series
	dropsLe    bool // histogram_quantile: the buckets of one histogram become one sample
}

// functions by name. One that is not here makes a query unreadable; one that is
// not separable (sort, label_replace) can still have its age named.
var functions = func() map[string]function {
	out := map[string]function{
		"clamp": {separable: true}, "clamp_max": {separable: true}, "clamp_min": {separable: true}, "round": {separable: true},
		"predict_linear": {takesRange: true, separable: true}, "holt_winters": {takesRange: true, separable: true},
		"double_exponential_smoothing": {takesRange: true, separable: true},
		"quantile_over_time":           {vector: 1, takesRange: true, separable: true},
		"histogram_quantile":           {vector: 1, separable: true, dropsLe: true},
		"histogram_fraction":           {vector: 2, separable: true, dropsLe: true},
		"label_replace":                {}, "label_join": {}, "sort": {}, "sort_desc": {},
	}
	for _, name := range []string{"abs", "ceil", "exp", "floor", "ln", "log10", "log2", "sgn", "sqrt", "acos", "acosh", "asin", "asinh",
		"atan", "atanh", "cos", "cosh", "sin", "sinh", "tan", "tanh", "deg", "rad", "timestamp",
		"histogram_avg", "histogram_count", "histogram_sum", "histogram_stddev", "histogram_stdvar"} {
		out[name] = function{separable: true}
	}
	for _, name := range []string{"rate", "irate", "increase", "delta", "idelta", "deriv", "changes", "resets",
		"avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "stddev_over_time", "stdvar_over_time",
		"last_over_time", "first_over_time", "present_over_time", "mad_over_time"} {
		out[name] = function{takesRange: true, separable: true}
	}
	return out
}()
