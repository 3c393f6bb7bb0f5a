package replay

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// slow is the loop in the plainest words: every pod is a row, and everything is counted from the rows at every step.
func slow(t *testing.T, s *Scenario, p Policy) (late, offered, podHours float64, minutes, created int) {
	t.Helper()
	type row struct{ created, readyAt int } // readyAt below 0: no GPU yet
	spec, sources := s.autoscaler(&p)
	scaler, err := hpa.New(spec, s.Flags)
	if err != nil {
		t.Fatal(err)
	}
	signal := s.signal()
	if b, ok := p.Floors.(beginner); ok {
		b.begin(s, signal)
	}
	lead := int(math.Ceil(float64(s.Lead.Min) / float64(Step)))
	var pods []row
	ready := func(k int) (n int) {
		for _, r := range pods {
			if r.readyAt >= 0 && r.readyAt <= k {
				n++
			}
		}
		return n
	}
	running := func() (n int) {
		for _, r := range pods {
			if r.readyAt >= 0 {
				n++
			}
		}
		return n
	}
	add := func(k, after int) {
		r := row{created: k, readyAt: -1}
		if s.GPUs == 0 || running() < s.GPUs {
			r.readyAt = k + after
		}
		pods = append(pods, r)
	}
	for k := s.RunFrom; k < len(s.Offered); k++ {
		if k == s.RunFrom {
			for range max(1, int(math.Ceil(s.Offered[k]/s.PerReplica-1e-9))) {
				add(k, 0)
			}
		}
		for i := range pods {
			if pods[i].readyAt < 0 && running() < s.GPUs {
				pods[i].readyAt = k + lead
			}
		}
		r := ready(k)
		floor := Floor{}
		if p.Floors != nil {
			floor = p.Floors.At(k, Pods{})
			if p.Actuation == ByMinReplicas {
				scaler.SetBounds(max(floor.AtLeast, s.HPA.MinReplicas), s.HPA.MaxReplicas)
			}
		}
		readings := make([]hpa.Reading, len(sources))
		for i, source := range sources {
			switch {
			case source.Kind == FloorSource:
				readings[i] = hpa.Reading{Absent: !floor.Valid, Value: int64(floor.AtLeast) * 1000}
			case math.IsNaN(signal[k]):
				readings[i].Absent = true
			default:
				readings[i].Value = int64(math.Round(signal[k] * source.Scale * 1000))
			}
		}
		want := int(scaler.Step(s.at(k), hpa.Workload{SpecReplicas: int32(len(pods)), StatusReplicas: int32(len(pods)), Pods: int32(len(pods)), Ready: int32(r)}, readings).Replicas)
		for len(pods) < want {
			add(k, lead)
			if k >= s.ScoreFrom {
				created++
			}
		}
		for len(pods) > want {
			// The worst to keep: without a GPU, then not Ready and youngest, then Ready.
			worst := 0
			rank := func(r row) int {
				switch {
				case r.readyAt < 0:
					return 1 << 40
				case r.readyAt > k:
					return 1<<20 + r.readyAt
				}
				return 0
			}
			for i := range pods {
				if rank(pods[i]) >= rank(pods[worst]) {
					worst = i
				}
			}
			pods = append(pods[:worst], pods[worst+1:]...)
		}
		if k < s.ScoreFrom {
			continue
		}
		podHours += float64(len(pods)) * 15 / 3600
		if v := s.Offered[k]; !math.IsNaN(v) {
			offered += v * 15
			late += max(0, v-float64(ready(k))*s.PerReplica) * 15
		}
	}
	return late, offered, podHours, 0, created
}

func TestTheLoopAgainstTheObviousOne(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 11))
		s := scenario(time.Duration(r.IntN(40))*Step, 1, 0)
		s.Offered = story(r, 150)
		s.Offered[0] = 30
		s.ScoreFrom = r.IntN(100)
		s.GPUs = []int{0, 0, 4, 9}[r.IntN(4)]
		var p Policy
		switch r.IntN(4) {
		case 0:
			p = Policy{Name: "HPA"}
		case 1:
			p = Policy{Name: "+1", Floors: &Swept{Buffer: 1, Hold: 5 * time.Minute, Min: 1}, Actuation: ByMetric, ToleranceUp: zero()}
		case 2:
			p = Policy{Name: "+2", Floors: &Swept{Buffer: 2, Hold: 9 * time.Minute, Min: 2, Max: 12}, Actuation: ByMinReplicas}
		case 3:
			p = Policy{Name: "oracle", Floors: &Foresight{Ahead: s.Lead.Min + 2*time.Minute}, Actuation: ByMinReplicas}
		}
		got := must(t, s, p)
		late, offered, hours, _, created := slow(t, s, p)
		close := func(what string, a, b float64) {
			if math.Abs(a-b) > 1e-6*max(1, b) {
				t.Errorf("seed %d, %s, lead %v, %d GPUs: %s is %v, the obvious loop says %v", seed, p.Name, s.Lead.Min, s.GPUs, what, a, b)
			}
		}
		close("late work", got.Late, late)
		close("offered work", got.Offered, offered)
		close("cost", got.PodHours, hours)
		close("pods started", float64(got.Started), float64(created))
	}
}

func TestForesightAgainstLooking(t *testing.T) {
	s := scenario(time.Minute, 1, 0)
	s.Offered = story(rand.New(rand.NewPCG(5, 6)), 200)
	f := &Foresight{Ahead: 7 * time.Minute, Max: 9}
	f.begin(s, nil)
	for k := range s.Offered {
		most := 0.0
		for j := k; j < min(k+28, len(s.Offered)); j++ {
			if v := s.Offered[j]; v > most {
				most = v
			}
		}
		if got, want := f.At(k, Pods{}).AtLeast, int32(min(need(most, s.PerReplica), 9)); got != want {
			t.Fatalf("step %d: %d, expected %d", k, got, want)
		}
	}
}

func TestCraneAgainstLooking(t *testing.T) {
	series := traces.DailyService(4, 3)
	o := CraneLike(series, time.Hour, 1.2)
	value := func(i int) float64 { v, _ := series.Bins[i].Number(); return v }
	for _, bin := range []int{1440 + 15, 2000, 3001, len(series.Bins)} {
		most := 0.0
		for i := bin - 1440; i < min(bin-1440+60, bin); i++ {
			sum, n := 0.0, 0.0
			for j := max(0, i-15); j <= min(bin-1, i+15); j++ {
				sum, n = sum+value(j), n+1
			}
			most = max(most, sum/n)
		}
		if got := float64(o.Value[bin]); math.Abs(got-1.2*most) > 1e-4*most {
			t.Errorf("bin %d: %v, expected %v", bin, got, 1.2*most)
		}
	}
	if v := o.Value[1000]; v == v {
		t.Errorf("it forecasts %v before there is a yesterday", v)
	}
}

// TestForecastsKnowNothingNewer changes the future, and no forecast made before may change.
func TestForecastsKnowNothingNewer(t *testing.T) {
	series := traces.DailyService(4, 2)
	other := series
	other.Bins = append([]forecaster.Observation(nil), series.Bins...)
	const change = 2000
	for i := change; i < len(other.Bins); i++ {
		other.Bins[i] = forecaster.Value(1e6)
	}
	quantiles := []float64{0.5, 0.95}
	a, err := Forecast(series, time.UTC, 5*time.Minute, quantiles, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Forecast(other, time.UTC, 5*time.Minute, quantiles, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	crane, craned := CraneLike(series, time.Hour, 1), CraneLike(other, time.Hour, 1)
	for m := range change + 1 {
		for j := range quantiles {
			if x, y := a.Outlooks[j].Value[m], b.Outlooks[j].Value[m]; x != y && (x == x || y == y) {
				t.Fatalf("the forecast of minute %d knows of minute %d: %v, %v", m, change, x, y)
			}
		}
		if x, y := crane.Value[m], craned.Value[m]; x != y && (x == x || y == y) {
			t.Fatalf("the Crane-like forecast of minute %d knows of minute %d", m, change)
		}
	}
	if a.Outlooks[1].Value[change+1] == b.Outlooks[1].Value[change+1] {
		t.Error("the change is not seen when it has come")
	}
}

func TestFewGPUs(t *testing.T) {
	s := scenario(time.Minute, 60, 20, 80)
	s.GPUs = 5
	r := must(t, s, Policy{Name: "HPA"})
	if r.MostPods != 8 {
		t.Errorf("%d pods at most, expected 8: five that run and three that wait", r.MostPods)
	}
	if want := 30 * 3600.0; math.Abs(r.Late-want) > 0.1*want {
		t.Errorf("late work %v, expected about %v: 30 of 80 for an hour", r.Late, want)
	}
}

func TestFailures(t *testing.T) {
	s := scenario(2*time.Minute, 6000, 75)
	s.Fails = 0.5
	r := must(t, s, Policy{Name: "HPA"})
	if want := 0.5 * 8 * 100; math.Abs(float64(r.Failed)-want) > 4*math.Sqrt(want) {
		t.Errorf("%d pods failed in a hundred hours, expected about %v", r.Failed, want)
	}
	// Each takes one of eight replicas away for two minutes; the load of 7.5 then lacks half of one.
	if want := float64(r.Failed) * 5 * 120; math.Abs(r.Late-want) > 0.3*want {
		t.Errorf("late work %v, expected about %v", r.Late, want)
	}
}

func TestUnknownLoadIsNotZero(t *testing.T) {
	s := scenario(time.Minute, 30, 80, math.NaN(), 80)
	record := NewTimeline(s)
	r, err := Run(s, Policy{Name: "+1", Floors: &Swept{Buffer: 1, Hold: 5 * time.Minute, Min: 1}, Actuation: ByMinReplicas}, record)
	if err != nil {
		t.Fatal(err)
	}
	for m := 35; m < 60; m++ {
		if record.Ready[m] < 9 {
			t.Fatalf("%d pods in minute %d: unknown demand lowered them", record.Ready[m], m)
		}
	}
	if math.Abs(r.UnknownShare-1.0/3) > 1e-9 || r.Late != 0 {
		t.Errorf("%v of the time unknown, %v late", r.UnknownShare, r.Late)
	}
}

// FuzzTheBooksBalance: whatever is offered and however pods come and go, Run's own checks hold and its figures are possible.
func FuzzTheBooksBalance(f *testing.F) {
	f.Add(uint64(1), uint8(8), uint8(0), uint8(2), uint16(60))
	f.Add(uint64(2), uint8(0), uint8(3), uint8(0), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, lead, gpus, buffer uint8, patience uint16) {
		r := rand.New(rand.NewPCG(seed, 12))
		s := scenario(0, 1, 0)
		s.Offered = story(r, 120)
		s.Lead = LeadTimes{Min: time.Duration(lead) * time.Second, Max: time.Duration(lead)*time.Second + time.Duration(r.IntN(300))*time.Second}
		s.GPUs, s.Fails, s.Seed, s.Patience = int(gpus), 3*r.Float64(), seed, time.Duration(patience)*time.Second
		got, err := Run(s, Policy{Name: "x", Floors: &Swept{Buffer: int(buffer % 8), Hold: 5 * time.Minute, Min: 1}, Actuation: ByMetric + Actuation(seed%2), ToleranceUp: zero()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.LateShare < 0 || got.LateShare > 1 || got.Unserved < 0 || got.Unserved > 1 || got.PodHours < 0 || got.Wait50 > got.Wait95 || got.Wait95 > got.Wait99 {
			t.Fatalf("impossible: %+v", got)
		}
	})
}
