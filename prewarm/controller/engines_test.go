package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/prewarm"
)

const (
	lead     = 5 * time.Minute
	pastSpan = 20 * time.Hour
)

// wave is a demand that is a function of time: a day's rise and fall, with something on top.
func wave(t time.Time) float64 {
	minutes := float64(t.Unix() / 60)
	return 100 + 60*math.Sin(2*math.Pi*minutes/1440) + 10*math.Sin(minutes*0.7) + 5*math.Cos(minutes*1.9)
}

// pastDemand is a History of the wave.
type pastDemand struct {
	mu        sync.Mutex
	takes     time.Duration           // how long a request takes
	first     time.Duration           // how long the first one takes more
	err       error                   // what it ends in
	most      int                     // points that one request may have; 0: any number
	absent    func(at time.Time) bool // moments without demand
	saturated func(at time.Time) bool
	extra     int                         // points that are sent and were not asked for
	asked     []string                    // what was asked for
	begins    time.Time                   // before it there is nothing
	value     func(at time.Time) float64  // nil: wave
	during    func(hr *v1alpha1.Headroom) // runs inside a request
}

func (p *pastDemand) Past(ctx context.Context, hr *v1alpha1.Headroom, from, to time.Time, every time.Duration) ([]Point, error) {
	p.mu.Lock()
	takes, err, value, during := p.takes+p.first, p.err, p.value, p.during
	p.first = 0
	n := int(to.Sub(from)/every) + 1
	p.asked = append(p.asked, fmt.Sprintf("%s %d", hr.Name, n))
	if p.most > 0 && n > p.most {
		err = errors.New("too many points")
	}
	p.mu.Unlock()
	if value == nil {
		value = wave
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if during != nil {
		during(hr)
	}
	if err != nil {
		return nil, err
	}
	var points []Point
	for at := from; !at.After(to); at = at.Add(every) {
		if at.Before(p.begins) || p.absent != nil && p.absent(at) {
			continue
		}
		points = append(points, Point{At: at, Value: value(at), Saturated: p.saturated != nil && p.saturated(at)})
	}
	for i := range p.extra {
		points = append(points, Point{At: to.Add(time.Duration(i+1) * every), Value: 1e6})
	}
	return points, nil
}

func (p *pastDemand) set(change func(p *pastDemand)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func headroom(name string) *v1alpha1.Headroom {
	hr := &v1alpha1.Headroom{ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: name}}
	hr.Spec.ScaleTargetRef = v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: name}
	hr.Spec.Demand.Metric = &v1alpha1.DemandMetric{Name: "requests_offered_per_second", Type: v1alpha1.PodsDemand}
	hr.Spec.Forecast.History.Duration = pastSpan
	return hr
}

func known(v float64) prewarm.Demand { return prewarm.Demand{Value: v, Known: true} }

// watching runs engines over a past, inside a bubble of false time.
type watching struct {
	t *testing.T
	*Engines
	past *pastDemand
}

func watch(t *testing.T, past *pastDemand) *watching {
	e := NewEngines(EnginesOptions{History: past, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return &watching{t: t, Engines: e, past: past}
}

// look is one look every 15 s, as the controller does, for a span of time; it returns the last outlook.
func (w *watching) look(hr *v1alpha1.Headroom, span time.Duration, demand func(at time.Time) prewarm.Demand) Outlook {
	var o Outlook
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(15 * time.Second) {
		w.Observe(hr, time.Now(), demand(time.Now()))
		o = w.Forecast(hr, time.Now(), lead, 0.95)
	}
	synctest.Wait()
	return o
}

func measured(at time.Time) prewarm.Demand { return known(wave(at)) }

// oracleOf is an engine that is told everything itself, a bin at a time: slow, and obvious.
func oracleOf(t *testing.T, from, to time.Time, leads []time.Duration, at func(start time.Time) forecaster.Observation) forecaster.Forecast {
	o := forecaster.DefaultOptions()
	o.Leads, o.Quantiles = leads, []float64{0.5, 0.9, 0.95}
	e, err := forecaster.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for start := from.Truncate(step); start.Add(step).Compare(to) <= 0; start = start.Add(step) {
		e.Observe(start, at(start))
	}
	f, err := e.Forecast(to)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func row(t *testing.T, f forecaster.Forecast, lead time.Duration) []Quantile {
	values, err := f.Row(lead)
	if err != nil {
		t.Fatal(err)
	}
	var quantiles []Quantile
	for i, q := range f.Quantiles() {
		quantiles = append(quantiles, Quantile{q, values[i]})
	}
	return quantiles
}

// TestHistoryAndLooksAreOneSeries compares with an engine that was told every bin: what the history says of a bin's end until
// it was read, what was looked at last in the bin afterwards.
func TestHistoryAndLooksAreOneSeries(t *testing.T) {
	for _, test := range []struct {
		name string
		past *pastDemand
		look func(at time.Time) prewarm.Demand
		want func(began, start time.Time) forecaster.Observation // nil: the wave
	}{
		{name: "at once"},
		{name: "a history that takes a quarter of an hour to read", past: &pastDemand{first: 15 * time.Minute}},
		{name: "a history that takes longer than looks are kept", past: &pastDemand{first: 100 * time.Minute}},
		{name: "holes stay holes", past: &pastDemand{absent: hole}, want: func(began, start time.Time) forecaster.Observation {
			if end := start.Add(step); !end.After(began) && hole(end) {
				return forecaster.NoData()
			}
			return forecaster.Value(lastLook(began, start))
		}},
		{name: "saturated replicas give a lower bound", look: func(at time.Time) prewarm.Demand {
			d := measured(at)
			d.Saturated = at.Minute()%10 < 5
			return d
		}, want: func(began, start time.Time) forecaster.Observation {
			if start.Add(step).After(began) && start.Minute()%10 < 5 {
				return forecaster.LowerBound(lastLook(began, start))
			}
			return forecaster.Value(lastLook(began, start))
		}},
		{name: "unknown demand is a missing bin only when no look saw it", look: func(at time.Time) prewarm.Demand {
			if at.Minute()%10 == 3 || at.Second() >= 30 {
				return prewarm.Demand{Reason: "no sample"}
			}
			return measured(at)
		}, want: func(began, start time.Time) forecaster.Observation {
			if !start.Add(step).After(began) {
				return forecaster.Value(wave(start.Add(step)))
			}
			if start.Minute()%10 == 3 {
				return forecaster.NoData()
			}
			return forecaster.Value(wave(start.Add(15 * time.Second)))
		}},
		{name: "so they do in the past", past: &pastDemand{saturated: hole}, want: func(began, start time.Time) forecaster.Observation {
			if end := start.Add(step); !end.After(began) && hole(end) {
				return forecaster.LowerBound(wave(end))
			}
			return forecaster.Value(lastLook(began, start))
		}},
		{name: "points that nobody asked for are left out", past: &pastDemand{extra: 100_000}},
		{name: "a backend that gives half a day at a time", past: &pastDemand{most: 720}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				past := test.past
				if past == nil {
					past = &pastDemand{}
				}
				long := past.first > kept*time.Minute
				w := watch(t, past)
				look := test.look
				if look == nil {
					look = measured
				}
				hr := headroom("llama")
				o := w.look(hr, 4*time.Hour, look)
				if !o.Settled || !o.Forecast.Known {
					t.Fatalf("no forecast after four hours: %+v", o)
				}
				want := test.want
				read := began // until when the history counts: the end of the last bin before what was looked at
				if want == nil {
					want = func(_, start time.Time) forecaster.Observation { return forecaster.Value(lastLook(read, start)) }
					if long {
						read = time.Time{} // its remainders were read from the history, at other moments; compared below
					}
				}
				at := time.Now().Add(-15 * time.Second)
				f := oracleOf(t, began.Add(-pastSpan), at, []time.Duration{6 * time.Minute}, func(start time.Time) forecaster.Observation { return want(began, start) })
				if read.IsZero() {
					for i, q := range row(t, f, lead) {
						if got := o.Quantiles[i].Value; math.Abs(got-q.Value) > 0.05*q.Value {
							t.Errorf("quantile %v is %v, want about %v", q.Level, got, q.Value)
						}
					}
					return
				}
				if diff := cmp.Diff(row(t, f, lead), o.Quantiles); diff != "" {
					t.Errorf("forecast (-told every bin +engines):\n%s", diff)
				}
				if o.Forecast.Horizon != 6*time.Minute || o.Forecast.Quantile != 0.95 || o.Forecast.Value != o.Quantiles[2].Value || !o.At.Equal(f.From) {
					t.Errorf("%+v", o)
				}
			})
		})
	}
}

func hole(at time.Time) bool { return at.Hour() == 7 }

// lastLook is the last demand seen in a bin: at its end before began, 15 s earlier from there on.
func lastLook(began, start time.Time) float64 {
	if end := start.Add(step); !end.After(began) {
		return wave(end)
	}
	return wave(start.Add(45 * time.Second))
}

func TestTroubleWithTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := &pastDemand{err: errors.New("connection refused")}
		w := watch(t, past)
		hr := headroom("llama")
		o := w.look(hr, 10*time.Minute, measured)
		if o.Settled || o.Forecast.Known || !strings.Contains(o.Forecast.Reason, "connection refused") {
			t.Fatalf("%+v", o)
		}
		tries := len(past.asked)
		if tries < 4 || tries > 40 { // with halves
			t.Errorf("asked %d times in ten minutes", tries)
		}
		o = w.look(hr, time.Hour, measured)
		if !o.Settled || !o.Forecast.Known {
			t.Fatalf("an hour of looks is not enough to begin: %+v", o)
		}
		past.set(func(p *pastDemand) { p.err = nil })
		o = w.look(hr, time.Hour, measured)
		if loaded, waiting, failed := w.Counts(); loaded != 1 || waiting != 0 || failed != 0 {
			t.Errorf("loaded %d, waiting %d, failed %d", loaded, waiting, failed)
		}
		if o.Labels < 1000 {
			t.Errorf("%d labels: the history is not in the engine", o.Labels)
		}
	})
}

func TestNoHistoryIsNoForecast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, &pastDemand{begins: time.Now().Add(1000 * time.Hour)})
		hr := headroom("new")
		o := w.look(hr, 30*time.Minute, measured)
		if !o.Settled || o.Forecast.Known || !strings.Contains(o.Forecast.Reason, "too little history") {
			t.Fatalf("%+v", o)
		}
		if o = w.look(hr, 40*time.Minute, measured); !o.Forecast.Known {
			t.Fatalf("%+v", o)
		}
		// Demand that is gone is not forecast from for long.
		gone := func(time.Time) prewarm.Demand { return prewarm.Demand{Reason: "no sample"} }
		if o = w.look(hr, 20*time.Minute, gone); !o.Forecast.Known {
			t.Errorf("%+v", o)
		}
		if o = w.look(hr, 20*time.Minute, gone); o.Forecast.Known || !strings.Contains(o.Forecast.Reason, "last known") {
			t.Errorf("%+v", o)
		}
	})
}

func TestForecastWhileLoadingIsAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, &pastDemand{takes: time.Hour})
		o := w.look(headroom("llama"), 30*time.Minute, measured)
		if o.Settled || o.Forecast.Known || o.Forecast.Reason != "the history is being read: 0%" {
			t.Errorf("%+v", o)
		}
	})
}

func TestALeadTimeThatLeavesMakesANewEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := &pastDemand{}
		w := watch(t, past)
		hr := headroom("llama")
		w.look(hr, 10*time.Minute, measured)
		first := len(past.asked)
		ask := func(lead time.Duration) Outlook {
			time.Sleep(15 * time.Second)
			w.Observe(hr, time.Now(), measured(time.Now()))
			return w.Forecast(hr, time.Now(), lead, 0.95)
		}
		for range 10 { // to and fro about a rung
			ask(5 * time.Minute)
			ask(3 * time.Minute)
		}
		synctest.Wait()
		if len(past.asked) != first {
			t.Errorf("a lead time that swings reads the history again: %v", past.asked)
		}
		o := ask(25 * time.Minute)
		if !o.Forecast.Known || o.Forecast.Horizon != 6*time.Minute {
			t.Errorf("while the new engine is made the old one should answer: %+v", o)
		}
		synctest.Wait()
		o = ask(25 * time.Minute)
		if o.Forecast.Horizon != 30*time.Minute || o.Labels < 100 {
			t.Errorf("%+v", o)
		}
		if short := ask(5 * time.Minute); short.Forecast.Horizon != 6*time.Minute {
			t.Errorf("the lead time that is still asked for is lost: %+v", short)
		}
	})
}

func TestAnotherMetricIsAnotherSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := &pastDemand{takes: 10 * time.Second}
		w := watch(t, past)
		hr := headroom("llama")
		w.look(hr, time.Minute, measured)
		other := hr.DeepCopy()
		other.Spec.Demand.Metric.Name = "requests_running"
		past.set(func(p *pastDemand) { p.value = func(time.Time) float64 { return 7 } })
		w.Observe(other, time.Now(), known(7))
		if o := w.Forecast(other, time.Now(), lead, 0.95); o.Forecast.Known || o.Settled {
			t.Errorf("%+v", o)
		}
		o := w.look(other, 10*time.Minute, func(time.Time) prewarm.Demand { return known(7) })
		if !o.Forecast.Known || o.Forecast.Value < 6.9 || o.Forecast.Value > 8 {
			t.Errorf("%+v", o)
		}
		// What a replica carries changes nothing.
		same := other.DeepCopy()
		same.Spec.Buffer.Replicas = nil
		before := len(past.asked)
		w.look(same, time.Minute, func(time.Time) prewarm.Demand { return known(7) })
		if len(past.asked) != before {
			t.Error("a change of the buffer reads the history again")
		}
		w.Forget(keyOf(same))
		if loaded, waiting, failed := w.Counts(); loaded+waiting+failed != 0 {
			t.Error("not forgotten")
		}
	})
}

func TestForgottenWhileItsHistoryIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := &pastDemand{takes: time.Minute}
		w := watch(t, past)
		hr := headroom("llama")
		past.during = func(hr *v1alpha1.Headroom) { w.Forget(keyOf(hr)) }
		w.Observe(hr, time.Now(), known(1))
		w.Forecast(hr, time.Now(), lead, 0.95)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(past.asked) != 1 {
			t.Errorf("a history that nobody wants is read on: %v", past.asked)
		}
	})
}

func TestTimeAsAnotherReplicaIsReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, &pastDemand{})
		hr := headroom("llama")
		w.look(hr, time.Hour, measured)
		time.Sleep(2 * time.Hour) // somebody else leads
		back := time.Now()
		o := w.look(hr, time.Hour, measured)
		f := oracleOf(t, back.Add(2*time.Minute-pastSpan), time.Now().Add(-15*time.Second), []time.Duration{6 * time.Minute}, func(start time.Time) forecaster.Observation {
			return forecaster.Value(lastLook(back.Add(2*time.Minute), start))
		})
		for i, q := range row(t, f, lead) {
			if got := o.Quantiles[i].Value; math.Abs(got-q.Value) > 0.02*q.Value {
				t.Errorf("quantile %v is %v, want about %v", q.Level, got, q.Value)
			}
		}
	})
}

func TestOffKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := &pastDemand{}
		w := watch(t, past)
		hr := headroom("llama")
		w.look(hr, 5*time.Minute, measured)
		hr.Spec.Forecast.Mode = v1alpha1.ForecastOff
		o := w.look(hr, time.Minute, measured)
		if !o.Settled || o.Forecast.Known || len(w.all()) != 0 {
			t.Errorf("%+v, %d series", o, len(w.all()))
		}
	})
}

func TestManyObjectsAtOnce(t *testing.T) {
	e := NewEngines(EnginesOptions{History: &pastDemand{}, Now: time.Now, Log: slog.New(slog.DiscardHandler), QueriesPerSecond: 1e6})
	ctx, stop := context.WithCancel(t.Context())
	running := make(chan struct{})
	go func() { defer close(running); _ = e.Run(ctx) }()
	var work sync.WaitGroup
	for i := range 16 {
		work.Go(func() {
			hr := headroom(fmt.Sprint("llama-", i))
			hr.Spec.Forecast.History.Duration = 3 * time.Hour
			for n := 0; n < 20 || !e.Forecast(hr, time.Now(), lead, 0.95).Settled; n++ {
				e.Observe(hr, time.Now(), known(1))
				e.Forecast(hr, time.Now(), time.Duration(1+n%3*7)*time.Minute, 0.95)
				e.Counts()
			}
			e.Forget(keyOf(hr))
		})
	}
	work.Wait()
	stop()
	<-running
	if n := len(e.all()); n != 0 {
		t.Errorf("%d series are left", n)
	}
}

func TestEnginesThatNobodyLooksAtAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, &pastDemand{})
		w.look(headroom("llama"), 10*time.Minute, measured)
		time.Sleep(idleAfter / 2)
		if n := len(w.all()); n != 1 {
			t.Fatalf("%d series", n)
		}
		time.Sleep(idleAfter)
		if n := len(w.all()); n != 0 {
			t.Errorf("%d series are kept for a replica that decides no longer", n)
		}
	})
}

// TestANewObjectLearnsFromTheFleet: what is wide for the built-in prior is narrow for a fleet whose demand stands still.
func TestANewObjectLearnsFromTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		past := &pastDemand{}
		w := watch(t, past)
		for i := range manyEnough {
			w.look(headroom(fmt.Sprint("old-", i)), time.Minute, measured)
		}
		if w.prior.Load() != nil {
			t.Error("there is a prior before anybody needs it")
		}
		past.set(func(p *pastDemand) { p.begins = time.Now().Add(-5 * time.Hour) })
		w.look(headroom("new"), time.Minute, measured)
		prior := w.prior.Load()
		if prior == nil {
			t.Fatal("the fleet has no prior")
		}
		var engines []*forecaster.Engine
		for _, s := range w.all() {
			if s.known >= newToTheFleet {
				engines = append(engines, s.engine)
			}
		}
		if cmp.Equal(prior.Table(), forecaster.BuiltinPrior().Table()) || len(engines) != manyEnough {
			t.Errorf("the prior of %d engines is the built-in one", len(engines))
		}
	})
}

func TestLeads(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, test := range []struct {
		name string
		asks []time.Duration
		want []time.Duration
	}{
		{"one", []time.Duration{4 * time.Minute}, []time.Duration{4 * time.Minute}},
		{"rounded up", []time.Duration{4*time.Minute + time.Second}, []time.Duration{6 * time.Minute}},
		{"neighbours share", []time.Duration{4 * time.Minute, 6 * time.Minute}, []time.Duration{6 * time.Minute}},
		{"with a new node", []time.Duration{4 * time.Minute, 14 * time.Minute}, []time.Duration{4 * time.Minute, 15 * time.Minute}},
		{"the latest two", []time.Duration{time.Minute, 4 * time.Minute, 14 * time.Minute}, []time.Duration{4 * time.Minute, 15 * time.Minute}},
		{"below and beyond", []time.Duration{time.Second, 9 * time.Hour}, []time.Duration{time.Minute, 4 * time.Hour}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked askedLeads
			for _, l := range test.asks {
				asked.note(l, now)
			}
			if diff := cmp.Diff(test.want, asked.declare()); diff != "" {
				t.Error(diff)
			}
			o := forecaster.DefaultOptions()
			o.Leads, o.Quantiles = asked.declare(), quantilesWith(0.95)
			e, err := forecaster.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if !fits(e, asked, 0.95) || fits(e, asked, 0.8) {
				t.Error("an engine does not fit what it was made for")
			}
		})
	}
}
