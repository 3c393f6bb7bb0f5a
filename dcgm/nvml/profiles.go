//go:build linux && cgo

package nvml

import (
	"math"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// profiles are what a GPU's driver says of its kinds of GPU instances.
type profiles struct {
	sms          int // that MIG can give out: those of the largest
	memorySlices int // of the GPU: what placements count in; 0 unknown
	attributes   map[int]string
	smsOf        map[int]int // by profile id
}

// attributeOf are the profiles whose name has more than slices and memory.
var attributeOf = map[int]string{
	gonvml.GPU_INSTANCE_PROFILE_1_SLICE_REV1: "+me", gonvml.GPU_INSTANCE_PROFILE_2_SLICE_REV1: "+me",
	gonvml.GPU_INSTANCE_PROFILE_1_SLICE_GFX: "+gfx", gonvml.GPU_INSTANCE_PROFILE_2_SLICE_GFX: "+gfx", gonvml.GPU_INSTANCE_PROFILE_4_SLICE_GFX: "+gfx",
	gonvml.GPU_INSTANCE_PROFILE_1_SLICE_NO_ME: "-me", gonvml.GPU_INSTANCE_PROFILE_2_SLICE_NO_ME: "-me",
	gonvml.GPU_INSTANCE_PROFILE_1_SLICE_ALL_ME: "+me.all", gonvml.GPU_INSTANCE_PROFILE_2_SLICE_ALL_ME: "+me.all",
}

func (l *Library) profilesOf(handle gonvml.Device) profiles {
	p := profiles{attributes: map[int]string{}, smsOf: map[int]int{}}
	for kind := range gonvml.GPU_INSTANCE_PROFILE_COUNT {
		var info gonvml.GpuInstanceProfileInfo
		code := l.call("nvmlDeviceGetGpuInstanceProfileInfo", func() (ret gonvml.Return) {
			info, ret = handle.GetGpuInstanceProfileInfo(kind)
			if ret == gonvml.ERROR_INVALID_ARGUMENT {
				ret = gonvml.ERROR_NOT_SUPPORTED // a driver that has not heard of this kind
			}
			return ret
		})
		if code != Success {
			continue
		}
		p.smsOf[int(info.Id)] = int(info.MultiprocessorCount)
		p.attributes[int(info.Id)] = attributeOf[kind]
		switch {
		case kind == gonvml.GPU_INSTANCE_PROFILE_7_SLICE:
			p.sms, p.memorySlices = int(info.MultiprocessorCount), 8
		case kind == gonvml.GPU_INSTANCE_PROFILE_4_SLICE && p.memorySlices == 0: // an A30, an RTX PRO 6000: four of both is all
			p.sms, p.memorySlices = int(info.MultiprocessorCount), 4
		}
	}
	return p
}

// name is a slice's profile as NVIDIA's tools and the device plugin's resources call it. Its memory is computed as they do (go-nvlib,
// mig_profile.go): eighths of the GPU's memory in GiB, both rounded up. Where the GPU's memory may not be read, the model's table
// has it.
func (p profiles) name(gpu *dcgm.GPU, d dcgm.Device, sliceBytes uint64) dcgm.Profile {
	profile := d.Profile
	profile.Attributes = p.attributes[d.ProfileID]
	switch model, known := dcgm.ModelOf(gpu.Name); {
	case gpu.MemoryBytes > 0 && sliceBytes > 0:
		eighths := math.Ceil(float64(sliceBytes)/float64(gpu.MemoryBytes)*8) / 8
		profile.MemoryGB = int(math.Round(eighths * math.Ceil(float64(gpu.MemoryBytes)/(1<<30))))
	case known:
		for _, candidate := range model.Profiles {
			if candidate.Profile.GPUSlices == profile.GPUSlices && candidate.MemorySlices == d.Size {
				profile.MemoryGB = candidate.Profile.MemoryGB
			}
		}
	}
	if profile.GPUSlices == 0 || profile.MemoryGB == 0 {
		return dcgm.Profile{} // half a name is none
	}
	return profile
}

// cString reads a C string from a fixed array.
func cString[T ~int8 | ~uint8](text []T) string {
	var out []byte
	for _, c := range text {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}

func architecture(a gonvml.DeviceArchitecture) dcgm.Architecture {
	switch {
	case a == gonvml.DEVICE_ARCH_UNKNOWN, a > gonvml.DEVICE_ARCH_BLACKWELL:
		return dcgm.NewerArchitecture
	case a == gonvml.DEVICE_ARCH_BLACKWELL:
		return dcgm.Blackwell
	case a == gonvml.DEVICE_ARCH_HOPPER:
		return dcgm.Hopper
	case a == gonvml.DEVICE_ARCH_ADA:
		return dcgm.Ada
	case a == gonvml.DEVICE_ARCH_AMPERE:
		return dcgm.Ampere
	}
	return dcgm.OlderArchitecture
}

func virtualization(mode gonvml.GpuVirtualizationMode) dcgm.Virtualization {
	switch mode {
	case gonvml.GPU_VIRTUALIZATION_MODE_PASSTHROUGH:
		return dcgm.Passthrough
	case gonvml.GPU_VIRTUALIZATION_MODE_VGPU:
		return dcgm.VGPUGuest
	case gonvml.GPU_VIRTUALIZATION_MODE_HOST_VGPU, gonvml.GPU_VIRTUALIZATION_MODE_HOST_VSGA:
		return dcgm.VGPUHost
	}
	return dcgm.BareMetal
}
