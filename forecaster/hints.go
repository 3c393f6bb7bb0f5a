package forecaster

import (
	"math"
	"time"
)

// Event is demand that somebody knows of in advance: a launch, a batch run, a window of the pre-warm calendar.
type Event struct {
	From, Until time.Time
	Demand      float64 // the level expected while it lasts, in the unit of the series
}

// MaxEvents is how many announced events an engine holds.
const MaxEvents = 32

// hints is knowledge from outside. Both kinds are experts like any other: asleep while there is nothing to say, and with
// the weight that their record earns.
type hints struct {
	events  [MaxEvents]Event
	nEvents int
	outside [MaxLeads]outside
}

type outside struct {
	from time.Time
	max  float64
}

// Announce replaces the known events. Those with an odd demand or an empty span are left out, and no more than MaxEvents
// are kept; it returns how many were taken.
func (e *Engine) Announce(events []Event) int {
	e.hints.nEvents = 0
	for _, ev := range events {
		if e.hints.nEvents == MaxEvents {
			break
		}
		if o := Value(ev.Demand).sane(); o.Kind == Measured && ev.From.Before(ev.Until) {
			e.hints.events[e.hints.nEvents] = Event{From: ev.From, Until: ev.Until, Demand: o.Value}
			e.hints.nEvents++
		}
	}
	e.made = 0
	return e.hints.nEvents
}

// Offer takes an outside forecast of the maximum over a declared lead, made for the horizon that starts at from. It is used
// for that horizon only, so it has to come before the next bin is observed: offered later it is ignored, offered wrong it
// earns no weight. It reports whether it was taken.
func (e *Engine) Offer(from time.Time, lead time.Duration, maximum float64) bool {
	o := Value(maximum).sane()
	if o.Kind != Measured {
		return false
	}
	for i, l := range e.opts.Leads {
		if l == lead {
			e.hints.outside[i] = outside{from: from, max: o.Value}
			e.made = 0
			e.horizon[i].reconsider(e, from)
			return true
		}
	}
	return false
}

// announced is the largest announced demand that touches (from, until].
func (k *hints) announced(from, until time.Time) (float64, bool) {
	m, any := 0.0, false
	for _, ev := range k.events[:k.nEvents] {
		if ev.From.Before(until) && ev.Until.After(from) {
			m, any = max(m, ev.Demand), true
		}
	}
	return m, any
}

// points fills the two experts that stand on hints, and puts them to sleep while there is none.
func (k *hints) points(h *horizon, s *slot, from time.Time, e *Engine) {
	s.point[xEvent], s.point[xOutside] = s.point[xLast], s.point[xLast]
	lead := time.Duration(h.lead) * e.opts.Step
	if demand, ok := k.announced(from, from.Add(lead)); ok {
		s.point[xEvent] = math.Max(demand, s.point[xLast])
	} else {
		s.awake &^= 1 << xEvent
	}
	for i, l := range e.opts.Leads {
		if l == lead && k.outside[i].from.Equal(from) {
			s.point[xOutside] = k.outside[i].max
			return
		}
	}
	s.awake &^= 1 << xOutside
}
