package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	planned = 160 * time.Second
	rows    = 19 // of the picture: fewer than the 24 of an old terminal
)

func somewhere() []snapshot {
	at := func(second int, phase string, offered float64, alone, ahead fleetNow) snapshot {
		return snapshot{Elapsed: time.Duration(second) * time.Second, Phase: phase, Offered: offered, Fleets: [fleets]fleetNow{alone, ahead}}
	}
	history := []snapshot{
		at(0, "calm", 20, fleetNow{Capacity: 24, Current: 2, Ready: 2}, fleetNow{Capacity: 48, Current: 4, Ready: 4}),
		at(60, "step", 45, fleetNow{Capacity: 24, Metric: 10, Known: true, Current: 2, Desired: 2, Ready: 2, Total: 1200},
			fleetNow{Capacity: 48, Metric: 1, Known: true, Current: 4, Desired: 4, Ready: 4, Total: 1200}),
		at(75, "step", 45, fleetNow{Capacity: 24, Metric: 22.5, Known: true, Current: 2, Desired: 5, Ready: 2, Loading: 2, Pending: 1, Waiting: 300, Late: 100, Total: 1875},
			fleetNow{Capacity: 48, Metric: 1.5, Known: true, Current: 4, Desired: 6, Ready: 4, Loading: 2, Total: 1875}),
		at(125, "step", 45, fleetNow{Capacity: 48, Metric: 9, Known: true, Current: 5, Desired: 5, Ready: 4, Pending: 1, Late: 900, Lost: 20, Total: 4000},
			fleetNow{Capacity: 72, Metric: 1, Known: true, Current: 6, Desired: 6, Ready: 6, Late: 18, Total: 4000}),
	}
	history[2].Decision = decision{Made: true, Demand: 45.2, DemandKnown: true, Need: 4, Buffer: 2, Floor: 6, Replicas: 4, Ready: 4, Reason: "demand 45.2 needs 4 at 12 each, + 2 buffer"}
	history[3].Decision = decision{Made: true, Need: 4, Buffer: 2, Floor: 6, Replicas: 6, Ready: 6,
		Reason: "held at 6 for 4m10s more: the highest of the last 5m, by demand; now demand 45.2 needs 4 at 12 each, + 2 buffer"}
	return history
}

func TestWhatIsShown(t *testing.T) {
	for _, test := range []struct{ name, got string }{
		{"nothing-known-yet", render(somewhere()[:1], planned, 80)},
		{"short-of-pods", render(somewhere()[:3], planned, 80)},
		{"enough-again", render(somewhere(), planned, 100)},
		{"line", line(somewhere()[2]) + "\n"},
		{"summary", summary(somewhere())},
	} {
		t.Run(test.name, func(t *testing.T) {
			golden := filepath.Join("testdata", test.name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(test.got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), test.got); diff != "" {
				t.Errorf("%s differs (-want +got); go test ./test/demo -update writes it:\n%s", golden, diff)
			}
		})
	}
}

func TestThePictureFitsItsWidth(t *testing.T) {
	var long []snapshot
	for i := range 500 {
		s := somewhere()[i%4]
		s.Elapsed = time.Duration(i) * time.Second
		long = append(long, s)
	}
	for _, width := range []int{30, 60, 80, 200} {
		height := 0
		for row := range strings.Lines(render(long, 500*time.Second, width)) {
			height++
			if n := utf8.RuneCountInString(strings.TrimRight(row, "\n")); n > width {
				t.Errorf("%d columns in %d: %q", n, width, row)
			}
		}
		if height != rows {
			t.Errorf("%d rows at width %d: the height must not depend on it", height, width)
		}
	}
}

func TestChartsSpanThePlannedTime(t *testing.T) {
	at := func(seconds ...int) (history []snapshot) {
		for _, s := range seconds {
			history = append(history, snapshot{Elapsed: time.Duration(s) * time.Second, Offered: float64(s)})
		}
		return history
	}
	for _, test := range []struct {
		name    string
		history []snapshot
		want    string
	}{
		{"at the start one column", at(0), "▁"},
		{"half of the time is half of the columns", at(0, 10, 20, 30, 40), "▁▃▅▇█"},
		{"several in one column show the highest", at(0, 1, 9, 8, 10), "██"},
		{"missed seconds repeat the last one", at(0, 10, 40), "▁▃▃▃█"},
		{"the first one late", at(25), "▁▁█"},
		{"past the end the last column", at(70, 90, 100), "▁▁▁▁▁▁▁█"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := sparkline(test.history, 80*time.Second, 8, func(i int) float64 { return test.history[i].Offered }, 1)
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestStudyCountsFromTheStep(t *testing.T) {
	for _, test := range []struct {
		name  string
		fleet int
		want  seen
	}{
		{"alone", alone, seen{most: 4, short: 65 * time.Second, podTime: (60*2 + 15*2 + 50*4) * time.Second, step: 60 * time.Second, asked: 75 * time.Second, grew: 125 * time.Second}},
		{"ahead", ahead, seen{most: 6, podTime: (60*4 + 15*4 + 50*6) * time.Second, step: 60 * time.Second, asked: 75 * time.Second, grew: 125 * time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, study(somewhere(), test.fleet), cmp.AllowUnexported(seen{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnHPAThatHasYetToDecideAskedForNothing(t *testing.T) {
	history := somewhere()
	history[0].Fleets[alone].Desired, history[1].Fleets[alone].Desired = 0, 2 // its first decision, in the second of the step: no more than there is
	if got := study(history, alone).asked; got != 75*time.Second {
		t.Errorf("the HPA asked for more at %s, want 1m15s", got)
	}
}

func TestAFleetThatNeverGrewClaimsNothing(t *testing.T) {
	if got := summary(somewhere()[:2]); strings.Contains(got, "After the step") {
		t.Errorf("a time from the step to a new pod, and there was none:\n%s", got)
	}
}

func TestRatio(t *testing.T) {
	for _, test := range []struct {
		name         string
		alone, ahead float64
		want         string
	}{
		{"fewer", 900, 18, "With Headroom 2.0 % as many requests were late as with the HPA alone.\n"},
		{"none with Headroom", 900, 0.4, "With Headroom no request was late, of the HPA's 900.\n"},
		{"none at all", 0, 0, "No request was late in either.\n"},
		{"more", 10, 25, "With Headroom 2.5 times as many requests were late as with the HPA alone.\n"},
		{"only with Headroom", 0, 25, "With Headroom 25 requests were late, and none with the HPA alone.\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ratio(test.alone, test.ahead)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheManifestIsAHeadroomThatHoldsWhatTheTrafficNeeds(t *testing.T) {
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hr, err := headroom(manifest(from, from.Add(time.Minute)))
	if err != nil {
		t.Fatal(err)
	}
	window := hr.Spec.Prewarm.Windows[0]
	if !window.From.Time.Equal(from) || !window.Until.Time.Equal(from.Add(time.Minute)) || hr.Spec.Forecast.Mode != v1alpha1.ForecastOn || *hr.Spec.Buffer.Replicas != 2 {
		t.Errorf("%+v", hr.Spec)
	}
	if got := hr.Spec.Demand.PerReplica.AsApproximateFloat64(); got != perPod {
		t.Errorf("a replica carries %v for Headroom, and %v in truth", got, perPod)
	}
	peak := 0.0
	for _, piece := range traffic {
		peak = max(peak, piece.From, piece.To)
	}
	if carried := float64(window.Replicas) * perPod; carried < peak {
		t.Errorf("the window's pods carry %v of %v requests/s", carried, peak)
	}
	if windowOpens := traffic.Start("launch"); windowOpens >= traffic.Length() {
		t.Error("the traffic has no launch")
	}
}

func TestALongReasonIsBrokenAtASpace(t *testing.T) {
	for _, test := range []struct{ name, text, one, two string }{
		{"between words", "held at six", "held at", "six"},
		{"just where a line ends", "held at 6 pods", "held at 6", "pods"},
		{"a word that is too long", "heldatsixpods", "heldatsix", "pods"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if one, two := split(test.text, 9); one != test.one || two != test.two {
				t.Errorf("%q and %q, want %q and %q", one, two, test.one, test.two)
			}
		})
	}
}

func TestLinesForALog(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, plain: true, last: -lineEvery}
	for i := range 12 {
		s.draw([]snapshot{{Elapsed: time.Duration(i)*time.Second + 300*time.Millisecond, Phase: "calm", Offered: 20}})
	}
	if got := strings.Count(out.String(), "\n"); got != 3 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%d lines in 12 s, want one every 5 s and no control characters:\n%q", got, out.String())
	}
}

func TestAPictureReplacesTheLastOne(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, planned: planned, width: func() int { return 80 }}
	s.draw(somewhere()[:1])
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("the first picture erases what was before it: %q", out.String())
	}
	out.Reset()
	s.draw(somewhere()[:2])
	if !strings.HasPrefix(out.String(), fmt.Sprintf("\x1b[%dA\x1b[J", rows)) {
		t.Errorf("the second picture does not go up by the first one's lines: %q", out.String()[:20])
	}
}

func TestOptionsAreCheckedTogether(t *testing.T) {
	if err := (options{Duration: 5 * time.Minute}).validate(nil); err != nil {
		t.Error(err)
	}
	err := options{Duration: time.Second}.validate([]string{"fast"})
	for _, want := range []string{"--duration 1s: at least 2m0s", `["fast"]`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestASlowStepTellsHowLongItTook(t *testing.T) {
	for _, test := range []struct {
		name  string
		plain bool
		took  time.Duration
		want  string
	}{
		{"quick", false, time.Second, "\r\x1b[K- Prometheus\n"},
		{"slow", false, 12 * time.Second, "\r\x1b[K- Prometheus (12s)\n"},
		{"quick in a log", true, 12 * time.Second, ""},
		{"slow in a log", true, 70 * time.Second, "  done in 1m10s\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			(&teller{out: &out, plain: test.plain}).end("Prometheus", test.took)
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
