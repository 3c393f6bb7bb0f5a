package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// fieldManager is the name under which everything is written, and by which managedFields tells what is Headroom's.
const fieldManager = "headroom"

// Actuator brings floors to autoscalers. It never touches replicas: it raises the minimum of what does.
//
// It needs the rights to get, list and patch horizontalpodautoscalers (autoscaling) and headrooms (headroom.dev); for mode
// ScaledObject also scaledobjects (keda.sh); and to get and patch capacitybuffers (autoscaling.x-k8s.io). Where a right to write
// is missing, that is a Problem and not an error that is retried.
type Actuator struct {
	// Client reads unstructured objects from the API server, not from a cache, as a manager's own client does by default.
	Client client.Client
	// Now is the clock by which values put back are counted.
	Now func() time.Time

	feuds feuds
}

// Wanted is the floor to bring.
type Wanted struct {
	// Floor is raised to at once. The owner's minimum and the autoscaler's maximum bound it.
	Floor int32
	// MayLower is false while demand is unknown: then what stands is at least kept.
	MayLower bool
	// Decided is when Floor was decided, by the wall clock; zero for just now. A leader that was frozen may have been followed by
	// another: what it decided longer ago than its lease was good for lowers nothing.
	Decided time.Time
	// SpareReplicas is what a CapacityBuffer is set to; nil leaves it as it is.
	SpareReplicas *int32
}

// Held is what stands after Apply.
type Held struct {
	Status v1alpha1.ActuationStatus
	// UserMin is the minimum that the autoscaler's owner wants, its default where the owner said nothing; nil where there is no
	// autoscaler or none is touched.
	UserMin *int32
	// Problem is what keeps the floor from the autoscaler; nil when nothing does.
	Problem *Problem
	// BufferProblem is the same for the CapacityBuffer.
	BufferProblem *Problem
}

// Problem is something that a person has to mend; trying again sooner does not help.
type Problem struct {
	Reason  ProblemReason
	Message string
}

// ProblemReason is why a floor does not reach its object, in the form of a condition's reason.
type ProblemReason int

// The reasons of problems.
const (
	ForeignOwner         ProblemReason = iota + 1 // something puts its own minimum back again and again
	HeldByAnother                                 // another Headroom holds the same autoscaler
	ManagedByKEDA                                 // KEDA made the HPA and keeps it as it wants
	WorkloadAtZero                                // a minimum above 0 would switch the HPA off
	ScaledObjectNotFound                          // no such object
	ScaledObjectPaused                            // KEDA does nothing for it
	ScaledObjectIdles                             // idleReplicaCount goes below any minimum
	KEDANotInstalled
	CapacityBufferNotFound
	CapacityBufferNotServed // the cluster does not know the kind
	CapacityBufferHasPercentage
	RefusedByServer // no right to, or an admission rule said no
)

var problemReasonTexts = map[ProblemReason]string{
	ForeignOwner: "ForeignOwner", HeldByAnother: "HeldByAnotherHeadroom", ManagedByKEDA: "ManagedByKEDA", WorkloadAtZero: "WorkloadAtZero",
	ScaledObjectNotFound: "ScaledObjectNotFound", ScaledObjectPaused: "ScaledObjectPaused", ScaledObjectIdles: "ScaledObjectIdles",
	KEDANotInstalled: "KEDANotInstalled", CapacityBufferNotFound: "CapacityBufferNotFound", CapacityBufferNotServed: "CapacityBufferNotServed",
	CapacityBufferHasPercentage: "CapacityBufferHasPercentage", RefusedByServer: "RefusedByServer",
}

func (r ProblemReason) String() string {
	if text, ok := problemReasonTexts[r]; ok {
		return text
	}
	return fmt.Sprintf("ProblemReason%d", int(r))
}

func problem(reason ProblemReason, format string, args ...any) *Problem {
	return &Problem{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Apply brings what is wanted to the object that the mode names, after giving back what an earlier mode or target held. hpa is
// the one HPA of the workload, possibly a moment old and without managed fields, or nil where there is none or more than one;
// nothing is lowered then. An error is only what another try may mend. hr's finalizers and resource version follow what is
// written to it.
func (a *Actuator) Apply(ctx context.Context, hr *v1alpha1.Headroom, hpa *autoscalingv2.HorizontalPodAutoscaler, w Wanted) (Held, error) {
	held, err := a.minimum(ctx, hr, hpa, w)
	if before := hr.Status.Actuation; err != nil && before != nil {
		held.Status = *before // whatever stands, it is not known to be anything else
	}
	if ref := hr.Spec.CapacityBuffer; ref != nil && hr.Spec.Actuation.Mode != v1alpha1.ActuateNone {
		if before := hr.Status.Actuation; before != nil {
			held.Status.CapacityBufferReplicas = before.CapacityBufferReplicas
		}
		if w.SpareReplicas != nil {
			stands, problem, bufferErr := a.buffer(ctx, types.NamespacedName{Namespace: hr.Namespace, Name: ref.Name}, *w.SpareReplicas)
			held.Status.CapacityBufferReplicas, held.BufferProblem = stands, problem
			err = errors.Join(err, bufferErr)
		}
	}
	return held, err
}

// minimum does what Apply does to the autoscaler.
func (a *Actuator) minimum(ctx context.Context, hr *v1alpha1.Headroom, hpa *autoscalingv2.HorizontalPodAutoscaler, w Wanted) (Held, error) {
	mode := hr.Spec.Actuation.Mode
	held := Held{Status: v1alpha1.ActuationStatus{Mode: mode}}
	if !holds(mode) {
		return held, a.Release(ctx, hr)
	}
	kind, name := scaledObjectKind, hr.Spec.Actuation.ScaledObjectName
	if mode == v1alpha1.ActuateMinReplicas {
		if hpa == nil {
			return a.withoutHPA(ctx, hr)
		}
		kind, name = hpaKind, hpa.Name
	}
	if before := hr.Status.Actuation; before != nil && before.Object != "" && (before.Mode != mode || before.Object != name) {
		if err := a.giveBackAll(ctx, hr, keep{kind.Kind, name}); err != nil {
			return held, err
		}
	}
	if mode == v1alpha1.ActuateMinReplicas {
		return a.hold(ctx, hr, kind, name, hintOf(hpa), w)
	}
	return a.hold(ctx, hr, kind, name, nil, w)
}

// holds says whether a mode writes a minimum that has to be given back.
func holds(mode v1alpha1.ActuationMode) bool {
	return mode == v1alpha1.ActuateMinReplicas || mode == v1alpha1.ActuateScaledObject
}

// attempts is how often a write is decided anew when the object changed between reading and writing.
const attempts = 4

// hold brings the wanted minimum to one autoscaler. What is seen in hint, which may be old, only decides whether there is
// anything to do; every write is decided on what the API server says, and holds only for that version of the object.
func (a *Actuator) hold(ctx context.Context, hr *v1alpha1.Headroom, k kind, name string, hint *bounds, w Wanted) (Held, error) {
	held := Held{Status: v1alpha1.ActuationStatus{Mode: hr.Spec.Actuation.Mode, Object: name}}
	now := a.Now()
	if hint != nil {
		if why := a.feuds.stopped(hint.uid, now, hr.Generation); why != nil && !hint.annotated {
			return held.of(k, *hint, hint.owner(nil), why), nil
		}
		own := hint.owner(hr.Status.Actuation)
		if !own.putBack && own.by(hr.Name) && !hint.plan(k, hr.Name, w, own).write {
			return held.of(k, *hint, own, nil), nil
		}
	}
	var err error
	for range attempts {
		var done bool
		if held, done, err = a.tryHold(ctx, hr, k, name, w, now); done {
			return held, err
		}
	}
	return held, fmt.Errorf("raise %s of %s %s/%s: %w", k.minField, k.Kind, hr.Namespace, name, err)
}

// tryHold is one look at the object and at most one write. It is not done when the object changed in between.
func (a *Actuator) tryHold(ctx context.Context, hr *v1alpha1.Headroom, k kind, name string, w Wanted, now time.Time) (held Held, done bool, err error) {
	held.Status = v1alpha1.ActuationStatus{Mode: hr.Spec.Actuation.Mode, Object: name}
	if !w.Decided.IsZero() && time.Since(w.Decided) > renewDeadline {
		w.MayLower = false
	}
	live, err := k.read(ctx, a.Client, types.NamespacedName{Namespace: hr.Namespace, Name: name})
	if err != nil {
		if held.Problem = k.absent(name, err); held.Problem != nil || apierrors.IsNotFound(err) {
			return held, true, nil // an HPA that was deleted meanwhile: the next look finds none
		}
		return held, true, err
	}
	b := k.bounds(live)
	own := b.owner(hr.Status.Actuation)
	if why := a.feuds.stopped(b.uid, now, hr.Generation); why != nil {
		return a.standDown(ctx, held, k, b, why)
	}
	if own.putBack && a.feuds.wouldStop(b.uid, now) {
		return a.standDown(ctx, held, k, b, a.feuds.stop(b.uid, now, hr.Generation, k, b))
	}
	p := b.plan(k, hr.Name, w, own)
	why, prevents, err := a.obstacle(ctx, hr, k, live, own, p)
	if err != nil {
		return held, true, err
	}
	if prevents || !p.write {
		return held.of(k, b, own, why), true, nil
	}
	if err := a.addFinalizer(ctx, hr); err != nil {
		return held, true, err
	}
	switch err := k.apply(ctx, a.Client, b, p); {
	case apierrors.IsConflict(err):
		return held.of(k, b, own, nil), false, err
	case isFinal(err):
		return held.of(k, b, own, problem(RefusedByServer, "kube-apiserver refuses to set %s of %s %s: %s", k.minField, k.Kind, name, err)), true, nil
	case err != nil:
		return held, true, fmt.Errorf("raise %s of %s %s/%s: %w", k.minField, k.Kind, hr.Namespace, name, err)
	}
	if own.putBack {
		a.feuds.saw(b.uid, now)
	}
	b.min, own = &p.claim.Held, ownership{user: p.claim.User, held: true}
	return held.of(k, b, own, why), true, nil
}

// standDown leaves the object to its other owner: the value there is the owner's, and the annotation would say otherwise.
func (a *Actuator) standDown(ctx context.Context, held Held, k kind, b bounds, why *Problem) (Held, bool, error) {
	if b.annotated {
		if _, err := giveBack(ctx, a.Client, k, types.NamespacedName{Namespace: b.namespace, Name: b.name}, false); err != nil {
			return held, true, err
		}
	}
	return held.of(k, b, b.owner(nil), why), true, nil
}

// obstacle says what is in the way of a floor, and whether nothing is to be written because of it.
func (a *Actuator) obstacle(ctx context.Context, hr *v1alpha1.Headroom, k kind, live autoscaler, own ownership, p plan) (*Problem, bool, error) {
	if !own.by(hr.Name) {
		switch other, err := a.holder(ctx, types.NamespacedName{Namespace: hr.Namespace, Name: own.claim.By}); {
		case err != nil:
			return nil, true, err
		case other:
			return problem(HeldByAnother, "%s %s is held by the Headroom %s already: let one Headroom be for one workload.", k.Kind, live.GetName(), own.claim.By), true, nil
		}
	}
	why, prevents := k.obstacle(live, p)
	return why, prevents, nil
}

// holder says whether a Headroom exists that may hold an autoscaler.
func (a *Actuator) holder(ctx context.Context, key types.NamespacedName) (bool, error) {
	var other v1alpha1.Headroom
	switch err := a.Client.Get(ctx, key, &other); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read Headroom %s: %w", key, err)
	}
	return other.DeletionTimestamp == nil && holds(other.Spec.Actuation.Mode), nil
}

// of is held with what the bounds show.
func (h Held) of(k kind, b bounds, own ownership, why *Problem) Held {
	h.Problem = why
	user := k.effective(own.user)
	h.UserMin, h.Status.UserMinReplicas = &user, own.user
	if h.Status.AppliedMinReplicas = nil; own.held {
		h.Status.AppliedMinReplicas = b.min
	}
	return h
}

// isFinal says that the server will say the same again: no right to, or not valid.
func isFinal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}
