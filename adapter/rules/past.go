package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The past of a metric is asked for in one query, with the objects summed up: Prometheus is asked over days, in which pods by
// the thousand came and went, and only their sum is wanted.

// pastObject is the label under which Together tells objects of several rules apart.
const pastObject = "headroom_object"

// BuildPast writes the query for all objects of the Ask's namespaces whose name matches a regular expression (of RE2, anchored
// at both ends), as they were at any time. They need not exist any more, which is why they are not named. An external
// rule has no objects, and names is not looked at. Ages are not asked for. The expression goes into quotes that a template wrote,
// so it must not have quotes or backslashes: a dot is [.].
func (r *Rule) BuildPast(a Ask, names string, rs Resources) (Query, error) {
	past := *r
	past.Age = EvaluationAge
	if r.Kind == External {
		return past.Build(a, rs)
	}
	if strings.ContainsAny(names, "\"\\`") {
		return Query{}, fmt.Errorf("rule %s: names: %q: must be an expression without quotes and backslashes", r.Name, names)
	}
	selector, err := r.selectorMatchers(a.Selector)
	if err != nil {
		return Query{}, fmt.Errorf("rule %s: selector: %w", r.Name, err)
	}
	label, ok := r.LabelFor(a.Resource, rs)
	if !ok {
		return Query{}, fmt.Errorf("rule %s: %s: %w", r.Name, a.Resource, ErrNoLabel)
	}
	matchers := selector
	if r.Namespaced && len(a.Namespaces) > 0 {
		space, ok := r.association.namespaceLabel()
		if !ok {
			return Query{}, fmt.Errorf("rule %s: the namespace: %w", r.Name, ErrNoLabel)
		}
		matchers = append(matchers, equal(space, sortedSet(a.Namespaces)...))
	}
	matchers = append(matchers, matcher{label: label, values: []string{names}, regex: true, raw: true})
	q, err := past.finish(Query{ResourceLabel: label}, a, matchers, scope{groupBy: []string{label}})
	if err != nil {
		return Query{}, fmt.Errorf("rule %s: %w", r.Name, err)
	}
	return q, nil
}

// Together is the sum over all objects of what BuildPast gave for one metric, best rule first. Each object counts once, with the
// value of the best rule that has one for it at the time: as in the store. Of External queries the first that has an answer counts.
// count is how many objects the sum is of, "" for External.
func Together(kind Kind, queries []Query) (sum, count string, err error) {
	if len(queries) == 0 {
		return "", "", errors.New("no rule gives it")
	}
	parts := make([]string, len(queries))
	for i, q := range queries {
		switch {
		case kind == External:
			parts[i] = "sum(" + bracketed(q.Value) + ")"
		case len(queries) == 1 || sameLabel(queries):
			parts[i] = "max by (" + labelText(q.ResourceLabel) + ") (" + bracketed(q.Value) + ")"
		default:
			parts[i] = fmt.Sprintf("max by (%s) (label_replace(%s, %q, \"$1\", %q, \"(.+)\"))", pastObject, bracketed(q.Value), pastObject, q.ResourceLabel)
		}
	}
	all := strings.Join(parts, " or ")
	if kind == External {
		return all, "", nil
	}
	return "sum(" + all + ")", "count(" + all + ")", nil
}

func sameLabel(queries []Query) bool {
	return !slices.ContainsFunc(queries, func(q Query) bool { return q.ResourceLabel != queries[0].ResourceLabel })
}

// bracketed keeps a comment at a query's end, if it has one, from swallowing what follows.
func bracketed(query string) string {
	if strings.Contains(query, "#") {
		query += "\n"
	}
	return "(" + query + ")"
}
