package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/drive"
	"github.com/headroom-autoscaler/headroom/bench/load/meter"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// driveFlags are what "drive" can be told.
type driveFlags struct {
	client        ask.Options
	remoteGroups  string
	tokenFile     string
	kubeconfig    string
	targetsFile   string
	kinds         string
	load          drive.Load
	prometheusURL string
	processes     processFlag
	asJSON        bool
}

// processFlag is a repeatable NAME=PID.
type processFlag map[string]int

func (p processFlag) String() string { return "" }

func (p processFlag) Set(text string) error {
	name, pid, ok := strings.Cut(text, "=")
	n, err := strconv.Atoi(pid)
	if !ok || name == "" || err != nil || n < 1 {
		return fmt.Errorf("%q; want NAME=PID", text)
	}
	p[name] = n
	return nil
}

func driveCommand(ctx context.Context, args []string) error {
	f := driveFlags{processes: processFlag{}}
	fs := flag.NewFlagSet("load drive", flag.ContinueOnError)
	fs.StringVar(&f.client.URL, "url", "", "https://host:port of the adapter; empty: through kube-apiserver, with --kubeconfig")
	fs.StringVar(&f.client.CAFile, "ca-file", "", "CA of the adapter's certificate")
	fs.StringVar(&f.client.ServerName, "server-name", "", "name in the adapter's certificate, where it is not the URL's host")
	fs.BoolVar(&f.client.InsecureSkipVerify, "insecure", false, "accept any certificate of the adapter")
	fs.StringVar(&f.client.CertFile, "client-cert", "", "client certificate: direct to an adapter, the aggregator's front-proxy certificate")
	fs.StringVar(&f.client.KeyFile, "client-key", "", "its key")
	fs.StringVar(&f.client.RemoteUser, "remote-user", "", "user that the front proxy vouches for, as kube-aggregator does")
	fs.StringVar(&f.remoteGroups, "remote-groups", "", "the user's groups, separated by commas")
	fs.StringVar(&f.tokenFile, "token-file", "", "file with a bearer token")
	fs.StringVar(&f.client.CustomVersion, "custom-version", "v1beta2", "version of custom.metrics.k8s.io")
	fs.IntVar(&f.client.Connections, "connections", 1, "HTTP/2 connections")
	fs.DurationVar(&f.client.Timeout, "timeout", time.Minute, "of one request")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster: its HPAs give the questions, its kube-apiserver the counters")
	fs.StringVar(&f.targetsFile, "targets", "", "file with one question a line, instead of the cluster's HPAs: see docs/benchmarks.md")
	fs.StringVar(&f.kinds, "kinds", "pods,object,external", "which questions are asked")
	fs.IntVar(&f.load.Clients, "clients", 1, "requests in flight at most")
	fs.Float64Var(&f.load.Rate, "rate", 0, "requests per second offered; 0: each client asks as fast as it is answered")
	fs.DurationVar(&f.load.Duration, "duration", 10*time.Second, "how long, at most 1h")
	fs.IntVar(&f.load.MaxRequests, "max-requests", 0, "how many requests at most; 0: no limit")
	fs.StringVar(&f.prometheusURL, "prometheus-url", "", "Prometheus whose own /metrics counts queries")
	fs.Var(f.processes, "process", "NAME=PID of a process on this machine whose CPU time and memory are reported; may be repeated")
	fs.BoolVar(&f.asJSON, "json", false, "print JSON instead of a table")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("drive: unexpected argument %q", fs.Arg(0))
	}
	return f.run(ctx, args)
}

func (f *driveFlags) run(ctx context.Context, args []string) error {
	var cluster *rest.Config
	if f.kubeconfig != "" {
		var err error
		if cluster, err = clientcmd.BuildConfigFromFlags("", f.kubeconfig); err != nil {
			return fmt.Errorf("--kubeconfig: %w", err)
		}
		cluster.QPS = -1 // the load's own bounds hold, not the client's
	}
	client, err := f.connect(cluster)
	if err != nil {
		return err
	}
	defer client.Close()
	if f.load.Targets, err = f.targets(ctx, cluster); err != nil {
		return err
	}
	if problems := f.load.Problems(); len(problems) > 0 {
		return errors.Join(problems...)
	}
	observer := &meter.Observer{PrometheusURL: f.prometheusURL, Processes: f.processes}
	if cluster != nil {
		if observer.Apiserver, err = rest.HTTPClientFor(cluster); err != nil {
			return err
		}
		observer.ApiserverMetricsURL = cluster.Host + "/metrics"
	}
	before, err := observer.Observe(ctx)
	if err != nil {
		return err
	}
	started := time.Now()
	fmt.Fprintf(os.Stderr, "%d questions, %d clients, %s\n", len(f.load.Targets), f.load.Clients, f.load.Duration)
	result, err := drive.Run(ctx, client, f.load)
	if err != nil {
		return err
	}
	after, err := observer.Observe(ctx)
	if err != nil {
		return err
	}
	r := newReport("go run ./bench/load drive "+strings.Join(args, " "), started)
	r.Seconds = result.Elapsed.Seconds()
	r.Figures = figures(result, after.Since(before), cluster != nil, f.prometheusURL != "")
	for _, name := range slices.Sorted(maps.Keys(f.processes)) {
		usage, err := meter.Process(f.processes[name])
		if err != nil {
			return err
		}
		r.Figures = append(r.Figures, report.Measured("drive", "", name+", resident", "MiB", float64(usage.ResidentBytes)/(1<<20)).
			Because("peak %.0f", float64(usage.PeakBytes)/(1<<20)))
	}
	if f.asJSON {
		return r.JSON(os.Stdout)
	}
	return r.Table(os.Stdout)
}

func (f *driveFlags) connect(cluster *rest.Config) (*ask.Client, error) {
	o := f.client
	if f.remoteGroups != "" {
		o.RemoteGroups = strings.Split(f.remoteGroups, ",")
	}
	if f.tokenFile != "" {
		token, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		o.Token = strings.TrimSpace(string(token))
	}
	if o.URL == "" {
		if cluster == nil {
			return nil, errors.New("--url: an adapter's https://host:port is needed, or --kubeconfig to ask through kube-apiserver")
		}
		o.URL, o.Token = cluster.Host, cluster.BearerToken
		var err error
		if o.TLS, err = rest.TLSConfigFor(cluster); err != nil {
			return nil, fmt.Errorf("--kubeconfig: %w", err)
		}
	}
	return ask.NewClient(o)
}

func (f *driveFlags) targets(ctx context.Context, cluster *rest.Config) ([]ask.Target, error) {
	var targets []ask.Target
	switch {
	case f.targetsFile != "":
		file, err := os.Open(f.targetsFile)
		if err != nil {
			return nil, fmt.Errorf("--targets: %w", err)
		}
		defer file.Close()
		if targets, err = readTargets(file); err != nil {
			return nil, fmt.Errorf("--targets %s:\n%w", f.targetsFile, err)
		}
	case cluster != nil:
		var err error
		if targets, err = targetsOfCluster(ctx, cluster); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("--targets: a file is needed, or --kubeconfig of a cluster with HPAs")
	}
	kinds := map[string]ask.Kind{"pods": ask.Pods, "object": ask.Object, "external": ask.External}
	var wanted []ask.Kind
	for name := range strings.SplitSeq(f.kinds, ",") {
		kind, ok := kinds[name]
		if !ok {
			return nil, fmt.Errorf("--kinds: %q is none of pods, object, external", name)
		}
		wanted = append(wanted, kind)
	}
	targets = slices.DeleteFunc(targets, func(t ask.Target) bool { return !slices.Contains(wanted, t.Kind) })
	if len(targets) == 0 {
		return nil, fmt.Errorf("no question of the kinds %s (no HPA with such a metric?)", f.kinds)
	}
	return targets, nil
}

// figures are the results of a drive; what was not observed is not in them.
func figures(result *drive.Result, cost meter.Cost, apiserver, prometheus bool) []report.Figure {
	var list []report.Figure
	add := func(name, unit string, value float64) *report.Figure {
		list = append(list, report.Measured("drive", "", name, unit, value))
		return &list[len(list)-1]
	}
	if result.Answers > 0 {
		for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
			d, _ := result.Latency.Quantile(q)
			add("latency p"+strconv.FormatFloat(q*100, 'f', -1, 64), "ms", float64(d)/float64(time.Millisecond))
		}
	}
	add("answers", "answers", float64(result.Answers))
	add("throughput", "answers/s", result.PerSecond())
	add("failed", "requests", float64(result.Failed()))
	for _, reason := range slices.Sorted(maps.Keys(result.Failures)) {
		add("  "+reason, "requests", float64(result.Failures[reason]))
	}
	per := float64(result.Answers)
	if prometheus {
		f := add("Prometheus queries per answer", "queries", cost.QueryCount()/per)
		f.Note = fmt.Sprintf("%.0f in all, background included", cost.QueryCount())
	}
	if apiserver {
		f := add("kube-apiserver LISTs per answer", "LISTs", cost.ListCount()/per)
		f.Note = fmt.Sprintf("%.0f in all", cost.ListCount())
		top := meter.Largest(cost.Requests)
		for _, key := range top[:min(5, len(top))] {
			add("  "+key, "requests", cost.Requests[key])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cost.CPU)) {
		add(name+", CPU per 1,000 answers", "s", cost.CPU[name].Seconds()/per*1000)
	}
	return list
}
