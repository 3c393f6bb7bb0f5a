package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/nvml"
)

const (
	auditEvery     = 30 * time.Second
	lookAtMost     = time.Second // between two looks at the inventory
	processesEvery = 2 * time.Second
	verdictEvery   = time.Second
	eventWait      = 500 * time.Millisecond // so that an end waits for no longer
	endWait        = 1500 * time.Millisecond
)

// RestartError asks for a new process that leaves these GPUs' performance counters alone.
type RestartError struct {
	WithoutGPM []string
	Why        string
}

func (e *RestartError) Error() string { return "a new process is needed: " + e.Why }

// readDriver opens the driver, waiting for one to come, and reads until it may not.
func (a *Agent) readDriver(ctx context.Context) error {
	opts := nvml.DefaultOptions()
	opts.Library, opts.Interval, opts.TrustOldDrivers, opts.WithoutGPM = a.opts.Driver.Library, a.opts.Interval, a.opts.Driver.TrustOldDrivers, a.opts.Driver.WithoutGPM
	for failures := 1; ; failures++ {
		lib, err := nvml.Open(opts)
		if err == nil {
			return a.drive(ctx, lib)
		}
		if errors.Is(err, nvml.ErrNoSupport) {
			return err
		}
		if call, ok := errors.AsType[*nvml.CallError](err); ok && nvml.OnCode(call.Code) == nvml.Release {
			a.log.Info("only a new process can go on", "error", err)
			return nil
		}
		wait := nvml.RetryOpenAfter(failures)
		if failures == 1 {
			a.log.Warn("no NVIDIA driver: staying without readings and looking again", "error", err, "after", wait)
		}
		a.tick(dcgm.Frame{At: time.Now()}, nvml.Counts{})
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// reading is one open driver and the goroutines on it.
type reading struct {
	*Agent
	lib       *nvml.Library
	inventory atomic.Pointer[dcgm.Inventory]
	processes atomic.Pointer[listed]
}

// listed is what ran at a time.
type listed struct {
	at        time.Time
	processes []dcgm.Process // not nil
}

// drive reads until the context ends or the driver asks for an end.
func (a *Agent) drive(ctx context.Context, lib *nvml.Library) error {
	r := &reading{Agent: a, lib: lib}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { r.lookAround(ctx, &work) })
	err := r.judge(ctx)
	cancel()
	if !ended(&work) {
		a.log.Warn("a driver call is under way: ending without letting go of the driver")
		return err
	}
	if closed := lib.Close(); closed != nil {
		a.log.Warn("the driver was not let go of", "error", closed)
	}
	return err
}

// ended waits for the goroutines, but for no hung call.
func ended(work *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(endWait):
		return false
	}
}

// lookAround keeps the inventory; the first begins everything that needs one.
func (r *reading) lookAround(ctx context.Context, work *sync.WaitGroup) {
	for begun := false; ctx.Err() == nil; {
		inv, err := r.lib.Inventory()
		switch {
		case err != nil:
			r.log.Warn("the GPUs could not be listed", "error", err)
		default:
			if old := r.inventory.Swap(inv); changed(old, inv) {
				r.log.Info("GPUs", "driver", inv.Driver, "gpus", len(inv.GPUs), "mig_devices", migDevices(inv))
			}
			if !begun {
				begun = true
				if err := r.lib.Listen(); err != nil {
					r.log.Info("no events from the driver: changes are found by looking", "error", err, "every", auditEvery)
				} else {
					work.Go(func() { r.hear(ctx) })
				}
				work.Go(func() { every(ctx, processesEvery, r.list) })
				work.Go(func() { every(ctx, r.opts.Interval, r.sample) })
			}
		}
		if !sleep(ctx, lookAtMost) {
			return
		}
		select {
		case <-r.looks:
		case <-time.After(auditEvery - lookAtMost):
		case <-ctx.Done():
		}
	}
}

// sample is a tick.
func (r *reading) sample() bool {
	inv := r.inventory.Load() // before the sample, which may already be of a later layout: the ladder goes by generations
	readings, err := r.lib.Sample()
	if err != nil {
		r.log.Debug("sample", "error", err)
		return true
	}
	f := dcgm.Frame{At: time.Now(), Inventory: inv, Readings: readings}
	if p := r.processes.Load(); p != nil && f.At.Sub(p.at) <= dcgm.StaleIntervals*processesEvery {
		f.Processes = p.processes
	}
	r.tick(f, r.lib.Counts())
	return true
}

func (r *reading) list() bool {
	processes, err := r.lib.Processes()
	if err != nil {
		r.log.Debug("processes", "error", err)
		return true
	}
	if processes == nil {
		processes = []dcgm.Process{}
	}
	r.processes.Store(&listed{time.Now(), processes})
	return true
}

// hear takes the driver's events.
func (r *reading) hear(ctx context.Context) {
	for ctx.Err() == nil {
		event, is, err := r.lib.Next(eventWait)
		switch {
		case err != nil:
			r.log.Warn("events of the driver", "error", err)
			if !sleep(ctx, auditEvery) {
				return
			}
		case is:
			r.log.Info("the driver reports", "kind", event.Kind, "gpu", event.GPU, "gi", event.GI, "ci", event.CI, "xid", event.XID)
			r.metrics.heard(event)
		}
	}
}

// judge looks at the driver's verdict without ever touching the driver, and ends with what it asks for.
func (r *reading) judge(ctx context.Context) (err error) {
	hung, denied := false, 0
	every(ctx, verdictEvery, func() bool {
		v := r.lib.Verdict(time.Now())
		if len(v.Denied) > denied {
			denied = len(v.Denied)
			r.log.Warn("the driver refuses calls: MIG devices need NVIDIA_MIG_MONITOR_DEVICES=all and CAP_SYS_ADMIN", "calls", v.Denied)
		}
		if v.Hang.Stale() && !hung {
			r.log.Error("the driver does not answer", "call", v.Hang.Call, "for", v.Hang.For)
			r.tell(dcgm.Hung)
		}
		hung = v.Hang.Stale()
		switch v.Action {
		case nvml.Look:
			r.look()
		case nvml.Release:
			r.log.Info("letting go of the driver", "why", v.Why)
			return false
		case nvml.Restart:
			err = &RestartError{WithoutGPM: v.WithoutGPM, Why: v.Why}
			return false
		case nvml.End:
			err = fmt.Errorf("the driver hangs: %s", v.Why)
			return false
		}
		return true
	})
	return err
}

// tell publishes one absence for everything.
func (r *reading) tell(why dcgm.Absence) {
	now := time.Now()
	f := dcgm.Frame{At: now, Inventory: r.inventory.Load()}
	if f.Inventory == nil {
		return
	}
	absent := func(slice dcgm.Slice, generation uint64) {
		for _, signal := range dcgm.Signals {
			f.Readings = append(f.Readings, dcgm.Reading{Slice: slice, Generation: generation, Signal: signal, At: now, Source: dcgm.GPM, Absence: why})
		}
	}
	for _, gpu := range f.Inventory.GPUs {
		absent(dcgm.Whole(gpu.UUID), gpu.Generation)
		for _, d := range gpu.Devices {
			absent(d.Slice, d.Generation)
		}
	}
	r.tick(f, r.lib.Counts())
}

// changed says that a look found something else than the one before.
func changed(old, now *dcgm.Inventory) bool {
	if old == nil || len(old.GPUs) != len(now.GPUs) {
		return true
	}
	for i := range now.GPUs {
		if old.GPUs[i].UUID != now.GPUs[i].UUID || old.GPUs[i].Generation != now.GPUs[i].Generation || old.GPUs[i].Absence != now.GPUs[i].Absence {
			return true
		}
	}
	return false
}

func migDevices(inv *dcgm.Inventory) (n int) {
	for _, gpu := range inv.GPUs {
		n += len(gpu.Devices)
	}
	return n
}
