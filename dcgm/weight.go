package dcgm

import (
	"slices"
	"strings"
)

// Weights are a slice's share of its GPU. A zero field is unknown.
type Weights struct {
	// SM is the slice's SMs divided by the SMs that MIG can give out on the GPU (98 of an A100's 108).
	SM float64 `json:"sm,omitempty"`
	// Memory is the GPU instance's memory slices divided by the GPU's: its share of memory and of bandwidth. Compute instances
	// of one GPU instance share it, so it does not add up over them.
	Memory float64 `json:"memory,omitempty"`
}

// SMWeight is a slice's share of its GPU's SMs; 0, unknown, when either count is.
func SMWeight(slice, gpu int) float64 {
	if slice <= 0 || gpu <= 0 || slice > gpu {
		return 0
	}
	return float64(slice) / float64(gpu)
}

// MemoryWeight is a GPU instance's share of its GPU's memory slices; 0, unknown, when either count is.
func MemoryWeight(placed, all int) float64 { return SMWeight(placed, all) }

// Model is what is known of a GPU model's MIG slices where the driver cannot be asked.
type Model struct {
	Name         string
	SMs          int // of the GPU without MIG
	MIGSMs       int // that MIG can give out: the base of SM weights
	MemorySlices int // the base of memory weights
	// InstanceSlices is how many compute slices the GPU has: 7, or 4 on an A30.
	InstanceSlices int
	Profiles       []ModelProfile
}

// ModelProfile is one kind of GPU instance.
type ModelProfile struct {
	Profile      Profile
	SMs          int // 0: not known
	MemorySlices int
	Max          int // how many fit
}

// The tables hold what nvidia-smi mig -lgip prints, as cited in NVIDIA's MIG guide (A30, A100), gpu-operator issue 900 and commit
// e61688015 (H100), mig-parted issue 120 (H200), mig-parted issues 166 and 187 (B200). A count nobody has published is 0.
// The agent asks the driver and uses none of them; they serve slices that are known by name alone, and the tests.
var models = []Model{
	{Name: "A30", SMs: 56, MIGSMs: 56, MemorySlices: 4, InstanceSlices: 4, Profiles: []ModelProfile{
		{profile(1, 6), 14, 1, 4}, {profile(2, 12), 28, 2, 2}, {profile(4, 24), 56, 4, 1}}},
	{Name: "A100-40GB", SMs: 108, MIGSMs: 98, MemorySlices: 8, InstanceSlices: 7, Profiles: sevenths([5]int{5, 10, 10, 20, 40}, [6]int{14, 14, 28, 42, 56, 98})},
	{Name: "A100-80GB", SMs: 108, MIGSMs: 98, MemorySlices: 8, InstanceSlices: 7, Profiles: sevenths([5]int{10, 20, 20, 40, 80}, [6]int{14, 14, 28, 42, 56, 98})},
	{Name: "H100-80GB", SMs: 132, MIGSMs: 132, MemorySlices: 8, InstanceSlices: 7, Profiles: sevenths([5]int{10, 20, 20, 40, 80}, [6]int{16, 26, 32, 60, 64, 132})},
	{Name: "H100-NVL", SMs: 132, MIGSMs: 132, MemorySlices: 8, InstanceSlices: 7, Profiles: sevenths([5]int{12, 24, 24, 47, 94}, [6]int{16, 26, 32, 60, 64, 132})},
	{Name: "H200", SMs: 132, MIGSMs: 132, MemorySlices: 8, InstanceSlices: 7, Profiles: sevenths([5]int{18, 35, 35, 71, 141}, [6]int{16, 26, 32, 60, 64, 132})},
	{Name: "B200", SMs: 148, MIGSMs: 148, MemorySlices: 8, InstanceSlices: 7, Profiles: sevenths([5]int{23, 45, 45, 90, 180}, [6]int{18, 30, 36, 0, 0, 0})},
}

func profile(slices, gb int) Profile {
	return Profile{ComputeSlices: slices, GPUSlices: slices, MemoryGB: gb}
}

// sevenths are the profiles of a GPU of seven compute and eight memory slices: 1g, 1g with twice the memory, 2g, 3g, 4g, 7g.
// gb is the memory of 1g, of 1g with twice the memory, of 2g, of 3g and 4g, and of 7g.
func sevenths(gb [5]int, sms [6]int) []ModelProfile {
	return []ModelProfile{
		{profile(1, gb[0]), sms[0], 1, 7}, {profile(1, gb[1]), sms[1], 2, 4}, {profile(2, gb[2]), sms[2], 2, 3},
		{profile(3, gb[3]), sms[3], 4, 2}, {profile(4, gb[3]), sms[4], 4, 1}, {profile(7, gb[4]), sms[5], 8, 1},
	}
}

// Models are the GPU models with a table.
func Models() []Model { return slices.Clone(models) }

// modelNames tell a model by words of NVML's name; the first that fits.
var modelNames = []struct {
	model      string
	has, hasNo []string
}{
	{"A30", []string{"A30"}, nil},
	{"A100-40GB", []string{"A100", "40GB"}, nil},
	{"A100-80GB", []string{"A100", "80GB"}, nil},
	{"H100-NVL", []string{"H100", "NVL"}, nil},
	{"H100-80GB", []string{"H100", "80GB", "HBM3"}, []string{"PCIE"}},
	{"H200", []string{"H200"}, []string{"NVL"}},
	{"B200", []string{"B200"}, nil},
}

// ModelOf finds the model behind NVML's name of a GPU ("NVIDIA H100 80GB HBM3"). An H100 PCIe has other SM counts (114 in all)
// which nobody has published by profile: it has no table, nor has what only sounds alike (GH200, GB200).
func ModelOf(name string) (Model, bool) {
	words := strings.FieldsFunc(strings.ToUpper(name), func(r rune) bool { return r == ' ' || r == '-' || r == '_' })
	in := func(word string) bool { return slices.Contains(words, word) }
	for _, known := range modelNames {
		if slices.ContainsFunc(known.has, func(word string) bool { return !in(word) }) || slices.ContainsFunc(known.hasNo, in) {
			continue
		}
		at := slices.IndexFunc(models, func(m Model) bool { return m.Name == known.model })
		return models[at], true
	}
	return Model{}, false
}

// Weights are those of a profile on this model. A compute instance smaller than its GPU instance has the SMs of that many single
// slices, which no table holds exactly: its SM weight is unknown.
func (m Model) Weights(p Profile) Weights {
	for _, entry := range m.Profiles {
		if entry.Profile.GPUSlices != p.GPUSlices || entry.Profile.MemoryGB != p.MemoryGB {
			continue
		}
		w := Weights{Memory: MemoryWeight(entry.MemorySlices, m.MemorySlices)}
		if p.ComputeSlices == p.GPUSlices {
			w.SM = SMWeight(entry.SMs, m.MIGSMs)
		}
		return w
	}
	return Weights{}
}
