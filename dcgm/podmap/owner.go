package podmap

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

const (
	// DefaultProc is the host's in a pod with hostPID.
	DefaultProc = "/proc"
	// DefaultLogs is where the kubelet keeps the logs of pods.
	DefaultLogs = "/var/log/pods"
	// maxCgroup bounds /proc/<pid>/cgroup: version 1 has a line for each of some 15 hierarchies, each path at most PATH_MAX.
	maxCgroup = 64 << 10
)

// Owner is whose a process is, by its cgroup under proc. False when the process is gone or nobody's.
func Owner(proc string, pid int) (dcgm.CgroupOwner, bool) {
	file, err := os.Open(filepath.Join(proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return dcgm.CgroupOwner{}, false
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxCgroup))
	if err != nil {
		return dcgm.CgroupOwner{}, false
	}
	return dcgm.ParseCgroup(string(content))
}

// PodName is a pod's namespace and name.
type PodName struct{ Namespace, Name string }

// UIDs reads the UIDs of the node's pods off the directories of their logs. A pod that was made anew under its old name has two for as long
// as the kubelet has not swept up; the younger is that of the one that runs.
func UIDs(logs string) (map[PodName]string, error) {
	entries, err := os.ReadDir(logs)
	if err != nil {
		return nil, fmt.Errorf("read UIDs of pods: %w", err)
	}
	uids, made := map[PodName]string{}, map[PodName]time.Time{}
	for _, entry := range entries {
		parts := strings.Split(entry.Name(), "_") // neither names nor UIDs have one
		if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
			continue
		}
		name := PodName{parts[0], parts[1]}
		info, err := entry.Info()
		if err != nil || !made[name].IsZero() && !info.ModTime().After(made[name]) { // swept up meanwhile, or the elder
			continue
		}
		made[name] = info.ModTime()
		uids[name] = parts[2]
	}
	return uids, nil
}
