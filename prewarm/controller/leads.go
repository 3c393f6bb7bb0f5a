package controller

import (
	"slices"
	"time"
)

// rungs are the leads that an engine is made for. An engine knows only the leads declared when it was made, and a lead time is
// measured anew with every scale-up: so it is rounded up to a rung, and a new engine, with the history read again, is
// made only when it has left the neighbourhood. Neighbours differ by a half or so, which a quantile of a maximum forgives.
var rungs = [...]time.Duration{
	1 * time.Minute, 2 * time.Minute, 4 * time.Minute, 6 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute,
	30 * time.Minute, 45 * time.Minute, 60 * time.Minute, 90 * time.Minute, 2 * time.Hour, 3 * time.Hour, 4 * time.Hour,
}

// maxLeads bounds what one engine is made for: the lead time, and that with a new node. A lead costs 47 KiB.
const maxLeads = 2

// askedFor is how long a lead that nobody asks for any more is still a reason to declare it.
const askedFor = 10 * time.Minute

// rungOf is the least rung that holds a lead; the highest for what is beyond.
func rungOf(lead time.Duration) int {
	for i, r := range rungs {
		if lead <= r {
			return i
		}
	}
	return len(rungs) - 1
}

// covers says that an engine with these leads answers well enough for lead: one of them holds it, and is at most one rung too
// long. So a lead time that swings about a rung's edge makes no new engine at every swing.
func covers(leads []time.Duration, lead time.Duration) bool {
	at := rungOf(lead)
	lead = min(lead, rungs[at])
	return slices.ContainsFunc(leads, func(l time.Duration) bool { return lead <= l && rungOf(l) <= at+1 })
}

// askedLeads are the leads that forecasts are asked for, each with the time of the last request.
type askedLeads []askedLead

type askedLead struct {
	rung int
	at   time.Time
}

// note takes down a request, and forgets those of long ago.
func (a *askedLeads) note(lead time.Duration, now time.Time) {
	rung := rungOf(lead)
	*a = slices.DeleteFunc(*a, func(l askedLead) bool { return l.rung == rung || now.Sub(l.at) > askedFor })
	*a = append(*a, askedLead{rung, now})
}

// latest are those asked for last, as many as an engine is made for.
func (a askedLeads) latest() []time.Duration {
	var leads []time.Duration
	for _, l := range a[max(0, len(a)-maxLeads):] {
		leads = append(leads, rungs[l.rung])
	}
	return leads
}

// declare picks the leads for a new engine, ascending: as many of the latest as fit, without those that another one covers.
func (a askedLeads) declare() []time.Duration {
	var picked []time.Duration
	for n := 1; n <= len(a); n++ {
		var all, leads []time.Duration
		for _, l := range a[len(a)-n:] {
			all = append(all, rungs[l.rung])
		}
		slices.Sort(all)
		for _, l := range slices.Backward(all) {
			if !covers(leads, l) {
				leads = append(leads, l)
			}
		}
		if len(leads) > maxLeads {
			break
		}
		picked = leads
	}
	slices.Sort(picked)
	return picked
}
