package exporter

import (
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Snapshot is what is shown until the next one. It is immutable.
type Snapshot struct {
	Inventory *dcgm.Inventory // nil while there is no driver
	Readings  []dcgm.Reading  // one for each slice and signal: the best that there is
	Pods      []dcgm.PodReading
	Holders   map[dcgm.Slice][]dcgm.Pod // who holds what, for the dialects
	Health    Health
}

// Health is how reading goes, in counts since the process started.
type Health struct {
	Up        bool      // there is a driver
	SampledAt time.Time // zero: never
	Failures  map[Failure]uint64
	Clamped   map[dcgm.Signal]uint64
	Refused   map[Refusal]uint64
}

// Failure is a driver call and the code that it returned.
type Failure struct{ Call, Code string }

// Refusal is a kind of value that was dropped.
type Refusal struct {
	Signal dcgm.Signal
	Why    dcgm.Absence
}
