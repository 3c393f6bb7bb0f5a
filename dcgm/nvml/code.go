package nvml

import (
	"fmt"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Code is what an NVML call returned, by NVML's numbers.
type Code int

const (
	Success             Code = 0
	Uninitialized       Code = 1
	InvalidArgument     Code = 2
	NotSupported        Code = 3
	NoPermission        Code = 4
	NotFound            Code = 6
	DriverNotLoaded     Code = 9
	Timeout             Code = 10
	LibraryNotFound     Code = 12
	FunctionNotFound    Code = 13 // also what a guard says for a symbol that the driver lacks
	GPUIsLost           Code = 15
	ResetRequired       Code = 16
	OperatingSystem     Code = 17 // blocked by a device cgroup
	VersionMismatch     Code = 18 // the driver was replaced under a running process
	ArgumentVersion     Code = 25 // the driver knows another version of a structure
	GPUNotFound         Code = 28
	Unknown             Code = 999
	Panicked            Code = -1 // go-nvml did, and was caught
	insufficientSize    Code = 7
	irqIssue            Code = 11
	insufficientPower   Code = 8
	alreadyInitialized  Code = 5
	corruptedInforom    Code = 14
	inUse               Code = 19
	outOfMemory         Code = 20
	noData              Code = 21
	insufficientSources Code = 23
	deprecated          Code = 26
	notReady            Code = 27
	invalidState        Code = 29
)

// The words are our own: NVML's come from a symbol that may be missing.
var codeNames = map[Code]string{
	Success: "success", Uninitialized: "uninitialized", InvalidArgument: "invalid argument", NotSupported: "not supported", NoPermission: "no permission",
	alreadyInitialized: "already initialized", NotFound: "not found", insufficientSize: "insufficient size", insufficientPower: "insufficient power",
	DriverNotLoaded: "driver not loaded", Timeout: "timeout", irqIssue: "irq issue", LibraryNotFound: "library not found", FunctionNotFound: "function not found",
	corruptedInforom: "corrupted inforom", GPUIsLost: "gpu is lost", ResetRequired: "reset required", OperatingSystem: "blocked by the operating system",
	VersionMismatch: "driver and library versions differ", inUse: "in use", outOfMemory: "out of memory", noData: "no data", insufficientSources: "insufficient resources",
	ArgumentVersion: "argument version mismatch", deprecated: "deprecated", notReady: "not ready", GPUNotFound: "gpu not found", invalidState: "invalid state", Unknown: "unknown",
	Panicked: "panicked",
}

func (c Code) String() string {
	if name, known := codeNames[c]; known {
		return name
	}
	return fmt.Sprintf("code %d", int(c))
}

// CallError is a call that failed.
type CallError struct {
	Call string
	Code Code
}

func (e *CallError) Error() string { return e.Call + ": " + e.Code.String() }

// absence is what a failed call means for the readings that wanted it.
func (c Code) absence() dcgm.Absence {
	switch c {
	case NotSupported, FunctionNotFound, ArgumentVersion, deprecated:
		return dcgm.NotSupported
	case NoPermission, OperatingSystem:
		return dcgm.NoPermission
	case GPUIsLost, ResetRequired, GPUNotFound:
		return dcgm.GPULost
	case NotFound, InvalidArgument: // of a handle that was good when it was made
		return dcgm.LayoutChanged
	}
	return dcgm.Failed
}
