package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/scale"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
)

// Pods finds the pods of a selector in memory.
type Pods interface {
	Select(namespace string, selector labels.Selector) []*corev1.Pod
}

// Nodes says when a node was made.
type Nodes interface {
	Created(name string) (time.Time, bool)
}

// HPAs finds the HorizontalPodAutoscalers of a namespace in memory. They are shared: read only.
type HPAs interface {
	In(namespace string) []*autoscalingv2.HorizontalPodAutoscaler
}

// Demands knows the demand of now, from memory: it never waits for a backend. The pods given are the target's Ready ones.
type Demands interface {
	Demand(ctx context.Context, hr *v1alpha1.Headroom, ready []*corev1.Pod, now time.Time) prewarm.Demand
}

// Options are what a controller needs. All fields but Observer are needed.
type Options struct {
	Config *rest.Config
	Pods   Pods
	Nodes  Nodes
	HPAs   HPAs

	Demands Demands
	Engines *Engines

	// Collection is how often demand is collected, HPAPeriod how often the HPA controller looks, and Period the time between two
	// decisions about an object; all by the wall clock.
	Collection, HPAPeriod, Period time.Duration
	Clock                         Clock

	// Lease names the Lease that elects the leader, and its namespace.
	LeaseName, LeaseNamespace string

	Log      *slog.Logger
	Observer *Metrics
}

const (
	// DefaultPeriod is the time between two decisions about an object, that of the HPA.
	DefaultPeriod = 15 * time.Second

	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second

	// lookAgain is how often a cluster without the CustomResourceDefinition is asked for it again.
	lookAgain = 10 * time.Second
	// rebuildAfter keeps a controller that cannot start from trying without a pause.
	rebuildAfter = time.Second
	// reconcilers is how many objects are looked at side by side: decisions come from memory, but what they write waits for
	// kube-apiserver.
	reconcilers = 8
)

// Run elects a leader, lets it decide, and begins anew whenever it lost its lease or failed. It returns when the context ends.
func Run(ctx context.Context, o Options) {
	missing := false
	for ctx.Err() == nil {
		switch installed, err := installed(o.Config); {
		case err != nil:
			o.Log.Debug("the API server does not say whether Headroom objects exist", "error", err)
			pause(ctx, lookAgain)
			continue
		case !installed:
			if !missing {
				o.Log.Info("no Headroom controller: the CustomResourceDefinition is not installed; looking again", "every", lookAgain)
			}
			missing = true
			pause(ctx, lookAgain)
			continue
		}
		missing = false
		o.Log.Info("waiting for the lease of the Headroom controller", "lease", o.LeaseNamespace+"/"+o.LeaseName)
		err := runOnce(ctx, o)
		o.Observer.leads(false)
		if ctx.Err() == nil {
			o.Log.Warn("the Headroom controller ended; serving goes on and a new one is built", "error", err)
			pause(ctx, rebuildAfter)
		}
	}
}

// installed asks whether the cluster has the Headroom resource.
func installed(config *rest.Config) (bool, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return false, err
	}
	resources, err := client.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if meta.IsNoMatchError(err) || isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, r := range resources.APIResources {
		if r.Name == "headrooms" {
			return true, nil
		}
	}
	return false, nil
}

// NewScheme knows the types that the controller reads and writes.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return scheme, nil
}

// runOnce is one life of a controller: it ends with the lease.
func runOnce(ctx context.Context, o Options) error {
	scheme, err := NewScheme()
	if err != nil {
		return err
	}
	lease, renew, retry := leaseDuration, renewDeadline, retryPeriod
	again := true
	logger := logr.FromSlogHandler(quiet{o.Log.Handler()})
	ctrl.SetLogger(logger) // what controller-runtime says outside any manager
	m, err := ctrl.NewManager(o.Config, manager.Options{
		Scheme: scheme,
		Logger: logger,
		// Each life has controllers of the same names, and the metrics endpoint is the adapter's.
		Controller:     config.Controller{SkipNameValidation: &again},
		Metrics:        metricsserver.Options{BindAddress: "0"},
		LeaderElection: true, LeaderElectionID: o.LeaseName, LeaderElectionNamespace: o.LeaseNamespace,
		LeaseDuration: &lease, RenewDeadline: &renew, RetryPeriod: &retry, LeaderElectionReleaseOnCancel: true,
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{&autoscalingv2.HorizontalPodAutoscaler{}: {Transform: onlyBounds}}},
	})
	if err != nil {
		return fmt.Errorf("manager: %w", err)
	}
	names, err := discovery.NewDiscoveryClientForConfig(o.Config)
	if err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	scales, err := scale.NewForConfig(rest.CopyConfig(o.Config), m.GetRESTMapper(), dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(names))
	if err != nil {
		return fmt.Errorf("scale client: %w", err)
	}
	r := &reconciler{
		Options: o, client: m.GetClient(), live: m.GetAPIReader(), events: m.GetEventRecorder("headroom"),
		targets: &targets{scales: scales, mapper: m.GetRESTMapper()}, objects: map[types.NamespacedName]*object{}, stuck: map[types.UID]bool{},
	}
	r.actuator = &Actuator{Client: m.GetClient(), Now: o.Clock.Now}
	if r.toleranceField, err = KeepsTolerance(o.Config); err != nil {
		return err
	}
	err = builder.ControllerManagedBy(m).Named("headroom").
		For(&v1alpha1.Headroom{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		// Who applies an HPA's manifest anew writes their own minimum, and the HPA acts on it in the same moment.
		Watches(&autoscalingv2.HorizontalPodAutoscaler{}, r.whenBoundsChange(), builder.WithPredicates(boundsChanged)).
		WithOptions(ctrlcontroller.Options{MaxConcurrentReconciles: reconcilers}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	if err := m.Add(manager.RunnableFunc(func(ctx context.Context) error {
		o.Observer.leads(true)
		o.Log.Info("this replica decides for all Headroom objects")
		<-ctx.Done()
		return nil
	})); err != nil {
		return err
	}
	return m.Start(ctx)
}

// KeepsTolerance says whether this Kubernetes keeps an HPA's behavior.scaleUp.tolerance: beta and on from 1.35, dropped before.
func KeepsTolerance(config *rest.Config) (bool, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return false, err
	}
	info, err := client.ServerVersion()
	if err != nil {
		return false, fmt.Errorf("version of kube-apiserver: %w", err)
	}
	found, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return false, fmt.Errorf("version of kube-apiserver: %w", err)
	}
	return found.AtLeast(version.MajorMinor(1, 35)), nil
}

// pause waits, or ends early with the context.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// quiet takes the manager's own chatter down to debug.
type quiet struct{ slog.Handler }

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, record slog.Record) error {
	if record.Level < slog.LevelWarn {
		if !q.Handler.Enabled(ctx, slog.LevelDebug) {
			return nil
		}
		record.Level = slog.LevelDebug
	}
	return q.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
