package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// shelf is what a Mirror is to Served.
type shelf struct {
	objects []*v1alpha1.Headroom
	unknown error
}

func (s shelf) Get(namespace, name string) (*v1alpha1.Headroom, bool) {
	for _, hr := range s.objects {
		if hr.Namespace == namespace && hr.Name == name {
			return hr, true
		}
	}
	return nil, false
}

func (s shelf) List(namespace string) (found []*v1alpha1.Headroom) {
	for _, hr := range s.objects {
		if hr.Namespace == namespace {
			found = append(found, hr)
		}
	}
	return found
}

func (s shelf) Known() error { return s.unknown }

// tuesday is a working day, an hour before the window of the objects below opens.
var tuesday = time.Date(2026, 3, 3, 7, 30, 0, 0, time.UTC)

// decidedAgo is a Headroom with a decision of so long before tuesday, changed by the given functions.
func decidedAgo(age time.Duration, change ...func(*v1alpha1.Headroom)) *v1alpha1.Headroom {
	at := metav1.NewTime(tuesday.Add(-age))
	hr := &v1alpha1.Headroom{
		ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: "llama", Generation: 3, UID: "u1", Labels: map[string]string{"team": "chat"}},
		Spec: v1alpha1.HeadroomSpec{
			LeadTime:  v1alpha1.LeadTime{Mode: v1alpha1.LeadTimeAuto, Initial: metav1.Duration{Duration: 4 * time.Minute}},
			Actuation: v1alpha1.Actuation{Mode: v1alpha1.ActuateMetric, Deadband: v1alpha1.DeadbandNone},
			Prewarm: &v1alpha1.Prewarm{TimeZone: "UTC", Windows: []v1alpha1.Window{
				{Name: "office", Schedule: "30 8 * * 1-5", Duration: &metav1.Duration{Duration: 9 * time.Hour}, Replicas: 12},
			}},
		},
		Status: v1alpha1.HeadroomStatus{
			ObservedGeneration: 3,
			Decision:           &v1alpha1.Decision{Need: 5, Buffer: 2, Floor: 7, Kind: "Reactive", Reason: "demand 60 needs 5 at 12 each", At: at},
			Demand:             &v1alpha1.DemandStatus{Value: resource.MustParse("60500m"), At: metav1.NewTime(at.Add(-2 * time.Second))},
			Forecast: &v1alpha1.ForecastStatus{At: metav1.NewTime(at.Add(-time.Second)), Quantiles: []v1alpha1.QuantileStatus{
				{Quantile: "0.5", Value: resource.MustParse("70")}, {Quantile: "0.95", Value: resource.MustParse("161")},
			}},
			Replicas: 6,
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionDemandAvailable, Status: metav1.ConditionTrue, Reason: "Known"},
			},
		},
	}
	for _, c := range change {
		c(hr)
	}
	return hr
}

func TestWhatIsServedOfAnObject(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus, message string) func(*v1alpha1.Headroom) {
		return func(hr *v1alpha1.Headroom) {
			hr.Status.Conditions = []metav1.Condition{{Type: kind, Status: status, Reason: "R", Message: message}}
		}
	}
	lift := func(replicas, floor int32) func(*v1alpha1.Headroom) {
		return func(hr *v1alpha1.Headroom) {
			hr.Spec.Actuation.Deadband, hr.Status.Replicas, hr.Status.Decision.Floor = v1alpha1.DeadbandLift, replicas, floor
		}
	}
	most := func(n int32) func(*v1alpha1.Headroom) {
		return func(hr *v1alpha1.Headroom) { hr.Spec.Limits.MaxReplicas = &n }
	}
	for _, test := range []struct {
		name     string
		metric   string
		selector string
		object   *v1alpha1.Headroom
		now      time.Duration // after tuesday
		want     string        // the value
		age      time.Duration // of its timestamp
		missing  string        // in a not-found error's message
		refused  string        // in a bad request's
	}{
		{name: "the floor", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(20 * time.Second), want: "7", age: 20 * time.Second},
		{name: "named by in", metric: "headroom_replicas", selector: "headroom in (llama)", object: decidedAgo(0), want: "7"},
		{name: "the need", metric: "headroom_need", selector: "headroom=llama", object: decidedAgo(20 * time.Second), want: "5", age: 20 * time.Second},
		{name: "demand with its sample's time", metric: "headroom_demand", selector: "headroom=llama", object: decidedAgo(20 * time.Second), want: "60500m", age: 22 * time.Second},
		{name: "a quantile of the forecast", metric: "headroom_forecast_demand", selector: "headroom=llama,quantile=0.95", object: decidedAgo(20 * time.Second), want: "161", age: 21 * time.Second},

		{name: "a decision counts for three minutes", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(3 * time.Minute), want: "7", age: 3 * time.Minute},
		{name: "a stale decision", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(3*time.Minute + time.Second), missing: "the last one is of 2026-03-03T07:26:59Z, 3m1s ago, and counts for 3m0s"},
		{name: "a stale decision has no demand either", metric: "headroom_demand", selector: "headroom=llama", object: decidedAgo(4 * time.Minute), missing: "no valid decision"},
		{name: "a stale forecast", metric: "headroom_forecast_demand", selector: "headroom=llama,quantile=0.5", object: decidedAgo(4 * time.Minute), missing: "no valid forecast"},
		{name: "a leader whose clock is ahead", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(-time.Minute), want: "7", age: -time.Minute},
		{name: "a leader whose clock is far ahead", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(-2 * time.Minute), missing: "2m0s in the future; the replicas' clocks differ by more than 1m0s"},
		{name: "unknown demand hides the last decision", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(20*time.Second, condition(v1alpha1.ConditionDemandAvailable, metav1.ConditionFalse, "4 of 9 pods have no sample")),
			missing: "no valid decision: demand is unknown: 4 of 9 pods have no sample"},
		{name: "unknown is not true", metric: "headroom_need", selector: "headroom=llama", object: decidedAgo(20*time.Second, condition(v1alpha1.ConditionDemandAvailable, metav1.ConditionUnknown, "")),
			missing: "no valid decision: demand is unknown"},
		{name: "nothing decided, and why", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(0, condition(v1alpha1.ConditionReady, metav1.ConditionFalse, "there is no Deployment llama"), func(hr *v1alpha1.Headroom) { hr.Status.Decision = nil }),
			missing: "nothing has been decided yet: there is no Deployment llama"},
		{name: "a decision without demand in the status", metric: "headroom_demand", selector: "headroom=llama", object: decidedAgo(0, func(hr *v1alpha1.Headroom) { hr.Status.Demand = nil }), missing: "without a known demand"},
		{name: "no forecast, and why", metric: "headroom_forecast_demand", selector: "headroom=llama,quantile=0.95", object: decidedAgo(0, condition(v1alpha1.ConditionForecastSkilled, metav1.ConditionFalse, "two days of history are needed"), func(hr *v1alpha1.Headroom) { hr.Status.Forecast = nil }),
			missing: "there is no forecast: two days of history are needed"},
		{name: "a quantile that is not forecast", metric: "headroom_forecast_demand", selector: "headroom=llama,quantile=0.99", object: decidedAgo(0), missing: `the forecast has no quantile "0.99", only 0.5, 0.95`},
		{name: "another object", metric: "headroom_replicas", selector: "headroom=mistral", object: decidedAgo(0), missing: "namespace inference has no Headroom mistral"},

		{name: "no label", metric: "headroom_replicas", object: decidedAgo(0), refused: "headroom_replicas: name one Headroom by the label headroom, such as headroom=llama-70b"},
		{name: "an empty name", metric: "headroom_replicas", selector: "headroom=", object: decidedAgo(0), refused: "name one Headroom"},
		{name: "two names", metric: "headroom_replicas", selector: "headroom in (llama,mistral)", object: decidedAgo(0), refused: "gives the label headroom no single value"},
		{name: "any name", metric: "headroom_replicas", selector: "headroom", object: decidedAgo(0), refused: "gives the label headroom no single value"},
		{name: "all names but one", metric: "headroom_schedule_replicas", selector: "headroom!=mistral", object: decidedAgo(0), refused: "gives the label headroom no single value"},
		{name: "a contradiction", metric: "headroom_replicas", selector: "headroom=llama,headroom=mistral", object: decidedAgo(0), refused: "cannot be llama and mistral"},
		{name: "a label that it has not", metric: "headroom_replicas", selector: "headroom=llama,app=llama", object: decidedAgo(0), refused: "it has no label app, only headroom"},
		{name: "quantile of the floor", metric: "headroom_replicas", selector: "headroom=llama,quantile=0.95", object: decidedAgo(0), refused: "it has no label quantile, only headroom"},
		{name: "no quantile", metric: "headroom_forecast_demand", selector: "headroom=llama", object: decidedAgo(0), refused: "choose one by the label quantile; there are 0.5, 0.95"},

		{name: "outside windows", metric: "headroom_schedule_replicas", selector: "headroom=llama", object: decidedAgo(0), want: "0"},
		{name: "a lead time before the window, measured", metric: "headroom_schedule_replicas", selector: "headroom=llama", now: 55 * time.Minute, want: "12",
			object: decidedAgo(0, func(hr *v1alpha1.Headroom) {
				hr.Status.LeadTime = &v1alpha1.LeadTimeStatus{Total: metav1.Duration{Duration: 6 * time.Minute}}
			})},
		{name: "a lead time before the window, as the object says", metric: "headroom_schedule_replicas", selector: "headroom=llama", now: 56 * time.Minute, want: "12", object: decidedAgo(0)},
		{name: "just before that", metric: "headroom_schedule_replicas", selector: "headroom=llama", now: 55*time.Minute + 59*time.Second, want: "0", object: decidedAgo(0)},
		{name: "in the window with no leader for hours and demand unknown", metric: "headroom_schedule_replicas", selector: "headroom=llama", now: 4 * time.Hour, want: "12",
			object: decidedAgo(0, condition(v1alpha1.ConditionDemandAvailable, metav1.ConditionFalse, "Prometheus is away"))},
		{name: "never decided at all", metric: "headroom_schedule_replicas", selector: "headroom=llama", now: 4 * time.Hour, want: "12", object: decidedAgo(0, func(hr *v1alpha1.Headroom) { hr.Status = v1alpha1.HeadroomStatus{} })},
		{name: "no calendar", metric: "headroom_schedule_replicas", selector: "headroom=llama", now: 4 * time.Hour, want: "0", object: decidedAgo(0, func(hr *v1alpha1.Headroom) { hr.Spec.Prewarm = nil })},
		{name: "a calendar that nobody can read", metric: "headroom_schedule_replicas", selector: "headroom=llama", object: decidedAgo(0, func(hr *v1alpha1.Headroom) { hr.Spec.Prewarm.Windows[0].Schedule = "30 25 * * 1-5" }),
			missing: "spec.prewarm: "},
		{name: "the schedule within limits", metric: "headroom_schedule_replicas", selector: "headroom=llama", now: 4 * time.Hour, want: "9", object: decidedAgo(0, most(9))},

		{name: "20 are not enough for 22 within a tolerance of 0.1: 23", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(0, lift(20, 22)), want: "23"},
		{name: "10 and 11: 12", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(0, lift(10, 11)), want: "12"},
		{name: "outside the tolerance already", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(0, lift(5, 7)), want: "7"},
		{name: "nothing to lift at the floor", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(0, lift(22, 22)), want: "22"},
		{name: "nothing to lift above it", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(0, lift(30, 22)), want: "22"},
		{name: "not above the limit", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(0, lift(20, 22), most(22)), want: "22"},
		{name: "the schedule is lifted too", metric: "headroom_schedule_replicas", selector: "headroom=llama", now: 4 * time.Hour, object: decidedAgo(0, lift(11, 7)), want: "13"},
		{name: "and nothing is lifted unasked", metric: "headroom_replicas", selector: "headroom=llama", object: decidedAgo(0, lift(20, 22), func(hr *v1alpha1.Headroom) { hr.Spec.Actuation.Deadband = v1alpha1.DeadbandNone }), want: "22"},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := tuesday.Add(test.now)
			s := &Served{Headrooms: shelf{objects: []*v1alpha1.Headroom{test.object}}, Now: func() time.Time { return now }}
			list, err := s.GetExternalMetric(t.Context(), "inference", parse(t, test.selector), provider.ExternalMetricInfo{Metric: test.metric})
			switch {
			case test.missing != "":
				if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), test.missing) {
					t.Fatalf("%v, want a not-found error with %q", err, test.missing)
				}
				return
			case test.refused != "":
				if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), test.refused) {
					t.Fatalf("%v, want a bad request with %q", err, test.refused)
				}
				return
			case err != nil || len(list.Items) != 1:
				t.Fatal(list, err)
			}
			item := list.Items[0]
			if item.Value.String() != test.want || item.MetricName != test.metric || item.MetricLabels["headroom"] != "llama" {
				t.Errorf("%s %v is %s, want %s", item.MetricName, item.MetricLabels, item.Value.String(), test.want)
			}
			if age := now.Sub(item.Timestamp.Time); age != test.age {
				t.Errorf("its time is %s ago, want %s", age, test.age)
			}
			byName, err := s.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "inference", Name: "llama"}, customInfo(test.metric), parse(t, test.selector))
			if err != nil || byName.Value.Cmp(item.Value) != 0 || !byName.Timestamp.Equal(&item.Timestamp) {
				t.Errorf("as an Object metric: %v %v, want the same", byName, err)
			}
		})
	}
}

func customInfo(metric string) provider.CustomMetricInfo {
	return provider.CustomMetricInfo{GroupResource: schema.GroupResource{Group: "headroom.dev", Resource: "headrooms"}, Namespaced: true, Metric: metric}
}

func parse(t *testing.T, text string) labels.Selector {
	t.Helper()
	selector, err := labels.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return selector
}

func TestAnObjectMetricNeedsNoLabel(t *testing.T) {
	s := &Served{Headrooms: shelf{objects: []*v1alpha1.Headroom{decidedAgo(0)}}, Now: func() time.Time { return tuesday }}
	name := types.NamespacedName{Namespace: "inference", Name: "llama"}
	item, err := s.GetMetricByName(t.Context(), name, customInfo("headroom_replicas"), labels.Everything())
	if err != nil || item.Value.Value() != 7 {
		t.Fatal(item, err)
	}
	if item.DescribedObject.Kind != "Headroom" || item.DescribedObject.APIVersion != "headroom.dev/v1alpha1" || item.Metric.Selector != nil {
		t.Error(item)
	}
	if _, err := s.GetMetricByName(t.Context(), name, customInfo("headroom_replicas"), parse(t, "headroom=mistral")); !apierrors.IsBadRequest(err) {
		t.Error("another object's label:", err)
	}
	item, err = s.GetMetricByName(t.Context(), name, customInfo("headroom_forecast_demand"), parse(t, "quantile=0.5"))
	if err != nil || item.Value.Value() != 70 || item.Metric.Selector.MatchLabels["quantile"] != "0.5" {
		t.Error(item, err)
	}
}

func TestObjectsBySelector(t *testing.T) {
	other := decidedAgo(0, func(hr *v1alpha1.Headroom) { hr.Name, hr.Status.Decision.Floor = "mistral", 9 })
	stale := decidedAgo(time.Hour, func(hr *v1alpha1.Headroom) { hr.Name = "old" })
	s := &Served{Headrooms: shelf{objects: []*v1alpha1.Headroom{other, stale, decidedAgo(0)}}, Now: func() time.Time { return tuesday }}
	list, err := s.GetMetricBySelector(t.Context(), "inference", parse(t, "team=chat"), customInfo("headroom_replicas"), labels.Everything())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range list.Items {
		got = append(got, item.DescribedObject.Name+" "+item.Value.String())
	}
	if diff := cmp.Diff([]string{"llama 7", "mistral 9"}, got); diff != "" {
		t.Error(diff)
	}
	_, err = s.GetMetricBySelector(t.Context(), "inference", parse(t, "team=vision"), customInfo("headroom_replicas"), labels.Everything())
	if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "no Headroom matches") {
		t.Error(err)
	}
}

func TestObjectsThatAreNotKnown(t *testing.T) {
	for _, unknown := range []error{ErrNotInstalled, errNotListed, errors.New("the cluster's Headroom objects cannot be listed: forbidden")} {
		s := &Served{Headrooms: shelf{unknown: unknown}, Now: func() time.Time { return tuesday }}
		_, err := s.GetExternalMetric(t.Context(), "inference", parse(t, "headroom=llama"), provider.ExternalMetricInfo{Metric: "headroom_replicas"})
		if !apierrors.IsNotFound(err) || !strings.HasSuffix(err.Error(), unknown.Error()) {
			t.Error(err)
		}
		listed := len(s.ListAllMetrics()) + len(s.ListAllExternalMetrics())
		if absent := errors.Is(unknown, ErrNotInstalled) || errors.Is(unknown, errNotListed); absent != (listed == 0) {
			t.Errorf("%d metrics are listed while: %v", listed, unknown)
		}
	}
}

func TestOwns(t *testing.T) {
	s := &Served{}
	for _, test := range []struct {
		name   string
		of     schema.GroupResource
		metric string
		want   bool
	}{
		{name: "external", metric: "headroom_replicas", want: true},
		{name: "on the object", of: schema.GroupResource{Group: "headroom.dev", Resource: "headrooms"}, metric: "headroom_need", want: true},
		{name: "on the object, without its group", of: schema.GroupResource{Resource: "headrooms"}, metric: "headroom_need", want: true},
		{name: "on pods", of: schema.GroupResource{Resource: "pods"}, metric: "headroom_demand"},
		{name: "a rule's", metric: "headroom_of_the_queue"},
	} {
		if got := s.Owns(test.of, test.metric); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestALiftIsNeverTooMuch proves what lets a lift stand on an old status: at or above the floor an HPA with the default
// tolerance never acts on it, whatever number of replicas it was computed from; below the floor it always does, where the
// number was right.
func TestALiftIsNeverTooMuch(t *testing.T) {
	hr := decidedAgo(0)
	hr.Spec.Actuation.Deadband = v1alpha1.DeadbandLift
	acts := func(value, replicas int32) bool { return float64(value)/float64(replicas) > 1.0+0.1 }
	for floor := int32(1); floor <= 300; floor++ {
		for believed := int32(0); believed <= floor+2; believed++ {
			hr.Status.Replicas = believed
			value := lifted(hr, floor)
			if value < floor {
				t.Fatalf("floor %d, %d replicas: %d", floor, believed, value)
			}
			if acts(value, floor) {
				t.Fatalf("floor %d, %d replicas believed: %d makes an HPA at the floor go on", floor, believed, value)
			}
			if believed > 0 && believed < floor && !acts(value, believed) {
				t.Fatalf("floor %d, %d replicas: an HPA does not act on %d", floor, believed, value)
			}
		}
	}
}

func TestACalendarIsCompiledOncePerGeneration(t *testing.T) {
	hr := decidedAgo(0)
	objects := &shelf{objects: []*v1alpha1.Headroom{hr}}
	s := &Served{Headrooms: objects, Now: func() time.Time { return tuesday }}
	first, err := s.calendar(hr)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := s.calendar(hr); again != first {
		t.Error("compiled twice")
	}
	hr.Generation++
	if changed, _ := s.calendar(hr); changed == first {
		t.Error("a changed object has the old calendar")
	}
	other := decidedAgo(0, func(hr *v1alpha1.Headroom) { hr.Name = "mistral" })
	objects.objects = []*v1alpha1.Headroom{other}
	if _, err := s.calendar(other); err != nil || len(s.calendars) != 1 {
		t.Errorf("%d calendars are kept for one object (%v)", len(s.calendars), err)
	}
}

func BenchmarkServedReplicas(b *testing.B) {
	s := &Served{Headrooms: shelf{objects: []*v1alpha1.Headroom{decidedAgo(0)}}, Now: func() time.Time { return tuesday }}
	selector, _ := labels.Parse("headroom=llama")
	for _, metric := range []string{"headroom_replicas", "headroom_schedule_replicas"} {
		b.Run(metric, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.GetExternalMetric(context.Background(), "inference", selector, provider.ExternalMetricInfo{Metric: metric}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
