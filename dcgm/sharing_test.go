package dcgm

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHowADeviceIsShared(t *testing.T) {
	for _, test := range []struct {
		name  string
		facts Facts
		want  Sharing
	}{
		{"a whole GPU for one pod", Facts{Level: WholeGPU, Virtualization: BareMetal}, Exclusive},
		{"a GPU that was passed through to this guest", Facts{Level: WholeGPU, Virtualization: Passthrough}, Exclusive},
		{"a MIG device", Facts{Level: ComputeInstance}, MIG},
		{"replicas of a MIG device", Facts{Level: ComputeInstance, Shared: true}, MIGTimeSliced},
		{"replicas of a GPU", Facts{Level: WholeGPU, Shared: true}, TimeSliced},
		{"replicas under MPS", Facts{Level: WholeGPU, Shared: true, MPS: true}, MPS},
		{"MPS on a MIG device", Facts{Level: ComputeInstance, MPS: true}, MPS},
		{"a guest's part", Facts{Level: WholeGPU, Virtualization: VGPUGuest}, VGPU},
		{"replicas of a guest's part", Facts{Level: WholeGPU, Virtualization: VGPUGuest, Shared: true}, TimeSliced},
		{"a host that lends parts", Facts{Level: WholeGPU, Virtualization: VGPUHost}, Hidden},
		{"passed to a guest", Facts{Passed: true}, Hidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := SharingOf(test.facts); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

var (
	one   = Pod{Namespace: "inference", Name: "one", UID: "1", Container: "vllm"}
	other = Pod{Namespace: "inference", Name: "other", UID: "2", Container: "vllm"}
)

// told is what is said of each pod, a line each.
func told(readings []PodReading) []string {
	var lines []string
	for _, r := range readings {
		what := r.Absence.String()
		if r.Valid() {
			what = fmt.Sprintf("%.3g %s", r.Value, r.Quality)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s", r.Pod.Name, r.Signal, r.Basis, what))
	}
	return lines
}

func busy(pid int, ratio float64, pod Pod, matched bool) Owned {
	return Owned{Process: Process{Slice: Whole(gpuA), PID: pid, MemoryBytes: 100, MemoryKnown: true, Busy: ratio, BusyKnown: true}, Pod: pod, Matched: matched}
}

func TestWhatIsToldOfAPod(t *testing.T) {
	memory := Reading{Slice: Whole(gpuA), Signal: MemoryUsed, Value: 300, Source: NVMLMemory, Quality: Exact, At: at(1)}
	device := []Reading{sm(Whole(gpuA), 0.8, 1), memory}
	both := []Pod{one, other}
	idle := []Reading{sm(Whole(gpuA), 0, 1)}
	for _, test := range []struct {
		name      string
		sharing   Sharing
		device    []Reading
		pods      []Pod
		processes []Owned
		want      []string
	}{
		{"alone", Exclusive, device, []Pod{one}, nil, []string{"one sm_active own 0.8 exact", "one memory_used own 300 exact"}},
		{"time-sliced: the part and the device", TimeSliced, device, both, []Owned{busy(1, 0.3, one, true), busy(2, 0.1, other, true)}, []string{
			"one sm_active part 0.6 corrected", "one sm_active device 0.8 exact", "one memory_used part 100 exact", "one memory_used device 300 exact",
			"other sm_active part 0.2 corrected", "other sm_active device 0.8 exact", "other memory_used part 100 exact", "other memory_used device 300 exact"}},
		{"time-sliced: nobody can be matched", TimeSliced, device, []Pod{one}, []Owned{busy(1, 0.3, Pod{}, false)}, []string{
			"one sm_active part unmatched", "one sm_active device 0.8 exact", "one memory_used part unmatched", "one memory_used device 300 exact"}},
		{"time-sliced: a stranger takes its part, and the pod has its own", TimeSliced, device, []Pod{one}, []Owned{busy(1, 0.3, one, true), busy(2, 0.1, Pod{}, false)}, []string{
			"one sm_active part 0.6 corrected", "one sm_active device 0.8 exact", "one memory_used part 100 exact", "one memory_used device 300 exact"}},
		{"time-sliced: what worked has ended", TimeSliced, device, []Pod{one}, nil, []string{
			"one sm_active part unmatched", "one sm_active device 0.8 exact", "one memory_used part 0 exact", "one memory_used device 300 exact"}},
		{"time-sliced and idle is zero", TimeSliced, idle, []Pod{one}, nil, []string{"one sm_active part 0 corrected", "one sm_active device 0 exact"}},
		{"MPS: the device, memory apart", MPS, device, []Pod{one}, []Owned{busy(1, 0.3, one, true)}, []string{
			"one sm_active device 0.8 exact", "one memory_used part 100 exact", "one memory_used device 300 exact"}},
		{"hidden", Hidden, device, []Pod{one}, nil, []string{"one sm_active own unseen", "one memory_used own unseen"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, told(Attribute(test.sharing, test.device, test.pods, test.processes))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzParts: whatever runs, the parts of a device's activity are ratios and add up to no more than the device's.
func FuzzParts(f *testing.F) {
	f.Add(0.8, 0.3, 0.1, 0.0, true)
	f.Add(1.0, 0.0, 0.0, 0.5, false)
	f.Fuzz(func(t *testing.T, device, a, b, stranger float64, matched bool) {
		for _, ratio := range []float64{device, a, b, stranger} {
			if _, _, why := Ratio(ratio, 0); why != 0 {
				t.Skip("no ratio")
			}
		}
		processes := []Owned{busy(1, a, one, true), busy(2, b, other, matched), busy(3, stranger, Pod{}, false)}
		sum := 0.0
		for _, r := range Attribute(TimeSliced, []Reading{sm(Whole(gpuA), device, 1)}, []Pod{one, other}, processes) {
			if r.Basis != Part || !r.Valid() {
				continue
			}
			if _, _, why := Ratio(r.Value, 0); why != 0 {
				t.Errorf("a part of %v", r.Value)
			}
			sum += r.Value
		}
		if sum > device*(1+1e-9) {
			t.Errorf("parts of %v add up to %v", device, sum)
		}
	})
}
