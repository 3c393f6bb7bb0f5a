package replay

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestHullAgainstEveryPair: at any cost, the hull is the least that a mix of any two settings, or one cheaper setting, reaches.
func TestHullAgainstEveryPair(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		settings := make([]Setting, 1+r.IntN(12))
		for i := range settings {
			settings[i] = Setting{Cost: float64(1 + r.IntN(20)), LateShare: float64(r.IntN(20)) / 20}
		}
		hull := Hull(settings)
		for cost := 0.5; cost < 22; cost++ {
			want := math.NaN()
			take := func(v float64) {
				if math.IsNaN(want) || v < want {
					want = v
				}
			}
			for _, a := range settings {
				if a.Cost <= cost {
					take(a.LateShare)
				}
				for _, b := range settings {
					if a.Cost < cost && b.Cost > cost {
						take(a.LateShare + (b.LateShare-a.LateShare)*(cost-a.Cost)/(b.Cost-a.Cost))
					}
				}
			}
			got := LateAt(hull, cost)
			if math.IsNaN(got) != math.IsNaN(want) || math.Abs(got-want) > 1e-12 {
				t.Fatalf("seed %d, cost %v: %v, expected %v\nof %v\nhull %v", seed, cost, got, want, settings, hull)
			}
		}
	}
}
