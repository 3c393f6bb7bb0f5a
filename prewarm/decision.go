package prewarm

import (
	"fmt"
	"time"
)

// ReasonKind is what a decision came from.
type ReasonKind int

const (
	ReasonReactive      ReasonKind = iota + 1 // demand now, and the buffer
	ReasonSaturated                           // the ready replicas carry all they can: grow to find out how much demand there is
	ReasonForecast                            // the forecast of the maximum over the lead time
	ReasonSchedule                            // a pre-warm window
	ReasonHold                                // nothing asks for it now; it was asked for within the hold
	ReasonLimits                              // limits.minReplicas, limits.maxReplicas or a window's maxReplicas
	ReasonUnschedulable                       // pods find no node, and the policy says to stop there
	ReasonDemandUnknown                       // no valid decision: demand is unknown
	ReasonStale                               // no valid decision: nobody has decided for StaleAfter
	ReasonInvalidPolicy                       // no valid decision: the policy cannot be followed
)

var reasonKindTexts = map[ReasonKind]string{
	ReasonReactive: "Reactive", ReasonSaturated: "Saturated", ReasonForecast: "Forecast", ReasonSchedule: "Schedule", ReasonHold: "Hold",
	ReasonLimits: "Limits", ReasonUnschedulable: "Unschedulable", ReasonDemandUnknown: "DemandUnknown", ReasonStale: "Stale",
	ReasonInvalidPolicy: "InvalidPolicy",
}

// String is the reason in the form of a condition's reason.
func (k ReasonKind) String() string {
	if text, ok := reasonKindTexts[k]; ok {
		return text
	}
	return fmt.Sprintf("ReasonKind%d", int(k))
}

// Decision is how many replicas there should be, with every number that led to it. The zero Decision is none.
type Decision struct {
	At    time.Time
	Valid bool

	Need   int // replicas that demand now takes, or that growth asks for while saturated; without the buffer
	Buffer int // the buffer on Need
	// Forecast is what the forecast asks for with its reserve, in Shadow mode too; 0 when there is none.
	Forecast int
	Schedule int // what the calendar asks for over the lead time
	Raw      int // the highest of these that counts, before the hold and the limits

	// Floor is the answer. It means nothing unless Valid.
	Floor int
	// FloorAtLeast may be raised to whether demand is known or not, and is never a reason to lower anything: the floor that
	// stood, or what a window asks for. It equals Floor when Valid.
	FloorAtLeast int
	// ShadowFloor is what Floor would be if the forecast counted; 0 outside Shadow mode.
	ShadowFloor int

	Kind ReasonKind
	// Origin is the kind of the decision that holds the floor up: the same as Kind, save that in a hold and at a limit it says
	// what was behind it. Noise in demand turns Kind to Hold and back at every few looks and leaves Origin alone, so what is
	// written or told on transitions should go by Floor, Valid and Origin.
	Origin ReasonKind
	Reason string // one sentence for a person

	// HeldFor is how much longer the floor stands for what no longer asks for it; 0 when something asks for it now, or when
	// only loading the history ends it.
	HeldFor time.Duration

	Demand       Demand
	ForecastUsed Forecast // what was passed in, whether it counted or not
	Lead         time.Duration
}

// AsOf is the decision as it counts at now: not valid when it is stale. Who answers from a status that somebody else writes
// asks this.
func (d Decision) AsOf(now time.Time) Decision {
	age := now.Sub(d.At)
	if d.At.IsZero() || age <= StaleAfter {
		return d
	}
	d.Valid, d.Kind, d.HeldFor = false, ReasonStale, 0
	d.Reason = fmt.Sprintf("decided %s ago, at %s; a decision counts for %s", shortly(age), d.At.Format(time.RFC3339), shortly(StaleAfter))
	return d
}

// State is what Decide must remember from one call to the next. It is a plain value: keep the latest. The zero State is that of
// an object for which nothing was ever decided.
type State struct {
	// HistoryLoaded says that demand's history is there to forecast from. Until then a state that was resumed lowers nothing.
	HistoryLoaded bool

	hold, shadow hold
	last         time.Time // when Decide was last called
	floor        int       // the floor that stands, after limits

	// resumed is what a new leader may not go below, as long as resuming.
	resumed  int
	resuming bool
	began    time.Time
}

// Resume is the state of a leader that begins at now where another left floor. It lowers nothing until its history is loaded
// and until a hold has passed, since it cannot know which decisions the other one's floor stood on.
func Resume(floor int, now time.Time) State {
	return State{floor: max(floor, 0), resumed: max(floor, 0), resuming: true, began: now, last: now}
}

// Floor is the floor that stands, and whether anything was ever decided.
func (s State) Floor() (int, bool) { return s.floor, s.resuming || s.hold.n > 0 }
