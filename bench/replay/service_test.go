package replay

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestTheLaw(t *testing.T) {
	law := Law{Alpha: 10 * time.Millisecond, Beta: time.Millisecond / 2, TokenSLO: 42 * time.Millisecond, Slots: 256}
	for _, test := range []struct {
		name           string
		law            Law
		prompt, output float64
		rate, slots    float64
	}{
		{"the objective decides: a batch of 64", law, 1000, 200, 64 / (200 * 0.042), 64},
		{"the slots decide", Law{law.Alpha, law.Beta, law.TokenSLO, 16, 0, 0}, 1000, 200, 16 / (200 * 0.018), 16},
		{"the cache decides", Law{law.Alpha, law.Beta, law.TokenSLO, 256, 22_000, 0}, 1000, 200, 20 / (200 * 0.020), 20},
		{"the prompts decide", Law{law.Alpha, law.Beta, law.TokenSLO, 256, 0, 2000}, 1000, 200, 2, 64},
		{"one at least", Law{law.Alpha, law.Beta, law.TokenSLO, 256, 100, 0}, 1000, 200, 1 / (200 * 0.0105), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.law.Validate(); err != nil {
				t.Fatal(err)
			}
			if rate, slots := test.law.At(test.prompt, test.output); math.Abs(rate-test.rate) > 1e-9 || slots != test.slots {
				t.Errorf("%v a second in %v slots, expected %v in %v", rate, slots, test.rate, test.slots)
			}
		})
	}
}

// TestErlangC knows values of published tables, and one server: P(wait) is its load.
func TestErlangC(t *testing.T) {
	for _, test := range []struct {
		n    int
		a, p float64
	}{{1, 0.7, 0.7}, {2, 1, 1.0 / 3}, {10, 8, 0.4092}, {100, 90, 0.2170}} {
		if got := erlangC(test.n, test.a); math.Abs(got-test.p) > 5e-4 {
			t.Errorf("C(%d, %v) = %v, expected %v", test.n, test.a, got, test.p)
		}
	}
}

// TestChanceAgainstRequests compares the waits with single requests that come by chance to n slots.
func TestChanceAgainstRequests(t *testing.T) {
	const n, hold, offered = 12, 6.0, 1.7 // 10.2 busy slots of 12
	r := rand.New(rand.NewPCG(3, 14))
	free := make([]float64, n)
	now := 0.0
	w := waits{bins: make([]float64, 601)}
	for range 400_000 {
		now += r.ExpFloat64() / offered
		first := 0
		for i := range free {
			if free[i] < free[first] {
				first = i
			}
		}
		begin := max(now, free[first])
		free[first] = begin + hold*r.ExpFloat64()
		w.add(begin-now, 1)
	}
	got := waits{bins: make([]float64, 601)}
	var c chance
	c.add(&got, offered, 3, 4/hold, 4)
	for _, p := range []float64{0.5, 0.7, 0.95, 0.99} {
		if a, b := got.quantile(p), w.quantile(p); math.Abs((a - b).Seconds()) > 1+0.12*b.Seconds() {
			t.Errorf("P%g is %v, single requests give %v", 100*p, a, b)
		}
	}
}

func TestServiceChangesWaitsAndNotTheHeadline(t *testing.T) {
	s := scenario(time.Minute, 60, 20, 45)
	plain := must(t, s, Policy{Name: "HPA"})
	prompt, output := make([]float64, len(s.Offered)), make([]float64, len(s.Offered))
	for k := range output {
		prompt[k], output[k] = 500, 200
	}
	s.Service = ServiceOf(Law{Alpha: 10 * time.Millisecond, Beta: time.Millisecond / 2, TokenSLO: 42 * time.Millisecond, Slots: 64}, prompt, output) // 7.6 a second
	slots := must(t, s, Policy{Name: "HPA"})
	if plain.Late != slots.Late || plain.PodHours != slots.PodHours {
		t.Errorf("late %v and %v, cost %v and %v", plain.Late, slots.Late, plain.PodHours, slots.PodHours)
	}
	if slots.Wait99 <= plain.Wait99 {
		t.Errorf("P99 is %v with 7.6 a second each, %v with 10", slots.Wait99, plain.Wait99)
	}
}
