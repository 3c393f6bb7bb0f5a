package nvml

import (
	"strconv"
	"time"
)

// Action is what a code, an event or a state of the node asks of the agent.
type Action int

const (
	Carry   Action = iota + 1 // nothing; at most a count
	Look                      // walk the inventory again, and throw samples of that GPU away
	DropGPU                   // its readings are absent at once, the others go on; look again after Retry
	Reopen                    // there is no driver: stay up without readings, and open again after RetryOpenAfter
	Release                   // free samples, shut NVML down and end with code 0: somebody needs the GPUs, or only a new process can go on
	Restart                   // become a new process that leaves some GPUs' GPM alone
	End                       // end with code 1: the driver hangs and cannot be let go of
	Tell                      // say once which permission is missing; the readings are absent
)

func (a Action) String() string {
	words := []string{"carry on", "look again", "drop the gpu", "reopen", "release", "restart", "end", "tell"}
	if a < 1 || int(a) > len(words) {
		return "action " + strconv.Itoa(int(a))
	}
	return words[a-1]
}

// Retry is how long a lost GPU is left alone: each call to one may hang.
const Retry = 30 * time.Second

// RetryOpenAfter is how long to wait for a driver after so many failures in a row: from 5 s, doubling, up to a minute. A node
// without GPUs must not crash-loop, nor look every second for what will not come.
func RetryOpenAfter(failures int) time.Duration {
	return min(time.Minute, 5*time.Second<<min(max(failures-1, 0), 4))
}

// OnCode is what a returned code asks for.
func OnCode(code Code) Action {
	switch code {
	case LibraryNotFound, DriverNotLoaded, Uninitialized:
		return Reopen
	case GPUIsLost, ResetRequired, GPUNotFound:
		return DropGPU
	case VersionMismatch:
		return Release
	case NoPermission, OperatingSystem:
		return Tell
	}
	return Carry
}

// EventKind is what NVML reports by itself.
type EventKind int

const (
	XID            EventKind = iota + 1 // the driver's error number, often an application's fault
	MIGChanged                          // instances were made or destroyed
	GPUUnavailable                      // the GPU does not answer any more
)

// Event is one report. GI and CI are -1 when it is about the whole GPU.
type Event struct {
	Kind   EventKind
	GPU    string
	GI, CI int
	XID    uint64
}

// The driver's error numbers that mean more than a failed application: NVIDIA's XID catalogue. 13, 31, 43, 45 and the like are faults of the application that ran.
var xids = map[uint64]Action{
	79:  DropGPU, // fell off the bus
	119: DropGPU, // the GPU's own processor does not answer: calls may hang
	120: DropGPU, // it failed
}

// OnEvent is what an event asks for.
func OnEvent(e Event) Action {
	switch e.Kind {
	case MIGChanged:
		return Look
	case GPUUnavailable:
		return DropGPU
	case XID:
		if action, known := xids[e.XID]; known {
			return action
		}
	}
	return Carry
}

// OnNodeLabels is what the GPU Operator's MIG manager asks for by labels of the node: it must find no client on the GPUs.
// state is nvidia.com/mig.config.state, deploy is nvidia.com/gpu.deploy.dcgm-exporter, which the agent's DaemonSet follows.
func OnNodeLabels(state, deploy string) Action {
	if state == "pending" || state == "rebooting" || deploy == "paused-for-mig-change" {
		return Release
	}
	return Carry
}
