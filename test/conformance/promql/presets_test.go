package promql

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

var update = flag.Bool("update", false, "write the goldens anew")

const fixtures = "../../../adapter/rules/testdata/exposition"

// pages says which exporter's text each preset is tried on.
var pages = map[string][]string{
	"vllm":           {"vllm", "vllm-before-v1"},
	"sglang":         {"sglang", "sglang-underscore"},
	"tgi":            {"tgi"},
	"triton":         {"triton", "triton-trtllm"},
	"llm-d-epp":      {"llm-d-epp", "inference-extension-epp"},
	"nginx-ingress":  {"nginx-ingress"},
	"istio":          {"istio"},
	"kafka-exporter": {"kafka-exporter"},
	"kminion":        {"kminion"},
	"strimzi":        {"strimzi"},
	"dcgm-exporter":  {"dcgm-exporter", "dcgm-exporter-4.6", "dcgm-exporter-old-labels"},
}

func TestEveryPresetHasAPage(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(maps.Keys(pages)), slices.Sorted(slices.Values(rules.PresetNames()))); diff != "" {
		t.Errorf("presets with a page (-) and presets (+):\n%s", diff)
	}
}

// TestPresets shows what each preset makes of its exporter's text, for a scrape with honorLabels and for one without, as a
// golden that a person can check against the page: metric, object, value.
func TestPresets(t *testing.T) {
	for _, preset := range rules.PresetNames() {
		for _, page := range pages[preset] {
			for _, honor := range []bool{true, false} {
				name := page
				if !honor {
					name += "-without-honorLabels"
				}
				t.Run(preset+"/"+name, func(t *testing.T) {
					got := answers(t, preset, page, honor)
					golden := filepath.Join("testdata", preset, name+".golden")
					if *update {
						if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
							t.Fatal(err)
						}
					}
					want, err := os.ReadFile(golden)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(string(want), got); diff != "" {
						t.Errorf("%s (-want +got); go test -update writes it anew:\n%s", golden, diff)
					}
				})
			}
		}
	}
}

// answers are all values of a preset. On the way every rule is held to three promises: it batches, each value has its
// age, and the age is the sample's.
func answers(t *testing.T, preset, page string, honor bool) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(fixtures, page+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	scraped := map[string]string{"namespace": "prod", "pod": "pod-0", "job": "exporter", "service": "metrics", "container": "main"}
	db := load(t, exposition(t, string(text), scraped, honor))
	catalog := rules.NewCatalog(parse(t, "presets: ["+preset+"]"))
	var lines []string
	for _, entry := range catalog.Metrics(cluster{}, nil) {
		for rank, match := range catalog.Candidates(entry.Kind, entry.Resource, entry.Metric, cluster{}) {
			if !match.Rule.Batches() {
				t.Errorf("%s does not batch", match.Rule.Name)
			}
			ask := rules.Ask{Resource: entry.Resource, Namespaces: []string{"prod", "inference", "team-a", "team-b", "kafka", "monitoring"}}
			if entry.Kind == rules.External && !match.Rule.Namespaced {
				ask.Namespaces = nil
			}
			if entry.Resource.Name == "namespaces" {
				continue
			}
			query, err := match.Rule.Build(ask, cluster{})
			if err != nil {
				t.Errorf("%s: %v", match.Rule.Name, err)
				continue
			}
			values, ages := db.ask(t, query.Value), db.ask(t, query.Age)
			for labels, value := range values {
				lines = append(lines, fmt.Sprintf("%s %s%s rule %d = %.6g", entry.Metric, entry.Resource, labels, rank, value))
				if age, ok := ages[labels]; !ok || age != lastScrape {
					t.Errorf("%s %s: the newest sample is said to be of %v (%v), it is of %d\n%s", entry.Metric, labels, age, ok, lastScrape, query.Age)
				}
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
