package dcgm

import (
	"math"
	"time"
)

// Signal is what is measured.
type Signal int

const (
	// SMActive is the share of SM cycles with at least one warp resident: the general measure of load.
	SMActive Signal = iota + 1
	// DRAMActive is the share of the slice's memory bandwidth in use: what decoding is bound by.
	DRAMActive
	// TensorActive is the share of cycles in which the tensor pipes work.
	TensorActive
	// GraphicsActive is the share of time in which any kernel ran: says idle or not, not how much.
	GraphicsActive
	// MemoryUsed is bytes allocated; servers allocate once, so it rises and never falls.
	MemoryUsed
	// MemoryTotal is bytes there are.
	MemoryTotal
)

var signals = names[Signal]{"signal", []string{"sm_active", "dram_active", "tensor_active", "graphics_active", "memory_used", "memory_total"}}

// Signals are all of them, in order.
var Signals = []Signal{SMActive, DRAMActive, TensorActive, GraphicsActive, MemoryUsed, MemoryTotal}

func (s Signal) String() string                { return signals.text(s) }
func (s Signal) MarshalText() ([]byte, error)  { return signals.marshal(s) }
func (s *Signal) UnmarshalText(t []byte) error { return signals.unmarshal(s, t) }

// Bytes says that the signal's unit is bytes; otherwise it is a ratio from 0 to 1.
func (s Signal) Bytes() bool { return s == MemoryUsed || s == MemoryTotal }

// Source is who measured.
type Source int

const (
	GPM          Source = iota + 1 // NVML's GPU performance monitoring, Hopper and later
	DCGMExporter                   // a dcgm-exporter on the node
	Utilization                    // NVML's utilization rates: a duty cycle
	NVMLMemory                     // NVML's memory information
	Summed                         // weighted sum of a GPU's slices
)

var sources = names[Source]{"source", []string{"gpm", "dcgm-exporter", "utilization", "nvml", "summed"}}

func (s Source) String() string                { return sources.text(s) }
func (s Source) MarshalText() ([]byte, error)  { return sources.marshal(s) }
func (s *Source) UnmarshalText(t []byte) error { return sources.unmarshal(s, t) }

// Quality says how close a reading is to the truth about its slice; the better is the smaller.
type Quality int

const (
	// Exact: measured for this slice, as a ratio of this slice.
	Exact Quality = iota + 1
	// Corrected: measured for the GPU instance and converted to its compute instances by a known formula.
	Corrected
	// Aggregate: measured for the GPU instance and taken for its compute instance as it is. It may be a fraction of the truth.
	Aggregate
	// Duty: the share of time anything ran, from a source that knows no more.
	Duty
)

var qualities = names[Quality]{"quality", []string{"exact", "corrected", "aggregate", "duty"}}

func (q Quality) String() string                { return qualities.text(q) }
func (q Quality) MarshalText() ([]byte, error)  { return qualities.marshal(q) }
func (q *Quality) UnmarshalText(t []byte) error { return qualities.unmarshal(q, t) }

// Better says that q is nearer to the truth than o. No quality is worse than any.
func (q Quality) Better(o Quality) bool { return q != 0 && (o == 0 || q < o) }

// Absence is why there is no number.
type Absence int

const (
	NotSupported  Absence = iota + 1 // this GPU, driver or mode does not give it
	NoPermission                     // the agent lacks a capability
	Warming                          // a ratio needs two samples, and there is one
	NotANumber                       // the driver said NaN
	OutOfRange                       // the driver said something that no ratio or amount can be
	Failed                           // a call failed once; the next may not
	DriverTooOld                     // the driver is known to answer wrongly or to break when asked
	GPULost                          // fell off the bus or needs a reset
	LayoutChanged                    // the slice is gone, or is another one by now
	Hung                             // the driver does not answer
	Stale                            // what there was is too old
	NoCoverage                       // too little of a window is known
	Incomplete                       // a part of a sum is absent
	Unseen                           // the device is out of this node's sight: passed through to a guest
	Unmatched                        // what runs could not be told apart by pod
)

var absences = names[Absence]{"absence", []string{"not supported", "no permission", "warming", "not a number", "out of range", "failed",
	"driver too old", "gpu lost", "layout changed", "hung", "stale", "no coverage", "incomplete", "unseen", "unmatched"}}

func (a Absence) String() string                { return absences.text(a) }
func (a Absence) MarshalText() ([]byte, error)  { return absences.marshal(a) }
func (a *Absence) UnmarshalText(t []byte) error { return absences.unmarshal(a, t) }

// Ends says that with this absence the last good value no longer describes the slice: it goes at once. After any other the last
// good value stands until it is stale, since a call that fails once says nothing of the load.
func (a Absence) Ends() bool {
	return a == GPULost || a == LayoutChanged || a == Hung || a == Unseen
}

// Reading is one number about one slice, or why there is none. Its zero value is neither.
type Reading struct {
	Slice      Slice  `json:"slice"`
	Generation uint64 `json:"generation,omitempty"`
	Signal     Signal `json:"signal"`
	// Value is a ratio from 0 to 1 of the slice, or bytes; it means something only when Valid.
	Value float64   `json:"value,omitempty"`
	At    time.Time `json:"at,omitzero"`
	// Window is how long before At the value is a mean over; 0 is an instant.
	Window  time.Duration `json:"window,omitempty"`
	Source  Source        `json:"source,omitempty"`
	Quality Quality       `json:"quality,omitempty"` // 0 when there is no number
	Absence Absence       `json:"absence,omitempty"` // 0 when there is one
}

// Valid says that there is a number.
func (r Reading) Valid() bool { return r.Quality != 0 && r.Absence == 0 }

// Without is the reading with its number replaced by a reason.
func (r Reading) Without(why Absence) Reading {
	r.Value, r.Window, r.Quality, r.Absence = 0, 0, 0, why
	return r
}

// StaleIntervals is how many measuring intervals a reading may be old: two may be lost, three are a failure.
const StaleIntervals = 3

// Fresh is the reading while it is at most StaleIntervals intervals old, and its absence after that.
func (r Reading) Fresh(now time.Time, interval time.Duration) Reading {
	if r.Valid() && now.Sub(r.At) > StaleIntervals*interval {
		return r.Without(Stale)
	}
	return r
}

// MaxOvershoot is how far above 1 a ratio is taken for 1: the counters behind it are not read in the same cycle, so a full second
// can come out a little longer than it was. 1.29 has been reported (NVIDIA/DCGM issue 152); that is no rounding, and out of range.
const MaxOvershoot = 0.05

// Ratio checks a ratio as measured: in range as it is, up to overshoot above 1 as 1 with clamped set, else an absence.
func Ratio(measured, overshoot float64) (value float64, clamped bool, why Absence) {
	switch {
	case math.IsNaN(measured):
		return 0, false, NotANumber
	case measured < 0, measured > 1+overshoot:
		return 0, false, OutOfRange
	case measured > 1:
		return 1, true, 0
	}
	return measured, false, 0
}

// MaxMemoryBytes bounds what one GPU can have: 16 TiB. DCGM prints a value that it does not have as about 9e18.
const MaxMemoryBytes = 1 << 44

// Amount checks an amount of memory as measured.
func Amount(bytes float64) (float64, Absence) {
	switch {
	case math.IsNaN(bytes):
		return 0, NotANumber
	case bytes < 0, bytes > MaxMemoryBytes:
		return 0, OutOfRange
	}
	return bytes, 0
}
