package controller

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/prewarm"
)

// identity is what makes a series of demand another one: what is measured, of which workload, and whose days it follows. What a
// replica carries, buffers and limits do not.
type identity struct {
	target v1alpha1.ScaleTargetRef
	metric *v1alpha1.DemandMetric
	query  string
	zone   string
	// history is how much of it is read back. It changes nothing of what the series is, but who changes it wants it read again.
	history time.Duration
}

func identityOf(hr *v1alpha1.Headroom) identity {
	return identity{hr.Spec.ScaleTargetRef, hr.Spec.Demand.Metric.DeepCopy(), hr.Spec.Demand.Query, zoneOf(hr), historyOf(hr)}
}

func (i *identity) same(hr *v1alpha1.Headroom) bool {
	return i.target == hr.Spec.ScaleTargetRef && i.query == hr.Spec.Demand.Query && i.zone == zoneOf(hr) && i.history == historyOf(hr) &&
		equality.Semantic.DeepEqual(i.metric, hr.Spec.Demand.Metric)
}

// zoneOf is the time zone of the demand's day and week: its own, or the calendar's.
func zoneOf(hr *v1alpha1.Headroom) string {
	if zone := hr.Spec.Forecast.TimeZone; zone != "" {
		return zone
	}
	if hr.Spec.Prewarm != nil {
		return hr.Spec.Prewarm.TimeZone
	}
	return ""
}

func historyOf(hr *v1alpha1.Headroom) time.Duration {
	if history := hr.Spec.Forecast.History.Duration; history >= step {
		return history
	}
	return 14 * 24 * time.Hour
}

func keyOf(hr *v1alpha1.Headroom) types.NamespacedName {
	return types.NamespacedName{Namespace: hr.Namespace, Name: hr.Name}
}

// series is one object's demand and its engine.
type series struct {
	identity identity
	zone     *time.Location
	asks     *v1alpha1.Headroom // what History is asked with: name and spec
	dropped  atomic.Bool        // the object is gone, or measures something else

	progress ratio // of the history, without the lock

	mu       sync.Mutex
	asked    askedLeads
	quantile float64
	engine   *forecaster.Engine // nil until there is something to forecast from
	known    int                // bins of known demand that it was fed

	looked   time.Time // the last look
	open     int64     // the bin that now is in, counted from 1970
	last     forecaster.Observation
	recent   []bin // the last complete bins that were looked at, oldest first, at most kept
	observed bool

	loaded  bool // the history was read, whatever was in it
	loading bool // in line, or being read
	failure error
	tries   int // that failed, one after the other
	retryAt time.Time
}

// bin is what was known of one bin.
type bin struct {
	at    int64
	value forecaster.Observation
}

func newSeries(hr *v1alpha1.Headroom, now time.Time) *series {
	s := &series{
		identity: identityOf(hr),
		asks:     &v1alpha1.Headroom{ObjectMeta: metav1.ObjectMeta{Namespace: hr.Namespace, Name: hr.Name}, Spec: *hr.Spec.DeepCopy()},
		open:     binOf(now), last: forecaster.NoData(),
	}
	zone, err := time.LoadLocation(s.identity.zone)
	if err != nil {
		zone = time.UTC // a zone that the calendar does not know either; it is what says so
	}
	s.zone = zone
	return s
}

// observe takes a look at demand, and gives the engine the bin that it completes. The lock is held.
func (s *series) observe(now time.Time, demand prewarm.Demand) {
	at := binOf(now)
	s.looked = now
	if at != s.open {
		if s.observed && at > s.open {
			s.complete(bin{s.open, s.last})
		}
		s.open, s.last = at, forecaster.NoData()
	}
	s.observed = true
	if o := observation(demand); o.Kind != forecaster.Missing {
		s.last = o
	}
}

func (s *series) complete(b bin) {
	if len(s.recent) > 0 && b.at <= s.recent[len(s.recent)-1].at {
		s.recent = s.recent[:0] // the clock was set back
	}
	if len(s.recent) == kept {
		copy(s.recent, s.recent[1:])
		s.recent = s.recent[:kept-1]
	}
	if s.recent == nil {
		s.recent = make([]bin, 0, kept)
	}
	if len(s.recent) > 0 && b.at > s.recent[len(s.recent)-1].at+behind {
		s.loaded = false // nobody has looked for a while: the history has what was missed
	}
	s.recent = append(s.recent, b)
	if s.engine != nil {
		s.feed(b)
	}
}

// feed gives the engine one bin.
func (s *series) feed(b bin) {
	if s.engine.Observe(time.Unix(b.at*int64(step/time.Second), 0), b.value) && b.value.Kind != forecaster.Missing {
		s.known++
	}
}

// due says that the history is to be read: for the first time, again after a failure, after a gap, or for an engine with other leads.
func (s *series) due(now time.Time) bool {
	if s.loading || len(s.asked) == 0 || now.Before(s.retryAt) {
		return false
	}
	return !s.loaded || s.engine == nil || !fits(s.engine, s.asked, s.quantile)
}

// observation is a look at demand as an engine takes it.
func observation(d prewarm.Demand) forecaster.Observation {
	switch {
	case !d.Known:
		return forecaster.NoData()
	case d.Saturated || d.Partial:
		return forecaster.LowerBound(d.Value)
	}
	return forecaster.Value(d.Value)
}

// binOf counts bins from 1970. The remainder of a time before that does not matter.
func binOf(t time.Time) int64 { return t.Unix() / int64(step/time.Second) }

// endOf is the moment at which a bin ends, and at which the history says its demand.
func endOf(at int64) time.Time { return time.Unix((at+1)*int64(step/time.Second), 0) }

func countKnown(bins []bin) int {
	n := 0
	for _, b := range bins {
		if b.value.Kind != forecaster.Missing {
			n++
		}
	}
	return n
}

// ratio is a number from 0 to 1 that one goroutine writes and any reads.
type ratio struct{ bits atomic.Uint64 }

func (r *ratio) store(x float64) { r.bits.Store(math.Float64bits(x)) }
func (r *ratio) load() float64   { return math.Float64frombits(r.bits.Load()) }

// oneLine fits an error into a status.
func oneLine(err error) string {
	const most = 200
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > most {
		text = fmt.Sprintf("%.*s…", most, text)
	}
	return text
}
