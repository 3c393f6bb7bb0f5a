package forecaster

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Limits of one engine. They make a Forecast a plain value of fixed size.
const (
	MaxLeads     = 8
	MaxQuantiles = 8
)

// Options are fixed for the life of an engine.
type Options struct {
	Step      time.Duration   // width of a bin: 10 s to 5 min, and a divisor or multiple of a minute
	Leads     []time.Duration // ascending multiples of Step, at most MaxLeads
	Quantiles []float64       // ascending, inside (0, 1), at most MaxQuantiles
	Zone      *time.Location  // whose days and weeks the series follows
	MaxGrowth float64         // no forecast exceeds MaxGrowth × the peak of the last 7 days; at least 1
	Prior     *Prior          // what the fleet knows; nil for the built-in one
	Without   Part            // parts left out, for ablations
}

// DefaultOptions is the one source of defaults.
func DefaultOptions() Options {
	return Options{
		Step:      time.Minute,
		Leads:     []time.Duration{10 * time.Minute},
		Quantiles: []float64{0.5, 0.9, 0.95, 0.99},
		Zone:      time.UTC,
		MaxGrowth: 4,
	}
}

// Part is a set of parts of the engine that an ablation can leave out. Every one is there because the scoreboard or a
// robustness test got worse without it.
type Part uint32

const (
	LearnedScale     Part = 1 << iota // the log-linear model of the residuals' scale
	SecondStage                       // the mixture's own median as one more expert
	Calibration                       // the slow conformal correction
	ShortMemory                       // the second aggregator, with a memory of hours
	OverlapFactor                     // slower learning where labels overlap
	RidgeExpert                       // the regression
	SeasonalExperts                   // day, week, level × shape, Holt-Winters, week shift
	WeekShift                         // a week ago, moved to today's level
	LevelSinceChange                  // the mean since the last change point
	TSB                               // the expert for intermittent demand
	PooledPrior                       // the fleet's residuals before a series has its own
	SkillGate                         // last value + scaled residuals when the engine does worse
	partEnd
)

var partNames = [...]string{
	"learned scale", "second stage", "calibration", "short memory", "overlap factor", "ridge", "seasonal experts",
	"week shift", "level since change", "TSB", "pooled prior", "skill gate",
}

// Parts lists every part that can be left out.
func Parts() []Part {
	var all []Part
	for p := Part(1); p < partEnd; p <<= 1 {
		all = append(all, p)
	}
	return all
}

func (p Part) String() string {
	s := ""
	for i, n := range partNames {
		if p&(1<<i) != 0 {
			if s != "" {
				s += ", "
			}
			s += n
		}
	}
	if s == "" {
		return "nothing"
	}
	return s
}

// Validate reports every problem at once.
func (o Options) Validate() error {
	var all []error
	bad := func(path string, value any, allowed string) {
		all = append(all, fmt.Errorf("%s: %v: must be %s", path, value, allowed))
	}
	step := o.Step
	if step < 10*time.Second || step > 5*time.Minute || step%time.Minute != 0 && time.Minute%step != 0 {
		bad("step", o.Step, "10s to 5m and divide a minute or be whole minutes")
		step = time.Minute
	}
	if len(o.Leads) == 0 || len(o.Leads) > MaxLeads {
		bad("leads", o.Leads, fmt.Sprintf("1 to %d durations", MaxLeads))
	}
	for i, l := range o.Leads {
		if l < step || l > maxLead || l%step != 0 || i > 0 && l <= o.Leads[i-1] {
			bad(fmt.Sprintf("leads[%d]", i), l, fmt.Sprintf("a multiple of %v up to %v, above the one before", step, maxLead))
		}
	}
	if len(o.Quantiles) == 0 || len(o.Quantiles) > MaxQuantiles {
		bad("quantiles", o.Quantiles, fmt.Sprintf("1 to %d numbers", MaxQuantiles))
	}
	for i, q := range o.Quantiles {
		if !(q >= 0.001 && q <= 0.999) || i > 0 && q <= o.Quantiles[i-1] {
			bad(fmt.Sprintf("quantiles[%d]", i), q, "0.001 to 0.999 and above the one before")
		}
	}
	if o.Zone == nil {
		bad("zone", "none", "a time zone")
	}
	if !(o.MaxGrowth >= 1) || math.IsInf(o.MaxGrowth, 0) {
		bad("maxGrowth", o.MaxGrowth, "a finite number of at least 1")
	}
	return errors.Join(all...)
}

// maxLead bounds the ring of recent values.
const maxLead = 4 * time.Hour
