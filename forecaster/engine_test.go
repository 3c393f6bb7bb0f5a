package forecaster

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func newEngine(t testing.TB, change func(*Options)) *Engine {
	t.Helper()
	o := DefaultOptions()
	if change != nil {
		change(&o)
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// wave is a daily cycle with noise.
func wave(r *rand.Rand, i int) float64 {
	return 100 * (1.5 + math.Sin(2*math.Pi*float64(i)/1440)) * math.Exp(0.05*r.NormFloat64())
}

func minute(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }

func feed(e *Engine, from, to int, value func(i int) Observation) {
	for i := from; i < to; i++ {
		e.Observe(minute(i), value(i))
	}
}

func top(t testing.TB, e *Engine, now time.Time) float64 {
	t.Helper()
	f, err := e.Forecast(now)
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.Max(10*time.Minute, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOptionsReportEveryProblem(t *testing.T) {
	o := Options{Step: time.Second, Leads: []time.Duration{0}, Quantiles: []float64{0.9, 0.5}, MaxGrowth: 0.5}
	err := o.Validate()
	for _, path := range []string{"step", "leads[0]", "quantiles[1]", "zone", "maxGrowth"} {
		if err == nil || !errorMentions(err, path) {
			t.Errorf("error does not name %s: %v", path, err)
		}
	}
	if err := DefaultOptions().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func errorMentions(err error, word string) bool {
	for i := 0; i+len(word) <= len(err.Error()); i++ {
		if err.Error()[i:i+len(word)] == word {
			return true
		}
	}
	return false
}

func TestNoForecastWithoutHistory(t *testing.T) {
	e := newEngine(t, nil)
	if _, err := e.Forecast(start); !errors.Is(err, ErrInsufficientHistory) {
		t.Errorf("error %v, want ErrInsufficientHistory", err)
	}
	e.Observe(start, NoData())
	e.Observe(minute(1), Observation{Kind: Measured, Value: math.NaN()})
	if _, err := e.Forecast(minute(2)); !errors.Is(err, ErrInsufficientHistory) {
		t.Errorf("missing bins were taken for history: error %v", err)
	}
	e.Observe(minute(2), Value(5))
	if v := top(t, e, minute(3)); v < 5 || v > 20 {
		t.Errorf("q0.95 after one value of 5 is %v", v)
	}
}

func TestForecastValue(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.Leads = []time.Duration{2 * time.Minute, 10 * time.Minute} })
	r := rand.New(rand.NewPCG(1, 1))
	feed(e, 0, 2000, func(i int) Observation { return Value(wave(r, i)) })
	f, err := e.Forecast(minute(2000).Add(20 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if !f.From.Equal(minute(2000)) || f.Age != 0 {
		t.Errorf("horizon from %v at age %v, want %v and 0", f.From, f.Age, minute(2000))
	}
	longer, _ := f.Row(10 * time.Minute)
	between, _ := f.Row(5 * time.Minute)
	if d := cmp.Diff(longer, between); d != "" {
		t.Errorf("a lead between two declared ones does not use the longer: %s", d)
	}
	if _, err := f.Row(11 * time.Minute); !errors.Is(err, ErrNotDeclared) {
		t.Errorf("lead beyond the longest: %v", err)
	}
	if _, err := f.Max(time.Minute, 0.8); !errors.Is(err, ErrNotDeclared) {
		t.Errorf("undeclared quantile: %v", err)
	}
	if rec, _ := f.Record(10 * time.Minute); rec.Labels < 100 || rec.Coverage[2] < 0.8 || rec.Skill == 0 {
		t.Errorf("record %+v says too little", rec)
	}
	same, _ := e.Forecast(minute(2000).Add(20 * time.Second))
	if f != same {
		t.Error("asking twice gave two answers")
	}
}

func TestGapWidens(t *testing.T) {
	e := newEngine(t, nil)
	r := rand.New(rand.NewPCG(2, 2))
	feed(e, 0, 3000, func(i int) Observation { return Value(100 + 5*r.NormFloat64()) })
	fresh, old := top(t, e, minute(3000)), top(t, e, minute(3060))
	if !(old > fresh) {
		t.Errorf("q0.95 after an hour without data is %v, not above %v", old, fresh)
	}
	f, _ := e.Forecast(minute(3060))
	if f.Age != time.Hour {
		t.Errorf("age %v, want 1h", f.Age)
	}
}

func TestMissingNeitherZeroNorTraining(t *testing.T) {
	a, b := newEngine(t, nil), newEngine(t, nil)
	r := rand.New(rand.NewPCG(3, 3))
	values := func(i int) Observation { return Value(200 + 10*r.NormFloat64()) }
	for i := range 2000 {
		o := values(i)
		a.Observe(minute(i), o)
		b.Observe(minute(i), o)
	}
	labels := a.horizon[0].labels
	feed(a, 2000, 2100, func(int) Observation { return NoData() }) // told
	b.Observe(minute(2100), Value(200))                            // not told
	a.Observe(minute(2100), Value(200))
	if a.horizon[0].labels != labels {
		t.Errorf("%d labels came out of missing bins", a.horizon[0].labels-labels)
	}
	fa, _ := a.Forecast(minute(2101))
	fb, _ := b.Forecast(minute(2101))
	if fa != fb {
		t.Error("bins said to be missing and bins left out are not the same")
	}
	if v := top(t, a, minute(2101)); v < 190 {
		t.Errorf("q0.95 fell to %v over missing bins", v)
	}
}

func TestAtLeastNeverTrainsDown(t *testing.T) {
	for seed := range uint64(20) {
		a := newEngine(t, nil)
		r := rand.New(rand.NewPCG(seed, 4))
		feed(a, 0, 2000, func(i int) Observation { return Value(200 + 10*r.NormFloat64()) })
		before := top(t, a, minute(2000))
		feed(a, 2000, 2120, func(int) Observation { return LowerBound(50) }) // saturated far below demand
		if after := top(t, a, minute(2120)); after < before*0.97 {
			t.Errorf("seed %d: q0.95 fell from %v to %v on lower bounds alone", seed, before, after)
		}
		feed(a, 2120, 2180, func(int) Observation { return LowerBound(600) })
		if after := top(t, a, minute(2180)); after < 600 {
			t.Errorf("seed %d: q0.95 is %v though demand was at least 600", seed, after)
		}
	}
}

func TestClockStepsDoNotCorrupt(t *testing.T) {
	for _, c := range []struct {
		name string
		jump time.Duration
	}{
		{"an hour ahead", time.Hour}, {"an hour back", -time.Hour}, {"a year ahead", 365 * 24 * time.Hour}, {"a year back", -365 * 24 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t, nil)
			r := rand.New(rand.NewPCG(5, 5))
			feed(e, 0, 3000, func(int) Observation { return Value(100 + 5*r.NormFloat64()) })
			before := top(t, e, minute(3000))
			taken := 0
			for i := 3000; i < 3030; i++ { // the clock is wrong for half an hour
				if e.Observe(minute(i).Add(c.jump), Value(100+5*r.NormFloat64())) {
					taken++
				}
			}
			for i := 3030; i < 3060; i++ {
				if e.Observe(minute(i), Value(100+5*r.NormFloat64())) {
					taken++
				}
			}
			if taken < 50 {
				t.Errorf("%d of 60 observations taken around the step", taken)
			}
			if after := top(t, e, minute(3060)); math.Abs(after-before) > 0.1*before {
				t.Errorf("q0.95 went from %v to %v", before, after)
			}
		})
	}
}

func TestRepeatsChangeNothing(t *testing.T) {
	e := newEngine(t, nil)
	feed(e, 0, 500, func(i int) Observation { return Value(float64(50 + i%7)) })
	before, _ := e.Forecast(minute(500))
	for range 20 {
		if e.Observe(minute(499), Value(1e9)) || e.Observe(minute(480), Value(0)) && false {
			t.Fatal("a repeat was taken")
		}
	}
	after, _ := e.Forecast(minute(500))
	if before != after {
		t.Error("a repeat changed the forecast")
	}
}

func TestSeasonFollowsTheWallClockAcrossDST(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Skip("no time zone data on this machine")
	}
	// Demand jumps from 10 to 100 at 09:00 local time; the clocks go forward on 8 March 2026 and back on 1 November.
	for _, change := range []time.Time{time.Date(2026, 3, 8, 0, 0, 0, 0, zone), time.Date(2026, 11, 1, 0, 0, 0, 0, zone)} {
		e := newEngine(t, func(o *Options) { o.Zone = zone })
		day := change.AddDate(0, 0, -15)
		for now := day; now.Before(change.AddDate(0, 0, 1)); now = now.Add(time.Minute) {
			local := now.In(zone)
			v := 10.0
			if local.Hour() >= 9 && local.Hour() < 17 {
				v = 100
			}
			if local.YearDay() == change.AddDate(0, 0, 0).YearDay() && local.Hour() == 8 && local.Minute() == 58 {
				if got := top(t, e, now); got < 80 {
					t.Errorf("%v: q0.95 two minutes before the daily jump is %v, want about 100", local, got)
				}
			}
			e.Observe(now, Value(v))
		}
	}
}

func TestGuards(t *testing.T) {
	e := newEngine(t, func(o *Options) { o.MaxGrowth = 1.5 })
	r := rand.New(rand.NewPCG(6, 6))
	peak := 0.0
	for i := range 4000 {
		v := wave(r, i)
		if r.Float64() < 0.01 {
			v *= 8
		}
		peak = max(peak, v)
		e.Observe(minute(i), Value(v))
		f, _ := e.Forecast(minute(i + 1))
		row, _ := f.Row(10 * time.Minute)
		for j, q := range row {
			if !(q >= 0) || q > 1.5*peak*1.0000001 || j > 0 && q < row[j-1] {
				t.Fatalf("minute %d: quantiles %v with a peak of %v", i, row, peak)
			}
		}
	}
}

func TestEventsAreInformation(t *testing.T) {
	e := newEngine(t, nil)
	r := rand.New(rand.NewPCG(7, 7))
	feed(e, 0, 3000, func(int) Observation { return Value(100 + 5*r.NormFloat64()) })
	before := top(t, e, minute(3000))
	if n := e.Announce([]Event{
		{From: minute(3005), Until: minute(3100), Demand: 390},
		{From: minute(3005), Until: minute(3005), Demand: 1},
		{From: minute(3005), Until: minute(3100), Demand: math.NaN()},
	}); n != 1 {
		t.Errorf("%d events taken, want the sound one", n)
	}
	if during := top(t, e, minute(3000)); !(during > before) {
		t.Errorf("an announced event left q0.95 at %v", during)
	}
	e.Announce(nil)
	if after := top(t, e, minute(3000)); after != before {
		t.Errorf("a withdrawn event left a trace: %v instead of %v", after, before)
	}
}

// An outside forecast has to earn its weight; a wrong or late one costs nothing.
func TestOutsideForecast(t *testing.T) {
	type offerer func(e *Engine, i int, future []float64)
	replay := func(before, after offerer) float64 {
		e := newEngine(t, nil)
		r := rand.New(rand.NewPCG(8, 8))
		y := make([]float64, 9000)
		x := 0.0
		for i := range y {
			x += -0.01*x + 0.05*r.NormFloat64()
			y[i] = 100 * math.Exp(x)
		}
		sum := 0.0
		for i := 0; i+10 < len(y); i++ {
			if before != nil {
				before(e, i, y[i:i+10])
			}
			e.Observe(minute(i-1), Value(y[max(0, i-1)]))
			if after != nil {
				after(e, i, y[i:i+10])
			}
			if i < 4000 {
				continue
			}
			m := 0.0
			for _, v := range y[i : i+10] {
				m = max(m, v)
			}
			f, _ := e.Forecast(minute(i))
			q, _ := f.Max(10*time.Minute, 0.9)
			sum += pinball(0.9, q, m)
		}
		return sum
	}
	maximum := func(y []float64) float64 {
		m := 0.0
		for _, v := range y {
			m = max(m, v)
		}
		return m
	}
	loss := func(offer offerer) float64 { return replay(offer, nil) }
	alone := loss(nil)
	perfect := loss(func(e *Engine, i int, future []float64) { e.Offer(minute(i), 10*time.Minute, maximum(future)) })
	wrong := loss(func(e *Engine, i int, _ []float64) { e.Offer(minute(i), 10*time.Minute, float64(i%3)*400) })
	late := loss(func(e *Engine, i int, future []float64) { e.Offer(minute(i-2), 10*time.Minute, 1e6) })
	t.Logf("loss alone %.0f, perfect %.0f, wrong %.0f, late %.0f", alone, perfect, wrong, late)
	if perfect > 0.5*alone {
		t.Errorf("a perfect outside forecast brought the loss from %.0f to %.0f only", alone, perfect)
	}
	if wrong > 1.05*alone {
		t.Errorf("a wrong outside forecast cost %.1f %%", 100*(wrong/alone-1))
	}
	// Whether the offer comes before or after the bin it follows makes no difference.
	if after := replay(nil, func(e *Engine, i int, future []float64) { e.Offer(minute(i), 10*time.Minute, maximum(future)) }); after != perfect {
		t.Errorf("offered after the bin was observed, the loss is %v, before it %v", after, perfect)
	}
	if late != alone {
		t.Errorf("a late outside forecast changed the loss from %v to %v", alone, late)
	}
}
