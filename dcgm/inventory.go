package dcgm

import (
	"slices"
	"time"
)

// Architecture is a GPU's generation of hardware, as far as it decides what can be measured.
type Architecture int

const (
	OlderArchitecture Architecture = iota + 1 // before Ampere: no MIG, no GPM
	Ampere                                    // MIG without GPM: activity of slices comes from a dcgm-exporter
	Ada                                       // neither
	Hopper                                    // both, as everything later
	Blackwell
	NewerArchitecture
)

var architectures = names[Architecture]{"architecture", []string{"older", "ampere", "ada", "hopper", "blackwell", "newer"}}

func (a Architecture) String() string                { return architectures.text(a) }
func (a Architecture) MarshalText() ([]byte, error)  { return architectures.marshal(a) }
func (a *Architecture) UnmarshalText(t []byte) error { return architectures.unmarshal(a, t) }

// Virtualization is where a GPU is as seen from this node.
type Virtualization int

const (
	BareMetal   Virtualization = iota + 1
	Passthrough                // the whole GPU is in this guest: as bare metal
	VGPUGuest                  // a part of a GPU is in this guest, shown as a GPU
	VGPUHost                   // this node lends parts to guests
)

var virtualizations = names[Virtualization]{"virtualization", []string{"none", "passthrough", "vgpu guest", "vgpu host"}}

func (v Virtualization) String() string                { return virtualizations.text(v) }
func (v Virtualization) MarshalText() ([]byte, error)  { return virtualizations.marshal(v) }
func (v *Virtualization) UnmarshalText(t []byte) error { return virtualizations.unmarshal(v, t) }

// Inventory is what a node has, as of one look. It is immutable and swapped whole.
type Inventory struct {
	At     time.Time `json:"at"`
	Driver string    `json:"driver"` // "570.124.06"
	GPUs   []GPU     `json:"gpus"`   // by index
}

// GPU is one physical GPU, or what a guest sees as one.
type GPU struct {
	UUID           string         `json:"uuid"`
	Index          int            `json:"index"` // NVML's, which is the device plugin's
	Minor          int            `json:"minor"` // of /dev/nvidia<minor>; -1 unknown
	Name           string         `json:"name"`
	PCI            string         `json:"pci,omitempty"` // bus id
	Architecture   Architecture   `json:"architecture,omitempty"`
	Virtualization Virtualization `json:"virtualization,omitempty"`
	MIG            bool           `json:"mig,omitempty"`
	GPM            bool           `json:"gpm,omitempty"` // says the driver; whether it is used depends on the driver's version too
	SMs            int            `json:"sms,omitempty"` // that MIG can give out; 0 unknown
	MemoryBytes    uint64         `json:"memory_bytes,omitempty"`
	Absence        Absence        `json:"absence,omitempty"` // why nothing is read from it now; 0 when all is well
	Generation     uint64         `json:"generation,omitempty"`
	Devices        []Device       `json:"devices,omitempty"` // its compute instances, when in MIG mode
}

// Device is one compute instance, which is what a MIG device in a pod is.
type Device struct {
	Slice       Slice   `json:"slice"`
	UUID        string  `json:"uuid"` // "MIG-…"
	Profile     Profile `json:"profile,omitzero"`
	ProfileID   int     `json:"profile_id"`      // of the GPU instance, as the driver numbers profiles: 19 is 1g on most
	Start       int     `json:"start"`           // first memory slice of the GPU instance
	Size        int     `json:"size,omitempty"`  // memory slices of the GPU instance
	SMs         int     `json:"sms,omitempty"`   // of this compute instance; 0 unknown
	GISMs       int     `json:"gisms,omitempty"` // of the whole GPU instance; 0 unknown
	MemoryBytes uint64  `json:"memory_bytes,omitempty"`
	Weights     Weights `json:"weights,omitzero"`
	// Generation grows whenever the ids of this slice may have come to mean another slice.
	Generation uint64 `json:"generation"`
}

// GPU is the GPU of that UUID.
func (inv *Inventory) GPU(uuid string) (*GPU, bool) {
	if inv == nil {
		return nil, false
	}
	at := slices.IndexFunc(inv.GPUs, func(g GPU) bool { return g.UUID == uuid })
	if at < 0 {
		return nil, false
	}
	return &inv.GPUs[at], true
}

// Device is the compute instance of that name.
func (inv *Inventory) Device(s Slice) (*Device, bool) {
	gpu, found := inv.GPU(s.GPU)
	if !found {
		return nil, false
	}
	at := slices.IndexFunc(gpu.Devices, func(d Device) bool { return d.Slice == s })
	if at < 0 {
		return nil, false
	}
	return &gpu.Devices[at], true
}

// Weights are a slice's; a whole GPU weighs 1.
func (inv *Inventory) Weights(s Slice) Weights {
	if s.Level == WholeGPU {
		return Weights{SM: 1, Memory: 1}
	}
	if d, found := inv.Device(s); found {
		return d.Weights
	}
	return Weights{}
}

// Find is the slice that a device id of a kubelet, a device plugin or DRA means, or false when this node has none such, or more
// than one: an id that fits two slices names neither.
func (inv *Inventory) Find(id DeviceID) (Slice, bool) {
	if inv == nil {
		return Slice{}, false
	}
	var found []Slice
	for _, gpu := range inv.GPUs {
		if id.wantsGPU(gpu) {
			found = append(found, Whole(gpu.UUID))
		}
		for _, d := range gpu.Devices {
			if id.wantsDevice(gpu, d) {
				found = append(found, d.Slice)
			}
		}
	}
	if len(found) != 1 {
		return Slice{}, false
	}
	return found[0], true
}

// Total is an activity of a GPU in MIG mode: the sum over its slices of activity times weight. SMs that belong to no slice are
// idle. It is absent unless every slice's reading is there: a missing part would look like an idle one.
// of gives the reading of a compute instance.
func Total(gpu *GPU, signal Signal, of func(Slice) Reading) Reading {
	total := Reading{Slice: Whole(gpu.UUID), Generation: gpu.Generation, Signal: signal, Source: Summed}
	if signal.Bytes() || !gpu.MIG {
		return total.Without(NotSupported)
	}
	if gpu.Absence != 0 {
		return total.Without(gpu.Absence)
	}
	seen := map[Slice]bool{}
	for _, d := range gpu.Devices {
		weight := d.Weights.SM
		if signal == DRAMActive { // belongs to the GPU instance: counted once, by memory
			if seen[d.Slice.GPUInstance()] {
				continue
			}
			seen[d.Slice.GPUInstance()] = true
			weight = d.Weights.Memory
		}
		r := of(d.Slice)
		if !r.Valid() || weight == 0 {
			return total.Without(Incomplete)
		}
		total.Value += r.Value * weight
		total.Quality = max(total.Quality, r.Quality)
		total.Window = max(total.Window, r.Window)
		if total.At.IsZero() || r.At.Before(total.At) {
			total.At = r.At
		}
	}
	if total.Quality == 0 { // no slices: nothing can run
		return total.Without(Incomplete)
	}
	total.Value = min(total.Value, 1)
	return total
}
