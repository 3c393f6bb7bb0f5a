package app

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
)

// HeadroomOptions are about Headroom objects.
type HeadroomOptions struct {
	// Decide says that this replica may be elected to decide for all Headroom objects. Their metrics are served anyway.
	Decide bool
	// LeaseNamespace is where the lease is; "" for the pod's own namespace, and "default" outside a cluster.
	LeaseNamespace string
	// Interval is the time between two decisions about an object; HPASyncPeriod is kube-controller-manager's
	// --horizontal-pod-autoscaler-sync-period, a part of lead times.
	Interval, HPASyncPeriod time.Duration

	clock controller.Clock
}

func (o *HeadroomOptions) addFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&o.Decide, "headrooms", o.Decide, "take part in deciding for Headroom objects: one of the replicas is elected; their metrics are served by all, whatever this says")
	fs.StringVar(&o.LeaseNamespace, "lease-namespace", o.LeaseNamespace, "namespace of the lease that elects the replica which decides; empty for the pod's own, or \"default\" outside a cluster")
	fs.DurationVar(&o.Interval, "decide-interval", o.Interval, "how often each Headroom object is decided about")
	fs.DurationVar(&o.HPASyncPeriod, "hpa-sync-period", o.HPASyncPeriod, "kube-controller-manager's --horizontal-pod-autoscaler-sync-period, which is part of lead times")
	addClockFlags(fs, o)
}

func (o *HeadroomOptions) validate(bad func(flag, format string, args ...any)) {
	for flag, d := range map[string]time.Duration{"decide-interval": o.Interval, "hpa-sync-period": o.HPASyncPeriod} {
		if d < 100*time.Millisecond || d > prewarm.StaleAfter/2 {
			bad(flag, "%s is not between 100ms and %s, half the age at which a decision no longer counts", d, prewarm.StaleAfter/2)
		}
	}
}

// leaseName is that of the one controller of a cluster.
const leaseName = "headroom-controller"

// A leader that begins writes the status of each object at once: five hundred in ten seconds. With 5 a second, client-go's own limit
// and what the API server's library sets in the shared configuration once it has added its flags, it would be a hundred, in
// which nothing else is decided.
const decidingQPS, decidingBurst = 50, 100

// namespaceFile is where a pod finds its own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func (o *HeadroomOptions) leaseNamespace() string {
	if o.LeaseNamespace != "" {
		return o.LeaseNamespace
	}
	if data, err := os.ReadFile(namespaceFile); err == nil {
		return strings.TrimSpace(string(data))
	}
	return metav1.NamespaceDefault
}

// headroomWants are the metrics that Headroom objects measure demand by, each once. Every replica collects them, so that a new
// leader finds them fresh.
func headroomWants(headrooms []*v1alpha1.Headroom) []collect.Want {
	seen := map[store.Key]bool{}
	var wants []collect.Want
	for _, hr := range headrooms {
		if hr.Spec.Demand.Metric == nil {
			continue
		}
		if want, err := demandWant(hr); err == nil && !seen[want.Key] {
			seen[want.Key] = true
			wants = append(wants, want)
		}
	}
	return wants
}

// decide elects a leader among the replicas and lets it decide, until the context ends.
func (a *Adapter) decide(ctx context.Context) {
	if !a.options.Headrooms.Decide {
		return
	}
	log := a.log.With("component", "headrooms")
	kube := rest.CopyConfig(a.kube)
	kube.QPS, kube.Burst = decidingQPS, decidingBurst
	for !a.loop.synced() { // what is not listed yet must not look as if it were not there
		if !sleep(ctx, settle) {
			return
		}
	}
	go func() { _ = a.engines.Run(ctx) }()
	controller.Run(ctx, controller.Options{
		Config: kube, Pods: a.pods, Nodes: a.nodes, HPAs: a.hpas, Demands: a.demands, Engines: a.engines,
		Collection: a.options.CollectInterval, HPAPeriod: a.options.Headrooms.HPASyncPeriod, Period: a.options.Headrooms.Interval,
		Clock: a.options.Headrooms.clock, LeaseName: leaseName, LeaseNamespace: a.options.Headrooms.leaseNamespace(),
		Log: log, Observer: controller.NewMetrics(a.registry),
	})
}
