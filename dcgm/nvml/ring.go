package nvml

import "time"

// Bounds of a pair of GPM samples.
const (
	// minPair: the driver refreshes its counters every 100 ms (nvml.h, nvmlGpmMetricsGet).
	minPair = 100 * time.Millisecond
	// maxPair: a mean over longer than this says nothing of now.
	maxPair = 10 * time.Second
)

// ringSize: with three, a tick that comes a little early still finds a first sample that is old enough.
const ringSize = 3

// ring says which of a slice's sample buffers holds what. Times are of one process's monotonic clock.
type ring struct {
	at     [ringSize]time.Time // zero: not taken
	newest int
}

// next is the buffer to take the next sample into: the oldest.
func (r *ring) next() int { return (r.newest + 1) % ringSize }

// empty says that nothing was ever taken.
func (r *ring) empty() bool { return r.at == [ringSize]time.Time{} }

// taken says that next() holds a sample of that time.
func (r *ring) taken(at time.Time) {
	r.newest = r.next()
	r.at[r.newest] = at
}

// first is the buffer to compare the newest with: the newest of those that are 0.9 intervals or more older, else the oldest that is
// at least minPair older. ok is false when there is none within maxPair.
func (r *ring) first(interval time.Duration) (buffer int, apart time.Duration, ok bool) {
	for back := 1; back < ringSize; back++ {
		i := (r.newest + ringSize - back) % ringSize
		if r.at[i].IsZero() {
			break
		}
		d := r.at[r.newest].Sub(r.at[i])
		if d < minPair || d > maxPair {
			continue
		}
		buffer, apart, ok = i, d, true
		if d >= interval*9/10 {
			break
		}
	}
	return buffer, apart, ok
}
