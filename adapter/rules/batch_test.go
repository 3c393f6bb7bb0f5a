package rules

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBatches(t *testing.T) {
	const lm = `<<.LabelMatchers>>`
	tests := []struct {
		name  string
		query string
		want  bool
	}{
		{"sum", `sum(<<.Series>>{` + lm + `}) by (<<.GroupBy>>)`, true},
		{"grouping first", `sum by (<<.GroupBy>>) (rate(<<.Series>>{` + lm + `}[2m]))`, true},
		{"more labels", `sum by (<<.GroupBy>>, code) (<<.Series>>{` + lm + `})`, true},
		{"more matchers", `sum by (<<.GroupBy>>) (x{` + lm + `,container!="POD"})`, true},
		{"ratio", `sum by (<<.GroupBy>>) (a{` + lm + `}) / sum by (<<.GroupBy>>) (b{` + lm + `})`, true},
		{"ratio on the objects", `sum by (<<.GroupBy>>) (a{` + lm + `}) / on (<<.GroupBy>>) sum by (<<.GroupBy>>) (b{` + lm + `})`, true},
		{"percent", `100 * (1 - avg by (<<.GroupBy>>) (a{` + lm + `}))`, true},
		{"quantile of buckets", `histogram_quantile(0.95, sum by (le, <<.GroupBy>>) (rate(x_bucket{` + lm + `}[5m])))`, true},
		{"nested aggregations", `max by (<<.GroupBy>>) (sum by (<<.GroupBy>>, core) (a{` + lm + `}))`, true},
		{"without something else", `sum without (core) (a{` + lm + `})`, true},
		{"alternatives", `sum by (<<.GroupBy>>) (a{` + lm + `}) or sum by (<<.GroupBy>>) (b{` + lm + `})`, true},
		{"subquery", `max_over_time(sum by (<<.GroupBy>>) (rate(a{` + lm + `}[1m]))[10m:30s])`, true},
		{"offset", `sum by (<<.GroupBy>>) (a{` + lm + `} offset 5m)`, true},
		{"the name in the braces", `sum by (<<.GroupBy>>) ({__name__="a",` + lm + `})`, true},
		{"comment", "sum by (<<.GroupBy>>) ( # all\n a{" + lm + "})", true},
		{"series as they are", `a{` + lm + `}`, true},

		{"one sum", `sum(a{` + lm + `})`, false},
		{"other labels", `sum by (code) (a{` + lm + `})`, false},
		{"without the objects", `sum without (<<.GroupBy>>) (a{` + lm + `})`, false},
		{"one selector is not narrowed", `sum by (<<.GroupBy>>) (a{` + lm + `}) / sum by (<<.GroupBy>>) (b)`, false},
		{"an aggregation inside", `sum by (<<.GroupBy>>) (a{` + lm + `} > scalar(avg(b{` + lm + `})))`, false},
		{"topk", `topk by (<<.GroupBy>>) (1, a{` + lm + `})`, false},
		{"a regular expression of names", `sum by (<<.GroupBy>>) (rate({__name__=~"a|b",` + lm + `}[1m]))`, false},
		{"label_replace", `sum by (<<.GroupBy>>) (label_replace(a{` + lm + `}, "pod", "$1", "p", "(.*)"))`, false},
		{"join", `sum by (<<.GroupBy>>) (a{` + lm + `} * on (<<.GroupBy>>) group_left() b{` + lm + `})`, false},
		{"matched on other labels", `sum by (<<.GroupBy>>) (a{` + lm + `}) / on (code) sum by (<<.GroupBy>>) (b{` + lm + `})`, false},
		{"absent", `absent(a{` + lm + `})`, false},
		{"values by name", `sum by (<<.GroupBy>>) (a{pod=~"<<index .LabelValuesByName "pod">>",` + lm + `})`, false},
		{"a condition", `<<if .Series>>sum by (<<.GroupBy>>) (a{` + lm + `})<<end>>`, false},
		{"no matchers at all", `sum by (<<.GroupBy>>) (a)`, false},
		{"not PromQL", `sum by (<<.GroupBy>>) a{` + lm + `}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := oneRule(t, Custom, tt.query, ParseOptions{})
			if got := r.Batches(); got != tt.want {
				t.Errorf("Batches() = %v, want %v", got, tt.want)
			}
			_, err := r.Build(Ask{Series: "s", Resource: Resource{Name: "pods"}, Namespaces: []string{"a", "b"}}, testCluster)
			if (err == nil) != tt.want {
				t.Errorf("Build for two namespaces: %v", err)
			}
		})
	}
}

func TestFiltersInMemory(t *testing.T) {
	topic := Selector{{"topic", In, []string{"a", "b"}}}
	group := Selector{{"group", Exists, nil}}
	tests := []struct {
		name  string
		query string
		sel   Selector
		want  bool
	}{
		{"nothing to filter", `vector(1)`, nil, true},
		{"a label of the result", `sum by (topic) (x{<<.LabelMatchers>>})`, topic, true},
		{"a label that is summed away", `sum by (topic) (x{<<.LabelMatchers>>})`, group, false},
		{"series as they are", `x{<<.LabelMatchers>>}`, append(topic, group...), true},
		{"one sum", `sum(x{<<.LabelMatchers>>})`, topic, false},
		{"a selector without matchers", `sum by (topic) (x)`, topic, false},
		{"the series' name", `x{<<.LabelMatchers>>}`, Selector{{"__name__", Equals, []string{"x"}}}, false},
		{"no such operator", `x{<<.LabelMatchers>>}`, Selector{{"topic", GreaterThan, []string{"1"}}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := oneRule(t, External, tt.query, ParseOptions{}).FiltersInMemory(tt.sel); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	raw := oneRule(t, External, `x{<<.LabelMatchers>>}`, ParseOptions{Legacy: Legacy{RawRegexps: true}})
	if raw.FiltersInMemory(topic) {
		t.Errorf("a raw regular expression must be judged by the server")
	}
}

// queries makes random templates: most of what batch.go knows, and enough of
// what it must refuse.
type queries struct{ *rand.Rand }

func (g queries) pick(options ...string) string { return options[g.IntN(len(options))] }

func (g queries) selector() string {
	matchers := []string{"<<.LabelMatchers>>"}
	if g.IntN(12) == 0 {
		matchers = nil
	}
	if g.IntN(3) == 0 {
		matchers = append(matchers, g.pick(`x="1"`, `x!="1"`, `le=~"1|2"`))
	}
	name := g.pick("a", "b")
	if g.IntN(15) == 0 {
		name, matchers = "", append(matchers, `__name__=~"a|b"`)
	}
	return name + "{" + strings.Join(matchers, ",") + "}"
}

func (g queries) grouping() string {
	switch g.IntN(10) {
	case 0:
		return g.pick("", "by (x) ", "by (obj) ", "without (<<.GroupBy>>) ")
	case 1:
		return g.pick("without (x) ", "without (le) ")
	case 2:
		return g.pick("by (<<.GroupBy>>, x) ", "by (ns, obj, le) ")
	}
	return "by (<<.GroupBy>>) "
}

func (g queries) vector(depth int) string {
	if depth == 0 {
		return g.pick(g.selector(), "rate("+g.selector()+"[1m])")
	}
	inner := func() string { return g.vector(depth - 1) }
	switch g.IntN(10) {
	case 0:
		return inner()
	case 1:
		if g.IntN(2) == 0 {
			return "abs(" + inner() + ")"
		}
		return "clamp_max(" + inner() + ", 3)"
	case 2:
		return "(" + inner() + g.pick(" + 1", " * 2", " > 2") + ")"
	case 3:
		return "histogram_quantile(0.9, sum by (le, <<.GroupBy>>) (" + inner() + "))"
	case 4:
		on := g.pick("", "", "", "on (<<.GroupBy>>) ", "on (x) ", "ignoring (x) ")
		return "(" + inner() + " " + g.pick("+", "*", ">", "and", "or", "unless") + " " + on + inner() + ")"
	case 5:
		return "max_over_time((" + inner() + ")[5m:1m])"
	case 6:
		return "topk " + g.grouping() + "(1, " + inner() + ")"
	}
	return g.pick("sum ", "max ", "min ", "count ") + g.grouping() + "(" + inner() + ")"
}

func (g queries) data() (out []testSeries) {
	for _, name := range []string{"a", "b"} {
		for _, ns := range []string{"n1", "n2"} {
			for _, obj := range []string{"", "o1", "o2"} {
				for _, x := range []string{"1", "2"} {
					for _, le := range []string{"", "1", "2"} {
						if g.IntN(3) > 0 {
							l := labels{"__name__": name, "ns": ns, "x": x, "le": le, "obj": obj}.drop("")
							out = append(out, testSeries{l, float64(g.IntN(4)), float64(g.IntN(9))})
						}
					}
				}
			}
		}
	}
	return out
}

// A batched answer is the answer of one query per object, for every query that
// is said to batch.
func TestBatchedAnswerIsThePerObjectAnswer(t *testing.T) {
	g := queries{rand.New(rand.NewPCG(1, 2))}
	batched := 0
	for range 5000 {
		if g.checkBatch(t) {
			batched++
		}
	}
	// The check is worth something only if it judged many; and the generator must
	// make many that are refused.
	if t.Logf("%d of 5000 queries batch", batched); batched < 500 || batched > 4000 {
		t.Errorf("the generator makes too few, or too few others")
	}
}

func FuzzBatchedAnswerIsThePerObjectAnswer(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { queries{rand.New(rand.NewPCG(a, b))}.checkBatch(t) })
}

// checkBatch makes one query and data, and says whether the query batches.
func (g queries) checkBatch(t *testing.T) bool {
	text := g.vector(1 + g.IntN(3))
	q, err := parseQueryTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	wideMatchers, by := []matcher{equal("ns", "n1", "n2")}, []string{"ns", "obj"}
	r := &Rule{Kind: Custom, query: q}
	if !r.separates(nil) || !separates(q, "", wideMatchers, by, by) {
		return false
	}
	data := g.data()
	wideText, _ := q.render("", wideMatchers, by)
	wide, err := evaluate(wideText, data)
	if err != nil {
		t.Fatalf("%s\nfails as a whole: %v", wideText, err)
	}
	for _, ns := range []string{"n1", "n2"} {
		for _, obj := range []string{"o1", "o2"} {
			narrowText, _ := q.render("", []matcher{equal("ns", ns), equal("obj", obj)}, []string{"obj"})
			narrow, err := evaluate(narrowText, data)
			if err != nil {
				t.Fatalf("%s\nfails alone: %v", narrowText, err)
			}
			var part []sample
			for _, s := range wide {
				if s.labels["ns"] == ns && s.labels["obj"] == obj {
					part = append(part, sample{s.labels.drop("ns"), s.value})
				}
			}
			for i := range narrow {
				narrow[i].labels = narrow[i].labels.drop("ns")
			}
			if diff := cmp.Diff(lines(narrow), lines(part)); diff != "" {
				t.Fatalf("%s\n%s\nobject %s/%s (-alone +batched):\n%s", narrowText, wideText, ns, obj, diff)
			}
		}
	}
	return true
}

// A selector that is said to filter in memory gives what the server would give.
func TestFilteringInMemoryIsFilteringByTheServer(t *testing.T) {
	g := queries{rand.New(rand.NewPCG(3, 4))}
	filtered := 0
	for range 5000 {
		if g.checkFilter(t) {
			filtered++
		}
	}
	if t.Logf("%d of 5000 queries filter in memory", filtered); filtered < 250 {
		t.Errorf("the generator makes too few")
	}
}

func FuzzFilteringInMemoryIsFilteringByTheServer(f *testing.F) {
	f.Add(uint64(3), uint64(4))
	f.Fuzz(func(t *testing.T, a, b uint64) { queries{rand.New(rand.NewPCG(a, b))}.checkFilter(t) })
}

func (g queries) selectorOf(keys ...string) (sel Selector) {
	for range 1 + g.IntN(2) {
		req := Requirement{Key: g.pick(keys...), Operator: Operator(1 + g.IntN(6))}
		if req.Operator < Exists {
			req.Values = []string{"1", "2"}[:1+g.IntN(2)]
		}
		sel = append(sel, req)
	}
	return sel
}

func (g queries) checkFilter(t *testing.T) bool {
	text := strings.ReplaceAll(g.vector(1+g.IntN(3)), "<<.GroupBy>>", g.pick("x", "ns, x", "obj"))
	r := &Rule{Kind: External}
	var err error
	if r.query, err = parseQueryTemplate(text); err != nil {
		t.Fatal(err)
	}
	sel := g.selectorOf("x", "ns", "obj", "le")
	if !r.FiltersInMemory(sel) {
		return false
	}
	data := g.data()
	matchers, err := r.selectorMatchers(sel)
	if err != nil {
		t.Fatal(err)
	}
	narrowText, _ := r.query.render("", matchers, nil)
	wideText, _ := r.query.render("", nil, nil)
	narrow, err := evaluate(narrowText, data)
	wide, errWide := evaluate(wideText, data)
	if err != nil || errWide != nil {
		t.Fatalf("%s: %v\n%s: %v", narrowText, err, wideText, errWide)
	}
	var part []sample
	for _, s := range wide {
		if sel.Matches(s.labels) {
			part = append(part, s)
		}
	}
	if diff := cmp.Diff(lines(narrow), lines(part)); diff != "" {
		t.Fatalf("%s\n%s\nselector %s (-server +memory):\n%s", narrowText, wideText, sel, diff)
	}
	return true
}
