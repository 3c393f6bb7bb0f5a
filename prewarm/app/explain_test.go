package app

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the goldens anew")

var at = time.Date(2026, 11, 24, 7, 50, 0, 0, time.UTC)

// llama is a Headroom in the middle of a working day, decided about eight seconds ago.
func llama() *v1alpha1.Headroom {
	number := func(n int32) *int32 { return &n }
	quantity := resource.MustParse
	skill, coverage := quantity("180m"), quantity("961m")
	return &v1alpha1.Headroom{
		ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: "llama-70b"},
		Spec: v1alpha1.HeadroomSpec{
			ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "llama-70b"},
			Demand:         v1alpha1.Demand{Metric: &v1alpha1.DemandMetric{Name: "requests_offered_per_second"}, PerReplica: quantity("12")},
			Forecast:       v1alpha1.Forecast{Mode: v1alpha1.ForecastOn},
			Actuation:      v1alpha1.Actuation{Mode: v1alpha1.ActuateMetric},
			Prewarm: &v1alpha1.Prewarm{TimeZone: "Asia/Ho_Chi_Minh", Windows: []v1alpha1.Window{
				{Name: "office", Schedule: "30 8 * * 1-5", Duration: &metav1.Duration{Duration: 9*time.Hour + 30*time.Minute}, Replicas: 12, Ramp: &metav1.Duration{Duration: 10 * time.Minute}},
			}},
		},
		Status: v1alpha1.HeadroomStatus{
			Decision: &v1alpha1.Decision{
				Need: 9, Buffer: 2, Forecast: number(15), Schedule: 12, Floor: 15, Kind: "Forecast",
				Reason: "forecast q0.95 of 161 within 4m10s needs 14 at 12 each, + 1 in reserve", At: metav1.NewTime(at.Add(-8 * time.Second)),
			},
			Demand: &v1alpha1.DemandStatus{Value: quantity("102500m"), At: metav1.NewTime(at)},
			Forecast: &v1alpha1.ForecastStatus{
				Horizon: metav1.Duration{Duration: 4 * time.Minute}, Skill: &skill, Coverage: &coverage, At: metav1.NewTime(at),
				Quantiles: []v1alpha1.QuantileStatus{{Quantile: "0.5", Value: quantity("118")}, {Quantile: "0.9", Value: quantity("149")}, {Quantile: "0.95", Value: quantity("161")}},
			},
			LeadTime: &v1alpha1.LeadTimeStatus{
				Total: metav1.Duration{Duration: 250 * time.Second}, Warm: &metav1.Duration{Duration: 230 * time.Second},
				NewNode: &metav1.Duration{Duration: 7*time.Minute + 10*time.Second}, Reaction: &metav1.Duration{Duration: 20 * time.Second},
				Samples: 12, Censored: 1, Source: "Measured",
			},
			Replicas: 15, ReadyReplicas: 13,
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Decided"},
				{Type: v1alpha1.ConditionFloorEffective, Status: metav1.ConditionFalse, Reason: "ToleranceHidesBuffer", Message: "HPA llama-70b: the HPA's scale-up tolerance of 10 % hides it."},
			},
		},
	}
}

func TestExplanations(t *testing.T) {
	demandUnknown := metav1.Condition{Type: v1alpha1.ConditionDemandAvailable, Status: metav1.ConditionFalse, Reason: "Unknown", Message: "3 of 9 pods have no sample"}
	notReady := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "DemandUnknown", Message: "demand is unknown: 3 of 9 pods have no sample"}
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.Headroom)
		now    time.Time
	}{
		{name: "decided", change: func(*v1alpha1.Headroom) {}, now: at},
		{name: "shadow", now: at, change: func(hr *v1alpha1.Headroom) {
			shadow := int32(15)
			hr.Spec.Actuation.Mode, hr.Spec.Forecast.Mode = v1alpha1.ActuateNone, v1alpha1.ForecastShadow
			hr.Status.Decision.Floor, hr.Status.Decision.Kind, hr.Status.Decision.Reason = 12, "Schedule", "window office asks 12"
			hr.Status.Forecast.ShadowFloor, hr.Status.Replicas, hr.Status.ReadyReplicas = &shadow, 9, 9
			hr.Status.Conditions = nil
		}},
		{name: "unknown-demand", now: at, change: func(hr *v1alpha1.Headroom) {
			hr.Status.Demand, hr.Status.Conditions = nil, []metav1.Condition{notReady, demandUnknown}
		}},
		{name: "stale", now: at.Add(10 * time.Minute), change: func(*v1alpha1.Headroom) {}},
		{name: "no-history", now: at, change: func(hr *v1alpha1.Headroom) {
			hr.Status.Forecast, hr.Status.Decision.Forecast = nil, nil
			hr.Status.Decision.Floor, hr.Status.Decision.Kind, hr.Status.Decision.Reason = 12, "Schedule", "window office asks 12"
			hr.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionForecastSkilled, Status: metav1.ConditionUnknown, Reason: "NoForecast", Message: "too little history: demand known in 4 minutes, 60 needed"}}
		}},
		{name: "new", now: at, change: func(hr *v1alpha1.Headroom) { hr.Status = v1alpha1.HeadroomStatus{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			hr := llama()
			c.change(hr)
			var text bytes.Buffer
			e := explain(hr, c.now)
			if err := e.print(&text); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", c.name+".txt")
			if *update {
				if err := os.WriteFile(golden, text.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text.String()); diff != "" {
				t.Errorf("-want +got; -update writes it:\n%s", diff)
			}
			var machine bytes.Buffer
			if err := e.json(&machine); err != nil {
				t.Fatal(err)
			}
			var read map[string]any
			if err := json.Unmarshal(machine.Bytes(), &read); err != nil || read["name"] != "llama-70b" {
				t.Errorf("%v %v", read, err)
			}
		})
	}
}

func TestASparklineLeavesOutWhatIsUnknown(t *testing.T) {
	nan := func() float64 { var zero float64; return zero / zero }()
	s := sparklineOf("demand", []float64{0, 50, nan, 100}, 100)
	if want := "▁▅ █"; s.Line != want {
		t.Errorf("%q, want %q", s.Line, want)
	}
	if s.Values[2] != nil || *s.Values[3] != 100 || s.Range != "0 – 100" {
		t.Errorf("%+v", s)
	}
	if got := sparklineOf("none", []float64{nan, nan}, 1).Range; got != "nothing known" {
		t.Error(got)
	}
}

func TestSpansAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{250 * time.Second: "4m10s", 4 * time.Minute: "4m", time.Hour: "1h", 90 * time.Minute: "1h30m", 8 * time.Second: "8s", 0: "0s"} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
