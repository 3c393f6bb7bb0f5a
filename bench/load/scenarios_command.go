package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
	"github.com/headroom-autoscaler/headroom/bench/load/meter"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
	"github.com/headroom-autoscaler/headroom/bench/load/scenario"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// scenarioFlags are what "scenarios" can be told.
type scenarioFlags struct {
	options  scenario.Options
	shapes   string
	names    string
	markdown string
	json     string
}

func scenariosCommand(ctx context.Context, args []string) error {
	f := scenarioFlags{options: scenario.DefaultOptions()}
	fs := flag.NewFlagSet("load scenarios", flag.ContinueOnError)
	fs.StringVar(&f.shapes, "pods", "100,1000,5000", "numbers of pods, ascending")
	fs.StringVar(&f.names, "scenarios", "", "only these, of "+strings.Join(scenario.Names(), ","))
	fs.StringVar(&f.options.Command, "command", f.options.Command, "how the adapter under test is started")
	fs.DurationVar(&f.options.Slice, "slice", f.options.Slice, "length of one measurement; adapters are measured in turns")
	fs.IntVar(&f.options.Slices, "slices", f.options.Slices, "measurements of each adapter for each figure")
	fs.StringVar(&f.markdown, "markdown", "", "also write the figures as a page to this file")
	fs.StringVar(&f.json, "json", "", "also write the figures as JSON to this file")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := f.read(); err != nil {
		return err
	}
	started := time.Now()
	f.options.Progress = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.0fs  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
	}
	bed, stop, err := startBed(ctx, f.options)
	if err != nil {
		return err
	}
	defer stop()
	figures, err := scenario.Run(ctx, bed, f.options)
	r := newReport("go run ./bench/load scenarios "+strings.Join(args, " "), started)
	r.Figures, r.Seconds = figures, time.Since(started).Seconds()
	return errors.Join(err, f.write(r))
}

func (f *scenarioFlags) read() error {
	f.options.Shapes = nil
	for text := range strings.SplitSeq(f.shapes, ",") {
		pods, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return fmt.Errorf("-pods: %q is no number", text)
		}
		f.options.Shapes = append(f.options.Shapes, pods)
	}
	if f.names != "" {
		f.options.Scenarios = strings.Split(f.names, ",")
	}
	return errors.Join(f.options.Problems()...)
}

func (f *scenarioFlags) write(r *report.Report) error {
	toFile := func(path string, write func(io.Writer) error) error {
		if path == "" {
			return nil
		}
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		return errors.Join(write(file), file.Close())
	}
	return errors.Join(r.Table(os.Stdout), toFile(f.markdown, r.Markdown), toFile(f.json, r.JSON))
}

// startBed runs what the scenarios stand on: a control plane whose only controller is the HPA's, and a Prometheus that
// scrapes the synthetic fleet.
func startBed(ctx context.Context, o scenario.Options) (_ *scenario.Bed, stop func(), err error) {
	plane, err := testbed.Start(ctx, testbed.Options{
		SyncPeriod: o.SyncPeriod, NoKwok: true,
		ControllerManagerArgs: []string{"--controllers=horizontal-pod-autoscaler-controller"},
	})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			plane.Close()
		}
	}()
	fleet := exporter.New(exporter.Shape{Pods: o.Shapes[0], Namespaces: 1}, time.Now())
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	target := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(fleet.Text(time.Now())) // the scraper is gone if this fails
	})}
	go func() { _ = target.Serve(listener) }() // ends with Close
	prometheus, err := plane.StartPrometheus(ctx, testbed.PrometheusOptions{ScrapeInterval: o.ScrapeInterval, Targets: []string{listener.Addr().String()}})
	if err != nil {
		return nil, nil, err
	}
	program, cert, key, kubeconfig, err := plane.AdapterFiles(ctx)
	if err != nil {
		return nil, nil, err
	}
	empty := filepath.Join(plane.Dir, "empty-provider")
	if err := plane.GoBuild(ctx, empty, "./bench/load/empty"); err != nil {
		return nil, nil, err
	}
	rules := filepath.Join(plane.Dir, "bench-rules.yaml")
	if err := os.WriteFile(rules, scenario.RulesFile(), 0o600); err != nil {
		return nil, nil, err
	}
	bed := &scenario.Bed{
		Dir: plane.Dir, Admin: plane.Config, AdapterKubeconfig: kubeconfig, ServingCert: cert, ServingKey: key, CAFile: plane.CAFile,
		FrontProxyCert: plane.FrontProxyCertFile, FrontProxyKey: plane.FrontProxyKeyFile, PrometheusURL: prometheus.URL,
		Processes: map[string]int{"prometheus": prometheus.PID()}, Headroom: program, Empty: empty, Rules: rules, Fleet: fleet,
		Aggregate: plane.RegisterAPIServices, InstallHeadrooms: plane.InstallCRDs, LeaseNamespace: testbed.Namespace,
	}
	maps.Copy(bed.Processes, plane.PIDs)
	bed.Pause = func(name string) error { return send(bed.Processes, name, stopSignal) }
	bed.Resume = func(name string) error { return send(bed.Processes, name, goOnSignal) }
	if bed.ManagerMetrics, err = managerMetrics(plane); err != nil {
		return nil, nil, err
	}
	return bed, func() {
		_ = bed.Resume("kube-controller-manager") // one that is stopped cannot end
		_ = bed.Resume("prometheus")
		_ = target.Close()
		plane.Close()
	}, nil
}

// managerMetrics reads kube-controller-manager's own metrics, as an administrator.
func managerMetrics(plane *testbed.Bed) (func(ctx context.Context) (meter.Reading, error), error) {
	config := rest.CopyConfig(plane.Config)
	config.Host = plane.ControllerManager
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (meter.Reading, error) {
		return meter.Scrape(ctx, client, plane.ControllerManager+"/metrics")
	}, nil
}
