package dcgm

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	gpuA = "GPU-11111111-2222-3333-4444-555555555555"
	gpuB = "GPU-66666666-7777-8888-9999-000000000000"
	migA = "MIG-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
)

func node() *Inventory {
	return &Inventory{GPUs: []GPU{
		{UUID: gpuA, Index: 0, Minor: 3, MIG: true, Generation: 9, Devices: []Device{
			{Slice: Compute(gpuA, 3, 0), UUID: migA, Profile: Profile{ComputeSlices: 1, GPUSlices: 1, MemoryGB: 18}, ProfileID: 19, Start: 4, Size: 1, Generation: 5, Weights: Weights{SM: 16.0 / 132, Memory: 0.125}},
			{Slice: Compute(gpuA, 1, 0), UUID: "MIG-1", Profile: Profile{ComputeSlices: 1, GPUSlices: 3, MemoryGB: 71}, ProfileID: 9, Start: 0, Size: 4, Generation: 6, Weights: Weights{SM: 20.0 / 132, Memory: 0.5}},
			{Slice: Compute(gpuA, 1, 1), UUID: "MIG-2", Profile: Profile{ComputeSlices: 2, GPUSlices: 3, MemoryGB: 71}, ProfileID: 9, Start: 0, Size: 4, Generation: 7, Weights: Weights{SM: 40.0 / 132, Memory: 0.5}},
		}},
		{UUID: gpuB, Index: 1, Minor: 0},
	}}
}

func TestDeviceIDs(t *testing.T) {
	for _, test := range []struct {
		name, id string
		want     DeviceID
		slice    Slice // zero: none
	}{
		{"a whole GPU", gpuB, DeviceID{UUID: gpuB}, Whole(gpuB)},
		{"a MIG device", migA, DeviceID{UUID: migA}, Compute(gpuA, 3, 0)},
		{"a replica of a GPU", gpuB + "::2", DeviceID{UUID: gpuB, Shared: true, Replica: 2}, Whole(gpuB)},
		{"a replica of a MIG device", migA + "::0", DeviceID{UUID: migA, Shared: true}, Compute(gpuA, 3, 0)},
		{"a MIG device of an old driver", "MIG-" + gpuA + "/3/0", DeviceID{Legacy: Compute(gpuA, 3, 0)}, Compute(gpuA, 3, 0)},
		{"GKE: a GPU", "nvidia1", DeviceID{ByIndex: true, Index: 1, GI: -1}, Whole(gpuB)},
		{"GKE: a slice", "nvidia0/gi3", DeviceID{ByIndex: true, GI: 3}, Compute(gpuA, 3, 0)},
		{"GKE: a GPU instance of two compute instances names neither", "nvidia0/gi1", DeviceID{ByIndex: true, GI: 1}, Slice{}},
		{"GKE: shared", "nvidia1/vgpu4", DeviceID{ByIndex: true, Index: 1, GI: -1, Shared: true, Replica: 4}, Whole(gpuB)},
		{"GKE: a shared slice", "nvidia0/gi3/vgpu0", DeviceID{ByIndex: true, GI: 3, Shared: true}, Compute(gpuA, 3, 0)},
		{"another node's", "GPU-00000000-0000-0000-0000-000000000000", DeviceID{UUID: "GPU-00000000-0000-0000-0000-000000000000"}, Slice{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParsePluginID(test.id)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if slice, found := node().Find(got); slice != test.slice || found != (test.slice != Slice{}) {
				t.Errorf("found %s (%v), want %s", slice, found, test.slice)
			}
		})
	}
	for _, bad := range []string{"", "::1", "GPU-1", gpuA + "::", gpuA + "::x", gpuA + "::01", "nvidia", "nvidia0/", "nvidia0/gi", "nvidia0/vgpu1/gi2", "nvidia0/gi1/gi2", "nvidia0::1", "MIG-" + gpuA, "MIG-" + gpuA + "/1", strings.ToUpper(migA), "cuda0"} {
		if got, err := ParsePluginID(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func TestDRADevices(t *testing.T) {
	for _, test := range []struct {
		name  string
		want  DeviceID
		slice Slice
	}{
		{"gpu-0", DeviceID{ByPlace: true}, Whole(gpuB)}, // minor numbers, not indices
		{"gpu-3-mig-1g18gb-19-4", DeviceID{ByPlace: true, Minor: 3, Place: &Place{"1g18gb", 19, 4}}, Compute(gpuA, 3, 0)},
		{"gpu-3-mig-1g18gb-me-20-4", DeviceID{ByPlace: true, Minor: 3, Place: &Place{"1g18gb-me", 20, 4}}, Slice{}},
		{"gpu-3-mig-1g18gb-19-5", DeviceID{ByPlace: true, Minor: 3, Place: &Place{"1g18gb", 19, 5}}, Slice{}},
		{"gpu-vfio-1", DeviceID{Passed: true}, Slice{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseDRADevice(test.name)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if slice, found := node().Find(got); slice != test.slice || found != (test.slice != Slice{}) {
				t.Errorf("found %s (%v), want %s", slice, found, test.slice)
			}
		})
	}
	for _, bad := range []string{"", "gpu", "gpu-", "gpu-x", "gpu-0-mig", "gpu-0-mig-", "gpu-0-mig-1g10gb", "gpu-0-mig-1g10gb-19", "gpu-0-mig--19-4", "gpu-0-mig-1g10gb-19-8", "gpu-00", "gpu-vfio-", "tpu-0"} {
		if got, err := ParseDRADevice(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

// TestNothingIsFoundWhereNothingIs: the zero id must not match, nor anything an absent inventory.
func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	if s, found := node().Find(DeviceID{}); found {
		t.Errorf("the zero id is %s", s)
	}
	if s, found := (*Inventory)(nil).Find(DeviceID{UUID: gpuA}); found {
		t.Errorf("no inventory has %s", s)
	}
}

// ways counts in how many ways an id names something; it must be one.
func (id DeviceID) ways() (n int) {
	for _, set := range []bool{id.UUID != "", id.Legacy != Slice{}, id.ByPlace, id.ByIndex, id.Passed} {
		if set {
			n++
		}
	}
	return n
}

func FuzzPluginID(f *testing.F) {
	for _, seed := range []string{gpuA, migA + "::3", "MIG-" + gpuA + "/3/0", "nvidia0/gi3/vgpu0", "nvidia12"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParsePluginID(text)
		if err == nil && id.ways() != 1 || err != nil && id.ways() != 0 {
			t.Errorf("%q names something in %d ways: %+v, %v", text, id.ways(), id, err)
		}
		if err == nil && id.UUID != "" && !strings.HasPrefix(text, id.UUID) {
			t.Errorf("%q has UUID %q", text, id.UUID)
		}
		if s, found := node().Find(id); found && s.GPU != gpuA && s.GPU != gpuB {
			t.Errorf("%q is %s", text, s)
		}
	})
}

func FuzzDRADevice(f *testing.F) {
	for _, seed := range []string{"gpu-0", "gpu-3-mig-1g18gb-19-4", "gpu-3-mig-1g18gb-me-20-4", "gpu-vfio-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		id, err := ParseDRADevice(name)
		if err == nil && id.ways() != 1 || err != nil && id.ways() != 0 {
			t.Errorf("%q names something in %d ways: %+v, %v", name, id.ways(), id, err)
		}
		if err == nil && id.Place != nil && (id.Place.Start > 7 || !strings.Contains(name, id.Place.Profile) || id.Place.Profile == "") {
			t.Errorf("%q is at %+v", name, *id.Place)
		}
	})
}

func FuzzSlice(f *testing.F) {
	for _, seed := range []string{gpuA, gpuA + "/3", gpuA + "/3/0", "/", "a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSlice(text)
		if err == nil && s.String() != text {
			t.Errorf("%q is read as %+v and written as %q", text, s, s)
		}
	})
}

func TestSlicesInOrder(t *testing.T) {
	want := []Slice{Whole("a"), Instance("a", 0), Compute("a", 0, 0), Compute("a", 0, 1), Instance("a", 1), Compute("a", 1, 0), Whole("b")}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Slice.Compare)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

const (
	podID       = "0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d001"
	staticPodID = "4f1d2c3b4a5968778695a4b3c2d1e0f1"
)

var containerHex = strings.Repeat("ab12", 16)

func TestCgroups(t *testing.T) {
	underscored := strings.ReplaceAll(podID, "-", "_")
	for _, test := range []struct {
		name, content string
		want          CgroupOwner
	}{
		{"v2, systemd, containerd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored + ".slice/cri-containerd-" + containerHex + ".scope\n", CgroupOwner{podID, containerHex}},
		{"v2, systemd, CRI-O", "0::/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-" + containerHex + ".scope\n", CgroupOwner{podID, containerHex}},
		{"v2, CRI-O with a container's own sub-cgroup", "0::/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-" + containerHex + ".scope/container\n", CgroupOwner{podID, containerHex}},
		{"CRI-O's minder is no container", "0::/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-conmon-" + containerHex + ".scope\n", CgroupOwner{PodUID: podID}},
		{"v2, cgroupfs", "0::/kubepods/besteffort/pod" + podID + "/" + containerHex + "\n", CgroupOwner{podID, containerHex}},
		{"v2, cgroupfs, guaranteed", "0::/kubepods/pod" + podID + "/" + containerHex, CgroupOwner{podID, containerHex}},
		{"v1, several hierarchies", "12:rdma:/\n11:memory:/kubepods/burstable/pod" + podID + "/" + containerHex + "\n1:name=systemd:/kubepods/burstable/pod" + podID + "/" + containerHex + "\n", CgroupOwner{podID, containerHex}},
		{"v1, systemd, Docker", "5:devices:/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + underscored + ".slice/docker-" + containerHex + ".scope\n", CgroupOwner{podID, containerHex}},
		{"containerd with systemd names in cgroupfs", "0::/system.slice/containerd.service/kubepods-burstable-pod" + underscored + ".slice:cri-containerd:" + containerHex + "\n", CgroupOwner{ContainerID: containerHex}},
		{"a static pod", "0::/kubepods/burstable/pod" + staticPodID + "/" + containerHex, CgroupOwner{staticPodID, containerHex}},
		{"a kubelet in a container", "0::/docker/" + strings.Repeat("cd34", 16) + "/kubelet/kubepods/pod" + podID + "/" + containerHex, CgroupOwner{podID, containerHex}},
		{"kind's names", "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + underscored + ".slice/cri-containerd-" + containerHex + ".scope", CgroupOwner{podID, containerHex}},
		{"seen from inside a cgroup namespace", "0::/../cri-containerd-" + containerHex + ".scope", CgroupOwner{ContainerID: containerHex}},
		{"a pod's own level", "0::/kubepods/pod" + podID, CgroupOwner{PodUID: podID}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, found := ParseCgroup(test.content)
			if diff := cmp.Diff(test.want, got); diff != "" || !found {
				t.Error(found, diff)
			}
		})
	}
	for _, none := range []string{"", "0::/", "0::/system.slice/sshd.service\n", "0::/user.slice/user-1000.slice/session-2.scope", "0::/kubepods/pod123/abc", "garbage", "1:2"} {
		if got, found := ParseCgroup(none); found {
			t.Errorf("%q is %+v", none, got)
		}
	}
}

func FuzzCgroup(f *testing.F) {
	f.Add("0::/kubepods/besteffort/pod" + podID + "/" + containerHex)
	f.Add("1:name=systemd:/kubepods.slice/kubepods-pod" + strings.ReplaceAll(podID, "-", "_") + ".slice/crio-" + containerHex + ".scope")
	f.Fuzz(func(t *testing.T, content string) {
		owner, found := ParseCgroup(content)
		if found != (owner != CgroupOwner{}) {
			t.Errorf("found %v: %+v", found, owner)
		}
		if owner.ContainerID != "" && (!isHex(owner.ContainerID, 64) || !strings.Contains(content, owner.ContainerID)) {
			t.Errorf("container %q of %q", owner.ContainerID, content)
		}
		if owner.PodUID != "" && (!isUUID(owner.PodUID) && !isHex(owner.PodUID, 32) || !strings.Contains(strings.ReplaceAll(content, "_", "-"), "pod"+owner.PodUID)) {
			t.Errorf("pod %q of %q", owner.PodUID, content)
		}
	})
}
