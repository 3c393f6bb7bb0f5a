package rules

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// A slow and obvious evaluator of the PromQL subset that batch.go judges: the
// oracle for "one wide query answers as many narrow ones". It shares nothing
// with the judgement but the parsed expression. A series has two samples, then
// and now; rate is their difference.

type labels map[string]string

func (l labels) key() string {
	var parts []string
	for k, v := range l {
		if v != "" {
			parts = append(parts, k+"="+strconv.Quote(v))
		}
	}
	sort.Strings(parts)
	return strings.Join(parts, ",")
}

func (l labels) keep(names ...string) labels {
	out := labels{}
	for _, n := range names {
		if l[n] != "" {
			out[n] = l[n]
		}
	}
	return out
}

func (l labels) drop(names ...string) labels {
	out := labels{}
	for k, v := range l {
		if !slices.Contains(names, k) {
			out[k] = v
		}
	}
	return out
}

type testSeries struct {
	labels    labels
	then, now float64
}

type sample struct {
	labels labels
	value  float64
}

type evaluator struct {
	src  string
	data []testSeries
}

func (e evaluator) scalar(n *node) (float64, error) {
	return strconv.ParseFloat(strings.Trim(e.src[n.start:n.end], "()"), 64)
}

func (e evaluator) vector(n *node) ([]sample, error) {
	switch n.kind {
	case nodeSelector:
		return e.choose(n, func(s testSeries) float64 { return s.now }), nil
	case nodeUnary:
		v, err := e.vector(n.args[0])
		if n.op == "-" {
			return each(v, func(x float64) float64 { return -x }, err)
		}
		return v, err
	case nodeCall:
		return e.call(n)
	case nodeAggregate:
		return e.aggregate(n)
	case nodeBinary:
		return e.binary(n)
	}
	return nil, fmt.Errorf("not a vector: %s", e.src[n.start:n.end])
}

func (e evaluator) choose(n *node, value func(testSeries) float64) (out []sample) {
	for _, s := range e.data {
		ok := n.name == "" || s.labels["__name__"] == n.name
		for _, m := range n.matchers {
			switch v := s.labels[m.label]; m.op {
			case "=":
				ok = ok && v == m.value
			case "!=":
				ok = ok && v != m.value
			case "=~":
				ok = ok && anchored(m.value).MatchString(v)
			case "!~":
				ok = ok && !anchored(m.value).MatchString(v)
			}
		}
		if ok {
			out = append(out, sample{s.labels, value(s)})
		}
	}
	return out
}

var expressions sync.Map // of the few patterns that the tests use

func anchored(pattern string) *regexp.Regexp {
	re, ok := expressions.Load(pattern)
	if !ok {
		re, _ = expressions.LoadOrStore(pattern, regexp.MustCompile("^(?:"+pattern+")$"))
	}
	return re.(*regexp.Regexp)
}

// each drops the name, as functions do, and fails on twins.
func each(in []sample, f func(float64) float64, err error) ([]sample, error) {
	seen := map[string]bool{}
	var out []sample
	for _, s := range in {
		l := s.labels.drop("__name__")
		if seen[l.key()] && err == nil {
			err = fmt.Errorf("twins %s", l.key())
		}
		seen[l.key()] = true
		out = append(out, sample{l, f(s.value)})
	}
	return out, err
}

func (e evaluator) call(n *node) ([]sample, error) {
	same := func(x float64) float64 { return x }
	switch n.op {
	case "rate":
		return each(e.choose(n.args[0], func(s testSeries) float64 { return s.now - s.then }), same, nil)
	case "max_over_time": // of a subquery: then is not kept through expressions, so it is the value now
		v, err := e.vector(n.args[0].args[0])
		return each(v, same, err)
	case "abs":
		v, err := e.vector(n.args[0])
		return each(v, math.Abs, err)
	case "clamp_max":
		v, err := e.vector(n.args[0])
		limit, _ := e.scalar(n.args[1])
		return each(v, func(x float64) float64 { return min(x, limit) }, err)
	case "histogram_quantile": // any function of the buckets will do: here, a weighted sum
		v, err := e.vector(n.args[1])
		sums := map[string]*sample{}
		for _, s := range v {
			l := s.labels.drop("le", "__name__")
			if sums[l.key()] == nil {
				sums[l.key()] = &sample{labels: l}
			}
			sums[l.key()].value += s.value * float64(1+len(s.labels["le"]))
		}
		return flat(sums), err
	}
	return nil, fmt.Errorf("no function %s", n.op)
}

func flat(m map[string]*sample) (out []sample) {
	for _, s := range m {
		out = append(out, *s)
	}
	return out
}

func (e evaluator) aggregate(n *node) ([]sample, error) {
	v, err := e.vector(n.args[len(n.args)-1])
	groups := map[string][]sample{}
	group := func(l labels) labels {
		if n.without {
			return l.drop(append(n.labels, "__name__")...)
		}
		return l.keep(n.labels...)
	}
	for _, s := range v {
		key := group(s.labels).key()
		groups[key] = append(groups[key], s)
	}
	var out []sample
	for _, g := range groups {
		sort.Slice(g, func(i, j int) bool { return g[i].value < g[j].value })
		if n.op == "topk" {
			out = append(out, g[len(g)-1])
			continue
		}
		r := sample{labels: group(g[0].labels)}
		switch n.op {
		case "min":
			r.value = g[0].value
		case "max":
			r.value = g[len(g)-1].value
		case "count":
			r.value = float64(len(g))
		default:
			for _, s := range g {
				r.value += s.value
			}
		}
		out = append(out, r)
	}
	return out, err
}

func (e evaluator) binary(n *node) ([]sample, error) {
	op := func(a, b float64) (float64, bool) {
		switch n.op {
		case "+":
			return a + b, true
		case "*":
			return a * b, true
		case ">":
			return a, a > b
		}
		panic(n.op)
	}
	if n.args[1].kind == nodeScalar {
		limit, _ := e.scalar(n.args[1])
		v, err := e.vector(n.args[0])
		var out []sample
		for _, s := range v {
			if got, keep := op(s.value, limit); keep {
				out = append(out, sample{s.labels, got})
			}
		}
		if n.op == ">" {
			return out, err
		}
		return each(out, func(x float64) float64 { return x }, err)
	}
	left, err := e.vector(n.args[0])
	if err != nil {
		return nil, err
	}
	right, err := e.vector(n.args[1])
	if err != nil {
		return nil, err
	}
	signature := func(l labels) string {
		if n.matching.on {
			return l.keep(n.matching.labels...).key()
		}
		return l.drop(append(n.matching.labels, "__name__")...).key()
	}
	in := map[string][]sample{}
	for _, s := range right {
		in[signature(s.labels)] = append(in[signature(s.labels)], s)
	}
	var out []sample
	used := map[string]bool{}
	for _, s := range left {
		key := signature(s.labels)
		switch n.op {
		case "and":
			if len(in[key]) > 0 {
				out = append(out, s)
			}
		case "unless":
			if len(in[key]) == 0 {
				out = append(out, s)
			}
		case "or":
			out = append(out, s)
		default:
			if len(in[key]) == 0 {
				continue
			}
			if len(in[key]) > 1 || used[key] {
				return nil, fmt.Errorf("many to many")
			}
			got, keep := op(s.value, in[key][0].value)
			l := s.labels
			if n.matching.on {
				l = l.keep(n.matching.labels...)
			} else {
				l = l.drop(append(n.matching.labels, "__name__")...)
			}
			if keep {
				out = append(out, sample{l, got})
			}
		}
		used[key] = true
	}
	if n.op == "or" {
		for _, s := range right {
			if !used[signature(s.labels)] {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// evaluate gives the result as sorted "labels value" lines.
func evaluate(text string, data []testSeries) ([]sample, error) {
	n, err := readQuery(text)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return evaluator{text, data}.vector(n)
}

func lines(in []sample) []string {
	var out []string
	for _, s := range in {
		out = append(out, fmt.Sprintf("{%s} %v", s.labels.key(), s.value))
	}
	sort.Strings(out)
	return out
}
