package nvml

import (
	"maps"
	"sync"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Counts are what went wrong so far, for the agent's metrics.
type Counts struct {
	Failures map[CallError]uint64    // calls that did not succeed, but for "not supported" and the like that are answers
	Clamped  map[dcgm.Signal]uint64  // ratios a little above 1, taken as 1
	Refused  map[RefusedValue]uint64 // values that were dropped
	Missing  []string                // calls that this driver lacks, in alphabetical order
}

// RefusedValue is a kind of value that was dropped.
type RefusedValue struct {
	Signal dcgm.Signal
	Why    dcgm.Absence // NotANumber or OutOfRange
}

type counters struct {
	mu       sync.Mutex
	failures map[CallError]uint64
	clamped  map[dcgm.Signal]uint64
	refused  map[RefusedValue]uint64
}

func newCounters() *counters {
	return &counters{failures: map[CallError]uint64{}, clamped: map[dcgm.Signal]uint64{}, refused: map[RefusedValue]uint64{}}
}

func (c *counters) failed(call string, code Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[CallError{call, code}]++
}

// ratio checks a ratio and counts what it had to change.
func (c *counters) ratio(signal dcgm.Signal, measured float64) (float64, dcgm.Absence) {
	value, clamped, why := dcgm.Ratio(measured, dcgm.MaxOvershoot)
	if clamped || why != 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if clamped {
			c.clamped[signal]++
		} else {
			c.refused[RefusedValue{signal, why}]++
		}
	}
	return value, why
}

// amount checks an amount of memory and counts what it refuses.
func (c *counters) amount(signal dcgm.Signal, bytes uint64) (float64, dcgm.Absence) {
	value, why := dcgm.Amount(float64(bytes))
	if why != 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refused[RefusedValue{signal, why}]++
	}
	return value, why
}

func (c *counters) snapshot() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{Failures: maps.Clone(c.failures), Clamped: maps.Clone(c.clamped), Refused: maps.Clone(c.refused)}
}

// refuse counts a value that was dropped as out of range.
func (c *counters) refuse(signal dcgm.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused[RefusedValue{signal, dcgm.OutOfRange}]++
}
