package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/test/fleet"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// options are what the demo can be told.
type options struct {
	Duration    time.Duration
	Keep, Plain bool
}

const (
	namespace  = "inference"
	deployment = "llm"
	gpus       = 10 // fewer than the peak would need: pods are left Pending
	coldStart  = 45 * time.Second
	target     = "10" // requests/s for each pod, of the 12 that one can serve

	rules = "presets:\n- {name: vllm, window: 30s}\n"
)

// traffic is a calm minute, a step that doubles the load at once, a ramp to more than the GPUs can carry, and calm again.
var traffic = fleet.Traffic{
	{Name: "calm", For: 60 * time.Second, From: 20, To: 20},
	{Name: "step", For: 90 * time.Second, From: 45, To: 45},
	{Name: "ramp", For: 90 * time.Second, From: 45, To: 115},
	{Name: "calm again", For: 60 * time.Second, From: 25, To: 25},
}

// stage is all that runs.
type stage struct {
	bed      *testbed.Bed
	exporter *testbed.Exporter
	traffic  fleet.Traffic

	mu      sync.Mutex
	service *fleet.Service
	ready   []string
}

func run(ctx context.Context, o options) error {
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	say("Headroom demo: a real control plane and HPA, a simulated GPU fleet. Ctrl-C stops everything.\n")
	say("- control plane (the first time it is compiled: about fifteen minutes on two cores; then five seconds)")
	began := time.Now()
	bed, err := testbed.Start(ctx, testbed.Options{})
	if err != nil {
		return err
	}
	defer bed.Close()
	s := &stage{bed: bed, traffic: traffic.Scaled(o.Duration)}
	if err := s.prepare(ctx, say); err != nil {
		return err
	}
	defer s.exporter.Close()
	say("- ready after %s; the rules file is\n\n    presets:\n    - {name: vllm, window: 30s}\n", time.Since(began).Round(time.Second))
	say("  and the HPA asks for requests_offered_per_second, %s for each pod. A pod takes %s to become Ready.\n", target, coldStart)
	history, err := s.play(ctx, o)
	if err != nil {
		return err
	}
	fmt.Print(summary(history))
	if !o.Keep {
		return nil
	}
	say("\nEverything goes on running. In another terminal:\n\n    export KUBECONFIG=%s\n    kubectl get hpa,pods -n %s\n    kubectl get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/pods/*/requests_offered_per_second'\n\nCtrl-C stops it.",
		bed.Kubeconfig, namespace, namespace)
	return s.keep(ctx)
}

// prepare starts what the control plane needs around it, up to an HPA that has its metric.
func (s *stage) prepare(ctx context.Context, say func(string, ...any)) error {
	exporter, err := testbed.NewExporter()
	if err != nil {
		return err
	}
	s.exporter = exporter
	exporter.ExportFunc(func(time.Time) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.service == nil {
			return ""
		}
		return s.service.Text(namespace)
	})
	say("- Prometheus, scraping every 2 s")
	prometheus, err := s.bed.StartPrometheus(ctx, testbed.PrometheusOptions{ScrapeInterval: 2 * time.Second, Targets: []string{exporter.Address()}})
	if err != nil {
		return err
	}
	say("- a node with %d GPUs, a Deployment of two pods", gpus)
	if err := s.bed.AddNode(ctx, "gpu-0", gpus); err != nil {
		return err
	}
	if err := s.bed.AddDeployment(ctx, testbed.Deployment{Namespace: namespace, Name: deployment, Replicas: 2, ColdStart: coldStart}); err != nil {
		return err
	}
	say("- Headroom behind the APIServices of custom.metrics.k8s.io and external.metrics.k8s.io")
	adapter, err := s.bed.StartAdapter(ctx, testbed.AdapterOptions{Rules: rules, PrometheusURL: prometheus.URL})
	if err != nil {
		return err
	}
	if err := s.bed.RegisterAPIServices(ctx, adapter.Port); err != nil {
		return err
	}
	say("- waiting for the first two pods to load their model (%s)", coldStart)
	if _, err := s.bed.WaitReady(ctx, 3*coldStart, namespace, deployment, 2); err != nil {
		return err
	}
	s.service = fleet.New(fleet.DefaultOptions(), time.Now())
	go s.simulate(ctx)
	return s.bed.AddHPA(ctx, namespace, deployment, 2, 14, testbed.PodsMetric("requests_offered_per_second", target))
}

// simulate moves the service ten times a second, with the traffic that belongs to the moment.
func (s *stage) simulate(ctx context.Context) {
	begin := time.Now()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			_, offered := s.traffic.At(now.Sub(begin))
			s.mu.Lock()
			s.service.Step(now, offered, s.ready)
			s.mu.Unlock()
		}
	}
}

// play watches until the traffic is over.
func (s *stage) play(ctx context.Context, o options) ([]snapshot, error) {
	var history []snapshot
	begin := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	screen := newScreen(os.Stdout, o.Plain)
	for {
		now, err := s.look(ctx, time.Since(begin))
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		history = append(history, now)
		screen.draw(history)
		if now.Elapsed >= o.Duration {
			return history, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.bed.Ended():
			return nil, fmt.Errorf("the control plane has ended")
		case <-ticker.C:
		}
	}
}

// keep goes on feeding the service until Ctrl-C.
func (s *stage) keep(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.bed.Ended():
			return fmt.Errorf("the control plane has ended")
		case <-ticker.C:
			if _, err := s.look(ctx, 0); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// look reads the cluster and the service as they are now.
func (s *stage) look(ctx context.Context, elapsed time.Duration) (snapshot, error) {
	pods, err := s.bed.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + deployment, ResourceVersion: "0"})
	if err != nil {
		return snapshot{}, err
	}
	now := snapshot{Elapsed: elapsed, GPUs: gpus}
	now.Phase, now.Offered = s.traffic.At(elapsed)
	var ready []string
	for _, pod := range pods.Items {
		switch {
		case pod.DeletionTimestamp != nil:
		case isReady(pod):
			ready = append(ready, pod.Name)
		case pod.Spec.NodeName == "":
			now.Pending++
		default:
			now.Loading++
		}
	}
	now.Ready = len(ready)
	if hpa, err := s.bed.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, deployment, metav1.GetOptions{ResourceVersion: "0"}); err == nil {
		now.Current, now.Desired = int(hpa.Status.CurrentReplicas), int(hpa.Status.DesiredReplicas)
		for _, metric := range hpa.Status.CurrentMetrics {
			if metric.Pods != nil && metric.Pods.Current.AverageValue != nil {
				now.Metric = metric.Pods.Current.AverageValue.AsApproximateFloat64()
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = ready
	if s.service != nil {
		now.Waiting, now.Late, now.Lost, now.Total = s.service.Waiting(), s.service.Late, s.service.Lost, s.service.Offered
		now.Capacity = float64(now.Ready) * fleet.DefaultOptions().PerPod
	}
	return now, nil
}

func isReady(pod corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
