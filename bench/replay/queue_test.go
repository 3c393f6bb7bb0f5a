package replay

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
	"time"
)

func TestAQueueByHand(t *testing.T) {
	s := scenario(0, 1, 0)
	var q queue
	q.begin(s)
	// 20 a step arrive and 10 are served, for four steps; then nothing arrives. The last of them waits four steps.
	for k := range 8 {
		offered := 20.0
		if k >= 4 {
			offered = 0
		}
		q.step(k, offered, 10)
	}
	if q.served != 80 || q.lost != 0 {
		t.Errorf("served %v and lost %v of 80", q.served, q.lost)
	}
	if w := q.waits.quantile(1); w < 50*time.Second || w > 60*time.Second {
		t.Errorf("the longest wait is %v, expected nearly a minute", w)
	}
	if w := q.waits.quantile(0.5); w < 25*time.Second || w > 35*time.Second {
		t.Errorf("the middle wait is %v, expected about 30s", w)
	}
}

// TestQueueAgainstRequests compares the fluid with single requests, first come first served.
func TestQueueAgainstRequests(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 13))
		s := scenario(0, 1, 0)
		var q queue
		q.begin(s)
		const steps, grain = 60, 400
		offered, capacity := make([]float64, steps+200), make([]float64, steps+200)
		for k := range offered {
			if k < steps {
				offered[k] = 20 * r.Float64()
			}
			capacity[k] = 2 + 16*r.Float64()
			q.step(k, offered[k], capacity[k])
		}
		// Many small requests, evenly over each step; each is served when the total that could have been served reaches it.
		var waits []float64
		var weights []float64
		free := 0.0 // when the server is free, in steps
		for k := range steps {
			for i := range grain {
				arrives := float64(k) + (float64(i)+0.5)/grain
				begin := max(arrives, free)
				work := offered[k] / grain
				for at := begin; ; at = math.Floor(at) + 1 {
					c := capacity[int(at)]
					if can := c * (math.Floor(at) + 1 - at); can >= work {
						free = at + work/c
						break
					} else {
						work -= can
					}
				}
				waits, weights = append(waits, (begin-arrives)*stepSeconds), append(weights, offered[k]/grain)
			}
		}
		for _, p := range []float64{0.5, 0.95, 0.99} {
			want, got := weighted(waits, weights, p), q.waits.quantile(p).Seconds()
			if math.Abs(got-want) > stepSeconds {
				t.Errorf("seed %d: P%g is %v s, single requests give %v s", seed, 100*p, got, want)
			}
		}
	}
}

func weighted(values, weights []float64, p float64) float64 {
	at := make([]int, len(values))
	all := 0.0
	for i := range at {
		at[i] = i
		all += weights[i]
	}
	sort.Slice(at, func(i, j int) bool { return values[at[i]] < values[at[j]] })
	seen := 0.0
	for _, i := range at {
		if seen += weights[i]; seen >= p*all {
			return values[i]
		}
	}
	return values[at[len(at)-1]]
}
