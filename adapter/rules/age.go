package rules

import (
	"slices"
	"strings"
	"time"
)

// An answer is as old as the newest raw sample that it stands on, and PromQL
// does not say how old that is: rate(x[5m]) answers for minutes after x died,
// with the evaluation's own time. So every query gets a companion with the same
// labels, written from the query's own selectors:
//
//	sum by (pod) (rate(x{ns="a"}[5m]))   →   max by (pod) (timestamp(x{ns="a"}))
//
// Where a value needs several series (a / b), it is as old as the one of them
// that is oldest: a living b must not hide a dead a. Where it needs one of
// several (a or b), the age is of the one that PromQL takes.
//
// Limits: timestamp() sees the server's lookback (5 minutes by default): a
// sample older than that is not in the companion's answer, and the value that
// stands on it counts as stale. An offset counts as age, for the sample is that
// old. Within one group the newest series counts.

// age is a companion under construction.
type age struct {
	// One selector, aggregated at most once: the common case, kept apart so that
	// nested aggregations collapse into one.
	selector *node
	grouping string // "max by (pod) "; "" for the series as they are
	labels   []string
	// Anything else, as PromQL; "" in the case above. Always one operand of a
	// binary operator: parenthesised or a call.
	text   string
	series int // selectors in text
}

// maxAgeSeries bounds a companion, which grows with every arithmetic operator.
const maxAgeSeries = 32

func (a age) leaves() int {
	if a.selector != nil {
		return 1
	}
	return a.series
}

// none is the age of numbers: they have no series. A query of nothing else has no age.
func (a age) none() bool { return a.selector == nil && a.text == "" }

func (a age) promql(src string) string {
	if a.text != "" || a.selector == nil {
		return a.text
	}
	series := "timestamp(" + src[a.selector.start:a.selector.braceEnd] + a.selector.modifier + ")"
	if a.grouping == "" {
		return series
	}
	return a.grouping + "(" + series + ")"
}

// ageQuery writes the companion of a query; false when its samples cannot be named.
func ageQuery(src string, n *node) (string, bool) {
	a, ok := ages{src}.of(n)
	if !ok || a.none() {
		return "", false
	}
	return a.promql(src), true
}

type ages struct{ src string }

func (c ages) of(n *node) (age, bool) {
	switch n.kind {
	case nodeScalar:
		return age{}, true
	case nodeSelector:
		return age{selector: n}, true
	case nodeUnary, nodeSubquery:
		return c.of(n.args[0])
	case nodeCall:
		return c.call(n)
	case nodeAggregate:
		a, ok := c.of(n.args[len(n.args)-1])
		switch n.op {
		case "topk", "bottomk", "limitk", "limit_ratio": // some of the samples, as they are
			return a, ok
		case "count_values": // its labels are values: no companion has them
			return age{}, false
		}
		return c.group(a, n.without, n.labels), ok
	case nodeBinary:
		return c.binary(n)
	}
	return age{}, false
}

func (c ages) call(n *node) (age, bool) {
	if n.op == "vector" { // a number in a vector's clothes
		return age{}, len(n.args) == 1 && n.args[0].kind == nodeScalar
	}
	f, known := functions[n.op]
	if !known || f.vector >= len(n.args) {
		return age{}, false
	}
	a, ok := c.of(n.args[f.vector])
	switch {
	case !ok || a.none():
		return age{}, false
	case f.dropsLe:
		return c.dropLe(a), true
	case n.op == "label_replace" || n.op == "label_join":
		// The rest of the call stands as it does: it renames labels of the age too.
		rest := c.src[n.args[0].end:n.end]
		return age{text: n.op + "(" + a.promql(c.src) + rest, series: a.leaves()}, true
	}
	return a, true
}

func (c ages) group(a age, without bool, labels []string) age {
	if a.none() {
		return a
	}
	grouping := "max "
	switch {
	case without:
		grouping += "without (" + labelTexts(labels) + ") "
	case len(labels) > 0:
		grouping += "by (" + labelTexts(labels) + ") "
	default:
		grouping = "max"
	}
	plain := a.selector != nil && (a.grouping == "" || !without && isBy(a.grouping) && !slices.ContainsFunc(labels,
		func(l string) bool { return !slices.Contains(a.labels, l) }))
	if plain {
		return age{selector: a.selector, grouping: grouping, labels: labels}
	}
	return age{text: grouping + "(" + a.promql(c.src) + ")", series: a.leaves()}
}

func isBy(grouping string) bool { return grouping == "max" || strings.HasPrefix(grouping, "max by") }

// dropLe follows histogram_quantile. Of a classic histogram one bucket is
// enough, and +Inf is the one that every histogram has.
func (c ages) dropLe(a age) age {
	if a.selector == nil || a.grouping != "" && !isBy(a.grouping) {
		return age{text: "max without (le) (" + a.promql(c.src) + ")", series: a.leaves()}
	}
	sel := a.selector
	if strings.HasSuffix(sel.name, "_bucket") && !slices.ContainsFunc(sel.matchers, func(m labelMatcher) bool { return m.label == "le" }) {
		text := c.src[sel.start:sel.braceEnd]
		if body, ok := strings.CutSuffix(text, "}"); ok {
			body = strings.TrimRight(body, " \t\r\n,")
			if !strings.HasSuffix(body, "{") {
				body += ","
			}
			text = body + `le="+Inf"}`
		} else {
			text += `{le="+Inf"}`
		}
		series := "timestamp(" + text + sel.modifier + ")"
		if a.grouping == "" {
			return age{text: "max without (le) (" + series + ")", series: 1}
		}
		labels := slices.DeleteFunc(slices.Clone(a.labels), func(l string) bool { return l == "le" })
		if len(labels) == 0 {
			return age{text: "max(" + series + ")", series: 1}
		}
		return age{text: "max by (" + labelTexts(labels) + ") (" + series + ")", series: 1}
	}
	if a.grouping == "" {
		return c.group(a, true, []string{"le"})
	}
	return c.group(a, false, slices.DeleteFunc(slices.Clone(a.labels), func(l string) bool { return l == "le" }))
}

func (c ages) binary(n *node) (age, bool) {
	a, okA := c.of(n.args[0])
	b, okB := c.of(n.args[1])
	if !okA || !okB {
		return age{}, false
	}
	left, right := a.promql(c.src), b.promql(c.src)
	switch n.op {
	case "and", "unless": // the value is the left side's
		return a, true
	}
	m := n.matching
	same := left == right && (n.op == "or" || !m.on && !m.ignoring)
	if b.none() || same {
		return a, true
	}
	if a.none() {
		return b, true
	}
	series := a.leaves() + b.leaves()
	if n.op == "or" {
		return age{text: "(" + left + " or " + m.text(false) + right + ")", series: series}, true
	}
	// The smaller of two vectors, absent where either is. Written so that the
	// shorter operand is the one that stands twice: a - max(a - b, 0).
	if m.group == "" {
		if a.leaves() > b.leaves() {
			left, right = right, left
		}
		series += min(a.leaves(), b.leaves())
		left = "(" + left + " - " + m.text(false)
		left += "clamp_min(" + strings.TrimPrefix(left, "(") + right + ", 0))"
		return age{text: left, series: series}, series <= maxAgeSeries
	}
	// Of many to one, only a comparison keeps the labels of the many.
	series *= 2
	text := "((" + left + " <= " + m.text(false) + right + ") or (" + right + " <= " + m.text(true) + left + "))"
	return age{text: text, series: series}, series <= maxAgeSeries
}

// text of the matching, for the operands as they stand or exchanged.
func (m matching) text(exchanged bool) string {
	var b strings.Builder
	switch {
	case m.on:
		b.WriteString("on (" + labelTexts(m.labels) + ") ")
	case m.ignoring:
		b.WriteString("ignoring (" + labelTexts(m.labels) + ") ")
	}
	group := m.group
	if exchanged {
		group = map[string]string{"group_left": "group_right", "group_right": "group_left"}[group]
	}
	if group != "" {
		b.WriteString(group + " (" + labelTexts(m.include) + ") ")
	}
	return b.String()
}

func labelTexts(labels []string) string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = labelText(l)
	}
	return strings.Join(out, ", ")
}

// window is the longest time that the query looks back over, subqueries'
// own ranges included; an offset moves that time and does not lengthen it.
func (n *node) longestWindow() time.Duration {
	var longest time.Duration
	for _, arg := range n.args {
		longest = max(longest, arg.longestWindow())
	}
	if n.kind == nodeSubquery {
		return n.window + longest
	}
	return max(n.window, longest)
}

// per makes one sample for each object of an age that may have several.
func (c ages) per(a age, n *node, objects []string) age {
	everything := func([]labelMatcher) bool { return true }
	set, ok := separation{narrowed: everything}.separable(n)
	if ok && !set.allBut && (labelSet{labels: objects}).hasAll(set.labels) {
		return a
	}
	return c.group(a, false, objects)
}
