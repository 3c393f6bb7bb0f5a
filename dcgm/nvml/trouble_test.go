//go:build linux && cgo

package nvml

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/test/fakenvml"
)

// everything calls all that the package has.
func everything(f *fake) {
	lib, err := Open(f.options())
	if err != nil {
		f.Log(err)
		return
	}
	f.lib = lib
	inv, err := lib.Inventory()
	f.Log(inv, err)
	for range 3 {
		f.now = f.now.Add(time.Second)
		readings, err := lib.Sample()
		f.Log(len(readings), err)
		processes, err := lib.Processes()
		f.Log(processes, err)
	}
	f.Log(lib.Listen())
	_, _, err = lib.Next(time.Millisecond)
	f.Log(err, lib.Counts(), lib.Verdict(f.now))
	f.Log(lib.Close())
}

func busyNode() fakenvml.Scenario {
	whole, cut := fakenvml.H200(0), fakenvml.H200(1).Sevenths()
	whole.Processes = []fakenvml.Process{{PID: 41, GI: -1, CI: -1, SM: 20, MiB: 100}, {PID: 42, GI: -1, CI: -1, SM: 10, MiB: 100, MPS: true}}
	cut.Processes = []fakenvml.Process{{PID: 43, GI: 1, CI: 0, SM: -1, MiB: 50}}
	return one(whole, cut)
}

// TestEachSymbolMayBeMissing leaves one symbol after another out of the driver.
func TestEachSymbolMayBeMissing(t *testing.T) {
	for _, symbol := range Symbols() {
		t.Run(symbol, func(t *testing.T) {
			inChildWith(t, func() string { return without(t, symbol) }, busyNode(), everything)
		})
	}
}

func TestAllOptionalSymbolsMayBeMissing(t *testing.T) {
	var optional []string
	for _, s := range Symbols() {
		if s != "nvmlInit_v2" && s != "nvmlDeviceGetCount_v2" && s != "nvmlDeviceGetHandleByIndex_v2" && s != "nvmlDeviceGetUUID" {
			optional = append(optional, s)
		}
	}
	inChildWith(t, func() string { return without(t, optional...) }, busyNode(), func(f *fake) {
		everything(f)
		if missing := f.lib.Counts().Missing; len(missing) < 20 {
			f.Errorf("missed only %v", missing)
		}
	})
}

// TestAMissingSymbolEndsAProcess is what the guard is against; if this stopped being so, the tests above would prove nothing.
func TestAMissingSymbolEndsAProcess(t *testing.T) {
	if os.Getenv(childVariable) == t.Name() {
		lib := gonvml.New(gonvml.WithLibraryPath(os.Getenv(libraryVariable)))
		t.Log(lib.Init())
		_, ret := lib.GpmSampleAlloc()
		t.Log("came back", ret)
		return
	}
	needFake(t)
	if out, code := child(t, without(t, "nvmlGpmSampleAlloc")); code != 127 || !strings.Contains(out, "symbol lookup error") {
		t.Errorf("the child ended with code %d and said:\n%s", code, out)
	}
}

func without(t *testing.T, symbols ...string) string {
	t.Helper()
	needFake(t)
	library, err := fakenvml.Build(fakeDirectory, symbols...)
	if err != nil {
		t.Fatal(err)
	}
	return library
}

func TestWithoutBandwidthOfGPUInstancesTheRestIsRead(t *testing.T) {
	s := busyNode()
	s.GPUs[1].Compute(0, 0).Activity.SM = 30
	inChildWith(t, func() string { return without(t, "nvmlGpmMigSampleGet") }, s, func(f *fake) {
		f.open()
		f.tick()
		got := f.tick()
		f.want(got, dcgm.Compute(gpu1, 1, 0), dcgm.SMActive, "0.300 exact")
		f.want(got, dcgm.Compute(gpu1, 1, 0), dcgm.DRAMActive, "not supported")
	})
}

func TestOldGPM(t *testing.T) {
	s := one(fakenvml.H200(0))
	s.GPUs[0].Activity.SM = 25
	t.Run("a driver that knows fewer metrics", func(t *testing.T) {
		s := s
		s.MaxGPMMetric = 8 // bandwidth is 10
		inChild(t, s, func(f *fake) {
			f.open()
			f.tick()
			got := f.tick()
			f.want(got, dcgm.Whole(gpu0), dcgm.SMActive, "0.250 exact")
			f.want(got, dcgm.Whole(gpu0), dcgm.DRAMActive, "not supported")
		})
	})
	t.Run("a driver with another structure", func(t *testing.T) {
		s := s
		s.Rules = []fakenvml.Rule{{Call: "nvmlGpmMetricsGet", GPU: -1, Return: int(ArgumentVersion)}}
		inChild(t, s, func(f *fake) {
			f.open()
			f.tick()
			f.want(f.tick(), dcgm.Whole(gpu0), dcgm.SMActive, "not supported")
		})
	})
}

func TestValuesThatNoRatioCanBe(t *testing.T) {
	s := one(fakenvml.H200(0))
	s.GPUs[0].Activity = fakenvml.Activity{Graphics: math.NaN(), SM: 129.4, Tensor: 102, DRAM: -3}
	inChild(t, s, func(f *fake) {
		f.open()
		f.tick()
		got := f.tick()
		whole := dcgm.Whole(gpu0)
		f.want(got, whole, dcgm.GraphicsActive, "not a number")
		f.want(got, whole, dcgm.SMActive, "out of range")
		f.want(got, whole, dcgm.TensorActive, "1.000 exact")
		f.want(got, whole, dcgm.DRAMActive, "out of range")
		want := Counts{Failures: map[CallError]uint64{}, Clamped: map[dcgm.Signal]uint64{dcgm.TensorActive: 1}, Refused: map[RefusedValue]uint64{
			{dcgm.GraphicsActive, dcgm.NotANumber}: 1, {dcgm.SMActive, dcgm.OutOfRange}: 1, {dcgm.DRAMActive, dcgm.OutOfRange}: 1}}
		if diff := cmp.Diff(want, f.lib.Counts()); diff != "" {
			t.Error(diff)
		}
	})
}

// recut makes each slice of a GPU another one under the same ids.
func recut(gpu *fakenvml.GPU, uuid bool) {
	for i := range gpu.Instances {
		c := gpu.Compute(i, 0)
		c.Incarnation++
		if uuid {
			c.UUID = fmt.Sprintf("%s-%012d", c.UUID[:len("MIG-bbbbbbbb-0000-0019-0000")], c.Incarnation)
		}
	}
}

func TestMIGIsReconfiguredWhileSampling(t *testing.T) {
	slice := dcgm.Compute(gpu0, 1, 0)
	for _, test := range []struct {
		name   string
		change func(f *fake)
	}{
		{"slices get other UUIDs under the same ids", func(f *fake) {
			f.show(func(s *fakenvml.Scenario) { recut(&s.GPUs[0], true) })
		}},
		{"slices are the same in all but an event", func(f *fake) {
			f.show(func(s *fakenvml.Scenario) {
				recut(&s.GPUs[0], false)
				s.Events = append(s.Events, fakenvml.Event{Sequence: 1, GPU: 0, GI: -1, CI: -1, Type: 256})
			})
			e, got, err := f.lib.Next(5 * time.Second)
			if diff := cmp.Diff(Event{Kind: MIGChanged, GPU: gpu0, GI: -1, CI: -1}, e); diff != "" || !got || err != nil {
				f.Error(diff, got, err)
			}
		}},
		{"a slice is destroyed, seen missing and made again", func(f *fake) {
			f.show(func(s *fakenvml.Scenario) { s.GPUs[0].Instances[0].Computes[0].ID = 7 })
			f.want(f.tick(), slice, dcgm.SMActive, "layout changed")
			f.show(func(s *fakenvml.Scenario) { s.GPUs[0].Instances[0].Computes[0].ID = 0; recut(&s.GPUs[0], false) })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := one(fakenvml.H200(0).Sevenths(), fakenvml.H200(1).Sevenths())
			s.GPUs[0].Compute(0, 0).Activity.SM = 40
			s.GPUs[1].Compute(0, 0).Activity.SM = 70
			inChild(t, s, func(f *fake) {
				before := f.open()
				if err := f.lib.Listen(); err != nil {
					f.Fatal(err)
				}
				f.tick()
				f.want(f.tick(), slice, dcgm.SMActive, "0.400 exact")
				test.change(f)
				got := f.tick()
				f.want(got, slice, dcgm.SMActive, "layout changed")
				f.want(got, dcgm.Whole(gpu0), dcgm.SMActive, "layout changed")
				f.want(got, dcgm.Compute(gpu1, 1, 0), dcgm.SMActive, "0.700 exact") // the other GPU goes on
				f.asks(Look)
				after := f.look()
				f.asks(Carry)
				if a, b := before.GPUs[0].Devices[0].Generation, after.GPUs[0].Devices[0].Generation; b <= a {
					f.Errorf("generation %d after %d", b, a)
				}
				if diff := cmp.Diff(before.GPUs[1], after.GPUs[1]); diff != "" {
					f.Errorf("the other GPU has changed: %s", diff)
				}
				got = f.tick()
				f.want(got, slice, dcgm.SMActive, "warming")
				f.want(got, dcgm.Compute(gpu1, 1, 0), dcgm.SMActive, "0.700 exact")
				f.want(f.tick(), slice, dcgm.SMActive, "0.400 exact")
			})
		})
	}
}

func TestAGPUIsLostAndComesBack(t *testing.T) {
	for _, code := range []Code{GPUIsLost, ResetRequired} {
		t.Run(code.String(), func(t *testing.T) {
			s := one(fakenvml.H200(0), fakenvml.H200(1).Sevenths())
			s.GPUs[0].Activity.SM = 40
			inChild(t, s, func(f *fake) {
				f.open()
				f.tick()
				f.tick()
				f.show(func(s *fakenvml.Scenario) { s.Rules = []fakenvml.Rule{{Call: "*", GPU: 1, Return: int(code)}} })
				for range 3 {
					got := f.tick()
					f.want(got, dcgm.Whole(gpu0), dcgm.SMActive, "0.400 exact")
					f.want(got, dcgm.Compute(gpu1, 1, 0), dcgm.SMActive, "gpu lost")
					f.want(got, dcgm.Compute(gpu1, 1, 0), dcgm.MemoryUsed, "gpu lost")
				}
				calls := f.lib.Counts().Failures
				if total := sum(calls); total != 1 {
					f.Errorf("a lost GPU was called %d times: %v", total, calls)
				}
				f.asks(Carry)
				f.now = f.now.Add(Retry)
				f.asks(Look)
				if inv := f.look(); inv.GPUs[1].Absence != dcgm.GPULost || len(inv.GPUs[1].Devices) != 7 {
					f.Errorf("the inventory says %s of a GPU that is still lost, with %d slices", inv.GPUs[1].Absence, len(inv.GPUs[1].Devices))
				}
				f.show(func(s *fakenvml.Scenario) { s.Rules = nil })
				f.now = f.now.Add(Retry)
				f.look()
				f.tick()
				f.want(f.tick(), dcgm.Compute(gpu1, 1, 0), dcgm.SMActive, "0.000 exact")
			})
		})
	}
}

// TestALostGPUIsNotCalledTwice: the call after the one that says lost may hang, also within one tick.
func TestALostGPUIsNotCalledTwice(t *testing.T) {
	for _, call := range []string{"nvmlDeviceGetMemoryInfo_v2", "nvmlGpmSampleGet", "nvmlGpmMigSampleGet", "nvmlGpmMetricsGet", "nvmlDeviceGetUUID"} {
		t.Run(call, func(t *testing.T) {
			inChild(t, one(fakenvml.H200(0).Sevenths(), fakenvml.H200(1)), func(f *fake) {
				f.open()
				f.tick()
				f.tick()
				f.show(func(s *fakenvml.Scenario) {
					s.Rules = []fakenvml.Rule{{Call: call, GPU: 0, Return: int(GPUIsLost), ThenHang: true}}
				})
				got := f.tick()
				f.want(got, dcgm.Compute(gpu0, 4, 0), dcgm.SMActive, "gpu lost")
				f.want(got, dcgm.Whole(gpu1), dcgm.SMActive, "0.000 exact")
				if _, err := f.lib.Processes(); err != nil {
					f.Error(err)
				}
			})
		})
	}
}

func sum(failures map[CallError]uint64) (total uint64) {
	for _, n := range failures {
		total += n
	}
	return total
}

func TestAnXIDThatMeansALostGPU(t *testing.T) {
	inChild(t, one(fakenvml.H200(0)), func(f *fake) {
		f.open()
		if err := f.lib.Listen(); err != nil {
			f.Fatal(err)
		}
		f.tick()
		f.show(func(s *fakenvml.Scenario) {
			s.Events = []fakenvml.Event{{Sequence: 1, Type: 8, Data: 13, GI: -1, CI: -1}, {Sequence: 2, Type: 8, Data: 79, GI: -1, CI: -1}}
		})
		if _, got, err := f.lib.Next(5 * time.Second); !got || err != nil {
			f.Fatal(got, err)
		}
		f.want(f.tick(), dcgm.Whole(gpu0), dcgm.SMActive, "0.000 exact") // 13 is an application's fault
		if e, _, _ := f.lib.Next(5 * time.Second); e.XID != 79 {
			f.Fatal(e)
		}
		f.want(f.tick(), dcgm.Whole(gpu0), dcgm.SMActive, "gpu lost")
	})
}

// until waits for something that another goroutine brings about.
func (f *fake) until(what string, is func() bool) {
	f.Helper()
	deadline := time.After(20 * time.Second)
	for poll := time.Tick(time.Millisecond); !is(); {
		select {
		case <-poll:
		case <-deadline:
			f.Fatalf("never came about: %s", what)
		}
	}
}

func TestACallHangs(t *testing.T) {
	inChild(t, one(fakenvml.H200(0)), func(f *fake) {
		f.open()
		f.tick()
		f.show(func(s *fakenvml.Scenario) {
			s.Rules = []fakenvml.Rule{{Call: "nvmlGpmSampleGet", GPU: -1, Hang: true}}
		})
		done := make(chan error)
		go func() {
			_, err := f.lib.Sample()
			done <- err
		}()
		f.until("the call", func() bool { return f.lib.Verdict(f.now).Hang.Call == "nvmlGpmSampleGet" })
		for _, at := range []struct {
			after time.Duration
			stale bool
			want  Action
		}{{time.Second, false, Carry}, {11 * time.Second, true, Carry}, {61 * time.Second, true, End}} {
			if v := f.lib.Verdict(f.now.Add(at.after)); v.Hang.Stale() != at.stale || v.Action != at.want {
				f.Errorf("after %s: stale %v, asks to %s", at.after, v.Hang.Stale(), v.Action)
			}
		}
		if err := f.lib.Close(); err == nil {
			f.Error("closed under a call that is under way")
		}
		f.show(func(s *fakenvml.Scenario) { s.Rules = nil })
		if err := <-done; err != nil {
			f.Error(err)
		}
		f.asks(Carry)
	})
}

func TestASlowWalkDoesNotHoldSamplingUp(t *testing.T) {
	s := one(fakenvml.H200(0).Sevenths())
	inChild(t, s, func(f *fake) {
		f.open()
		f.show(func(s *fakenvml.Scenario) {
			s.Rules = []fakenvml.Rule{{Call: "nvmlDeviceGetMigDeviceHandleByIndex", GPU: -1, Hang: true}}
		})
		done := make(chan error)
		go func() {
			_, err := f.lib.Inventory()
			done <- err
		}()
		f.until("the walk", func() bool { return f.lib.Verdict(f.now).Hang.Call == "nvmlDeviceGetMigDeviceHandleByIndex" })
		for range 2 { // the clock stands still for the walk's goroutine: it reads it only at the start of a call
			if _, err := f.lib.Sample(); err != nil {
				f.Error(err)
			}
		}
		f.show(func(s *fakenvml.Scenario) { s.Rules = nil })
		if err := <-done; err != nil {
			f.Error(err)
		}
	})
}

func TestTheProcessListGrowsBetweenTwoCalls(t *testing.T) {
	s := one(fakenvml.H200(0), fakenvml.H200(1).Sevenths())
	for pid := 101; pid <= 108; pid++ {
		s.GPUs[0].Processes = append(s.GPUs[0].Processes, fakenvml.Process{PID: pid, GI: -1, CI: -1, SM: pid - 100, MiB: 10})
	}
	s.GPUs[0].Processes = append(s.GPUs[0].Processes, fakenvml.Process{PID: 109, GI: -1, CI: -1, SM: 2147483, MiB: -1, MPS: true})
	s.GPUs[1].Processes = []fakenvml.Process{{PID: 201, GI: 3, CI: 0, SM: -1, MiB: 77}}
	s.GrowBy, s.GrowTimes = 4, 2
	inChild(t, s, func(f *fake) {
		f.open()
		first, err := f.lib.Processes()
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range first {
			if p.BusyKnown {
				f.Errorf("a share of time from the first call, which is over all that the driver remembers: %+v", p)
			}
		}
		got, err := f.lib.Processes()
		if err != nil {
			f.Fatal(err)
		}
		var want []dcgm.Process
		for pid := 101; pid <= 108; pid++ {
			want = append(want, dcgm.Process{Slice: dcgm.Whole(gpu0), PID: pid, MemoryBytes: 10 << 20, MemoryKnown: true, Busy: float64(pid-100) / 100, BusyKnown: true})
		}
		want = append(want, dcgm.Process{Slice: dcgm.Whole(gpu0), PID: 109, MPS: true}, dcgm.Process{Slice: dcgm.Compute(gpu1, 3, 0), PID: 201, MemoryBytes: 77 << 20, MemoryKnown: true})
		if diff := cmp.Diff(want, got); diff != "" {
			f.Error(diff)
		}
		if n := f.lib.Counts().Failures[CallError{"nvmlDeviceGetProcessUtilization", Panicked}]; n == 0 {
			f.Error("the list did not grow: this test shows nothing")
		}
	})
}

func TestOldDriversAreKeptOffMIG(t *testing.T) {
	s := one(fakenvml.H200(0).Sevenths(), fakenvml.H200(1))
	s.Driver = "535.129.03"
	slice := dcgm.Compute(gpu0, 1, 0)
	t.Run("by default", func(t *testing.T) {
		inChild(t, s, func(f *fake) {
			f.open()
			f.tick()
			got := f.tick()
			f.want(got, slice, dcgm.SMActive, "driver too old")
			f.want(got, slice, dcgm.MemoryTotal, "16384 MiB")
			f.want(got, dcgm.Whole(gpu1), dcgm.SMActive, "0.000 exact")
		})
	})
	t.Run("unless trusted", func(t *testing.T) {
		inChild(t, s, func(f *fake) {
			f.opts.TrustOldDrivers = true
			f.open()
			f.tick()
			f.want(f.tick(), slice, dcgm.SMActive, "0.000 exact")
			f.asks(Carry)
		})
	})
	t.Run("and given up where GPM breaks memory", func(t *testing.T) {
		s := s
		s.BreakMemory = true
		inChild(t, s, func(f *fake) {
			f.opts.TrustOldDrivers = true
			f.open()
			f.tick()
			v := f.lib.Verdict(f.now)
			if diff := cmp.Diff([]string{gpu0}, v.WithoutGPM); v.Action != Restart || diff != "" {
				f.Errorf("asks to %s: %s", v.Action, diff)
			}
			got := f.tick()
			f.want(got, slice, dcgm.SMActive, "driver too old")
			f.want(got, slice, dcgm.MemoryUsed, "failed")
		})
	})
	t.Run("and not tried again by the new process", func(t *testing.T) {
		s := s
		s.BreakMemory = true
		inChild(t, s, func(f *fake) {
			f.opts.TrustOldDrivers, f.opts.WithoutGPM = true, []string{gpu0}
			f.open()
			f.tick()
			got := f.tick()
			f.want(got, slice, dcgm.SMActive, "driver too old")
			f.want(got, slice, dcgm.MemoryUsed, "0 MiB")
			f.asks(Carry)
		})
	})
}

func TestNoDriver(t *testing.T) {
	for _, test := range []struct {
		name string
		file string // of the library; "" for the fake
		init Code
		want Code
		asks Action
	}{
		{"no library", "libnvidia-ml-of-nobody.so.1", Success, LibraryNotFound, Reopen},
		{"driver not loaded", "", DriverNotLoaded, DriverNotLoaded, Reopen},
		{"driver replaced", "", VersionMismatch, VersionMismatch, Release},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := one(fakenvml.H200(0))
			s.Init = int(test.init)
			inChild(t, s, func(f *fake) {
				opts := f.options()
				if test.file != "" {
					opts.Library = filepath.Join(f.TempDir(), test.file)
				}
				_, err := Open(opts)
				var failed *CallError
				if !errors.As(err, &failed) || failed.Code != test.want || OnCode(failed.Code) != test.asks {
					f.Errorf("%v, want one of code %q that asks to %s", err, test.want, test.asks)
				}
			})
		})
	}
}

// TestTheDriverIsFoundWhereTheSystemHasIt is how a whole program takes the fake: by the driver's name and the system's search path.
func TestTheDriverIsFoundWhereTheSystemHasIt(t *testing.T) {
	inChild(t, one(fakenvml.H200(0)), func(f *fake) {
		opts := f.options()
		opts.Library = ""
		lib, err := Open(opts)
		if err != nil {
			f.Fatal(err)
		}
		if inv, err := lib.Inventory(); err != nil || len(inv.GPUs) != 1 || inv.GPUs[0].UUID != gpu0 {
			f.Error(inv, err)
		}
		if err := lib.Close(); err != nil {
			f.Error(err)
		}
	})
}

// TestNothingLeaks samples for some hours' worth of ticks, with a MIG change every hundred.
func TestNothingLeaks(t *testing.T) {
	inChild(t, one(fakenvml.H200(0).Sevenths()), func(f *fake) {
		f.open()
		var before float64
		for i := range 10_000 {
			if i%100 == 99 {
				f.show(func(s *fakenvml.Scenario) { recut(&s.GPUs[0], true) })
				f.tick()
				f.look()
			}
			f.tick()
			if i == 2000 {
				before = residentMiB(f)
			}
		}
		if after := residentMiB(f); after > before+8 {
			f.Errorf("grew from %.1f to %.1f MiB", before, after)
		}
	})
}

func TestTheDriverIsReplacedUnderTheProcess(t *testing.T) {
	inChild(t, one(fakenvml.H200(0)), func(f *fake) {
		f.open()
		f.tick()
		f.show(func(s *fakenvml.Scenario) {
			s.Rules = []fakenvml.Rule{{Call: "nvmlGpmSampleGet", GPU: -1, Return: int(VersionMismatch)}}
		})
		f.want(f.tick(), dcgm.Whole(gpu0), dcgm.SMActive, "failed")
		f.asks(Release)
	})
}

func TestWithoutPermission(t *testing.T) {
	s := one(fakenvml.H200(0).Sevenths())
	s.GPUs[0].Compute(0, 0).Activity.SM = 50
	s.Rules = []fakenvml.Rule{{Call: "nvmlGpmMigSampleGet", GPU: -1, Return: int(NoPermission)}}
	inChild(t, s, func(f *fake) {
		f.open()
		f.tick()
		got := f.tick()
		f.want(got, dcgm.Compute(gpu0, 1, 0), dcgm.SMActive, "0.500 exact")
		f.want(got, dcgm.Compute(gpu0, 1, 0), dcgm.DRAMActive, "no permission")
		if diff := cmp.Diff([]string{"nvmlGpmMigSampleGet"}, f.lib.Verdict(f.now).Denied); diff != "" {
			f.Error(diff)
		}
	})
}
