package prewarm

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// StaleAfter is the age at which a decision no longer counts: twelve rounds of 15 s missed. It is also the longest silence
// between two calls of Decide that is not treated as a time in which nothing was known.
const StaleAfter = 3 * time.Minute

// DefaultHold is the least time for which the floor stands after its reason has gone, where the policy names none. It is the
// HPA's own default for scaling down.
const DefaultHold = 5 * time.Minute

// ForecastMode says what a forecast may do.
type ForecastMode int

const (
	ForecastOn     ForecastMode = iota + 1 // it adds to the floor
	ForecastShadow                         // it is worked out and shown, and changes nothing
	ForecastOff                            // it is not looked at
)

var forecastModeTexts = map[ForecastMode]string{ForecastOn: "On", ForecastShadow: "Shadow", ForecastOff: "Off"}

func (m ForecastMode) String() string {
	if text, ok := forecastModeTexts[m]; ok {
		return text
	}
	return fmt.Sprintf("forecast mode %d", int(m))
}

// Policy is what the Headroom object asks for, with no default left open.
type Policy struct {
	PerReplica float64 // what one ready replica carries, in the unit of demand; above 0
	Unit       string  // of demand, for people ("req/s"); may be empty

	BufferReplicas   int // beyond what demand now needs: the 2 of N+2
	BufferOnForecast int // beyond what the forecast needs: a reserve for failures

	MinReplicas int // limits.minReplicas, or the minimum that the user had on the HPA; never the live one, which would ratchet
	MaxReplicas int // 0: none

	// MaxGrowth is how many times the ready replicas are asked for while they are saturated; at least 1. What is measured then
	// is a lower bound of demand, and only growing finds out how low.
	MaxGrowth float64

	ScaleDownHold         time.Duration // 0: the longer of DefaultHold and the lead time
	StopWhenUnschedulable bool          // do not raise past what runs and waits while pods find no node
	ForecastMode          ForecastMode
	Quantile              float64 // of the forecast, between 0 and 1; carried for people, the forecast brings its own
}

// Validate says everything that is wrong with the policy, by the names of the Headroom object's fields.
func (p Policy) Validate() error {
	var problems []error
	refuse := func(wrong bool, path string, value any, allowed string) {
		if wrong {
			problems = append(problems, fmt.Errorf("%s: %v: %s", path, value, allowed))
		}
	}
	refuse(!(p.PerReplica > 0) || math.IsInf(p.PerReplica, 0), "demand.perReplica", p.PerReplica, "must be a finite number above 0")
	refuse(p.BufferReplicas < 0, "buffer.replicas", p.BufferReplicas, "must be 0 or more")
	refuse(p.BufferOnForecast < 0, "buffer.onForecast", p.BufferOnForecast, "must be 0 or more")
	refuse(p.MinReplicas < 0, "limits.minReplicas", p.MinReplicas, "must be 0 or more")
	refuse(p.MaxReplicas < 0, "limits.maxReplicas", p.MaxReplicas, "must be 0 (none) or more")
	refuse(p.MaxReplicas > 0 && p.MaxReplicas < p.MinReplicas, "limits.maxReplicas", p.MaxReplicas,
		fmt.Sprintf("must not be below limits.minReplicas, %d", p.MinReplicas))
	refuse(!(p.MaxGrowth >= 1) || math.IsInf(p.MaxGrowth, 0), "limits.maxGrowth", p.MaxGrowth, "must be a finite number, 1 or more")
	refuse(p.ScaleDownHold < 0, "scaleDownHold", p.ScaleDownHold, "must be 0 (the longer of 5m and the lead time) or more")
	_, known := forecastModeTexts[p.ForecastMode]
	refuse(!known, "forecast.mode", p.ForecastMode, "must be On, Shadow or Off")
	refuse(p.ForecastMode != ForecastOff && !(p.Quantile > 0 && p.Quantile < 1), "forecast.risk.quantile", p.Quantile, "must lie between 0 and 1")
	return errors.Join(problems...)
}

// Hold is for how long the floor stands after its reason has gone. The HPA's own stabilisation cannot do this: it records
// recommendations before the minimum is applied, so lowering a minimum deletes pods at its next sync.
func (p Policy) Hold(lead time.Duration) time.Duration {
	if p.ScaleDownHold > 0 {
		return p.ScaleDownHold
	}
	return max(DefaultHold, lead)
}

// relativeEpsilon is how far above a whole number of replicas a quotient may lie and still be that number. Demand is a sum of
// floating-point rates: 0.1*3/0.1 is 3.0000000000000004 and must be 3, not 4. It is far above rounding (1e-16 times the number
// of pods) and far below anything that was measured.
const relativeEpsilon = 1e-9

// maxReplicas is the most that a Kubernetes workload can hold.
const maxReplicas = math.MaxInt32

// replicasFor is the least whole number of replicas that carry load.
func replicasFor(load, perReplica float64) int {
	quotient := load / perReplica
	if quotient >= maxReplicas {
		return maxReplicas
	}
	return int(math.Ceil(quotient * (1 - relativeEpsilon)))
}
