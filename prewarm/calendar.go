package prewarm

import (
	"cmp"
	"iter"
	"math/bits"
	"sync/atomic"
	"time"
)

// A Calendar holds the pre-warm windows of one object, in one time zone. What it answers is a function of its arguments alone:
// a program that restarts, and each of several replicas, gives the same answer at the same moment. Its methods may be called
// from several goroutines, and on a nil Calendar, which has no windows.
//
// # When a window is open
//
// An opening is [start, end): the start belongs to it, the end does not. A duration is elapsed time, so a night of eight hours is
// eight hours long on the two nights a year when the clocks change, and ends an hour earlier or later on the wall. Windows may
// cross midnight, overlap each other (the largest wins) and be longer than their own period (then they are always open).
//
// # What a start means when clocks change
//
// A start is a time on the wall, and it happens at the first moment at which the zone's clock shows that time or a later one.
// So a start in an hour that is skipped happens when the clock jumps over it, one in an hour that is repeated happens the first
// time and not again, and of several starts in a skipped hour one opening is left. A day that is skipped whole (Apia,
// 30 December 2011) is a long hour: its starts happen at the following midnight. Note what "once" does to "*/15 * * * *" with a
// duration of 15m: through the repeated hour it stays shut. Windows that should touch want a duration longer than their period.
//
// # Exceptions
//
// On the dates of the exceptions no recurring window starts: neither one whose schedule names a time on that date, nor one
// that a jump of the clock would push there. Windows that are open when the date begins stay open; one-off windows take no notice.
//
// # Expressions
//
// Five fields, as a Kubernetes CronJob reads them, from the same parser: where both day-of-month and day-of-week are
// restricted, either is enough, and "*/2" is a restriction. Descriptors, seconds and a time zone in the expression are refused,
// and so is an expression that names no day that exists. The parser's own walk to the next start is not used: it drops starts
// in skipped hours and gives those of repeated hours twice (a test shows where).
//
// # Cost
//
// Between two starts nothing about a window changes but how far its ramp has come, so each window remembers what surrounds the
// last moment it was asked about. Asking within those is a few comparisons; else days are walked and moments of a day found by
// bisection. BenchmarkFloorAt measures both.
type Calendar struct {
	loc     *time.Location
	windows []window
}

// Window is one pre-warm window: recurring (Schedule and Duration) or one-off (From and Until).
type Window struct {
	Name string // not empty, unique in its calendar

	Schedule string        // five cron fields, in the calendar's zone
	Duration time.Duration // elapsed time from each start, above 0 and at most 366 days

	From, Until time.Time // open in [From, Until)

	Replicas    int           // floor while open; 0: none, for a window that is only a ceiling
	MaxReplicas int           // ceiling on Headroom's own floor while open; 0: none
	Ramp        time.Duration // the floor rises evenly over this time and is whole at the start; 0: at once; at most 24h
}

// Floor is what a calendar asks for at a moment. The zero Floor asks for nothing.
type Floor struct {
	Replicas int // pods that must be Ready, 0: none

	// MaxReplicas caps Headroom's own floor, 0: no cap. It is never below Replicas, so a window that is about to open is not
	// held down by one that is about to close.
	MaxReplicas int

	Window            string    // the window that Replicas came from, "" without one
	OpensAt, ClosesAt time.Time // the opening of that window, in the calendar's zone. OpensAt may lie ahead
}

// Opening is one time that a window is open, [Start, End), in the calendar's zone.
type Opening struct {
	Window      string
	RampFrom    time.Time // the floor begins to rise here; Start when there is no ramp
	Start, End  time.Time
	Replicas    int
	MaxReplicas int
}

// window is a Window made ready to be asked. Exactly one of starts and once is set.
type window struct {
	Window                        // Duration is set for one-off windows too
	starts *starts                // recurring
	once   *time.Time             // one-off
	last   atomic.Pointer[around] // a memory, never an input: it changes how fast an answer comes and not what it is
}

// around is what surrounds a moment: the latest start, and the one after it. It is the same for every moment in [from, next),
// and from from on when next is zero. It is never changed after it was made.
type around struct {
	from       time.Time
	start, end time.Time // the latest opening that has begun. Zero: none, or none that may still be open
	next       time.Time // zero: none
}

func (a *around) holds(now time.Time) bool {
	return !now.Before(a.from) && (a.next.IsZero() || now.Before(a.next))
}

func (a *around) open(now time.Time) bool { return now.Before(a.end) && !a.start.IsZero() }

// around gives the surroundings of now, from memory where they are remembered.
func (w *window) around(now time.Time) *around {
	if a := w.last.Load(); a != nil && a.holds(now) {
		return a
	}
	a := &around{from: now}
	if start, ok := w.latest(now); ok {
		a.from, a.start, a.end = start, start, start.Add(w.Duration)
	}
	a.next, _ = w.next(now)
	w.last.Store(a)
	return a
}

// latest is the last start at or before now, as long as it may be open.
func (w *window) latest(now time.Time) (time.Time, bool) {
	if w.once != nil {
		return *w.once, !now.Before(*w.once)
	}
	return w.starts.latest(now, w.Duration)
}

// next is the first start after now.
func (w *window) next(now time.Time) (time.Time, bool) {
	if w.once == nil {
		return w.starts.next(now)
	}
	if !now.Before(*w.once) {
		return time.Time{}, false
	}
	return *w.once, true
}

// ready is how many pods the window wants Ready by a moment before it opens at start: ⌈replicas·x/ramp⌉, where x is how
// much of the ramp has passed.
func (w *window) ready(by, start time.Time) int {
	if w.Ramp <= 0 {
		return 0
	}
	x := w.Ramp - start.Sub(by)
	if x <= 0 {
		return 0
	}
	// In 128 bits, since replicas times nanoseconds need not fit 64. The quotient fits: x ≤ ramp.
	high, low := bits.Mul64(uint64(w.Replicas), uint64(x))
	quotient, rest := bits.Div64(high, low, uint64(w.Ramp))
	if rest > 0 {
		quotient++
	}
	return int(quotient)
}

// FloorAt is what the calendar asks for at now, looking lead ahead: the largest number of pods that a window wants Ready at
// some moment of [now, now+lead], so that pods begun now are Ready at a window's start and not after it. Ceilings are those of windows
// open now: a ceiling holds from a window's start, not from a lead time before it. A negative lead counts as none.
//
// Of windows that want equally many, Floor names the one that opens first, then the one that closes last.
func (c *Calendar) FloorAt(now time.Time, lead time.Duration) Floor {
	var floor Floor
	if c == nil {
		return floor
	}
	by := now.Add(max(lead, 0))
	for i := range c.windows {
		w := &c.windows[i]
		a := w.around(now)
		replicas, opens := w.Replicas, a.start
		switch {
		case a.open(now):
			floor.MaxReplicas = max(floor.MaxReplicas, w.MaxReplicas)
		case a.next.IsZero():
			continue
		default:
			opens = a.next
			if by.Before(opens) {
				// The next start is the nearest, and a ramp only rises, so its value at the end is the maximum.
				replicas = w.ready(by, opens)
			}
		}
		if replicas == 0 {
			continue
		}
		closes := opens.Add(w.Duration)
		if cmp.Or(cmp.Compare(replicas, floor.Replicas), floor.OpensAt.Compare(opens), closes.Compare(floor.ClosesAt)) > 0 {
			floor.Replicas, floor.Window, floor.OpensAt, floor.ClosesAt = replicas, w.Name, opens, closes
		}
	}
	if floor.MaxReplicas > 0 {
		floor.MaxReplicas = max(floor.MaxReplicas, floor.Replicas)
	}
	return floor
}

// Next is the first opening that starts after now; of several that start together, the one with the most replicas.
func (c *Calendar) Next(now time.Time) (Opening, bool) {
	if c == nil {
		return Opening{}, false
	}
	heads := make([]time.Time, len(c.windows))
	for i := range c.windows {
		heads[i] = c.windows[i].around(now).next
	}
	i := c.first(heads)
	if i < 0 {
		return Opening{}, false
	}
	return c.windows[i].opening(heads[i]), true
}

// Openings gives what is open at from and what starts in [from, to), in order of start; of a window that overlaps itself, what is
// open at from is the latest opening alone. A caller that has seen enough may stop: a window may start every minute.
func (c *Calendar) Openings(from, to time.Time) iter.Seq[Opening] {
	return func(yield func(Opening) bool) {
		if c == nil {
			return
		}
		heads := make([]time.Time, len(c.windows))
		for i := range c.windows {
			w := &c.windows[i]
			if start, ok := w.latest(from); ok && from.Before(start.Add(w.Duration)) {
				heads[i] = start
			} else {
				heads[i], _ = w.next(from)
			}
		}
		for i := c.first(heads); i >= 0 && heads[i].Before(to); i = c.first(heads) {
			if !yield(c.windows[i].opening(heads[i])) {
				return
			}
			heads[i], _ = c.windows[i].next(heads[i])
		}
	}
}

// first is the window whose head, a start or zero for none, comes first; -1 when none has one.
func (c *Calendar) first(heads []time.Time) int {
	first := -1
	for i, head := range heads {
		if head.IsZero() {
			continue
		}
		if first < 0 || cmp.Or(head.Compare(heads[first]), cmp.Compare(c.windows[first].Replicas, c.windows[i].Replicas)) < 0 {
			first = i
		}
	}
	return first
}

func (w *window) opening(start time.Time) Opening {
	return Opening{
		Window: w.Name, RampFrom: start.Add(-w.Ramp), Start: start, End: start.Add(w.Duration),
		Replicas: w.Replicas, MaxReplicas: w.MaxReplicas,
	}
}
