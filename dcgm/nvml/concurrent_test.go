//go:build linux && cgo

package nvml

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/test/fakenvml"
)

// TestEverythingAtOnce runs what an agent runs, each in its goroutine, while MIG is reconfigured again and again under it. The fake tells
// misuse; the race detector tells the rest.
func TestEverythingAtOnce(t *testing.T) {
	s := busyNode()
	inChild(t, s, func(f *fake) {
		var ticks atomic.Int64
		lib, err := Open(Options{Library: f.options().Library, Interval: time.Second, Now: func() time.Time { return noon.Add(time.Duration(ticks.Load()) * time.Second) }})
		if err != nil {
			f.Fatal(err)
		}
		if _, err := lib.Inventory(); err != nil {
			f.Fatal(err)
		}
		if err := lib.Listen(); err != nil {
			f.Fatal(err)
		}
		done := make(chan struct{})
		var all sync.WaitGroup
		repeat := func(what func() error) {
			all.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						if err := what(); err != nil {
							f.Error(err)
							return
						}
					}
				}
			})
		}
		repeat(func() error { _, err := lib.Inventory(); return err })
		repeat(func() error { _, err := lib.Processes(); return err })
		repeat(func() error { _, _, err := lib.Next(time.Millisecond); return err })
		repeat(func() error { lib.Verdict(noon); lib.Counts(); return nil })
		values, changed := 0, 0
		for round := range 120 {
			ticks.Add(1)
			if round%5 == 4 {
				f.show(func(s *fakenvml.Scenario) { recut(&s.GPUs[1], true) })
			}
			readings, err := lib.Sample()
			if err != nil {
				f.Fatal(err)
			}
			for _, r := range readings {
				switch {
				case r.Valid() && r.Signal == dcgm.SMActive && r.Slice.Level == dcgm.ComputeInstance:
					values++
					if r.Value != 0 { // the fake's slices are idle; it gives 0.99 for a pair of two instances
						f.Errorf("round %d: %+v", round, r)
					}
				case r.Absence == dcgm.LayoutChanged:
					changed++
				}
			}
		}
		close(done)
		all.Wait()
		if values == 0 || changed == 0 {
			f.Errorf("%d values, %d absences for a changed layout: this test shows little", values, changed)
		}
		if err := lib.Close(); err != nil {
			f.Error(err)
		}
	})
}
