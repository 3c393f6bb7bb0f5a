package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	metrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/test/fleet"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// options are what the demo can be told.
type options struct {
	Duration    time.Duration
	Keep, Plain bool
}

// The two fleets.
const (
	alone = iota
	ahead
	fleets
)

var (
	namespaces = [fleets]string{"hpa-alone", "with-headroom"}
	// Each begins with what it keeps at the first load of 20 requests/s: 20/8, and 20/12 + 2.
	first = [fleets]int32{3, 4}
)

const (
	deployment     = "llm"
	mostPods       = 14 // of either fleet: more than the peak needs at the HPA's target
	coldStart      = 45 * time.Second
	target         = "8" // requests/s for each pod that the HPA alone keeps, of the perPod that one can serve
	windowReplicas = 10  // they carry the peak of 100 requests/s
	// firstLead is what Headroom takes for the cold start until it has measured some: that, and what a busy machine adds.
	firstLead = 50 * time.Second

	rules = "presets:\n- {name: vllm, window: 30s}\n"
)

// perPod is what one Ready pod can serve, in requests/s.
var perPod = fleet.DefaultOptions().PerPod

// traffic is calm, a step that more than doubles the load at once and that nobody told of, a ramp to a peak that was known, and
// calm again.
var traffic = fleet.Traffic{
	{Name: "calm", For: 40 * time.Second, From: 20, To: 20},
	{Name: "step", For: 110 * time.Second, From: 45, To: 45},
	{Name: "launch", For: 40 * time.Second, From: 45, To: 100},
	{Name: "peak", For: 60 * time.Second, From: 100, To: 100},
	{Name: "calm again", For: 50 * time.Second, From: 25, To: 25},
}

// stage is all that runs.
type stage struct {
	bed        *testbed.Bed
	exporters  [fleets]*testbed.Exporter
	prometheus *testbed.MetricsServer
	adapter    *testbed.Adapter
	headrooms  client.Reader
	traffic    fleet.Traffic
	manifest   string
	begin      time.Time // of the traffic

	mu       sync.Mutex
	services [fleets]*fleet.Service // nil until the pods are Ready
	before   [fleets]account        // the first requests, which do not count
	ready    [fleets][]string
}

func run(ctx context.Context, o options) error {
	t := &teller{out: os.Stdout, plain: o.Plain}
	t.say("Headroom demo: a real control plane and HPAs, two simulated GPU fleets.\nCtrl-C stops everything.\n")
	began := time.Now()
	t.say("- the control plane; the first run compiles it, which takes a while")
	bed, err := testbed.Start(ctx, testbed.Options{})
	if err != nil {
		return err
	}
	defer bed.Close()
	s := &stage{bed: bed, traffic: traffic.Scaled(o.Duration)}
	for i := range s.exporters {
		if s.exporters[i], err = testbed.NewExporter(); err != nil {
			return err
		}
		defer s.exporters[i].Close()
	}
	if err := s.prepare(ctx, t); err != nil {
		return err
	}
	t.say(introduction, time.Since(began).Round(time.Second), indent(rules), namespaces[alone], target, perPod, namespaces[ahead], indent(s.manifest), coldStart)
	history, err := s.play(ctx, o)
	if err != nil {
		return err
	}
	t.say("%s", summary(history))
	if !o.Keep {
		t.say(askText)
		return nil
	}
	program, _, _, _, err := bed.AdapterFiles(ctx)
	if err != nil {
		return err
	}
	t.say(keepText, bed.Kubeconfig, program, namespaces[ahead], s.prometheus.URL, bed.Dir)
	return s.keep(ctx)
}

const introduction = `
Ready after %s. Headroom's rules file is

%s
%s has an HPA that keeps %s requests_offered_per_second for each pod,
of the %.0f that one can serve. %s has an HPA that follows this:

%s
A pod takes %s to become Ready. The step comes unannounced; the launch is in the
calendar. A forecast needs days of history, and has none here.
`

const askText = `To ask Headroom why, run it with DEMO_FLAGS=--keep: "headroom explain" tells.`

const keepText = `Everything goes on running, with the last load. In another terminal:

    export KUBECONFIG=%[1]s
    %[2]s explain llm -n %[3]s
    kubectl get headroom,hpa,pods -A
    kubectl get --raw '/apis/external.metrics.k8s.io/v1beta1/namespaces/%[3]s/headroom_replicas'

Prometheus is at %[4]s, all logs are in %[5]s. Ctrl-C stops it.`

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}

// prepare starts what the control plane needs around it, up to the HPAs and the first requests.
func (s *stage) prepare(ctx context.Context, t *teller) error {
	var targets []string
	for i, exporter := range s.exporters {
		exporter.ExportFunc(func(time.Time) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.services[i] == nil {
				return ""
			}
			return s.services[i].Text(namespaces[i])
		})
		targets = append(targets, exporter.Address())
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"Prometheus, scraping every 2 s", func() (err error) {
			s.prometheus, err = s.bed.StartPrometheus(ctx, testbed.PrometheusOptions{ScrapeInterval: 2 * time.Second, Targets: targets})
			return err
		}},
		{fmt.Sprintf("a node with %d GPUs, a Deployment in each of %s and %s", fleets*mostPods, namespaces[alone], namespaces[ahead]), func() error { return s.deploy(ctx) }},
		{"Headroom's CustomResourceDefinition", func() (err error) {
			if err := s.bed.InstallCRDs(ctx); err != nil {
				return err
			}
			s.headrooms, err = s.bed.HeadroomClient()
			return err
		}},
		{"Headroom, compiled from this repository", func() (err error) {
			s.adapter, err = s.bed.StartAdapter(ctx, testbed.AdapterOptions{Rules: rules, PrometheusURL: s.prometheus.URL,
				Args: []string{"--decide-interval", "2s", "--lease-namespace", testbed.Namespace}})
			return err
		}},
		{"its APIServices: custom.metrics.k8s.io and external.metrics.k8s.io", func() error { return s.bed.RegisterAPIServices(ctx, s.adapter.Port) }},
		{"the pods load their model", func() (err error) {
			for i := range fleets {
				if s.ready[i], err = s.bed.WaitReady(ctx, 3*coldStart, namespaces[i], deployment, int(first[i])); err != nil {
					return err
				}
			}
			return nil
		}},
		{"the first requests, until their rate is known", func() error { return s.open(ctx) }},
		{"the HPAs and the Headroom", func() error { return s.scale(ctx) }},
	}
	for _, step := range steps {
		if err := t.step(step.what, step.do); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) deploy(ctx context.Context) error {
	if err := s.bed.AddNode(ctx, "gpu-0", fleets*mostPods); err != nil {
		return err
	}
	for i, namespace := range namespaces {
		d := testbed.Deployment{Namespace: namespace, Name: deployment, Replicas: first[i], ColdStart: coldStart}
		if err := s.bed.AddDeployment(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// open lets the first requests in, and waits until Headroom knows how many they are: a rate over a window takes one to be right.
func (s *stage) open(ctx context.Context) error {
	s.mu.Lock()
	s.begin = time.Now()
	for i := range s.services {
		s.services[i] = fleet.New(fleet.DefaultOptions(), s.begin)
	}
	s.mu.Unlock()
	go s.simulate(ctx)
	offered := traffic[0].From
	for _, namespace := range namespaces {
		err := testbed.WaitFor(ctx, 3*time.Minute, "Headroom to see the load of "+namespace, func(ctx context.Context) (bool, string) {
			status, body, err := s.bed.Get(ctx, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/"+namespace+"/pods/*/requests_offered_per_second")
			var values metrics.MetricValueList
			if err != nil || status != http.StatusOK || json.Unmarshal([]byte(body), &values) != nil {
				return false, fmt.Sprint(status, " ", body, err)
			}
			sum := 0.0
			for _, item := range values.Items {
				sum += item.Value.AsApproximateFloat64()
			}
			return sum > 0.9*offered, fmt.Sprintf("%.1f of %.0f requests/s", sum, offered)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// scale begins the traffic that counts, and lets both HPAs loose on it.
func (s *stage) scale(ctx context.Context) error {
	s.mu.Lock()
	s.begin = time.Now()
	for i, service := range s.services {
		s.before[i] = accountOf(service)
	}
	s.mu.Unlock()
	s.manifest = manifest(s.begin.Add(s.traffic.Start("launch")), s.begin.Add(s.traffic.Start("calm again")))
	if err := s.addAlone(ctx); err != nil {
		return err
	}
	return s.addAhead(ctx)
}

// simulate moves both services ten times a second, with the traffic that belongs to the moment.
func (s *stage) simulate(ctx context.Context) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s.mu.Lock()
			_, offered := s.traffic.At(now.Sub(s.begin))
			for i, service := range s.services {
				service.Step(now, offered, s.ready[i])
			}
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

// keep goes on feeding the services until Ctrl-C.
func (s *stage) keep(ctx context.Context) error {
	return s.watch(ctx, func(snapshot) bool { return false })
}
