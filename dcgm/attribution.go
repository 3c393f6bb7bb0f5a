package dcgm

import (
	"cmp"
	"slices"
)

// Pod is a container of a pod that holds a device.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"pod"`
	UID       string `json:"uid,omitempty"` // "" where the kubelet does not tell
	Container string `json:"container,omitempty"`
}

// Compare orders pods by namespace, name, UID, container.
func (p Pod) Compare(o Pod) int {
	return cmp.Or(cmp.Compare(p.Namespace, o.Namespace), cmp.Compare(p.Name, o.Name), cmp.Compare(p.UID, o.UID), cmp.Compare(p.Container, o.Container))
}

// Process is a process on a device.
type Process struct {
	Slice       Slice  `json:"slice"`
	PID         int    `json:"pid"` // in the agent's PID namespace
	MPS         bool   `json:"mps,omitempty"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	MemoryKnown bool   `json:"memory_known,omitempty"`
	// Busy is the ratio of time in which this process had the device's SMs; known on time-sliced whole GPUs alone.
	Busy      float64 `json:"busy,omitempty"`
	BusyKnown bool    `json:"busy_known,omitempty"`
}

// Owned is a process and whose it is.
type Owned struct {
	Process
	Pod     Pod
	Matched bool // false: nobody knows whose it is
}

// PodReading is what is told of one pod on one device.
type PodReading struct {
	Pod     Pod     `json:"holder"`
	Sharing Sharing `json:"sharing"`
	Basis   Basis   `json:"basis"`
	Reading
}

// Attribute tells what a device's readings say of each pod that holds it, by the device's way of being shared. Nothing that is not
// known becomes 0: a pod whose processes could not be told from others' has an absence.
func Attribute(sharing Sharing, device []Reading, holders []Pod, processes []Owned) []PodReading {
	what := sharing.Attribution()
	var out []PodReading
	for _, pod := range holders {
		for _, r := range device {
			bases := what.Activity
			if r.Signal.Bytes() {
				bases = what.Memory
			}
			if len(bases) == 0 {
				out = append(out, PodReading{pod, sharing, Own, r.Without(Unseen)})
			}
			for _, basis := range bases {
				reading, told := r, true
				if basis == Part {
					reading, told = partOf(r, pod, processes)
				}
				if told {
					out = append(out, PodReading{pod, sharing, basis, reading})
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b PodReading) int {
		return cmp.Or(a.Pod.Compare(b.Pod), a.Slice.Compare(b.Slice), cmp.Compare(a.Signal, b.Signal), cmp.Compare(a.Basis, b.Basis))
	})
	return out
}

// partOf is a pod's part of a device's reading. SM activity and graphics activity are shared out by the time each process had the
// SMs, so that the parts add up to at most the device's. Who moved memory or used the tensor pipes is not known, so those
// have no part; nor has the total memory, which is the device's.
func partOf(r Reading, pod Pod, processes []Owned) (Reading, bool) {
	switch {
	case r.Signal == MemoryUsed:
		return memoryPart(r, pod, processes), true
	case r.Signal != SMActive && r.Signal != GraphicsActive:
		return Reading{}, false
	case !r.Valid():
		return r, true
	}
	var mine, all float64
	stranger := false
	for _, p := range processes {
		if p.Slice != r.Slice {
			continue
		}
		if !p.BusyKnown {
			return r.Without(NotSupported), true
		}
		all += p.Busy
		switch {
		case p.Matched && p.Pod == pod:
			mine += p.Busy
		case !p.Matched:
			stranger = true
		}
	}
	switch {
	case mine == 0 && stranger: // the stranger may be this pod's
		return r.Without(Unmatched), true
	case all == 0 && r.Value > 0: // somebody worked, and ended before it could be seen
		return r.Without(Unmatched), true
	case all == 0:
		r.Value = 0
	default:
		r.Value *= mine / all
	}
	r.Quality = max(r.Quality, Corrected)
	return r, true
}

func memoryPart(r Reading, pod Pod, processes []Owned) Reading {
	r.Source, r.Quality, r.Value, r.Window, r.Absence = NVMLMemory, Exact, 0, 0, 0
	stranger := false
	for _, p := range processes {
		switch {
		case p.Slice != r.Slice:
		case !p.Matched:
			stranger = true
		case p.Pod == pod && !p.MemoryKnown:
			return r.Without(NotSupported)
		case p.Pod == pod:
			r.Value += float64(p.MemoryBytes)
		}
	}
	if r.Value == 0 && stranger {
		return r.Without(Unmatched)
	}
	return r
}
