package prewarm

import "time"

// Decide is the house's one decision:
//
//	raw   = max( need + buffer, forecast + reserve, schedule )
//	Floor = clamp( max of raw over the last hold, limits.min, limits.max )
//
// The floor rises at once and falls late. Without a usable demand there is no valid decision, only a FloorAtLeast. Nothing is
// computed from a live minimum, and from a live number of replicas only the growth while saturated and the stop at
// unschedulable pods, neither of which can feed itself: the first ends when load is carried, the second only caps.
//
// It must be called at least every StaleAfter; a longer silence, or a clock that was set back, counts as a time in which
// nothing was known, so that the floor stands for a whole hold after it.
func Decide(now time.Time, previous State, demand Demand, forecast Forecast, schedule Floor, lead LeadTime, policy Policy) (Decision, State) {
	d := Decision{At: now, Schedule: max(schedule.Replicas, 0), Demand: demand, ForecastUsed: forecast, Lead: lead.Total()}
	s := previous
	keep := policy.Hold(d.Lead)
	s.wake(now)
	s.last = now
	why := explanation{policy: policy, demand: demand, forecast: forecast, schedule: schedule, lead: lead, now: now, keep: keep}

	if err := policy.Validate(); err != nil {
		d.Kind, d.Origin = ReasonInvalidPolicy, ReasonInvalidPolicy
		d.Reason = "the policy cannot be followed: " + oneLine(err)
		d.FloorAtLeast = max(s.floor, d.Schedule)
		s.stand(now, d, keep)
		return d, s
	}
	if !demand.usable() {
		d.Kind, d.Origin = ReasonDemandUnknown, ReasonDemandUnknown
		d.FloorAtLeast = limited(max(s.floor, min(d.Schedule, s.ceiling(demand, policy))), policy)
		d.Reason = why.unknown(d.FloorAtLeast)
		s.stand(now, d, keep)
		return d, s
	}

	raw := terms(&d, demand, forecast, schedule, policy)
	d.Valid, d.Raw = true, raw.replicas
	stands := raw
	if demand.Partial && s.floor > raw.replicas { // what moved to pods without a sample is not seen: it looks like a fall
		stands = term{s.floor, s.originOfFloor()}
	}
	s.hold.add(now, stands.replicas, stands.kind, keep)
	if policy.ForecastMode == ForecastShadow {
		shadow := raw
		if forecast := capped(d.Forecast, schedule); forecast > raw.replicas {
			shadow = term{forecast, ReasonForecast}
		}
		s.shadow.add(now, shadow.replicas, shadow.kind, keep)
		top, _ := s.shadow.top()
		d.ShadowFloor = limited(min(max(int(top.replicas), s.resumedFloor(now, keep)), s.ceiling(demand, policy)), policy)
	} else {
		s.shadow = hold{}
	}

	top, _ := s.hold.top()
	held := term{int(top.replicas), top.origin}
	d.Kind, d.Origin, d.Reason = raw.kind, raw.kind, why.of(raw.kind, &d)
	if held.replicas > raw.replicas {
		d.Kind, d.Origin = ReasonHold, held.kind
		d.HeldFor = max(0, time.Unix(0, top.at).Add(keep).Sub(now))
		d.Reason = why.held(held, d.HeldFor, d.Reason)
	}
	if resumed := s.resumedFloor(now, keep); resumed > held.replicas {
		held.replicas = resumed
		d.Kind, d.Origin = ReasonHold, ReasonHold
		d.HeldFor = max(0, s.began.Add(keep).Sub(now))
		d.Reason = why.resumed(resumed, d.HeldFor, s.HistoryLoaded, why.of(raw.kind, &d))
	}
	if ceiling := s.ceiling(demand, policy); held.replicas > ceiling {
		d.Reason, d.Kind = why.stopped(ceiling, held.replicas, d.Reason), ReasonUnschedulable
		held.replicas = ceiling
	}
	d.Floor = limited(held.replicas, policy)
	if d.Floor != held.replicas {
		d.Reason, d.Kind = why.limited(d.Floor, held.replicas, d.Reason), ReasonLimits
	}
	d.FloorAtLeast = d.Floor
	s.settle(now, d.Floor, keep)
	return d, s
}

// term is one thing that asks for replicas.
type term struct {
	replicas int
	kind     ReasonKind
}

// terms fills in what each input asks for, and gives the highest that counts. Where two ask for the same, demand goes before
// the calendar and the calendar before the forecast: the surest first.
func terms(d *Decision, demand Demand, forecast Forecast, schedule Floor, policy Policy) term {
	d.Need, d.Buffer = replicasFor(demand.Value, policy.PerReplica), policy.BufferReplicas
	raw := term{d.Need + d.Buffer, ReasonReactive}
	if demand.Saturated {
		if grown := replicasFor(float64(demand.Ready)*policy.MaxGrowth, 1); grown > raw.replicas {
			d.Need = grown - d.Buffer
			raw = term{grown, ReasonSaturated}
		}
	}
	if d.Schedule > raw.replicas {
		raw = term{d.Schedule, ReasonSchedule}
	}
	if policy.ForecastMode != ForecastOff && forecast.usable() {
		d.Forecast = replicasFor(forecast.Value, policy.PerReplica) + policy.BufferOnForecast
		if policy.ForecastMode == ForecastOn && d.Forecast > raw.replicas {
			raw = term{d.Forecast, ReasonForecast}
		}
	}
	if most := capped(raw.replicas, schedule); most < raw.replicas {
		raw = term{most, ReasonLimits}
	}
	return raw
}

// capped applies the ceiling of an open window. It is applied before the hold, unlike the limits: a window that opens lowers as
// slowly as anything else, so that a clock that jumps deletes no pods.
func capped(replicas int, schedule Floor) int {
	if schedule.MaxReplicas <= 0 {
		return replicas
	}
	return min(replicas, max(schedule.MaxReplicas, schedule.Replicas))
}

// limited applies the limits, at once: who changes them means it.
func limited(replicas int, policy Policy) int {
	replicas = max(replicas, policy.MinReplicas)
	if policy.MaxReplicas > 0 {
		replicas = min(replicas, policy.MaxReplicas)
	}
	return replicas
}

// ceiling is how far the floor may rise while pods find no node: to the pods there are, or to where it stands already.
func (s *State) ceiling(demand Demand, policy Policy) int {
	if !policy.StopWhenUnschedulable || demand.Unschedulable == 0 {
		return maxReplicas
	}
	return max(s.floor, demand.Ready+demand.NotReady)
}

// wake looks at the time since the last call. After a silence, or when the clock was set back, what stood counts as decided now.
func (s *State) wake(now time.Time) {
	if s.last.IsZero() {
		return
	}
	silence := now.Sub(s.last)
	if silence >= 0 && silence <= StaleAfter {
		return
	}
	s.hold.restart(now)
	s.shadow.restart(now)
	s.began = now // a leader that has slept is as new as it was
}

// stand keeps up what stands, as if it had been decided now: nothing is known that could lower it. So a time of unknown demand
// is followed by a whole hold of known demand before anything falls.
func (s *State) stand(now time.Time, d Decision, keep time.Duration) {
	stands := term{d.FloorAtLeast, d.Kind}
	if d.Schedule >= d.FloorAtLeast {
		stands.kind = ReasonSchedule
	}
	if top, ok := s.hold.top(); ok && int(top.replicas) >= stands.replicas {
		stands = term{int(top.replicas), top.origin}
	}
	s.hold.add(now, stands.replicas, stands.kind, keep)
	if top, ok := s.shadow.top(); ok {
		s.shadow.add(now, max(d.FloorAtLeast, int(top.replicas)), top.origin, keep)
	}
	s.settle(now, d.FloorAtLeast, keep)
}

// originOfFloor is what the floor that stands came from.
func (s *State) originOfFloor() ReasonKind {
	if top, ok := s.hold.top(); ok {
		return top.origin
	}
	return ReasonHold
}

// settle remembers the floor, and ends resuming when it has lasted a hold and the history is loaded.
func (s *State) settle(now time.Time, floor int, keep time.Duration) {
	s.floor = floor
	if s.resuming {
		s.resumed = max(s.resumed, floor)
		s.resuming = !s.HistoryLoaded || now.Before(s.began.Add(keep))
	}
}

// resumedFloor is what a new leader may not go below; 0 when it is new no longer.
func (s *State) resumedFloor(now time.Time, keep time.Duration) int {
	if s.resuming && (!s.HistoryLoaded || now.Before(s.began.Add(keep))) {
		return s.resumed
	}
	return 0
}
