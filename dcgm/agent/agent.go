package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/exporter"
)

// Agent is a wired node agent. New makes it, Run runs it once.
type Agent struct {
	opts    *Options
	log     *slog.Logger
	began   time.Time // the zero of the stream's clock
	metrics *metrics

	process        *prometheus.Registry // the agent's own
	ours, both     *prometheus.Registry // of GPUs, without and with dcgm-exporter's names
	exporter, twin *exporter.Exporter
	hub            *hub

	pods    atomic.Pointer[known]
	scraped atomic.Pointer[[]dcgm.Reading]
	wanted  atomic.Bool   // something has no activity but a dcgm-exporter's
	rival   atomic.Bool   // a dcgm-exporter answers on this node
	looks   chan struct{} // wishes for a look at the inventory

	ticking sync.Mutex // guards what a tick keeps for the next
	ladder  *dcgm.Ladder
	sought  map[string]struct{} // device ids for which a look was asked
}

// New wires an agent and starts nothing.
func New(o *Options) (*Agent, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	log := o.Logger
	if log == nil {
		log, _ = newLogger(o.LogFormat, o.LogLevel) // validated
	}
	dialect, _ := o.dialect() // validated
	host := o.Node
	if host == "" {
		host, _ = os.Hostname() // "" is as good where there is none
	}
	a := &Agent{
		opts: o, log: log, began: time.Now(), process: prometheus.NewRegistry(), ours: prometheus.NewRegistry(), both: prometheus.NewRegistry(), hub: newHub(),
		looks: make(chan struct{}, 1), ladder: dcgm.NewLadder(dcgm.StaleIntervals * o.Interval),
	}
	a.metrics = newMetrics(a.process)
	a.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	show := exporter.Options{Interval: o.Interval, Hostname: host, Now: time.Now}
	a.exporter = exporter.New(show)
	show.Dialect = dialect
	a.twin = exporter.New(show)
	if err := a.exporter.Register(a.ours); err != nil {
		return nil, fmt.Errorf("own metrics: %w", err)
	}
	if err := a.twin.Register(a.both); err != nil {
		return nil, fmt.Errorf("metrics in dcgm-exporter's names: %w", err)
	}
	return a, nil
}

// Run reads and serves until the context ends, or until only a new process can go on. Its error is a RestartError, or what keeps the agent
// from working.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop, err := a.serve(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return a.work(ctx)
}

// work is Run without servers.
func (a *Agent) work(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var rest sync.WaitGroup
	defer rest.Wait()
	defer cancel()
	if a.opts.Pods.Socket != "" {
		rest.Go(func() { a.followPods(ctx) })
	}
	if a.opts.DCGM.URL != "" {
		rest.Go(func() { a.followExporter(ctx) })
	}
	if a.opts.Replay != "" {
		return a.replay(ctx)
	}
	return a.readDriver(ctx)
}

// look asks for a look at the inventory. It never blocks.
func (a *Agent) look() {
	select {
	case a.looks <- struct{}{}:
	default:
	}
}

// every calls do at once and then each time that d has passed, until the context ends or do says to stop. A call that takes longer loses the
// turns that it overlaps.
func every(ctx context.Context, d time.Duration, do func() (more bool)) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for ctx.Err() == nil && do() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// sleep waits, and says whether the whole time has passed.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
