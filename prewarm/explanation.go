package prewarm

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// explanation puts a decision into words. It decides nothing.
type explanation struct {
	policy   Policy
	demand   Demand
	forecast Forecast
	schedule Floor
	lead     LeadTime
	now      time.Time
	keep     time.Duration
}

// of says why raw is what it is.
func (e explanation) of(kind ReasonKind, d *Decision) string {
	switch kind {
	case ReasonSaturated:
		return fmt.Sprintf("demand is at least %s: %d ready replicas carry all they can, so %d (%s times as many)%s",
			e.load(e.demand.Value), e.demand.Ready, d.Need+d.Buffer, number(e.policy.MaxGrowth), e.note())
	case ReasonForecast:
		return e.ofForecast(d)
	case ReasonSchedule:
		return e.ofSchedule(d.Schedule)
	case ReasonLimits:
		return fmt.Sprintf("an open window's maxReplicas keeps it at %d; %s", d.Raw, e.reactive(d))
	}
	return e.reactive(d)
}

func (e explanation) reactive(d *Decision) string {
	text := fmt.Sprintf("demand %s needs %d at %s each", e.load(e.demand.Value), replicasFor(e.demand.Value, e.policy.PerReplica), number(e.policy.PerReplica))
	if d.Buffer > 0 {
		text += fmt.Sprintf(", + %d buffer", d.Buffer)
	}
	return text + e.note()
}

// note is what must be said about a demand that is known.
func (e explanation) note() string {
	if e.demand.Reason == "" {
		return ""
	}
	return " (" + e.demand.Reason + ")"
}

func (e explanation) ofForecast(d *Decision) string {
	text := fmt.Sprintf("forecast q%s of %s within %s needs %d at %s each", number(e.forecast.Quantile), e.load(e.forecast.Value),
		shortly(e.forecast.Horizon), d.Forecast-e.policy.BufferOnForecast, number(e.policy.PerReplica))
	if e.policy.BufferOnForecast > 0 {
		text += fmt.Sprintf(", + %d reserve", e.policy.BufferOnForecast)
	}
	return text
}

func (e explanation) ofSchedule(replicas int) string {
	text := fmt.Sprintf("window %s%s asks %d", e.schedule.Window, span(e.schedule.OpensAt, e.schedule.ClosesAt), replicas)
	if e.schedule.OpensAt.After(e.now) {
		text += ", ahead of its start"
	}
	return text
}

func (e explanation) held(held term, left time.Duration, otherwise string) string {
	until := "for " + shortly(left) + " more"
	if left == 0 { // calls are further apart than the hold is long
		until = "until the next decision"
	}
	return fmt.Sprintf("held at %d %s: the highest of the last %s, by %s; now %s", held.replicas, until, shortly(e.keep), behind(held.kind), otherwise)
}

// behind names a kind inside a sentence.
func behind(kind ReasonKind) string {
	switch kind {
	case ReasonForecast:
		return "the forecast"
	case ReasonSchedule:
		return "a window"
	case ReasonSaturated:
		return "growth while saturated"
	case ReasonDemandUnknown:
		return "what stood while demand was unknown"
	}
	return "demand"
}

func (e explanation) resumed(floor int, left time.Duration, loaded bool, otherwise string) string {
	until := "for " + shortly(left) + " more"
	switch {
	case !loaded && left > 0:
		until += " and until the history is loaded"
	case !loaded:
		until = "until the history is loaded"
	}
	return fmt.Sprintf("held at %d %s: a new leader lowers nothing at first; now %s", floor, until, otherwise)
}

func (e explanation) stopped(at, wanted int, otherwise string) string {
	return fmt.Sprintf("stopped at %d of %d: %d pods find no node, and limits.stopWhenUnschedulable is set; %s", at, wanted, e.demand.Unschedulable, otherwise)
}

func (e explanation) limited(floor, wanted int, otherwise string) string {
	if floor > wanted {
		return fmt.Sprintf("limits.minReplicas raises %d to %d; %s", wanted, floor, otherwise)
	}
	return fmt.Sprintf("limits.maxReplicas caps %d at %d; %s", wanted, floor, otherwise)
}

func (e explanation) unknown(atLeast int) string {
	text := fmt.Sprintf("demand is unknown: %s; nothing is lowered", e.demand.why())
	if e.schedule.Replicas > 0 && e.schedule.Replicas >= atLeast {
		return text + ", and " + e.ofSchedule(e.schedule.Replicas)
	}
	return text
}

// load is a demand with its unit.
func (e explanation) load(value float64) string {
	if e.policy.Unit == "" {
		return number(value)
	}
	return number(value) + " " + e.policy.Unit
}

// number shows four digits: more say nothing about a demand.
func number(x float64) string {
	if x >= 1000 && x < 1e9 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

// shortly is a duration in whole seconds, or as it is when that would be nothing.
func shortly(d time.Duration) string {
	if rounded := d.Round(time.Second); rounded != 0 {
		return rounded.String()
	}
	return d.String()
}

// span is when a window opens and closes, in the times' own zone; with the dates when it is open for a day or longer.
func span(opens, closes time.Time) string {
	switch {
	case opens.IsZero() || closes.IsZero():
		return ""
	case closes.Sub(opens) < 24*time.Hour:
		return fmt.Sprintf(" (%s–%s)", opens.Format("15:04"), closes.Format("15:04"))
	}
	return fmt.Sprintf(" (%s–%s)", opens.Format("2 Jan 15:04"), closes.Format("2 Jan 15:04"))
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
