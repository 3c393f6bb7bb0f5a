package rules

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./adapter/rules -run %s -update", err, t.Name())
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); if the change is meant: go test ./adapter/rules -run '%s' -update\n%s", path, t.Name(), diff)
	}
}

// Every query that a preset sends, as it is sent for two namespaces at once.
func TestPresetsExpand(t *testing.T) {
	for _, name := range PresetNames() {
		t.Run(name, func(t *testing.T) {
			cfg := mustParse(t, "presets: ["+name+"]", ParseOptions{})
			if len(cfg.Warnings) > 0 {
				t.Errorf("warnings: %v", cfg.Warnings)
			}
			var b strings.Builder
			for _, r := range cfg.Rules {
				fmt.Fprintf(&b, "%s %s (%s)\n", r.Kind, r.as, r.Name)
				for _, ask := range asksOf(r) {
					q, err := r.Build(ask, testCluster)
					if err != nil {
						t.Fatalf("%s: %v", r.Name, err)
					}
					fmt.Fprintf(&b, "  of %s, labels %s %s, window %s\n%s\n  age\n%s\n", ask.Resource, q.NamespaceLabel, q.ResourceLabel, q.Window,
						indent(q.Value), indent(q.Age))
				}
				b.WriteString("\n")
			}
			golden(t, "presets/"+name+".golden", b.String())
		})
	}
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

// asksOf are the batched questions to a rule: one for each resource that it offers.
func asksOf(r *Rule) (out []Ask) {
	spaces := []string{"prod", "test"}
	if r.Kind == External {
		if !r.Namespaced {
			spaces = nil
		}
		return []Ask{{Namespaces: spaces}}
	}
	for _, label := range r.Labels() {
		if info, ok := r.ResourceFor(label, testCluster); ok && r.offers(info) {
			out = append(out, Ask{Resource: info.Resource, Namespaces: spaces})
		}
	}
	return out
}

func TestPresetsBatch(t *testing.T) {
	for _, name := range PresetNames() {
		for _, r := range mustParse(t, "presets: ["+name+"]", ParseOptions{}).Rules {
			t.Run(r.Name, func(t *testing.T) {
				if !r.Fixed() || !r.Batches() || r.Age != SampleAge || r.Preset != name {
					t.Errorf("fixed %v, batches %v, age %s, preset %s", r.Fixed(), r.Batches(), r.Age, r.Preset)
				}
				if r.Kind != External {
					return
				}
				// The labels that the preset documents for selectors: those of its result.
				n, err := readQuery(strings.ReplaceAll(r.queryText, "<<.LabelMatchers>>", ""))
				if err != nil {
					t.Fatal(err)
				}
				set, ok := separation{narrowed: func([]labelMatcher) bool { return true }}.separable(n)
				if !ok || set.allBut || len(set.labels) < 2 {
					t.Fatalf("labels of the result: %v, %v", set, ok)
				}
				var sel Selector
				for _, label := range set.labels {
					sel = append(sel, Requirement{label, Equals, []string{"v"}})
				}
				if !r.FiltersInMemory(sel) {
					t.Errorf("does not filter by %v in memory", set.labels)
				}
			})
		}
	}
}

// What the presets promise, by name.
func TestPresetsGiveTheirMetrics(t *testing.T) {
	server := []string{"requests_per_second", "requests_offered_per_second", "requests_waiting", "requests_running"}
	want := map[string][]string{
		"vllm":           append(slices.Clone(server), "kv_cache_usage_ratio", "time_to_first_token_p95_seconds"),
		"sglang":         append(slices.Clone(server), "kv_cache_usage_ratio", "time_to_first_token_p95_seconds"),
		"triton":         append(slices.Clone(server), "kv_cache_usage_ratio", "time_to_first_token_p95_seconds"),
		"tgi":            server,
		"llm-d-epp":      {"requests_offered_per_second", "requests_waiting", "requests_running", "kv_cache_usage_ratio"},
		"nginx-ingress":  {"requests_per_second", "requests_offered_per_second"},
		"istio":          {"requests_per_second", "requests_offered_per_second"},
		"kafka-exporter": {"kafka_consumer_lag", "kafka_consumer_lag_seconds"},
		"kminion":        {"kafka_consumer_lag", "kafka_consumer_lag_seconds"},
		"strimzi":        {"kafka_consumer_lag", "kafka_consumer_lag_seconds"},
		"dcgm-exporter": {"gpu_sm_active_ratio", "gpu_dram_active_ratio", "gpu_tensor_active_ratio", "gpu_graphics_active_ratio",
			"gpu_memory_used_ratio"},
	}
	got := map[string][]string{}
	for _, name := range PresetNames() {
		for _, r := range mustParse(t, "presets: ["+name+"]", ParseOptions{}).Rules {
			if !slices.Contains(got[name], r.as) {
				got[name] = append(got[name], r.as)
			}
		}
	}
	for _, m := range []map[string][]string{want, got} {
		for _, list := range m {
			slices.Sort(list)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics of presets (-want +got):\n%s", diff)
	}
}

func TestPresetOptions(t *testing.T) {
	cfg := mustParse(t, `
backends: [{name: eu, url: http://prometheus.eu:9090}]
presets:
- vllm
- name: vllm
  backend: eu
  maxStaleness: 2m
  partial: Fail
  window: 30s
  labels: {pod: kubernetes_pod_name}
  matchLabels: {job: vllm}
`, ParseOptions{})
	var got []*Rule
	for _, r := range cfg.Rules {
		if r.as == "requests_offered_per_second" {
			got = append(got, r)
		}
	}
	if len(got) != 2 {
		t.Fatalf("%d rules", len(got))
	}
	if r := got[0]; r.Backend != "" || r.MaxStaleness != 0 || r.Partial != Omit {
		t.Errorf("without options: %+v", r)
	}
	r := got[1]
	if r.Backend != "eu" || r.MaxStaleness.String() != "2m0s" || r.Partial != Fail || r.Name != "presets[1].vllm.rules[1]" {
		t.Errorf("with options: %+v", r)
	}
	q, err := r.Build(Ask{Resource: Resource{Name: "pods"}, Namespaces: []string{"a"}}, testCluster)
	if err != nil || q.ResourceLabel != "kubernetes_pod_name" || q.Window.String() != "30s" ||
		!strings.Contains(q.Value, `delta(vllm:num_requests_waiting{namespace="a",job="vllm"}[30s])) / 30`) {
		t.Errorf("query: %+v, %v", q, err)
	}
}
