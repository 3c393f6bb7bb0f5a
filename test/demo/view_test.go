package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

const planned = 160 * time.Second

func somewhere() []snapshot {
	return []snapshot{
		{Elapsed: 0, Phase: "calm", Offered: 20, Capacity: 24, Current: 2, Ready: 2, GPUs: 4},
		{Elapsed: 60 * time.Second, Phase: "step", Offered: 45, Capacity: 24, Metric: 10, Known: true, Current: 2, Desired: 2, Ready: 2, GPUs: 4, Total: 1200},
		{Elapsed: 75 * time.Second, Phase: "step", Offered: 45, Capacity: 24, Metric: 22.5, Known: true, Current: 2, Desired: 5, Ready: 2, Loading: 2, Pending: 1, GPUs: 4, Waiting: 300, Late: 100, Total: 1875},
		{Elapsed: 125 * time.Second, Phase: "step", Offered: 45, Capacity: 48, Metric: 9, Known: true, Current: 5, Desired: 5, Ready: 4, Pending: 1, GPUs: 4, Late: 900, Lost: 20, Total: 4000},
	}
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
		if height != 12 {
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
	want := seen{most: 4, pending: 1, short: 65 * time.Second, step: 60 * time.Second, asked: 75 * time.Second, grew: 125 * time.Second}
	if diff := cmp.Diff(want, study(somewhere()), cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnHPAThatHasYetToDecideAskedForNothing(t *testing.T) {
	history := somewhere()
	history[0].Desired, history[1].Desired = 0, 2 // its first decision, in the second of the step: no more than there is
	if got := study(history).asked; got != 75*time.Second {
		t.Errorf("the HPA asked for more at %s, want 1m15s", got)
	}
}

func TestAFleetThatNeverGrewClaimsNothing(t *testing.T) {
	if got := summary(somewhere()[:2]); strings.Contains(got, "After the step") {
		t.Errorf("a time from the step to a new pod, and there was none:\n%s", got)
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
	if !strings.HasPrefix(out.String(), "\x1b[12A\x1b[J") {
		t.Errorf("the second picture does not go up by the first one's 12 lines: %q", out.String()[:20])
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
