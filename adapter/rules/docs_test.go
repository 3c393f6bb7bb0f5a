package rules

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every YAML example of the pages is a file that holds, even strictly.
func TestExamplesOfThePagesHold(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, page := range []string{"rules.md", "presets.md", "migrating-from-prometheus-adapter.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			cfg, err := Parse(page, []byte(m[1]), ParseOptions{Strict: true})
			if err != nil || len(cfg.Warnings) > 0 {
				t.Errorf("%v %v in\n%s", err, cfg, m[1])
			}
		}
	}
}

// The presets page names every preset and metric, and no other.
func TestPresetsPageIsComplete(t *testing.T) {
	page, err := os.ReadFile("../../docs/presets.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range PresetNames() {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("the page lacks the preset %s", name)
		}
		for _, r := range mustParse(t, "presets: ["+name+"]", ParseOptions{}).Rules {
			if !strings.Contains(string(page), "`"+r.as+"`") {
				t.Errorf("the page lacks the metric %s", r.as)
			}
		}
	}
	fields, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"seriesQuery", "seriesFilters", "resources.overrides", "resources.template", "resources.namespaced",
		"name.matches", "name.as", "metricsQuery", "backend", "maxStaleness", "partial", "emptyIsZero", "age"} {
		if !strings.Contains(string(fields), "| `"+field+"` |") {
			t.Errorf("the page on rules lacks the field %s", field)
		}
	}
}
