package replay

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// plain is an HPA on demand with a target of perReplica.
func plain(perReplica float64) (hpa.Spec, []Source) {
	return hpa.Spec{MinReplicas: 1, MaxReplicas: 1000, Metrics: []hpa.Metric{{Kind: hpa.External, Name: "demand", Target: hpa.AverageValue, TargetMilli: int64(perReplica * 1000)}}},
		[]Source{{Kind: DemandSource, Scale: 1}}
}

// scenario holds each load for so many minutes.
func scenario(lead time.Duration, minutes int, loads ...float64) *Scenario {
	s := &Scenario{Start: monday, PerReplica: 10, Flags: hpa.DefaultFlags(), Signal: DefaultSignal(), Lead: FixedLead(lead)}
	s.HPA, s.Sources = plain(10)
	for _, load := range loads {
		for range minutes * stepsPerMinute {
			s.Offered = append(s.Offered, load)
		}
	}
	return s
}

func must(t testing.TB, s *Scenario, p Policy) Result {
	t.Helper()
	r, err := Run(s, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func zero() *float64 { return new(float64) }

func TestAStepOfLoadIsLateByTheLeadTime(t *testing.T) {
	s := scenario(5*time.Minute, 30, 20, 40)
	r := must(t, s, Policy{Name: "HPA"})
	// The rate over a minute shows 2 more replicas' worth 45 s to 75 s after the step; they load for 5 minutes. Half of the
	// load is late until the first is Ready, a quarter until the second.
	if low, high := 20*330.0, 20*405.0; r.Late < low*0.9 || r.Late > high {
		t.Errorf("late work %v, expected about %v to %v", r.Late, low, high)
	}
	if r.MinutesShort < 5 || r.MinutesShort > 7 {
		t.Errorf("%d minutes short, expected 5 to 7", r.MinutesShort)
	}
	if r.Started != 2 {
		t.Errorf("%d pods started, expected 2", r.Started)
	}
	oracle := must(t, s, Policy{Name: "oracle", Floors: &Foresight{Ahead: 7 * time.Minute}, Actuation: ByMinReplicas})
	if oracle.Late != 0 {
		t.Errorf("who knows the future is late by %v", oracle.Late)
	}
	buffered := must(t, s, Policy{Name: "+2", Floors: &Swept{Buffer: 2, Hold: 5 * time.Minute, Min: 1}, Actuation: ByMetric, ToleranceUp: zero()})
	if buffered.Late != 0 {
		t.Errorf("two more than are needed are late by %v", buffered.Late)
	}
	if want := r.PodHours + 2; math.Abs(buffered.PodHours-want) > 0.25 {
		t.Errorf("+2 costs %.2f pod-hours for an hour, expected about %.2f", buffered.PodHours, want)
	}
}

// story is a random load with gaps.
func story(r *rand.Rand, minutes int) []float64 {
	var out []float64
	load := 20 + 60*r.Float64()
	for range minutes {
		load = max(0, load+8*r.NormFloat64())
		if r.IntN(40) == 0 {
			load *= 2.5 * r.Float64()
		}
		v := load
		if r.IntN(25) == 0 {
			v = math.NaN()
		}
		for range stepsPerMinute {
			out = append(out, v)
		}
	}
	return out
}

func TestSweptIsDecideWithoutWords(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := scenario(time.Duration(1+r.IntN(14))*time.Minute, 1, 0)
		s.Offered = story(r, 300)
		outlook := &Outlook{Quantile: 0.9, Horizon: s.Lead.Max, Value: make([]float32, 301)}
		for i := range outlook.Value {
			outlook.Value[i] = float32(100 * r.Float64())
			if r.IntN(9) == 0 {
				outlook.Value[i] = float32(math.NaN())
			}
		}
		policy := prewarm.Policy{PerReplica: s.PerReplica, BufferReplicas: r.IntN(3), BufferOnForecast: r.IntN(3), MinReplicas: 1 + r.IntN(4), MaxReplicas: 15,
			MaxGrowth: 2, ForecastMode: prewarm.ForecastOn, Quantile: 0.9}
		lead := prewarm.Fixed(s.Lead.Max)
		actuation := ByMetric + Actuation(r.IntN(2))
		words := must(t, s, Policy{Name: "x", Floors: &Decided{Policy: policy, Outlook: outlook, Lead: lead}, Actuation: actuation, ToleranceUp: zero()})
		fast := must(t, s, Policy{Name: "x", Floors: &Swept{Buffer: policy.BufferReplicas, OnForecast: policy.BufferOnForecast, Outlook: outlook,
			Hold: policy.Hold(lead.Total()), Min: policy.MinReplicas, Max: policy.MaxReplicas}, Actuation: actuation, ToleranceUp: zero()})
		if diff := cmp.Diff(words, fast); diff != "" {
			t.Fatalf("seed %d: with prewarm.Decide and swept differ (-Decide +swept):\n%s", seed, diff)
		}
	}
}

func TestTheSameSeedIsTheSameRun(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := scenario(0, 1, 0)
	s.Offered, s.Lead, s.Fails, s.GPUs, s.Patience = story(r, 600), LeadTimes{Min: time.Minute, Max: 6 * time.Minute}, 0.5, 9, time.Minute
	run := func(seed uint64) Result {
		s.Seed = seed
		return must(t, s, Policy{Name: "x", Floors: &Swept{Buffer: 1, Hold: 5 * time.Minute, Min: 1}, Actuation: ByMinReplicas})
	}
	if diff := cmp.Diff(run(1), run(1)); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(run(1), run(2)) {
		t.Error("another seed gave the same run")
	}
}

// generated is a fortnight of a daily service at about eight replicas.
func generated(t testing.TB, lead time.Duration) *Scenario {
	s := scenario(lead, 1, 0)
	series := traces.DailyService(1, 14)
	offered, err := Offered(series)
	if err != nil {
		t.Fatal(err)
	}
	s.Offered = offered
	sum := 0.0
	for _, v := range offered {
		sum += v
	}
	s.PerReplica = sum / float64(len(offered)) / 8
	s.HPA, s.Sources = plain(s.PerReplica)
	return s
}
