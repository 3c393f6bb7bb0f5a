package promql

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Limits bound what one evaluation of a query may look at.
type Limits struct {
	// Lookback is how far into the past it may reach: ranges, offsets and subqueries taken together.
	Lookback time.Duration
	// SubqueryPoints is how many times subqueries may evaluate what is in them, for one point.
	SubqueryPoints int
	// Selectors is how many selectors there may be.
	Selectors int
}

// DefaultLimits are enough for any rate, and for comparing with the same time a week ago.
func DefaultLimits() Limits {
	return Limits{Lookback: 8 * 24 * time.Hour, SubqueryPoints: 120, Selectors: 20}
}

// subqueryStep is what a subquery without a step of its own is taken to have: the shortest evaluation interval in common use.
const subqueryStep = 15 * time.Second

// read refuses experimental functions, so that a newer parser does not let in what this page was not written for.
var read = parser.NewParser(parser.Options{})

// Check reads a query and says everything that is wrong with it.
func Check(query string, limits Limits) error {
	_, err := examine(query, limits)
	return err
}

// Confine gives the query with label=value as a matcher in every selector.
func Confine(query, label, value string, limits Limits) (string, error) {
	expr, err := examine(query, limits)
	if err != nil {
		return "", err
	}
	matcher, err := labels.NewMatcher(labels.MatchEqual, label, value)
	if err != nil {
		return "", err
	}
	each(expr, func(s *parser.VectorSelector) { s.LabelMatchers = append(s.LabelMatchers, matcher) })
	confined := expr.String()
	// What was printed is read again and looked at: a mistake of the printer must not open a door.
	again, err := read.ParseExpr(confined)
	if err != nil {
		return "", fmt.Errorf("the query cannot be written again with its namespace: %w", err)
	}
	each(again, func(s *parser.VectorSelector) {
		if !has(s, matcher) {
			err = errors.New("the query cannot be written again with its namespace in every selector")
		}
	})
	if err != nil {
		return "", err
	}
	return confined, nil
}

func has(s *parser.VectorSelector, matcher *labels.Matcher) bool {
	for _, m := range s.LabelMatchers {
		if m.Type == matcher.Type && m.Name == matcher.Name && m.Value == matcher.Value {
			return true
		}
	}
	return false
}

func each(expr parser.Expr, visit func(*parser.VectorSelector)) {
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			visit(s)
		}
		return nil
	})
}

func examine(query string, limits Limits) (parser.Expr, error) {
	expr, err := read.ParseExpr(query)
	if err != nil {
		return nil, err
	}
	x := examination{limits: limits}
	if t := expr.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		x.refuse("it gives a %s; demand is an instant vector of one sample, or a scalar", parser.DocumentedType(t))
	}
	x.look(expr, 0, 1)
	if x.selectors == 0 {
		x.refuse("it has no selector: a demand that is measured nowhere")
	}
	if x.selectors > limits.Selectors {
		x.refuse("it has %d selectors; at most %d are allowed", x.selectors, limits.Selectors)
	}
	return expr, errors.Join(x.problems...)
}

type examination struct {
	limits    Limits
	selectors int
	problems  []error
}

func (x *examination) refuse(format string, args ...any) {
	x.problems = append(x.problems, fmt.Errorf(format, args...))
}

// look goes down the tree. back is how far into the past what is above reaches, points how often it evaluates this.
func (x *examination) look(n parser.Node, back time.Duration, points int64) {
	switch n := n.(type) {
	case *parser.VectorSelector:
		x.selectors++
		x.moved(n.Timestamp, n.StartOrEnd, n.OriginalOffsetExpr)
		if n.Anchored || n.Smoothed {
			x.refuse("anchored and smoothed are experimental and not allowed")
		}
		if back += n.OriginalOffset.Abs(); back > x.limits.Lookback {
			x.refuse("%s reaches %s into the past; at most %s is allowed", n, back, x.limits.Lookback)
		}
		return
	case *parser.MatrixSelector:
		x.fixed(n.RangeExpr)
		back += n.Range
	case *parser.SubqueryExpr:
		x.moved(n.Timestamp, n.StartOrEnd, n.OriginalOffsetExpr)
		x.fixed(n.RangeExpr)
		x.fixed(n.StepExpr)
		step := n.Step
		if step <= 0 {
			step = subqueryStep
		}
		points = min(points, 1<<20) * min(1+int64(n.Range/step), 1<<20)
		if points > int64(x.limits.SubqueryPoints) {
			x.refuse("its subqueries evaluate %d points for one; at most %d are allowed", points, x.limits.SubqueryPoints)
		}
		back += n.Range + n.OriginalOffset.Abs()
	}
	for child := range parser.ChildrenIter(n) {
		x.look(child, back, points)
	}
}

func (x *examination) moved(at *int64, startOrEnd parser.ItemType, offset *parser.DurationExpr) {
	if at != nil || startOrEnd != 0 {
		x.refuse("the modifier @ is not allowed: demand is of now")
	}
	x.fixed(offset)
}

func (x *examination) fixed(d *parser.DurationExpr) {
	if d != nil {
		x.refuse("%s: durations that are calculated are not allowed", d)
	}
}
