// Package exporter is a synthetic fleet behind one /metrics page: thousands of pods with four series each, series of their
// deployments and of queues, all of them a function of time and of one level that a measurement can step.
//
// It exists to load a Prometheus and an adapter, so it models no inference: at level 1 every value equals its HPA target
// (nothing scales), at level 2 it is twice that.
package exporter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
)

// PodsPerDeployment is fixed: budgets are stated for answers of ten pods.
const PodsPerDeployment = 10

// Target is the value per pod at level 1, and the averageValue that HPAs of the fleet aim at.
const Target = 10

// Names of the fleet's series. Rules that serve them are in scenario/rules.yaml.
const (
	RequestsTotal      = "bench_requests_total"      // counter per pod; grows by Target × level per second
	Waiting            = "bench_waiting"             // gauge per pod
	Running            = "bench_running"             // gauge per pod
	CacheRatio         = "bench_cache_ratio"         // gauge per pod, 0 to 1, not moved by the level
	DeploymentArrivals = "bench_deployment_arrivals" // gauge per deployment
	QueueLag           = "bench_queue_lag"           // gauge per queue, one queue per deployment
)

// PodMetrics are the names under which the bench's rules serve the four series of a pod.
var PodMetrics = [4]string{"bench_requests_per_second", Waiting, Running, CacheRatio}

// Shape is the size of a fleet.
type Shape struct {
	Pods       int // a multiple of PodsPerDeployment
	Namespaces int // deployments are dealt over them
}

// Problem says why the shape cannot be, or nil.
func (s Shape) Problem() error {
	var problems []error
	if s.Pods < PodsPerDeployment || s.Pods > 50_000 || s.Pods%PodsPerDeployment != 0 {
		problems = append(problems, fmt.Errorf("pods: %d; want a multiple of %d from %d to 50000", s.Pods, PodsPerDeployment, PodsPerDeployment))
	}
	if s.Namespaces < 1 || s.Namespaces > 1000 {
		problems = append(problems, fmt.Errorf("namespaces: %d; want 1 to 1000", s.Namespaces))
	}
	return errors.Join(problems...)
}

func (s Shape) String() string { return fmt.Sprintf("%d pods", s.Pods) }

// Deployments is their number.
func (s Shape) Deployments() int { return s.Pods / PodsPerDeployment }

// Deployment is the name of number i, which is also its pods' label "app" and its queue's label "queue".
func Deployment(i int) string { return fmt.Sprintf("d-%04d", i) }

// Namespace is the name of the namespace that deployment i lives in.
func (s Shape) Namespace(i int) string { return fmt.Sprintf("bench-%d", i%s.Namespaces) }

// Pod is the name of pod p of deployment i.
func Pod(i, p int) string { return fmt.Sprintf("%s-%d", Deployment(i), p) }

// Targets are the requests of one kind that HPAs of all deployments send, one of the metrics each.
func (s Shape) Targets(kind ask.Kind, metrics ...string) []ask.Target {
	var targets []ask.Target
	for i := range s.Deployments() {
		for _, metric := range metrics {
			t := ask.Target{Kind: kind, Namespace: s.Namespace(i), Metric: metric, Items: 1}
			switch kind {
			case ask.Pods:
				t.Selector, t.Items = "app="+Deployment(i), PodsPerDeployment
			case ask.Object:
				t.Resource, t.Name = "deployments.apps", Deployment(i)
			case ask.External:
				t.Selector = "queue=" + Deployment(i)
			}
			targets = append(targets, t)
		}
	}
	return targets
}

// Fleet renders the series of a shape.
type Fleet struct {
	mu     sync.Mutex
	shape  Shape
	lines  []line
	level  float64
	since  time.Time // of the level
	served float64   // requests per pod up to since
}

// line is one series: the text up to its value, and which value it takes.
type line struct {
	text  []byte
	value func(level, served float64) float64
}

// New is a fleet at level 1.
func New(shape Shape, now time.Time) *Fleet {
	f := &Fleet{level: 1, since: now}
	f.Resize(shape)
	return f
}

// Resize changes the number of pods; deployments that stay keep their names.
func (f *Fleet) Resize(shape Shape) {
	lines := renderLines(shape)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shape, f.lines = shape, lines
}

// SetLevel steps every value; counters go on from where they are.
func (f *Fleet) SetLevel(level float64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served += f.level * Target * now.Sub(f.since).Seconds()
	f.level, f.since = level, now
}

// Text is the page at now, in the Prometheus text format.
func (f *Fleet) Text(now time.Time) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	served := f.served + f.level*Target*now.Sub(f.since).Seconds()
	page := make([]byte, 0, 96*len(f.lines))
	for _, l := range f.lines {
		page = append(page, l.text...)
		page = strconv.AppendFloat(page, l.value(f.level, served), 'g', -1, 64)
		page = append(page, '\n')
	}
	return page
}

// family renders one metric: a series per label set, the type in front of the first.
func family(name, kind string, n int, labels func(i int) string, value func(i int) func(level, served float64) float64) []line {
	lines := make([]line, n)
	for i := range lines {
		lines[i] = line{text: fmt.Appendf(nil, "%s{%s} ", name, labels(i)), value: value(i)}
	}
	lines[0].text = append(fmt.Appendf(nil, "# TYPE %s %s\n", name, kind), lines[0].text...)
	return lines
}

func renderLines(shape Shape) []line {
	podLabels := func(n int) string {
		i, p := n/PodsPerDeployment, n%PodsPerDeployment
		return fmt.Sprintf("namespace=%q,pod=%q", shape.Namespace(i), Pod(i, p))
	}
	labelled := func(label string) func(i int) string {
		return func(i int) string { return fmt.Sprintf("namespace=%q,%s=%q", shape.Namespace(i), label, Deployment(i)) }
	}
	perPod := func(int) func(float64, float64) float64 {
		return func(level, _ float64) float64 { return level * Target }
	}
	perDeployment := func(int) func(float64, float64) float64 {
		return func(level, _ float64) float64 { return level * Target * PodsPerDeployment }
	}
	total := func(int) func(float64, float64) float64 {
		return func(_, served float64) float64 { return served }
	}
	ratio := func(n int) func(float64, float64) float64 {
		return func(float64, float64) float64 { return float64(n/PodsPerDeployment%100) / 100 }
	}
	return slices.Concat(
		family(RequestsTotal, "counter", shape.Pods, podLabels, total),
		family(Waiting, "gauge", shape.Pods, podLabels, perPod),
		family(Running, "gauge", shape.Pods, podLabels, perPod),
		family(CacheRatio, "gauge", shape.Pods, podLabels, ratio),
		family(DeploymentArrivals, "gauge", shape.Deployments(), labelled("deployment"), perDeployment),
		family(QueueLag, "gauge", shape.Deployments(), labelled("queue"), perDeployment),
	)
}
