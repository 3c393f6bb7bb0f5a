package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
	"github.com/headroom-autoscaler/headroom/bench/load/meter"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// Bed is the control plane and the Prometheus that the scenarios run on, already up.
type Bed struct {
	Dir               string       // for logs
	Admin             *rest.Config // everything is allowed, and the client has no limit of its own
	AdapterKubeconfig string       // the adapter's rights: read pods and HPAs, delegate authentication and authorization
	ServingCert       string       // of the adapters, for localhost, signed by CAFile
	ServingKey        string
	CAFile            string
	FrontProxyCert    string // the aggregator's client certificate
	FrontProxyKey     string
	PrometheusURL     string
	Processes         map[string]int // "kube-apiserver", "etcd", "prometheus", "kube-controller-manager"
	Headroom, Empty   string         // binaries
	Rules             string         // file
	Fleet             *exporter.Fleet
	// Aggregate makes the metrics APIs of kube-apiserver go to the adapter on this port.
	Aggregate func(ctx context.Context, port int) error
	// InstallHeadrooms makes the cluster know Headroom objects; the lease of who decides is in LeaseNamespace.
	InstallHeadrooms func(ctx context.Context) error
	LeaseNamespace   string
	// ManagerMetrics is one scrape of kube-controller-manager.
	ManagerMetrics func(ctx context.Context) (meter.Reading, error)
	// Pause and Resume stop a process by its name in Processes, and let it go on.
	Pause, Resume func(name string) error
}

// Options choose what is run and for how long.
type Options struct {
	Shapes    []int         // numbers of pods, ascending
	Scenarios []string      // names; empty: all
	Command   string        // of the adapter under test
	Slice     time.Duration // one measurement of one adapter; several alternate
	Slices    int           // of each adapter for each figure
	// The intervals that budgets are made of.
	ScrapeInterval, CollectInterval, SyncPeriod, MaxStaleness time.Duration
	Progress                                                  func(format string, args ...any)
}

// DefaultOptions are those of "make bench-load".
func DefaultOptions() Options {
	return Options{
		Shapes:         []int{100, 1000, 5000},
		Command:        HeadroomCommand,
		Slice:          4 * time.Second,
		Slices:         3,
		ScrapeInterval: 5 * time.Second, CollectInterval: 5 * time.Second, SyncPeriod: 15 * time.Second, MaxStaleness: time.Minute,
		Progress: func(string, ...any) {},
	}
}

// Names of the scenarios, in the order in which they run.
const (
	Start      = "start"      // start to first answer
	Background = "background" // collection without any question
	Direct     = "direct"     // latency and throughput beside the empty provider's
	CPU        = "cpu"        // per 1,000 answers at the same rate
	Memory     = "memory"     // after load
	Growth     = "growth"     // smallest to largest shape
	Through    = "through"    // latency through kube-apiserver's aggregation layer
	Round      = "round"      // 500 HPAs through the real controller
	Step       = "step"       // gauge to spec.replicas
	Hung       = "hung"       // Prometheus stopped
	Headrooms  = "headrooms"  // one replica decides for a Headroom per deployment
)

// Names lists all scenarios.
func Names() []string {
	return []string{Start, Background, Direct, CPU, Memory, Growth, Through, Round, Step, Hung, Headrooms}
}

// Problems are all that is wrong with the options.
func (o Options) Problems() []error {
	var problems []error
	if len(o.Shapes) == 0 || !slices.IsSorted(o.Shapes) {
		problems = append(problems, fmt.Errorf("shapes: %v; want numbers of pods, ascending", o.Shapes))
	}
	for _, pods := range o.Shapes {
		if err := shapeOf(pods).Problem(); err != nil {
			problems = append(problems, fmt.Errorf("shapes: %w", err))
		}
	}
	for _, name := range o.Scenarios {
		if !slices.Contains(Names(), name) {
			problems = append(problems, fmt.Errorf("scenario: %q; want some of %v", name, Names()))
		}
	}
	if o.Slice < 100*time.Millisecond || o.Slice > time.Minute || o.Slices < 1 || o.Slices > 100 {
		problems = append(problems, fmt.Errorf("slices: %d of %s; want 1 to 100 of 100ms to 1m", o.Slices, o.Slice))
	}
	return problems
}

// shapeOf deals deployments over at most ten namespaces: rules are asked for several namespaces at once.
func shapeOf(pods int) exporter.Shape {
	return exporter.Shape{Pods: pods, Namespaces: max(1, min(10, pods/exporter.PodsPerDeployment))}
}

// run is the state of one go through the scenarios.
type run struct {
	*Bed
	Options
	world   *world
	adapter *subject
	empty   *subject
	figures []report.Figure
	// Across shapes.
	medians  map[int]float64 // p50 of a Pods answer in ms, by pods
	resident map[int]float64 // MiB, by pods
}

// Run goes through the scenarios. Figures measured before an error are returned with it.
func Run(ctx context.Context, bed *Bed, o Options) ([]report.Figure, error) {
	if problems := o.Problems(); len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	client, err := kubernetes.NewForConfig(bed.Admin)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{Bed: bed, Options: o, medians: map[int]float64{}, resident: map[int]float64{},
		world: &world{client: client, progress: o.Progress}}
	defer r.stopAdapters()
	// The HPA controller must not ask while the adapters are measured directly.
	if err := bed.Pause("kube-controller-manager"); err != nil {
		return nil, err
	}
	for _, pods := range o.Shapes {
		if err := r.shape(ctx, shapeOf(pods)); err != nil {
			return r.figures, fmt.Errorf("%d pods: %w", pods, err)
		}
	}
	if r.wants(Growth) {
		r.growth()
	}
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{{Through, r.through}, {Round, r.round}, {Step, r.step}, {Hung, r.hung}, {Headrooms, r.headrooms}} {
		if !r.wants(s.name) {
			continue
		}
		r.Progress("%s", s.name)
		if err := s.do(ctx); err != nil {
			return r.figures, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return r.figures, nil
}

func (r *run) wants(name string) bool {
	return len(r.Scenarios) == 0 || slices.Contains(r.Scenarios, name)
}

func (r *run) add(figures ...report.Figure) { r.figures = append(r.figures, figures...) }

func (r *run) stopAdapters() {
	for _, s := range []*subject{r.adapter, r.empty} {
		if s != nil {
			s.stop()
		}
	}
	r.adapter, r.empty = nil, nil
}

// shape brings the cluster to a size and measures what is measured directly.
func (r *run) shape(ctx context.Context, shape exporter.Shape) error {
	r.Progress("%s: building the cluster", shape)
	if err := r.world.grow(ctx, shape); err != nil {
		return err
	}
	if err := r.world.autoscalers(ctx, shape.Deployments(), everything); err != nil {
		return err
	}
	r.Fleet.Resize(shape)
	r.stopAdapters()
	if err := r.awaitScrapes(ctx, shape); err != nil {
		return err
	}
	idle, err := r.idlePrometheus(ctx, shape)
	if err != nil {
		return err
	}
	if err := r.startAdapters(ctx, shape); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		do   func(context.Context, exporter.Shape) error
	}{
		{Background, func(ctx context.Context, shape exporter.Shape) error { return r.background(ctx, shape, idle) }},
		{Direct, r.direct}, {CPU, r.cpu}, {Memory, r.memory},
	} {
		if !r.wants(s.name) {
			continue
		}
		r.Progress("%s: %s", shape, s.name)
		if err := s.do(ctx, shape); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// questions are all that the HPAs of a shape ask, for a check that every one of them has a good answer.
func questions(shape exporter.Shape) []ask.Target {
	return slices.Concat(
		shape.Targets(ask.Pods, exporter.PodMetrics[:]...),
		shape.Targets(ask.Object, exporter.DeploymentArrivals),
		shape.Targets(ask.External, exporter.QueueLag),
	)
}

// startAdapters starts both; the time to the adapter's first answer is a figure.
func (r *run) startAdapters(ctx context.Context, shape exporter.Shape) error {
	start := time.Now()
	adapter, err := r.start(ctx, "adapter", r.Command)
	if err != nil {
		return err
	}
	r.adapter = adapter
	first := shape.Targets(ask.Pods, exporter.Waiting)[0]
	took, err := adapter.ready(ctx, first, start, time.Minute)
	if err != nil {
		return err
	}
	if r.wants(Start) {
		r.add(report.Measured(Start, shape.String(), "start to first answer", "s", took.Seconds()).AtMost(3).
			Because("process start to a Pods answer with all ten pods, Prometheus and kube-apiserver up"))
	}
	if err := adapter.allGood(ctx, questions(shape), 90*time.Second); err != nil {
		return err
	}
	r.Progress("%s: every question has a good answer after %.1f s", shape, time.Since(start).Seconds())
	if r.empty, err = r.start(ctx, "empty", emptyCommand); err != nil {
		return err
	}
	_, err = r.empty.ready(ctx, first, time.Now(), 30*time.Second)
	return err
}
