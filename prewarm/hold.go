package prewarm

import "time"

// holdLevels bounds the memory of a hold. Levels that differ are kept apart up to this many; past it, two neighbours become one,
// at the higher level and the later time, so that the floor can only stand longer than it must: by a thirty-second of the hold at
// most, since of 64 levels within a hold some two neighbours span no more.
const holdLevels = 64

// level is a decision that may still hold the floor up.
type level struct {
	at       int64 // nanoseconds since 1970
	from     int64 // the same, or when the first decision was made that this level took in
	replicas int32
	origin   ReasonKind
}

// hold is the maximum of the decisions of the last while: a monotonic deque, oldest and highest first. It is a plain value
// without pointers, so that a copied State shares nothing and Decide stays a function.
type hold struct {
	levels [holdLevels]level
	n      int
}

// add records a decision and forgets those that are older than keep. The one before the new one always counts, however old:
// between two calls it was what stood.
func (h *hold) add(now time.Time, replicas int, origin ReasonKind, keep time.Duration) {
	oldest := now.Add(-keep).UnixNano()
	expired := 0
	for expired < h.n-1 && h.levels[expired].at <= oldest {
		expired++
	}
	h.n = copy(h.levels[:], h.levels[expired:h.n])
	for h.n > 0 && int(h.levels[h.n-1].replicas) <= replicas {
		h.n--
	}
	if h.n == holdLevels {
		h.merge()
	}
	h.levels[h.n] = level{at: now.UnixNano(), from: now.UnixNano(), replicas: int32(min(replicas, maxReplicas)), origin: origin}
	h.n++
}

// merge makes room for one level: of all neighbours the two become one that together span the least time. Looking at their own
// times alone would let one level take in the next for ever.
func (h *hold) merge() {
	closest := 0
	for i := range h.n - 1 {
		if h.levels[i+1].at-h.levels[i].from < h.levels[closest+1].at-h.levels[closest].from {
			closest = i
		}
	}
	h.levels[closest].at = h.levels[closest+1].at
	copy(h.levels[closest+1:], h.levels[closest+2:h.n])
	h.n--
}

// top is the highest level and when it was last decided; false when nothing has been.
func (h *hold) top() (level, bool) {
	if h.n == 0 {
		return level{}, false
	}
	return h.levels[0], true
}

// restart forgets when anything was decided: what holds the floor up now counts as decided now.
func (h *hold) restart(now time.Time) {
	if top, ok := h.top(); ok {
		h.n = 1
		top.at, top.from = now.UnixNano(), now.UnixNano()
		h.levels[0] = top
	}
}
