package replay

import (
	"fmt"
	"time"
)

// Quantiles of a sweep: from a forecast that hardly counts to one that leaves five in a thousand.
func Quantiles() []float64 {
	return []float64{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 0.995}
}

// Family is what the settings of a sweep have in common.
type Family struct {
	Actuation   Actuation
	ToleranceUp *float64
	Lift        bool
	Hold        time.Duration // scaleDownHold
	Min, Max    int           // limits of the floor
}

func (f Family) policy(name string, floors Floors) Policy {
	return Policy{Name: name, Floors: floors, Actuation: f.Actuation, ToleranceUp: f.ToleranceUp, Lift: f.Lift}
}

// Constant is N + b.
func (f Family) Constant(b int) Policy {
	return f.policy(fmt.Sprintf("+%d", b), &Swept{Buffer: b, Hold: f.Hold, Min: f.Min, Max: f.Max})
}

// Forecast is the larger of a forecast with a reserve and of N + b.
func (f Family) Forecast(o *Outlook, b, onForecast int) Policy {
	return f.policy(fmt.Sprintf("q%g +%d", o.Quantile, b), &Swept{Buffer: b, OnForecast: onForecast, Outlook: o, Hold: f.Hold, Min: f.Min, Max: f.Max})
}

// Crane is yesterday with a margin, or N.
func (f Family) Crane(o *Outlook, margin float64) Policy {
	return f.policy(fmt.Sprintf("crane ×%g", margin), &Swept{Outlook: o, Hold: f.Hold, Min: f.Min, Max: f.Max})
}

// Oracle knows the largest load until the pods of now are Ready, and two minutes more.
func (f Family) Oracle(lead time.Duration) Policy {
	return f.policy("oracle", &Foresight{Ahead: lead + 2*time.Minute, Max: f.Max})
}

// Reach is how far a forecast has to look so that pods asked for are Ready in time: it is made from complete bins of a minute and
// used until the next is complete, demand is collected late, and the HPA looks once a step.
func Reach(lead time.Duration, signal Signal) time.Duration {
	return (lead + signal.Delay + Step + time.Minute + time.Minute - 1).Truncate(time.Minute)
}

// rungs are the horizons that the controller makes forecasters for (prewarm/controller/leads.go).
var rungs = [...]time.Duration{
	1 * time.Minute, 2 * time.Minute, 4 * time.Minute, 6 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute,
	30 * time.Minute, 45 * time.Minute, 60 * time.Minute, 90 * time.Minute, 2 * time.Hour, 3 * time.Hour, 4 * time.Hour,
}

// Rung is the horizon that the controller takes for a lead time.
func Rung(lead time.Duration) time.Duration {
	for _, r := range rungs {
		if lead <= r {
			return r
		}
	}
	return rungs[len(rungs)-1]
}
