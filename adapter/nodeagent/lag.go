package nodeagent

import "time"

// lagSpan is how long the quickest message is remembered at least: clocks drift apart by some 50 µs in that time.
const lagSpan = time.Minute

// lag tells how long a message was under way, from when the sender says it sent it and when it came, on two clocks that share no zero: as
// much longer as it took than the quickest one of the last one to two minutes.
type lag struct {
	quickest, before time.Duration // of the present span and of the one before
	since            time.Duration // when the present span began, by the receiver's clock
	begun, older     bool
}

// of takes the next message's times.
func (l *lag) of(sent, received time.Duration) time.Duration {
	took := received - sent
	switch {
	case !l.begun:
		l.quickest, l.since, l.begun = took, received, true
	case received-l.since >= lagSpan:
		l.before, l.older = l.quickest, true
		l.quickest, l.since = took, received
	default:
		l.quickest = min(l.quickest, took)
	}
	floor := l.quickest
	if l.older {
		floor = min(floor, l.before)
	}
	return took - floor
}
