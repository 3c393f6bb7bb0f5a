package rules

import (
	"fmt"
	"strings"
	"testing"
)

// A configuration is parsed at a reload, a query is built for each rule and
// round, and candidates are looked for with each question.

func BenchmarkParse(b *testing.B) {
	for _, tt := range []struct{ name, text string }{
		{"generated", generatedConfig},
		{"presets=all", "presets: [" + strings.Join(PresetNames(), ", ") + "]"},
		{"rules=600", generatedConfig + strings.Repeat(strings.TrimPrefix(generatedConfig, "\nrules:\n"), 99)},
	} {
		b.Run(tt.name, func(b *testing.B) {
			rules := len(mustParse(b, tt.text, ParseOptions{}).Rules)
			for b.Loop() {
				mustParse(b, tt.text, ParseOptions{})
			}
			b.ReportMetric(float64(rules), "rules")
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	ask := func(namespaces, names int) Ask {
		a := Ask{Series: "http_requests_total", Resource: Resource{Name: "pods"}}
		for i := range namespaces {
			a.Namespaces = append(a.Namespaces, fmt.Sprintf("team-%03d", i))
		}
		for i := range names {
			a.Names = append(a.Names, fmt.Sprintf("llama-70b-7d9f8c6b5d-x%04d", i))
		}
		return a
	}
	r := oneRule(b, Custom, `sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[2m]))`, ParseOptions{})
	offered := mustParse(b, "presets: [vllm]", ParseOptions{}).Rules[1]
	for _, tt := range []struct {
		name string
		rule *Rule
		ask  Ask
	}{
		{"batch/namespaces=1", r, ask(1, 0)},
		{"batch/namespaces=500", r, ask(500, 0)},
		{"byname/pods=10", r, ask(1, 10)},
		{"byname/pods=5000", r, ask(1, 5000)},
		{"preset-offered/namespaces=100", offered, ask(100, 0)},
	} {
		b.Run(tt.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := tt.rule.Build(tt.ask, testCluster); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCandidates(b *testing.B) {
	for _, series := range []int{10, 1000} {
		b.Run(fmt.Sprintf("series=%d", series), func(b *testing.B) {
			cfg := mustParse(b, generatedConfig, ParseOptions{})
			discovered := map[*Rule][]string{}
			for i := range series {
				discovered[cfg.Rules[3]] = append(discovered[cfg.Rules[3]], fmt.Sprintf("metric_%d", i))
			}
			c := NewCatalog(cfg).With(discovered)
			for b.Loop() {
				if len(c.Candidates(Custom, Resource{Name: "pods"}, "metric_7", testCluster)) != 1 {
					b.Fatal("not found")
				}
			}
		})
	}
}

func BenchmarkSelectorMatches(b *testing.B) {
	sel := Selector{{"consumergroup", Equals, []string{"scorer"}}, {"topic", In, []string{"prompts", "replies"}}}
	series := map[string]string{"consumergroup": "scorer", "topic": "replies", "namespace": "kafka"}
	for b.Loop() {
		if !sel.Matches(series) {
			b.Fatal("does not match")
		}
	}
}
