package agent

import (
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/exporter"
	"github.com/headroom-autoscaler/headroom/dcgm/nvml"
	"github.com/headroom-autoscaler/headroom/dcgm/podmap"
)

// View is what a tick made of all sources. It is immutable.
type View struct {
	dcgm.Frame                    // as read; Inventory is always there once there is one
	Snapshot   *exporter.Snapshot // what is shown of it
	Unplaced   []podmap.Holding   // devices of pods that the node does not have, as far as is known
	PodsAt     time.Time          // when the kubelet was heard; zero: never
	Unknown    []podmap.Refused   // device ids that could not be read
}

// tick takes what was read and publishes what it means. Several may want to at once: the sampler, and the one that sees it hang.
func (a *Agent) tick(f dcgm.Frame, counts nvml.Counts) {
	a.ticking.Lock()
	defer a.ticking.Unlock()
	began := time.Now()
	v := a.see(f, counts, began)
	a.exporter.Publish(v.Snapshot)
	a.twin.Publish(v.Snapshot)
	a.hub.publish(v)
	a.metrics.ticked(v, time.Since(began))
	for _, h := range v.Unplaced { // the layout may have changed without a word from the driver
		if _, known := a.sought[h.ID]; !known {
			a.look()
		}
	}
	a.sought = map[string]struct{}{}
	for _, h := range v.Unplaced { // once for each: a device of no known kind stays unplaced for good
		a.sought[h.ID] = struct{}{}
	}
}

// see joins what was read with what is known of pods.
func (a *Agent) see(f dcgm.Frame, counts nvml.Counts, now time.Time) *View {
	for _, r := range f.Readings {
		a.ladder.Offer(r)
	}
	if scraped := a.scraped.Load(); scraped != nil {
		for _, r := range *scraped {
			a.ladder.Offer(r)
		}
	}
	v := &View{Frame: f}
	s := scene{inventory: f.Inventory, best: map[dcgm.Slice][]dcgm.Reading{}, processes: f.Processes, owner: func(pid int) (dcgm.CgroupOwner, bool) { return podmap.Owner(a.opts.Pods.Proc, pid) }}
	v.Snapshot = &exporter.Snapshot{Inventory: f.Inventory, Health: health(f, counts)}
	wanted := false
	a.each(f.Inventory, func(slice dcgm.Slice) {
		for _, signal := range dcgm.Signals {
			r := a.ladder.Best(slice, signal, now)
			s.best[slice] = append(s.best[slice], r)
			v.Snapshot.Readings = append(v.Snapshot.Readings, r)
			missing := !r.Valid() && (r.Absence == dcgm.NotSupported || r.Absence == dcgm.DriverTooOld || r.Absence == dcgm.Stale)
			wanted = wanted || signal == dcgm.SMActive && (missing || r.Source == dcgm.DCGMExporter)
		}
	})
	a.wanted.Store(wanted)
	a.ladder.Forget(func(slice dcgm.Slice) bool { _, there := s.best[slice]; return there })
	if known := a.pods.Load(); known != nil {
		v.PodsAt, v.Unknown = known.Map.At, known.Refused
		if known.Fresh(now) && f.Inventory != nil {
			s.held, s.uids = known.Held, known.uids
			t := s.attribute()
			v.Snapshot.Pods, v.Snapshot.Holders, v.Unplaced = t.pods, t.holders, t.unplaced
		}
	}
	return v
}

// each shows every GPU and MIG device.
func (a *Agent) each(inv *dcgm.Inventory, show func(dcgm.Slice)) {
	if inv == nil {
		return
	}
	for _, gpu := range inv.GPUs {
		show(dcgm.Whole(gpu.UUID))
		for _, d := range gpu.Devices {
			show(d.Slice)
		}
	}
}

func health(f dcgm.Frame, counts nvml.Counts) exporter.Health {
	h := exporter.Health{Up: f.Inventory != nil, Clamped: counts.Clamped, Failures: map[exporter.Failure]uint64{}, Refused: map[exporter.Refusal]uint64{}}
	if len(f.Readings) > 0 {
		h.SampledAt = f.At
	}
	for failed, n := range counts.Failures {
		h.Failures[exporter.Failure{Call: failed.Call, Code: failed.Code.String()}] += n
	}
	for refused, n := range counts.Refused {
		h.Refused[exporter.Refusal{Signal: refused.Signal, Why: refused.Why}] += n
	}
	return h
}
