package rules

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Any file is either refused, with problems that say something, or gives rules
// that answer: an error, or a query whose every matcher can be read back.
func FuzzParse(f *testing.F) {
	f.Add(generatedConfig)
	for _, name := range PresetNames() {
		source, _ := PresetSource(name)
		f.Add(source)
		f.Add("presets: [{name: " + name + ", window: 30s}]")
	}
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, opts := range []ParseOptions{{}, {Strict: true, Legacy: Legacy{IgnoreNamespaced: true, RawRegexps: true}}} {
			cfg, err := Parse("f", []byte(text), opts)
			if err != nil {
				problems, ok := errors.AsType[Problems](err)
				if !ok || len(problems) == 0 || slices.ContainsFunc(problems, func(p Problem) bool { return p.Message == "" }) {
					t.Fatalf("refused without a reason: %#v", err)
				}
				continue
			}
			for _, r := range cfg.Rules {
				checkRule(t, r)
			}
			c := NewCatalog(cfg)
			c.Metrics(testCluster, nil)
			c.Overlaps(testCluster)
		}
	})
}

func checkRule(t *testing.T, r *Rule) {
	if r.Age == 0 || r.Kind == 0 || r.Partial == 0 || r.Name == "" {
		t.Fatalf("half a rule: %+v", r)
	}
	r.MetricFor("some_series")
	sel := Selector{{"k", In, []string{"a.b", `c"`}}}
	for _, ask := range []Ask{
		{Series: "s", Resource: Resource{Name: "pods"}, Names: []string{"a.b", `c"`}, Namespaces: []string{"n"}, Selector: sel},
		{Series: "s", Resource: Resource{Name: "pods"}, Namespaces: []string{"n", "m"}},
		{Series: "s", Resource: Resource{Name: "nodes"}},
	} {
		q, err := r.Build(ask, testCluster)
		if err != nil {
			continue
		}
		if strings.TrimSpace(q.Value) == "" || (q.Age == "") != (r.Age == EvaluationAge) || r.Kind == Custom && q.ResourceLabel == "" {
			t.Fatalf("query without content: %+v of %+v", q, r)
		}
		if q.Age != "" {
			if _, err := readQuery(q.Age); err != nil {
				t.Fatalf("age %s of %s: %v", q.Age, q.Value, err)
			}
		}
	}
}

// A template that is accepted writes something or says why not, and the same
// every time; matchers that it writes into a selector are read back as they were.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		`sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)`, `<<index .LabelValuesByName "pod">>`, `<<range .GroupBySlice>><<.>>,<<end>>`,
		`<<if .Series>>a<<else>>b<<end>>`, `<<printf "%s" .Series>>`, `<<with .GroupBy>><<.>><<end>>`, `<<define "x">>y<<end>>`, `<</* c */>>x`,
	} {
		f.Add(seed, "pod", "a")
	}
	f.Fuzz(func(t *testing.T, text, label, value string) {
		q, err := parseQueryTemplate(text)
		if err != nil {
			return
		}
		matchers := []matcher{equal(label, value), equal(label, value, "other")}
		once, err := q.render("series", matchers, []string{label})
		again, errAgain := q.render("series", matchers, []string{label})
		if once != again || (err == nil) != (errAgain == nil) {
			t.Fatalf("%q then %q", once, again)
		}
		if l, err := parseLabelTemplate(text); err == nil {
			got, ok := l.label("", "pod")
			if ok && len(l.reverse) > 0 && l.pieces != nil && strings.Count(text, "<<.Resource>>") == 1 && !slices.ContainsFunc(l.reverse,
				func(re *regexp.Regexp) bool { return re.MatchString(got) }) {
				t.Fatalf("label %q of %q is not taken back by %v", got, text, l.reverse)
			}
		}
	})
}

// Selectors become matchers that PromQL reads back, and Matches agrees with them.
func FuzzSelector(f *testing.F) {
	f.Add("k", 1, "a", "b", "a")
	f.Add("app.kubernetes.io/name", 3, "a.b", "", "axb")
	f.Add("k", 5, "", "", "")
	f.Fuzz(func(t *testing.T, key string, operator int, v1, v2, label string) {
		req := Requirement{Key: key, Operator: Operator(operator)}
		if req.Operator != Exists && req.Operator != DoesNotExist {
			req.Values = []string{v1, v2}
		}
		sel := Selector{req}
		matches := sel.Matches(labels{key: label})
		m, err := req.matcher(false)
		if err != nil {
			if matches {
				t.Fatalf("%v, and still it matches", err)
			}
			return
		}
		n, err := readQuery("x{" + m.String() + "}")
		if err != nil || len(n.matchers) != 1 || n.matchers[0].label != key {
			t.Fatalf("%s: read back as %+v, %v", m, n, err)
		}
		if key == "__name__" || !validText(v1, v2, label) {
			return
		}
		got, err := evaluate("x{"+m.String()+"}", []testSeries{{labels: labels{"__name__": "x", key: label}}})
		if err != nil || matches != (len(got) == 1) {
			t.Fatalf("%s and %q: Matches says %v; %v", m, label, matches, err)
		}
	})
}

// validText: label values are UTF-8; regular expressions treat other bytes alike.
func validText(values ...string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return strings.ToValidUTF8(v, "") != v })
}

// The reader never panics, stays inside the text, and age queries read back.
func FuzzReader(f *testing.F) {
	for _, name := range PresetNames() {
		source, _ := PresetSource(name)
		f.Add(source)
	}
	f.Add(`sum by (pod) (rate(a{b="c"}[5m] offset 1m)) / on (pod) group_left (x) (b + 1) or vector(0)`)
	f.Add(`histogram_quantile(0.9, sum by (le) (rate(a_bucket{x="1", }[5m])))`)
	f.Fuzz(func(t *testing.T, text string) {
		n, err := readQuery(text)
		if err != nil {
			return
		}
		checkSpan(t, n, len(text))
		separableBy(n, []string{"a"}, nil)
		if n.longestWindow() < 0 {
			t.Fatalf("window %v", n.longestWindow())
		}
		if age, ok := ageQuery(text, n); ok {
			if _, err := readQuery(age); err != nil {
				t.Fatalf("age %q: %v", age, err)
			}
		}
	})
}

func checkSpan(t *testing.T, n *node, size int) {
	if n.start < 0 || n.end < n.start || n.end > size {
		t.Fatalf("%+v outside of the text", n)
	}
	for _, a := range n.args {
		checkSpan(t, a, size)
	}
}
