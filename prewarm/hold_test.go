package prewarm

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// slowHold is the definition of a hold: all decisions, looked through each time.
type slowHold []struct {
	at       time.Time
	replicas int
}

func (h *slowHold) add(now time.Time, replicas int) {
	*h = append(*h, struct {
		at       time.Time
		replicas int
	}{now, replicas})
}

// top is the highest decision made after now-keep; the last two always count.
func (h slowHold) top(now time.Time, keep time.Duration) int {
	var top int
	for i, d := range h {
		if d.at.After(now.Add(-keep)) || i >= len(h)-2 {
			top = max(top, d.replicas)
		}
	}
	return top
}

func TestHoldAgainstItsDefinition(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		var fast hold
		var slow slowHold
		now, keep := noon, time.Duration(1+random.IntN(900))*time.Second
		most := 1 + random.IntN(50)
		for step := range 500 {
			now = now.Add(time.Duration(random.IntN(40)) * time.Second)
			replicas := random.IntN(most)
			fast.add(now, replicas, ReasonReactive, keep)
			slow.add(now, replicas)
			top, ok := fast.top()
			if want := slow.top(now, keep); !ok || int(top.replicas) != want {
				t.Fatalf("seed %d, step %d, hold %v: %d, want %d", seed, step, keep, top.replicas, want)
			}
		}
	}
}

// More levels than are kept apart may hold the floor too high for a while, never too low.
func TestHoldOfManyLevelsErrsUpwards(t *testing.T) {
	const keep, step = 2 * time.Hour, 15 * time.Second
	var fast hold
	var slow slowHold
	now := noon
	var worst time.Duration
	for i := range 2000 {
		now = now.Add(step)
		replicas := 3000 - i
		fast.add(now, replicas, ReasonReactive, keep)
		slow.add(now, replicas)
		top, _ := fast.top()
		want := slow.top(now, keep)
		if int(top.replicas) < want {
			t.Fatalf("step %d: %d, below %d", i, top.replicas, want)
		}
		worst = max(worst, time.Duration(int(top.replicas)-want)*step)
	}
	t.Logf("in a fall of 2000 levels of 15 s each, hold %v: at most %v too long", keep, worst)
	if worst > keep/32+step {
		t.Errorf("the floor stands %v too long", worst)
	}
}

func TestTheHoldStandsForItsTimeAndNoLonger(t *testing.T) {
	state := State{HistoryLoaded: true}
	policy, lead := plan(), Fixed(4*time.Minute)
	at := func(after time.Duration, demand Demand) Decision {
		var d Decision
		d, state = Decide(noon.Add(after), state, demand, Forecast{}, Floor{}, lead, policy)
		return d
	}
	at(0, known(144))
	for after := 15 * time.Second; after < 5*time.Minute; after += 15 * time.Second {
		d := at(after, known(60))
		if d.Floor != 14 || d.Kind != ReasonHold || d.Origin != ReasonReactive || d.HeldFor != 5*time.Minute-after {
			t.Fatalf("after %v: %+v", after, d)
		}
		want := fmt.Sprintf("held at 14 for %s more: the highest of the last 5m0s, by demand; now demand 60 req/s needs 5 at 12 each, + 2 buffer", shortly(5*time.Minute-after))
		if d.Reason != want {
			t.Fatalf("after %v: %q, want %q", after, d.Reason, want)
		}
	}
	if d := at(5*time.Minute, known(60)); d.Floor != 7 || d.Kind != ReasonReactive {
		t.Errorf("after a whole hold: %+v", d)
	}
}

func TestTheHoldIsTheLongerOfFiveMinutesAndTheLeadTime(t *testing.T) {
	for _, test := range []struct {
		name           string
		set, lead, out time.Duration
	}{
		{"nothing set, short lead", 0, time.Minute, 5 * time.Minute},
		{"nothing set, long lead", 0, 12 * time.Minute, 12 * time.Minute},
		{"set", time.Minute, 12 * time.Minute, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := (Policy{ScaleDownHold: test.set}).Hold(test.lead); got != test.out {
				t.Errorf("%v, want %v", got, test.out)
			}
		})
	}
}

func TestWhatIsNotKnownLowersNothing(t *testing.T) {
	policy, lead := plan(), Fixed(4*time.Minute)
	unknown := Demand{Reason: "gone"}
	for _, test := range []struct {
		name  string
		state State
		steps func(decide func(after time.Duration, d Demand) Decision)
		until time.Duration // when 14 may fall to 7
	}{
		{
			name: "demand unknown for ten minutes",
			steps: func(decide func(time.Duration, Demand) Decision) {
				decide(0, known(144))
				for after := 15 * time.Second; after <= 10*time.Minute; after += 15 * time.Second {
					if d := decide(after, unknown); d.Valid || d.FloorAtLeast != 14 {
						t.Fatalf("after %v: %+v", after, d)
					}
				}
			},
			until: 15 * time.Minute,
		},
		{
			name: "nobody decided for ten minutes",
			steps: func(decide func(time.Duration, Demand) Decision) {
				decide(0, known(144))
			},
			until: 15*time.Minute + 15*time.Second,
		},
		{
			name: "the clock was set back by an hour",
			steps: func(decide func(time.Duration, Demand) Decision) {
				decide(time.Hour, known(144))
				decide(time.Hour+15*time.Second, known(60))
			},
			until: 15*time.Minute + 15*time.Second,
		},
		{
			name: "the clock jumped forward by a day and back",
			steps: func(decide func(time.Duration, Demand) Decision) {
				decide(0, known(144))
				decide(24*time.Hour, known(60))
			},
			until: 15*time.Minute + 15*time.Second,
		},
		{
			name:  "a new leader",
			state: Resume(14, noon.Add(10*time.Minute)),
			steps: func(func(time.Duration, Demand) Decision) {},
			until: 15 * time.Minute,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			state := test.state
			state.HistoryLoaded = true
			decide := func(after time.Duration, demand Demand) (d Decision) {
				d, state = Decide(noon.Add(after), state, demand, Forecast{}, Floor{}, lead, policy)
				return d
			}
			test.steps(decide)
			for after := 10*time.Minute + 15*time.Second; after <= 16*time.Minute; after += 15 * time.Second {
				want := 14
				if after >= test.until {
					want = 7
				}
				if d := decide(after, known(60)); d.Floor != want {
					t.Fatalf("after %v: floor %d (%s), want %d", after, d.Floor, d.Reason, want)
				}
			}
		})
	}
}

func TestANewLeaderWaitsForItsHistory(t *testing.T) {
	policy, lead := plan(), Fixed(4*time.Minute)
	state := Resume(14, noon)
	decide := func(after time.Duration, demand float64) (d Decision) {
		d, state = Decide(noon.Add(after), state, known(demand), Forecast{}, Floor{}, lead, policy)
		return d
	}
	d := decide(15*time.Second, 60)
	if want := "held at 14 for 4m45s more and until the history is loaded: a new leader lowers nothing at first; now demand 60 req/s needs 5 at 12 each, + 2 buffer"; d.Reason != want || d.Floor != 14 {
		t.Errorf("%d: %q, want %q", d.Floor, d.Reason, want)
	}
	decide(time.Minute, 180) // a rise of its own is not lowered either
	for after := 2 * time.Minute; after < 20*time.Minute; after += 15 * time.Second {
		d = decide(after, 60)
		if d.Floor != 17 {
			t.Fatalf("after %v: %+v", after, d)
		}
	}
	if want := "held at 17 until the history is loaded: a new leader lowers nothing at first; now demand 60 req/s needs 5 at 12 each, + 2 buffer"; d.Reason != want {
		t.Errorf("%q, want %q", d.Reason, want)
	}
	state.HistoryLoaded = true
	if d = decide(20*time.Minute, 60); d.Floor != 7 {
		t.Errorf("history loaded, a hold has passed: %+v", d)
	}
}
