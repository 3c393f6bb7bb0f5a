package promql

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// TestThePastIsTheSumOfWhatPodsAreGiven: the one query for a metric's past gives, at any time, the sum over the workload's pods
// of the value that each is given now: that of the best rule which has one. Several servers run in one workload here, and some
// pods are seen by several rules.
func TestThePastIsTheSumOfWhatPodsAreGiven(t *testing.T) {
	var text strings.Builder
	var pods []string
	add := func(page, pod string, honor bool) {
		data, err := os.ReadFile(filepath.Join(fixtures, page+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(exposition(t, string(data), map[string]string{"namespace": "prod", "pod": pod, "job": page, "container": "main"}, honor))
		if strings.HasPrefix(pod, "llm-") && !slices.Contains(pods, pod) {
			pods = append(pods, pod)
		}
	}
	var presets []string
	for i, preset := range []string{"vllm", "sglang", "tgi", "triton", "istio"} {
		presets = append(presets, preset)
		for j, page := range pages[preset] {
			add(page, fmt.Sprintf("llm-6d4cf56db6-bcd%d%d", i+2, j+2), true)
			add(page, fmt.Sprintf("other-6d4cf56db6-bcd%d%d", i+2, j+2), true) // of another workload
		}
	}
	add("vllm", "llm-6d4cf56db6-twice", true)
	add("sglang", "llm-6d4cf56db6-twice", true)
	db := load(t, text.String())
	catalog := rules.NewCatalog(parse(t, "presets: ["+strings.Join(presets, ", ")+"]"))
	several := 0
	for _, entry := range catalog.Metrics(cluster{}, nil) {
		if entry.Kind != rules.Custom || entry.Resource.Name != "pods" {
			continue
		}
		given := map[string]float64{}
		var queries []rules.Query
		for _, match := range catalog.Candidates(entry.Kind, entry.Resource, entry.Metric, cluster{}) {
			ask := rules.Ask{Series: match.Series, Resource: entry.Resource, Namespaces: []string{"prod"}}
			past, err := match.Rule.BuildPast(ask, "llm-[a-z0-9]+-[a-z0-9]{5}", cluster{})
			if err != nil {
				t.Fatal(err)
			}
			queries = append(queries, past)
			ask.Names = pods
			now, err := match.Rule.Build(ask, cluster{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range db.rows(t, now.Value) {
				pod := r.labels[now.ResourceLabel]
				if _, better := given[pod]; !better {
					given[pod] = r.value
				}
			}
		}
		sum, known := 0.0, false
		for _, value := range given {
			sum, known = sum+value, true
		}
		query, count, err := rules.Together(entry.Kind, queries)
		if err != nil {
			t.Fatal(err)
		}
		rows := db.rows(t, query)
		if len(queries) > 1 {
			several++
		}
		if !known && len(rows) == 0 {
			continue
		}
		if len(rows) != 1 || math.Abs(rows[0].value-sum) > 1e-9*max(1, math.Abs(sum)) && !(math.IsNaN(sum) && math.IsNaN(rows[0].value)) {
			t.Errorf("%s: the past says %v, the pods are given %v, together %v\n%s", entry.Metric, rows, given, sum, query)
		}
		if rows = db.rows(t, count); len(rows) != 1 || int(rows[0].value) != len(given) {
			t.Errorf("%s: the past counts %v pods, %d are given a value", entry.Metric, rows, len(given))
		}
	}
	if several < 4 {
		t.Errorf("only %d metrics are given by several rules", several)
	}
}
