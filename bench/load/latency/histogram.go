// Package latency holds latency samples as a log-linear histogram, in constant memory and with a bounded relative error,
// so that a load of any length can be merged, compared and printed without keeping every sample.
//
// The shape is that of HdrHistogram (Gil Tene, hdrhistogram.org): each power of two is cut into 128 equal slots, so a slot
// is never wider than 1/128 of its lower edge. Quantiles are the upper edge of the slot in which the rank falls, bounded by
// the largest sample seen: they err upwards, never downwards, and by less than 0.8 %.
package latency

import (
	"math"
	"math/bits"
	"time"
)

const (
	slotBits = 7
	slots    = 1 << slotBits // slots per power of two; 1/128 = 0.78 % relative error
	// Durations are int64 nanoseconds: 63 value bits, of which the lowest slotBits need no octave of their own.
	octaves = 63 - slotBits
)

// Histogram counts durations. Its zero value is empty and ready. It is not safe for concurrent use: each client of a load
// owns one, and they are merged at the end.
type Histogram struct {
	counts [(octaves + 1) * slots]uint64
	n      uint64
	sum    float64 // nanoseconds
	min    time.Duration
	max    time.Duration
}

// slotOf maps nanoseconds to a slot: values below 128 ns are exact; above, the top eight bits choose the slot.
func slotOf(ns uint64) int {
	if ns < slots {
		return int(ns)
	}
	shift := bits.Len64(ns) - slotBits - 1
	return shift*slots + int(ns>>shift)
}

// upperEdge is the largest value that falls in the slot.
func upperEdge(slot int) time.Duration {
	if slot < 2*slots {
		return time.Duration(slot)
	}
	shift := slot/slots - 1
	return time.Duration(((uint64(slot-shift*slots) + 1) << shift) - 1)
}

// Record adds one sample. A negative duration (a clock that stepped) counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[slotOf(uint64(d))]++
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
	h.sum += float64(d)
}

// Merge adds all samples of other.
func (h *Histogram) Merge(other *Histogram) {
	if other.n == 0 {
		return
	}
	for i, c := range other.counts {
		h.counts[i] += c
	}
	if h.n == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.n += other.n
	h.sum += other.sum
}

// Count is the number of samples.
func (h *Histogram) Count() uint64 { return h.n }

// Max is the largest sample, exactly; zero without samples.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the arithmetic mean; ok is false without samples.
func (h *Histogram) Mean() (mean time.Duration, ok bool) {
	if h.n == 0 {
		return 0, false
	}
	return time.Duration(h.sum / float64(h.n)), true
}

// Quantile is the nearest-rank quantile for q in (0, 1]; ok is false without samples or with q outside that range.
func (h *Histogram) Quantile(q float64) (d time.Duration, ok bool) {
	if h.n == 0 || !(q > 0 && q <= 1) {
		return 0, false
	}
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	var seen uint64
	for slot, c := range h.counts {
		if seen += c; seen >= rank {
			return max(min(upperEdge(slot), h.max), h.min), true
		}
	}
	return h.max, true
}
