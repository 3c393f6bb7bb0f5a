package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func somewhere() []snapshot {
	return []snapshot{
		{Elapsed: 0, Phase: "calm", Offered: 20, Capacity: 24, Metric: 10, Current: 2, Desired: 2, Ready: 2, GPUs: 10},
		{Elapsed: 60 * time.Second, Phase: "step", Offered: 45, Capacity: 24, Metric: 10, Current: 2, Desired: 2, Ready: 2, GPUs: 10, Total: 1200},
		{Elapsed: 75 * time.Second, Phase: "step", Offered: 45, Capacity: 24, Metric: 22.5, Current: 2, Desired: 5, Ready: 2, Loading: 3, Pending: 1, GPUs: 10, Waiting: 300, Late: 100, Total: 1875},
		{Elapsed: 125 * time.Second, Phase: "step", Offered: 45, Capacity: 60, Metric: 9, Current: 5, Desired: 5, Ready: 5, GPUs: 10, Late: 900, Lost: 20, Total: 4000},
	}
}

func TestThePicture(t *testing.T) {
	want := `  1:15  step        (the newest second is on the right)

  offered      45 req/s  ▄██
  capacity     24 req/s  ▅▅▅
  waiting     300 req    ▁▁█

  per pod    22.5 req/s, as the HPA read it last (target 10)
  HPA           2 → 5 replicas
  pods          2 Ready, 3 loading, 1 Pending   ██▒▒▒·····?
  late        100 of 1875 requests (5.3 %)
`
	if diff := cmp.Diff(want, render(somewhere()[:3], 80)); diff != "" {
		t.Errorf("picture (-want +got):\n%s", diff)
	}
}

func TestThePictureFitsItsWidth(t *testing.T) {
	var long []snapshot
	for i := range 500 {
		s := somewhere()[i%4]
		s.Elapsed = time.Duration(i) * time.Second
		long = append(long, s)
	}
	for _, width := range []int{60, 80, 200} {
		for row := range strings.Lines(render(long, width)) {
			if n := len([]rune(strings.TrimRight(row, "\n"))); n > width {
				t.Errorf("%d columns in %d: %q", n, width, row)
			}
		}
	}
}

func TestTheSummaryCountsFromTheStep(t *testing.T) {
	got := summary(somewhere())
	for _, want := range []string{"from 2 to 5 Ready pods", "up to 1 more found no GPU", "900 of 4000 requests (22.5 %)", "20 of them gave up", "it took 1m5s"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}

func TestLinesForALog(t *testing.T) {
	var out strings.Builder
	s := newScreen(&out, true)
	for i := range 12 {
		s.draw([]snapshot{{Elapsed: time.Duration(i) * time.Second, Phase: "calm", Offered: 20}})
	}
	if got := strings.Count(out.String(), "\n"); got != 3 {
		t.Errorf("%d lines in 12 s, want one every 5 s:\n%s", got, out.String())
	}
}
