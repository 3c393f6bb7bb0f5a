package fakenvml

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Env names the file that the library reads.
const Env = "HEADROOM_FAKE_NVML"

// StillEnv, set to anything, makes the library read the file once: looking whether it has changed costs a system call in each driver call.
const StillEnv = "HEADROOM_FAKE_NVML_STILL"

// Scenario is what the library shows. Return codes, architectures, event types and profile ids are NVML's numbers.
type Scenario struct {
	Driver string // "570.124.06" if empty
	Init   int    // what nvmlInit returns
	// GrowBy processes appear between the two calls that a list takes, GrowTimes times.
	GrowBy, GrowTimes int
	// MaxGPMMetric is the first GPM metric id that this driver does not know; 0 for all known.
	MaxGPMMetric int
	// BreakMemory makes memory of MIG devices unreadable once a GPU instance was sampled, as driver 535.129.03 is said to.
	BreakMemory bool
	GPUs        []GPU
	Rules       []Rule
	Metrics     []Metric
	Events      []Event
}

// Activity is in percent, as GPM gives it. NaN is NaN.
type Activity struct{ Graphics, SM, Tensor, DRAM float64 }

// GPU is one physical GPU.
type GPU struct {
	UUID, Name, PCI string
	Minor           int
	Architecture    int // 7 Ampere, 8 Ada, 9 Hopper, 10 Blackwell
	Virtualization  int // 0 none, 2 vGPU guest, 3 vGPU host
	MIG             int // 1 on, 0 off, -1 cannot
	GPM             bool
	MIGSMs          int // of the largest profile
	MaxMIG          int
	Utilization     int // percent
	MemoryMiB       float64
	UsedMiB         float64
	ReservedMiB     float64
	Activity        Activity
	Instances       []Instance
	Processes       []Process
}

// Instance is a GPU instance. Its own activity is its bandwidth alone; the rest follows from its compute instances.
type Instance struct {
	ID, Profile, Start, Size, Slices, SMs int
	DRAM                                  float64
	Computes                              []Compute
}

// Compute is a compute instance.
type Compute struct {
	ID, Slot    int // Slot is its place in NVML's list of MIG devices
	UUID        string
	Slices, SMs int
	Incarnation int // another number: another instance under the same ids
	MemoryMiB   float64
	UsedMiB     float64
	Activity    Activity
}

// Process runs on a GPU, or on a compute instance.
type Process struct {
	PID    int
	GI, CI int     // -1 for the GPU
	SM     int     // percent of the time; -1: the driver has no figure
	MiB    float64 // -1: not available
	MPS    bool
}

// Rule fails, delays or hangs a call ("*" for all) on a GPU (-1 for all).
type Rule struct {
	Call         string
	GPU          int
	Return       int
	Microseconds int
	Hang         bool // until the scenario no longer says so
	ThenHang     bool // from the second call on: a lost GPU must be left alone
}

// Metric makes one GPM metric return an error of its own.
type Metric struct{ ID, Return int }

// Event is delivered once, in order of Sequence.
type Event struct {
	Sequence, GPU, GI, CI int
	Type                  int
	Data                  int
}

// Write puts the scenario where a running library will find it, whole or not at all.
func (s Scenario) Write(path string) error {
	file, err := os.CreateTemp(filepath.Dir(path), "scenario-*")
	if err != nil {
		return fmt.Errorf("write scenario: %w", err)
	}
	_, err = file.WriteString(s.String())
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write scenario: %w", err)
	}
	return nil
}

// String is the file's text: a line for each thing, a kind and key=value pairs. Spaces in a name are written as underscores.
func (s Scenario) String() string {
	var b strings.Builder
	driver, maxMetric := s.Driver, s.MaxGPMMetric
	if driver == "" {
		driver = "570.124.06"
	}
	if maxMetric == 0 {
		maxMetric = 477
	}
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("driver version=%s init=%d grow=%d growtimes=%d gpmmax=%d break=%d", driver, s.Init, s.GrowBy, s.GrowTimes, maxMetric, flag(s.BreakMemory))
	for i, g := range s.GPUs {
		line("gpu uuid=%s name=%s pci=%s minor=%d arch=%d virt=%d mig=%d gpm=%d migsms=%d maxmig=%d util=%d mem=%g used=%g reserved=%g %s", g.UUID,
			strings.ReplaceAll(g.Name, " ", "_"), g.PCI, g.Minor, g.Architecture, g.Virtualization, g.MIG, flag(g.GPM), g.MIGSMs, g.MaxMIG, g.Utilization, g.MemoryMiB, g.UsedMiB, g.ReservedMiB, g.Activity)
		for _, gi := range g.Instances {
			line("gi gpu=%d id=%d profile=%d start=%d size=%d slices=%d sms=%d dram=%g", i, gi.ID, gi.Profile, gi.Start, gi.Size, gi.Slices, gi.SMs, gi.DRAM)
			for _, c := range gi.Computes {
				line("ci gpu=%d gi=%d id=%d slot=%d uuid=%s slices=%d sms=%d inc=%d mem=%g used=%g %s", i, gi.ID, c.ID, c.Slot, c.UUID, c.Slices, c.SMs, c.Incarnation, c.MemoryMiB, c.UsedMiB, c.Activity)
			}
		}
		for _, p := range g.Processes {
			line("proc gpu=%d gi=%d ci=%d pid=%d sm=%d mps=%d mem=%g", i, p.GI, p.CI, p.PID, p.SM, flag(p.MPS), p.MiB)
		}
	}
	for _, r := range s.Rules {
		line("rule call=%s gpu=%d ret=%d us=%d hang=%d then=%d", r.Call, r.GPU, r.Return, r.Microseconds, flag(r.Hang), flag(r.ThenHang))
	}
	for _, m := range s.Metrics {
		line("metric id=%d ret=%d", m.ID, m.Return)
	}
	for _, e := range s.Events {
		line("event seq=%d gpu=%d gi=%d ci=%d type=%d data=%d", e.Sequence, e.GPU, e.GI, e.CI, e.Type, e.Data)
	}
	return b.String()
}

func (a Activity) String() string {
	return fmt.Sprintf("gr=%g sm=%g tensor=%g dram=%g", a.Graphics, a.SM, a.Tensor, a.DRAM)
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}
