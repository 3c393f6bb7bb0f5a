package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/test/fleet"
)

// blind is how long the demo goes on without an answer of kube-apiserver: a machine may be busy for a moment.
const blind = 20 * time.Second

// watch looks once a second until the caller has seen enough or something that the demo needs is gone.
func (s *stage) watch(ctx context.Context, see func(snapshot) (done bool)) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	seen := time.Now()
	for {
		now, err := s.look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			seen = time.Now()
			if see(now) {
				return nil
			}
		case time.Since(seen) > blind:
			return fmt.Errorf("kube-apiserver has not answered for %s: %w", blind, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.bed.Ended():
			return errors.New("the control plane has ended by itself")
		case <-s.prometheus.Done():
			return fmt.Errorf("prometheus has ended by itself; its log ends:\n%s", s.prometheus.Tail(10))
		case <-s.adapter.Done():
			return fmt.Errorf("headroom has ended by itself; its log ends:\n%s", s.adapter.Tail(10))
		case <-ticker.C:
		}
	}
}

// account is what became of a fleet's requests so far.
type account struct{ total, late, lost float64 }

func accountOf(s *fleet.Service) account { return account{s.Offered, s.Late, s.Lost} }

func (a account) since(before account) account {
	return account{a.total - before.total, a.late - before.late, a.lost - before.lost}
}

// look reads the cluster and the services as they are now.
func (s *stage) look(ctx context.Context) (snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var now snapshot
	var ready [fleets][]string
	for i := range fleets {
		var err error
		if ready[i], err = s.lookAtPods(ctx, i, &now.Fleets[i]); err != nil {
			return snapshot{}, err
		}
		s.lookAtHPA(ctx, i, &now.Fleets[i])
	}
	now.Decision = s.lookAtHeadroom(ctx)
	now.Elapsed = time.Since(s.begin)
	now.Phase, now.Offered = s.traffic.At(now.Elapsed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = ready
	for i, service := range s.services {
		f := &now.Fleets[i]
		counted := accountOf(service).since(s.before[i])
		f.Waiting, f.Late, f.Lost, f.Total = service.Waiting(), counted.late, counted.lost, counted.total
		f.Capacity = float64(f.Ready) * perPod
	}
	return now, nil
}

func (s *stage) lookAtPods(ctx context.Context, i int, f *fleetNow) (ready []string, err error) {
	pods, err := s.bed.Client.CoreV1().Pods(namespaces[i]).List(ctx, metav1.ListOptions{LabelSelector: "app=" + deployment, ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	for _, pod := range pods.Items {
		switch {
		case pod.DeletionTimestamp != nil:
		case isReady(pod):
			ready = append(ready, pod.Name)
		case pod.Spec.NodeName == "":
			f.Pending++
		default:
			f.Loading++
		}
	}
	f.Ready = len(ready)
	return ready, nil
}

// lookAtHPA leaves unknown what the HPA has not read or decided yet.
func (s *stage) lookAtHPA(ctx context.Context, i int, f *fleetNow) {
	hpa, err := s.bed.Client.AutoscalingV2().HorizontalPodAutoscalers(namespaces[i]).Get(ctx, deployment, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return
	}
	f.Current, f.Desired = int(hpa.Status.CurrentReplicas), int(hpa.Status.DesiredReplicas)
	for _, metric := range hpa.Status.CurrentMetrics {
		switch {
		case metric.Pods != nil && metric.Pods.Current.AverageValue != nil:
			f.Metric, f.Known = metric.Pods.Current.AverageValue.AsApproximateFloat64(), true
		case metric.External != nil && metric.External.Metric.Name == floorMetric && metric.External.Current.AverageValue != nil:
			f.Metric, f.Known = metric.External.Current.AverageValue.AsApproximateFloat64(), true
		}
	}
}

// lookAtHeadroom reads what kubectl get headroom shows; the zero value is none.
func (s *stage) lookAtHeadroom(ctx context.Context) decision {
	var hr v1alpha1.Headroom
	if err := s.headrooms.Get(ctx, client.ObjectKey{Namespace: namespaces[ahead], Name: deployment}, &hr); err != nil || hr.Status.Decision == nil {
		return decision{}
	}
	is := hr.Status.Decision
	d := decision{Made: true, Need: int(is.Need), Buffer: int(is.Buffer), Floor: int(is.Floor), Reason: is.Reason, Replicas: int(hr.Status.Replicas), Ready: int(hr.Status.ReadyReplicas)}
	if demand := hr.Status.Demand; demand != nil {
		d.Demand, d.DemandKnown = demand.Value.AsApproximateFloat64(), true
	}
	return d
}

func isReady(pod corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
