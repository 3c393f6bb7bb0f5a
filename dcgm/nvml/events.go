//go:build linux && cgo

package nvml

import (
	"fmt"
	"time"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
)

const wantedEvents = gonvml.EventTypeXidCriticalError | gonvml.EventMigConfigChange | gonvml.EventTypeGpuUnavailableError

// Listen asks for the events of every GPU that supports them. It is to be called after Inventory, and fails where there are
// none; then the audit and failing samples are what tells of changes.
func (l *Library) Listen() error {
	at := l.layout.Load()
	if at == nil {
		return ErrNoLayout
	}
	if !l.symbols["nvmlDeviceRegisterEvents"] || !l.symbols["nvmlEventSetWait"] || !l.symbols["nvmlEventSetFree"] {
		return &CallError{"nvmlDeviceRegisterEvents", FunctionNotFound}
	}
	var set gonvml.EventSet
	code := l.call("nvmlEventSetCreate", func() (ret gonvml.Return) {
		set, ret = l.api.EventSetCreate()
		return ret
	})
	if code != Success {
		return fmt.Errorf("listen to the driver: %w", &CallError{"nvmlEventSetCreate", code})
	}
	registered := 0
	for i := range at.gpus {
		handle := at.gpus[i].handle
		if handle == nil {
			continue
		}
		types := uint64(wantedEvents)
		l.call("nvmlDeviceGetSupportedEventTypes", func() gonvml.Return {
			supported, ret := handle.GetSupportedEventTypes()
			if ret == gonvml.SUCCESS {
				types &= supported
			}
			return ret
		})
		if types != 0 && l.call("nvmlDeviceRegisterEvents", func() gonvml.Return { return handle.RegisterEvents(types, set) }) == Success {
			registered++
		}
	}
	if registered == 0 {
		l.call("nvmlEventSetFree", func() gonvml.Return { return set.Free() })
		return fmt.Errorf("listen to the driver: no GPU reports events")
	}
	l.events = set
	return nil
}

// Next waits for the next event, at most for the time given, which is to be a few seconds: a wait counts as a call under way. What the event
// asks of the library itself is done by then: a lost GPU is dropped, a changed one doubted.
func (l *Library) Next(wait time.Duration) (Event, bool, error) {
	if l.events == nil {
		return Event{}, false, &CallError{"nvmlEventSetWait", Uninitialized}
	}
	var data gonvml.EventData
	code := l.call("nvmlEventSetWait", func() (ret gonvml.Return) {
		data, ret = l.events.Wait(uint32(wait.Milliseconds()))
		return ret
	})
	switch {
	case code == Timeout:
		return Event{}, false, nil
	case code != Success:
		return Event{}, false, &CallError{"nvmlEventSetWait", code}
	}
	e := Event{GI: instance(data.GpuInstanceId), CI: instance(data.ComputeInstanceId)}
	at := l.layout.Load()
	for i, gpu := range at.inventory.GPUs { // not by asking the GPU, which may be gone
		if data.Device != nil && at.gpus[i].handle == data.Device {
			e.GPU = gpu.UUID
		}
	}
	switch data.EventType {
	case gonvml.EventTypeXidCriticalError:
		e.Kind, e.XID = XID, data.EventData
	case gonvml.EventMigConfigChange:
		e.Kind = MIGChanged
	case gonvml.EventTypeGpuUnavailableError:
		e.Kind = GPUUnavailable
	default:
		return Event{}, false, nil
	}
	switch OnEvent(e) {
	case Look:
		l.doubt(e.GPU, "the driver reports a MIG change on "+e.GPU)
	case DropGPU:
		l.lose(e.GPU)
	}
	return e, true, nil
}

func instance(id uint32) int {
	if id == 0xFFFFFFFF {
		return -1
	}
	return int(id)
}
