//go:build linux && cgo

package nvml

import (
	"errors"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// sampler is what Sample keeps from tick to tick.
type sampler struct {
	targets map[dcgm.Slice]*target
	gpm     gpmCall
	proven  map[string]int // how many ticks GPM has run on a GPU with memory still readable
	batch   []dcgm.Reading
}

// provenTicks is how often memory is read again after GPM: the first tick takes one sample, the second the first pair.
const provenTicks = 3

func (s *sampler) init() {
	s.gpm.find()
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
	a := &aim{slice: whole, generation: gpu.Generation, shot: shot{device: handles.handle, instance: -1}}
	if !l.fire(gpu, handles, []*aim{a}) {
		return
	}
	if a.unsupported() {
		l.sampleDuty(gpu, handles.handle, dcgm.NotSupported)
		return
	}
	for _, r := range a.got {
		l.add(r)
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
		code := l.remember(gpu, d.Slice, d.Generation, handles.devices[i])
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

// same says that a GPU's slices are still those of the layout. It is asked after samples were taken and before they are compared: a MIG
// device that was made anew under the same ids answers to its predecessor's handle. That two have the same UUID cannot be told here; that a
// MIG change was reported can, by Next.
func (l *Library) same(gpu *dcgm.GPU, handles *gpuHandles) bool {
	for i, d := range gpu.Devices {
		uuid, code := l.text("nvmlDeviceGetUUID", handles.devices[i].GetUUID)
		if code == Success && uuid != d.UUID {
			code = NotFound
		}
		if l.ends(code) && l.ended(gpu, code) {
			return false
		}
	}
	if handles.doubts != l.doubts(gpu.UUID) {
		l.absent(gpu, dcgm.LayoutChanged)
		return false
	}
	return true
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
