package replay

import (
	"fmt"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// Question is one comparison: a scenario, and the Headroom that is asked about.
type Question struct {
	Scenario Scenario
	Series   forecaster.Series // the same traffic in bins of whole minutes, for the forecasters
	Zone     *time.Location    // whose days and weeks demand follows

	Policy    prewarm.Policy
	Calendar  *prewarm.Calendar // nil: no windows
	Actuation Actuation
	Lift      bool
	Lead      prewarm.LeadPolicy // Fixed, or the percentile of what is measured

	Sweep bool
	SLO   float64 // share of the work that is to be in time; of a sweep
}

// Names of the policies of a comparison.
const (
	NameHPA      = "HPA as it is"
	NameSchedule = "schedules alone"
	NameCrane    = "Crane-like"
	NameHeadroom = "Headroom"
	NameOn       = "Headroom, switched on"
	NameOracle   = "oracle"
)

// craneWindow and craneMargin are gocrane's defaults: the largest of the next hour, and the middle one of its margins.
const (
	craneWindow = time.Hour
	craneMargin = 1.1
)

// Comparison is what became of every policy.
type Comparison struct {
	Lead      prewarm.LeadTime // as Headroom knew it
	Horizon   time.Duration    // of the forecasts
	Bands     []*Outlook       // rising: 0.5, 0.9 and the policy's own
	Outlook   *Outlook         // the policy's own
	Calibrate []Calibration    // of a finer set of quantiles
	Lives     []Life
	Frontier  *Frontier // nil without a sweep
}

// Life is one policy's.
type Life struct {
	Name     string
	What     string // for a person
	Result   Result
	Timeline *Timeline
}

// Life of a name; nil when it was not lived.
func (c *Comparison) Life(name string) *Life {
	for i := range c.Lives {
		if c.Lives[i].Name == name {
			return &c.Lives[i]
		}
	}
	return nil
}

// calibrationQuantiles are what the calibration plot shows.
var calibrationQuantiles = []float64{0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99}

// Compare lives all policies through one scenario. watch, which may be nil, is told what is done and how much of the whole is.
func Compare(q *Question, watch func(what string, share float64)) (*Comparison, error) {
	if watch == nil {
		watch = func(string, float64) {}
	}
	c := &Comparison{}
	alone, err := c.live(q, Policy{Name: NameHPA}, "its own metrics and nothing else")
	if err != nil {
		return nil, err
	}
	c.Lead = measured(q, alone.Batches)
	c.Horizon = Rung(c.Lead.Total())
	watch("forecasts", 0.05)
	if err := c.forecast(q, watch); err != nil {
		return nil, err
	}
	family := q.family(c.Lead)
	type step struct {
		policy Policy
		what   string
	}
	steps := []step{}
	for _, b := range []int{1, 2, 4} {
		p := family.baseline().Constant(b)
		p.Name = fmt.Sprintf("HPA +%d", b)
		steps = append(steps, step{p, fmt.Sprintf("%d more than demand needs now, always", b)})
	}
	if q.Calendar != nil {
		alone := q.Policy
		alone.ForecastMode, alone.BufferReplicas = prewarm.ForecastOff, 0
		steps = append(steps, step{family.policy(NameSchedule, &Decided{Policy: alone, Calendar: q.Calendar, Lead: c.Lead}), "the windows, and no buffer and no forecast"})
	}
	crane := family.baseline().Crane(CraneLike(q.Series, craneWindow, craneMargin), craneMargin)
	crane.Name = NameCrane
	steps = append(steps, step{crane, "yesterday, smoothed, the largest of the next hour, × 1.1"})
	steps = append(steps, step{c.headroom(q, q.Policy, q.Actuation, NameHeadroom), q.describe()})
	if q.Actuation == ByNothing || q.Policy.ForecastMode == prewarm.ForecastShadow {
		on := q.Policy
		on.ForecastMode = prewarm.ForecastOn
		steps = append(steps, step{c.headroom(q, on, family.Actuation, NameOn), "the same with the forecast on, by " + family.Actuation.String()})
	}
	oracle := family.Oracle(c.Lead.Pods.Value)
	steps = append(steps, step{oracle, "the HPA with the largest load of the lead time and two minutes more as its floor"})
	for i, s := range steps {
		watch(s.policy.Name, 0.35+0.3*float64(i)/float64(len(steps)))
		if _, err := c.live(q, s.policy, s.what); err != nil {
			return nil, err
		}
	}
	if q.Sweep {
		if err := c.sweep(q, family, watch); err != nil {
			return nil, err
		}
	}
	watch("done", 1)
	return c, nil
}

func (c *Comparison) live(q *Question, p Policy, what string) (Result, error) {
	timeline := NewTimeline(&q.Scenario)
	if d, ok := p.Floors.(*Decided); ok {
		d.Watch = timeline.explain
	}
	r, err := Run(&q.Scenario, p, timeline)
	if err != nil {
		return r, err
	}
	c.Lives = append(c.Lives, Life{Name: p.Name, What: what, Result: r, Timeline: timeline})
	return r, nil
}

// measured is the lead time as Headroom would know it: the object's own, or the percentile over the raises that the HPA made.
func measured(q *Question, batches []time.Duration) prewarm.LeadTime {
	if q.Lead.Fixed > 0 {
		return prewarm.Fixed(q.Lead.Fixed)
	}
	l := prewarm.LeadTime{Collection: q.Scenario.Signal.Delay, HPAPeriod: Step, Source: prewarm.LeadMeasured}
	l.Pods = prewarm.Estimate{Known: true, Finished: len(batches)}
	raises := LeadTimes{Measured: batches}
	if len(batches) < q.Lead.MinBatches {
		raises = q.Scenario.Lead
	}
	l.Pods.Value = raises.Quantile(q.Lead.Percentile)
	l.Reason = fmt.Sprintf("P%g over the raises of the HPA as it is", 100*q.Lead.Percentile)
	return l
}

func (q *Question) family(lead prewarm.LeadTime) Family {
	f := Family{Actuation: q.Actuation, Lift: q.Lift, Hold: q.Policy.Hold(lead.Total()), Min: q.Policy.MinReplicas, Max: q.Policy.MaxReplicas}
	if f.Actuation == ByNothing {
		f.Actuation = ByMetric
	}
	return f
}

// baseline is the family with the hold of whoever has no Headroom: the HPA's own window, or as long where a minimum is raised.
func (f Family) baseline() Family {
	f.Hold = hpa.DefaultFlags().DownscaleStabilization
	if f.Actuation == ByMetric {
		f.Hold = Step
	}
	return f
}

func (c *Comparison) headroom(q *Question, policy prewarm.Policy, by Actuation, name string) Policy {
	d := &Decided{Policy: policy, Calendar: q.Calendar, Lead: c.Lead}
	if policy.ForecastMode != prewarm.ForecastOff {
		d.Outlook = c.Outlook
	}
	return Policy{Name: name, Floors: d, Actuation: by, Lift: q.Lift}
}

func (q *Question) describe() string {
	forecast := fmt.Sprintf("quantile %g + %d", q.Policy.Quantile, q.Policy.BufferOnForecast)
	switch q.Policy.ForecastMode {
	case prewarm.ForecastOff:
		forecast = "no forecast"
	case prewarm.ForecastShadow:
		forecast = "forecast in shadow"
	}
	windows := "no windows"
	if q.Calendar != nil {
		windows = "its windows"
	}
	return fmt.Sprintf("as written: buffer %d, %s, %s, by %v", q.Policy.BufferReplicas, forecast, windows, q.Actuation)
}

func (c *Comparison) forecast(q *Question, watch func(string, float64)) error {
	own := q.Policy.Quantile
	if own == 0 {
		own = 0.95
	}
	scored := time.Duration(q.Scenario.ScoreFrom) * Step
	asked := append([]float64(nil), calibrationQuantiles...)
	at := -1
	for i, v := range asked {
		if v == own {
			at = i
		}
	}
	if at < 0 {
		// An engine takes eight, rising: the own one takes the place of its nearest neighbour, of which 0.5 and 0.9 stay.
		at = nearestOf(asked, own, 0.5, 0.9)
		asked[at] = own
	}
	f, err := Forecast(q.Series, q.Zone, c.Horizon, asked, scored, func(done, total int) {
		watch("forecasts", 0.05+0.3*float64(done)/float64(total))
	})
	if err != nil {
		return err
	}
	c.Calibrate, c.Outlook = f.Calibration, f.Outlooks[at]
	for _, o := range f.Outlooks {
		if o.Quantile == 0.5 || o.Quantile == 0.9 || o.Quantile == own {
			c.Bands = append(c.Bands, o)
		}
	}
	return nil
}

// nearestOf is the index of the number nearest to v, other than those kept, such that putting v there leaves the order rising.
func nearestOf(sorted []float64, v float64, kept ...float64) int {
	best := -1
	for i, x := range sorted {
		stays := x == kept[0] || x == kept[1]
		rising := (i == 0 || sorted[i-1] < v) && (i == len(sorted)-1 || v < sorted[i+1])
		if !stays && rising && (best < 0 || abs(x-v) < abs(sorted[best]-v)) {
			best = i
		}
	}
	return best
}

func abs(x float64) float64 { return max(x, -x) }

// explain keeps a decision's reason where it is another decision than that of the minute before.
func (t *Timeline) explain(k int, d *prewarm.Decision) {
	m := k / stepsPerMinute
	if t.Reason == nil {
		t.Reason = make([]string, len(t.Ready))
	}
	said := said{kind: d.Kind, floor: d.FloorAtLeast, need: d.Need, forecast: d.Forecast}
	if said != t.said {
		t.said = said
		t.Reason[m] = d.Reason
	}
}

// said is what makes a decision worth a new sentence.
type said struct {
	kind                  prewarm.ReasonKind
	floor, need, forecast int
}
