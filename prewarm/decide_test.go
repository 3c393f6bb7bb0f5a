package prewarm

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

var nan = math.NaN()

func plan() Policy {
	return Policy{PerReplica: 12, Unit: "req/s", BufferReplicas: 2, BufferOnForecast: 1, MinReplicas: 1, MaxReplicas: 40,
		MaxGrowth: 2, ForecastMode: ForecastOn, Quantile: 0.95}
}

func known(value float64) Demand { return Demand{Value: value, Known: true, Ready: 40} }

func TestReplicasFor(t *testing.T) {
	for _, test := range []struct {
		name             string
		load, perReplica float64
		want             int
	}{
		{"a whole number", 60, 12, 5},
		{"a whole number by a float that is not", 0.1 * 3, 0.1, 3},
		{"a sum of sixty ones of a tenth", tenths(600), 12, 5},
		{"a little more", 60.001, 12, 6},
		{"nothing", 0, 12, 0},
		{"next to nothing", 1e-12, 12, 1},
		{"more than there can be", 1e300, 1e-300, 1<<31 - 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := replicasFor(test.load, test.perReplica); got != test.want {
				t.Errorf("replicasFor(%v, %v) = %d, want %d", test.load, test.perReplica, got, test.want)
			}
		})
	}
}

func tenths(n int) float64 {
	var sum float64
	for range n {
		sum += 0.1
	}
	return sum
}

func TestOneDecision(t *testing.T) {
	office := Floor{Replicas: 12, Window: "office", OpensAt: noon.Add(-3*time.Hour - 30*time.Minute), ClosesAt: noon.Add(6 * time.Hour)}
	forecast := Forecast{Value: 161, Quantile: 0.95, Horizon: 4*time.Minute + 10*time.Second, Known: true}
	type outcome struct {
		Need, Forecast, Schedule, Floor, AtLeast int
		Valid                                    bool
		Kind                                     ReasonKind
		Reason                                   string
	}
	for _, test := range []struct {
		name     string
		policy   func(*Policy)
		demand   Demand
		forecast Forecast
		schedule Floor
		want     outcome
	}{
		{
			name: "N+2", demand: known(60),
			want: outcome{5, 0, 0, 7, 7, true, ReasonReactive, "demand 60 req/s needs 5 at 12 each, + 2 buffer"},
		},
		{
			name: "the forecast adds", demand: known(60), forecast: forecast,
			want: outcome{5, 15, 0, 15, 15, true, ReasonForecast, "forecast q0.95 of 161 req/s within 4m10s needs 14 at 12 each, + 1 reserve"},
		},
		{
			name: "the forecast never takes away", demand: known(240), forecast: forecast,
			want: outcome{20, 15, 0, 22, 22, true, ReasonReactive, "demand 240 req/s needs 20 at 12 each, + 2 buffer"},
		},
		{
			name: "in the shadow", demand: known(60), forecast: forecast, policy: func(p *Policy) { p.ForecastMode = ForecastShadow },
			want: outcome{5, 15, 0, 7, 7, true, ReasonReactive, "demand 60 req/s needs 5 at 12 each, + 2 buffer"},
		},
		{
			name: "switched off", demand: known(60), forecast: forecast, policy: func(p *Policy) { p.ForecastMode = ForecastOff },
			want: outcome{5, 0, 0, 7, 7, true, ReasonReactive, "demand 60 req/s needs 5 at 12 each, + 2 buffer"},
		},
		{
			name: "a forecast that is not a number is none", demand: known(60), forecast: Forecast{Value: nan, Known: true},
			want: outcome{5, 0, 0, 7, 7, true, ReasonReactive, "demand 60 req/s needs 5 at 12 each, + 2 buffer"},
		},
		{
			name: "a window", demand: known(60), schedule: office,
			want: outcome{5, 0, 12, 12, 12, true, ReasonSchedule, "window office (08:30–18:00) asks 12"},
		},
		{
			name: "a window that opens soon", demand: known(60),
			schedule: Floor{Replicas: 9, Window: "launch", OpensAt: noon.Add(time.Minute), ClosesAt: noon.Add(49 * time.Hour)},
			want:     outcome{5, 0, 9, 9, 9, true, ReasonSchedule, "window launch (2 Mar 12:01–4 Mar 13:00) asks 9, ahead of its start"},
		},
		{
			name: "a window's ceiling", demand: known(240), schedule: Floor{Replicas: 2, MaxReplicas: 4, Window: "night"},
			want: outcome{20, 0, 2, 4, 4, true, ReasonLimits, "an open window's maxReplicas keeps it at 4; demand 240 req/s needs 20 at 12 each, + 2 buffer"},
		},
		{
			name: "a window's ceiling below the floor of another gives way", demand: known(240), schedule: Floor{Replicas: 6, MaxReplicas: 4, Window: "late"},
			want: outcome{20, 0, 6, 6, 6, true, ReasonLimits, "an open window's maxReplicas keeps it at 6; demand 240 req/s needs 20 at 12 each, + 2 buffer"},
		},
		{
			name: "the minimum", demand: known(0), policy: func(p *Policy) { p.MinReplicas = 3 },
			want: outcome{0, 0, 0, 3, 3, true, ReasonLimits, "limits.minReplicas raises 2 to 3; demand 0 req/s needs 0 at 12 each, + 2 buffer"},
		},
		{
			name: "to zero", demand: known(0), policy: func(p *Policy) { p.MinReplicas, p.BufferReplicas = 0, 0 },
			want: outcome{0, 0, 0, 0, 0, true, ReasonReactive, "demand 0 req/s needs 0 at 12 each"},
		},
		{
			name: "the maximum", demand: known(1200),
			want: outcome{100, 0, 0, 40, 40, true, ReasonLimits, "limits.maxReplicas caps 102 at 40; demand 1200 req/s needs 100 at 12 each, + 2 buffer"},
		},
		{
			name: "no maximum", demand: known(1200), policy: func(p *Policy) { p.MaxReplicas = 0 },
			want: outcome{100, 0, 0, 102, 102, true, ReasonReactive, "demand 1200 req/s needs 100 at 12 each, + 2 buffer"},
		},
		{
			name: "saturated", demand: Demand{Value: 60, Known: true, Ready: 5, Saturated: true},
			want: outcome{8, 0, 0, 10, 10, true, ReasonSaturated, "demand is at least 60 req/s: 5 ready replicas carry all they can, so 10 (2 times as many)"},
		},
		{
			name: "saturated, and demand is known to be more than that", demand: Demand{Value: 144, Known: true, Ready: 5, Saturated: true},
			want: outcome{12, 0, 0, 14, 14, true, ReasonReactive, "demand 144 req/s needs 12 at 12 each, + 2 buffer"},
		},
		{
			name: "saturated by a growth that is not whole", demand: Demand{Value: 84, Known: true, Ready: 7, Saturated: true}, policy: func(p *Policy) { p.MaxGrowth = 1.5 },
			want: outcome{9, 0, 0, 11, 11, true, ReasonSaturated, "demand is at least 84 req/s: 7 ready replicas carry all they can, so 11 (1.5 times as many)"},
		},
		{
			name: "filled", demand: Demand{Value: 60, Known: true, Ready: 40, Filled: 1, Reason: "1 of 12 lacks a sample"},
			want: outcome{5, 0, 0, 7, 7, true, ReasonReactive, "demand 60 req/s needs 5 at 12 each, + 2 buffer (1 of 12 lacks a sample)"},
		},
		{
			name: "unknown", demand: Demand{Value: 60, Reason: "Prometheus does not answer"}, forecast: forecast,
			want: outcome{0, 0, 0, 0, 1, false, ReasonDemandUnknown, "demand is unknown: Prometheus does not answer; nothing is lowered"},
		},
		{
			name: "unknown, in a window", demand: Demand{Reason: "Prometheus does not answer"}, schedule: office,
			want: outcome{0, 0, 12, 0, 12, false, ReasonDemandUnknown, "demand is unknown: Prometheus does not answer; nothing is lowered, and window office (08:30–18:00) asks 12"},
		},
		{
			name: "not a number", demand: Demand{Value: nan, Known: true},
			want: outcome{0, 0, 0, 0, 1, false, ReasonDemandUnknown, "demand is unknown: NaN is no demand; nothing is lowered"},
		},
		{
			name: "the zero demand", schedule: office,
			want: outcome{0, 0, 12, 0, 12, false, ReasonDemandUnknown, "demand is unknown: never measured; nothing is lowered, and window office (08:30–18:00) asks 12"},
		},
		{
			name: "pods find no node", demand: Demand{Value: 240, Known: true, Ready: 4, NotReady: 3, Unschedulable: 2}, policy: func(p *Policy) { p.StopWhenUnschedulable = true },
			want: outcome{20, 0, 0, 7, 7, true, ReasonUnschedulable, "stopped at 7 of 22: 2 pods find no node, and limits.stopWhenUnschedulable is set; demand 240 req/s needs 20 at 12 each, + 2 buffer"},
		},
		{
			name: "pods find no node, which is what makes nodes", demand: Demand{Value: 240, Known: true, Ready: 4, NotReady: 3, Unschedulable: 2},
			want: outcome{20, 0, 0, 22, 22, true, ReasonReactive, "demand 240 req/s needs 20 at 12 each, + 2 buffer"},
		},
		{
			name: "a policy that cannot be followed", demand: known(60), schedule: office, policy: func(p *Policy) { p.PerReplica, p.MaxGrowth = 0, 0.5 },
			want: outcome{0, 0, 12, 0, 12, false, ReasonInvalidPolicy, "the policy cannot be followed: demand.perReplica: 0: must be a finite number above 0; limits.maxGrowth: 0.5: must be a finite number, 1 or more"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy := plan()
			if test.policy != nil {
				test.policy(&policy)
			}
			d, _ := Decide(noon, State{}, test.demand, test.forecast, test.schedule, Fixed(4*time.Minute), policy)
			got := outcome{d.Need, d.Forecast, d.Schedule, d.Floor, d.FloorAtLeast, d.Valid, d.Kind, d.Reason}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("decision (-want +got)\n%s", diff)
			}
		})
	}
}

func TestPolicyValidateNamesEveryProblem(t *testing.T) {
	err := Policy{PerReplica: -1, BufferReplicas: -1, BufferOnForecast: -2, MinReplicas: -3, MaxReplicas: -4, MaxGrowth: nan, ScaleDownHold: -1, Quantile: 1}.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, path := range []string{"demand.perReplica: -1", "buffer.replicas: -1", "buffer.onForecast: -2", "limits.minReplicas: -3", "limits.maxReplicas: -4",
		"limits.maxGrowth: NaN", "scaleDownHold: -1ns", "forecast.mode: forecast mode 0", "forecast.risk.quantile: 1"} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%q is not among\n%v", path, err)
		}
	}
	if err := plan().Validate(); err != nil {
		t.Error(err)
	}
	swapped := plan()
	swapped.MinReplicas, swapped.MaxReplicas = 5, 4
	if err := swapped.Validate(); err == nil {
		t.Error("a maximum below the minimum is valid")
	}
}

func TestADecisionGrowsStale(t *testing.T) {
	d, _ := Decide(noon, State{}, known(60), Forecast{}, Floor{}, LeadTime{}, plan())
	if got := d.AsOf(noon.Add(StaleAfter)); !got.Valid {
		t.Errorf("stale already: %s", got.Reason)
	}
	got := d.AsOf(noon.Add(StaleAfter + time.Second))
	want := "decided 3m1s ago, at 2026-03-02T12:00:00Z; a decision counts for 3m0s"
	if got.Valid || got.Kind != ReasonStale || got.Reason != want || got.FloorAtLeast != 7 {
		t.Errorf("%+v, want it stale: %s", got, want)
	}
	if got := (Decision{}).AsOf(noon); got.Kind != 0 {
		t.Errorf("no decision has become one: %+v", got)
	}
}

// What is served by pods that have no sample yet looks like a fall of demand. It is none.
func TestASumThatLacksNewPodsLowersNothing(t *testing.T) {
	policy := Policy{PerReplica: 12, BufferReplicas: 2, MaxReplicas: 40, MaxGrowth: 2, ScaleDownHold: 10 * time.Second, ForecastMode: ForecastOff}
	var s State
	var d Decision
	at := noon
	look := func(demand Demand) {
		demand.Known, demand.Ready = true, 10
		d, s = Decide(at, s, demand, Forecast{}, Floor{}, LeadTime{}, policy)
		at = at.Add(5 * time.Second)
	}
	look(Demand{Value: 60})
	for range 12 { // a minute, in which the hold has long passed
		look(Demand{Value: 30, Partial: true})
	}
	if d.Floor != 7 {
		t.Errorf("floor %d, want the 7 that stood: %s", d.Floor, d.Reason)
	}
	look(Demand{Value: 120, Partial: true})
	if d.Floor != 12 {
		t.Errorf("floor %d, want 12: it may rise", d.Floor)
	}
	for range 4 {
		look(Demand{Value: 30})
	}
	if d.Floor != 5 {
		t.Errorf("floor %d, want 5 a hold after the pods are seen: %s", d.Floor, d.Reason)
	}
}

// A clock that is set forward on the leader is no time in which nothing happened: the floor stands a whole hold after it. Times
// that carry Go's monotonic reading would hide the step, so the controller's clock gives none.
func TestAClockThatIsSetForwardLowersNothingAtOnce(t *testing.T) {
	policy := Policy{PerReplica: 12, BufferReplicas: 2, MaxReplicas: 40, MaxGrowth: 2, ScaleDownHold: 5 * time.Minute, ForecastMode: ForecastOff}
	_, s := Decide(noon, State{}, Demand{Value: 300, Known: true, Ready: 27}, Forecast{}, Floor{}, LeadTime{}, policy)
	d, s := Decide(noon.Add(10*time.Minute), s, Demand{Value: 60, Known: true, Ready: 27}, Forecast{}, Floor{}, LeadTime{}, policy)
	if d.Floor != 27 {
		t.Errorf("floor %d right after the step, want 27: %s", d.Floor, d.Reason)
	}
	_, s = Decide(noon.Add(12*time.Minute), s, Demand{Value: 60, Known: true, Ready: 27}, Forecast{}, Floor{}, LeadTime{}, policy)
	_, s = Decide(noon.Add(14*time.Minute), s, Demand{Value: 60, Known: true, Ready: 27}, Forecast{}, Floor{}, LeadTime{}, policy)
	d, _ = Decide(noon.Add(16*time.Minute), s, Demand{Value: 60, Known: true, Ready: 27}, Forecast{}, Floor{}, LeadTime{}, policy)
	if d.Floor != 7 {
		t.Errorf("floor %d a hold later, want 7: %s", d.Floor, d.Reason)
	}
}

// When the forecaster is dead, a Headroom with a forecast decides as one without: reactive, buffer and calendar.
func TestADeadForecasterLeavesDemandBufferAndCalendar(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	with := Policy{PerReplica: 12, BufferReplicas: 2, BufferOnForecast: 1, MinReplicas: 1, MaxReplicas: 60, MaxGrowth: 2, ForecastMode: ForecastOn, Quantile: 0.95}
	without := with
	without.ForecastMode = ForecastOff
	var dead, none State
	at := noon
	for range 5000 {
		at = at.Add(15 * time.Second)
		demand := Demand{Value: 600 * random.Float64(), Known: random.Float64() < 0.95, Ready: random.IntN(40), Reason: "missing"}
		schedule := Floor{Replicas: random.IntN(3) * random.IntN(30)}
		var a, b Decision
		a, dead = Decide(at, dead, demand, Forecast{Reason: "the history cannot be read"}, schedule, LeadTime{}, with)
		b, none = Decide(at, none, demand, Forecast{}, schedule, LeadTime{}, without)
		if a.Valid != b.Valid || a.Floor != b.Floor || a.FloorAtLeast != b.FloorAtLeast || a.Kind != b.Kind {
			t.Fatalf("at %s: %+v with a dead forecaster, %+v without one", at, a, b)
		}
	}
}
