package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// reconciler looks at one object at a time. It lives as long as a lease.
type reconciler struct {
	Options
	client   client.Client
	live     client.Reader
	events   events.EventRecorder
	targets  *targets
	actuator *Actuator
	// toleranceField says that this Kubernetes keeps the HPA's tolerance.
	toleranceField bool

	mu      sync.Mutex
	objects map[types.NamespacedName]*object
	stuck   map[types.UID]bool // being deleted, and told that it cannot be
}

// object is what is remembered of a Headroom between two looks. controller-runtime looks at one object once at a time, so
// only the map has a lock.
type object struct {
	uid        types.UID
	generation int64
	calendar   *prewarm.Calendar
	invalid    error // what is wrong with the spec, of this generation

	state   prewarm.State
	tracker *prewarm.Tracker
	target  target
	written time.Time // when the status was last written, by the wall clock
	shown   shown     // what events have told

	blindSince time.Time // since when the HPA says that it cannot read metrics that have values, by the wall clock
}

// slowestStarts is how many times as long as its owner's guess a pod may take to start before it counts as failed.
const slowestStarts = 3

// look is everything seen and decided at one look.
type look struct {
	began    time.Time // by the wall clock
	now      time.Time
	hr       *v1alpha1.Headroom
	hpas     []*autoscalingv2.HorizontalPodAutoscaler
	pods     podCounts
	policy   prewarm.Policy
	lead     prewarm.LeadTime
	demand   prewarm.Demand
	outlook  Outlook
	calendar *prewarm.Calendar
	decision prewarm.Decision
	held     Held
	findings []Finding
	failure  error // why no decision could be made
}

func (l *look) hpa() *autoscalingv2.HorizontalPodAutoscaler {
	if len(l.hpas) == 1 {
		return l.hpas[0]
	}
	return nil
}

// Reconcile decides about one object. What goes wrong is tried again at the next look: controller-runtime's back-off grows to a
// quarter of an hour, and an object that nobody looks at for so long has no floor when kube-apiserver is back.
func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	began := time.Now()
	defer func() { r.Observer.reconciled(time.Since(began)) }()

	var hr v1alpha1.Headroom
	if err := r.client.Get(ctx, request.NamespacedName, &hr); err != nil {
		if isNotFound(err) {
			r.forget(request.NamespacedName)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, err
	}
	if hr.DeletionTimestamp != nil {
		r.forget(request.NamespacedName)
		if err := r.actuator.Release(ctx, &hr); err != nil {
			r.tellStuck(&hr, err)
			return r.again(ctx, request, err), nil
		}
		r.mu.Lock()
		delete(r.stuck, hr.UID)
		r.mu.Unlock()
		return reconcile.Result{}, nil
	}
	o := r.remembered(&hr)
	l := &look{began: began, now: r.Clock.Now(), hr: &hr, calendar: o.calendar}
	err := r.decide(ctx, o, l)
	return r.again(ctx, request, errors.Join(err, r.tell(ctx, o, l))), nil
}

// tellStuck says once that an object cannot be deleted, since what it holds cannot be given back.
func (r *reconciler) tellStuck(hr *v1alpha1.Headroom, err error) {
	r.mu.Lock()
	told := r.stuck[hr.UID]
	r.stuck[hr.UID] = true
	r.mu.Unlock()
	if !told {
		r.events.Eventf(hr, nil, corev1.EventTypeWarning, "CannotGiveBack", "Release",
			"what is held cannot be given back, so this object is not deleted yet: %v; \"headroom release %s\" tries it with your own rights", err, hr.Name)
	}
}

// again is the next look, and where what went wrong at this one is told.
func (r *reconciler) again(ctx context.Context, request reconcile.Request, err error) reconcile.Result {
	if err != nil && ctx.Err() == nil {
		r.Observer.failed()
		r.Log.Warn("a Headroom could not be looked after; the next look tries again", "headroom", request.NamespacedName, "error", err)
	}
	return reconcile.Result{RequeueAfter: r.Period}
}

// remembered is the memory of an object, begun where another leader's status ends.
func (r *reconciler) remembered(hr *v1alpha1.Headroom) *object {
	key := client.ObjectKeyFromObject(hr)
	r.mu.Lock()
	o := r.objects[key]
	if o == nil || o.uid != hr.UID {
		options := prewarm.DefaultTrackerOptions()
		options.GiveUp = max(options.GiveUp, slowestStarts*hr.Spec.LeadTime.Initial.Duration)
		o = &object{uid: hr.UID, generation: -1, tracker: prewarm.NewTracker(options)}
		if floor, any := standing(hr); any {
			o.state = prewarm.Resume(floor, r.Clock.Now())
		}
		if l := hr.Status.LeadTime; l != nil {
			if err := o.tracker.Restore(l.Batches); err != nil {
				r.Log.Debug("some scale-ups in status.leadTime.batches cannot be read", "headroom", key, "error", err)
			}
		}
		o.shown.resume(hr)
		r.objects[key] = o
	}
	r.mu.Unlock()
	if o.generation != hr.Generation {
		o.generation, o.target = hr.Generation, target{}
		calendar, err := manifest.Calendar(hr.Spec.Prewarm)
		if err != nil {
			err = fmt.Errorf("spec.prewarm: %w", err)
		}
		o.calendar, o.invalid = calendar, invalid(err)
	}
	return o
}

// standing is the floor that another leader left: its last valid decision, or the minimum that it held, which is higher when a
// window or what stood was held up while demand was unknown.
func standing(hr *v1alpha1.Headroom) (floor int, any bool) {
	if d := hr.Status.Decision; d != nil {
		floor, any = int(d.Floor), true
	}
	if a := hr.Status.Actuation; a != nil && a.AppliedMinReplicas != nil {
		floor, any = max(floor, int(*a.AppliedMinReplicas)), true
	}
	return floor, any
}

func (r *reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	delete(r.objects, key)
	r.mu.Unlock()
	r.Engines.Forget(key)
	r.Observer.forget(key)
}

// decide gathers the inputs, asks prewarm.Decide and actuates. What it finds is in l, trouble included.
func (r *reconciler) decide(ctx context.Context, o *object, l *look) error {
	hr := l.hr
	if !holds(hr.Spec.Actuation.Mode) && HasFinalizer(hr) { // also where nothing can be decided: this is how people switch it off
		if err := r.actuator.Release(ctx, hr); err != nil {
			l.failure = fmt.Errorf("give back what is held: %w", err)
			return err
		}
	}
	if l.failure = o.invalid; l.failure == nil {
		l.failure = r.findTarget(ctx, o, l)
	}
	if l.failure != nil {
		return temporary(l.failure)
	}
	var userMin, hpaMax int32
	if found := l.hpa(); found != nil {
		userMin, hpaMax = UserMin(hr, found), found.Spec.MaxReplicas
	}
	policy, err := manifest.Policy(&hr.Spec, userMin, hpaMax)
	if l.policy, l.failure = policy, invalid(err); l.failure != nil {
		return temporary(l.failure)
	}

	l.lead = o.tracker.LeadTime(l.now, r.leadPolicy(hr, r.policiesTime(l, o)))
	l.demand = r.Demands.Demand(ctx, hr, l.pods.ready, l.now)
	l.demand.At = l.now
	l.demand.Ready, l.demand.NotReady, l.demand.Unschedulable = len(l.pods.ready), l.pods.notReady, l.pods.unschedulable
	r.Engines.Observe(hr, l.now, l.demand)
	l.outlook = r.Engines.Forecast(hr, l.now, l.lead.Total(), policy.Quantile)
	o.state.HistoryLoaded = policy.ForecastMode == prewarm.ForecastOff || l.outlook.Settled
	schedule := l.calendar.FloorAt(l.now, l.lead.Total())
	l.decision, o.state = prewarm.Decide(l.now, o.state, l.demand, l.outlook.Forecast, schedule, l.lead, policy)

	err = r.actuate(ctx, l)
	l.findings = r.examine(o, l)
	return err
}

// temporary is an error that another try soon may mend, and nil for one that only the object's owner can.
func temporary(err error) error {
	if owners := (*ownersError)(nil); errors.As(err, &owners) {
		return nil
	}
	return err
}

func (r *reconciler) findTarget(ctx context.Context, o *object, l *look) error {
	if o.target.selector == nil || time.Since(o.target.read) > targetFresh {
		found, err := r.targets.read(ctx, l.hr.Namespace, l.hr.Spec.ScaleTargetRef)
		switch {
		case err == nil:
			o.target = found
		case o.target.selector == nil || temporary(err) == nil:
			o.target = target{}
			return err
		} // else what was read before is believed a while longer
	}
	pods, views := r.podsOf(l.hr.Namespace, o.target.selector)
	o.tracker.Update(l.now, views)
	l.pods, l.hpas = pods, r.hpasOf(l.hr)
	return nil
}

// actuate brings the decision to the workload. Without a valid decision nothing is lowered.
func (r *reconciler) actuate(ctx context.Context, l *look) error {
	w := Wanted{Floor: count(l.decision.FloorAtLeast), MayLower: l.decision.Valid, Decided: l.began}
	if l.hr.Spec.CapacityBuffer != nil && l.decision.Valid {
		w.SpareReplicas = r.spare(l)
	}
	held, err := r.actuator.Apply(ctx, l.hr, l.hpa(), w)
	l.held = held
	return err
}

// spare is how many replicas more the floor will be a new-node lead time from now: what spare nodes are kept for. The same
// decision is made with the longer lead time and without a hold.
func (r *reconciler) spare(l *look) *int32 {
	ahead := l.lead
	ahead.Pods.Value += l.lead.NewNodeTotal() - l.lead.Total()
	outlook := r.Engines.Forecast(l.hr, l.now, ahead.Total(), l.policy.Quantile)
	d, _ := prewarm.Decide(l.now, prewarm.State{HistoryLoaded: true}, l.demand, outlook.Forecast, l.calendar.FloorAt(l.now, ahead.Total()), ahead, l.policy)
	n := count(d.Floor - l.decision.Floor)
	return &n
}
