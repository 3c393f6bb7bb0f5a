package manifest

import (
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// Names of the metrics that Headroom serves about its own objects.
const (
	ReplicasMetric         = "headroom_replicas"
	NeedMetric             = "headroom_need"
	DemandMetric           = "headroom_demand"
	ForecastDemandMetric   = "headroom_forecast_demand"
	ScheduleReplicasMetric = "headroom_schedule_replicas"
)

// Autoscaler is what a HorizontalPodAutoscaler says, as its controller computes with it. The defaults that the API server
// writes need not be there, so that a manifest on disk reads the same.
func Autoscaler(from *autoscalingv2.HorizontalPodAutoscaler) hpa.Spec {
	spec := hpa.Spec{MinReplicas: 1, MaxReplicas: from.Spec.MaxReplicas}
	if n := from.Spec.MinReplicas; n != nil {
		spec.MinReplicas = *n
	}
	for _, m := range from.Spec.Metrics {
		spec.Metrics = append(spec.Metrics, metric(m))
	}
	if b := from.Spec.Behavior; b != nil {
		spec.Behavior = &hpa.Behavior{ScaleUp: rules(b.ScaleUp), ScaleDown: rules(b.ScaleDown)}
	}
	return spec
}

func metric(m autoscalingv2.MetricSpec) hpa.Metric {
	switch {
	case m.Pods != nil:
		return targeted(hpa.Metric{Kind: hpa.Pods, Name: m.Pods.Metric.Name}, m.Pods.Target)
	case m.Object != nil:
		own := schema.FromAPIVersionAndKind(m.Object.DescribedObject.APIVersion, m.Object.DescribedObject.Kind).Group == v1alpha1.Group
		return targeted(hpa.Metric{Kind: hpa.Object, Name: m.Object.Metric.Name, Headroom: own && Own(m.Object.Metric.Name)}, m.Object.Target)
	case m.External != nil:
		return targeted(hpa.Metric{Kind: hpa.External, Name: m.External.Metric.Name, Headroom: Own(m.External.Metric.Name)}, m.External.Target)
	case m.Resource != nil:
		return targeted(hpa.Metric{Kind: hpa.Resource, Name: string(m.Resource.Name), CPU: m.Resource.Name == corev1.ResourceCPU}, m.Resource.Target)
	case m.ContainerResource != nil:
		return targeted(hpa.Metric{Kind: hpa.ContainerResource, Name: string(m.ContainerResource.Name), CPU: m.ContainerResource.Name == corev1.ResourceCPU}, m.ContainerResource.Target)
	}
	return hpa.Metric{}
}

// Own says that a metric counts replicas and is Headroom's.
func Own(metric string) bool { return metric == ReplicasMetric || metric == ScheduleReplicasMetric }

func targeted(m hpa.Metric, t autoscalingv2.MetricTarget) hpa.Metric {
	switch {
	case t.AverageValue != nil:
		m.Target, m.TargetMilli = hpa.AverageValue, t.AverageValue.MilliValue()
	case t.Value != nil:
		m.Target, m.TargetMilli = hpa.Value, t.Value.MilliValue()
	case t.AverageUtilization != nil:
		m.Target, m.TargetMilli = hpa.Utilization, int64(*t.AverageUtilization)
	}
	return m
}

func rules(from *autoscalingv2.HPAScalingRules) hpa.Rules {
	var r hpa.Rules
	if from == nil {
		return r
	}
	if n := from.StabilizationWindowSeconds; n != nil {
		window := time.Duration(*n) * time.Second
		r.StabilizationWindow = &window
	}
	if s := from.SelectPolicy; s != nil {
		switch *s {
		case autoscalingv2.MaxChangePolicySelect:
			r.SelectPolicy = hpa.SelectMax
		case autoscalingv2.MinChangePolicySelect:
			r.SelectPolicy = hpa.SelectMin
		case autoscalingv2.DisabledPolicySelect:
			r.SelectPolicy = hpa.SelectDisabled
		}
	}
	for _, p := range from.Policies {
		kind := hpa.PodsPolicy
		if p.Type == autoscalingv2.PercentScalingPolicy {
			kind = hpa.PercentPolicy
		}
		r.Policies = append(r.Policies, hpa.Policy{Kind: kind, Value: p.Value, Period: time.Duration(p.PeriodSeconds) * time.Second})
	}
	if q := from.Tolerance; q != nil {
		tolerance := math.Max(0, hpa.Tolerance(q.MilliValue()))
		r.Tolerance = &tolerance
	}
	return r
}

// SameTarget says that an HPA's target is a Headroom's. The version does not matter: it is the same object in all.
func SameTarget(ref autoscalingv2.CrossVersionObjectReference, other v1alpha1.ScaleTargetRef) bool {
	return ref.Name == other.Name &&
		schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind() == schema.FromAPIVersionAndKind(other.APIVersion, other.Kind).GroupKind()
}
