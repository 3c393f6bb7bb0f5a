package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/podmap"
)

const (
	wholeGPU = "GPU-11111111-2222-3333-4444-555555555555"
	cutGPU   = "GPU-66666666-7777-8888-9999-000000000000"
	oneMIG   = "MIG-66666666-0000-0000-0000-000000000001"
	twoMIG   = "MIG-66666666-0000-0000-0000-000000000002"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// node has a whole GPU and one of two slices.
func node() *dcgm.Inventory {
	return &dcgm.Inventory{Driver: "570.124.06", GPUs: []dcgm.GPU{
		{UUID: wholeGPU, Index: 0, Name: "NVIDIA H200", Architecture: dcgm.Hopper, Virtualization: dcgm.BareMetal},
		{UUID: cutGPU, Index: 1, Minor: 1, Name: "NVIDIA H200", Architecture: dcgm.Hopper, Virtualization: dcgm.BareMetal, MIG: true, Devices: []dcgm.Device{
			{Slice: dcgm.Compute(cutGPU, 1, 0), UUID: oneMIG, ProfileID: 19, Start: 0, Profile: dcgm.Profile{ComputeSlices: 1, GPUSlices: 1, MemoryGB: 18}, Weights: dcgm.Weights{SM: 16. / 132, Memory: .125}},
			{Slice: dcgm.Compute(cutGPU, 2, 0), UUID: twoMIG, ProfileID: 9, Start: 4, Profile: dcgm.Profile{ComputeSlices: 3, GPUSlices: 3, MemoryGB: 71}, Weights: dcgm.Weights{SM: 60. / 132, Memory: .5}},
		}},
	}}
}

func hold(pod string, id string) podmap.Holding {
	h := podmap.Holding{Pod: dcgm.Pod{Namespace: "ns", Name: pod, Container: "main"}, ID: id}
	var err error
	if strings.HasPrefix(id, "gpu-") {
		h.Device, err = dcgm.ParseDRADevice(id)
	} else {
		h.Device, err = dcgm.ParsePluginID(id)
	}
	if err != nil {
		panic(err)
	}
	return h
}

func uid(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }

func TestAttribute(t *testing.T) {
	whole := dcgm.Whole(wholeGPU)
	busy := func(pid int, share float64) dcgm.Process {
		return dcgm.Process{Slice: whole, PID: pid, Busy: share, BusyKnown: true, MemoryBytes: uint64(pid), MemoryKnown: true}
	}
	for _, test := range []struct {
		name      string
		held      []podmap.Holding
		uids      map[string]string
		processes []dcgm.Process
		owners    map[int]string // UID by PID
		want      []string       // pod, basis, signal, value
		unplaced  int
	}{
		{
			name: "a whole GPU and a MIG device, each a pod's",
			held: []podmap.Holding{hold("a", wholeGPU), hold("b", oneMIG)},
			want: []string{"a own memory_used 1000", "a own sm_active 0.8", "b own memory_used 1000", "b own sm_active 0.8"},
		},
		{
			name: "a MIG device made on demand, by its place",
			held: []podmap.Holding{hold("a", "gpu-1-mig-3g71gb-9-4")},
			want: []string{"a own memory_used 1000", "a own sm_active 0.8"},
		},
		{
			name: "a device that is not here",
			held: []podmap.Holding{hold("a", "MIG-66666666-0000-0000-0000-000000000009")}, unplaced: 1,
		},
		{
			name: "a GPU that only its guest sees",
			held: []podmap.Holding{hold("a", "gpu-vfio-0")},
		},
		{
			name:      "two pods in turn on a GPU",
			held:      []podmap.Holding{hold("a", wholeGPU+"::0"), hold("b", wholeGPU+"::1")},
			uids:      map[string]string{"a": uid(1), "b": uid(2)},
			processes: []dcgm.Process{busy(100, 0.3), busy(200, 0.1)}, owners: map[int]string{100: uid(1), 200: uid(2)},
			want: []string{
				"a device memory_used 1000", "a device sm_active 0.8", "a part memory_used 100", "a part sm_active 0.6",
				"b device memory_used 1000", "b device sm_active 0.8", "b part memory_used 200", "b part sm_active 0.2",
			},
		},
		{
			name:      "a third process is a pod's that holds nothing",
			held:      []podmap.Holding{hold("a", wholeGPU+"::0"), hold("b", wholeGPU+"::1")},
			uids:      map[string]string{"a": uid(1), "b": uid(2)},
			processes: []dcgm.Process{busy(100, 0.3), busy(300, 0.1)}, owners: map[int]string{100: uid(1), 300: uid(3)},
			want: []string{
				"a device memory_used 1000", "a device sm_active 0.8", "a part memory_used 100", "a part sm_active 0.6",
				"b device memory_used 1000", "b device sm_active 0.8", "b part memory_used 0", "b part sm_active 0",
			},
		},
		{
			name:      "without UIDs parts are unknown, not nothing",
			held:      []podmap.Holding{hold("a", wholeGPU+"::0"), hold("b", wholeGPU+"::1")},
			processes: []dcgm.Process{busy(100, 0.3)}, owners: map[int]string{100: uid(1)},
			want: []string{
				"a device memory_used 1000", "a device sm_active 0.8", "a part memory_used unmatched", "a part sm_active unmatched",
				"b device memory_used 1000", "b device sm_active 0.8", "b part memory_used unmatched", "b part sm_active unmatched",
			},
		},
		{
			name:      "two pods at once, under MPS",
			held:      []podmap.Holding{hold("a", wholeGPU+"::0"), hold("b", wholeGPU+"::1")},
			uids:      map[string]string{"a": uid(1), "b": uid(2)},
			processes: []dcgm.Process{{Slice: whole, PID: 100, MPS: true, MemoryBytes: 100, MemoryKnown: true}}, owners: map[int]string{100: uid(1)},
			want: []string{
				"a device memory_used 1000", "a device sm_active 0.8", "a part memory_used 100",
				"b device memory_used 1000", "b device sm_active 0.8", "b part memory_used 0",
			},
		},
		{
			name: "two pods on a MIG device", processes: []dcgm.Process{},
			held: []podmap.Holding{hold("a", oneMIG+"::0"), hold("b", oneMIG+"::1")},
			want: []string{
				"a device memory_used 1000", "a device sm_active 0.8", "a part memory_used 0",
				"b device memory_used 1000", "b device sm_active 0.8", "b part memory_used 0",
			},
		},
		{
			name: "what runs is not known",
			held: []podmap.Holding{hold("a", oneMIG+"::0"), hold("b", wholeGPU+"::1")},
			want: []string{
				"a device memory_used 1000", "a device sm_active 0.8", "a part memory_used unmatched",
				"b device memory_used 1000", "b device sm_active 0.8", "b part memory_used unmatched", "b part sm_active not supported",
			},
		},
		{
			name: "one pod with two replicas of the same device holds it once", processes: []dcgm.Process{},
			held: []podmap.Holding{hold("a", wholeGPU+"::0"), hold("a", wholeGPU+"::1")},
			want: []string{"a device memory_used 1000", "a device sm_active 0.8", "a part memory_used 0", "a part sm_active unmatched"},
		},
		{
			name: "two containers of one pod on a device are the pod",
			held: []podmap.Holding{hold("a", "gpu-0"), {Pod: dcgm.Pod{Namespace: "ns", Name: "a", Container: "side"}, ID: "gpu-0", Device: dcgm.DeviceID{ByPlace: true}}},
			want: []string{"a own memory_used 1000", "a own memory_used 1000", "a own sm_active 0.8", "a own sm_active 0.8"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := scene{inventory: node(), held: test.held, processes: test.processes, best: map[dcgm.Slice][]dcgm.Reading{}, uids: map[podmap.PodName]string{}}
			for _, slice := range []dcgm.Slice{whole, dcgm.Compute(cutGPU, 1, 0), dcgm.Compute(cutGPU, 2, 0)} {
				s.best[slice] = []dcgm.Reading{
					{Slice: slice, Signal: dcgm.SMActive, Value: 0.8, At: noon, Source: dcgm.GPM, Quality: dcgm.Exact},
					{Slice: slice, Signal: dcgm.MemoryUsed, Value: 1000, At: noon, Source: dcgm.NVMLMemory, Quality: dcgm.Exact},
				}
			}
			for name, uid := range test.uids {
				s.uids[podmap.PodName{Namespace: "ns", Name: name}] = uid
			}
			s.owner = func(pid int) (dcgm.CgroupOwner, bool) {
				uid, known := test.owners[pid]
				return dcgm.CgroupOwner{PodUID: uid}, known
			}
			told := s.attribute()
			var got []string
			for _, p := range told.pods {
				value := p.Absence.String()
				if p.Valid() {
					value = fmt.Sprintf("%.4g", p.Value)
				}
				got = append(got, fmt.Sprintf("%s %s %s %s", p.Pod.Name, p.Basis, p.Signal, value))
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" || len(told.unplaced) != test.unplaced {
				t.Errorf("%d unplaced, want %d; told (-want +got):\n%s", len(told.unplaced), test.unplaced, diff)
			}
		})
	}
}

func TestAPodsUIDByItsProcesses(t *testing.T) {
	for _, test := range []struct {
		name   string
		owners map[int]string
		want   string
	}{
		{"all are one pod's", map[int]string{1: uid(1), 2: uid(1)}, uid(1)},
		{"of two pods", map[int]string{1: uid(1), 2: uid(2)}, ""},
		{"one is nobody's", map[int]string{1: uid(1)}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := scene{inventory: node(), held: []podmap.Holding{hold("a", wholeGPU)}, processes: []dcgm.Process{{Slice: dcgm.Whole(wholeGPU), PID: 1}, {Slice: dcgm.Whole(wholeGPU), PID: 2}}}
			s.owner = func(pid int) (dcgm.CgroupOwner, bool) {
				uid, known := test.owners[pid]
				return dcgm.CgroupOwner{PodUID: uid}, known
			}
			if got := s.attribute().holders[dcgm.Whole(wholeGPU)][0].UID; got != test.want {
				t.Errorf("UID %q, want %q", got, test.want)
			}
		})
	}
}
