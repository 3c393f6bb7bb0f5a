// Package agent is the node agent: once a second it reads every GPU and MIG device of the node, says which pod each is, and shows that to
// Prometheus and to every replica of the adapter.
//
//	NVML ─────────────┐                        ┌─► /metrics, in our names and if wanted in dcgm-exporter's
//	or a recording    ├─► best reading of each ┤
//	dcgm-exporter,    │   slice and signal, ───┤
//	 where GPM is not │   whose it is          └─► stream of deltas, to each adapter
//	PodResources, ────┘
//	/proc, log directories
//
// # Reading
//
// The driver is read by the goroutines that dcgm/nvml asks for; one that never touches it looks at its verdict once a second. What was read
// meets what pods hold when a sample is there: nothing waits for the kubelet, and a kubelet that is away leaves pods with the devices that they had.
// A tick publishes one immutable View. While a call hangs nothing is published, so all that has been shown goes stale by itself; after 10 s
// it is said to hang, after 60 s the process ends.
//
// # Ending
//
// Run ends without an error when it was asked to, and when only a new process can go on (a driver that was replaced): the DaemonSet starts
// one. RestartError asks for a new process that leaves some GPUs' GPM alone; the command becomes it by exec, as the flag would be
// lost with the container. A node without a driver is no failure: the agent stays, says so, and looks again.
//
// MIG reconfiguration needs no client on the GPUs. NVIDIA's manager says so by labels of the node, which this program cannot see: it has no client of
// the API. It runs behind the label that the manager takes away, nvidia.com/gpu.deploy.dcgm-exporter, and so is told by SIGTERM.
//
// # The stream
//
// Only who shows a certificate of the client CA may watch; the server's own is read anew for each handshake, so that it can be replaced under a
// running process. There is no key of a CA on the node. Each watcher has an encoder of its own and takes what there is when it can: one that is
// slow costs the others nothing.
package agent
