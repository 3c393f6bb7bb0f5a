//go:build linux && cgo

package nvml

import (
	"errors"
	"time"
	"unsafe"

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

// sampler is what Sample keeps from tick to tick.
type sampler struct {
	targets map[dcgm.Slice]*target
	metrics metricsGet
	proven  map[string]int // how many ticks GPM has run on a GPU with memory still readable
	batch   []dcgm.Reading
}

// target is one thing that GPM samples: a whole GPU, a GPU instance or a compute instance.
type target struct {
	generation  uint64
	ring        ring
	samples     [ringSize]gonvml.GpmSample
	unsupported bool // the driver has said that it does not give this level
}

// provenTicks is how often memory is read again after GPM: the first tick takes one sample, the second the first pair.
const provenTicks = 3

func (s *sampler) init() {
	s.metrics.find()
	s.targets, s.proven = map[dcgm.Slice]*target{}, map[string]int{}
}

// ErrNoLayout is Sample's before the first Inventory.
var ErrNoLayout = errors.New("no inventory yet")

// Sample reads every slice once: activity as a mean since about one interval ago, memory as it is. What cannot be read is there with the
// reason.
func (l *Library) Sample() ([]dcgm.Reading, error) {
	l.sampling.Lock()
	defer l.sampling.Unlock()
	at := l.layout.Load()
	if at == nil {
		return nil, ErrNoLayout
	}
	l.forget(at)
	l.sampler.batch = make([]dcgm.Reading, 0, len(l.sampler.batch)+8)
	for i := range at.inventory.GPUs {
		gpu, handles := &at.inventory.GPUs[i], &at.gpus[i]
		switch {
		case l.wasLost(gpu.UUID): // until a walk has seen it well
			l.absent(gpu, dcgm.GPULost)
		case gpu.Absence != 0:
			l.absent(gpu, gpu.Absence)
		case handles.doubts != l.doubts(gpu.UUID):
			l.absent(gpu, dcgm.LayoutChanged)
		case gpu.MIG:
			l.sampleSlices(gpu, handles)
		default:
			l.sampleWhole(gpu, handles)
		}
	}
	return l.sampler.batch, nil
}

func (l *Library) add(r dcgm.Reading) { l.sampler.batch = append(l.sampler.batch, r) }

// absent says why there is nothing of a GPU and its slices, in place of whatever this tick read of them.
func (l *Library) absent(gpu *dcgm.GPU, why dcgm.Absence) {
	keep := l.sampler.batch[:0]
	for _, r := range l.sampler.batch {
		if r.Slice.GPU != gpu.UUID {
			keep = append(keep, r)
		}
	}
	l.sampler.batch = keep
	now := l.opts.Now()
	every := func(slice dcgm.Slice, generation uint64) {
		for _, signal := range dcgm.Signals {
			source := dcgm.GPM
			if signal.Bytes() {
				source = dcgm.NVMLMemory
			}
			l.add(dcgm.Reading{Slice: slice, Generation: generation, Signal: signal, At: now, Source: source, Absence: why})
		}
	}
	every(dcgm.Whole(gpu.UUID), gpu.Generation)
	for _, d := range gpu.Devices {
		every(d.Slice, d.Generation)
	}
}

// ended handles a code that ends this tick for a GPU, and says whether it is one.
func (l *Library) ended(gpu *dcgm.GPU, code Code) bool {
	switch code.absence() {
	case dcgm.GPULost:
		l.lose(gpu.UUID)
		l.absent(gpu, dcgm.GPULost)
		return true
	case dcgm.LayoutChanged:
		l.doubt(gpu.UUID, "a slice of "+gpu.UUID+" is gone: "+code.String())
		l.absent(gpu, dcgm.LayoutChanged)
		return true
	}
	return false
}

// remember adds a handle's memory to the readings.
func (l *Library) remember(gpu *dcgm.GPU, slice dcgm.Slice, generation uint64, handle gonvml.Device) Code {
	total, used, code := l.memory(handle)
	if code != Success && l.ended(gpu, code) {
		return code
	}
	now := l.opts.Now()
	for _, is := range []struct {
		signal dcgm.Signal
		bytes  uint64
	}{{dcgm.MemoryUsed, used}, {dcgm.MemoryTotal, total}} {
		r := dcgm.Reading{Slice: slice, Generation: generation, Signal: is.signal, At: now, Source: dcgm.NVMLMemory, Quality: dcgm.Exact}
		why := code.absence()
		if code == Success {
			r.Value, why = l.counts.amount(is.signal, is.bytes)
		}
		if why != 0 {
			r = r.Without(why)
		}
		l.add(r)
	}
	return code
}

func (l *Library) sampleWhole(gpu *dcgm.GPU, handles *gpuHandles) {
	whole := dcgm.Whole(gpu.UUID)
	if code := l.remember(gpu, whole, gpu.Generation, handles.handle); l.ends(code) {
		return
	}
	if why := l.gpmAbsence(gpu); why != 0 {
		l.sampleDuty(gpu, handles.handle, why)
		return
	}
	got, code := l.gpm(whole, gpu.Generation, "nvmlGpmSampleGet", func(s gonvml.GpmSample) gonvml.Return {
		return l.api.GpmSampleGet(handles.handle, s)
	})
	switch {
	case l.ends(code) && l.ended(gpu, code):
	case code.absence() == dcgm.NotSupported && code != Success:
		l.sampleDuty(gpu, handles.handle, dcgm.NotSupported)
	default:
		for _, r := range got {
			l.add(r)
		}
	}
}

// ends says that a code ends a GPU's tick.
func (l *Library) ends(code Code) bool { return code != Success && code.absence().Ends() }

// sampleDuty is for GPUs without GPM: how often anything ran is all that the driver tells, and that is graphics activity. The rest is
// absent for the given reason.
func (l *Library) sampleDuty(gpu *dcgm.GPU, handle gonvml.Device, why dcgm.Absence) {
	var rates gonvml.Utilization
	code := l.call("nvmlDeviceGetUtilizationRates", func() (ret gonvml.Return) {
		rates, ret = handle.GetUtilizationRates()
		return ret
	})
	if l.ends(code) && l.ended(gpu, code) {
		return
	}
	now := l.opts.Now()
	for _, m := range gpmMetrics {
		r := dcgm.Reading{Slice: dcgm.Whole(gpu.UUID), Generation: gpu.Generation, Signal: m.signal, At: now, Source: dcgm.GPM, Absence: why}
		if m.signal == dcgm.GraphicsActive {
			r.Source, r.Quality, r.Absence = dcgm.Utilization, dcgm.Duty, 0
			unfit := code.absence()
			if code == Success {
				r.Value, unfit = l.counts.ratio(m.signal, float64(rates.Gpu)/100)
			}
			if unfit != 0 {
				r = r.Without(unfit)
			}
		}
		l.add(r)
	}
}

// sampleSlices reads a GPU in MIG mode: memory of each compute instance, bandwidth of each GPU instance, the rest of each compute
// instance; and the whole as their sum.
func (l *Library) sampleSlices(gpu *dcgm.GPU, handles *gpuHandles) {
	readable := make([]bool, len(gpu.Devices))
	for i, d := range gpu.Devices {
		uuid, code := l.text("nvmlDeviceGetUUID", handles.devices[i].GetUUID)
		if code == Success && uuid != d.UUID { // its ids are another's by now
			code = NotFound
		}
		if code == Success {
			code = l.remember(gpu, d.Slice, d.Generation, handles.devices[i])
		} else {
			l.ended(gpu, code)
		}
		if l.ends(code) {
			return
		}
		readable[i] = code == Success
	}
	got, ok := l.activities(gpu, handles)
	if !ok {
		return
	}
	l.prove(gpu, handles, readable)
	for _, d := range gpu.Devices {
		for _, r := range got[d.Slice] {
			l.add(r)
		}
	}
	for i, m := range gpmMetrics {
		l.add(dcgm.Total(gpu, m.signal, func(s dcgm.Slice) dcgm.Reading { return got[s][i] }))
	}
	l.remember(gpu, dcgm.Whole(gpu.UUID), gpu.Generation, handles.handle)
}

// activities samples GPM of a GPU's slices. ok is false when the GPU's tick has ended.
func (l *Library) activities(gpu *dcgm.GPU, handles *gpuHandles) (map[dcgm.Slice]activity, bool) {
	got := make(map[dcgm.Slice]activity, len(gpu.Devices))
	if why := l.gpmAbsence(gpu); why != 0 {
		for _, d := range gpu.Devices {
			got[d.Slice] = l.nothing(d.Slice, d.Generation, why)
		}
		return got, true
	}
	instances := map[int]activity{}
	for i, d := range gpu.Devices {
		gi := d.Slice.GI
		if _, done := instances[gi]; !done {
			of, code := l.gpm(d.Slice.GPUInstance(), d.Generation, "nvmlGpmMigSampleGet", func(s gonvml.GpmSample) gonvml.Return {
				return l.api.GpmMigSampleGet(handles.handle, gi, s)
			})
			if l.ends(code) && l.ended(gpu, code) {
				return nil, false
			}
			instances[gi] = of
		}
		own, code := l.gpm(d.Slice, d.Generation, "nvmlGpmSampleGet", func(s gonvml.GpmSample) gonvml.Return {
			return l.api.GpmSampleGet(handles.devices[i], s)
		})
		if l.ends(code) && l.ended(gpu, code) {
			return nil, false
		}
		alone := d.Profile.GPUSlices == 1
		for k, m := range gpmMetrics {
			instance := instances[gi][k]
			instance.Slice, instance.Generation = d.Slice, d.Generation
			switch {
			case m.signal == dcgm.DRAMActive: // the instance's, for each of its compute instances
				own[k] = instance
			case code != Success && code.absence() == dcgm.NotSupported: // a level that this driver does not give
				if instance.Valid() && !alone {
					instance.Quality = dcgm.Aggregate
				}
				own[k] = instance
			}
		}
		got[d.Slice] = own
	}
	return got, true
}

// prove reads memory again that could be read before GPM ran: drivers are known on which it then fails for good.
func (l *Library) prove(gpu *dcgm.GPU, handles *gpuHandles, readable []bool) {
	if l.sampler.proven[gpu.UUID] >= provenTicks || l.gpmAbsence(gpu) != 0 {
		return
	}
	l.sampler.proven[gpu.UUID]++
	for i, was := range readable {
		if !was {
			continue
		}
		_, _, code := l.memory(handles.devices[i])
		if code != Success && !l.ends(code) {
			l.mu.Lock()
			l.restart[gpu.UUID] = true
			l.mu.Unlock()
			return
		}
	}
}

// nothing is every activity of a slice absent for one reason.
func (l *Library) nothing(slice dcgm.Slice, generation uint64, why dcgm.Absence) activity {
	now, got := l.opts.Now(), activity{}
	for i, m := range gpmMetrics {
		got[i] = dcgm.Reading{Slice: slice, Generation: generation, Signal: m.signal, At: now, Source: dcgm.GPM, Absence: why}
	}
	return got
}

// gpm takes a sample of a target and compares it with an earlier one. The code is that of the call that failed; the readings are there
// whatever it is.
func (l *Library) gpm(slice dcgm.Slice, generation uint64, call string, take func(gonvml.GpmSample) gonvml.Return) (activity, Code) {
	t := l.sampler.targets[slice]
	if t != nil && t.generation != generation {
		l.drop(slice)
		t = nil
	}
	if t == nil {
		t = &target{generation: generation}
		l.sampler.targets[slice] = t
	}
	if t.unsupported {
		return l.nothing(slice, generation, dcgm.NotSupported), NotSupported
	}
	next := t.ring.next()
	if t.samples[next] == nil {
		code := l.call("nvmlGpmSampleAlloc", func() gonvml.Return {
			sample, ret := l.api.GpmSampleAlloc()
			if ret == gonvml.SUCCESS {
				t.samples[next] = sample
			}
			return ret
		})
		if code != Success {
			return l.nothing(slice, generation, code.absence()), code
		}
	}
	code := l.call(call, func() gonvml.Return { return take(t.samples[next]) })
	if code == InvalidArgument && t.ring.empty() {
		code = NotSupported // of a handle that was read a moment ago: the driver does not know what is wanted
	}
	if code != Success {
		t.unsupported = code.absence() == dcgm.NotSupported
		return l.nothing(slice, generation, code.absence()), code
	}
	now := l.opts.Now()
	t.ring.taken(now)
	first, apart, ok := t.ring.first(l.opts.Interval)
	if !ok {
		return l.nothing(slice, generation, dcgm.Warming), Success
	}
	return l.compare(slice, generation, handleOf(t.samples[first]), handleOf(t.samples[t.ring.newest]), now, apart)
}

// compare asks GPM for all metrics between two samples.
func (l *Library) compare(slice dcgm.Slice, generation uint64, first, second unsafe.Pointer, now time.Time, apart time.Duration) (activity, Code) {
	got := activity{}
	code := l.call("nvmlGpmMetricsGet", func() gonvml.Return {
		return l.sampler.metrics.ask(first, second, func(i int, percent float64, own Code) {
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
