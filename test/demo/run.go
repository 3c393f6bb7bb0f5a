package main

import (
	"context"
	"errors"
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
	gpus       = 8 // fewer than the peak needs: pods are left Pending
	first      = 3 // pods
	coldStart  = 45 * time.Second
	target     = "8" // requests/s for each pod, of the 12 that one can serve

	rules = "presets:\n- {name: vllm, window: 30s}\n"
)

// traffic is calm, a step that doubles the load at once, a ramp to more than the GPUs leave room for, and calm again.
var traffic = fleet.Traffic{
	{Name: "calm", For: 40 * time.Second, From: 20, To: 20},
	{Name: "step", For: 90 * time.Second, From: 45, To: 45},
	{Name: "ramp", For: 100 * time.Second, From: 45, To: 90},
	{Name: "calm again", For: 70 * time.Second, From: 25, To: 25},
}

// stage is all that runs.
type stage struct {
	bed        *testbed.Bed
	exporter   *testbed.Exporter
	prometheus *testbed.MetricsServer
	adapter    *testbed.Adapter
	traffic    fleet.Traffic
	begin      time.Time // of the traffic

	mu      sync.Mutex
	service *fleet.Service
	ready   []string
}

func run(ctx context.Context, o options) error {
	t := &teller{out: os.Stdout, plain: o.Plain}
	t.say("Headroom demo: a real control plane and HPA, a simulated GPU fleet.\nCtrl-C stops everything.\n")
	began := time.Now()
	t.say("- the control plane; the first run compiles it, which takes a while")
	bed, err := testbed.Start(ctx, testbed.Options{})
	if err != nil {
		return err
	}
	defer bed.Close()
	s := &stage{bed: bed, traffic: traffic.Scaled(o.Duration)}
	if s.exporter, err = testbed.NewExporter(); err != nil {
		return err
	}
	defer s.exporter.Close()
	if err := s.prepare(ctx, t); err != nil {
		return err
	}
	t.say("\nReady after %s. Headroom's rules file is\n\n    presets:\n    - {name: vllm, window: 30s}\n", time.Since(began).Round(time.Second))
	t.say("The HPA wants %s requests_offered_per_second for each pod; one can serve %.0f.\nA pod takes %s to become Ready.\n", target, fleet.DefaultOptions().PerPod, coldStart)
	history, err := s.play(ctx, o)
	if err != nil {
		return err
	}
	t.say("%s", summary(history))
	if !o.Keep {
		return nil
	}
	t.say(keepText, bed.Kubeconfig, namespace, namespace, s.prometheus.URL, bed.Dir)
	return s.keep(ctx)
}

const keepText = `Everything goes on running, with the last load. In another terminal:

    export KUBECONFIG=%s
    kubectl get hpa,pods -n %s
    kubectl get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/pods/*/requests_offered_per_second'

Prometheus is at %s, all logs are in %s. Ctrl-C stops it.`

// prepare starts what the control plane needs around it, up to an HPA and the first requests.
func (s *stage) prepare(ctx context.Context, t *teller) error {
	s.exporter.ExportFunc(func(time.Time) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.service == nil {
			return ""
		}
		return s.service.Text(namespace)
	})
	steps := []struct {
		what string
		do   func() error
	}{
		{"Prometheus, scraping every 2 s", func() (err error) {
			s.prometheus, err = s.bed.StartPrometheus(ctx, testbed.PrometheusOptions{ScrapeInterval: 2 * time.Second, Targets: []string{s.exporter.Address()}})
			return err
		}},
		{fmt.Sprintf("a node with %d GPUs, a Deployment of %d pods", gpus, first), func() error {
			if err := s.bed.AddNode(ctx, "gpu-0", gpus); err != nil {
				return err
			}
			return s.bed.AddDeployment(ctx, testbed.Deployment{Namespace: namespace, Name: deployment, Replicas: first, ColdStart: coldStart})
		}},
		{"Headroom, compiled from this repository", func() (err error) {
			s.adapter, err = s.bed.StartAdapter(ctx, testbed.AdapterOptions{Rules: rules, PrometheusURL: s.prometheus.URL})
			return err
		}},
		{"its APIServices: custom.metrics.k8s.io and external.metrics.k8s.io", func() error { return s.bed.RegisterAPIServices(ctx, s.adapter.Port) }},
		{"its pods load their model", func() (err error) {
			s.ready, err = s.bed.WaitReady(ctx, 3*coldStart, namespace, deployment, first)
			return err
		}},
		{"the HPA", func() error {
			return s.bed.AddHPA(ctx, namespace, deployment, 2, 14, testbed.PodsMetric("requests_offered_per_second", target))
		}},
	}
	for _, step := range steps {
		if err := t.step(step.what, step.do); err != nil {
			return err
		}
	}
	s.begin = time.Now()
	s.mu.Lock()
	s.service = fleet.New(fleet.DefaultOptions(), s.begin)
	s.mu.Unlock()
	go s.simulate(ctx)
	return nil
}

// simulate moves the service ten times a second, with the traffic that belongs to the moment.
func (s *stage) simulate(ctx context.Context) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			_, offered := s.traffic.At(now.Sub(s.begin))
			s.mu.Lock()
			s.service.Step(now, offered, s.ready)
			s.mu.Unlock()
		}
	}
}

// play shows what happens until the traffic is over.
func (s *stage) play(ctx context.Context, o options) ([]snapshot, error) {
	var history []snapshot
	screen := newScreen(os.Stdout, o.Plain, o.Duration)
	err := s.watch(ctx, func(now snapshot) (done bool) {
		history = append(history, now)
		screen.draw(history)
		return now.Elapsed >= o.Duration
	})
	return history, err
}

// keep goes on feeding the service until Ctrl-C.
func (s *stage) keep(ctx context.Context) error {
	return s.watch(ctx, func(snapshot) bool { return false })
}

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

// look reads the cluster and the service as they are now.
func (s *stage) look(ctx context.Context) (snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pods, err := s.bed.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + deployment, ResourceVersion: "0"})
	if err != nil {
		return snapshot{}, err
	}
	now := snapshot{Elapsed: time.Since(s.begin), GPUs: gpus}
	now.Phase, now.Offered = s.traffic.At(now.Elapsed)
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
				now.Metric, now.Known = metric.Pods.Current.AverageValue.AsApproximateFloat64(), true
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = ready
	now.Waiting, now.Late, now.Lost, now.Total = s.service.Waiting(), s.service.Late, s.service.Lost, s.service.Offered
	now.Capacity = float64(now.Ready) * fleet.DefaultOptions().PerPod
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
