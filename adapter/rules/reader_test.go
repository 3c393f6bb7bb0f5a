package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shape prints an expression as the reader understood it.
func (n *node) shape(src string) string {
	var args []string
	for _, a := range n.args {
		args = append(args, a.shape(src))
	}
	list := "(" + strings.Join(args, ", ") + ")"
	switch n.kind {
	case nodeScalar:
		return src[n.start:n.end]
	case nodeSelector:
		text := n.name
		for _, m := range n.matchers {
			text += fmt.Sprintf(" %s%s%q", m.label, m.op, m.value)
		}
		if n.window > 0 {
			text += " over " + n.window.String()
		}
		return "<" + text + n.modifier + ">"
	case nodeSubquery:
		return fmt.Sprintf("over %s%s%s", n.window, list, n.modifier)
	case nodeUnary:
		if n.op == "(" {
			return args[0]
		}
		return n.op + list
	case nodeAggregate:
		by := " by "
		if n.without {
			by = " without "
		}
		return n.op + by + strings.Join(n.labels, ",") + list
	case nodeBinary:
		return n.op + " " + n.matching.text(false) + list
	}
	return n.op + list
}

func TestReader(t *testing.T) {
	tests := []struct {
		name  string
		query string
		want  string // "": refused
	}{
		{"a series", `a`, `<a>`},
		{"matchers", `a{b="c",d!="e",f=~'g',h!~` + "`i\\`" + `,}`, `<a b="c" d!="e" f=~"g" h!~"i\\">`},
		{"escapes", `a{b="\"\\\n\x41é"}`, `<a b="\"\\\nAé">`},
		{"escapes in single quotes", `a{b='it\'s "it" \xff'}`, "<a b=\"it's \\\"it\\\" \\xff\">"},
		{"no name", `{a="b"}`, `< a="b">`},
		{"a quoted name", `{"a.b",c="d"}`, `<a.b __name__="a.b" c="d">`},
		{"a quoted label", `a{"b.c"="d"}`, `<a b.c="d">`},
		{"colons", `vllm:num_requests_running{a="b"}`, `<vllm:num_requests_running a="b">`},
		{"keywords as names of labels", `sum by (by, sum, on) (a{offset="1",bool="2"})`, `sum by by,sum,on(<a offset="1" bool="2">)`},
		{"a range", `rate(a[1h30m])`, `rate(<a over 1h30m0s>)`},
		{"a range of seconds", `rate(a[90])`, `rate(<a over 1m30s>)`},
		{"modifiers", `rate(a[5m] offset -1m @ end())`, `rate(<a over 5m0s offset -1m @ end()>)`},
		{"modifiers without a range", `a @ 1609746000 offset 5m`, `<a @ 1609746000 offset 5m>`},
		{"a subquery", `max_over_time(rate(a[1m])[10m:30s] offset 1m)`, `max_over_time(over 10m0s(rate(<a over 1m0s>)) offset 1m)`},
		{"a subquery without a step", `max_over_time((a)[10m:])`, `max_over_time(over 10m0s(<a>))`},
		{"grouping before and after", `sum by (x) (a) + sum(b) without (y)`, `+ (sum by x(<a>), sum without y(<b>))`},
		{"capitals", `SUM BY (x) (a) OR b`, `or (sum by x(<a>), <b>)`},
		{"a parameter", `quantile by (x) (0.9, a)`, `quantile by x(0.9, <a>)`},
		{"precedence", `a or b and c == d + e * f ^ g`, `or (<a>, and (<b>, == (<c>, + (<d>, * (<e>, ^ (<f>, <g>))))))`},
		{"left to right", `a - b - c`, `- (- (<a>, <b>), <c>)`},
		{"powers right to left", `a ^ b ^ c`, `^ (<a>, ^ (<b>, <c>))`},
		{"minus is weaker than a power", `-a ^ b * c`, `* (-(^ (<a>, <b>)), <c>)`},
		{"matching", `a * on (x, y) group_left (z) b`, `* on (x, y) group_left (z) (<a>, <b>)`},
		{"matching by nothing", `a * ignoring () b`, `* ignoring () (<a>, <b>)`},
		{"bool", `a > bool 1`, `> (<a>, 1)`},
		{"numbers", `a * (0x1f + 1e+3 - .5) * -Inf`, `* (* (<a>, (0x1f + 1e+3 - .5)), -Inf)`},
		{"time", `time() - a`, `- (time(), <a>)`},
		{"comments", "sum( # of\n a) # all", `sum by (<a>)`},

		{"nothing", ``, ""},
		{"an open brace", `a{b="c"`, ""},
		{"an open string", `a{b="c}`, ""},
		{"a bad escape", `a{b="\q"}`, ""},
		{"an open range", `a[5m`, ""},
		{"an empty range", `a[0s]`, ""},
		{"a range of a range", `a[5m][5m]`, ""},
		{"a range after an offset", `a offset 5m [5m]`, ""},
		{"an offset of a sum", `sum(a) offset 5m`, ""},
		{"a comma first", `a{,b="c"}`, ""},
		{"no operator", `a b`, ""},
		{"no label list", `sum by x (a)`, ""},
		{"too few arguments", `topk(a)`, ""},
		{"a template left over", `sum(<<.Series>>)`, ""},
		{"too deep", strings.Repeat("(", 1000) + "a" + strings.Repeat(")", 1000), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := readQuery(tt.query)
			if (err == nil) != (tt.want != "") {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if err == nil {
				if diff := cmp.Diff(tt.want, n.shape(tt.query)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestAgeQueries(t *testing.T) {
	tests := []struct {
		name  string
		query string
		want  string // "": cannot be named
	}{
		{"a sum", `sum by (pod) (a{x="1"})`, `max by (pod) (timestamp(a{x="1"}))`},
		{"grouping after", `sum(a{x="1"}) by (pod)`, `max by (pod) (timestamp(a{x="1"}))`},
		{"a rate loses its range", `sum by (pod) (rate(a{x="1"}[5m]))`, `max by (pod) (timestamp(a{x="1"}))`},
		{"an offset is kept", `sum by (pod) (rate(a[5m] offset 1h))`, `max by (pod) (timestamp(a offset 1h))`},
		{"of everything", `sum(a)`, `max(timestamp(a))`},
		{"without", `sum without (x) (a)`, `max without (x) (timestamp(a))`},
		{"series as they are", `a{x="1"} * 100`, `timestamp(a{x="1"})`},
		{"nested sums are one", `sum by (pod) (max by (pod, core) (a))`, `max by (pod) (timestamp(a))`},
		{"nested sums of other labels are two", `sum by (node) (max by (pod) (a))`, `max by (node) (max by (pod) (timestamp(a)))`},
		{"a ratio is as old as its older part", `sum by (pod) (a) / sum by (pod) (b)`,
			`(max by (pod) (timestamp(a)) - clamp_min(max by (pod) (timestamp(a)) - max by (pod) (timestamp(b)), 0))`},
		{"the same series twice", `sum by (pod) (rate(a[1m])) / sum by (pod) (a)`, `max by (pod) (timestamp(a))`},
		{"alternatives", `sum by (pod) (a) or sum by (pod) (b)`, `(max by (pod) (timestamp(a)) or max by (pod) (timestamp(b)))`},
		{"alternatives that match on a label", `a or on (pod) b`, `(timestamp(a) or on (pod) timestamp(b))`},
		{"a condition does not count", `sum by (pod) (a) and sum by (pod) (b)`, `max by (pod) (timestamp(a))`},
		{"a join", `sum by (pod) (a * on (ns) group_left (v) b)`,
			`max by (pod) (((timestamp(a) <= on (ns) group_left (v) timestamp(b)) or (timestamp(b) <= on (ns) group_right (v) timestamp(a))))`},
		{"a quantile of one bucket", `histogram_quantile(0.9, sum by (le, pod) (rate(a_bucket{x="1"}[5m])))`, `max by (pod) (timestamp(a_bucket{x="1",le="+Inf"}))`},
		{"with no braces", `histogram_quantile(0.9, sum(rate(a_bucket[5m])) by (le))`, `max(timestamp(a_bucket{le="+Inf"}))`},
		{"with a comma left over", `histogram_quantile(0.9, rate(a_bucket{x="1", }[5m]))`, `max without (le) (timestamp(a_bucket{x="1",le="+Inf"}))`},
		{"with buckets chosen", `histogram_quantile(0.9, sum by (le, pod) (rate(a_bucket{le=~"1|2"}[5m])))`, `max by (pod) (timestamp(a_bucket{le=~"1|2"}))`},
		{"a native histogram", `histogram_quantile(0.9, sum by (pod) (rate(a[5m])))`, `max by (pod) (timestamp(a))`},
		{"a subquery", `max_over_time(sum by (pod) (rate(a[1m]))[10m:])`, `max by (pod) (timestamp(a))`},
		{"renamed labels", `label_replace(sum by (pod) (a), "x", "$1", "pod", "(.*)")`,
			`label_replace(max by (pod) (timestamp(a)), "x", "$1", "pod", "(.*)")`},
		{"a number is no series", `sum(a) or vector(0)`, `max(timestamp(a))`},
		{"now is no series", `time() - max by (pod) (a)`, `max by (pod) (timestamp(a))`},
		{"the largest", `topk by (pod) (3, a)`, `timestamp(a)`},
		{"a quoted label", `sum by ("a.b") (x)`, `max by ("a.b") (timestamp(x))`},

		{"only numbers", `1 + 1`, ""},
		{"vector", `vector(1)`, ""},
		{"absent", `absent(a)`, ""},
		{"an unknown function", `forecast(a)`, ""},
		{"values as labels", `count_values("v", a)`, ""},
		{"more than anyone reads", strings.Repeat(`(a1 + a2) * (b1 + b2) * `, 20) + `c`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := readQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := ageQuery(tt.query, n)
			if ok != (tt.want != "") || got != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, ok, tt.want)
			}
			if _, err := readQuery(got); ok && err != nil {
				t.Errorf("%s: %v", got, err)
			}
		})
	}
}

func TestWindows(t *testing.T) {
	tests := []struct {
		name  string
		query string
		want  time.Duration
	}{
		{"none", `sum(a)`, 0},
		{"one", `sum(rate(a[5m]))`, 5 * time.Minute},
		{"the longest", `rate(a[5m]) / rate(b[1h])`, time.Hour},
		{"a subquery adds", `max_over_time(rate(a[5m])[1h:])`, 65 * time.Minute},
		{"an offset does not", `rate(a[5m] offset 1h)`, 5 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := readQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			if got := n.longestWindow(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
