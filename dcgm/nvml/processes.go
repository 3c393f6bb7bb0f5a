//go:build linux && cgo

package nvml

import (
	"math"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// tries is how often a list is asked for that grows while it is read.
const tries = 3

// Processes lists what runs on each GPU and slice. On a GPU that is not cut, each process has the share of time that it had the SMs
// since the last call; MIG has no such figure.
func (l *Library) Processes() ([]dcgm.Process, error) {
	l.using.Lock()
	defer l.using.Unlock()
	at := l.layout.Load()
	if at == nil {
		return nil, ErrNoLayout
	}
	var all []dcgm.Process
	for i := range at.inventory.GPUs {
		gpu, handles := &at.inventory.GPUs[i], &at.gpus[i]
		if gpu.Absence != 0 || l.wasLost(gpu.UUID) || handles.doubts != l.doubts(gpu.UUID) {
			continue
		}
		if !gpu.MIG {
			whole := l.list(dcgm.Whole(gpu.UUID), handles.handle)
			l.busy(gpu, handles.handle, whole)
			all = append(all, whole...)
			continue
		}
		for j, d := range gpu.Devices {
			all = append(all, l.list(d.Slice, handles.devices[j])...)
		}
	}
	return all, nil
}

// list is the processes of one handle, those under MPS marked.
func (l *Library) list(slice dcgm.Slice, handle gonvml.Device) []dcgm.Process {
	var found []dcgm.Process
	for _, kind := range []struct {
		call string
		mps  bool
		read func() ([]gonvml.ProcessInfo, gonvml.Return)
	}{
		{"nvmlDeviceGetComputeRunningProcesses", false, handle.GetComputeRunningProcesses},
		{"nvmlDeviceGetMPSComputeRunningProcesses", true, handle.GetMPSComputeRunningProcesses},
	} {
		infos, code := again(l, kind.call, kind.read)
		if code != Success {
			continue
		}
		for _, info := range infos {
			known := info.UsedGpuMemory <= dcgm.MaxMemoryBytes // "not available" is all ones
			p := dcgm.Process{Slice: slice, PID: int(info.Pid), MPS: kind.mps, MemoryKnown: known}
			if known {
				p.MemoryBytes = info.UsedGpuMemory
			}
			found = append(found, p)
		}
	}
	return found
}

// again asks for a list until it does not grow while it is read.
func again[T any](l *Library, call string, read func() ([]T, gonvml.Return)) (list []T, code Code) {
	for range tries {
		code = l.call(call, func() (ret gonvml.Return) {
			list, ret = read()
			return ret
		})
		if code != Panicked && code != insufficientSize {
			break
		}
	}
	return list, code
}

// busy fills in each process's share of time since the last call. The driver keeps several samples a process; the newest counts. Shares
// above 100 % and processes that are not listed are known to occur and are left out.
func (l *Library) busy(gpu *dcgm.GPU, handle gonvml.Device, processes []dcgm.Process) {
	since := l.since[gpu.UUID] // 0 would bring a mean over all that the driver remembers, ended processes included
	samples, code := again(l, "nvmlDeviceGetProcessUtilization", func() ([]gonvml.ProcessUtilizationSample, gonvml.Return) {
		samples, ret := handle.GetProcessUtilization(since)
		if ret == gonvml.ERROR_NOT_FOUND { // nobody had the SMs since
			return nil, gonvml.SUCCESS
		}
		return samples, ret
	})
	if code != Success {
		return
	}
	newest := map[uint32]gonvml.ProcessUtilizationSample{}
	for _, s := range samples {
		if s.TimeStamp > since && s.TimeStamp >= newest[s.Pid].TimeStamp {
			newest[s.Pid] = s
		}
		l.since[gpu.UUID] = max(l.since[gpu.UUID], s.TimeStamp)
	}
	if since == 0 {
		return // the first answer only says where to start
	}
	for i := range processes {
		p := &processes[i]
		sample, active := newest[uint32(p.PID)]
		if active && sample.SmUtil > 100 {
			l.counts.refuse(dcgm.GraphicsActive)
			continue
		}
		p.Busy, p.BusyKnown = float64(sample.SmUtil)/100, p.PID > 0 && p.PID <= math.MaxInt32
	}
}
