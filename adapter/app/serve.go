package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	prometheusclient "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/runtime"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/informers"
	kubeclient "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	libmetrics "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver/metrics"
	basecmd "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/kubernetes"
	"github.com/headroom-autoscaler/headroom/adapter/metricsapi"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
)

// Adapter is a wired "headroom serve". New makes it, Run runs it once.
type Adapter struct {
	options   *Options
	log       *slog.Logger
	registry  *prometheusclient.Registry
	base      *basecmd.AdapterBase
	factory   informers.SharedInformerFactory
	resources *kubernetes.Resources
	kube      *rest.Config
	pods      *kubernetes.Pods
	nodes     *kubernetes.Nodes
	hpas      *kubernetes.HPAs
	headrooms *controller.Mirror
	engines   *controller.Engines
	demands   controller.Demands
	collector *collect.Collector
	provider  *metricsapi.Provider
	loop      *loop
	config    *configuration
	discovery *metricsapi.Discovery
}

// New wires everything and starts nothing but the first look at the cluster's resource names. Cleaning up needs no more
// than to drop the Adapter.
//
// It stays one straight line: every step uses what the steps before it made, and reading it top to bottom is reading
// the product's structure.
func New(ctx context.Context, o *Options) (*Adapter, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	log := o.Logger
	if log == nil {
		log, _ = newLogger(o.LogFormat, o.LogLevel) // validated
	}
	klog.SetSlogLogger(log.With("component", "kubernetes"))

	base := o.base()
	config, err := base.ClientConfig()
	switch {
	case err != nil && o.Kubeconfig == "":
		return nil, fmt.Errorf("--kubeconfig: this is not a pod of a cluster, so one is needed (%w)", err)
	case err != nil:
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	clients, err := newClients(config)
	if err != nil {
		return nil, err
	}
	resources, err := clients.resources(ctx, log)
	if err != nil {
		return nil, err
	}

	registry := prometheusclient.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	wanted := collect.NewWanted(o.MaxWanted)
	m := newMetrics(registry, wanted, log.With("component", "collect"))

	factory := informers.NewSharedInformerFactory(clients.typed, 0)
	pods, err := kubernetes.NewPods(factory)
	if err != nil {
		return nil, err
	}
	nodes, err := kubernetes.NewNodes(factory)
	if err != nil {
		return nil, err
	}
	headrooms, err := controller.NewMirror(config, log.With("component", "headrooms"))
	if err != nil {
		return nil, err
	}
	loop := newLoop(o, m)
	hpas, err := kubernetes.NewHPAs(factory, resources, loop.changed)
	if err != nil {
		return nil, err
	}
	objects := &kubernetes.Objects{Pods: pods, Resources: resources, Client: clients.metadata}
	collector := collect.New(collect.Options{
		Store: store.New(), Wanted: wanted, Resources: resources, Objects: objects, Observer: m,
		DefaultStaleness: o.MaxStaleness, RelistInterval: o.RelistInterval, MaxAge: max(o.MaxAge, o.RelistInterval),
		FullDiscovery: o.FullDiscovery,
	})
	settings := &configuration{
		options: o, collector: collector, metrics: m, backend: prometheus.NewMetrics(registry), log: log.With("component", "config"),
	}
	if err := settings.load(); err != nil {
		return nil, err
	}
	m.reloaded(nil, time.Now())
	loop.collector, loop.wanted, loop.hpas, loop.headrooms = collector, wanted, hpas, headrooms
	loop.synced = func() bool { return pods.Synced() && hpas.Synced() && headrooms.Tried() }

	queries := newQueries(o.AllowQueries, collector, o.MaxStaleness)
	loop.queries = queries
	engines := controller.NewEngines(controller.EnginesOptions{
		History: &histories{collector: collector, queries: queries}, Now: o.Headrooms.clock.Now, Log: log.With("component", "forecasts"),
	})

	lister := &lister{collector: collector, resources: resources, full: o.FullDiscovery}
	served := &controller.Served{Headrooms: headrooms, Now: o.Headrooms.clock.Now}
	hpas.Own = served.Owns
	provider := &metricsapi.Provider{
		Own: served, Values: collector, Resources: resources, Objects: objects, Lister: lister,
		Missing: metricsapi.NewMissing(registry, time.Now), Now: time.Now,
	}
	published := &metricsapi.Discovery{}
	if o.serves(serveCustom) {
		base.WithCustomMetrics(provider)
		published.Custom = true
	}
	if o.serves(serveExternal) {
		base.WithExternalMetrics(provider)
		published.External = true
	}
	loop.publish = func() { published.Publish(provider.Listed()) }
	return &Adapter{
		options: o, log: log, registry: registry, base: base, factory: factory, resources: resources, kube: config, pods: pods, nodes: nodes, hpas: hpas,
		headrooms: headrooms, demands: newDemands(collector, queries, o.CollectInterval), engines: engines, collector: collector, provider: provider, loop: loop, config: settings, discovery: published,
	}, nil
}

// Run serves until the context ends, and returns once everything it started has stopped.
func (a *Adapter) Run(ctx context.Context) error {
	server, err := a.server()
	if err != nil {
		return err
	}
	stopMetrics, err := a.serveMetrics(ctx)
	if err != nil {
		return err
	}
	defer stopMetrics()

	stop := a.collect(ctx)
	defer stop()

	a.log.Info("serving", "port", a.options.API.SecureServing.BindPort, "apis", a.options.Serve)
	return server.PrepareRun().RunWithContext(ctx)
}

// collect starts the informers, the collection and the watch on the rules file. stop ends them and waits for them.
func (a *Adapter) collect(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	a.factory.Start(ctx.Done())
	go a.resources.Run(ctx, func(err error) { a.log.Warn("resource names are not fresh", "error", err) })
	go a.config.watch(ctx)
	go a.headrooms.Run(ctx)
	a.loop.start(ctx)
	var deciding sync.WaitGroup
	deciding.Go(func() { a.decide(ctx) })
	return func() {
		cancel()
		deciding.Wait() // the lease is given up before the process ends
		a.loop.wait()
		a.factory.Shutdown()
	}
}

// server builds the API server and hangs probes and discovery on it.
func (a *Adapter) server() (*genericapiserver.GenericAPIServer, error) {
	config, err := a.base.Config()
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	config.GenericConfig.BuildHandlerChainFunc = func(handler http.Handler, c *genericapiserver.Config) http.Handler {
		return genericapiserver.DefaultBuildHandlerChain(metricsapi.Handler(handler), c)
	}
	if err := libmetrics.RegisterMetrics(legacyregistry.Register); err != nil {
		a.log.Debug("freshness metric", "error", err) // a second Adapter in one process finds it registered
	}
	made, err := a.base.Server()
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	server := made.GenericAPIServer
	if err := server.AddReadyzChecks(a.loop.ready()); err != nil {
		return nil, fmt.Errorf("readiness probe: %w", err)
	}
	if err := server.AddLivezChecks(0, a.loop.live()); err != nil {
		return nil, fmt.Errorf("liveness probe: %w", err)
	}
	a.discovery.Manager = server.AggregatedDiscoveryGroupManager
	a.loop.publish()
	return server, nil
}

// serveMetrics answers /metrics over plain HTTP on a port of its own: scraping it needs no right to the metrics APIs.
func (a *Adapter) serveMetrics(ctx context.Context) (stop func(), err error) {
	if !a.options.servesMetrics() {
		return func() {}, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.options.MetricsAddress)
	if err != nil {
		return nil, fmt.Errorf("--metrics-bind-address: %w", err)
	}
	gatherers := prometheusclient.Gatherers{a.registry, withoutProcess{legacyregistry.DefaultGatherer}}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(gatherers, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("metrics endpoint stopped", "error", err)
		}
	}()
	a.log.Info("own metrics", "url", "http://"+listener.Addr().String()+"/metrics")
	return func() { _ = server.Close() }, nil
}

// clients are the ways this process speaks to kube-apiserver.
type clients struct {
	typed     kubeclient.Interface
	discovery discovery.DiscoveryInterface
	metadata  metadata.Interface
}

func newClients(config *rest.Config) (clients, error) {
	compact := rest.CopyConfig(config)
	compact.ContentType = runtime.ContentTypeProtobuf
	compact.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	typed, err := kubeclient.NewForConfig(compact)
	if err != nil {
		return clients{}, fmt.Errorf("--kubeconfig: %w", err)
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return clients{}, fmt.Errorf("--kubeconfig: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return clients{}, fmt.Errorf("--kubeconfig: %w", err)
	}
	return clients{typed: typed, discovery: found, metadata: meta}, nil
}

// apiserverWait is how long a start waits for kube-apiserver before it gives up and lets Kubernetes restart it.
const apiserverWait = time.Minute

// resources looks at the cluster's resource names, waiting for a kube-apiserver that is not up yet.
func (c *clients) resources(ctx context.Context, log *slog.Logger) (*kubernetes.Resources, error) {
	ctx, cancel := context.WithTimeout(ctx, apiserverWait)
	defer cancel()
	for try := 0; ; try++ {
		resources, err := kubernetes.NewResources(c.discovery)
		if err == nil {
			return resources, nil
		}
		if try == 0 {
			log.Warn("kube-apiserver does not answer yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// lister is what discovery shows: what is wanted, or everything.
type lister struct {
	collector *collect.Collector
	resources *kubernetes.Resources
	full      bool
}

// Listed implements metricsapi.Lister.
func (l *lister) Listed() []rules.Entry {
	if l.full {
		return l.collector.Everything()
	}
	return metricsapi.ListWanted(l.collector.Listed(), l.resources)
}
