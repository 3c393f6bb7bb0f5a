package replay

import (
	"fmt"
	"slices"
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
	return f.policy(fmt.Sprintf("N+%d", b), &Swept{Buffer: b, Hold: f.Hold, Min: f.Min, Max: f.Max})
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

// Frontier is what a sweep found: cost against late work over quantile, buffer and margin.
type Frontier struct {
	Headroom []Point   // quantile × buffer, with the policy's own reserve, calendar left out
	Constant []Point   // N + b
	Crane    []Point   // margins
	Hull     []Setting // lower convex hull of Headroom
	SLO      float64
	Best     *Point // the cheapest of all that reaches the SLO; nil: none does
	BestOwn  *Point // the cheapest Headroom that does
}

// Point is one setting of a sweep and where it came out.
type Point struct {
	Setting
	Quantile float64 // 0: none
	Buffer   int
	Margin   float64 // 0: none
}

// mostConstant is the largest buffer of a sweep, leastQuantile the least that a Headroom may ask for.
const (
	mostConstant  = 12
	leastQuantile = 0.5
)

func (c *Comparison) sweep(q *Question, family Family, watch func(string, float64)) error {
	scored := time.Duration(q.Scenario.ScoreFrom) * Step
	watch("sweep: forecasts", 0.65)
	quantiles := slices.DeleteFunc(Quantiles(), func(v float64) bool { return v < leastQuantile })
	f, err := Forecast(q.Series, q.Zone, c.Horizon, quantiles, scored, nil)
	if err != nil {
		return err
	}
	front := &Frontier{SLO: q.SLO}
	run := func(into *[]Point, at Point, p Policy) error {
		r, err := Run(&q.Scenario, p, nil)
		if err != nil {
			return err
		}
		at.Setting = SettingOf(r)
		*into = append(*into, at)
		return nil
	}
	for i, o := range f.Outlooks {
		watch("sweep", 0.75+0.2*float64(i)/float64(len(f.Outlooks)))
		for b := range 4 {
			if err := run(&front.Headroom, Point{Quantile: o.Quantile, Buffer: b}, family.Forecast(o, b, q.Policy.BufferOnForecast)); err != nil {
				return err
			}
		}
	}
	for b := range mostConstant + 1 {
		if err := run(&front.Constant, Point{Buffer: b}, family.baseline().Constant(b)); err != nil {
			return err
		}
	}
	for m := 100; m <= 250; m += 15 {
		margin := float64(m) / 100
		if err := run(&front.Crane, Point{Margin: margin}, family.baseline().Crane(CraneLike(q.Series, craneWindow, margin), margin)); err != nil {
			return err
		}
	}
	front.choose()
	c.Frontier = front
	return nil
}

// choose finds the hull and the cheapest settings that reach the SLO.
func (f *Frontier) choose() {
	var own []Setting
	for _, p := range f.Headroom {
		own = append(own, p.Setting)
	}
	f.Hull = Hull(own)
	f.BestOwn = f.cheapest(f.Headroom)
	f.Best = f.BestOwn
	for _, points := range [][]Point{f.Constant, f.Crane} {
		if p := f.cheapest(points); p != nil && (f.Best == nil || p.Cost < f.Best.Cost) {
			f.Best = p
		}
	}
}

func (f *Frontier) cheapest(points []Point) *Point {
	var best *Point
	for i := range points {
		if p := &points[i]; p.LateShare <= 1-f.SLO && (best == nil || p.Cost < best.Cost) {
			best = p
		}
	}
	return best
}
