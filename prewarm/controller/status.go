package controller

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
)

// writeAtLeast is how often a status that says nothing new is written, so that its decision does not become stale
// (prewarm.StaleAfter).
const writeAtLeast = time.Minute

// Reasons of the conditions, beside prewarm's kinds of reasons.
const (
	reasonDecided       = "Decided"
	reasonInvalidSpec   = "InvalidSpec"
	reasonNoTarget      = "TargetNotFound"
	reasonUnreadable    = "TargetUnreadable"
	reasonUnknown       = "Unknown"
	reasonMeasured      = "Measured"
	reasonSaturated     = "Saturated"
	reasonPartly        = "PartlyMeasured"
	reasonSkilled       = "Skilled"
	reasonUnskilled     = "Unskilled"
	reasonNoForecast    = "NoForecast"
	reasonSwitchedOff   = "Off"
	reasonNothingInWay  = "NothingInTheWay"
	reasonNotActuated   = "Shadow"
	maxConditionMessage = 4096
)

// tell writes the status when it says something new or is due, and sends events for what has changed in kind.
func (r *reconciler) tell(ctx context.Context, o *object, l *look) error {
	status := l.hr.Status.DeepCopy()
	r.describe(status, o, l)
	r.Observer.decided(l, status.Conditions)
	due := l.now.Sub(o.written) >= writeAtLeast || l.now.Before(o.written)
	if !due && !changedInKind(&l.hr.Status, status) {
		return nil
	}
	next := l.hr.DeepCopy()
	next.Status = *status
	// With its resource version: a leader that was frozen must not write over the one that followed it.
	lock := client.MergeFromWithOptions(l.hr, client.MergeFromWithOptimisticLock{})
	if err := r.client.Status().Patch(ctx, next, lock); err != nil {
		if isNotFound(err) || apierrors.IsConflict(err) {
			return nil // deleted, or changed meanwhile: the next look sees it
		}
		return fmt.Errorf("write status: %w", err)
	}
	o.written = l.now
	o.shown.tell(r.events, next, l)
	return nil
}

// describe fills a status in.
func (r *reconciler) describe(status *v1alpha1.HeadroomStatus, o *object, l *look) {
	status.ObservedGeneration = l.hr.Generation
	status.NextWindow = nextWindow(l)
	conditions(status, l)
	if l.failure != nil {
		return // what was decided before stands there until it is stale
	}
	status.Replicas, status.ReadyReplicas = count(l.pods.active()), count(len(l.pods.ready))
	status.Selector = o.target.selector.String()
	status.LeadTime = leadTimeStatus(l, o.tracker)
	status.Actuation = &l.held.Status
	status.Forecast = forecastStatus(l)
	status.Demand = nil
	if l.demand.Known {
		status.Demand = &v1alpha1.DemandStatus{
			Value: quantity(l.demand.Value), Saturated: l.demand.Saturated, FilledPods: count(l.demand.Filled), At: metav1.NewTime(l.demand.At),
		}
	}
	if d := l.decision; d.Valid {
		status.Decision = &v1alpha1.Decision{
			Need: count(d.Need), Buffer: count(d.Buffer), Schedule: count(d.Schedule), Floor: count(d.Floor),
			Reason: d.Reason, Kind: d.Origin.String(), At: metav1.NewTime(d.At),
		}
		if l.outlook.Forecast.Known && l.policy.ForecastMode != prewarm.ForecastOff {
			n := count(d.Forecast)
			status.Decision.Forecast = &n
		}
	}
}

func nextWindow(l *look) *v1alpha1.NextWindow {
	opening, ok := l.calendar.Next(l.now)
	if !ok {
		return nil
	}
	raised := metav1.NewTime(opening.RampFrom.Add(-l.lead.Total()))
	return &v1alpha1.NextWindow{
		Name: opening.Window, Opens: metav1.NewTime(opening.Start), Closes: metav1.NewTime(opening.End),
		Replicas: count(opening.Replicas), RaisedFrom: &raised,
	}
}

func leadTimeStatus(l *look, tracker *prewarm.Tracker) *v1alpha1.LeadTimeStatus {
	lead := l.lead
	status := &v1alpha1.LeadTimeStatus{
		Total: metav1.Duration{Duration: lead.Total().Round(time.Second)}, Warm: estimated(lead.Warm), NewNode: estimated(lead.NewNode),
		Samples: count(lead.Pods.Finished), Censored: count(lead.Pods.Unfinished), FailedPods: count(lead.Failed),
		Source: lead.Source.String(), Batches: tracker.Persist(),
	}
	if reaction := lead.Collection + lead.HPAPeriod; reaction > 0 {
		status.Reaction = &metav1.Duration{Duration: reaction}
	}
	if lead.Policies > 0 {
		status.Policies = &metav1.Duration{Duration: lead.Policies}
	}
	return status
}

func estimated(e prewarm.Estimate) *metav1.Duration {
	if !e.Known {
		return nil
	}
	return &metav1.Duration{Duration: e.Value.Round(time.Second)}
}

func forecastStatus(l *look) *v1alpha1.ForecastStatus {
	f := l.outlook.Forecast
	if !f.Known || l.policy.ForecastMode == prewarm.ForecastOff {
		return nil
	}
	status := &v1alpha1.ForecastStatus{Horizon: metav1.Duration{Duration: f.Horizon}, At: metav1.NewTime(l.now)}
	for _, q := range l.outlook.Quantiles {
		status.Quantiles = append(status.Quantiles, v1alpha1.QuantileStatus{Quantile: decimal(q.Level), Value: quantity(q.Value)})
	}
	if l.outlook.Labels > 0 {
		skill, coverage := quantity(f.Skill), quantity(l.outlook.Coverage)
		status.Skill, status.Coverage = &skill, &coverage
	}
	if l.policy.ForecastMode == prewarm.ForecastShadow && l.decision.Valid {
		n := count(l.decision.ShadowFloor)
		status.ShadowFloor = &n
	}
	return status
}

// conditions sets the four conditions; those that cannot be judged are Unknown.
func conditions(status *v1alpha1.HeadroomStatus, l *look) {
	set := func(kind string, is metav1.ConditionStatus, reason, message string) {
		if len(message) > maxConditionMessage {
			message = message[:maxConditionMessage-3] + "..."
		}
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type: kind, Status: is, Reason: reason, Message: message, ObservedGeneration: l.hr.Generation, LastTransitionTime: metav1.NewTime(l.now),
		})
	}
	if l.failure != nil {
		reason := reasonUnreadable
		if owners := (*ownersError)(nil); errors.As(l.failure, &owners) {
			reason = owners.reason
		}
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, l.failure.Error())
		set(v1alpha1.ConditionDemandAvailable, metav1.ConditionUnknown, reason, "not looked at: "+l.failure.Error())
		set(v1alpha1.ConditionForecastSkilled, metav1.ConditionUnknown, reason, "not looked at")
		set(v1alpha1.ConditionFloorEffective, metav1.ConditionUnknown, reason, "no floor")
		return
	}
	d := l.decision
	if d.Valid {
		set(v1alpha1.ConditionReady, metav1.ConditionTrue, reasonDecided, "decisions are made and given out")
	} else {
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, d.Kind.String(), d.Reason)
	}
	switch {
	case !l.demand.Known:
		set(v1alpha1.ConditionDemandAvailable, metav1.ConditionFalse, reasonUnknown, l.demand.Reason)
	case l.demand.Saturated:
		set(v1alpha1.ConditionDemandAvailable, metav1.ConditionTrue, reasonSaturated, "the Ready replicas carry all they can: demand is this or more")
	case l.demand.Partial:
		set(v1alpha1.ConditionDemandAvailable, metav1.ConditionTrue, reasonPartly, "pods that have just become Ready have no sample yet: demand is taken to be at least what the others have")
	case l.demand.Filled > 0:
		set(v1alpha1.ConditionDemandAvailable, metav1.ConditionTrue, reasonPartly, l.demand.Reason)
	default:
		set(v1alpha1.ConditionDemandAvailable, metav1.ConditionTrue, reasonMeasured, "demand is measured")
	}
	switch f := l.outlook.Forecast; {
	case l.policy.ForecastMode == prewarm.ForecastOff:
		set(v1alpha1.ConditionForecastSkilled, metav1.ConditionUnknown, reasonSwitchedOff, "spec.forecast.mode is Off")
	case !f.Known:
		set(v1alpha1.ConditionForecastSkilled, metav1.ConditionUnknown, reasonNoForecast, f.Reason)
	case l.outlook.Labels == 0:
		set(v1alpha1.ConditionForecastSkilled, metav1.ConditionUnknown, reasonNoForecast, "no forecast has come due yet to be judged by")
	case !l.outlook.Fallback:
		set(v1alpha1.ConditionForecastSkilled, metav1.ConditionTrue, reasonSkilled, "the forecast is better than \"as now, give or take\"")
	default:
		set(v1alpha1.ConditionForecastSkilled, metav1.ConditionFalse, reasonUnskilled, "\"as now, give or take\" has done better lately, and is what the forecast is until that changes")
	}
	switch {
	case len(l.findings) > 0 && !l.findings[0].Warns:
		set(v1alpha1.ConditionFloorEffective, metav1.ConditionFalse, l.findings[0].Reason, sentences(l.findings))
	case len(l.findings) > 0:
		set(v1alpha1.ConditionFloorEffective, metav1.ConditionTrue, l.findings[0].Reason, sentences(l.findings))
	case l.hr.Spec.Actuation.Mode == v1alpha1.ActuateNone:
		set(v1alpha1.ConditionFloorEffective, metav1.ConditionUnknown, reasonNotActuated, "spec.actuation.mode is None: the floor is shown and acts on nothing")
	default:
		set(v1alpha1.ConditionFloorEffective, metav1.ConditionTrue, reasonNothingInWay, "nothing keeps the floor from the workload")
	}
}

// changedInKind says that a status differs in what somebody waits for: the floor, the kind of reason, a condition, what is held.
func changedInKind(before, after *v1alpha1.HeadroomStatus) bool {
	if before.ObservedGeneration != after.ObservedGeneration || (before.Decision == nil) != (after.Decision == nil) || len(before.Conditions) != len(after.Conditions) {
		return true
	}
	if d, e := before.Decision, after.Decision; d != nil && (d.Floor != e.Floor || d.Kind != e.Kind) {
		return true
	}
	for i, c := range after.Conditions {
		if b := before.Conditions[i]; b.Type != c.Type || b.Status != c.Status || b.Reason != c.Reason {
			return true
		}
	}
	return !equality.Semantic.DeepEqual(before.Actuation, after.Actuation)
}

// quantity is a number as the API carries it, in thousandths where it has them.
func quantity(number float64) resource.Quantity {
	if milli := math.Round(number * 1000); math.Abs(milli) < math.MaxInt64 {
		return *resource.NewMilliQuantity(int64(milli), resource.DecimalSI)
	}
	return *resource.NewQuantity(int64(min(number, math.MaxInt64/2)), resource.DecimalSI)
}

// decimal is a quantile as people write it.
func decimal(number float64) string { return strconv.FormatFloat(number, 'g', 4, 64) }

// eventType is that of an event about a condition.
func eventType(is metav1.ConditionStatus) string {
	if is == metav1.ConditionFalse {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}
