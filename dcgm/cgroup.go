package dcgm

import (
	"slices"
	"strings"
)

// CgroupOwner is whose a process is, by the path of its cgroup. Either may be empty: a process of a pod's sandbox level has no
// container, a path seen from inside a cgroup namespace may have lost the pod.
type CgroupOwner struct {
	PodUID      string // as the API server writes it, with dashes; a static pod's is 32 hexadecimal digits
	ContainerID string // 64 hexadecimal digits
}

// ParseCgroup reads /proc/<pid>/cgroup, of cgroup v1 (a line a hierarchy) or v2 (one line "0::/path"), as the kubelet's cgroupfs
// and systemd drivers lay it out under containerd, CRI-O and Docker. False when nothing in it is a pod's or a container's.
func ParseCgroup(content string) (CgroupOwner, bool) {
	var best CgroupOwner
	for line := range strings.Lines(content) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		owner := ownerOf(parts[2])
		if best.PodUID == "" && owner.PodUID != "" || best == (CgroupOwner{}) {
			best = owner
		}
	}
	return best, best != CgroupOwner{}
}

// ownerOf reads a path from its end: the innermost pod counts (a kubelet may itself run in a container), and only a container
// inside of that pod.
func ownerOf(path string) CgroupOwner {
	var owner CgroupOwner
	for _, part := range slices.Backward(strings.Split(path, "/")) {
		if uid, ok := podUID(part); ok {
			owner.PodUID = uid
			return owner
		}
		if id, ok := containerID(part); ok && owner.ContainerID == "" {
			owner.ContainerID = id
		}
	}
	return owner
}

// podUID reads "pod<uid>", and systemd's "kubepods-burstable-pod<uid with _>.slice".
func podUID(part string) (string, bool) {
	if slice, ok := strings.CutSuffix(part, ".slice"); ok {
		at := strings.LastIndex(slice, "-pod")
		if at < 0 {
			return "", false
		}
		part = slice[at+1:]
	}
	uid, ok := strings.CutPrefix(part, "pod")
	uid = strings.ReplaceAll(uid, "_", "-")
	return uid, ok && (isUUID(uid) || isHex(uid, 32))
}

// containerID reads "<id>", and systemd's "cri-containerd-<id>.scope", "crio-<id>.scope", "docker-<id>.scope". CRI-O's
// "crio-conmon-<id>.scope" is the container's minder, not the container.
func containerID(part string) (string, bool) {
	if strings.Contains(part, "conmon") {
		return "", false
	}
	part = strings.TrimSuffix(part, ".scope")
	if at := strings.LastIndexAny(part, "-:"); at >= 0 { // ":" in containerd's "<slice>:cri-containerd:<id>"
		part = part[at+1:]
	}
	return part, isHex(part, 64)
}

func isHex(text string, length int) bool {
	if len(text) != length {
		return false
	}
	for _, c := range []byte(text) {
		if !hexadecimal(c) {
			return false
		}
	}
	return true
}
