package controller

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFortnightsOfMinutes is a start with 14 days of history for each of a number of objects and two leads, as a fleet has
// with and without new nodes. The backend answers at once: it is what this process spends itself.
func BenchmarkFortnightsOfMinutes(b *testing.B) {
	const objects = 20
	now, began := time.Now(), spent()
	for b.Loop() {
		e := NewEngines(EnginesOptions{History: &pastDemand{}, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), QueriesPerSecond: 1e6})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		for i := range objects {
			hr := headroom(fmt.Sprint(i))
			hr.Spec.Forecast.History.Duration = 14 * 24 * time.Hour
			e.Observe(hr, now, known(1))
			e.Forecast(hr, now, 4*time.Minute, 0.95)
			e.Forecast(hr, now, 12*time.Minute, 0.95)
		}
		go func() { defer close(done); _ = e.Run(ctx) }()
		for loaded := 0; loaded < objects; loaded, _, _ = e.Counts() {
			runtime.Gosched()
			time.Sleep(time.Millisecond)
		}
		stop()
		<-done
	}
	b.ReportMetric((spent()-began).Seconds()*1000/float64(b.N)/objects, "cpu-ms/object")
}

// spent is the processor time of this process: unlike the time that passes, it does not depend on what else the machine does.
func spent() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
