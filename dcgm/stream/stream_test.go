package stream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func reading(pod string, signal dcgm.Signal, value float64, at time.Time) dcgm.PodReading {
	return dcgm.PodReading{
		Pod: dcgm.Pod{Namespace: "inference", Name: pod, Container: "vllm"}, Sharing: dcgm.MIG, Basis: dcgm.Own,
		Reading: dcgm.Reading{Slice: dcgm.Compute("GPU-a", 1, 0), Generation: 3, Signal: signal, Value: value, At: at, Source: dcgm.GPM, Quality: dcgm.Exact},
	}
}

// pipe sends an update as the network would, and applies it.
func pipe(t testing.TB, d *Decoder, u *Update) int {
	t.Helper()
	wire, err := proto.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	var read Update
	if err := proto.Unmarshal(wire, &read); err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(&read); err != nil {
		t.Fatal(err)
	}
	return len(wire)
}

func (h *Held) String() string {
	return fmt.Sprintf("%s %s %g %s measured %s", h.Pod.Name, h.Signal, h.Value, h.Quality, h.Measured)
}

func held(d *Decoder) string {
	var lines []string
	d.Each(func(h *Held) { lines = append(lines, h.String()) })
	return strings.Join(lines, "\n")
}

func TestOneSeriesThroughItsLife(t *testing.T) {
	e, d := NewEncoder("node-1", time.Second, noon), NewDecoder()
	for _, step := range []struct {
		name  string
		now   int // seconds after the agent's start
		value float64
		at    int // when it was measured
		gone  bool
		want  string
	}{
		{"opened, half a second old", 10, 0.5, 10, false, "llama-0 sm_active 0.5 exact measured 9.5s"},
		{"measured again, moved by less than the tolerance", 11, 0.504, 11, false, "llama-0 sm_active 0.5 exact measured 10.5s"},
		{"drifted past the tolerance by now", 12, 0.508, 12, false, "llama-0 sm_active 0.508 exact measured 11.5s"},
		{"not measured again: age grows", 13, 0.508, 12, false, "llama-0 sm_active 0.508 exact measured 11.5s"},
		{"almost nothing", 14, 0.003, 14, false, "llama-0 sm_active 0.003 exact measured 13.5s"},
		{"nothing at all, which is within the tolerance and still told", 15, 0, 15, false, "llama-0 sm_active 0 exact measured 14.5s"},
		{"gone", 16, 0, 0, true, ""},
		{"back", 17, 1, 17, false, "llama-0 sm_active 1 exact measured 16.5s"},
	} {
		now := noon.Add(time.Duration(step.now) * time.Second)
		r := reading("llama-0", dcgm.SMActive, step.value, noon.Add(time.Duration(step.at)*time.Second-500*time.Millisecond))
		if step.gone {
			r.Reading = r.Without(dcgm.Hung)
		}
		pipe(t, d, e.Update(State{Readings: []dcgm.PodReading{r}}, now))
		if got := held(d); got != step.want {
			t.Errorf("%s: holds %q, want %q", step.name, got, step.want)
		}
	}
	if d.Node != "node-1" || d.Interval != time.Second {
		t.Errorf("node %q, interval %s", d.Node, d.Interval)
	}
}

func TestAnotherQualityIsAnotherSeries(t *testing.T) {
	e, d := NewEncoder("node-1", time.Second, noon), NewDecoder()
	r := reading("llama-0", dcgm.SMActive, 0.9, noon)
	pipe(t, d, e.Update(State{Readings: []dcgm.PodReading{r}}, noon))
	r.Quality, r.Source, r.Value, r.At = dcgm.Aggregate, dcgm.DCGMExporter, 0.3, noon.Add(time.Second)
	u := e.Update(State{Readings: []dcgm.PodReading{r}}, noon.Add(time.Second))
	if len(u.Opened) != 1 || len(u.Closed) != 1 || len(u.Changed) != 0 {
		t.Errorf("opened %d, closed %d, changed %d; want 1, 1, 0", len(u.Opened), len(u.Closed), len(u.Changed))
	}
	pipe(t, d, u)
	if got, want := held(d), "llama-0 sm_active 0.3 aggregate measured 1s"; got != want {
		t.Errorf("holds %q, want %q", got, want)
	}
}

func TestWhatAReaderRefuses(t *testing.T) {
	begun := func(change func(*Update)) *Update {
		u := NewEncoder("node-1", time.Second, noon).Update(State{Readings: []dcgm.PodReading{reading("a", dcgm.SMActive, 0.5, noon)}}, noon.Add(time.Minute))
		change(u)
		return u
	}
	for _, test := range []struct {
		name   string
		update *Update
		want   string
	}{
		{"no node", begun(func(u *Update) { u.Node = "" }), "names no node"},
		{"an interval of nothing", begun(func(u *Update) { u.IntervalNanos = 0 }), "interval 0s"},
		{"not a number", begun(func(u *Update) { u.Opened[0].Value = math.NaN() }), "not a number"},
		{"two hundred percent", begun(func(u *Update) { u.Opened[0].Value = 2 }), "out of range"},
		{"no pod", begun(func(u *Update) { u.Opened[0].Pod = "" }), "want a namespace"},
		{"measured in the future", begun(func(u *Update) { u.MeasuredNanos = u.SentNanos + 1 }), "measured at"},
		{"of an age below 0", begun(func(u *Update) { u.Opened[0].AgeNanos = -1 }), "an age"},
		{"opened twice", begun(func(u *Update) { u.Opened = append(u.Opened, u.Opened[0]) }), "opened twice"},
		{"changed and never opened", begun(func(u *Update) { u.Changed, u.Values = []uint32{9}, []float64{0} }), "never opened"},
		{"closed and never opened", begun(func(u *Update) { u.Closed = []uint32{9} }), "never opened"},
		{"more series than numbers", begun(func(u *Update) { u.Changed = []uint32{1} }), "0 numbers for 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := NewDecoder().Apply(test.update); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestAWordOfANewerAgentIsLeftOut(t *testing.T) {
	e, d := NewEncoder("node-1", time.Second, noon), NewDecoder()
	u := e.Update(State{Readings: []dcgm.PodReading{reading("a", dcgm.SMActive, 0.5, noon), reading("a", dcgm.DRAMActive, 0.5, noon)}}, noon)
	u.Opened[1].Signal = "optical_active"
	pipe(t, d, u)
	later := noon.Add(time.Second)
	pipe(t, d, e.Update(State{Readings: []dcgm.PodReading{reading("a", dcgm.SMActive, 0.7, later), reading("a", dcgm.DRAMActive, 0.9, later)}}, later))
	pipe(t, d, e.Update(State{Readings: []dcgm.PodReading{reading("a", dcgm.SMActive, 0.7, later)}}, later))
	if got, want := held(d), "a sm_active 0.7 exact measured 1s"; got != want {
		t.Errorf("holds %q, want %q", got, want)
	}
}

// FuzzReaderHoldsTheTruth sends random histories and asks that after each message the reader holds every number to within the tolerance,
// with a time that is never later than the truth, and none that has gone.
func FuzzReaderHoldsTheTruth(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		e, d := NewEncoder("n", time.Second, noon), NewDecoder()
		truth := map[string]dcgm.PodReading{}
		now := noon
		for range 30 {
			now = now.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
			for pod := range 4 {
				name := fmt.Sprint("pod-", pod)
				signal := dcgm.Signals[random.IntN(len(dcgm.Signals))]
				value := random.Float64()
				if random.IntN(4) == 0 {
					value = 0
				}
				if signal.Bytes() {
					value *= 1 << 34
				}
				key := name + signal.String()
				switch random.IntN(5) {
				case 0:
					delete(truth, key)
				case 1: // stands
				default:
					at := now.Add(-time.Duration(random.IntN(400)) * time.Millisecond)
					if before := truth[key].At; before.After(at) || random.IntN(4) == 0 && !before.IsZero() {
						at = before // measured no later, and told otherwise all the same
					}
					truth[key] = reading(name, signal, value, at)
				}
			}
			var s State
			for _, r := range truth {
				s.Readings = append(s.Readings, r)
			}
			pipe(t, d, e.Update(s, now))
			seen := 0
			d.Each(func(h *Held) {
				seen++
				is, there := truth[h.Pod.Name+h.Signal.String()]
				switch {
				case !there:
					t.Fatalf("%s is held and gone", h)
				case moved(h.Signal, h.Value, is.Value):
					t.Fatalf("%s is held, the truth is %g", h, is.Value)
				case h.Measured > is.At.Sub(noon):
					t.Fatalf("%s is held, the truth was measured at %s", h, is.At.Sub(noon))
				}
			})
			if seen != len(truth) {
				t.Fatalf("holds %d series of %d", seen, len(truth))
			}
		}
	})
}

// FuzzReaderSurvives asks that no message makes a reader panic or hold what is no number of its signal.
func FuzzReaderSurvives(f *testing.F) {
	wire, err := proto.Marshal(NewEncoder("n", time.Second, noon).Update(State{Readings: []dcgm.PodReading{reading("a", dcgm.SMActive, 0.5, noon)}}, noon))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		var u Update
		if proto.Unmarshal(wire, &u) != nil {
			return
		}
		d := NewDecoder()
		if d.Apply(&u) != nil {
			return
		}
		d.Each(func(h *Held) {
			if !(h.Value >= 0) || !h.Signal.Bytes() && h.Value > 1 {
				t.Errorf("holds %s", h)
			}
		})
	})
}

// BenchmarkNode is a node of eight GPUs with seven slices, each a pod's: what one measurement costs on the wire and to encode and apply.
func BenchmarkNode(b *testing.B) {
	for _, load := range []struct {
		name  string
		moves float64 // share of the ratios that move by more than the tolerance
	}{{"idle", 0}, {"all move", 1}} {
		b.Run(load.name, func(b *testing.B) {
			e, d := NewEncoder("node-1", time.Second, noon), NewDecoder()
			now, bytes := noon, 0
			random := rand.New(rand.NewPCG(1, 1))
			tick := func() {
				now = now.Add(time.Second)
				var s State
				for gpu := range 8 {
					for gi := range 7 {
						for _, signal := range dcgm.Signals {
							r := reading(fmt.Sprintf("llama-%d-%d", gpu, gi), signal, 0.5, now)
							r.Slice = dcgm.Compute(fmt.Sprint("GPU-00000000-0000-0000-0000-00000000000", gpu), gi, 0)
							if signal.Bytes() {
								r.Value = 16 << 30
							} else if random.Float64() < load.moves {
								r.Value = random.Float64()
							}
							s.Readings = append(s.Readings, r)
						}
					}
				}
				bytes = pipe(b, d, e.Update(s, now))
			}
			tick()
			b.ReportAllocs()
			for b.Loop() {
				tick()
			}
			b.ReportMetric(float64(bytes), "B/message")
		})
	}
}
