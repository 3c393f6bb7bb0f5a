//go:build linux && cgo

package nvml

import (
	"fmt"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// layout is an inventory with the handles behind it. It is immutable.
type layout struct {
	inventory *dcgm.Inventory
	gpus      []gpuHandles // as the inventory's
}

type gpuHandles struct {
	handle  gonvml.Device
	doubts  uint64          // how often the GPU's layout had been doubted when it was read: it is good while that has not grown
	devices []gonvml.Device // as the GPU's
}

// Inventory walks the node's GPUs and MIG devices, which can take seconds, and makes what it found what Sample reads from. A GPU that
// does not answer is in it as it was before, with the reason.
func (l *Library) Inventory() (*dcgm.Inventory, error) {
	l.looking.Lock()
	defer l.looking.Unlock()
	l.mu.Lock()
	l.look = ""
	l.mu.Unlock()
	count := 0
	code := l.call("nvmlDeviceGetCount", func() (ret gonvml.Return) {
		count, ret = l.api.DeviceGetCount()
		return ret
	})
	if code != Success {
		return nil, fmt.Errorf("count GPUs: %w", &CallError{"nvmlDeviceGetCount", code})
	}
	previous := l.layout.Load()
	next := &layout{inventory: &dcgm.Inventory{At: l.opts.Now(), Driver: l.driver}}
	for i := range count {
		gpu, handles := l.lookAtGPU(i, previous)
		if gpu.UUID == "" {
			continue // never seen well: there is no name to put on it
		}
		next.inventory.GPUs = append(next.inventory.GPUs, gpu)
		next.gpus = append(next.gpus, handles)
	}
	replaced := func(gpu string) bool {
		for i, g := range next.inventory.GPUs {
			if g.UUID == gpu && previous != nil {
				for j, before := range previous.inventory.GPUs {
					if before.UUID == gpu {
						return next.gpus[i].doubts != previous.gpus[j].doubts
					}
				}
			}
		}
		return false
	}
	l.numbers.number(next.inventory, replaced)
	l.layout.Store(next)
	return next.inventory, nil
}

// lookAtGPU reads one GPU and its slices.
func (l *Library) lookAtGPU(index int, previous *layout) (dcgm.GPU, gpuHandles) {
	before, handlesBefore := previous.at(index)
	if before.UUID != "" && l.isLost(before.UUID, l.opts.Now()) {
		before.Absence = dcgm.GPULost
		return before, handlesBefore
	}
	gpu := dcgm.GPU{Index: index, Minor: -1}
	var handles gpuHandles
	code := l.call("nvmlDeviceGetHandleByIndex", func() (ret gonvml.Return) {
		handles.handle, ret = l.api.DeviceGetHandleByIndex(index)
		return ret
	})
	if code == Success {
		gpu.UUID, code = l.text("nvmlDeviceGetUUID", handles.handle.GetUUID)
	}
	if code != Success {
		if before.UUID != "" && OnCode(code) == DropGPU {
			l.lose(before.UUID)
		}
		before.Absence = code.absence()
		return before, handlesBefore
	}
	handles.doubts = l.doubts(gpu.UUID) // before the walk: a change during it makes the layout doubtful
	l.describe(&gpu, handles.handle)
	if gpu.MIG {
		if code := l.walk(&gpu, &handles); code != Success {
			gpu.Absence = code.absence()
			if OnCode(code) == DropGPU {
				l.lose(gpu.UUID)
				return gpu, handles
			}
		}
	}
	l.found(gpu.UUID)
	return gpu, handles
}

func (p *layout) at(index int) (dcgm.GPU, gpuHandles) {
	if p != nil {
		for i, gpu := range p.inventory.GPUs {
			if gpu.Index == index {
				return gpu, p.gpus[i]
			}
		}
	}
	return dcgm.GPU{}, gpuHandles{}
}

func (l *Library) text(call string, read func() (string, gonvml.Return)) (text string, code Code) {
	code = l.call(call, func() (ret gonvml.Return) {
		text, ret = read()
		return ret
	})
	return text, code
}

func (l *Library) integer(call string, read func() (int, gonvml.Return)) (n int, code Code) {
	code = l.call(call, func() (ret gonvml.Return) {
		n, ret = read()
		return ret
	})
	return n, code
}

// describe fills in what a GPU is; what cannot be read stays unknown.
func (l *Library) describe(gpu *dcgm.GPU, handle gonvml.Device) {
	gpu.Name, _ = l.text("nvmlDeviceGetName", handle.GetName)
	if minor, code := l.integer("nvmlDeviceGetMinorNumber", handle.GetMinorNumber); code == Success {
		gpu.Minor = minor
	}
	l.call("nvmlDeviceGetPciInfo", func() gonvml.Return {
		info, ret := handle.GetPciInfo()
		if ret == gonvml.SUCCESS {
			gpu.PCI = cString(info.BusId[:])
		}
		return ret
	})
	l.call("nvmlDeviceGetArchitecture", func() gonvml.Return {
		arch, ret := handle.GetArchitecture()
		if ret == gonvml.SUCCESS {
			gpu.Architecture = architecture(arch)
		}
		return ret
	})
	gpu.Virtualization = dcgm.BareMetal
	l.call("nvmlDeviceGetVirtualizationMode", func() gonvml.Return {
		mode, ret := handle.GetVirtualizationMode()
		if ret == gonvml.SUCCESS {
			gpu.Virtualization = virtualization(mode)
		}
		return ret
	})
	l.call("nvmlDeviceGetMigMode", func() gonvml.Return {
		current, _, ret := handle.GetMigMode()
		gpu.MIG = ret == gonvml.SUCCESS && current == gonvml.DEVICE_MIG_ENABLE
		return ret
	})
	if total, _, code := l.memory(handle); code == Success {
		gpu.MemoryBytes = total
	}
	l.call("nvmlGpmQueryDeviceSupport", func() gonvml.Return {
		support, ret := handle.GpmQueryDeviceSupport()
		gpu.GPM = ret == gonvml.SUCCESS && support.IsSupportedDevice != 0
		return ret
	})
}

// memory is a handle's in bytes. Reserved memory is nobody's, so it is not in used where the driver tells them apart. nvml.h says of used both
// that it contains what is reserved and that it does not; what is neither free nor reserved is right either way.
func (l *Library) memory(handle gonvml.Device) (total, used uint64, code Code) {
	code = l.call("nvmlDeviceGetMemoryInfo_v2", func() gonvml.Return {
		info, ret := handle.GetMemoryInfo_v2()
		total, used = info.Total, info.Used
		if unused := info.Free + info.Reserved; unused <= total {
			used = total - unused
		}
		return ret
	})
	if code != FunctionNotFound && code != ArgumentVersion && code != NotSupported {
		return total, used, code
	}
	code = l.call("nvmlDeviceGetMemoryInfo", func() gonvml.Return {
		info, ret := handle.GetMemoryInfo()
		total, used = info.Total, info.Used
		return ret
	})
	return total, used, code
}

// walk reads a GPU's MIG devices. Slots without one are normal, wherever they are.
func (l *Library) walk(gpu *dcgm.GPU, handles *gpuHandles) Code {
	profiles := l.profilesOf(handles.handle)
	gpu.SMs = profiles.sms
	most, code := l.integer("nvmlDeviceGetMaxMigDeviceCount", handles.handle.GetMaxMigDeviceCount)
	if code != Success {
		return code
	}
	for slot := range most {
		var mig gonvml.Device
		code := l.call("nvmlDeviceGetMigDeviceHandleByIndex", func() (ret gonvml.Return) {
			mig, ret = handles.handle.GetMigDeviceHandleByIndex(slot)
			if ret == gonvml.ERROR_NOT_FOUND || ret == gonvml.ERROR_INVALID_ARGUMENT {
				mig, ret = nil, gonvml.SUCCESS // a hole
			}
			return ret
		})
		if code != Success {
			return code
		}
		if mig == nil {
			continue
		}
		device, code := l.lookAtSlice(gpu, profiles, handles.handle, mig)
		if OnCode(code) == DropGPU {
			return code
		}
		if code != Success { // it went while it was looked at; what follows still counts
			l.doubt(gpu.UUID, "a MIG device went while it was read")
			continue
		}
		gpu.Devices = append(gpu.Devices, device)
		handles.devices = append(handles.devices, mig)
	}
	return Success
}

func (l *Library) lookAtSlice(gpu *dcgm.GPU, profiles profiles, parent, mig gonvml.Device) (d dcgm.Device, code Code) {
	if d.UUID, code = l.text("nvmlDeviceGetUUID", mig.GetUUID); code != Success {
		return d, code
	}
	gi, code := l.integer("nvmlDeviceGetGpuInstanceId", mig.GetGpuInstanceId)
	if code != Success {
		return d, code
	}
	ci, code := l.integer("nvmlDeviceGetComputeInstanceId", mig.GetComputeInstanceId)
	if code != Success {
		return d, code
	}
	d.Slice = dcgm.Compute(gpu.UUID, gi, ci)
	var attributes gonvml.DeviceAttributes
	code = l.call("nvmlDeviceGetAttributes", func() (ret gonvml.Return) {
		attributes, ret = mig.GetAttributes()
		return ret
	})
	if code == Success {
		d.SMs = int(attributes.MultiprocessorCount)
		d.Profile.ComputeSlices, d.Profile.GPUSlices = int(attributes.ComputeInstanceSliceCount), int(attributes.GpuInstanceSliceCount)
		d.MemoryBytes = attributes.MemorySizeMB << 20
	} else if OnCode(code) == DropGPU {
		return d, code
	}
	if total, _, code := l.memory(mig); code == Success {
		d.MemoryBytes = total
	}
	placed := l.call("nvmlDeviceGetGpuInstanceById", func() gonvml.Return {
		instance, ret := parent.GetGpuInstanceById(gi)
		if ret != gonvml.SUCCESS {
			return ret
		}
		placed := l.call("nvmlGpuInstanceGetInfo", func() gonvml.Return {
			info, ret := instance.GetInfo()
			d.ProfileID, d.Start, d.Size = int(info.ProfileId), int(info.Placement.Start), int(info.Placement.Size)
			return ret
		})
		return gonvml.Return(placed)
	})
	if placed != Success {
		d.ProfileID, d.Start, d.Size = -1, -1, 0
	}
	d.Profile = profiles.name(gpu, d, attributes.MemorySizeMB<<20)
	d.GISMs = profiles.smsOf[d.ProfileID]
	d.Weights = dcgm.Weights{SM: dcgm.SMWeight(d.SMs, gpu.SMs), Memory: dcgm.MemoryWeight(d.Size, profiles.memorySlices)}
	return d, Success
}
