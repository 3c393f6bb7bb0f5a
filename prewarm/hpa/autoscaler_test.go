package hpa

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSpecValidateNamesEveryProblem(t *testing.T) {
	window, tolerance := 90*time.Minute, -0.1
	bad := Spec{MinReplicas: 5, MaxReplicas: 3, Metrics: []Metric{{Kind: Pods, Target: Value, TargetMilli: 1000}, {Kind: Resource, Target: Utilization}},
		Behavior: &Behavior{ScaleDown: Rules{StabilizationWindow: &window, SelectPolicy: 9, Tolerance: &tolerance,
			Policies: []Policy{{Value: -1, Period: 31 * time.Minute}}}}}
	err := bad.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, path := range []string{"maxReplicas", "metrics[0].target.type", "metrics[1].target", "scaleDown.stabilizationWindowSeconds",
		"scaleDown.selectPolicy", "policies[0].type", "policies[0].value", "policies[0].periodSeconds", "scaleDown.tolerance"} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%s is not in:\n%v", path, err)
		}
	}
	if err := documented().Validate(); err != nil {
		t.Error(err)
	}
	zero := documented()
	zero.MinReplicas = 0
	if err := zero.Validate(); err != nil {
		t.Error(err)
	}
	zero.Metrics = []Metric{{Kind: Resource, CPU: true, Target: Utilization, TargetMilli: 80}}
	if zero.Validate() == nil {
		t.Error("0 replicas by cpu alone were accepted")
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	a, err := New(documented(), DefaultFlags())
	if err != nil {
		t.Fatal(err)
	}
	now, n, replicas := start, 0, int32(1)
	readings := make([]Reading, 1)
	step := func() {
		readings[0].Value = day(n)
		now, n = now.Add(15*time.Second), n+1
		replicas = a.Step(now, Workload{SpecReplicas: replicas, StatusReplicas: replicas}, readings).Replicas
	}
	for range 10000 {
		step()
	}
	if allocations := testing.AllocsPerRun(20000, step); allocations != 0 {
		t.Errorf("%v allocations per step", allocations)
	}
	if len(a.recommended) > 25 || len(a.ups) > 4 || len(a.downs) > 4 {
		t.Errorf("memory grows: %d recommendations, %d and %d events", len(a.recommended), len(a.ups), len(a.downs))
	}
}

func TestRestartForgetsWhatHeldPods(t *testing.T) {
	a, err := New(documented(), DefaultFlags())
	if err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration, replicas int32, floor int64) Result {
		return a.Step(start.Add(d), Workload{SpecReplicas: replicas, StatusReplicas: replicas}, []Reading{{Value: floor * 1000}})
	}
	at(0, 4, 8)
	if got := at(15*time.Second, 8, 3).Replicas; got != 8 {
		t.Fatalf("held at %d, want 8", got)
	}
	a.Restart()
	// The first sync remembers what there is, so the controller manager's own restart deletes nothing.
	if got := at(30*time.Second, 8, 3); got.Replicas != 8 || got.Conditions.AbleToScale.Reason != ScaleDownStabilized {
		t.Errorf("after a restart: %+v", got)
	}
}

// states makes small random lives for the properties below.
func states(r *rand.Rand) (Spec, Flags) {
	spec := documented()
	spec.MinReplicas = int32(1 + r.IntN(4))
	spec.MaxReplicas = spec.MinReplicas + int32(r.IntN(30))
	spec.Metrics = append(spec.Metrics, Metric{Kind: Pods, Name: "p", Target: AverageValue, TargetMilli: int64(1 + r.IntN(5000))},
		Metric{Kind: Resource, Name: "cpu", CPU: true, Target: Utilization, TargetMilli: int64(1 + r.IntN(150))})
	spec.Metrics = spec.Metrics[r.IntN(3):]
	if r.IntN(2) == 0 {
		spec.Behavior = nil
	}
	return spec, DefaultFlags()
}

// FuzzStep holds what a user may rely on, whatever the state: bounds, nothing deleted on the word of a missing metric, and no
// difference between pods as a list and as sums.
func FuzzStep(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		spec, flags := states(r)
		listed, err := New(spec, flags)
		if err != nil {
			t.Fatal(err)
		}
		summed, _ := New(spec, flags)
		now, replicas := start, int32(1+r.IntN(20))
		for range 40 {
			now = now.Add(time.Duration(r.IntN(30)) * time.Second)
			w := Workload{SpecReplicas: replicas, StatusReplicas: replicas, List: make([]Pod, replicas)}
			for i := range w.List {
				w.List[i] = Pod{Phase: Phase(1 + r.IntN(5)), Deleting: r.IntN(9) == 0, Ready: Readiness(r.IntN(4)),
					Started: now.Add(-time.Duration(r.IntN(600)) * time.Second), ReadyChanged: now.Add(-time.Duration(r.IntN(600)) * time.Second)}
			}
			given, sums := make([]Reading, len(spec.Metrics)), make([]Reading, len(spec.Metrics))
			absent := false
			for i, m := range spec.Metrics {
				given[i] = Reading{Absent: r.IntN(4) == 0, Value: int64(r.IntN(40)) * 1000}
				absent = absent || given[i].Absent
				for range w.List {
					given[i].Samples = append(given[i].Samples, Sample{Present: r.IntN(3) > 0, Milli: int64(r.IntN(10000)), RequestMilli: int64(r.IntN(3000)), At: now, Window: 15 * time.Second})
				}
				sums[i] = given[i]
				if m.perPod() {
					tally := Count(now, m, flags, w.List, given[i].Samples, nil)
					sums[i].Tally, sums[i].Samples = &tally, nil
				}
			}
			counted := w
			counted.Pods, counted.Ready = w.counts()
			counted.List = nil
			got, again := listed.Step(now, w, given), summed.Step(now, counted, sums)
			if diff := cmp.Diff(got, again); diff != "" {
				t.Fatalf("a list and its sums differ (-list +sums):\n%s", diff)
			}
			if got.Cause == ByMetrics && (got.Replicas > spec.MaxReplicas || got.Replicas < min(spec.MinReplicas, replicas)) {
				t.Fatalf("%d replicas are outside %d to %d", got.Replicas, spec.MinReplicas, spec.MaxReplicas)
			}
			if absent && got.Replicas < replicas && got.Cause != AboveMaximum {
				held := got.Cause == ByMetrics && got.Proposal >= replicas
				t.Fatalf("with a metric missing, %d replicas became %d (proposal held: %v)", replicas, got.Replicas, held)
			}
			replicas = got.Replicas
		}
	})
}

func TestEveryWordPrints(t *testing.T) {
	for name, words := range map[string][]string{
		"kinds": metricKinds[:], "targets": targetKinds[:], "policies": policyKinds[:], "selections": selections[:], "phases": phases[:],
		"readiness": readinesses[:], "failures": failures[:], "statuses": statuses[:], "causes": causes[:], "reasons": reasonsTexts[:],
		"problems": problemReasons[:], "severities": severities[:],
	} {
		seen := map[string]bool{}
		for i, w := range words {
			if (w == "") != (i == 0) || seen[w] {
				t.Errorf("%s: %d is %q", name, i, w)
			}
			seen[w] = true
		}
	}
	for want, got := range map[string]string{
		"ContainerResource": ContainerResource.String(), "Utilization": Utilization.String(), "NotScaledToZero": NotScaledToZero.String(),
		"Frozen": Frozen.String(), "Unknown": ReadyUnknown.String(), "OtherMetrics": OtherMetrics.String(), "Disabled": SelectDisabled.String(),
		"another HPA matches the same pods": SelectorConflict.String(), "hpa.Phase(77)": Phase(77).String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWhatIsNotGivenIsMissing(t *testing.T) {
	spec := documented()
	pods := []Pod{{Phase: Running}, {Phase: Running}, {Phase: Pending}}
	got := Count(start, Metric{Kind: Pods, Target: AverageValue, TargetMilli: 1}, DefaultFlags(), pods, []Sample{{Present: true, Milli: 7}}, nil)
	if diff := cmp.Diff(Tally{Pods: 3, Sampled: 1, Missing: 1, Unready: 1, SumMilli: 7}, got); diff != "" {
		t.Errorf("fewer samples than pods (-want +got):\n%s", diff)
	}
	spec.Metrics = append(spec.Metrics, spec.Metrics[0])
	a, err := New(spec, DefaultFlags())
	if err != nil {
		t.Fatal(err)
	}
	r := a.Step(start, Workload{SpecReplicas: 5, StatusReplicas: 5}, []Reading{{Value: 3000}})
	if r.Cause != Frozen || r.Failed != 1 || r.FailedMetric != 1 || r.Failure != NotRead || r.Replicas != 5 {
		t.Errorf("fewer readings than metrics: %+v", r)
	}
}
