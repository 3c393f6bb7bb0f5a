package controller

import (
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// documentedHPA is the one of the documentation for mode Metric, with no tolerance on the way up.
func documentedHPA() *autoscalingv2.HorizontalPodAutoscaler {
	one, none := resource.MustParse("1"), resource.MustParse("0")
	external := func(name string) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: name, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"headroom": "llm"}}},
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &one},
		}}
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: "llm"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "llm"},
			MaxReplicas:    40,
			Metrics:        []autoscalingv2.MetricSpec{external("headroom_replicas"), external("headroom_schedule_replicas")},
			Behavior:       &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: &none}},
		},
	}
}

// TestWhatSwallowsAFloorIsFound goes through the things that keep a floor from its workload, each with the way out.
func TestWhatSwallowsAFloorIsFound(t *testing.T) {
	type hpas = []*autoscalingv2.HorizontalPodAutoscaler
	one := func(change func(*autoscalingv2.HorizontalPodAutoscaler)) func() hpas {
		return func() hpas {
			h := documentedHPA()
			change(h)
			return hpas{h}
		}
	}
	unchanged := one(func(*autoscalingv2.HorizontalPodAutoscaler) {})
	noTolerance := one(func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.Behavior.ScaleUp.Tolerance = nil })
	value := resource.MustParse("1")
	for _, c := range []struct {
		name    string
		spec    func(*v1alpha1.HeadroomSpec)
		hpas    func() hpas
		setting func(*Setting)
		reason  string // "" for nothing found
		warns   bool
		says    string
	}{
		{name: "the documented HPA", hpas: unchanged},
		{name: "shadow", hpas: func() hpas { return nil }, spec: func(s *v1alpha1.HeadroomSpec) { s.Actuation.Mode = v1alpha1.ActuateNone }},
		{name: "no HPA", hpas: func() hpas { return nil }, reason: "NoAutoscaler", says: "create one"},
		{name: "two HPAs", hpas: func() hpas { return hpas{documentedHPA(), documentedHPA()} }, reason: "TwoAutoscalers", says: "keep one"},
		{name: "the default tolerance at 25", hpas: noTolerance, reason: "ToleranceHidesBuffer", says: `behavior.scaleUp.tolerance to "0"`,
			setting: func(s *Setting) { s.Replicas, s.Floor = 25, 27 }},
		{name: "the default tolerance at 5, for later", hpas: noTolerance, reason: "ToleranceHidesBuffer", warns: true, says: "from 20 replicas on"},
		{name: "lifted over the default tolerance", hpas: noTolerance, spec: func(s *v1alpha1.HeadroomSpec) { s.Actuation.Deadband = v1alpha1.DeadbandLift },
			setting: func(s *Setting) { s.Replicas, s.Floor = 25, 27 }},
		{name: "a server that drops the field", hpas: noTolerance, reason: "ToleranceDropped", says: "MinReplicas",
			setting: func(s *Setting) { s.Replicas, s.Floor, s.ToleranceField = 25, 27, false }},
		{name: "a Value target", reason: "ValueTarget", says: "AverageValue", hpas: one(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Spec.Metrics[0].External.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &value}
		})},
		{name: "scale-up disabled", reason: "ScaleUpDisabled", says: "MinReplicas", hpas: one(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			disabled := autoscalingv2.DisabledPolicySelect
			h.Spec.Behavior.ScaleUp.SelectPolicy = &disabled
		})},
		{name: "one pod in five minutes", reason: "ScaleUpTooSlow", says: "lead time", setting: func(s *Setting) { s.Floor = 12 },
			hpas: one(func(h *autoscalingv2.HorizontalPodAutoscaler) {
				h.Spec.Behavior.ScaleUp.Policies = []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 300}}
			})},
		{name: "a maximum below the floor", hpas: unchanged, setting: func(s *Setting) { s.Floor = 41 }, reason: "MaxBelowFloor", says: "raise it"},
		{name: "a maximum below the floor, held as a minimum", hpas: unchanged, setting: func(s *Setting) { s.Floor = 41 }, reason: "MaxBelowFloor",
			spec: func(s *v1alpha1.HeadroomSpec) { s.Actuation.Mode = v1alpha1.ActuateMinReplicas }},
		{name: "an ambiguous selector", reason: "AmbiguousSelector", says: "labels of its own", hpas: one(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "AmbiguousSelector"}}
		})},
		{name: "the metrics of another Headroom", reason: "AnotherHeadroom", says: "set the label headroom of its selector to llm", hpas: one(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Spec.Metrics[0].External.Metric.Selector.MatchLabels["headroom"] = "other"
		})},
		{name: "only the windows' metric", reason: "NoReplicasMetric", says: "headroom_replicas", hpas: one(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Spec.Metrics = h.Spec.Metrics[1:]
		})},
		{name: "windows without their metric", reason: "NoScheduleMetric", warns: true, says: "headroom_schedule_replicas",
			spec: func(s *v1alpha1.HeadroomSpec) { s.Prewarm = &v1alpha1.Prewarm{} },
			hpas: one(func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.Metrics = h.Spec.Metrics[:1] })},
		{name: "metrics that somebody else serves", hpas: unchanged, reason: "MetricsNotRead", says: "KEDA", setting: func(s *Setting) { s.Blind = 3 * time.Minute }},
		{name: "no GPUs", hpas: unchanged, setting: func(s *Setting) { s.Unschedulable = 3 }, reason: "Unschedulable", says: "GPUs"},
		{name: "a metric of another", reason: "OtherMetrics", warns: true, hpas: one(func(h *autoscalingv2.HorizontalPodAutoscaler) {
			h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "requests_running"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &value},
			}})
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			hr := &v1alpha1.Headroom{ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: "llm"}, Spec: v1alpha1.HeadroomSpec{
				ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "llm"},
				Actuation:      v1alpha1.Actuation{Mode: v1alpha1.ActuateMetric},
			}}
			if c.spec != nil {
				c.spec(&hr.Spec)
			}
			s := Setting{Replicas: 5, Floor: 7, Buffer: 2, LeadTime: 4 * time.Minute, SyncPeriod: 15 * time.Second, ToleranceField: true}
			if c.setting != nil {
				c.setting(&s)
			}
			found := Examine(hr, c.hpas(), s)
			if c.reason == "" {
				if len(found) > 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if len(found) == 0 {
				t.Fatal("found nothing")
			}
			if first := found[0]; first.Reason != c.reason || first.Warns != c.warns || !strings.Contains(first.Message, c.says) {
				t.Errorf("found %+v first", first)
			}
		})
	}
}
