package hpa

import (
	"math"
	"testing"
	"time"

	v2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	conversion "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	"k8s.io/kubernetes/pkg/apis/autoscaling/validation"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// TestValidationRefusesWhatTheAPIServerRefuses spoils good HPAs in one or two places.
func TestValidationRefusesWhatTheAPIServerRefuses(t *testing.T) {
	core := validation.CrossVersionObjectReferenceValidationOptions{AllowEmptyAPIGroup: true} // metrics of a Service
	options := validation.HorizontalPodAutoscalerSpecValidationOptions{ObjectMetricsValidationOptions: core}
	refused := 0
	cases(t, 20000, func(t *testing.T, g gen) int {
		spec := g.spec()
		if g.chance(2) {
			g.spoil(&spec)
			g.spoil(&spec)
		}
		external := v2.HorizontalPodAutoscaler{ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name}, Spec: object(spec)}
		if spec.Behavior != nil {
			unround(spec.Behavior.ScaleUp, external.Spec.Behavior.ScaleUp)
			unround(spec.Behavior.ScaleDown, external.Spec.Behavior.ScaleDown)
		}
		var internal autoscaling.HorizontalPodAutoscaler
		if err := conversion.Convert_v2_HorizontalPodAutoscaler_To_autoscaling_HorizontalPodAutoscaler(&external, &internal, nil); err != nil {
			t.Fatal(err)
		}
		theirs := validation.ValidateHorizontalPodAutoscaler(&internal, options)
		ours := spec.Validate()
		if (ours == nil) != (len(theirs) == 0) {
			t.Errorf("ours: %v\nthe API server: %v\n%+v\n%+v", ours, theirs, spec, spec.Behavior)
		}
		if ours != nil {
			refused++
		}
		return 1
	})
	t.Logf("%d of them are refused by both", refused)
}

// unround gives back the tolerance below 0, which the conversion of the good ones rounds away.
func unround(from hpa.Rules, to *v2.HPAScalingRules) {
	if from.Tolerance != nil && *from.Tolerance < 0 {
		to.Tolerance = resource.NewMilliQuantity(-1, resource.DecimalSI)
	}
}

func (g gen) spoil(s *hpa.Spec) {
	m := &s.Metrics[g.IntN(len(s.Metrics))]
	switch g.IntN(6) {
	case 0:
		s.MinReplicas = pick(g, -1, 0, s.MaxReplicas)
	case 1:
		s.MaxReplicas = pick(g, 0, -3, s.MinReplicas-1, s.MinReplicas)
	case 2:
		m.TargetMilli = pick(g, int64(0), -5)
	default:
		if s.Behavior == nil {
			return
		}
		r := pick(g, &s.Behavior.ScaleUp, &s.Behavior.ScaleDown)
		window := time.Duration(pick(g, -1, 0, 3600, 3601)) * time.Second
		tolerance := pick(g, -0.001, 0, 1000)
		switch g.IntN(4) {
		case 0:
			r.StabilizationWindow = &window
		case 1:
			r.Tolerance = &tolerance
		case 2:
			r.Policies = []hpa.Policy{{Kind: hpa.PodsPolicy, Value: pick(g, int32(-1), 0, 1, math.MaxInt32), Period: 15 * time.Second}}
		case 3:
			r.Policies = []hpa.Policy{{Kind: hpa.PercentPolicy, Value: 1, Period: time.Duration(pick(g, -1, 0, 1, 1800, 1801)) * time.Second}}
		}
	}
}
