package dcgm

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return noon.Add(time.Duration(seconds * float64(time.Second)))
}

// sm is an exact reading of SM activity over the second before.
func sm(slice Slice, value, second float64) Reading {
	return Reading{Slice: slice, Signal: SMActive, Value: value, At: at(second), Window: time.Second, Source: GPM, Quality: Exact}
}

func TestRatio(t *testing.T) {
	for _, test := range []struct {
		measured, want float64
		clamped        bool
		why            Absence
	}{
		{0, 0, false, 0}, {0.5, 0.5, false, 0}, {1, 1, false, 0}, {1.03, 1, true, 0}, {1.06, 0, false, OutOfRange}, {-0.001, 0, false, OutOfRange},
		{math.NaN(), 0, false, NotANumber}, {math.Inf(1), 0, false, OutOfRange}, {math.Inf(-1), 0, false, OutOfRange},
	} {
		value, clamped, why := Ratio(test.measured, MaxOvershoot)
		if value != test.want || clamped != test.clamped || why != test.why {
			t.Errorf("%v is %v, clamped %v, %s", test.measured, value, clamped, why)
		}
	}
}

func TestEnumsPrintAndReadBack(t *testing.T) {
	for _, s := range Signals {
		text, err := s.MarshalText()
		var back Signal
		if err != nil || back.UnmarshalText(text) != nil || back != s || s.String() != string(text) {
			t.Errorf("%d is written %q and read as %d", int(s), text, back)
		}
	}
	for a := NotSupported; a <= Unmatched; a++ { // the last of the list and the last of the words are one
		var back Absence
		if text, err := a.MarshalText(); err != nil || back.UnmarshalText(text) != nil || back != a {
			t.Errorf("%d: %q, %v", int(a), text, err)
		}
	}
	if _, err := (Unmatched + 1).MarshalText(); err == nil {
		t.Error("an absence that is none is written")
	}
	if err := new(Quality).UnmarshalText([]byte("perfect")); err == nil {
		t.Error("a quality that is none is read")
	}
}

func TestAReadingGoesStale(t *testing.T) {
	r := sm(Whole(gpuA), 0.5, 0)
	if got := r.Fresh(at(3), time.Second); !got.Valid() {
		t.Error("stale after three intervals")
	}
	if got := r.Fresh(at(3.1), time.Second); got.Valid() || got.Absence != Stale || got.Value != 0 {
		t.Errorf("after more than three intervals: %+v", got)
	}
}

func TestTheBetterSourceIsShownUntilItIsStale(t *testing.T) {
	slice := Compute(gpuA, 3, 0)
	exact := func(second float64) Reading { return sm(slice, 0.9, second) }
	aggregate := func(second float64) Reading {
		r := sm(slice, 0.3, second)
		r.Source, r.Quality = DCGMExporter, Aggregate
		return r
	}
	l := NewLadder(3 * time.Second)
	for _, step := range []struct {
		name   string
		offer  []Reading
		second float64
		want   string
	}{
		{"nothing yet", nil, 0, "not supported"},
		{"only the worse", []Reading{aggregate(1)}, 1, "aggregate"},
		{"the better comes", []Reading{exact(2), aggregate(2)}, 2, "exact"},
		{"the worse is newer", []Reading{aggregate(4)}, 4, "exact"},
		{"a failed call takes nothing away", []Reading{exact(4).Without(Failed)}, 4.5, "exact"},
		{"the better has been gone for its staleness", []Reading{aggregate(5)}, 5.5, "aggregate"},
		{"the better is back", []Reading{exact(6)}, 6, "exact"},
		{"an old reading is no news", []Reading{aggregate(1)}, 6, "exact"},
		{"the GPU is lost", []Reading{exact(7).Without(GPULost)}, 7, "gpu lost"},
		{"and back", []Reading{exact(8)}, 8, "exact"},
		{"everything is old", nil, 20, "stale"},
	} {
		for _, r := range step.offer {
			l.Offer(r)
		}
		got := l.Best(slice, SMActive, at(step.second))
		is := got.Quality.String()
		if !got.Valid() {
			is = got.Absence.String()
		}
		if is != step.want || !got.Valid() && got.Value != 0 {
			t.Errorf("%s: %s, want %s", step.name, is, step.want)
		}
	}
	next := exact(21)
	next.Generation = 2
	l.Offer(next)
	l.Offer(exact(22)) // of the slice that had these ids before
	if got := l.Best(slice, SMActive, at(22)); !got.At.Equal(at(21)) {
		t.Errorf("shows a reading of %s", got.At)
	}
	l.Forget(func(Slice) bool { return false })
	if got := l.Best(slice, SMActive, at(22)); got.Absence != NotSupported {
		t.Errorf("remembers %+v", got)
	}
}

// slowMean is Window.Mean by looking at every millisecond.
func slowMean(readings []Reading, span time.Duration, now time.Time) (mean, covered float64) {
	sum, n, total := 0.0, 0, int(span/time.Millisecond)
	for ms := range total {
		moment := now.Add(-span + time.Duration(ms)*time.Millisecond + time.Millisecond/2)
		for i, r := range readings {
			afterTheOneBefore := i == 0 || !moment.Before(readings[i-1].At)
			if afterTheOneBefore && moment.Before(r.At) && !moment.Before(r.At.Add(-r.Window)) {
				sum += r.Value
				n++
			}
		}
	}
	if n == 0 {
		return 0, 0
	}
	return sum / float64(n), float64(n) / float64(total)
}

func TestWindowAgainstASlowOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	absent := 0
	for range 200 {
		span := time.Duration(2+random.IntN(10)) * time.Second
		w := NewWindow(span)
		var kept []Reading
		second := 0.0
		for range 20 {
			second += 0.5 + float64(random.IntN(3000))/1000
			r := sm(Whole(gpuA), random.Float64(), second)
			r.Window = time.Duration(200+random.IntN(2500)) * time.Millisecond
			w.Add(r)
			kept = append(kept, r)
		}
		now := at(second + float64(random.IntN(2000))/1000)
		mean, covered := slowMean(kept, span, now)
		got := w.Mean(now)
		if math.Abs(covered-MinCoverage) < 0.01 {
			continue // too close to call
		}
		if got.Valid() != (covered >= MinCoverage) {
			t.Fatalf("span %s, covered %.2f: %+v", span, covered, got)
		}
		if !got.Valid() {
			absent++
			continue
		}
		if math.Abs(got.Value-mean) > 0.002 {
			t.Fatalf("span %s: mean %v, slowly %v", span, got.Value, mean)
		}
		if most := w.Max(now); most.Value < got.Value {
			t.Fatalf("maximum %v below the mean %v", most.Value, got.Value)
		}
	}
	if absent == 0 || absent > 150 {
		t.Errorf("%d of 200 without coverage: the comparison shows little", absent)
	}
}

func TestAWindowForgetsWhatIsAnotherThing(t *testing.T) {
	for _, test := range []struct {
		name string
		next Reading
		want Absence
	}{
		{"another generation", func() Reading { r := sm(Whole(gpuA), 1, 9); r.Generation = 2; return r }(), NoCoverage},
		{"another quality", func() Reading { r := sm(Whole(gpuA), 1, 9); r.Quality = Duty; return r }(), NoCoverage},
		{"the GPU is lost", sm(Whole(gpuA), 1, 9).Without(GPULost), NoCoverage},
		{"a call that failed", sm(Whole(gpuA), 1, 9).Without(Failed), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := NewWindow(5 * time.Second)
			for second := range 9 {
				w.Add(sm(Whole(gpuA), 0.2, float64(second)))
			}
			w.Add(test.next)
			if got := w.Mean(at(9)); got.Absence != test.want {
				t.Errorf("%+v", got)
			}
		})
	}
	w := NewWindow(time.Hour)
	for second := range 10_000 {
		w.Add(sm(Whole(gpuA), 0.2, float64(second)))
	}
	if len(w.readings) > maxReadings {
		t.Errorf("holds %d readings", len(w.readings))
	}
	if got := NewWindow(time.Second).Max(noon); got.Valid() {
		t.Errorf("an empty window has %+v", got)
	}
}

func TestTotal(t *testing.T) {
	gpu := &node().GPUs[0]
	values := map[Slice]float64{Compute(gpuA, 3, 0): 0.9, Compute(gpuA, 1, 0): 0.6, Compute(gpuA, 1, 1): 0.1}
	of := func(signal Signal) func(Slice) Reading {
		return func(s Slice) Reading {
			r := sm(s, values[s], 1)
			r.Signal = signal
			return r
		}
	}
	got := Total(gpu, SMActive, of(SMActive))
	if want := 0.9*16/132 + 0.6*20/132 + 0.1*40/132; math.Abs(got.Value-want) > 1e-12 || got.Source != Summed || got.Quality != Exact || got.Generation != 9 {
		t.Errorf("%+v, want %v", got, want)
	}
	bandwidth := Total(gpu, DRAMActive, of(DRAMActive)) // GPU instance 1 counts once, by the first that is asked
	if want := 0.9/8 + 0.6/2; math.Abs(bandwidth.Value-want) > 1e-12 {
		t.Errorf("bandwidth %v, want %v", bandwidth.Value, want)
	}
	missing := Total(gpu, SMActive, func(s Slice) Reading {
		if s == Compute(gpuA, 1, 1) {
			return sm(s, 0, 1).Without(Failed)
		}
		return of(SMActive)(s)
	})
	if missing.Valid() || missing.Absence != Incomplete {
		t.Errorf("a sum without a part: %+v", missing)
	}
}

func TestReadingsInJSON(t *testing.T) {
	for _, r := range []Reading{sm(Compute(gpuA, 3, 0), 0.5, 1), sm(Whole(gpuA), 0, 1), sm(Whole(gpuA), 0.5, 1).Without(Warming)} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Reading
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Error(string(text), diff)
		}
	}
}
