package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// nearestRank is the obvious quantile: sort, count.
func nearestRank(samples []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1]
}

func checkAgainstOracle(t *testing.T, h *Histogram, samples []time.Duration) {
	t.Helper()
	for _, q := range []float64{0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
		got, ok := h.Quantile(q)
		want := nearestRank(samples, q)
		if !ok || got < want || float64(got) > float64(want)*(1+1.0/slots)+1 {
			t.Errorf("quantile %v of %d samples = %v (ok %v), want %v and at most 1/%d above", q, len(samples), got, ok, want, slots)
		}
	}
	if want := slices.Max(samples); h.Max() != want {
		t.Errorf("max = %v, want %v", h.Max(), want)
	}
	if h.Count() != uint64(len(samples)) {
		t.Errorf("count = %d, want %d", h.Count(), len(samples))
	}
}

func TestQuantilesAgreeWithSortedSamples(t *testing.T) {
	tests := []struct {
		name string
		draw func(*rand.Rand) time.Duration
	}{
		{"one value", func(*rand.Rand) time.Duration { return 562 * time.Microsecond }},
		{"zero", func(*rand.Rand) time.Duration { return 0 }},
		{"exact small", func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(256)) }},
		{"log-uniform 1 µs to 100 s", func(r *rand.Rand) time.Duration {
			return time.Duration(math.Exp(r.Float64()*math.Log(1e8)) * 1e3)
		}},
		{"heavy tail", func(r *rand.Rand) time.Duration { return time.Duration(5e5 / math.Pow(1-r.Float64(), 0.7)) }},
		{"whole range", func(r *rand.Rand) time.Duration { return time.Duration(r.Int64()) }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var whole, left, right Histogram
			var samples []time.Duration
			for i := range 5000 {
				d := tc.draw(r)
				samples = append(samples, d)
				whole.Record(d)
				if i%3 == 0 {
					left.Record(d)
				} else {
					right.Record(d)
				}
			}
			checkAgainstOracle(t, &whole, samples)
			left.Merge(&right)
			left.Merge(&Histogram{})
			checkAgainstOracle(t, &left, samples)
		})
	}
}

func TestNoSamplesIsUnknownNotZero(t *testing.T) {
	var h Histogram
	if _, ok := h.Quantile(0.5); ok {
		t.Error("an empty histogram has no median")
	}
	if _, ok := h.Mean(); ok {
		t.Error("an empty histogram has no mean")
	}
	h.Record(time.Second)
	for _, q := range []float64{0, -1, 1.01, math.NaN()} {
		if _, ok := h.Quantile(q); ok {
			t.Errorf("quantile %v is not defined", q)
		}
	}
}

func FuzzSlotHoldsItsValue(f *testing.F) {
	for _, v := range []uint64{0, 1, 127, 128, 255, 256, 257, 1e6, math.MaxInt64} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v uint64) {
		v &= math.MaxInt64
		slot := slotOf(v)
		if edge := uint64(upperEdge(slot)); v > edge || edge-v > v/slots {
			t.Fatalf("%d is in slot %d with upper edge %d", v, slot, edge)
		}
		if slot > 0 {
			if below := uint64(upperEdge(slot - 1)); below >= v {
				t.Fatalf("%d is in slot %d, but slot %d already ends at %d", v, slot, slot-1, below)
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.Record(time.Duration(i) * 37)
	}
}
