package prewarm_test

import (
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/prewarm"
)

// BenchmarkFloorAt asks a calendar of five windows as the controller does (every 15 s), as a replay does (every minute), and as no
// one does (days apart, each time where nothing is remembered).
func BenchmarkFloorAt(b *testing.B) {
	windows := []prewarm.Window{
		{Name: "office", Schedule: "30 8 * * 1-5", Duration: 9*time.Hour + 30*time.Minute, Replicas: 12, Ramp: 10 * time.Minute},
		{Name: "evening", Schedule: "0 18 * * *", Duration: 5 * time.Hour, Replicas: 6, MaxReplicas: 20},
		{Name: "night", Schedule: "0 22 * * *", Duration: 9 * time.Hour, Replicas: 2, MaxReplicas: 4},
		{Name: "batch", Schedule: "15 */4 * * *", Duration: 40 * time.Minute, Replicas: 8},
		{Name: "launch", From: time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC), Until: time.Date(2026, 12, 1, 7, 0, 0, 0, time.UTC), Replicas: 40},
	}
	for _, bench := range []struct {
		name string
		step time.Duration
	}{{"every 15s", 15 * time.Second}, {"every minute", time.Minute}, {"every 3 days", 72*time.Hour + 7*time.Minute}} {
		b.Run(bench.name, func(b *testing.B) {
			c := calendar(b, "America/New_York", []string{"2026-11-26", "2026-12-25"}, windows...)
			now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
			b.ReportAllocs()
			for b.Loop() {
				c.FloorAt(now, 4*time.Minute)
				now = now.Add(bench.step)
			}
		})
	}
}
