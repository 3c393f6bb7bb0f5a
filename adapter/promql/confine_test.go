package promql

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

func TestConfine(t *testing.T) {
	for _, test := range []struct {
		name, query, want string
	}{
		{"a name", `up`, `up{namespace="team-a"}`},
		{"empty braces", `{__name__="up"}`, `{__name__="up",namespace="team-a"}`},
		{"a pattern of names", `sum({__name__=~".+"})`, `sum({__name__=~".+",namespace="team-a"})`},
		{"its own namespace", `up{namespace="team-a"}`, `up{namespace="team-a",namespace="team-a"}`},
		{"another namespace selects nothing", `up{namespace="team-b"}`, `up{namespace="team-a",namespace="team-b"}`},
		{"any namespace", `up{namespace=~".*"}`, `up{namespace="team-a",namespace=~".*"}`},
		{"a range", `sum(rate(x_total[1m]))`, `sum(rate(x_total{namespace="team-a"}[1m]))`},
		{"every selector", `sum(rate(a[1m])) / on () sum(b offset 5m) or vector(0) + scalar(c)`,
			`sum(rate(a{namespace="team-a"}[1m])) / on () sum(b{namespace="team-a"} offset 5m) or vector(0) + scalar(c{namespace="team-a"})`},
		{"the parameter of an aggregation", `topk(scalar(a), b)`, `topk(scalar(a{namespace="team-a"}), b{namespace="team-a"})`},
		{"a subquery", `max_over_time(sum(a)[10m:1m])`, `max_over_time(sum(a{namespace="team-a"})[10m:1m])`},
		{"a label that is made up later", `label_replace(a, "namespace", "team-b", "", "")`, `label_replace(a{namespace="team-a"}, "namespace", "team-b", "", "")`},
		{"a comment", "sum(a) # }{ or b", `sum(a{namespace="team-a"})`},
		{"a name in quotes", `{"my.metric",pod!=""}`, `{__name__="my.metric",namespace="team-a",pod!=""}`},
		{"a week ago", `sum(a offset 1w)`, `sum(a{namespace="team-a"} offset 1w)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Confine(test.query, "namespace", "team-a", DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name, query, why string
	}{
		{"no query", ``, "no expression"},
		{"no PromQL", `sum(`, "unclosed"},
		{"another dialect", `{namespace="team-a" or namespace="team-b"}`, "unexpected"},
		{"WITH", `WITH (x = up) x`, "unexpected"},
		{"a function that selects by itself", `info(up)`, "info"},
		{"a fixed time", `sum(a @ 0)`, "modifier @"},
		{"the end of the range", `sum(a @ end())`, "modifier @"},
		{"a fixed time of a subquery", `max_over_time(sum(a)[10m:1m] @ 0)`, "modifier @"},
		{"a month", `sum(rate(a[30d]))`, "into the past"},
		{"a month by offset", `sum(a offset 30d)`, "into the past"},
		{"the future counts too", `sum(a offset -30d)`, "into the past"},
		{"a month by pieces", `max_over_time(sum(rate(a[5d]))[5d:1h])`, "into the past"},
		{"a fine subquery", `max_over_time(sum(a)[1d:1s])`, "points"},
		{"a subquery without a step", `max_over_time(sum(a)[1d:])`, "points"},
		{"subqueries in one another", `max_over_time(max_over_time(sum(a)[1h:1m])[1h:1m])`, "points"},
		{"a range", `a[5m]`, "range vector"},
		{"a text", `"a"`, "string"},
		{"a number", `1 + 1`, "no selector"},
		{"very many", strings.Repeat("a + ", 30) + "a", "selectors"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Confine(test.query, "namespace", "team-a", DefaultLimits())
			if err == nil || !strings.Contains(err.Error(), test.why) {
				t.Errorf("%q, %v; want an error with %q", got, err, test.why)
			}
			if Check(test.query, DefaultLimits()) == nil {
				t.Error("Check lets it pass")
			}
		})
	}
}

// FuzzConfine: what passes can be read again, prints the same again, and has the matcher in every selector that stands in it,
// counted by their types in a walk of its own; the number of selectors is that of the original.
func FuzzConfine(f *testing.F) {
	for _, seed := range []string{
		`up`, `sum(rate(a{b="c"}[5m])) by (pod) / ignoring(x) group_left(y) count(b)`, `max_over_time(sum(a)[10m:1m] offset 1m)`,
		`{"a.b","c.d"="e"}`, `topk(3, a) or absent(b{c!~"d"})`, `histogram_quantile(0.9, sum by (le) (rate(a_bucket[1m])))`, `-a ^ 2`,
		`label_join(a, "namespace", "", "b")`, `a{namespace=""}`, `a{namespace="x",namespace!="y"} and on() b`, `count_values("namespace", a)`,
	} {
		f.Add(seed, "team-a")
	}
	f.Add(`up`, "\"}\\ or {a=\"")
	f.Fuzz(func(t *testing.T, query, namespace string) {
		got, err := Confine(query, "namespace", namespace, Limits{Lookback: 365 * 24 * time.Hour, SubqueryPoints: 1 << 30, Selectors: 1 << 20})
		if err != nil {
			return
		}
		before, err := read.ParseExpr(query)
		if err != nil {
			t.Fatal(err)
		}
		after, err := read.ParseExpr(got)
		if err != nil {
			t.Fatalf("%q became %q: %v", query, got, err)
		}
		if again := after.String(); again != got {
			t.Errorf("%q prints as %q", got, again)
		}
		selectors := selectorsOf(after)
		if len(selectors) != len(selectorsOf(before)) {
			t.Errorf("%q became %q, with another number of selectors", query, got)
		}
		for _, s := range selectors {
			kept := false
			for _, m := range s.LabelMatchers {
				kept = kept || m.Type == labels.MatchEqual && m.Name == "namespace" && m.Value == namespace
			}
			if !kept {
				t.Errorf("%q became %q, where %s is not confined", query, got, s)
			}
		}
	})
}

// selectorsOf knows all the kinds of expressions itself, so that a walk that forgets one is found.
func selectorsOf(n parser.Node) []*parser.VectorSelector {
	var found []*parser.VectorSelector
	add := func(children ...parser.Expr) {
		for _, c := range children {
			if c != nil {
				found = append(found, selectorsOf(c)...)
			}
		}
	}
	switch n := n.(type) {
	case *parser.VectorSelector:
		return []*parser.VectorSelector{n}
	case *parser.MatrixSelector:
		add(n.VectorSelector)
	case *parser.SubqueryExpr:
		add(n.Expr)
	case *parser.AggregateExpr:
		add(n.Expr)
		if n.Param != nil {
			add(n.Param)
		}
	case *parser.BinaryExpr:
		add(n.LHS, n.RHS)
	case *parser.Call:
		add(n.Args...)
	case *parser.ParenExpr:
		add(n.Expr)
	case *parser.UnaryExpr:
		add(n.Expr)
	case *parser.StepInvariantExpr:
		add(n.Expr)
	case *parser.NumberLiteral, *parser.StringLiteral:
	default:
		panic("an expression of a kind that this does not know")
	}
	return found
}
