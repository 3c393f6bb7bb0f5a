package app

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

var (
	yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	fileName  = regexp.MustCompile(`^# ([a-z0-9-]+\.yaml)\n`)
	checkLine = regexp.MustCompile(`(?m)^headroom check (-f .*)$`)
)

// checked runs "headroom check" with the arguments.
func checked(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := NewCheckCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.Execute()
	return out.String(), err
}

// TestCheckFindsNothingInTheDocumentedManifests writes each named block of the pages on Headroom objects to a file and runs the
// commands of its page: what the pages show must itself let a floor through.
func TestCheckFindsNothingInTheDocumentedManifests(t *testing.T) {
	pages, err := filepath.Glob("../../docs/headroom/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatal(pages, err)
	}
	pairs, commands := 0, 0
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for i, block := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
				file := filepath.Join(dir, "unnamed.yaml")
				if name := fileName.FindStringSubmatch(block[1]); name != nil {
					file = filepath.Join(dir, name[1])
				}
				if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(block[1], "kind: Headroom") || !strings.Contains(block[1], "kind: HorizontalPodAutoscaler") {
					continue
				}
				pairs++
				if out, err := checked("-f", file); err != nil || !strings.Contains(out, "nothing keeps the floor from the workload") || strings.Contains(out, "warning") {
					t.Errorf("block %d: %v\n%s", i+1, err, out)
				}
			}
			for _, line := range checkLine.FindAllStringSubmatch(string(text), -1) {
				commands++
				args := strings.Fields(line[1])
				for i, arg := range args {
					if strings.HasSuffix(arg, ".yaml") {
						args[i] = filepath.Join(dir, arg)
					}
				}
				if out, err := checked(args...); err != nil {
					t.Errorf("%s: %v\n%s", line[0], err, out)
				}
			}
		})
	}
	if pairs < 8 || commands < 8 {
		t.Errorf("only %d pairs and %d commands were found", pairs, commands)
	}
}

// TestCheckSeesWhatTheDocumentedManifestsAvoid takes out of the first page's pair what it says is needed, one thing at a time.
func TestCheckSeesWhatTheDocumentedManifestsAvoid(t *testing.T) {
	text, err := os.ReadFile("../../docs/headroom/buffer.md")
	if err != nil {
		t.Fatal(err)
	}
	pair := yamlBlock.FindStringSubmatch(string(text))[1]
	for _, test := range []struct {
		name     string
		old, new string
		want     string
	}{
		{name: "no tolerance", old: `    scaleUp: {tolerance: "0"}`, new: `    scaleUp: {stabilizationWindowSeconds: 0}`, want: "ToleranceHidesBuffer"},
		{name: "another average", old: `averageValue: "1"`, new: `averageValue: "2"`, want: "TargetNotOne"},
		{name: "a Value target", old: `{type: AverageValue, averageValue: "1"}`, new: `{type: Value, value: "1"}`, want: "ValueTarget"},
		{name: "none of the metrics", old: "headroom_", new: "other_", want: "NoHeadroomMetric"},
		{name: "a maximum in the way", old: "maxReplicas: 40", new: "maxReplicas: 2", want: "MaxBelowFloor"},
		{name: "no HPA", old: "kind: HorizontalPodAutoscaler", new: "kind: Another", want: "NoAutoscaler"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pair.yaml")
			changed := strings.ReplaceAll(pair, test.old, test.new)
			if changed == pair {
				t.Fatalf("the page has no %q", test.old)
			}
			if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, _ := checked("-f", file); !strings.Contains(out, test.want) {
				t.Errorf("check does not say %s:\n%s", test.want, out)
			}
		})
	}
}

// TestTheServingPageSaysTheDefaults of the flags about Headroom objects, all of them.
func TestTheServingPageSaysTheDefaults(t *testing.T) {
	page, err := os.ReadFile("../../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| (?:`([^`]*)`)? ?\\|").FindAllSubmatch(page, -1) {
		documented[string(row[1])] = string(row[2])
	}
	flags := pflag.NewFlagSet("headrooms", pflag.ContinueOnError)
	o := DefaultOptions()
	o.Headrooms.addFlags(flags)
	all := pflag.NewFlagSet("all", pflag.ContinueOnError)
	o.AddFlags(all)
	flags.AddFlag(all.Lookup("allow-queries"))
	defaults := map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) { defaults[f.Name] = f.DefValue })
	if diff := cmp.Diff(defaults, documented); diff != "" {
		t.Errorf("docs/serving.md (+) and the flags (-) differ:\n%s", diff)
	}
}
