package nvml

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestRing(t *testing.T) {
	for _, test := range []struct {
		name  string
		at    []time.Duration
		apart time.Duration // 0: no pair
	}{
		{"nothing", nil, 0},
		{"one sample", []time.Duration{0}, 0},
		{"a regular tick", []time.Duration{0, time.Second}, time.Second},
		{"many regular ticks", []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}, time.Second},
		{"a tick that comes 50 ms early", []time.Duration{0, time.Second, 1950 * time.Millisecond}, 950 * time.Millisecond},
		{"a tick that comes early takes the one before", []time.Duration{0, time.Second, 1300 * time.Millisecond}, 1300 * time.Millisecond},
		{"the second tick comes early", []time.Duration{0, 300 * time.Millisecond}, 300 * time.Millisecond},
		{"the second tick comes before the driver's counters move", []time.Duration{0, 99 * time.Millisecond}, 0},
		{"after a pause the mean is over the pause", []time.Duration{0, time.Second, 9 * time.Second}, 8 * time.Second},
		{"after a long pause there is none", []time.Duration{0, time.Second, 12 * time.Second}, 0},
		{"and then there is again", []time.Duration{0, time.Second, 12 * time.Second, 13 * time.Second}, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r ring
			for _, d := range test.at {
				r.taken(noon.Add(d))
			}
			first, apart, ok := r.first(time.Second)
			if ok != (test.apart != 0) || apart != test.apart {
				t.Errorf("compares over %s (%v), want %s", apart, ok, test.apart)
			}
			if ok && (first == r.newest || r.at[r.newest].Sub(r.at[first]) != apart) {
				t.Errorf("buffer %d is not %s before buffer %d", first, apart, r.newest)
			}
		})
	}
}

func TestGenerations(t *testing.T) {
	cut := func(uuids ...string) *dcgm.Inventory {
		gpu := dcgm.GPU{UUID: gpuName, MIG: len(uuids) > 0}
		for i, uuid := range uuids {
			gpu.Devices = append(gpu.Devices, dcgm.Device{Slice: dcgm.Compute(gpuName, i, 0), UUID: uuid})
		}
		return &dcgm.Inventory{GPUs: []dcgm.GPU{gpu}}
	}
	var g generations
	quiet := func(string) bool { return false }
	steps := []struct {
		name     string
		see      *dcgm.Inventory
		replaced bool
		gpu      uint64
		want     []uint64
	}{
		{"the first look", cut("a", "b"), false, 3, []uint64{1, 2}},
		{"nothing new", cut("a", "b"), false, 3, []uint64{1, 2}},
		{"one is another", cut("a", "c"), false, 5, []uint64{1, 4}},
		{"one is gone", cut("a"), false, 6, []uint64{1}},
		{"one comes back", cut("a", "c"), false, 8, []uint64{1, 7}},
		{"they may have been replaced", cut("a", "c"), true, 11, []uint64{9, 10}},
		{"MIG is off", cut(), false, 12, nil},
		{"still off", cut(), false, 12, nil},
		{"and on", cut("a"), false, 14, []uint64{13}},
	}
	for _, step := range steps {
		replaced := quiet
		if step.replaced {
			replaced = func(string) bool { return true }
		}
		g.number(step.see, replaced)
		var got []uint64
		for _, d := range step.see.GPUs[0].Devices {
			got = append(got, d.Generation)
		}
		if diff := cmp.Diff(step.want, got); diff != "" || step.see.GPUs[0].Generation != step.gpu {
			t.Errorf("%s: the GPU is %d, want %d; slices: %s", step.name, step.see.GPUs[0].Generation, step.gpu, diff)
		}
	}
}

const gpuName = "GPU-aaaaaaaa-0000-0000-0000-000000000000"

func TestWhatCodesAndEventsAskFor(t *testing.T) {
	codes := map[Code]Action{Success: Carry, NotSupported: Carry, NotFound: Carry, Unknown: Carry, LibraryNotFound: Reopen, DriverNotLoaded: Reopen,
		GPUIsLost: DropGPU, ResetRequired: DropGPU, VersionMismatch: Release, NoPermission: Tell, OperatingSystem: Tell}
	for code, want := range codes {
		if got := OnCode(code); got != want {
			t.Errorf("%s asks to %s, want %s", code, got, want)
		}
	}
	for _, test := range []struct {
		name string
		e    Event
		want Action
	}{
		{"a MIG change", Event{Kind: MIGChanged}, Look},
		{"the GPU is unavailable", Event{Kind: GPUUnavailable}, DropGPU},
		{"it fell off the bus", Event{Kind: XID, XID: 79}, DropGPU},
		{"its processor does not answer", Event{Kind: XID, XID: 119}, DropGPU},
		{"an application's page fault", Event{Kind: XID, XID: 31, GI: 2}, Carry},
	} {
		if got := OnEvent(test.e); got != test.want {
			t.Errorf("%s: asks to %s, want %s", test.name, got, test.want)
		}
	}
	for _, test := range []struct {
		state, deploy string
		want          Action
	}{{"success", "true", Carry}, {"", "", Carry}, {"failed", "true", Carry}, {"pending", "true", Release}, {"rebooting", "true", Release}, {"success", "paused-for-mig-change", Release}} {
		if got := OnNodeLabels(test.state, test.deploy); got != test.want {
			t.Errorf("labels %q, %q: %s, want %s", test.state, test.deploy, got, test.want)
		}
	}
}

func TestTheWatchKnowsTheOldestCall(t *testing.T) {
	var w watch
	if w.oldest().call != "" {
		t.Error("a call before any")
	}
	a := w.begin("a", noon)
	b := w.begin("b", noon.Add(time.Second))
	if got := w.oldest(); got.call != "a" {
		t.Errorf("the oldest is %q", got.call)
	}
	w.end(a)
	if got := w.oldest(); got.call != "b" || !got.since.Equal(noon.Add(time.Second)) {
		t.Errorf("the oldest is %q since %s", got.call, got.since)
	}
	w.end(b)
	for range len(w.calls) {
		w.begin("many", noon)
	}
	w.end(w.begin("one more", noon)) // not watched, and no trouble
	if got := w.oldest(); got.call != "many" {
		t.Errorf("the oldest is %q", got.call)
	}
}

func TestBranch(t *testing.T) {
	for version, want := range map[string]int{"535.129.03": 535, "570.124.06": 570, "": 0, "unknown": 0, "-1.2": 0} {
		if got := branch(version); got != want {
			t.Errorf("branch of %q is %d, want %d", version, got, want)
		}
	}
}

func TestWaitingForADriver(t *testing.T) {
	var got []time.Duration
	for failures := range 8 {
		got = append(got, RetryOpenAfter(failures)/time.Second)
	}
	if diff := cmp.Diff([]time.Duration{5, 5, 10, 20, 40, 60, 60, 60}, got); diff != "" {
		t.Error(diff)
	}
}
