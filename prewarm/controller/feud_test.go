package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// TestAFeudEnds reads a timeline: at each time what happens, and whether Headroom may write after it.
func TestAFeudEnds(t *testing.T) {
	for _, test := range []struct{ name, timeline string }{
		{"three values put back within ten minutes stop it", `
			0m  put back: writes
			1m  put back: writes
			2m  put back: stopped
			30m look: stopped
			61m look: stopped`},
		{"three in more than ten minutes do not", `
			0m  put back: writes
			6m  put back: writes
			12m put back: writes
			18m put back: writes`},
		{"after an hour it tries once", `
			0m  put back: writes
			1m  put back: writes
			2m  put back: stopped
			62m look: writes
			63m put back: stopped
			122m look: stopped
			123m look: writes`},
		{"a try that stands ten minutes is a new beginning", `
			0m  put back: writes
			1m  put back: writes
			2m  put back: stopped
			62m look: writes
			73m put back: writes
			74m put back: writes
			75m put back: stopped`},
		{"a change of the spec ends it at once", `
			0m  put back: writes
			1m  put back: writes
			2m  put back: stopped
			3m  spec changes: writes
			4m  put back: writes
			5m  put back: writes
			6m  put back: stopped`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var f feuds
			start := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
			generation := int64(1)
			for line := range strings.Lines(strings.TrimSpace(test.timeline)) {
				at, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
				what, want, ok := strings.Cut(strings.TrimSpace(rest), ": ")
				after, err := time.ParseDuration(at)
				if err != nil || !ok {
					t.Fatalf("%q: %v", line, err)
				}
				now := start.Add(after)
				if what == "spec changes" {
					generation++
				}
				got := "writes"
				switch {
				case f.stopped("one", now, generation) != nil:
					got = "stopped"
				case what == "put back" && f.wouldStop("one", now):
					f.stop("one", now, generation, hpaKind, bounds{name: "llm", min: new(int32(3)), others: "argocd-controller"})
					got = "stopped"
				case what == "put back":
					f.saw("one", now)
				}
				if got != want {
					t.Errorf("%s %s: %s, want %s", at, what, got, want)
				}
			}
		})
	}
}

func TestTheReasonNamesWhoAndWhen(t *testing.T) {
	var f feuds
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	f.saw("one", now)
	why := f.stop("one", now, 1, hpaKind, bounds{name: "llm", min: new(int32(3)), others: "argocd-controller"})
	for _, part := range []string{`"argocd-controller"`, "minReplicas of HorizontalPodAutoscaler llm back to 3", "2026-12-01T10:00:00Z"} {
		if !strings.Contains(why.Message, part) {
			t.Errorf("%q is not in %q", part, why.Message)
		}
	}
}

func TestFeudsAreForgotten(t *testing.T) {
	var f feuds
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	for i := range 100 {
		f.saw(types.UID(fmt.Sprint(i)), now)
		now = now.Add(time.Hour)
	}
	if len(f.of) > 3 {
		t.Errorf("%d objects are remembered, each an hour older than the next", len(f.of))
	}
}
