package hpa_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa/timeline"
)

var update = flag.Bool("update", false, "write what the package computes into testdata")

// TestTimelines plays whole lives from testdata. The module test/cluster/hpa plays the same files with the controller itself, so
// what -update writes cannot be wrong and stay.
func TestTimelines(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no timelines", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := play(string(content))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(content), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("go test ./prewarm/hpa -update writes what is computed (-file +computed):\n%s", diff)
			}
		})
	}
}

func play(text string) (string, error) {
	life, err := timeline.Parse(text)
	if err != nil {
		return "", err
	}
	a, err := hpa.New(life.Spec, life.Flags)
	if err != nil {
		return "", err
	}
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	return life.Play(start, func(s timeline.Sync) (timeline.Outcome, error) {
		if s.Restart {
			a.Restart()
		}
		if err := a.Configure(s.Spec, life.Flags); err != nil {
			return timeline.Outcome{}, err
		}
		return timeline.Show(a.Step(start.Add(s.At), s.Workload, s.Readings)), nil
	})
}

func TestTimelineErrorsNameTheLine(t *testing.T) {
	head := "min 1\nmax 3\nmetric External m AverageValue 1\n--\n"
	for _, test := range []struct{ name, text, says string }{
		{"no syncs", "min 1", "no line --"},
		{"unknown word", "mni 1\n--\n0s", `"mni 1": mni is none of`},
		{"rules without a behavior", "up window=1s\n--\n0s", "needs a line behavior"},
		{"bad rule", "behavior\nup windw=1s\n--\n0s", "there are window"},
		{"short metric", "metric External\n--\n0s", "metric has 5 words"},
		{"bad time", head + "soon 1", `"soon 1"`},
		{"back in time", head + "15s 1\n0s 1", "before the sync above it, at 15s"},
		{"too many pods", head + "0s 1 replicas=10001", "10000 at most"},
		{"bad word", head + "0s 1 mn=2", "mn= is none of"},
		{"too few readings", head + "0s", "0 readings for 1 metrics"},
		{"not a number", head + "0s many", "a number"},
		{"invalid HPA", "min 5\nmax 3\nmetric External m AverageValue 1\n--\n0s 1", "maxReplicas"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := play(test.text); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v does not say %q", err, test.says)
			}
		})
	}
}

// FuzzTimeline holds that a played file, played again, is the same.
func FuzzTimeline(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no timelines", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content))
	}
	f.Fuzz(func(t *testing.T, text string) {
		once, err := play(text)
		if err != nil {
			return
		}
		twice, err := play(once)
		if err != nil || twice != once {
			t.Errorf("%v\n%s\n%s", err, once, twice)
		}
	})
}
