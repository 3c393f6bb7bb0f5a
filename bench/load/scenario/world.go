package scenario

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
)

// world is what the fleet looks like to kube-apiserver: namespaces, Deployments, their pods (Running and Ready, written so
// directly, since no kubelet is there) and an HPA for each Deployment. No controller but the HPA's runs, so a Deployment
// whose spec.replicas the HPA changes keeps its ten pods: what is measured is the road to spec.replicas.
type world struct {
	client   kubernetes.Interface
	progress func(format string, args ...any)
	shape    exporter.Shape // what exists so far
}

// writers is how many requests are in flight while the world is built: enough to keep a small kube-apiserver busy.
const writers = 16

// grow brings the world to shape. It only ever adds.
func (w *world) grow(ctx context.Context, shape exporter.Shape) error {
	for i := range shape.Namespaces {
		if err := w.namespace(ctx, shape.Namespace(i)); err != nil {
			return err
		}
	}
	from, to := w.shape.Deployments(), shape.Deployments()
	var done atomic.Int64
	start := time.Now()
	stop := w.report(start, &done, to-from)
	defer stop()
	err := each(ctx, from, to, func(i int) error {
		if err := w.deployment(ctx, shape, i); err != nil {
			return err
		}
		for p := range exporter.PodsPerDeployment {
			if err := w.pod(ctx, shape, i, p); err != nil {
				return err
			}
		}
		done.Add(1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("build a cluster of %s: %w", shape, err)
	}
	w.shape = shape
	return nil
}

// report prints a line every two seconds until it is stopped.
func (w *world) report(start time.Time, done *atomic.Int64, total int) (stop func()) {
	finished := make(chan struct{})
	var printer sync.WaitGroup
	printer.Go(func() {
		ticker := time.NewTicker(2 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				w.progress("  %d of %d deployments with their pods after %.0f s", done.Load(), total, time.Since(start).Seconds())
			case <-finished:
				return
			}
		}
	})
	return func() { close(finished); printer.Wait() }
}

// each calls do for from..to-1, several at a time, and stops at the first error.
func each(ctx context.Context, from, to int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	next.Store(int64(from))
	var workers sync.WaitGroup
	for range writers {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= to {
					return
				}
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (w *world) namespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := w.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	// Admission wants it on every pod, and its controller may not be running.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name}}
	if _, err := w.client.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create service account in %s: %w", name, err)
	}
	return nil
}

func (w *world) deployment(ctx context.Context, shape exporter.Shape, i int) error {
	replicas := int32(exporter.PodsPerDeployment)
	labels := map[string]string{"app": exporter.Deployment(i)}
	api := w.client.AppsV1().Deployments(shape.Namespace(i))
	d, err := api.Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: exporter.Deployment(i)},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec()},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create deployment %d: %w", i, err)
	}
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas}
	if _, err := api.UpdateStatus(ctx, d, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("status of deployment %d: %w", i, err)
	}
	return nil
}

func podSpec() corev1.PodSpec {
	no := false
	return corev1.PodSpec{
		NodeName: "bench", AutomountServiceAccountToken: &no,
		Containers: []corev1.Container{{Name: "server", Image: "example.invalid/server:1"}},
	}
}

func (w *world) pod(ctx context.Context, shape exporter.Shape, i, p int) error {
	api := w.client.CoreV1().Pods(shape.Namespace(i))
	pod, err := api.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: exporter.Pod(i, p), Labels: map[string]string{"app": exporter.Deployment(i)}},
		Spec:       podSpec(),
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create pod %s: %w", exporter.Pod(i, p), err)
	}
	now := metav1.Now()
	pod.Status.Phase, pod.Status.StartTime = corev1.PodRunning, &now
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now}}
	if _, err := api.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("status of pod %s: %w", exporter.Pod(i, p), err)
	}
	return nil
}

// asking is what the HPAs ask.
type asking uint8

const (
	everything     asking = iota + 1 // all four metrics of the pods, an Object and an External metric
	podsAndAnother                   // one Pods and one External metric
	onlyPods                         // the gauge of the step scenario alone
)

// autoscalers makes the HPAs of the first n deployments ask this, and removes the others.
func (w *world) autoscalers(ctx context.Context, n int, what asking) error {
	return each(ctx, 0, w.shape.Deployments(), func(i int) error {
		api := w.client.AutoscalingV2().HorizontalPodAutoscalers(w.shape.Namespace(i))
		name := exporter.Deployment(i)
		if err := api.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete HPA %s: %w", name, err)
		}
		if i >= n {
			return nil
		}
		minReplicas := int32(1)
		_, err := api.Create(ctx, &autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
				MinReplicas:    &minReplicas, MaxReplicas: 10_000,
				Metrics: metricSpecs(name, what),
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("create HPA %s: %w", name, err)
		}
		return nil
	})
}

func metricSpecs(name string, what asking) []autoscalingv2.MetricSpec {
	average := func(n int64) autoscalingv2.MetricTarget {
		return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(n, resource.DecimalSI)}
	}
	pods := func(metric string) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: metric}, Target: average(exporter.Target)}}
	}
	external := autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: exporter.QueueLag, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"queue": name}}},
		Target: average(exporter.Target)}}
	object := autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
		Metric:          autoscalingv2.MetricIdentifier{Name: exporter.DeploymentArrivals},
		Target:          average(exporter.Target)}}
	switch what {
	case podsAndAnother:
		return []autoscalingv2.MetricSpec{pods(exporter.Waiting), external}
	case onlyPods:
		return []autoscalingv2.MetricSpec{pods(exporter.Waiting)}
	}
	var all []autoscalingv2.MetricSpec
	for _, metric := range exporter.PodMetrics {
		all = append(all, pods(metric))
	}
	return append(all, object, external)
}

// settle writes replicas back to ten everywhere, for scenarios that start from rest.
func (w *world) settle(ctx context.Context) error {
	return each(ctx, 0, w.shape.Deployments(), func(i int) error {
		api := w.client.AppsV1().Deployments(w.shape.Namespace(i))
		scale, err := api.GetScale(ctx, exporter.Deployment(i), metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("scale of deployment %d: %w", i, err)
		}
		if scale.Spec.Replicas == exporter.PodsPerDeployment {
			return nil
		}
		scale.Spec.Replicas = exporter.PodsPerDeployment
		if _, err := api.UpdateScale(ctx, scale.Name, scale, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("scale of deployment %d: %w", i, err)
		}
		return nil
	})
}
