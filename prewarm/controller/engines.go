package controller

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/prewarm"
)

// History knows the demand of the past.
type History interface {
	// Past gives the demand at from, from+step, … up to to, oldest first. A moment without a point is one at which demand is
	// unknown. One call is one request to a backend, or a few.
	Past(ctx context.Context, hr *v1alpha1.Headroom, from, to time.Time, step time.Duration) ([]Point, error)
}

// Point is the demand at one moment of the past.
type Point struct {
	At    time.Time
	Value float64
	// Saturated says that the pods of then carried all they could, so that demand was Value or more.
	Saturated bool
}

// EnginesOptions are what Engines stand on. History, Now and Log are needed.
type EnginesOptions struct {
	History History
	// Now is the clock of decisions.
	Now func() time.Time
	Log *slog.Logger
	// QueriesPerSecond and Together bound what reading histories back asks of the backends, all objects taken together;
	// 0 for the defaults. They are in wall time.
	QueriesPerSecond float64
	Together         int
}

const (
	// step is the width of a bin. Demand is looked at every 15 s; a minute is what lead times are measured in, and two weeks of
	// it are read back in four requests.
	step = time.Minute
	// enough is how many bins of known demand a forecast takes. The built-in and the fleet's priors make less do, but a
	// forecast from a few minutes says little that the demand of now does not.
	enough = 60
	// kept is how many of the last bins are kept apart from the engine: what happens while a history is read is told to the
	// new engine from these.
	kept = 64
	// behind is how many bins may be lost before they are read back from the history: a replica that was not the leader for a
	// while has not looked.
	behind = 5
	// forgotten is the age of demand past which nothing is forecast from it.
	forgotten = 30 * time.Minute

	defaultQueriesPerSecond = 20
	defaultTogether         = 4
)

// Engines are the forecasters of all objects. They are safe for concurrent use. Run reads histories back.
//
// An object's engine is fed a bin a minute. The bin [t, t+1m) gets the last demand that was known in it, and of the history
// the demand at t+1m: both are the demand at the bin's end, and with a metric that is a rate over a minute both are its mean over
// the bin. (A mean of four looks would not be what a history of minutes can say.) A bin in which demand was never known is
// missing; one that ends with saturated replicas is a lower bound.
//
// The windows of the calendar are not announced to the engines: what a window asks for is replicas, with whatever margin its
// author had in mind, and not an expected demand; and the floor has it already.
type Engines struct {
	EnginesOptions
	limiter *rate.Limiter
	learn   chan struct{} // a slot for each history that is learned from: that takes a whole core

	mu     sync.Mutex
	series map[types.NamespacedName]*series
	queue  []*series
	wake   chan struct{}

	asking sync.Mutex // held while the prior is made; before the lock of any series
	asked  time.Time
	prior  atomic.Pointer[forecaster.Prior] // what the fleet knows; nil for the built-in one
}

// NewEngines makes engines for no object yet.
func NewEngines(o EnginesOptions) *Engines {
	if o.QueriesPerSecond <= 0 {
		o.QueriesPerSecond = defaultQueriesPerSecond
	}
	if o.Together <= 0 {
		o.Together = defaultTogether
	}
	return &Engines{
		EnginesOptions: o, limiter: rate.NewLimiter(rate.Limit(o.QueriesPerSecond), o.Together), learn: make(chan struct{}, learners()),
		series: map[types.NamespacedName]*series{}, wake: make(chan struct{}, 1),
	}
}

// Outlook is what is known of demand to come.
type Outlook struct {
	// Forecast is what prewarm.Decide takes; when it is not known, with the reason.
	Forecast prewarm.Forecast
	// Settled says that nothing more is to come from the history: it is loaded, or there is none, or forecasting is off, or
	// the object has been watched for long enough without it.
	Settled bool
	// Progress is how much of the history has been read, 0 to 1.
	Progress float64
	// At is where the horizon begins: the end of the last complete bin.
	At time.Time
	// Quantiles of the maximum over the horizon, rising: 0.5, 0.9 and the one asked for.
	Quantiles []Quantile
	// Labels is how many outcomes stand behind Skill and Coverage; both mean nothing when it is 0.
	Labels int
	// Coverage is how often demand stayed within the quantile asked for, lately.
	Coverage float64
	// Fallback says that "as now, give or take" has done better lately and is what the forecast is.
	Fallback bool
}

// Quantile is one quantile of a forecast.
type Quantile struct {
	Level float64
	Value float64
}

// Observe takes the demand of now. It is to be called at every look at an object, unknown demand included.
func (e *Engines) Observe(hr *v1alpha1.Headroom, now time.Time, demand prewarm.Demand) {
	if hr.Spec.Forecast.Mode == v1alpha1.ForecastOff {
		e.Forget(keyOf(hr)) // 130 KiB for nobody
		return
	}
	s := e.find(hr, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe(now, demand)
	if s.engine == nil && s.tries > 0 && !s.loading && countKnown(s.recent) >= enough {
		e.beginWithout(s) // the history cannot be read; an hour of looking is enough to begin
	}
	if s.due(now) {
		e.enqueue(s)
	}
}

// Forecast is the outlook on demand over the lead time, and its quantile. It follows Observe.
func (e *Engines) Forecast(hr *v1alpha1.Headroom, now time.Time, lead time.Duration, quantile float64) Outlook {
	if hr.Spec.Forecast.Mode == v1alpha1.ForecastOff {
		return Outlook{Forecast: prewarm.Forecast{Quantile: quantile, Reason: "forecast.mode is Off"}, Settled: true}
	}
	s := e.find(hr, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.note(lead, now)
	s.quantile = quantile
	if s.due(now) {
		e.enqueue(s)
	}
	return s.outlook(now, lead, quantile)
}

// Forget drops what is known of an object.
func (e *Engines) Forget(key types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.series[key]; s != nil {
		s.dropped.Store(true)
		delete(e.series, key)
	}
}

// Counts are how many objects have their history, are waiting for it, and could not get it so far.
func (e *Engines) Counts() (loaded, waiting, failed int) {
	for _, s := range e.all() {
		s.mu.Lock()
		switch {
		case s.loaded:
			loaded++
		case s.failure != nil:
			failed++
		default:
			waiting++
		}
		s.mu.Unlock()
	}
	return loaded, waiting, failed
}

func (e *Engines) all() []*series {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*series, 0, len(e.series))
	for _, s := range e.series {
		all = append(all, s)
	}
	return all
}

// find is the object's series. When the object measures something else than before, that is another series.
func (e *Engines) find(hr *v1alpha1.Headroom, now time.Time) *series {
	key := keyOf(hr)
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.series[key]
	if s == nil || !s.identity.same(hr) {
		if s != nil {
			s.dropped.Store(true)
		}
		s = newSeries(hr, now)
		e.series[key] = s
	}
	return s
}

// enqueue puts a series in line to have its history read; s.mu is held.
func (e *Engines) enqueue(s *series) {
	s.loading = true
	e.mu.Lock()
	e.queue = append(e.queue, s)
	e.mu.Unlock()
	e.signal()
}

func (e *Engines) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// outlook is asked with the lock held.
func (s *series) outlook(now time.Time, lead time.Duration, quantile float64) Outlook {
	o := Outlook{
		Forecast: prewarm.Forecast{Quantile: quantile, Horizon: lead},
		Settled:  s.loaded || s.engine != nil, Progress: s.progress.load(),
	}
	if o.Forecast.Reason = s.whyNot(); o.Forecast.Reason != "" {
		return o
	}
	f, err := s.engine.Forecast(now)
	if err != nil {
		o.Forecast.Reason = err.Error()
		return o
	}
	if f.Age > forgotten {
		o.Forecast.Reason = fmt.Sprintf("demand was last known %s ago", f.Age.Round(time.Minute))
		return o
	}
	// While an engine for a longer lead is being made, the longest there is says at least something.
	horizon := f.Leads()[len(f.Leads())-1]
	for _, l := range slices.Backward(f.Leads()) {
		if l >= lead {
			horizon = l
		}
	}
	row, _ := f.Row(horizon)       // the horizon is one of its leads
	record, _ := f.Record(horizon) // the same
	at := nearest(f.Quantiles(), quantile)
	o.At = f.From
	for j, q := range f.Quantiles() {
		o.Quantiles = append(o.Quantiles, Quantile{q, row[j]})
	}
	o.Forecast.Value, o.Forecast.Known, o.Forecast.Horizon, o.Forecast.Quantile = row[at], true, horizon, f.Quantiles()[at]
	o.Forecast.Skill = record.Skill
	o.Labels, o.Coverage, o.Fallback = record.Labels, record.Coverage[at], record.Fallback
	return o
}

// whyNot is the reason that there is no forecast, as a person is told; "" when there is one.
func (s *series) whyNot() string {
	switch {
	case s.engine != nil && s.known >= enough:
		return ""
	case s.engine != nil && s.failure != nil:
		return fmt.Sprintf("%d minutes of demand known so far, %d needed, and the history could not be read: %s", s.known, enough, oneLine(s.failure))
	case s.engine != nil:
		return fmt.Sprintf("too little history: demand known in %d minutes, %d needed", s.known, enough)
	case s.failure != nil:
		return "the history could not be read, and is tried again: " + oneLine(s.failure)
	}
	return fmt.Sprintf("the history is being read: %.0f%%", 100*s.progress.load())
}

// quantilesWith are what an engine is made for: the one asked for, and two for the band that people are shown.
func quantilesWith(asked float64) []float64 {
	quantiles := []float64{0.5, 0.9}
	if math.Abs(quantiles[nearest(quantiles, asked)]-asked) > 1e-6 {
		quantiles = append(quantiles, asked)
	}
	slices.Sort(quantiles)
	return quantiles
}

func nearest(quantiles []float64, q float64) int {
	best := 0
	for j := range quantiles {
		if math.Abs(quantiles[j]-q) < math.Abs(quantiles[best]-q) {
			best = j
		}
	}
	return best
}

// fits says that an engine answers for the leads and the quantile that are asked for.
func fits(engine *forecaster.Engine, asked askedLeads, quantile float64) bool {
	o := engine.Options()
	if math.Abs(o.Quantiles[nearest(o.Quantiles, quantile)]-quantile) > 1e-6 {
		return false
	}
	return !slices.ContainsFunc(asked.latest(), func(lead time.Duration) bool { return !covers(o.Leads, lead) })
}
