package podmap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

func TestUIDs(t *testing.T) {
	logs, old := t.TempDir(), time.Now().Add(-time.Hour)
	for name, made := range map[string]time.Time{
		"inference_llama-0_0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d001": old, // the pod that had the name before
		"inference_llama-0_0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d002": old.Add(time.Minute),
		"inference_phi-0_0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d003":   old,
		"kube-system_etcd-node-1_4a2ff4f1d2b0a1b0c2d3e4f5a6b7c8": old, // a static pod's
		"0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d004":                   old, // as kubelets before 1.14 made them
	} {
		path := filepath.Join(logs, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, made, made); err != nil {
			t.Fatal(err)
		}
	}
	got, err := UIDs(logs)
	if err != nil {
		t.Fatal(err)
	}
	want := map[PodName]string{
		{"inference", "llama-0"}: "0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d002", {"inference", "phi-0"}: "0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d003",
		{"kube-system", "etcd-node-1"}: "4a2ff4f1d2b0a1b0c2d3e4f5a6b7c8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("UIDs (-want +got):\n%s", diff)
	}
	if _, err := UIDs(filepath.Join(logs, "none")); err == nil {
		t.Error("UIDs of a directory that is not there")
	}
}

func TestOwner(t *testing.T) {
	proc := t.TempDir()
	id := strings.Repeat("ab", 32)
	for pid, content := range map[string]string{
		"17": "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f3c6f2a_8d3e_4c1b_9a70_2f4be6a1d001.slice/cri-containerd-" + id + ".scope\n",
		"18": "0::/system.slice/sshd.service\n",
	} {
		if err := os.Mkdir(filepath.Join(proc, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "cgroup"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, found := Owner(proc, 17)
	if want := (dcgm.CgroupOwner{PodUID: "0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d001", ContainerID: id}); !found || got != want {
		t.Errorf("owner %+v, %v; want %+v", got, found, want)
	}
	for _, pid := range []int{18, 19} {
		if got, found := Owner(proc, pid); found {
			t.Errorf("process %d is %+v's", pid, got)
		}
	}
}
