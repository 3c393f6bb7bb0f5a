package exporter

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/meter"
)

var t0 = time.Unix(1_800_000_000, 0)

func sums(t *testing.T, f *Fleet, now time.Time) map[string]float64 {
	t.Helper()
	reading, err := meter.ReadText(bytes.NewReader(f.Text(now)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, s := range reading {
		got[s.Name] += s.Value
	}
	return got
}

func TestValuesFollowTheLevel(t *testing.T) {
	f := New(Shape{Pods: 20, Namespaces: 2}, t0)
	f.SetLevel(2, t0.Add(10*time.Second)) // 10 s at 10/s before, then 5 s at 20/s
	want := map[string]float64{
		RequestsTotal:      20 * (100 + 100),
		Waiting:            20 * 20,
		Running:            20 * 20,
		CacheRatio:         10 * 0.01,
		DeploymentArrivals: 2 * 200,
		QueueLag:           2 * 200,
	}
	got := sums(t, f, t0.Add(15*time.Second))
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })); diff != "" {
		t.Error(diff)
	}
}

func TestCountersNeverFall(t *testing.T) {
	f := New(Shape{Pods: 10, Namespaces: 1}, t0)
	last := -1.0
	for i := range 20 {
		now := t0.Add(time.Duration(i) * time.Second)
		if i%3 == 0 {
			f.SetLevel(float64(i%5), now)
		}
		total := sums(t, f, now)[RequestsTotal]
		if total < last {
			t.Fatalf("the counter falls from %v to %v at second %d", last, total, i)
		}
		last = total
	}
}

func TestGrowthKeepsNames(t *testing.T) {
	f := New(Shape{Pods: 10, Namespaces: 5}, t0)
	small := string(f.Text(t0))
	f.Resize(Shape{Pods: 5000, Namespaces: 5})
	large := string(f.Text(t0))
	for line := range strings.SplitSeq(strings.TrimSpace(small), "\n") {
		if !strings.Contains(large, line) {
			t.Fatalf("%q is gone after the fleet grew", line)
		}
	}
	if got := strings.Count(large, "\n"); got != 4*5000+2*500+6 {
		t.Errorf("%d lines, want four a pod, two a deployment and six types", got)
	}
}

func TestTargetsCoverEveryDeploymentOnce(t *testing.T) {
	shape := Shape{Pods: 100, Namespaces: 3}
	for _, kind := range []ask.Kind{ask.Pods, ask.Object, ask.External} {
		seen := map[string]bool{}
		for _, target := range shape.Targets(kind, "a", "b") {
			seen[target.Path("v1beta2")] = true
		}
		if len(seen) != 20 {
			t.Errorf("%s: %d distinct requests, want ten deployments by two metrics", kind, len(seen))
		}
	}
}

func TestShapeProblems(t *testing.T) {
	for _, s := range []Shape{{}, {Pods: 15, Namespaces: 1}, {Pods: 10}, {Pods: 100_000, Namespaces: 1}} {
		if s.Problem() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
	if err := (Shape{Pods: 5000, Namespaces: 10}).Problem(); err != nil {
		t.Error(err)
	}
}

func BenchmarkText(b *testing.B) {
	f := New(Shape{Pods: 5000, Namespaces: 10}, t0)
	for b.Loop() {
		f.Text(t0)
	}
}
