package prewarm

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// moment is everything that Decide is told at one call.
type moment struct {
	now      time.Time
	demand   Demand
	forecast Forecast
	schedule Floor
	loaded   bool
}

// story reads a run of moments from bytes, five for each, so that the fuzzer can shrink what it finds.
func story(data []byte) (policy Policy, lead LeadTime, start State, moments []moment) {
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return int(b)
	}
	policy = plan()
	policy.BufferReplicas, policy.BufferOnForecast = next()%4, next()%3
	policy.MinReplicas, policy.MaxReplicas = next()%5, []int{0, 20, 200}[next()%3]
	policy.ScaleDownHold = []time.Duration{0, time.Minute, 20 * time.Minute}[next()%3]
	policy.ForecastMode = ForecastMode(1 + next()%3)
	policy.StopWhenUnschedulable = next()%3 == 0
	lead = Fixed(time.Duration(next()) * 10 * time.Second)
	now := noon
	if next()%2 == 1 {
		start = Resume(next()%40, now)
	}
	for len(data) > 0 {
		flags := next()
		now = now.Add(time.Duration(next()%60) * time.Second)
		if flags&1 == 1 && flags&2 == 2 {
			now = now.Add(time.Duration(next()-128) * time.Minute) // a pause, or a clock that is set
		}
		m := moment{now: now, loaded: flags&4 != 0}
		m.demand = Demand{Value: float64(next()), Known: flags&8 == 0 || flags&16 == 0, Saturated: flags&32 != 0, Ready: next() % 16}
		if flags&2 != 0 {
			m.demand.NotReady = next() % 8
			m.demand.Unschedulable = next() % (m.demand.NotReady + 1)
		}
		m.forecast = Forecast{Value: float64(next()), Quantile: 0.95, Horizon: lead.Total(), Known: flags&64 != 0}
		if flags&128 != 0 {
			m.schedule = Floor{Replicas: next() % 32, MaxReplicas: next() % 8 * 8, Window: "w"}
		}
		moments = append(moments, m)
	}
	return policy, lead, start, moments
}

// play goes through a story, changing each moment first.
func play(policy Policy, lead LeadTime, state State, moments []moment, change func(*moment)) []Decision {
	decisions := make([]Decision, len(moments))
	for i, m := range moments {
		if change != nil {
			change(&m)
		}
		state.HistoryLoaded = state.HistoryLoaded || m.loaded
		decisions[i], state = Decide(m.now, state, m.demand, m.forecast, m.schedule, lead, policy)
	}
	return decisions
}

func checkStory(t *testing.T, data []byte) {
	data = data[:min(len(data), 600)] // the check looks at every pair of moments
	policy, lead, start, moments := story(data)
	decisions := play(policy, lead, start, moments, nil)
	keep := policy.Hold(lead.Total())
	last := start.floor
	for i, d := range decisions {
		if d.FloorAtLeast < policy.MinReplicas || policy.MaxReplicas > 0 && d.FloorAtLeast > policy.MaxReplicas {
			t.Fatalf("step %d: %d is outside the limits %d and %d", i, d.FloorAtLeast, policy.MinReplicas, policy.MaxReplicas)
		}
		stopped := policy.StopWhenUnschedulable && d.Demand.Unschedulable > 0
		if ceiling := limited(max(last, d.Demand.Ready+d.Demand.NotReady), policy); stopped && d.FloorAtLeast > ceiling {
			t.Fatalf("step %d: %d, though pods find no node and %d are there or stood", i, d.FloorAtLeast, ceiling)
		}
		if d.Valid && !stopped && d.Floor < limited(d.Raw, policy) {
			t.Fatalf("step %d: the floor %d does not rise at once to %d", i, d.Floor, d.Raw)
		}
		if d.Valid != moments[i].demand.Known || d.Valid && d.Floor != d.FloorAtLeast || d.Reason == "" || d.Kind == 0 || d.Origin == 0 {
			t.Fatalf("step %d: %+v", i, d)
		}
		if !d.Valid && d.FloorAtLeast < limited(last, policy) {
			t.Fatalf("step %d: lowered from %d to %d while demand is unknown", i, last, d.FloorAtLeast)
		}
		// Whatever stood or was asked for stands for a hold of the time that the calls themselves show.
		for j := i - 1; j >= 0 && !moments[j+1].now.Before(moments[j].now) && d.At.Sub(moments[j].now) < keep; j-- {
			asked := limited(decisions[j].Raw, policy)
			if !decisions[j].Valid {
				asked = decisions[j].FloorAtLeast
			}
			if stopped || !d.Valid { // then nothing rises but for a window, and nothing falls
				asked = min(asked, last)
			}
			if d.FloorAtLeast < asked {
				t.Fatalf("step %d: %d, but %v ago %d was asked for and the hold is %v", i, d.FloorAtLeast, d.At.Sub(moments[j].now), asked, keep)
			}
		}
		last = d.FloorAtLeast
		if i > 0 {
			if silence := d.At.Sub(moments[i-1].now); (silence < 0 || silence > StaleAfter) && d.FloorAtLeast < decisions[i-1].FloorAtLeast {
				t.Fatalf("step %d: lowered from %d to %d after %v without a decision", i, decisions[i-1].FloorAtLeast, d.FloorAtLeast, silence)
			}
		}
	}

	more := play(policy, lead, start, moments, func(m *moment) { m.demand.Value = m.demand.Value*1.25 + 1 })
	without := play(policy, lead, start, moments, func(m *moment) { m.forecast = Forecast{} })
	shadow := policy
	shadow.ForecastMode = ForecastShadow
	shadowed := play(shadow, lead, start, moments, nil)
	on := policy
	on.ForecastMode = ForecastOn
	forecast := play(on, lead, start, moments, nil)
	for i, d := range decisions {
		if more[i].FloorAtLeast < d.FloorAtLeast {
			t.Fatalf("step %d: more demand, fewer replicas: %d, then %d", i, d.FloorAtLeast, more[i].FloorAtLeast)
		}
		if d.FloorAtLeast < without[i].FloorAtLeast {
			t.Fatalf("step %d: with a forecast %d, without %d", i, d.FloorAtLeast, without[i].FloorAtLeast)
		}
		if shadowed[i].FloorAtLeast != without[i].FloorAtLeast {
			t.Fatalf("step %d: a forecast in the shadow gives %d, none %d", i, shadowed[i].FloorAtLeast, without[i].FloorAtLeast)
		}
		if shadowed[i].Valid && shadowed[i].ShadowFloor > forecast[i].Floor {
			t.Fatalf("step %d: the shadow says %d, a forecast that counts %d", i, shadowed[i].ShadowFloor, forecast[i].Floor)
		}
	}

	// Nothing ratchets: with the same demand for a hold, the floor is what is asked for now.
	if len(moments) == 0 {
		return
	}
	steady := moments[len(moments)-1]
	steady.demand.Known, steady.demand.Unschedulable, steady.loaded = true, 0, true
	var after []moment
	for at := time.Duration(0); at <= keep+30*time.Second; at += 15 * time.Second {
		m := steady
		m.now = steady.now.Add(15*time.Second + at)
		after = append(after, m)
	}
	all := play(policy, lead, start, append(append([]moment{}, moments...), after...), nil)
	if d := all[len(all)-1]; d.Floor != limited(d.Raw, policy) {
		t.Fatalf("after a hold of the same demand the floor is %d, not %d: %s", d.Floor, d.Raw, d.Reason)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add([]byte{2, 1, 1, 1, 0, 0, 1, 24, 0, 64, 15, 144, 40, 160, 64, 15, 60, 40, 100})
	f.Fuzz(checkStory)
}

func TestPropertiesOfRandomStories(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 2))
		data := make([]byte, 9+random.IntN(400))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		checkStory(t, data)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestDecideIsAFunction(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	data := make([]byte, 800)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	policy, lead, state, moments := story(data)
	for i, m := range moments {
		before := state
		first, next := Decide(m.now, state, m.demand, m.forecast, m.schedule, lead, policy)
		if !reflect.DeepEqual(before, state) {
			t.Fatalf("step %d changed the state that it was given", i)
		}
		again, nextAgain := Decide(m.now, state, m.demand, m.forecast, m.schedule, lead, policy)
		if !reflect.DeepEqual(first, again) || !reflect.DeepEqual(next, nextAgain) {
			t.Fatalf("step %d: asked again, another answer: %+v, %+v", i, first, again)
		}
		state = next
	}
}

func BenchmarkDecide(b *testing.B) {
	policy, lead := plan(), Fixed(4*time.Minute)
	state := State{HistoryLoaded: true}
	now := noon
	random := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(15 * time.Second)
		_, state = Decide(now, state, known(60+60*random.Float64()), Forecast{Value: 130, Quantile: 0.95, Horizon: 4 * time.Minute, Known: true}, Floor{}, lead, policy)
	}
}
