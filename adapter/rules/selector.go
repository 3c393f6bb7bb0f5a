package rules

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Operator is a Kubernetes label selector's operator.
type Operator int

const (
	Equals Operator = iota + 1
	NotEquals
	In
	NotIn
	Exists
	DoesNotExist
	GreaterThan // no PromQL matcher says this: Build refuses it
	LessThan
)

func (o Operator) String() string {
	switch o {
	case Equals:
		return "="
	case NotEquals:
		return "!="
	case In:
		return "in"
	case NotIn:
		return "notin"
	case Exists:
		return "exists"
	case DoesNotExist:
		return "!"
	case GreaterThan:
		return "gt"
	case LessThan:
		return "lt"
	}
	return "none"
}

// Requirement is one of a Kubernetes label selector.
type Requirement struct {
	Key      string
	Operator Operator
	Values   []string
}

// Selector is requirements that must all hold. The empty selector selects all.
type Selector []Requirement

// String is canonical: two selectors that ask the same print the same. It is
// the PromQL that they become, so `in (v)` and `= v` are one.
func (s Selector) String() string {
	parts := make([]string, len(s))
	for i, req := range s {
		if m, err := req.matcher(false); err == nil {
			parts[i] = m.String()
		} else {
			parts[i] = fmt.Sprintf("%s %s %q", req.Key, req.Operator, req.sortedValues())
		}
	}
	sort.Strings(parts)
	return strings.Join(slices.Compact(parts), ",")
}

// Matches says whether a series with these labels would pass the PromQL
// matchers that the selector becomes. As in PromQL, a label that is not there
// is a label with the value "". A requirement that has no PromQL matches nothing.
func (s Selector) Matches(labels map[string]string) bool {
	for _, req := range s {
		m, err := req.matcher(false)
		if err != nil || !m.matches(labels[req.Key]) {
			return false
		}
	}
	return true
}

// sorted is by key, as the selectors of the Kubernetes libraries are; the order
// shows in queries, and people compare those.
func (s Selector) sorted() Selector {
	out := slices.Clone(s)
	sort.SliceStable(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

// sortedValues is the set of values in order; the library's are sets too.
func (q Requirement) sortedValues() []string {
	out := slices.Clone(q.Values)
	sort.Strings(out)
	return slices.Compact(out)
}

// matcher is the PromQL of one requirement. raw is prometheus-adapter's
// reading: a set of one is a regular expression, and nothing is escaped.
func (q Requirement) matcher(raw bool) (matcher, error) {
	if q.Key == "" {
		return matcher{}, fmt.Errorf("label not specified")
	}
	values := q.sortedValues()
	m := matcher{label: q.Key, values: values, raw: raw}
	switch q.Operator {
	case Equals, NotEquals, In, NotIn:
		if len(values) == 0 {
			return matcher{}, fmt.Errorf("%s %s: %w", q.Key, q.Operator, ErrValuesRequired)
		}
		m.negative = q.Operator == NotEquals || q.Operator == NotIn
		m.regex = len(values) > 1 || raw && (q.Operator == In || q.Operator == NotIn)
	case Exists, DoesNotExist:
		if len(values) > 0 {
			return matcher{}, fmt.Errorf("%s %s: %w", q.Key, q.Operator, ErrValuesRefused)
		}
		m.values, m.negative = []string{""}, q.Operator == Exists
	default:
		return matcher{}, fmt.Errorf("%s %s: %w", q.Key, q.Operator, ErrUnsupportedOperator)
	}
	return m, nil
}

// matcher is one PromQL label matcher over a set of values.
type matcher struct {
	label    string
	values   []string // one or more
	negative bool
	regex    bool // written with =~; always so for several values
	raw      bool // values stand in the regular expression as they are
}

func equal(label string, values ...string) matcher {
	return matcher{label: label, values: values, regex: len(values) > 1}
}

func (m matcher) String() string {
	value := m.values[0]
	if m.regex {
		value = alternation(m.values, m.raw)
	}
	return labelText(m.label) + m.operator() + strconv.Quote(value)
}

func (m matcher) operator() string {
	switch {
	case m.regex && m.negative:
		return "!~"
	case m.regex:
		return "=~"
	case m.negative:
		return "!="
	}
	return "="
}

// matches holds for what String means, except for raw regular expressions,
// which are never judged in memory.
func (m matcher) matches(value string) bool {
	return slices.Contains(m.values, value) != m.negative
}

// alternation escapes the names: a dot in a node's name is a dot.
func alternation(values []string, raw bool) string {
	if raw {
		return strings.Join(values, "|")
	}
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = regexp.QuoteMeta(v)
	}
	return strings.Join(escaped, "|")
}

// labelText writes a label name; one outside the classic alphabet is quoted,
// which Prometheus reads from 3.0 on, and older ones refuse with a clear error.
func labelText(label string) string {
	if isLabelName(label) {
		return label
	}
	return strconv.Quote(label)
}

// isLabelName: [a-zA-Z_][a-zA-Z0-9_]*
func isLabelName(s string) bool {
	for i, c := range []byte(s) {
		if !isLetter(c) && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return s != ""
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
