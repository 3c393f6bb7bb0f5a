package fakenvml

import "fmt"

// The figures of an H200's slices, by name, as nvidia-smi mig -lgip prints them (mig-parted issue 120).
var h200 = map[string]Instance{
	"1g.18gb":  {Profile: 19, Size: 1, Slices: 1, SMs: 16},
	"2g.35gb":  {Profile: 14, Size: 2, Slices: 2, SMs: 32},
	"3g.71gb":  {Profile: 9, Size: 4, Slices: 3, SMs: 60},
	"4g.71gb":  {Profile: 5, Size: 4, Slices: 4, SMs: 64},
	"7g.141gb": {Profile: 0, Size: 8, Slices: 7, SMs: 132},
}

var h200MiB = map[string]float64{"1g.18gb": 16384, "2g.35gb": 33024, "3g.71gb": 71168, "4g.71gb": 71168, "7g.141gb": 143104}

// H200 is a whole H200, index being its place on the node.
func H200(index int) GPU {
	return GPU{
		UUID: fmt.Sprintf("GPU-aaaaaaaa-0000-0000-0000-%012d", index), Name: "NVIDIA H200", PCI: fmt.Sprintf("00000000:%02X:00.0", 0x17+index),
		Minor: index, Architecture: 9, GPM: true, MIGSMs: 132, MaxMIG: 7, MemoryMiB: 143771, ReservedMiB: 600,
	}
}

// Slice is a slice to cut: a profile and where it starts, in memory slices.
type Slice struct {
	Profile string
	Start   int
}

// Cut puts an H200 into MIG mode with these slices, each with one compute instance as large as itself.
func (g GPU) Cut(slices ...Slice) GPU {
	g.MIG, g.Instances = 1, nil
	for i, s := range slices {
		gi, known := h200[s.Profile]
		if !known {
			panic("no such slice of an H200: " + s.Profile)
		}
		gi.ID, gi.Start = i+1, s.Start
		gi.Computes = []Compute{{Slot: i, UUID: fmt.Sprintf("MIG-bbbbbbbb-0000-%04d-%04d-%012d", gi.Profile, gi.Start, g.Minor), Slices: gi.Slices, SMs: gi.SMs, Incarnation: 1, MemoryMiB: h200MiB[s.Profile]}}
		g.Instances = append(g.Instances, gi)
	}
	return g
}

// Sevenths are seven 1g slices, as many as fit.
func (g GPU) Sevenths() GPU {
	var slices []Slice
	for i := range 7 {
		slices = append(slices, Slice{"1g.18gb", i})
	}
	return g.Cut(slices...)
}

// Compute is the compute instance at a place, for setting what it does.
func (g *GPU) Compute(gi, ci int) *Compute { return &g.Instances[gi].Computes[ci] }
