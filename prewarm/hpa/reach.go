package hpa

import (
	"math"
	"time"
)

// reachLimit bounds TimeToReach: what takes longer than a day never helps a floor.
const (
	reachLimit      = 24 * time.Hour
	reachLimitSyncs = 86400
)

// TimeToReach is how long the HPA's scaleUp rules need for the way from one count to another that a metric asks for: from the
// first sync that sees the new floor to the one that writes the last replica, so 0 when one sync is enough. The wait for that first
// sync is not in it. It assumes that the floor stood at from until one sync before, and that no change was made within the longest
// period. False: not within a day, or never, as with selectPolicy Disabled or percentages of nothing.
//
// A floor given by minReplicas needs none of this time: the bounds are applied before rules are looked at.
func TimeToReach(behavior *Behavior, from, to int32, sync time.Duration) (time.Duration, bool) {
	if to <= from {
		return 0, true
	}
	if sync <= 0 {
		sync = DefaultFlags().SyncPeriod
	}
	a := Autoscaler{spec: Spec{MaxReplicas: math.MaxInt32, Behavior: behavior}, flags: DefaultFlags()}
	if behavior != nil {
		a.up, a.down = behavior.ScaleUp.resolve(0, defaultUp), behavior.ScaleDown.resolve(0, defaultDown)
		if a.up.choose == SelectDisabled {
			return 0, false
		}
	}
	a.recommended = append(a.recommended, recommendation{-int64(sync), from})
	current := from
	for n := range int64(reachLimitSyncs) {
		now := n * int64(sync)
		if now > int64(reachLimit) {
			break
		}
		result := Result{Proposal: to}
		next := a.normalize(now, current, &result)
		if next >= to {
			return time.Duration(now), true
		}
		if next != current {
			a.record(now, current, next)
			current = next
		}
	}
	return 0, false
}

// Lift is what to serve in place of a floor so that an HPA with the default tolerance of a tenth acts on it: more than 1.1 times
// the replicas there are, when the floor is above them, and the floor itself otherwise. The tolerance ends at 1.1 inclusive, hence
// the one more. ⌊1.1·n⌋+1 exceeds 1.1·n by at least a tenth of a replica, which no rounding of the controller's floats reaches.
func Lift(floor, replicas int32) int32 {
	if floor <= replicas {
		return floor
	}
	return int32(min(max(int64(floor), int64(replicas)*11/10+1), math.MaxInt32))
}
