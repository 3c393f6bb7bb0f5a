package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// Headrooms are the objects of the cluster, in memory. They are shared: read only.
type Headrooms interface {
	Get(namespace, name string) (*v1alpha1.Headroom, bool)
	List(namespace string) []*v1alpha1.Headroom
	// Known is nil while an object that is not here does not exist, and otherwise says why it is not known.
	Known() error
}

// Served answers, on every replica, what metrics say of Headroom objects: from their status, as the leader wrote it, and for
// the schedule from the calendar and the clock alone, so that a window opens on time with no leader at all.
//
// As external metrics they carry the label "headroom". As Object metrics they are on the Headroom itself, for clusters in
// which external.metrics.k8s.io belongs to somebody else. What has no valid value is a not-found error with the reason: that
// freezes the HPA's scale-down and lets its other metrics scale up.
//
// A Headroom in any mode is answered for, also in mode None: it acts only where an HPA asks.
type Served struct {
	Headrooms Headrooms
	Now       func() time.Time // the clock of decisions

	mu        sync.Mutex
	calendars map[types.NamespacedName]compiled
}

var (
	_ provider.CustomMetricsProvider   = (*Served)(nil)
	_ provider.ExternalMetricsProvider = (*Served)(nil)
)

// compiled is a calendar of one generation of one object.
type compiled struct {
	uid        types.UID
	generation int64
	calendar   *prewarm.Calendar
	err        error
}

// The labels of Headroom's own metrics.
const (
	headroomLabel = "headroom"
	quantileLabel = "quantile"
)

// maxSkew is how far ahead another replica's clock may be before its decisions are not believed.
const maxSkew = time.Minute

// headrooms is how the metrics APIs name the objects.
var headrooms = v1alpha1.Resource("headrooms")

// reading is one number about one Headroom.
type reading struct {
	value resource.Quantity
	at    time.Time // since when it is so: the decision's, the sample's, the forecast's time
}

// measure gives a metric's number at a time. quantile is what the request's label of that name says.
type measure struct {
	read      func(s *Served, hr *v1alpha1.Headroom, quantile string, now time.Time) (reading, error)
	quantiles bool // the metric has the label "quantile"
}

var measures = map[string]measure{
	manifest.ReplicasMetric: {read: func(_ *Served, hr *v1alpha1.Headroom, _ string, now time.Time) (reading, error) {
		d, err := decided(hr, now)
		if err != nil {
			return reading{}, err
		}
		return replicas(lifted(hr, d.Floor), d.At), nil
	}},
	manifest.NeedMetric: {read: func(_ *Served, hr *v1alpha1.Headroom, _ string, now time.Time) (reading, error) {
		d, err := decided(hr, now)
		if err != nil {
			return reading{}, err
		}
		return replicas(d.Need, d.At), nil
	}},
	manifest.DemandMetric: {read: func(_ *Served, hr *v1alpha1.Headroom, _ string, now time.Time) (reading, error) {
		if _, err := decided(hr, now); err != nil {
			return reading{}, err
		}
		d := hr.Status.Demand
		if d == nil {
			return reading{}, absence("the last decision was made without a known demand")
		}
		return reading{d.Value.DeepCopy(), d.At.Time}, nil
	}},
	manifest.ForecastDemandMetric:   {quantiles: true, read: forecastDemand},
	manifest.ScheduleReplicasMetric: {read: (*Served).schedule},
}

// MetricNames are the metrics of Headroom objects, sorted.
func MetricNames() []string { return slices.Sorted(maps.Keys(measures)) }

// absence is why a metric has no value.
type absence string

func (a absence) Error() string { return string(a) }

// Owns says whether a metric of a resource is answered here; an external one where the resource is the zero one.
func (s *Served) Owns(of schema.GroupResource, metric string) bool {
	external := of == schema.GroupResource{}
	itself := of.Resource == headrooms.Resource && (of.Group == headrooms.Group || of.Group == "")
	_, known := measures[metric]
	return known && (external || itself)
}

// GetExternalMetric answers for the one Headroom that the selector names.
func (s *Served) GetExternalMetric(_ context.Context, namespace string, selector labels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	asked, err := readSelector(info.Metric, selector)
	if err != nil {
		return nil, err
	}
	name := asked[headroomLabel]
	if name == "" {
		return nil, refused("%s: name one Headroom by the label %s, such as %s=llama-70b; the HPA adds up all that a selector matches, and the sum of several floors is nobody's", info.Metric, headroomLabel, headroomLabel)
	}
	found, err := s.one(namespace, name, info.Metric, asked)
	if err != nil {
		return nil, notFoundOr(err, provider.NewMetricNotFoundForSelectorError(headrooms, info.Metric, name, selector))
	}
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{
		MetricName: info.Metric, MetricLabels: asked, Timestamp: metav1.NewTime(found.at), Value: found.value,
	}}}, nil
}

// GetMetricByName answers for one Headroom as the object of a metric.
func (s *Served) GetMetricByName(_ context.Context, name types.NamespacedName, info provider.CustomMetricInfo, selector labels.Selector) (*custom_metrics.MetricValue, error) {
	asked, err := readSelector(info.Metric, selector)
	if err != nil {
		return nil, err
	}
	found, err := s.one(name.Namespace, name.Name, info.Metric, asked)
	if err != nil {
		return nil, notFoundOr(err, provider.NewMetricNotFoundForError(headrooms, info.Metric, name.Name))
	}
	item := described(name, info.Metric, asked, found)
	return &item, nil
}

// GetMetricBySelector answers for the Headrooms of a namespace whose own labels match; those without a value are left out. No
// HPA asks this; people and dashboards do.
func (s *Served) GetMetricBySelector(_ context.Context, namespace string, objects labels.Selector, info provider.CustomMetricInfo, selector labels.Selector) (*custom_metrics.MetricValueList, error) {
	asked, err := readSelector(info.Metric, selector)
	if err != nil {
		return nil, err
	}
	answer := &custom_metrics.MetricValueList{}
	why := s.Headrooms.Known()
	if why == nil {
		why = absence("no Headroom matches")
	}
	for _, hr := range s.Headrooms.List(namespace) {
		if !objects.Matches(labels.Set(hr.Labels)) {
			continue
		}
		found, err := s.one(namespace, hr.Name, info.Metric, asked)
		if err != nil {
			why = err
			continue
		}
		answer.Items = append(answer.Items, described(types.NamespacedName{Namespace: namespace, Name: hr.Name}, info.Metric, asked, found))
	}
	if len(answer.Items) == 0 {
		return nil, notFoundOr(why, provider.NewMetricNotFoundForSelectorError(headrooms, info.Metric, "*", objects))
	}
	slices.SortFunc(answer.Items, func(a, b custom_metrics.MetricValue) int {
		return strings.Compare(a.DescribedObject.Name, b.DescribedObject.Name)
	})
	return answer, nil
}

// ListAllMetrics lists the metrics on the objects; none where the cluster has no such objects.
func (s *Served) ListAllMetrics() []provider.CustomMetricInfo {
	if why := s.Headrooms.Known(); errors.Is(why, ErrNotInstalled) || errors.Is(why, errNotListed) {
		return nil
	}
	var all []provider.CustomMetricInfo
	for _, metric := range MetricNames() {
		all = append(all, provider.CustomMetricInfo{GroupResource: headrooms, Namespaced: true, Metric: metric})
	}
	return all
}

// ListAllExternalMetrics lists the external metrics; none where the cluster has no such objects.
func (s *Served) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	var all []provider.ExternalMetricInfo
	for _, info := range s.ListAllMetrics() {
		all = append(all, provider.ExternalMetricInfo{Metric: info.Metric})
	}
	return all
}

// one reads a metric of one object.
func (s *Served) one(namespace, name, metric string, asked map[string]string) (reading, error) {
	measure := measures[metric]
	if measure.read == nil { // nobody asks what is not owned
		return reading{}, absence("Headroom has no such metric")
	}
	if of, given := asked[headroomLabel]; given && of != name {
		return reading{}, refused("%s: the label %s says %s and the object asked for is %s", metric, headroomLabel, of, name)
	}
	hr, ok := s.Headrooms.Get(namespace, name)
	if !ok {
		if err := s.Headrooms.Known(); err != nil {
			return reading{}, absence(err.Error())
		}
		return reading{}, absence(fmt.Sprintf("namespace %s has no Headroom %s", namespace, name))
	}
	return measure.read(s, hr, asked[quantileLabel], s.Now())
}

// decided is the decision in force. A decision counts for three minutes, and only while demand is known: status.decision keeps
// the last valid one, for the next leader, when there is none any more.
func decided(hr *v1alpha1.Headroom, now time.Time) (*v1alpha1.Decision, error) {
	if c := meta.FindStatusCondition(hr.Status.Conditions, v1alpha1.ConditionDemandAvailable); c != nil && c.Status != metav1.ConditionTrue {
		return nil, absence("no valid decision: demand is unknown" + because(c))
	}
	d := hr.Status.Decision
	if d == nil {
		return nil, absence("no valid decision: nothing has been decided yet" + because(meta.FindStatusCondition(hr.Status.Conditions, v1alpha1.ConditionReady)))
	}
	return d, inForce("decision", d.At, now)
}

// inForce says why something that the leader wrote no longer counts, or nil.
func inForce(what string, at metav1.Time, now time.Time) error {
	switch age := now.Sub(at.Time); {
	case age > prewarm.StaleAfter:
		return absence(fmt.Sprintf("no valid %s: the last one is of %s, %s ago, and counts for %s; no replica leads, or what it decides cannot be written",
			what, at.UTC().Format(time.RFC3339), age.Round(time.Second), prewarm.StaleAfter))
	case age < -maxSkew:
		return absence(fmt.Sprintf("no valid %s: it is of %s, %s in the future; the replicas' clocks differ by more than %s",
			what, at.UTC().Format(time.RFC3339), (-age).Round(time.Second), maxSkew))
	}
	return nil
}

func because(c *metav1.Condition) string {
	if c == nil || c.Status == metav1.ConditionTrue || c.Message == "" {
		return ""
	}
	return ": " + c.Message
}

func forecastDemand(_ *Served, hr *v1alpha1.Headroom, quantile string, now time.Time) (reading, error) {
	f := hr.Status.Forecast
	if f == nil {
		return reading{}, absence("there is no forecast" + because(meta.FindStatusCondition(hr.Status.Conditions, v1alpha1.ConditionForecastSkilled)))
	}
	have := make([]string, len(f.Quantiles))
	for i, q := range f.Quantiles {
		if have[i] = q.Quantile; q.Quantile == quantile {
			return reading{q.Value.DeepCopy(), f.At.Time}, inForce("forecast", f.At, now)
		}
	}
	if quantile == "" {
		return reading{}, refused("headroom_forecast_demand: choose one by the label %s; there are %s", quantileLabel, strings.Join(have, ", "))
	}
	return reading{}, absence(fmt.Sprintf("the forecast has no quantile %q, only %s", quantile, strings.Join(have, ", ")))
}

// schedule is what the calendar asks for within the lead time, 0 when nothing: an absence outside windows would keep the HPA
// from ever scaling down. The object's own maximum bounds it as it bounds the floor.
func (s *Served) schedule(hr *v1alpha1.Headroom, _ string, now time.Time) (reading, error) {
	calendar, err := s.calendar(hr)
	if err != nil {
		return reading{}, absence(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	n := int32(calendar.FloorAt(now, leadTime(hr)).Replicas)
	if most := hr.Spec.Limits.MaxReplicas; most != nil {
		n = min(n, *most)
	}
	return replicas(lifted(hr, n), metav1.NewTime(now)), nil
}

// calendar compiles an object's calendar once for each generation.
func (s *Served) calendar(hr *v1alpha1.Headroom) (*prewarm.Calendar, error) {
	if hr.Spec.Prewarm == nil {
		return nil, nil
	}
	key := types.NamespacedName{Namespace: hr.Namespace, Name: hr.Name}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.calendars[key]
	if ok && known.uid == hr.UID && known.generation == hr.Generation {
		return known.calendar, known.err
	}
	if s.calendars == nil {
		s.calendars = map[types.NamespacedName]compiled{}
	}
	if !ok { // a new one may replace some that are gone; that is the only time it needs to be looked for them
		maps.DeleteFunc(s.calendars, func(key types.NamespacedName, _ compiled) bool {
			_, exists := s.Headrooms.Get(key.Namespace, key.Name)
			return !exists
		})
	}
	known = compiled{uid: hr.UID, generation: hr.Generation}
	if known.calendar, known.err = manifest.Calendar(hr.Spec.Prewarm); known.err != nil {
		known.err = fmt.Errorf("spec.prewarm: %w", known.err)
	}
	s.calendars[key] = known
	return known.calendar, known.err
}

// leadTime is how early the schedule rises: what the leader measured last, however long ago, or what the object says.
func leadTime(hr *v1alpha1.Headroom) time.Duration {
	spec, status := hr.Spec.LeadTime, hr.Status.LeadTime
	fixed := spec.Mode == v1alpha1.LeadTimeFixed && spec.Value != nil
	current := status != nil && status.Total.Duration > 0 && hr.Status.ObservedGeneration == hr.Generation
	switch {
	case current:
		return status.Total.Duration
	case fixed: // changed since, or nobody led yet
		return spec.Value.Duration
	case status != nil && status.Total.Duration > 0:
		return status.Total.Duration // a measurement does not age with the spec
	}
	return spec.Initial.Duration
}

// lifted is a floor as it must be served for an HPA with the default tolerance to act on it: its ratio to the present replicas
// must be above 1.1, and ⌊1.1·r⌋+1 is the least whole number for which it is.
//
// status.replicas may be a minute old, or much older with no leader. That does no harm: from r ≤ floor−1 follows
// ⌊1.1·r⌋+1 ≤ 1.1·floor − 0.1, so that at or above the floor the HPA sees a ratio within its tolerance, whatever r was believed.
// A replica count that fell unseen only delays the lift, until the leader writes the status again.
func lifted(hr *v1alpha1.Headroom, floor int32) int32 {
	present := hr.Status.Replicas
	if hr.Spec.Actuation.Mode != v1alpha1.ActuateMetric || hr.Spec.Actuation.Deadband != v1alpha1.DeadbandLift || floor <= present {
		return floor
	}
	lift := max(floor, int32(int64(present)*11/10)+1)
	if most := hr.Spec.Limits.MaxReplicas; most != nil {
		lift = min(lift, *most)
	}
	return max(lift, floor)
}

func replicas(n int32, at metav1.Time) reading {
	return reading{*resource.NewQuantity(int64(n), resource.DecimalSI), at.Time}
}

// readSelector is what a metric selector says. It may name each of the metric's labels once, with one value: a wider one would
// make the HPA add up numbers that have no sum.
func readSelector(metric string, selector labels.Selector) (map[string]string, error) {
	if selector == nil {
		return nil, nil
	}
	allowed := []string{headroomLabel}
	if measures[metric].quantiles {
		allowed = append(allowed, quantileLabel)
	}
	requirements, selectable := selector.Requirements()
	if !selectable {
		return nil, refused("%s: the selector can match nothing", metric)
	}
	asked := map[string]string{}
	for _, r := range requirements {
		values := r.ValuesUnsorted()
		switch before, twice := asked[r.Key()]; {
		case !slices.Contains(allowed, r.Key()):
			return nil, refused("%s: it has no label %s, only %s", metric, r.Key(), strings.Join(allowed, " and "))
		case !oneValue(r):
			return nil, refused("%s: %q gives the label %s no single value; write %s=VALUE", metric, r.String(), r.Key(), r.Key())
		case twice && before != values[0]:
			return nil, refused("%s: the label %s cannot be %s and %s", metric, r.Key(), before, values[0])
		default:
			asked[r.Key()] = values[0]
		}
	}
	return asked, nil
}

func oneValue(r labels.Requirement) bool {
	switch r.Operator() {
	case selection.Equals, selection.DoubleEquals, selection.In:
		return len(r.ValuesUnsorted()) == 1
	}
	return false
}

// refused is a request that makes no sense, whatever the objects say.
func refused(format string, args ...any) error {
	return apierrors.NewBadRequest(fmt.Sprintf(format, args...))
}

// notFoundOr adds the reason of an absence to the library's not-found error; any other error is the answer as it is.
func notFoundOr(err error, none *apierrors.StatusError) error {
	var why absence
	if !errors.As(err, &why) {
		return err
	}
	none.ErrStatus.Message += ": " + string(why)
	return none
}

func described(name types.NamespacedName, metric string, asked map[string]string, found reading) custom_metrics.MetricValue {
	item := custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Headroom", Namespace: name.Namespace, Name: name.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: metric},
		Timestamp:       metav1.NewTime(found.at),
		Value:           found.value,
	}
	if len(asked) > 0 {
		item.Metric.Selector = &metav1.LabelSelector{MatchLabels: asked}
	}
	return item
}
