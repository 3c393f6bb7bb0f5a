package hpa

import (
	"testing"
	"time"
)

// documented is the HPA of the documentation: Headroom's metric, AverageValue "1", no tolerance on the way up.
func documented() Spec {
	none := 0.0
	return Spec{MinReplicas: 1, MaxReplicas: 40, Behavior: &Behavior{ScaleUp: Rules{Tolerance: &none}},
		Metrics: []Metric{{Kind: External, Name: "headroom_replicas", Target: AverageValue, TargetMilli: 1000, Headroom: true}}}
}

// day is a floor that rises and falls, at one sync every 15 s.
func day(step int) int64 {
	minute := step / 4 % 1440
	if minute > 720 {
		minute = 1440 - minute
	}
	return int64(1+minute/24) * 1000
}

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func steps(b *testing.B, spec Spec, reading func(step int, w Workload, r *Reading)) {
	a, err := New(spec, DefaultFlags())
	if err != nil {
		b.Fatal(err)
	}
	replicas, now := int32(1), start
	readings := make([]Reading, len(spec.Metrics))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		now = now.Add(15 * time.Second)
		w := Workload{SpecReplicas: replicas, StatusReplicas: replicas, Pods: replicas, Ready: replicas}
		for k := range readings {
			reading(i, w, &readings[k])
		}
		replicas = a.Step(now, w, readings).Replicas
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}

func BenchmarkStepExternal(b *testing.B) {
	steps(b, documented(), func(i int, _ Workload, r *Reading) { r.Value = day(i) })
}

func BenchmarkStepExternalHourWindow(b *testing.B) {
	spec, hour := documented(), time.Hour
	spec.Behavior.ScaleDown.StabilizationWindow = &hour
	steps(b, spec, func(i int, _ Workload, r *Reading) { r.Value = day(i) })
}

func BenchmarkStepPodsTally(b *testing.B) {
	spec := documented()
	spec.Metrics[0] = Metric{Kind: Pods, Name: "requests", Target: AverageValue, TargetMilli: 12000}
	var tally Tally
	steps(b, spec, func(i int, w Workload, r *Reading) {
		tally = Tally{Pods: w.Pods, Sampled: w.Ready, SumMilli: 12 * day(i)}
		r.Tally = &tally
	})
}
