package hpa

import "math"

// Formulas: stabilizeRecommendation…, convertDesiredReplicas… and calculateScale…Limit… in
// pkg/controller/podautoscaler/horizontal.go. Times are nanoseconds of the Unix clock: a step must not allocate.

// recommendation is what the metrics asked for at one sync, before anything held it.
type recommendation struct {
	at       int64
	replicas int32
}

// event is a change that was made.
type event struct {
	at       int64
	change   int32 // how many, without a sign
	outdated bool  // its place is free
}

const (
	upLimitFactor  = 2.0
	upLimitMinimum = 4.0
)

// remember keeps a recommendation: in the place of an old one, which is why the list stays as long as the windows are.
func (a *Autoscaler) remember(old int, r recommendation) {
	if old >= 0 {
		a.recommended[old] = r
	} else {
		a.recommended = append(a.recommended, r)
	}
}

// holdDown is the highest recommendation of the controller manager's window: what stabilisation is without a behavior.
func (a *Autoscaler) holdDown(now int64, desired int32) int32 {
	cutoff := now - int64(a.flags.DownscaleStabilization)
	highest, old := desired, -1
	for i := range a.recommended {
		if r := &a.recommended[i]; r.at < cutoff {
			old = i
		} else if r.replicas > highest {
			highest = r.replicas
		}
	}
	a.remember(old, recommendation{now, desired})
	return highest
}

// holdBoth brings the current count no further than the lowest recommendation of the window up and the highest of the window
// down allow.
func (a *Autoscaler) holdBoth(now int64, current, desired int32) int32 {
	upCutoff, downCutoff := now-a.up.window, now-a.down.window
	either := min(upCutoff, downCutoff)
	lowest, highest, old := desired, desired, -1
	for i := range a.recommended {
		r := &a.recommended[i]
		if r.at > upCutoff {
			lowest = min(lowest, r.replicas)
		}
		if r.at > downCutoff {
			highest = max(highest, r.replicas)
		}
		if r.at < either {
			old = i
		}
	}
	a.remember(old, recommendation{now, desired})
	return min(max(current, lowest), highest)
}

// limitPlain is the limit without a behavior: doubling, or four.
func (a *Autoscaler) limitPlain(current, desired int32) (int32, Reason) {
	highest, reason := a.spec.MaxReplicas, TooManyReplicas
	if limit := int32(math.Max(upLimitFactor*float64(current), upLimitMinimum)); highest > limit {
		highest, reason = limit, ScaleUpLimit
	}
	switch {
	case desired < a.spec.MinReplicas:
		return a.spec.MinReplicas, TooFewReplicas
	case desired > highest:
		return highest, reason
	}
	return desired, DesiredWithinRange
}

// limitRates is the limit that the policies leave, given what was changed in their periods.
func (a *Autoscaler) limitRates(now int64, current, desired int32) (int32, Reason) {
	switch {
	case desired > current:
		highest, reason := a.spec.MaxReplicas, TooManyReplicas
		if limit := max(a.upLimit(now, current), current); highest > limit {
			highest, reason = limit, ScaleUpLimit
		}
		if desired > highest {
			return highest, reason
		}
	case desired < current:
		lowest, reason := a.spec.MinReplicas, TooFewReplicas
		if limit := min(a.downLimit(now, current), current); lowest < limit {
			lowest, reason = limit, ScaleDownLimit
		}
		if desired < lowest {
			return lowest, reason
		}
	}
	return desired, DesiredWithinRange
}

func (a *Autoscaler) upLimit(now int64, current int32) int32 {
	if a.up.choose == SelectDisabled {
		return current
	}
	limit := int32(math.MinInt32)
	if a.up.choose == SelectMin {
		limit = math.MaxInt32
	}
	for i := range a.up.policies {
		p := &a.up.policies[i]
		start := a.periodStart(now, p, current)
		allowed := start + p.Value
		if p.Kind == PercentPolicy {
			allowed = int32(math.Ceil(float64(start) * (1 + float64(p.Value)/100)))
		}
		if a.up.choose == SelectMin {
			limit = min(limit, allowed)
		} else {
			limit = max(limit, allowed)
		}
	}
	return limit
}

func (a *Autoscaler) downLimit(now int64, current int32) int32 {
	if a.down.choose == SelectDisabled {
		return current
	}
	limit := int32(math.MaxInt32)
	if a.down.choose == SelectMin {
		limit = math.MinInt32
	}
	for i := range a.down.policies {
		p := &a.down.policies[i]
		start := a.periodStart(now, p, current)
		allowed := start - p.Value
		if p.Kind == PercentPolicy {
			allowed = int32(float64(start) * (1 - float64(p.Value)/100))
		}
		if a.down.choose == SelectMin {
			limit = max(limit, allowed)
		} else {
			limit = min(limit, allowed)
		}
	}
	return limit
}

// periodStart is how many replicas there were when the policy's period began, by the changes that the HPA made itself.
func (a *Autoscaler) periodStart(now int64, p *Policy, current int32) int32 {
	cutoff := now - int64(p.Period)
	return current - changed(a.ups, cutoff) + changed(a.downs, cutoff)
}

func changed(events []event, cutoff int64) (sum int32) {
	for i := range events {
		if events[i].at > cutoff {
			sum += events[i].change
		}
	}
	return sum
}

// record keeps a change that was made, in the place of one that no policy asks for any more.
func (a *Autoscaler) record(now int64, from, to int32) {
	if a.spec.Behavior == nil {
		return
	}
	events, longest, change := &a.downs, a.down.longest, from-to
	if to > from {
		events, longest, change = &a.ups, a.up.longest, to-from
	}
	old := -1
	for i := range *events {
		e := &(*events)[i]
		if e.at < now-longest {
			e.outdated = true
		}
		if e.outdated {
			old = i
		}
	}
	if old >= 0 {
		(*events)[old] = event{at: now, change: change}
	} else {
		*events = append(*events, event{at: now, change: change})
	}
}
