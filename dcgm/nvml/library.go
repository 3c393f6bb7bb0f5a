//go:build linux && cgo

package nvml

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Library is the driver's library, loaded and initialised. Inventory, Sample, Processes and Next may run at the same time as one
// another, each at most once. A process can hold one: after Close go-nvml goes on calling the first library it loaded.
type Library struct {
	opts    Options
	api     gonvml.Interface
	driver  string
	symbols map[string]bool // by call
	watch   watch
	counts  *counters
	layout  atomic.Pointer[layout]

	sampling sync.Mutex // held by Sample, and by Close while it frees what Sample uses
	sampler  sampler
	looking  sync.Mutex // held by Inventory
	numbers  generations
	using    sync.Mutex // held by Processes
	since    map[string]uint64
	events   gonvml.EventSet

	mu       sync.Mutex
	doubted  map[string]uint64    // how often a GPU's layout was found to have changed, by UUID
	lost     map[string]time.Time // GPUs not to call until then
	restart  map[string]bool      // GPUs whose GPM broke something
	sentence Code                 // a code after which only a new process can go on
	denied   []string             // calls that were refused for want of permission
	look     string               // why the inventory should be walked
}

// symbolsOf are the symbols of each call that is used; any of them will do, as go-nvml takes the newest that is there.
var symbolsOf = map[string][]string{
	"nvmlInit":                                {"nvmlInit_v2", "nvmlInit"},
	"nvmlShutdown":                            nil,
	"nvmlSystemGetDriverVersion":              nil,
	"nvmlDeviceGetCount":                      {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"},
	"nvmlDeviceGetHandleByIndex":              {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"},
	"nvmlDeviceGetUUID":                       nil,
	"nvmlDeviceGetName":                       nil,
	"nvmlDeviceGetMinorNumber":                nil,
	"nvmlDeviceGetPciInfo":                    {"nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo"},
	"nvmlDeviceGetArchitecture":               nil,
	"nvmlDeviceGetVirtualizationMode":         nil,
	"nvmlDeviceGetMigMode":                    nil,
	"nvmlDeviceGetMaxMigDeviceCount":          nil,
	"nvmlDeviceGetMigDeviceHandleByIndex":     nil,
	"nvmlDeviceGetGpuInstanceId":              nil,
	"nvmlDeviceGetComputeInstanceId":          nil,
	"nvmlDeviceGetGpuInstanceById":            nil,
	"nvmlGpuInstanceGetInfo":                  nil,
	"nvmlDeviceGetAttributes":                 {"nvmlDeviceGetAttributes_v2", "nvmlDeviceGetAttributes"},
	"nvmlDeviceGetGpuInstanceProfileInfo":     nil,
	"nvmlDeviceGetMemoryInfo":                 nil,
	"nvmlDeviceGetMemoryInfo_v2":              nil,
	"nvmlDeviceGetUtilizationRates":           nil,
	"nvmlDeviceGetComputeRunningProcesses":    {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses"},
	"nvmlDeviceGetMPSComputeRunningProcesses": {"nvmlDeviceGetMPSComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v2", "nvmlDeviceGetMPSComputeRunningProcesses"},
	"nvmlDeviceGetProcessUtilization":         nil,
	"nvmlGpmQueryDeviceSupport":               nil,
	"nvmlGpmSampleAlloc":                      nil,
	"nvmlGpmSampleFree":                       nil,
	"nvmlGpmSampleGet":                        nil,
	"nvmlGpmMigSampleGet":                     nil,
	"nvmlGpmMetricsGet":                       nil,
	"nvmlEventSetCreate":                      nil,
	"nvmlEventSetFree":                        nil,
	"nvmlEventSetWait":                        {"nvmlEventSetWait_v2", "nvmlEventSetWait"},
	"nvmlDeviceRegisterEvents":                nil,
	"nvmlDeviceGetSupportedEventTypes":        nil,
}

// Symbols are all the symbols that are looked for, in alphabetical order.
func Symbols() []string {
	var all []string
	for call, symbols := range symbolsOf {
		if symbols == nil {
			symbols = []string{call}
		}
		all = append(all, symbols...)
	}
	slices.Sort(all)
	return all
}

// Open loads and initialises the driver's library. Its error holds a CallError, whose code says what to do (OnCode); it may be tried again
// after RetryOpenAfter.
func Open(opts Options) (*Library, error) {
	if opts.Now == nil || opts.Interval < minPair {
		return nil, fmt.Errorf("nvml options: want a clock, and an interval of %s or more, got %s", minPair, opts.Interval)
	}
	path := opts.Library
	if path == "" {
		path = "libnvidia-ml.so.1"
	}
	// Looked through before go-nvml loads it: its Init calls a symbol that may be missing.
	found := dl.New(path, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
	if err := found.Open(); err != nil {
		return nil, fmt.Errorf("load %s: %w", path, errors.Join(&CallError{"nvmlInit", LibraryNotFound}, err))
	}
	l := &Library{opts: opts, counts: newCounters(), symbols: map[string]bool{}, since: map[string]uint64{},
		doubted: map[string]uint64{}, lost: map[string]time.Time{}, restart: map[string]bool{}}
	for call, symbols := range symbolsOf {
		if symbols == nil {
			symbols = []string{call}
		}
		l.symbols[call] = slices.ContainsFunc(symbols, func(s string) bool { return found.Lookup(s) == nil })
	}
	// found stays open: whatever else is loaded later, these symbols are in the process.
	l.api = gonvml.New(gonvml.WithLibraryPath(path))
	if code := l.call("nvmlInit", func() gonvml.Return { return l.api.Init() }); code != Success {
		return nil, fmt.Errorf("open %s: %w", path, &CallError{"nvmlInit", code})
	}
	code := l.call("nvmlSystemGetDriverVersion", func() (ret gonvml.Return) {
		l.driver, ret = l.api.SystemGetDriverVersion()
		return ret
	})
	if code != Success {
		l.driver = ""
	}
	l.sampler.init()
	return l, nil
}

// call makes a driver call if the driver has it, and counts failures.
func (l *Library) call(name string, do func() gonvml.Return) Code {
	has, known := l.symbols[name]
	if !known {
		panic("nvml: " + name + " is not in symbolsOf")
	}
	if !has {
		return FunctionNotFound
	}
	code := l.watched(name, func() Code { return Code(do()) })
	l.note(name, code)
	return code
}

// watched runs driver calls under the watch, and catches go-nvml's panics: it slices beyond its own buffer when a list grows between two
// calls.
func (l *Library) watched(name string, do func() Code) (code Code) {
	token := l.watch.begin(name, l.opts.Now())
	defer func() {
		l.watch.end(token)
		if recover() != nil {
			code = Panicked
		}
	}()
	return do()
}

// note counts a failure and remembers what it asks for.
func (l *Library) note(name string, code Code) {
	switch code {
	case Success, NotSupported, Timeout, FunctionNotFound:
		return
	}
	l.counts.failed(name, code)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch OnCode(code) {
	case Release:
		l.sentence = code
	case Tell:
		if !slices.Contains(l.denied, name) {
			l.denied = append(l.denied, name)
			slices.Sort(l.denied)
		}
	}
}

// Close frees all samples and lets go of the driver. It fails when a call is under way, since what that uses must not be freed; then
// ending the process is what is left.
func (l *Library) Close() error {
	if !l.sampling.TryLock() {
		return fmt.Errorf("close NVML: %s is under way", l.watch.oldest().call)
	}
	defer l.sampling.Unlock()
	l.dropAll()
	l.sampler.gpm.free()
	l.layout.Store(nil) // Sample has nothing to read from any more
	if l.events != nil {
		l.call("nvmlEventSetFree", func() gonvml.Return { return l.events.Free() })
		l.events = nil
	}
	if code := l.call("nvmlShutdown", func() gonvml.Return { return l.api.Shutdown() }); code != Success {
		return &CallError{"nvmlShutdown", code}
	}
	return nil
}

// Counts are what went wrong so far.
func (l *Library) Counts() Counts {
	c := l.counts.snapshot()
	for call, has := range l.symbols {
		if !has {
			c.Missing = append(c.Missing, call)
		}
	}
	slices.Sort(c.Missing)
	return c
}

// Verdict is what the library asks for now.
func (l *Library) Verdict(now time.Time) Verdict {
	f := l.watch.oldest()
	v := Verdict{Action: Carry, Hang: Hang{Call: f.call}}
	if f.call != "" {
		v.Hang.For = now.Sub(f.since)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v.Denied = slices.Clone(l.denied)
	switch {
	case v.Hang.Action() == End:
		v.Action, v.Why = End, fmt.Sprintf("%s has not answered for %s", f.call, v.Hang.For.Round(time.Second))
	case l.sentence != Success:
		v.Action, v.Why = OnCode(l.sentence), "the driver says: "+l.sentence.String()
	case len(l.restart) > 0:
		v.Action = Restart
		for gpu := range l.restart {
			v.WithoutGPM = append(v.WithoutGPM, gpu)
		}
		slices.Sort(v.WithoutGPM)
		v.Why = "memory cannot be read since GPM was used on " + strings.Join(v.WithoutGPM, ", ")
	case l.look != "":
		v.Action, v.Why = Look, l.look
	default:
		for gpu, until := range l.lost {
			if !now.Before(until) {
				v.Action, v.Why = Look, "time to see whether "+gpu+" is back"
			}
		}
	}
	return v
}

// doubt says that a GPU's slices may be others than the layout says.
func (l *Library) doubt(gpu, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubted[gpu]++
	l.look = why
}

func (l *Library) doubts(gpu string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doubted[gpu]
}

// lose stops all calls to a GPU for a while.
func (l *Library) lose(gpu string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost[gpu] = l.opts.Now().Add(Retry)
}

// isLost says that a GPU is not to be called now.
func (l *Library) isLost(gpu string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, lost := l.lost[gpu]
	return lost && now.Before(until)
}

// wasLost says that a GPU has not been seen well since it was lost.
func (l *Library) wasLost(gpu string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, lost := l.lost[gpu]
	return lost
}

func (l *Library) found(gpu string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lost, gpu)
}

// gpmAbsence is why GPM is left alone on a GPU; 0 when it is used.
func (l *Library) gpmAbsence(gpu *dcgm.GPU) dcgm.Absence {
	l.mu.Lock()
	broke := l.restart[gpu.UUID]
	l.mu.Unlock()
	switch {
	case !gpu.GPM, !l.symbols["nvmlGpmSampleFree"]: // without which every MIG change would leak
		return dcgm.NotSupported
	case broke, l.opts.withoutGPM(gpu.UUID):
		return dcgm.DriverTooOld
	case gpu.MIG && branch(l.driver) < minMIGDriver && !l.opts.TrustOldDrivers:
		return dcgm.DriverTooOld
	}
	return 0
}
