package hpa

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func seconds(n int) *time.Duration {
	d := time.Duration(n) * time.Second
	return &d
}

func TestTimeToReach(t *testing.T) {
	rules := func(r Rules) *Behavior { return &Behavior{ScaleUp: r} }
	for _, test := range []struct {
		name     string
		behavior *Behavior
		from, to int32
		want     time.Duration
		reached  bool
	}{
		{"there already", nil, 5, 5, 0, true},
		{"one sync", nil, 5, 10, 0, true},
		{"doubling without a behavior", nil, 1, 40, 60 * time.Second, true},           // 4 8 16 32 40
		{"the defaults of a behavior", rules(Rules{}), 1, 40, 45 * time.Second, true}, // 5 10 20 40
		{"one pod a minute", rules(Rules{Policies: []Policy{{PodsPolicy, 1, time.Minute}}}), 4, 10, 5 * time.Minute, true},
		{"a window up", rules(Rules{StabilizationWindow: seconds(60)}), 5, 9, 45 * time.Second, true},
		{"the smaller of two", rules(Rules{SelectPolicy: SelectMin, Policies: []Policy{{PercentPolicy, 100, 15 * time.Second}, {PodsPolicy, 2, 30 * time.Second}}}), 1, 6, time.Minute, true}, // 2 3 4 5 6
		{"disabled", rules(Rules{SelectPolicy: SelectDisabled}), 1, 2, 0, false},
		{"per cent of nothing", rules(Rules{Policies: []Policy{{PercentPolicy, 100, 15 * time.Second}}}), 0, 3, 0, false},
		{"more than a day", rules(Rules{Policies: []Policy{{PodsPolicy, 1, 30 * time.Minute}}}), 0, 60, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, reached := TimeToReach(test.behavior, test.from, test.to, 15*time.Second)
			if got != test.want || reached != test.reached {
				t.Errorf("%v, %v; want %v, %v", got, reached, test.want, test.reached)
			}
		})
	}
}

// TestTimeToReachIsWhatTheHPATakes plays the same way with a whole HPA that reads the floor as a metric.
func TestTimeToReachIsWhatTheHPATakes(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 2))
		spec := documented()
		spec.MaxReplicas = math.MaxInt32
		up := &spec.Behavior.ScaleUp
		if r.IntN(3) == 0 {
			up.StabilizationWindow = seconds(r.IntN(120))
		}
		up.SelectPolicy = SelectPolicy(r.IntN(3))
		for range r.IntN(4) {
			up.Policies = append(up.Policies, Policy{PolicyKind(1 + r.IntN(2)), int32(1 + r.IntN(100)), time.Duration(1+r.IntN(120)) * time.Second})
		}
		sync := time.Duration(1+r.IntN(20)) * time.Second
		from := int32(1 + r.IntN(20))
		to := from + int32(r.IntN(50))
		want, reached := TimeToReach(spec.Behavior, from, to, sync)
		a, err := New(spec, DefaultFlags())
		if err != nil {
			t.Fatal(err)
		}
		replicas, now := from, start.Add(-sync)
		step := func(floor int32) {
			replicas = a.Step(now, Workload{SpecReplicas: replicas, StatusReplicas: replicas}, []Reading{{Value: int64(floor) * 1000}}).Replicas
			now = now.Add(sync)
		}
		for step(from); replicas < to && now.Sub(start) < 25*time.Hour; {
			step(to)
		}
		got := max(0, now.Add(-sync).Sub(start))
		if !reached || got != want {
			t.Fatalf("seed %d: %v (%v), the HPA took %v from %d to %d\n%+v", seed, want, reached, got, from, to, spec.Behavior)
		}
	}
}

func TestLift(t *testing.T) {
	spec := documented()
	spec.Behavior, spec.MaxReplicas = nil, math.MaxInt32
	a, err := New(spec, DefaultFlags())
	if err != nil {
		t.Fatal(err)
	}
	acts := func(value, replicas int32) bool {
		got, failure := a.Propose(start, 0, Workload{SpecReplicas: replicas, StatusReplicas: replicas}, Reading{Value: int64(value) * 1000})
		return failure == 0 && got != replicas
	}
	for replicas := int32(1); replicas <= 200000; replicas++ {
		floor := replicas + 1
		lifted := Lift(floor, replicas)
		if lifted < floor || !acts(lifted, replicas) {
			t.Fatalf("at %d replicas a floor of %d is lifted to %d, which is hidden", replicas, floor, lifted)
		}
		if lifted > floor && acts(lifted-1, replicas) {
			t.Fatalf("at %d replicas %d is more than is needed", replicas, lifted)
		}
	}
	for _, test := range []struct{ floor, replicas, want int32 }{
		{20, 20, 20}, {12, 20, 12}, {22, 20, 23}, {40, 20, 40}, {1, 0, 1}, {math.MaxInt32, math.MaxInt32 - 1, math.MaxInt32},
	} {
		if got := Lift(test.floor, test.replicas); got != test.want {
			t.Errorf("Lift(%d, %d) = %d, want %d", test.floor, test.replicas, got, test.want)
		}
	}
}

func TestExamine(t *testing.T) {
	tolerant := func(s Spec) Spec { s.Behavior = &Behavior{}; return s }
	base := Examination{Spec: documented(), Flags: DefaultFlags(), Actuation: ByMetric, Replicas: 5, Floor: 7, Buffer: 2, LeadTime: 4 * time.Minute}
	for _, test := range []struct {
		name   string
		change func(x *Examination)
		want   []Problem
		says   string
	}{
		{"the documented HPA", func(*Examination) {}, nil, ""},
		{"max below the floor", func(x *Examination) { x.Floor = 50; x.Actuation = ByMinReplicas },
			[]Problem{{Reason: MaxBelowFloor, Severity: Swallows, Field: "maxReplicas"}}, "maxReplicas 40 is below the floor of 50"},
		{"tolerance, not yet", func(x *Examination) { x.Spec = tolerant(x.Spec) },
			[]Problem{{Reason: ToleranceHidesBuffer, Severity: Warns, Field: "behavior.scaleUp.tolerance", From: 20}},
			"tolerance of 10 % will hide a raise by 2 from 20 replicas on: set behavior.scaleUp.tolerance to \"0\""},
		{"tolerance, now", func(x *Examination) { x.Spec = tolerant(x.Spec); x.Replicas, x.Floor = 25, 27 },
			[]Problem{{Reason: ToleranceHidesBuffer, Severity: Swallows, Field: "behavior.scaleUp.tolerance", From: 20}}, "hides the floor of 27 at the present 25 replicas"},
		{"tolerance, exactly at the boundary", func(x *Examination) { x.Spec = tolerant(x.Spec); x.Replicas, x.Floor = 20, 22 },
			[]Problem{{Reason: ToleranceHidesBuffer, Severity: Swallows, Field: "behavior.scaleUp.tolerance", From: 20}}, "floor of 22"},
		{"tolerance never reached", func(x *Examination) { x.Spec = tolerant(x.Spec); x.Spec.MaxReplicas = 21 }, nil, ""},
		{"tolerance just reached", func(x *Examination) { x.Spec = tolerant(x.Spec); x.Spec.MaxReplicas = 22 },
			[]Problem{{Reason: ToleranceHidesBuffer, Severity: Warns, Field: "behavior.scaleUp.tolerance", From: 20}}, ""},
		{"tolerance dropped", func(x *Examination) { x.Spec = tolerant(x.Spec); x.ToleranceDropped = true },
			[]Problem{{Reason: ToleranceDropped, Severity: Warns, Field: "behavior.scaleUp.tolerance", From: 20}}, "MinReplicas, or deadband: Lift"},
		{"tolerance dropped, harmless here", func(x *Examination) { x.Spec = tolerant(x.Spec); x.ToleranceDropped = true; x.Spec.MaxReplicas = 10 },
			[]Problem{{Reason: ToleranceDropped, Severity: Warns, Field: "behavior.scaleUp.tolerance"}}, "hides no raise by 2"},
		{"lifted", func(x *Examination) {
			x.Spec = tolerant(x.Spec)
			x.ToleranceDropped, x.Lift, x.Replicas, x.Floor = true, true, 25, 27
		}, nil, ""},
		{"lifted over a larger tolerance", func(x *Examination) {
			x.Spec = tolerant(x.Spec)
			x.Flags.Tolerance, x.Lift, x.Replicas, x.Floor = 0.2, true, 25, 27
		}, []Problem{{Reason: ToleranceHidesBuffer, Severity: Swallows, Field: "behavior.scaleUp.tolerance", From: 10}}, "Lift reaches over 10 % only"},
		{"tolerance does not matter to minReplicas", func(x *Examination) {
			x.Spec = tolerant(x.Spec)
			x.Actuation, x.Replicas, x.Floor = ByMinReplicas, 25, 27
			x.Spec.Behavior.ScaleUp.SelectPolicy = SelectDisabled
		}, nil, ""},
		{"a Value target", func(x *Examination) { x.Spec.Metrics[0].Target = Value },
			[]Problem{{Reason: ValueTarget, Severity: Swallows, Field: "metrics[0].target"}}, "AverageValue"},
		{"another average", func(x *Examination) { x.Spec.Metrics[0].TargetMilli = 2500 },
			[]Problem{{Reason: TargetNotOne, Severity: Swallows, Field: "metrics[0].target"}}, "averageValue of 2.5"},
		{"none of ours", func(x *Examination) { x.Spec.Metrics[0].Headroom = false },
			[]Problem{{Reason: NoHeadroomMetric, Severity: Swallows, Field: "metrics"}}, "lists none of Headroom's metrics"},
		{"others beside", func(x *Examination) {
			x.Spec.Metrics = append(x.Spec.Metrics, Metric{Kind: Pods, Name: "qps", Target: AverageValue, TargetMilli: 1})
		}, []Problem{{Reason: OtherMetrics, Severity: Warns, Field: "metrics[1]"}}, "Pods qps"},
		{"disabled", func(x *Examination) { x.Spec.Behavior.ScaleUp.SelectPolicy = SelectDisabled },
			[]Problem{{Reason: ScaleUpDisabled, Severity: Swallows, Field: "behavior.scaleUp.selectPolicy"}}, "MinReplicas"},
		{"too slow", func(x *Examination) {
			x.Spec.Behavior.ScaleUp.Policies = []Policy{{PodsPolicy, 1, time.Minute}}
			x.Floor = 12
		}, []Problem{{Reason: ScaleUpTooSlow, Severity: Swallows, Field: "behavior.scaleUp", Needs: 6 * time.Minute}}, "need 6m0s and the lead time is 4m0s"},
		{"just in time", func(x *Examination) {
			x.Spec.Behavior.ScaleUp.Policies = []Policy{{PodsPolicy, 1, time.Minute}}
			x.Floor = 10
		}, nil, ""},
		{"off at zero", func(x *Examination) { x.Replicas, x.Floor = 0, 2 },
			[]Problem{{Reason: OffAtZero, Severity: Swallows, Field: "scaleTargetRef"}}, "scale the target to 1"},
		{"at zero by itself", func(x *Examination) { x.Replicas, x.Floor, x.ScaledToZero = 0, 2, true }, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := base
			x.Spec = documented()
			test.change(&x)
			got := Examine(x)
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Problem{}, "Message")); diff != "" {
				t.Errorf("(-want +got)\n%s\n%v", diff, got)
			}
			if len(got) > 0 && !strings.Contains(got[0].Message, test.says) {
				t.Errorf("%q does not say %q", got[0].Message, test.says)
			}
		})
	}
}

// TestExamineAgainstTheHPA asks the HPA itself: what is said to be hidden does not move it, and what is not does.
func TestExamineAgainstTheHPA(t *testing.T) {
	for _, tolerance := range []float64{0, 0.05, 0.07, 0.1, 0.101, 0.15, 0.25, 0.5} {
		for _, lift := range []bool{false, true} {
			for buffer := range int32(6) {
				spec, flags := documented(), DefaultFlags()
				spec.Behavior, spec.MaxReplicas, flags.Tolerance = nil, 150, tolerance
				a, err := New(spec, flags)
				if err != nil {
					t.Fatal(err)
				}
				first := int32(0)
				for n := int32(1); n+max(1, buffer) <= spec.MaxReplicas; n++ {
					floor := n + max(1, buffer)
					served := floor
					if lift {
						served = Lift(floor, n)
					}
					moved, _ := a.Propose(start, 0, Workload{SpecReplicas: n, StatusReplicas: n}, Reading{Value: int64(served) * 1000})
					if moved == n && first == 0 {
						first = n
					}
					x := Examination{Spec: spec, Flags: flags, Actuation: ByMetric, Lift: lift, Replicas: n, Floor: floor, Buffer: buffer, LeadTime: time.Hour}
					swallowed := false
					for _, p := range Examine(x) {
						swallowed = swallowed || p.Severity == Swallows
					}
					if swallowed != (moved == n) {
						t.Fatalf("tolerance %v, lift %v, %d of %d: the HPA goes to %d, the examination says swallowed: %v", tolerance, lift, floor, n, moved, swallowed)
					}
				}
				x := Examination{Spec: spec, Flags: flags, Actuation: ByMetric, Lift: lift, Replicas: 1, Floor: 1, Buffer: buffer, LeadTime: time.Hour}
				from := int32(0)
				for _, p := range Examine(x) {
					from = p.From
				}
				if from != first {
					t.Errorf("tolerance %v, lift %v, buffer %d: begins at %d, the HPA's first is %d", tolerance, lift, buffer, from, first)
				}
			}
		}
	}
}

func ExampleExamine() {
	spec := Spec{MinReplicas: 1, MaxReplicas: 40, Behavior: &Behavior{ScaleUp: Rules{Policies: []Policy{{PodsPolicy, 2, time.Minute}}}},
		Metrics: []Metric{{Kind: External, Name: "headroom_replicas", Target: AverageValue, TargetMilli: 1000, Headroom: true}}}
	for _, p := range Examine(Examination{Spec: spec, Flags: DefaultFlags(), Actuation: ByMetric, Replicas: 25, Floor: 27, Buffer: 2, LeadTime: 4 * time.Minute}) {
		fmt.Printf("%s %s: %s\n", p.Severity, p.Reason, p.Message)
	}
	// Output:
	// Swallows ToleranceHidesBuffer: the HPA's scale-up tolerance of 10 % hides the floor of 27 at the present 25 replicas, and a raise by 2 from 20 replicas on: set behavior.scaleUp.tolerance to "0" (Kubernetes 1.35 and later), or use actuation mode MinReplicas
}
