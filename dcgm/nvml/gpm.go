//go:build linux && cgo

package nvml

import (
	"time"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// The metrics of GPM that are read, in one call for all of them; by nvml.h, in percent.
var gpmMetrics = [...]struct {
	id     gonvml.GpmMetricId
	signal dcgm.Signal
}{
	{gonvml.GPM_METRIC_SM_UTIL, dcgm.SMActive},
	{gonvml.GPM_METRIC_DRAM_BW_UTIL, dcgm.DRAMActive},
	{gonvml.GPM_METRIC_ANY_TENSOR_UTIL, dcgm.TensorActive},
	{gonvml.GPM_METRIC_GRAPHICS_UTIL, dcgm.GraphicsActive},
}

// activity is what one GPM target gave, as gpmMetrics.
type activity [len(gpmMetrics)]dcgm.Reading

// aim is a target to sample in this tick, and what came of it.
type aim struct {
	slice      dcgm.Slice
	generation uint64
	shot       shot
	got        activity
	target     *target
}

// unsupported says that the driver does not give this level.
func (a *aim) unsupported() bool {
	return a.shot.code != Success && a.shot.code.absence() == dcgm.NotSupported
}

func (a *aim) call() string {
	if a.shot.instance >= 0 {
		return "nvmlGpmMigSampleGet"
	}
	return "nvmlGpmSampleGet"
}

// target is one thing that GPM samples: a whole GPU, a GPU instance or a compute instance.
type target struct {
	generation  uint64
	ring        ring
	samples     [ringSize]gonvml.GpmSample
	unsupported bool // the driver has said that it does not give this level
}

// fire samples a GPU's targets and compares each with an earlier sample. False when the GPU's tick has ended.
func (l *Library) fire(gpu *dcgm.GPU, handles *gpuHandles, aims []*aim) bool {
	var shots []*shot
	for _, a := range aims {
		if l.load(a) {
			shots = append(shots, &a.shot)
		}
	}
	l.watched("nvmlGpmSampleGet", func() Code {
		l.sampler.gpm.shoot(shots)
		return Success
	})
	now := l.opts.Now()
	if !l.same(gpu, handles) {
		return false
	}
	for _, a := range aims {
		l.develop(a, now)
		if l.ends(a.shot.code) && l.ended(gpu, a.shot.code) {
			return false
		}
	}
	return true
}

// load finds the target's next buffer. False when there is nothing to fire.
func (l *Library) load(a *aim) bool {
	t := l.sampler.targets[a.slice]
	if t != nil && t.generation != a.generation {
		l.drop(a.slice)
		t = nil
	}
	if t == nil {
		t = &target{generation: a.generation}
		l.sampler.targets[a.slice] = t
	}
	a.target = t
	if t.unsupported {
		a.shot.code = NotSupported
		return false
	}
	next := t.ring.next()
	if t.samples[next] == nil {
		a.shot.code = l.call("nvmlGpmSampleAlloc", func() gonvml.Return {
			sample, ret := l.api.GpmSampleAlloc()
			if ret == gonvml.SUCCESS {
				t.samples[next] = sample
			}
			return ret
		})
	}
	a.shot.sample = t.samples[next]
	return a.shot.sample != nil
}

// develop turns a sample that was taken, or was not, into readings.
func (l *Library) develop(a *aim, now time.Time) {
	t := a.target
	l.note(a.call(), a.shot.code)
	if a.shot.code == InvalidArgument && t.ring.empty() {
		a.shot.code = NotSupported // of a handle that was read a moment ago: the driver does not know what is wanted
	}
	if a.shot.code != Success {
		t.unsupported = t.unsupported || a.unsupported()
		a.got = l.nothing(a.slice, a.generation, a.shot.code.absence())
		return
	}
	t.ring.taken(now)
	first, apart, ok := t.ring.first(l.opts.Interval)
	if !ok {
		a.got = l.nothing(a.slice, a.generation, dcgm.Warming)
		return
	}
	a.got, a.shot.code = l.compare(a.slice, a.generation, t.samples[first], t.samples[t.ring.newest], now, apart)
}

// activities samples GPM of a GPU's slices. False when the GPU's tick has ended.
func (l *Library) activities(gpu *dcgm.GPU, handles *gpuHandles) (map[dcgm.Slice]activity, bool) {
	got := make(map[dcgm.Slice]activity, len(gpu.Devices))
	if why := l.gpmAbsence(gpu); why != 0 {
		for _, d := range gpu.Devices {
			got[d.Slice] = l.nothing(d.Slice, d.Generation, why)
		}
		return got, l.same(gpu, handles)
	}
	own := make([]*aim, len(gpu.Devices))
	instances := map[int]*aim{}
	var all []*aim
	for i, d := range gpu.Devices {
		if instances[d.Slice.GI] == nil {
			instances[d.Slice.GI] = &aim{slice: d.Slice.GPUInstance(), generation: d.Generation, shot: shot{device: handles.handle, instance: d.Slice.GI}}
			all = append(all, instances[d.Slice.GI])
		}
		own[i] = &aim{slice: d.Slice, generation: d.Generation, shot: shot{device: handles.devices[i], instance: -1}}
		all = append(all, own[i])
	}
	if !l.fire(gpu, handles, all) {
		return nil, false
	}
	for i, d := range gpu.Devices {
		of, instance := own[i].got, instances[d.Slice.GI].got
		for k, m := range gpmMetrics {
			r := instance[k]
			r.Slice, r.Generation = d.Slice, d.Generation
			switch {
			case m.signal == dcgm.DRAMActive: // the instance's, for each of its compute instances
				of[k] = r
			case own[i].unsupported(): // then the instance's stands in, and says so
				if r.Valid() && d.Profile.GPUSlices != 1 {
					r.Quality = dcgm.Aggregate
				}
				of[k] = r
			}
		}
		got[d.Slice] = of
	}
	return got, true
}

// compare asks GPM for all metrics between two samples.
func (l *Library) compare(slice dcgm.Slice, generation uint64, first, second gonvml.GpmSample, now time.Time, apart time.Duration) (activity, Code) {
	got := activity{}
	code := l.call("nvmlGpmMetricsGet", func() gonvml.Return {
		return l.sampler.gpm.ask(handleOf(first), handleOf(second), func(i int, percent float64, own Code) {
			signal := gpmMetrics[i].signal
			r := dcgm.Reading{Slice: slice, Generation: generation, Signal: signal, At: now, Window: apart, Source: dcgm.GPM, Quality: dcgm.Exact}
			why := dcgm.NotSupported // whatever a metric's own code says: the samples were good
			if own == Success {
				r.Value, why = l.counts.ratio(signal, percent/100)
			}
			if why != 0 {
				r = r.Without(why)
			}
			got[i] = r
		})
	})
	if code == InvalidArgument || code == NotFound {
		code = Unknown // of the pair, not of the slice
	}
	if code != Success {
		return l.nothing(slice, generation, code.absence()), code
	}
	return got, Success
}

// nothing is every activity of a slice absent for one reason.
func (l *Library) nothing(slice dcgm.Slice, generation uint64, why dcgm.Absence) activity {
	now, got := l.opts.Now(), activity{}
	for i, m := range gpmMetrics {
		got[i] = dcgm.Reading{Slice: slice, Generation: generation, Signal: m.signal, At: now, Source: dcgm.GPM, Absence: why}
	}
	return got
}

// forget frees the samples of slices that are not in the layout.
func (l *Library) forget(at *layout) {
	for slice := range l.sampler.targets {
		gpu, here := at.inventory.GPU(slice.GPU)
		here = here && (slice.Level == dcgm.WholeGPU) != gpu.MIG
		if here && slice.Level != dcgm.WholeGPU {
			here = false
			for _, d := range gpu.Devices {
				here = here || d.Slice == slice || d.Slice.GPUInstance() == slice
			}
		}
		if !here {
			l.drop(slice)
		}
	}
}

func (l *Library) drop(slice dcgm.Slice) {
	for _, sample := range l.sampler.targets[slice].samples {
		if sample != nil {
			l.call("nvmlGpmSampleFree", func() gonvml.Return { return l.api.GpmSampleFree(sample) })
		}
	}
	delete(l.sampler.targets, slice)
}

func (l *Library) dropAll() {
	for slice := range l.sampler.targets {
		l.drop(slice)
	}
}
