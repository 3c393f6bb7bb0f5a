//go:build linux && cgo

package nvml

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/test/fakenvml"
)

const gpu0, gpu1 = "GPU-aaaaaaaa-0000-0000-0000-000000000000", "GPU-aaaaaaaa-0000-0000-0000-000000000001"

func one(gpus ...fakenvml.GPU) fakenvml.Scenario { return fakenvml.Scenario{GPUs: gpus} }

func TestAWholeGPU(t *testing.T) {
	gpu := fakenvml.H200(0)
	gpu.Activity, gpu.UsedMiB = fakenvml.Activity{Graphics: 90, SM: 55, Tensor: 20, DRAM: 40}, 1000
	inChild(t, one(gpu), func(f *fake) {
		inv := f.open()
		want := dcgm.GPU{UUID: gpu0, Name: "NVIDIA H200", PCI: "00000000:17:00.0", Architecture: dcgm.Hopper, Virtualization: dcgm.BareMetal, GPM: true,
			MemoryBytes: 143771 << 20, Generation: inv.GPUs[0].Generation}
		if diff := cmp.Diff(want, inv.GPUs[0]); diff != "" {
			t.Error(diff)
		}
		whole := dcgm.Whole(gpu0)
		f.want(f.tick(), whole, dcgm.SMActive, "warming")
		got := f.tick()
		f.want(got, whole, dcgm.SMActive, "0.550 exact")
		f.want(got, whole, dcgm.DRAMActive, "0.400 exact")
		f.want(got, whole, dcgm.TensorActive, "0.200 exact")
		f.want(got, whole, dcgm.GraphicsActive, "0.900 exact")
		f.want(got, whole, dcgm.MemoryUsed, "1000 MiB")
		f.want(got, whole, dcgm.MemoryTotal, "143771 MiB")
		f.asks(Carry)
	})
}

func TestSevenSlices(t *testing.T) {
	gpu := fakenvml.H200(0).Sevenths()
	for i := range gpu.Instances {
		gpu.Instances[i].DRAM = float64(5 * i)
		gpu.Compute(i, 0).Activity = fakenvml.Activity{Graphics: 100, SM: float64(10 * i), Tensor: float64(i)}
		gpu.Compute(i, 0).UsedMiB = float64(100 * i)
	}
	inChild(t, one(gpu), func(f *fake) {
		inv := f.open()
		if len(inv.GPUs[0].Devices) != 7 {
			t.Fatalf("found %d slices", len(inv.GPUs[0].Devices))
		}
		for i, d := range inv.GPUs[0].Devices {
			want := dcgm.Device{Slice: dcgm.Compute(gpu0, i+1, 0), UUID: d.UUID, Profile: dcgm.Profile{ComputeSlices: 1, GPUSlices: 1, MemoryGB: 18}, Start: i, Size: 1, SMs: 16,
				MemoryBytes: 16384 << 20, Weights: dcgm.Weights{SM: 16.0 / 132, Memory: 0.125}, Generation: d.Generation, ProfileID: 19}
			if diff := cmp.Diff(want, d); diff != "" {
				t.Error(diff)
			}
		}
		f.tick()
		got := f.tick()
		for i := range 7 {
			slice := dcgm.Compute(gpu0, i+1, 0)
			r := got[slice.String()+" sm_active"]
			if math.Abs(r.Value-float64(i)/10) > 1e-9 || r.Quality != dcgm.Exact {
				t.Errorf("slice %d: SM activity %v %s", i, r.Value, r.Quality)
			}
			if d := got[slice.String()+" dram_active"]; math.Abs(d.Value-float64(i)/20) > 1e-9 {
				t.Errorf("slice %d: bandwidth %v", i, d.Value)
			}
			f.want(got, slice, dcgm.GraphicsActive, "1.000 exact")
		}
		f.want(got, dcgm.Whole(gpu0), dcgm.SMActive, "0.255 exact")   // 2.1 · 16/132
		f.want(got, dcgm.Whole(gpu0), dcgm.DRAMActive, "0.131 exact") // 1.05 / 8
	})
}

func TestSlicesOfDifferentSizes(t *testing.T) {
	gpu := fakenvml.H200(0).Cut(fakenvml.Slice{Profile: "3g.71gb", Start: 0}, fakenvml.Slice{Profile: "2g.35gb", Start: 4}, fakenvml.Slice{Profile: "1g.18gb", Start: 6}, fakenvml.Slice{Profile: "1g.18gb", Start: 7})
	gpu.Compute(0, 0).Activity = fakenvml.Activity{Graphics: 100, SM: 80}
	gpu.Compute(1, 0).Slot = 5 // NVML's list has holes
	inChild(t, one(gpu), func(f *fake) {
		inv := f.open()
		weights := map[string]dcgm.Weights{}
		for _, d := range inv.GPUs[0].Devices {
			weights[d.Profile.String()] = d.Weights
		}
		want := map[string]dcgm.Weights{"3g.71gb": {SM: 60.0 / 132, Memory: 0.5}, "2g.35gb": {SM: 32.0 / 132, Memory: 0.25}, "1g.18gb": {SM: 16.0 / 132, Memory: 0.125}}
		if diff := cmp.Diff(want, weights); diff != "" {
			t.Error(diff)
		}
		if len(inv.GPUs[0].Devices) != 4 {
			t.Errorf("found %d slices, want 4", len(inv.GPUs[0].Devices))
		}
		f.tick()
		got := f.tick()
		f.want(got, dcgm.Compute(gpu0, 1, 0), dcgm.GraphicsActive, "1.000 exact") // at GPU instance level this would be 0.333
		f.want(got, dcgm.Compute(gpu0, 1, 0), dcgm.SMActive, "0.800 exact")
		f.want(got, dcgm.Whole(gpu0), dcgm.SMActive, "0.364 exact")
	})
}

// shared is a 3g GPU instance of two compute instances, 1c and 2c.
func shared() fakenvml.GPU {
	gpu := fakenvml.H200(0).Cut(fakenvml.Slice{Profile: "3g.71gb", Start: 0})
	gi := &gpu.Instances[0]
	gi.DRAM = 30
	small, large := gi.Computes[0], gi.Computes[0]
	small.Slices, small.SMs, small.Activity = 1, 20, fakenvml.Activity{Graphics: 90, SM: 60}
	large.ID, large.Slot, large.UUID, large.Slices, large.SMs, large.Activity = 1, 1, "MIG-cccccccc-0000-0000-0000-000000000000", 2, 40, fakenvml.Activity{Graphics: 50, SM: 10}
	gi.Computes = []fakenvml.Compute{small, large}
	return gpu
}

func TestAComputeInstanceSmallerThanItsGPUInstance(t *testing.T) {
	inChild(t, one(shared()), func(f *fake) {
		inv := f.open()
		var names []string
		for _, d := range inv.GPUs[0].Devices {
			names = append(names, d.Profile.String())
		}
		if diff := cmp.Diff([]string{"1c.3g.71gb", "2c.3g.71gb"}, names); diff != "" {
			t.Error(diff)
		}
		f.tick()
		got := f.tick()
		small, large := dcgm.Compute(gpu0, 1, 0), dcgm.Compute(gpu0, 1, 1)
		f.want(got, small, dcgm.SMActive, "0.600 exact")
		f.want(got, large, dcgm.SMActive, "0.100 exact")
		f.want(got, small, dcgm.DRAMActive, "0.300 exact") // the GPU instance's, for both
		f.want(got, large, dcgm.DRAMActive, "0.300 exact")
		f.want(got, dcgm.Whole(gpu0), dcgm.SMActive, "0.121 exact")   // (0.6·20 + 0.1·40) / 132
		f.want(got, dcgm.Whole(gpu0), dcgm.DRAMActive, "0.150 exact") // 0.3 · 4/8, counted once
	})
}

func TestADriverWithoutGPMForComputeInstances(t *testing.T) {
	s := one(shared())
	s.Rules = []fakenvml.Rule{{Call: "nvmlGpmSampleGet", GPU: -1, Return: int(NotSupported)}}
	inChild(t, s, func(f *fake) {
		f.open()
		f.tick()
		f.tick()
		got := f.tick()
		f.want(got, dcgm.Compute(gpu0, 1, 0), dcgm.SMActive, "0.233 aggregate") // the GPU instance's, and marked
		f.want(got, dcgm.Compute(gpu0, 1, 0), dcgm.DRAMActive, "0.300 exact")
	})
}

func TestWithoutGPM(t *testing.T) {
	ampere := fakenvml.H200(0)
	ampere.Name, ampere.Architecture, ampere.GPM, ampere.Utilization = "NVIDIA A100-SXM4-80GB", 7, false, 35
	cut := fakenvml.H200(1).Sevenths()
	cut.Name, cut.Architecture, cut.GPM = "NVIDIA A100-SXM4-80GB", 7, false
	guest := fakenvml.H200(2)
	guest.Virtualization, guest.GPM, guest.Utilization = 2, false, 12
	inChild(t, one(ampere, cut, guest), func(f *fake) {
		inv := f.open()
		if inv.GPUs[0].Architecture != dcgm.Ampere || inv.GPUs[2].Virtualization != dcgm.VGPUGuest {
			t.Errorf("read %s and %s", inv.GPUs[0].Architecture, inv.GPUs[2].Virtualization)
		}
		got := f.tick()
		f.want(got, dcgm.Whole(gpu0), dcgm.GraphicsActive, "0.350 duty")
		f.want(got, dcgm.Whole(gpu0), dcgm.SMActive, "not supported")
		f.want(got, dcgm.Compute(gpu1, 1, 0), dcgm.GraphicsActive, "not supported") // no duty on MIG, and no zero for it
		f.want(got, dcgm.Compute(gpu1, 1, 0), dcgm.MemoryTotal, "16384 MiB")
		f.want(got, dcgm.Whole(gpu1), dcgm.SMActive, "incomplete")
		f.want(got, dcgm.Whole(inv.GPUs[2].UUID), dcgm.GraphicsActive, "0.120 duty")
	})
}
