package prewarm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSumDemand(t *testing.T) {
	const settle = 30 * time.Second
	old, young := noon.Add(-time.Hour), noon.Add(-20*time.Second)
	pods := func(n int, value float64) (samples []Sample) {
		for i := range n {
			samples = append(samples, Sample{Pod: fmt.Sprintf("pod-%02d", i), Value: value, Known: true, ReadySince: old})
		}
		return samples
	}
	for _, test := range []struct {
		name    string
		samples []Sample
		want    Demand
	}{
		{"no pod", nil, Demand{Reason: "no pod is Ready"}},
		{"all there", pods(12, 5), Demand{Value: 60, Known: true, Ready: 12}},
		{"idle", pods(12, 0), Demand{Value: 0, Known: true, Ready: 12}},
		{
			"one of ten is missing, which is allowed", append(pods(9, 5), Sample{Pod: "late", ReadySince: old}),
			Demand{Value: 50, Known: true, Ready: 10, Filled: 1, Reason: "no sample from 1 of 10 pods Ready for over 30s (late), counted as the mean of the rest"},
		},
		{
			"one of nine is missing, which is too many", append(pods(8, 5), Sample{Pod: "late", ReadySince: old}),
			Demand{Ready: 9, Reason: "no sample from 1 of 9 pods Ready for over 30s (late); up to 10% may lack one"},
		},
		{
			"nobody knows since when it is Ready", append(pods(8, 5), Sample{Pod: "late"}),
			Demand{Ready: 9, Reason: "no sample from 1 of 9 pods Ready for over 30s (late); up to 10% may lack one"},
		},
		{
			"a pod that has just become Ready may lack one", append(pods(12, 5), Sample{Pod: "new", ReadySince: young}),
			Demand{Value: 60, Known: true, Ready: 13},
		},
		{
			"many that have may hold what the others lost", append(pods(5, 6), Sample{Pod: "new", ReadySince: young}, Sample{Pod: "newer", ReadySince: young}),
			Demand{Value: 30, Known: true, Ready: 7, Partial: true},
		},
		{
			"a rollout of which one pod has a sample", []Sample{
				{Pod: "a", Value: 12, Known: true, ReadySince: young}, {Pod: "b", ReadySince: young}, {Pod: "c", ReadySince: young},
			},
			Demand{Value: 12, Known: true, Ready: 3, Partial: true},
		},
		{
			"and counts when it has one", append(pods(8, 5), Sample{Pod: "new", Value: 2, Known: true, ReadySince: young}),
			Demand{Value: 42, Known: true, Ready: 9},
		},
		{
			"only new pods", []Sample{{Pod: "new", ReadySince: young}, {Pod: "newer", ReadySince: young}},
			Demand{Ready: 2, Reason: "no sample yet from 2 pods, all Ready for less than 30s"},
		},
		{
			"many are missing", []Sample{{Pod: "d"}, {Pod: "b"}, {Pod: "c"}, {Pod: "a"}, {Pod: "e"}},
			Demand{Ready: 5, Reason: "no sample from 5 of 5 pods Ready for over 30s (a, b, c and 2 more); up to 10% may lack one"},
		},
		{
			"what is no number is missing", append(pods(18, 5), Sample{Pod: "nan", Value: nan, Known: true, ReadySince: old}, Sample{Pod: "minus", Value: -3, Known: true, ReadySince: old}),
			Demand{Value: 100, Known: true, Ready: 20, Filled: 2, Reason: "no sample from 2 of 20 pods Ready for over 30s (minus, nan), counted as the mean of the rest"},
		},
		{
			"infinite", []Sample{{Pod: "a", Value: math.Inf(1), Known: true, ReadySince: old}},
			Demand{Ready: 1, Reason: "no sample from 1 of 1 pods Ready for over 30s (a); up to 10% may lack one"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.At = noon
			if diff := cmp.Diff(test.want, SumDemand(noon, test.samples, 0.1, settle)); diff != "" {
				t.Errorf("demand (-want +got)\n%s", diff)
			}
		})
	}
}

// Whatever is missing, a sum is either unknown or no further from the truth than the share that may be missing allows.
func TestSumDemandIsNearTheTruthOrUnknown(t *testing.T) {
	knownSums := 0
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 8))
		samples := make([]Sample, 1+random.IntN(60))
		lost, share := random.Float64()*0.2, 0.2*random.Float64()
		var truth float64
		missing := 0
		for i := range samples {
			value := 10 * (1 + random.Float64()) // no pod carries more than twice what another does
			truth += value
			samples[i] = Sample{Pod: fmt.Sprint(i), Value: value, Known: true, ReadySince: noon.Add(-time.Hour)}
			if random.Float64() < lost {
				samples[i].Value, samples[i].Known = 0, false
				missing++
			}
		}
		d := SumDemand(noon, samples, share, 0)
		if within := float64(missing) <= share*float64(len(samples)) && missing < len(samples); d.Known != within || d.Filled > 0 && d.Filled != missing {
			t.Fatalf("seed %d: %d of %d missing, %.3f allowed: %+v", seed, missing, len(samples), share, d)
		}
		if d.Known {
			knownSums++
			// Each filled pod is wrong by less than 10, of at least 10 for each pod.
			if off := math.Abs(d.Value - truth); off > 10*float64(missing)+1e-6 {
				t.Fatalf("seed %d: %v, truth %v, %d missing", seed, d.Value, truth, missing)
			}
		}
	}
	if knownSums < 500 || knownSums > 2900 {
		t.Errorf("%d of 3000 sums were known: this test tests little", knownSums)
	}
}

func TestSaturates(t *testing.T) {
	for _, test := range []struct {
		name   string
		load   float64
		ready  int
		buffer int
		want   bool
	}{
		{"room left", 59, 5, 2, false},
		{"all they should carry, and a buffer is missing", 60, 5, 2, true},
		{"all they should carry, as meant", 60, 5, 0, false},
		{"more than they should carry", 60.1, 5, 0, true},
		{"a sum of floats that should be whole", tenths(600), 5, 0, false},
		{"the same, with a buffer", tenths(600), 5, 2, true},
		{"nobody to carry", 60, 0, 2, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy := plan()
			policy.BufferReplicas = test.buffer
			if got := policy.Saturates(test.load, test.ready); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}

// Two hours at a load that does not change, the metric offered or served: the floor comes to rest at N + buffer and stays.
func TestNothingRatchets(t *testing.T) {
	for _, served := range []bool{false, true} {
		for buffer := range 4 {
			for _, offered := range []float64{0, 1, 11.99, 12, 59.5, 60, tenths(600), 300} {
				t.Run(fmt.Sprintf("buffer %d, %v offered, served %v", buffer, offered, served), func(t *testing.T) {
					policy := plan()
					policy.BufferReplicas, policy.MinReplicas = buffer, 1
					w, state := &world{}, State{HistoryLoaded: true}
					want := max(1, replicasFor(offered, policy.PerReplica)+buffer)
					var d Decision
					for at := time.Duration(0); at < 2*time.Hour; at += 15 * time.Second {
						now := noon.Add(at)
						w.age(now, 2*time.Minute)
						demand := Demand{Value: offered, Known: true, Ready: w.ready()}
						if served {
							// Servers can carry a tenth more than they should.
							demand.Value = min(offered, 1.1*float64(demand.Ready)*policy.PerReplica)
						}
						demand.Saturated = policy.Saturates(demand.Value, demand.Ready)
						d, state = Decide(now, state, demand, Forecast{}, Floor{}, Fixed(4*time.Minute), policy)
						w.scale(now, d.Floor)
						if at > time.Hour && d.Floor != want {
							t.Fatalf("after %v: %d, want %d: %s", at, d.Floor, want, d.Reason)
						}
					}
				})
			}
		}
	}
}
