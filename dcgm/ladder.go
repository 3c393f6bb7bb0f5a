package dcgm

import "time"

// Ladder keeps the last reading of each source for each slice and signal, and says which of them is shown: the best in quality of
// those that are not stale. A worse source is shown only once the better one's last good reading is older than its maxStaleness,
// and says so by its quality. Readings are never averaged: two sources of different quality differ by a factor, not by noise.
type Ladder struct {
	maxStaleness time.Duration
	rungs        map[rungKey]*rung
}

type rungKey struct {
	slice  Slice
	signal Signal
}

type rung struct {
	generation uint64
	good       map[Source]Reading // last valid one
	missing    map[Source]Reading // later than the good one, and without a number
}

// NewLadder shows no reading that is older than maxStaleness.
func NewLadder(maxStaleness time.Duration) *Ladder {
	return &Ladder{maxStaleness: maxStaleness, rungs: map[rungKey]*rung{}}
}

// Offer takes a source's newest reading. One that is older than what its source said before, or of a layout that is gone, is
// ignored.
func (l *Ladder) Offer(r Reading) {
	if r.Source == 0 || !r.Valid() && r.Absence == 0 {
		return
	}
	key := rungKey{r.Slice, r.Signal}
	held := l.rungs[key]
	if held == nil || r.Generation > held.generation {
		held = &rung{generation: r.Generation, good: map[Source]Reading{}, missing: map[Source]Reading{}}
		l.rungs[key] = held
	}
	if r.Generation < held.generation || r.At.Before(held.good[r.Source].At) || r.At.Before(held.missing[r.Source].At) {
		return
	}
	if r.Valid() {
		held.good[r.Source] = r
		delete(held.missing, r.Source)
		return
	}
	held.missing[r.Source] = r
	if r.Absence.Ends() { // true of the slice, whoever says it
		clear(held.good)
	}
}

// Best is what is shown of a slice's signal: the best fresh reading, or why there is none.
func (l *Ladder) Best(slice Slice, signal Signal, now time.Time) Reading {
	held := l.rungs[rungKey{slice, signal}]
	nothing := Reading{Slice: slice, Signal: signal, Absence: NotSupported}
	if held == nil {
		return nothing
	}
	var best Reading
	for source := GPM; source <= Summed; source++ { // in order, so that equals do not alternate
		r, found := held.good[source]
		if found && now.Sub(r.At) <= l.maxStaleness && r.Quality.Better(best.Quality) {
			best = r
		}
	}
	if best.Valid() {
		return best
	}
	for source := GPM; source <= Summed; source++ {
		if r, found := held.missing[source]; found {
			return r
		}
	}
	for source := GPM; source <= Summed; source++ {
		if r, found := held.good[source]; found {
			return r.Without(Stale)
		}
	}
	return nothing
}

// Forget drops slices that are gone: those for which keep says false.
func (l *Ladder) Forget(keep func(Slice) bool) {
	for key := range l.rungs {
		if !keep(key.slice) {
			delete(l.rungs, key)
		}
	}
}
