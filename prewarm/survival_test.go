package prewarm

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The 6-mercaptopurine arm of Freireich et al. (1963), the textbooks' example: weeks of remission, + where it went on. Its
// estimate is 0.857 from week 6, 0.807 from 7, 0.753 from 10, 0.690 from 13, 0.627 from 16, 0.538 from 22, 0.448 from 23.
func TestSurvivalQuantileOfTheTextbook(t *testing.T) {
	const week = 7 * 24 * time.Hour
	var observations []observation
	for _, weeks := range []int{6, 6, 6, 7, 10, 13, 16, 22, 23} {
		observations = append(observations, observation{time.Duration(weeks) * week, true})
	}
	for _, weeks := range []int{6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35} {
		observations = append(observations, observation{time.Duration(weeks) * week, false})
	}
	for _, test := range []struct {
		name    string
		p       float64
		weeks   int
		reached bool
	}{
		{"just reached in week 6", 0.142, 6, true},
		{"just not reached in week 6", 0.144, 7, true},
		{"just not reached in week 7", 0.194, 10, true},
		{"0.690", 0.3, 13, true},
		{"0.627", 0.37, 16, true},
		{"0.538", 0.46, 22, true},
		{"the median", 0.5, 23, true},
		{"beyond all", 0.9, 35, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, reached := survivalQuantile(observations, test.p)
			if got != time.Duration(test.weeks)*week || reached != test.reached {
				t.Errorf("%v weeks, reached %v; want %d, %v", float64(got)/float64(week), reached, test.weeks, test.reached)
			}
		})
	}
}

// redistributed is the same quantile by another road: the weight of an unfinished observation goes in equal parts to all that
// lasted longer (Efron 1967). In whole numbers of 1/denominator it would be exact; here it is told how near it came.
func redistributed(observations []observation, p float64) (quantile time.Duration, reached, near bool) {
	sorted := slices.Clone(observations)
	slices.SortFunc(sorted, func(a, b observation) int {
		if a.took == b.took && a.finished != b.finished {
			if a.finished {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.took, b.took)
	})
	weights := make([]float64, len(sorted))
	for i := range weights {
		weights[i] = 1 / float64(len(sorted))
	}
	var done float64
	for i, o := range sorted {
		if o.finished {
			done += weights[i]
			near = near || math.Abs(done-p) < 1e-6
			if done >= p {
				// All that finish at this very time belong to it; they only add.
				return o.took, true, near
			}
			continue
		}
		for j := i + 1; j < len(sorted); j++ {
			weights[j] += weights[i] / float64(len(sorted)-i-1)
		}
	}
	if len(sorted) > 0 {
		quantile = sorted[len(sorted)-1].took
	}
	return quantile, false, near
}

func TestSurvivalQuantileAgainstRedistribution(t *testing.T) {
	compared := 0
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 4))
		observations := make([]observation, random.IntN(70))
		for i := range observations {
			observations[i] = observation{time.Duration(1+random.IntN(40)) * time.Second, random.IntN(4) > 0}
		}
		p := 0.05 + 0.949*random.Float64()
		want, wantReached, near := redistributed(observations, p)
		if near {
			continue // within rounding of a step
		}
		compared++
		got, reached := survivalQuantile(observations, p)
		if got != want || reached != wantReached {
			t.Fatalf("seed %d, p %v of %v: %v %v, want %v %v", seed, p, observations, got, reached, want, wantReached)
		}
	}
	if compared < 4900 {
		t.Errorf("only %d compared", compared)
	}
}

// A service whose starts take 60 to 180 s is looked at while all its batches are younger than three minutes. What has
// finished by then is the fast half; the estimate must not be.
func TestSurvivalQuantileIsNotLowInTrouble(t *testing.T) {
	const samples, p = 4000, 0.9
	random := rand.New(rand.NewPCG(5, 5))
	var censored []observation
	var finished, truth []time.Duration
	for range samples {
		took := time.Duration((60 + 120*random.Float64()) * float64(time.Second))
		age := time.Duration(180 * random.Float64() * float64(time.Second))
		truth = append(truth, took)
		if took <= age {
			censored, finished = append(censored, observation{took, true}), append(finished, took)
		} else {
			censored = append(censored, observation{age, false})
		}
	}
	slices.Sort(truth)
	slices.Sort(finished)
	want, naive := truth[int(p*samples)], finished[int(p*float64(len(finished)))]
	got, reached := survivalQuantile(censored, p)
	t.Logf("truth %v, from the finished alone %v, estimate %v", want, naive, got)
	if !reached || math.Abs(float64(got-want))/float64(want) > 0.03 {
		t.Errorf("P90 %v, reached %v; want %v", got, reached, want)
	}
	if float64(naive) > 0.97*float64(want) {
		t.Errorf("leaving out the unfinished gives %v of %v: this test tests nothing", naive, want)
	}
}

func TestSurvivalQuantileOfFew(t *testing.T) {
	seconds := func(finished bool, values ...int) (all []observation) {
		for _, v := range values {
			all = append(all, observation{time.Duration(v) * time.Second, finished})
		}
		return all
	}
	for _, test := range []struct {
		name         string
		observations []observation
		want         time.Duration
		reached      bool
	}{
		{"none", nil, 0, false},
		{"one", seconds(true, 70), 70 * time.Second, true},
		{"five: the longest", seconds(true, 70, 61, 66, 90, 64), 90 * time.Second, true},
		{"ten: the ninth", seconds(true, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1), 9 * time.Second, true},
		{"one that goes on", seconds(false, 300), 300 * time.Second, false},
		{"five and one that goes on longer", append(seconds(true, 70, 61, 66, 90, 64), seconds(false, 300)...), 300 * time.Second, false},
		{"five and one that has just begun", append(seconds(true, 70, 61, 66, 90, 64), seconds(false, 2)...), 90 * time.Second, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, reached := survivalQuantile(test.observations, 0.9)
			if got != test.want || reached != test.reached {
				t.Errorf("%v, reached %v; want %v, %v", got, reached, test.want, test.reached)
			}
		})
	}
}
