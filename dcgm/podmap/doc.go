// Package podmap says which container of which pod holds which GPU or MIG device, and whose a process is.
//
// # Who holds what
//
// The kubelet knows, and tells over its PodResources socket (v1): device plugins' ids and DRA devices, by pod and container. There is no
// watch, so it is asked about once a second; it refuses more than 100 questions a second from all its clients together, 10 at once, so
// ours are spaced and a refusal is answered with patience. Since Kubernetes 1.34 it lists active pods only; before, a pod that had
// ended still held its device until it was deleted.
//
// A List that takes too long or is too large does not lose what was known: the pods that held something are asked for
// one at a time (Confirm). While the kubelet does not answer at all, as when it is restarted, it gives no device to anybody either,
// so what was known stays true for KeepFor; then it is dropped, since somebody may have removed the pods without it.
//
// # Whose a pod is
//
// PodResources has no UIDs. They are the names of the directories in which the kubelet keeps pods' logs, <namespace>_<name>_<uid>, which
// needs no right in the API and no certificate, only the directory mounted read-only; nothing in it is opened. Without it pods have no UID, and
// processes cannot be told apart: then what is a pod's part of a shared device is unknown, not 0.
//
// # Whose a process is
//
// Its cgroup says: /proc/<pid>/cgroup holds the pod's UID. That needs the host's PID namespace, since the driver gives PIDs as the
// asking process sees them. Under gVisor and Kata the process belongs to a sandbox and may be nobody's.
package podmap
