package hpa

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientautoscaling "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	clientcore "k8s.io/client-go/kubernetes/typed/core/v1"
	listautoscaling "k8s.io/client-go/listers/autoscaling/v2"
	listcore "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// rig is the controller with everything that it talks to. It stands still until sync.
type rig struct {
	answers
	flags    hpa.Flags
	cancel   context.CancelFunc // of the controller that runs
	hpa      *autoscaling.HorizontalPodAutoscaler
	other    *autoscaling.HorizontalPodAutoscaler // a second HPA of the same pods, while there is one
	scale    autoscalingv1.Scale
	writes   int // of the scale
	versions int // of the HPA
	pods     cache.Indexer
	handler  cache.ResourceEventHandler
}

func newRig(flags hpa.Flags, spec hpa.Spec) *rig {
	r := &rig{
		flags: flags,
		hpa:   &autoscaling.HorizontalPodAutoscaler{ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name, UID: "1", ResourceVersion: "1"}},
		pods:  cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
	}
	r.versions = 1
	r.configure(spec)
	r.boot()
	return r
}

func (r *rig) configure(spec hpa.Spec) { r.spec, r.hpa.Spec = spec, object(spec) }

// boot starts a controller manager in the place of the one before, if there is one. It takes a second of the test's clock.
func (r *rig) boot() {
	r.stop()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	controller := podautoscaler.NewHorizontalController(ctx, noEvents{}, scales{r}, hpas{r: r}, mapper{}, r, hpaInformer{r}, podInformer{r},
		10000*time.Hour, r.flags.DownscaleStabilization, r.flags.Tolerance, r.flags.CPUInitializationPeriod, r.flags.InitialReadinessDelay)
	go controller.Run(ctx, 1)
	time.Sleep(time.Second) // it waits for its caches
}

func (r *rig) stop() {
	if r.cancel != nil {
		r.cancel()
		synctest.Wait()
	}
}

// sync makes the controller look at the HPA now, by the way of an HPA that was just added, and waits until it has.
func (r *rig) sync(w hpa.Workload, readings []hpa.Reading) {
	r.readings = readings
	list := make([]any, 0, len(w.List))
	for _, pod := range pods(r.spec, w, readings) {
		list = append(list, pod)
	}
	if err := r.pods.Replace(list, ""); err != nil {
		panic(err)
	}
	r.scale.Spec.Replicas, r.scale.Status.Replicas = w.SpecReplicas, w.StatusReplicas
	r.handler.OnAdd(r.hpa, false)
	synctest.Wait()
}

// contest adds a second HPA of the same pods, or takes it away.
func (r *rig) contest(on bool) {
	if !on {
		r.handler.OnDelete(r.other)
		r.other = nil
	} else {
		r.other = r.hpa.DeepCopy()
		r.other.Name, r.other.UID = "rival", "2"
		r.handler.OnAdd(r.other, false)
	}
	synctest.Wait()
}

func (r *rig) condition(kind autoscaling.HorizontalPodAutoscalerConditionType) string {
	for _, c := range r.hpa.Status.Conditions {
		if c.Type == kind {
			return fmt.Sprintf("%s %s", c.Status, c.Reason)
		}
	}
	return " "
}

// TestMain makes the controller quiet: its handler of errors waits on a clock that it shares between tests.
func TestMain(m *testing.M) {
	utilruntime.ErrorHandlers = nil
	klog.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

func TestController(t *testing.T) {
	cases(t, 1200, func(t *testing.T, g gen) (compared int) {
		synctest.Test(t, func(t *testing.T) {
			flags := g.flags()
			spec := g.spec()
			ours, err := hpa.New(spec, flags)
			if err != nil {
				t.Fatalf("%v\n%+v", err, spec)
			}
			r := newRig(flags, spec)
			defer r.stop()
			replicas := int32(g.IntN(20))
			var rivals bool
			for range 40 {
				time.Sleep(g.step())
				if g.chance(15) || replicas == 0 && g.chance(4) {
					g.change(&spec)
					if err := ours.Configure(spec, flags); err != nil {
						t.Fatalf("%v\n%+v", err, spec)
					}
					r.configure(spec)
				}
				if g.chance(40) {
					r.boot()
					ours.Restart()
				}
				if g.chance(10) {
					replicas = int32(g.IntN(30)) // somebody else scales
				}
				w := g.workload(time.Now(), replicas)
				readings := g.readings(time.Now(), spec, w)
				if len(w.List) > 0 && g.chance(20) {
					r.sync(w, readings) // the rival needs pods to be found by
					ours.Step(time.Now(), w, readings)
					w.SpecReplicas = r.scale.Spec.Replicas
					rivals = true
					r.contest(true)
				}
				w.Conflict = rivals
				writes := r.writes
				r.sync(w, readings)
				got := ours.Step(time.Now(), w, readings)
				compared++
				if diff := r.differs(got, r.writes > writes); diff != "" {
					t.Fatalf("step %d: %s\nspec %+v\nbehavior %+v\nworkload %+v\nreadings %+v\nresult %+v", compared, diff, spec, spec.Behavior, w, readings, got)
				}
				replicas = got.Replicas
				if rivals {
					r.contest(false)
					rivals = false
				}
			}
		})
		return compared
	})
}

func (r *rig) differs(got hpa.Result, wrote bool) string {
	if got.Replicas != r.scale.Spec.Replicas || got.Rescaled != wrote {
		return fmt.Sprintf("replicas %d (written: %v), the controller says %d (%v)", got.Replicas, got.Rescaled, r.scale.Spec.Replicas, wrote)
	}
	for _, c := range []struct {
		kind autoscaling.HorizontalPodAutoscalerConditionType
		ours hpa.Condition
	}{
		{autoscaling.AbleToScale, got.Conditions.AbleToScale},
		{autoscaling.ScalingActive, got.Conditions.ScalingActive},
		{autoscaling.ScalingLimited, got.Conditions.ScalingLimited},
		{autoscaling.ScaledToZero, got.Conditions.ScaledToZero},
	} {
		if ours, theirs := fmt.Sprintf("%v %v", c.ours.Status, c.ours.Reason), r.condition(c.kind); ours != theirs {
			return fmt.Sprintf("condition %s is %q, the controller says %q", c.kind, ours, theirs)
		}
	}
	return ""
}

// change is what a user or an actuator does to an HPA under way.
func (g gen) change(s *hpa.Spec) {
	switch g.IntN(4) {
	case 0:
		s.Behavior = g.behavior()
	case 1:
		s.Metrics = g.metrics()
		g.bounds(s)
	default:
		g.bounds(s)
	}
}

func (g gen) flags() hpa.Flags {
	f := hpa.DefaultFlags()
	if g.chance(3) {
		f.DownscaleStabilization = pick(g, 0, 10*time.Second, 15*time.Second, 10500*time.Millisecond, time.Hour)
		f.Tolerance = pick(g, 0, 0.05, 0.2)
		f.CPUInitializationPeriod = pick(g, 0, 30*time.Second)
		f.InitialReadinessDelay = pick(g, 0, 15*time.Second)
	}
	return f
}

// What the controller talks to.

type scales struct{ r *rig }

func (s scales) Scales(string) scale.ScaleInterface { return scaleOf{r: s.r} }

type scaleOf struct {
	scale.ScaleInterface
	r *rig
}

func (s scaleOf) Get(_ context.Context, _ schema.GroupResource, of string, _ meta.GetOptions) (*autoscalingv1.Scale, error) {
	out := s.r.scale.DeepCopy()
	out.Name, out.Namespace, out.Status.Selector = of, namespace, "app="+name
	return out, nil
}

func (s scaleOf) Update(_ context.Context, _ schema.GroupResource, to *autoscalingv1.Scale, _ meta.UpdateOptions) (*autoscalingv1.Scale, error) {
	s.r.scale.Spec.Replicas = to.Spec.Replicas
	s.r.writes++
	return to, nil
}

type hpas struct {
	clientautoscaling.HorizontalPodAutoscalerInterface
	r *rig
}

func (h hpas) HorizontalPodAutoscalers(string) clientautoscaling.HorizontalPodAutoscalerInterface {
	return h
}

func (h hpas) UpdateStatus(_ context.Context, to *autoscaling.HorizontalPodAutoscaler, _ meta.UpdateOptions) (*autoscaling.HorizontalPodAutoscaler, error) {
	h.r.versions++
	out := to.DeepCopy()
	out.ResourceVersion = strconv.Itoa(h.r.versions)
	if to.Name == name {
		next := h.r.hpa.DeepCopy()
		next.Status, next.ResourceVersion = out.Status, out.ResourceVersion
		h.r.hpa = next
	}
	return out, nil
}

type mapper struct{ apimeta.RESTMapper }

func (mapper) RESTMappings(schema.GroupKind, ...string) ([]*apimeta.RESTMapping, error) {
	return []*apimeta.RESTMapping{{Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}}}, nil
}

// informer is one that has always seen everything.
type informer struct {
	cache.SharedIndexInformer
	r *rig
}

func (informer) HasSynced() bool { return true }

func (i informer) AddEventHandlerWithResyncPeriod(h cache.ResourceEventHandler, _ time.Duration) (cache.ResourceEventHandlerRegistration, error) {
	i.r.handler = h
	return nil, nil
}

func (i informer) GetStore() cache.Store {
	return &cache.FakeCustomStore{LastStoreSyncResourceVersionFunc: func() string { return strconv.Itoa(i.r.versions) }}
}

type podInformer struct{ r *rig }

func (p podInformer) Informer() cache.SharedIndexInformer { return informer{r: p.r} }
func (p podInformer) Lister() listcore.PodLister          { return listcore.NewPodLister(p.r.pods) }

type hpaInformer struct{ r *rig }

func (h hpaInformer) Informer() cache.SharedIndexInformer { return informer{r: h.r} }
func (h hpaInformer) Lister() listautoscaling.HorizontalPodAutoscalerLister {
	return hpaLister{r: h.r}
}

type hpaLister struct {
	listautoscaling.HorizontalPodAutoscalerLister
	listautoscaling.HorizontalPodAutoscalerNamespaceLister
	r *rig
}

func (h hpaLister) List(labels.Selector) ([]*autoscaling.HorizontalPodAutoscaler, error) {
	panic("the controller lists no HPAs")
}

func (h hpaLister) HorizontalPodAutoscalers(string) listautoscaling.HorizontalPodAutoscalerNamespaceLister {
	return h
}

func (h hpaLister) Get(of string) (*autoscaling.HorizontalPodAutoscaler, error) {
	switch {
	case of == name:
		return h.r.hpa, nil
	case h.r.other != nil:
		return h.r.other, nil
	}
	return nil, errors.NewNotFound(schema.GroupResource{Resource: "horizontalpodautoscalers"}, of)
}

// noEvents swallows events.
type noEvents struct{ clientcore.EventInterface }

func (n noEvents) Events(string) clientcore.EventInterface { return n }
func (noEvents) CreateWithEventNamespace(e *core.Event) (*core.Event, error) {
	return e, nil
}
func (noEvents) CreateWithEventNamespaceWithContext(_ context.Context, e *core.Event) (*core.Event, error) {
	return e, nil
}
func (noEvents) PatchWithEventNamespace(e *core.Event, _ []byte) (*core.Event, error) { return e, nil }
func (noEvents) PatchWithEventNamespaceWithContext(_ context.Context, e *core.Event, _ []byte) (*core.Event, error) {
	return e, nil
}
