package traces

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

func TestSameSeedSameSeries(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			if d := cmp.Diff(s.Make(7, 2), s.Make(7, 2)); d != "" {
				t.Errorf("the same seed gave another series: %s", d)
			}
			if cmp.Equal(s.Make(7, 2), s.Make(8, 2)) {
				t.Error("another seed gave the same series")
			}
		})
	}
}

// The stand-in for LLM traffic must move like LLM traffic, or what it proves is worth nothing.
func TestLLMLikeMovesLikeLLMTraffic(t *testing.T) {
	var changes []float64
	for seed := range uint64(4) {
		s := LLMLike(seed, 7)
		before := math.NaN()
		for i := 0; i+10 <= len(s.Bins); i += 10 {
			sum := 0.0
			for _, o := range s.Bins[i : i+10] {
				v, _ := o.Number()
				sum += v
			}
			if before > 0 {
				changes = append(changes, math.Abs(sum/before-1))
			}
			before = sum
		}
	}
	slices.Sort(changes)
	for _, c := range []struct {
		name     string
		at       float64
		low, top float64
	}{
		{"p50", 0.50, 0.03, 0.07},
		{"p90", 0.90, 0.16, 0.30},
		{"p99", 0.99, 0.45, 0.85},
	} {
		if got := changes[int(c.at*float64(len(changes)))]; got < c.low || got > c.top {
			t.Errorf("10-minute change %s = %.3f, want %.2f to %.2f", c.name, got, c.low, c.top)
		}
	}
}

func TestIntermittentIsMostlyZero(t *testing.T) {
	s := Intermittent(1, 14)
	zeros := 0
	for _, o := range s.Bins {
		if v, ok := o.Number(); ok && v == 0 {
			zeros++
		}
	}
	if share := float64(zeros) / float64(len(s.Bins)); share < 0.3 {
		t.Errorf("share of zeros %.2f, want at least 0.3", share)
	}
}

func TestOutageLosesBins(t *testing.T) {
	missing := 0
	for _, o := range Outage(1, 3).Bins {
		if o.Kind == forecaster.Missing {
			missing++
		}
	}
	if missing < 200 {
		t.Errorf("%d bins missing, want an hour and 5 %% of three days", missing)
	}
}
