package dcgm

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Level is what kind of part of a GPU a slice is.
type Level int

const (
	WholeGPU        Level = iota + 1
	GPUInstance           // memory, bandwidth and SMs of its own
	ComputeInstance       // SMs of its own; memory and bandwidth are its GPU instance's
)

var levels = names[Level]{"level", []string{"gpu", "gpu instance", "compute instance"}}

func (l Level) String() string                { return levels.text(l) }
func (l Level) MarshalText() ([]byte, error)  { return levels.marshal(l) }
func (l *Level) UnmarshalText(t []byte) error { return levels.unmarshal(l, t) }

// Slice names a GPU or a part of one. It is comparable; its zero value names nothing.
type Slice struct {
	GPU   string // the physical GPU's UUID, "GPU-…", on every level
	Level Level
	GI    int // GPU instance id; 0 for a whole GPU
	CI    int // compute instance id within the GPU instance; 0 unless Level is ComputeInstance
}

// Whole names a GPU.
func Whole(gpu string) Slice { return Slice{GPU: gpu, Level: WholeGPU} }

// Instance names a GPU instance.
func Instance(gpu string, gi int) Slice { return Slice{GPU: gpu, Level: GPUInstance, GI: gi} }

// Compute names a compute instance.
func Compute(gpu string, gi, ci int) Slice {
	return Slice{GPU: gpu, Level: ComputeInstance, GI: gi, CI: ci}
}

// String is "GPU-…" for a GPU, "GPU-…/3" for a GPU instance, "GPU-…/3/0" for a compute instance; ParseSlice reads it back.
func (s Slice) String() string {
	switch s.Level {
	case WholeGPU:
		return s.GPU
	case GPUInstance:
		return s.GPU + "/" + strconv.Itoa(s.GI)
	case ComputeInstance:
		return s.GPU + "/" + strconv.Itoa(s.GI) + "/" + strconv.Itoa(s.CI)
	}
	return "no slice"
}

// ParseSlice reads what String writes.
func ParseSlice(text string) (Slice, error) {
	parts := strings.Split(text, "/")
	gpu := parts[0]
	if gpu == "" || len(parts) > 3 {
		return Slice{}, fmt.Errorf("slice %q: want GPU, GPU/gi or GPU/gi/ci", text)
	}
	ids := [2]int{}
	for i, part := range parts[1:] {
		id, ok := number(part)
		if !ok {
			return Slice{}, fmt.Errorf("slice %q: %q is no instance id", text, part)
		}
		ids[i] = id
	}
	return Slice{GPU: gpu, Level: Level(len(parts)), GI: ids[0], CI: ids[1]}, nil
}

func (s Slice) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s *Slice) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSlice(string(text))
	return err
}

// GPUInstance is the GPU instance that a compute instance lives in: whose memory and bandwidth it uses. It is the slice itself
// on the other levels.
func (s Slice) GPUInstance() Slice {
	if s.Level == ComputeInstance {
		return Instance(s.GPU, s.GI)
	}
	return s
}

// Compare orders slices by GPU, a whole GPU before its instances, then by ids, a GPU instance before its compute instances.
func (s Slice) Compare(o Slice) int {
	return cmp.Or(cmp.Compare(s.GPU, o.GPU), cmp.Compare(s.rank(), o.rank()), cmp.Compare(s.GI, o.GI), cmp.Compare(s.Level, o.Level), cmp.Compare(s.CI, o.CI))
}

func (s Slice) rank() int {
	if s.Level == WholeGPU {
		return 0
	}
	return 1
}

// number reads a plain decimal number as the driver, the kubelet and device plugins write ids: digits only, no sign, no leading
// zero, small enough for an id.
func number(text string) (int, bool) {
	if text == "" || len(text) > 9 || len(text) > 1 && text[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
