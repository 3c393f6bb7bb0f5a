package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every message that a wrong file gets, beside the file.
func TestBadFilesSayEverything(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := Parse("config.yaml", data, ParseOptions{})
			if err == nil {
				t.Fatalf("accepted: %+v", cfg)
			}
			golden(t, "bad/"+strings.TrimSuffix(filepath.Base(file), ".yaml")+".golden", err.Error()+"\n")
		})
	}
}

func TestWarnings(t *testing.T) {
	const rule = "- {seriesQuery: foo, resources: {template: <<.Resource>>}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}\n"
	tests := []struct {
		name   string
		text   string
		want   string // part of the only warning
		rules  int
		strict bool // also a problem with Strict
	}{
		{"nothing", "", "", 0, false},
		{"nulls", "rules:\nexternalRules: null\nresourceRules:\npresets: []\nbackends: ~\n", "", 0, false},
		{"resourceRules", "rules:\n" + rule + "resourceRules: {cpu: {anything: goes}}\n", "metrics-server", 1, true},
		{"a second document", "rules:\n" + rule + "---\nrules: []\n", "second YAML document", 1, true},
		{"empty query", "rules:\n- {seriesQuery: foo}\n", "gives no metric", 0, true},
		{"no labels", "rules:\n- {seriesQuery: foo, metricsQuery: 'sum(<<.Series>>)'}\n", "neither template nor overrides", 1, false},
		{"external without a namespace label", "externalRules:\n- {seriesQuery: foo, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'}\n",
			"the label namespace is used", 1, false},
		{"external that says it has none", "externalRules:\n- {seriesQuery: foo, resources: {namespaced: false}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'}\n",
			"", 1, false},
		{"two labels for pods", "rules:\n- {seriesQuery: foo, resources: {overrides: {pod: {resource: pod}, exported_pod: {resource: pod}}}, metricsQuery: 'sum(foo{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}\n",
			"exported_pod names pod too; queries use pod", 1, false},
		{"age that cannot be known", "rules:\n- {seriesQuery: foo, resources: {template: <<.Resource>>}, metricsQuery: 'absent(<<.Series>>)'}\n",
			"every answer counts as new", 1, false},
		{"age that is not asked for", "rules:\n- {seriesQuery: foo, resources: {template: <<.Resource>>}, metricsQuery: 'absent(<<.Series>>)', age: evaluation}\n",
			"", 1, false},
		{"a template that fails in a trial", "rules:\n- {seriesQuery: foo, resources: {template: <<.Resource>>}, metricsQuery: '<<index .GroupBySlice 1>>'}\n",
			"a trial of the template fails", 1, false},
		{"a key of a map is no argument", "rules:\n- {seriesQuery: foo, resources: {template: <<.Resource>>}, metricsQuery: 'sum(foo{a=\"<<with .LabelValuesByName>><<.pod>><<end>>\"})'}\n",
			"", 1, false},
		{"a selector that does not read", "rules:\n- {seriesQuery: '{a=}', resources: {template: <<.Resource>>}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'}\n",
			"does not read as a series selector", 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.ReplaceAll(tt.text, "template: <<.Resource>>", `template: "<<.Resource>>"`)
			cfg := mustParse(t, text, ParseOptions{})
			if len(cfg.Rules) != tt.rules {
				t.Errorf("%d rules, want %d", len(cfg.Rules), tt.rules)
			}
			var got string
			for _, w := range cfg.Warnings {
				got += w.String()
			}
			if len(cfg.Warnings) > 1 || (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("warnings %q, want one with %q", got, tt.want)
			}
			_, err := Parse("config.yaml", []byte(text), ParseOptions{Strict: true})
			if (err != nil) != tt.strict {
				t.Errorf("strict: %v", err)
			}
		})
	}
}

func TestYAMLAnchorsMergesAndLooseBooleans(t *testing.T) {
	cfg := mustParse(t, `
rules:
- &base
  seriesQuery: foo
  resources: {template: "<<.Resource>>", namespaced: no}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- <<: *base
  name: {as: 5}
  emptyIsZero: on
`, ParseOptions{})
	if len(cfg.Rules) != 2 {
		t.Fatalf("%d rules", len(cfg.Rules))
	}
	for i, r := range cfg.Rules {
		if r.Namespaced || r.EmptyIsZero != (i == 1) {
			t.Errorf("%+v", r)
		}
	}
	if got, _ := cfg.Rules[1].MetricFor("foo"); got != "5" {
		t.Errorf("metric %q", got)
	}
}

func TestBackends(t *testing.T) {
	cfg := mustParse(t, `
backends:
- name: eu
  urls: [https://thanos-1:10902/, "https://thanos-2:10902/x?dedup=true"]
  bearerTokenFile: /var/run/token
  tls: {caFile: ca, certFile: cert, keyFile: key, serverName: thanos}
  headers: {X-Scope-OrgID: team-a, Accept-Language: [en, vi]}
  matchLabels: {cluster: eu-1}
  timeout: 1m30s
  maxGetLength: 0
- name: us
  url: http://prometheus:9090
  basicAuth: {username: u, passwordFile: p}
rules:
- {seriesQuery: foo, backend: us, maxStaleness: 1h, partial: Fail, emptyIsZero: true, age: sample,
   resources: {template: "<<.Resource>>"}, metricsQuery: "sum(foo{<<.LabelMatchers>>}) by (<<.GroupBy>>)"}
- {seriesQuery: foo, backend: flag, resources: {template: "<<.Resource>>"}, metricsQuery: "sum(foo{<<.LabelMatchers>>}) by (<<.GroupBy>>)"}
`, ParseOptions{Backends: []string{"flag"}})
	want := []Backend{{
		Name: "eu", URLs: []string{"https://thanos-1:10902", "https://thanos-2:10902/x?dedup=true"}, BearerTokenFile: "/var/run/token",
		TLS:         TLS{"ca", "cert", "key", "thanos"},
		Headers:     map[string][]string{"X-Scope-OrgID": {"team-a"}, "Accept-Language": {"en", "vi"}},
		MatchLabels: map[string]string{"cluster": "eu-1"}, Timeout: 90 * time.Second, MaxGetLength: AlwaysPost,
	}, {
		Name: "us", URLs: []string{"http://prometheus:9090"}, BasicAuth: &BasicAuth{"u", "p"},
	}}
	if diff := cmp.Diff(want, cfg.Backends); diff != "" {
		t.Errorf("backends (-want +got):\n%s", diff)
	}
	r := cfg.Rules[0]
	if r.Backend != "us" || r.MaxStaleness != time.Hour || r.Partial != Fail || !r.EmptyIsZero || r.Age != SampleAge || r.Line != 15 {
		t.Errorf("rule: %+v", r)
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		name          string
		matches, as   string
		series, want  string
		filters       string
		notConfigured bool
	}{
		{"as it is", "", "", "http_requests", "http_requests", "", false},
		{"no group is all of it", "requests", "", "http_requests", "requests", "", false},
		{"one group is the name", "^(.*)_total$", "", "http_requests_total", "http_requests", "", false},
		{"groups", "^(.*)_(.*)_total$", "${2}_$1", "http_requests_total", "requests_http", "", false},
		{"named groups", "^(?P<what>.*)_total$", "my_${what}", "http_total", "my_http", "", false},
		{"no match is no metric", "^(.*)_total$", "", "http_requests", "", "", false},
		{"is", "", "", "a_b", "a_b", "{is: ^a}", false},
		{"is another", "", "", "a_b", "", "{is: ^b}", false},
		{"is not", "", "", "a_b", "", "{isNot: _b$}", false},
		{"filters are not anchored", "", "", "a_b", "a_b", "{is: _}", false},
		{"an empty name is no metric", "^x*", "", "abc", "", "", false},
		{"a slash is no metric", "", "a/b", "abc", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := mustParse(t, "rules:\n- seriesQuery: foo\n  resources: {template: \"<<.Resource>>\"}\n  metricsQuery: sum(a)\n"+
				"  seriesFilters: ["+tt.filters+"]\n  name: {matches: '"+tt.matches+"', as: '"+tt.as+"'}\n", ParseOptions{})
			got, ok := cfg.Rules[0].MetricFor(tt.series)
			if ok != (tt.want != "") || ok && got != tt.want {
				t.Errorf("got %q, %v; want %q", got, ok, tt.want)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	tests := []struct {
		name string
		text string
		want time.Duration // -1: an error
	}{
		{"zero", "0", 0},
		{"seconds", "30s", 30 * time.Second},
		{"milliseconds", "1s500ms", 1500 * time.Millisecond},
		{"all units", "1y2w3d4h5m6s7ms", 365*24*time.Hour + 17*24*time.Hour + 4*time.Hour + 5*time.Minute + 6*time.Second + 7*time.Millisecond},
		{"nothing", "", -1},
		{"no unit", "5", -1},
		{"no number", "m", -1},
		{"out of order", "5m3h", -1},
		{"twice", "5m5m", -1},
		{"fraction", "1.5m", -1},
		{"negative", "-5m", -1},
		{"too long", "999999999y", -1},
		{"far too long", "99999999999999999999s", -1},
		{"another unit", "5min", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseDuration(tt.text)
			if err != nil {
				got = -1
			}
			if got != tt.want {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}
