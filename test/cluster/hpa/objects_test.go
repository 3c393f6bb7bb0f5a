package hpa

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	defaults "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

const (
	namespace = "inference"
	name      = "llama"
)

// object is the spec as the API server would store it, its own defaulting included.
func object(s hpa.Spec) autoscaling.HorizontalPodAutoscalerSpec {
	out := autoscaling.HorizontalPodAutoscaler{Spec: autoscaling.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
		MinReplicas:    new(s.MinReplicas), MaxReplicas: s.MaxReplicas,
	}}
	for _, m := range s.Metrics {
		out.Spec.Metrics = append(out.Spec.Metrics, metric(m))
	}
	if s.Behavior != nil {
		out.Spec.Behavior = &autoscaling.HorizontalPodAutoscalerBehavior{ScaleUp: scalingRules(s.Behavior.ScaleUp), ScaleDown: scalingRules(s.Behavior.ScaleDown)}
	}
	defaults.SetDefaults_HorizontalPodAutoscaler(&out)
	return out.Spec
}

func resourceName(m hpa.Metric) core.ResourceName {
	if m.CPU {
		return core.ResourceCPU
	}
	return core.ResourceMemory
}

func metric(m hpa.Metric) autoscaling.MetricSpec {
	target := autoscaling.MetricTarget{}
	switch m.Target {
	case hpa.Value:
		target.Type, target.Value = autoscaling.ValueMetricType, resource.NewMilliQuantity(m.TargetMilli, resource.DecimalSI)
	case hpa.AverageValue:
		target.Type, target.AverageValue = autoscaling.AverageValueMetricType, resource.NewMilliQuantity(m.TargetMilli, resource.DecimalSI)
	case hpa.Utilization:
		target.Type, target.AverageUtilization = autoscaling.UtilizationMetricType, new(int32(m.TargetMilli))
	}
	id := autoscaling.MetricIdentifier{Name: m.Name}
	switch m.Kind {
	case hpa.Pods:
		return autoscaling.MetricSpec{Type: autoscaling.PodsMetricSourceType, Pods: &autoscaling.PodsMetricSource{Metric: id, Target: target}}
	case hpa.Object:
		return autoscaling.MetricSpec{Type: autoscaling.ObjectMetricSourceType, Object: &autoscaling.ObjectMetricSource{Metric: id, Target: target,
			DescribedObject: autoscaling.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: name}}}
	case hpa.External:
		return autoscaling.MetricSpec{Type: autoscaling.ExternalMetricSourceType, External: &autoscaling.ExternalMetricSource{Metric: id, Target: target}}
	case hpa.Resource:
		return autoscaling.MetricSpec{Type: autoscaling.ResourceMetricSourceType, Resource: &autoscaling.ResourceMetricSource{Name: resourceName(m), Target: target}}
	default:
		return autoscaling.MetricSpec{Type: autoscaling.ContainerResourceMetricSourceType,
			ContainerResource: &autoscaling.ContainerResourceMetricSource{Name: resourceName(m), Container: m.Name, Target: target}}
	}
}

func scalingRules(r hpa.Rules) *autoscaling.HPAScalingRules {
	out := &autoscaling.HPAScalingRules{}
	if r.StabilizationWindow != nil {
		out.StabilizationWindowSeconds = new(int32(r.StabilizationWindow.Seconds()))
	}
	if r.SelectPolicy != 0 {
		out.SelectPolicy = new(autoscaling.ScalingPolicySelect(r.SelectPolicy.String()))
	}
	for _, p := range r.Policies {
		out.Policies = append(out.Policies, autoscaling.HPAScalingPolicy{
			Type: autoscaling.HPAScalingPolicyType(p.Kind.String()), Value: p.Value, PeriodSeconds: int32(p.Period.Seconds())})
	}
	if r.Tolerance != nil {
		// As the API server stores it: thousandths.
		out.Tolerance = new(resource.MustParse(strconv.FormatInt(int64(*r.Tolerance*1000+0.5), 10) + "m"))
	}
	return out
}

// pods are the workload's, with the requests that a utilization among the metrics reads.
func pods(s hpa.Spec, w hpa.Workload, readings []hpa.Reading) []*core.Pod {
	out := make([]*core.Pod, len(w.List))
	for i, p := range w.List {
		pod := &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: podName(i), Labels: map[string]string{"app": name}}}
		pod.Status.Phase = core.PodPhase(p.Phase.String())
		if p.Deleting {
			pod.DeletionTimestamp = new(meta.Now())
		}
		if p.Ready != 0 {
			pod.Status.Conditions = []core.PodCondition{{Type: core.PodReady, Status: core.ConditionStatus(p.Ready.String()), LastTransitionTime: meta.NewTime(p.ReadyChanged)}}
		}
		if !p.Started.IsZero() {
			pod.Status.StartTime = new(meta.NewTime(p.Started))
		}
		for k, m := range s.Metrics {
			if m.Target != hpa.Utilization {
				continue
			}
			container := core.Container{Name: m.Name}
			if i < len(readings[k].Samples) && readings[k].Samples[i].RequestMilli >= 0 {
				container.Resources.Requests = core.ResourceList{resourceName(m): *resource.NewMilliQuantity(readings[k].Samples[i].RequestMilli, resource.DecimalSI)}
			}
			pod.Spec.Containers = append(pod.Spec.Containers, container)
		}
		out[i] = pod
	}
	return out
}

func podName(i int) string { return fmt.Sprintf("%s-%d", name, i) }

// answers is the metrics client: what the readings say, under each metric's name.
type answers struct {
	spec     hpa.Spec
	readings []hpa.Reading
}

var errAbsent = errors.New("absent")

func (a *answers) reading(match func(hpa.Metric) bool) (*hpa.Reading, error) {
	for i, m := range a.spec.Metrics {
		if match(m) {
			if a.readings[i].Absent {
				return nil, errAbsent
			}
			return &a.readings[i], nil
		}
	}
	return nil, errors.New("no such metric")
}

func (a *answers) perPod(match func(hpa.Metric) bool) (metrics.PodMetricsInfo, time.Time, error) {
	r, err := a.reading(match)
	if err != nil {
		return nil, time.Time{}, err
	}
	out := metrics.PodMetricsInfo{}
	for i, s := range r.Samples {
		if s.Present {
			out[podName(i)] = metrics.PodMetric{Value: s.Milli, Timestamp: s.At, Window: s.Window}
		}
	}
	for i, v := range r.Extra {
		out[fmt.Sprintf("stranger-%d", i)] = metrics.PodMetric{Value: v}
	}
	return out, time.Time{}, nil
}

func (a *answers) GetResourceMetric(_ context.Context, resource core.ResourceName, _ string, _ labels.Selector, container string) (metrics.PodMetricsInfo, time.Time, error) {
	return a.perPod(func(m hpa.Metric) bool {
		if container != "" {
			return m.Kind == hpa.ContainerResource && m.Name == container
		}
		return m.Kind == hpa.Resource && resourceName(m) == resource
	})
}

func (a *answers) GetRawMetric(name, _ string, _, _ labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	return a.perPod(func(m hpa.Metric) bool { return m.Kind == hpa.Pods && m.Name == name })
}

func (a *answers) GetObjectMetric(name, _ string, _ *autoscaling.CrossVersionObjectReference, _ labels.Selector) (int64, time.Time, error) {
	r, err := a.reading(func(m hpa.Metric) bool { return m.Kind == hpa.Object && m.Name == name })
	if err != nil {
		return 0, time.Time{}, err
	}
	return r.Value, time.Time{}, nil
}

func (a *answers) GetExternalMetric(name, _ string, _ labels.Selector) ([]int64, time.Time, error) {
	r, err := a.reading(func(m hpa.Metric) bool { return m.Kind == hpa.External && m.Name == name })
	if err != nil {
		return nil, time.Time{}, err
	}
	if r.Items != nil {
		return r.Items, time.Time{}, nil
	}
	return []int64{r.Value}, time.Time{}, nil
}
