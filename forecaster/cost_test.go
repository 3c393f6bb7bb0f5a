package forecaster

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func values(n int) []Observation {
	r := rand.New(rand.NewPCG(1, 1))
	out := make([]Observation, n)
	for i := range out {
		out[i] = Value(wave(r, i))
	}
	return out
}

func TestSteadyStepDoesNotAllocate(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.Leads = []time.Duration{5 * time.Minute, 15 * time.Minute} })
	y := values(20000)
	i := 0
	for ; i < 12000; i++ {
		e.Observe(minute(i), y[i])
	}
	if n := testing.AllocsPerRun(5000, func() {
		e.Observe(minute(i), y[i])
		if _, err := e.Forecast(minute(i + 1)); err != nil {
			t.Fatal(err)
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations a step, want none", n)
	}
}

// heapOf is the heap that one engine with n leads holds.
func heapOf(t testing.TB, leads int) float64 {
	const many = 64
	keep := make([]*Engine, many)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range keep {
		keep[i] = newEngine(t, func(o *Options) {
			o.Leads = nil
			for k := range leads {
				o.Leads = append(o.Leads, time.Duration(15+k)*time.Minute)
			}
		})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(keep)
	return (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / many / 1024
}

func TestStateIsSmall(t *testing.T) {
	one, two := heapOf(t, 1), heapOf(t, 2)
	t.Logf("%.1f KiB at one lead, %.1f KiB for another", one, two-one)
	if one > 96 {
		t.Errorf("%.1f KiB of state at one lead, want at most 96", one)
	}
	if two-one > 48 {
		t.Errorf("%.1f KiB of state for a further lead, want at most 48", two-one)
	}
}

func BenchmarkObserveForecast(b *testing.B) {
	for _, c := range []struct {
		name string
		lead time.Duration
	}{{"lead=2m", 2 * time.Minute}, {"lead=10m", 10 * time.Minute}, {"lead=15m", 15 * time.Minute}} {
		b.Run(c.name, func(b *testing.B) {
			y := values(14 * 1440)
			e := newEngine(b, func(o *Options) { o.Leads = []time.Duration{c.lead} })
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				e.Observe(minute(i), y[i%len(y)])
				if _, err := e.Forecast(minute(i + 1)); err != nil {
					b.Fatal(err)
				}
				i++
			}
			perSecond := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(perSecond, "steps/s")
			b.ReportMetric(60*perSecond, "series/core@60s")
		})
	}
}

func BenchmarkReplayFortnight(b *testing.B) {
	y := values(14 * 1440)
	for b.Loop() {
		e := newEngine(b, nil)
		for i, o := range y {
			e.Observe(minute(i), o)
			if _, err := e.Forecast(minute(i + 1)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	e := aged(b)
	for b.Loop() {
		b.SetBytes(int64(len(e.Snapshot())))
	}
}
