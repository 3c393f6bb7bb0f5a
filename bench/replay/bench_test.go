//go:build unix

package replay

import (
	"syscall"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/prewarm"
)

// cpu is the time that this process has spent on a core.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmark(b *testing.B, p func(s *Scenario) Policy) {
	s := generated(b, 5*time.Minute)
	b.ResetTimer()
	before := cpu(b)
	for range b.N {
		must(b, s, p(s))
	}
	minutes := float64(b.N) * float64(len(s.Offered)) / stepsPerMinute
	b.ReportMetric(minutes/b.Elapsed().Seconds(), "minutes/s")
	b.ReportMetric(minutes/(cpu(b)-before).Seconds(), "minutes/cpu-s") // on a machine that is shared, this is the one that means something
}

func BenchmarkHPAAlone(b *testing.B) {
	benchmark(b, func(*Scenario) Policy { return Policy{Name: "HPA"} })
}

func BenchmarkNPlus2ByMetric(b *testing.B) {
	benchmark(b, func(*Scenario) Policy {
		return Policy{Name: "+2", Floors: &Swept{Buffer: 2, Hold: 5 * time.Minute, Min: 1}, Actuation: ByMetric, ToleranceUp: zero()}
	})
}

func BenchmarkNPlus2ByMinReplicas(b *testing.B) {
	benchmark(b, func(*Scenario) Policy {
		return Policy{Name: "+2", Floors: &Swept{Buffer: 2, Hold: 5 * time.Minute, Min: 1}, Actuation: ByMinReplicas}
	})
}

func BenchmarkDecideInTheLoop(b *testing.B) {
	benchmark(b, func(s *Scenario) Policy {
		return Policy{Name: "+2", Floors: &Decided{Policy: prewarm.Policy{PerReplica: s.PerReplica, BufferReplicas: 2, MaxGrowth: 2, ForecastMode: prewarm.ForecastOff},
			Lead: prewarm.Fixed(5 * time.Minute)}, Actuation: ByMetric, ToleranceUp: zero()}
	})
}
