package metricsapi

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/kubernetes"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

var (
	_ provider.CustomMetricsProvider   = (*Provider)(nil)
	_ provider.ExternalMetricsProvider = (*Provider)(nil)
)

// Values finds what is known about a want; collect.Collector does.
type Values interface {
	Lookup(ctx context.Context, want collect.Want) (*store.View, error)
}

// Lister lists the metrics that discovery shows.
type Lister interface {
	Listed() []rules.Entry
}

// Own answers for metrics that are made here and come from no rule, such as those of Headroom objects.
type Own interface {
	// Owns says whether a metric of a resource is one of them; an external metric where the resource is the zero one.
	Owns(resource schema.GroupResource, metric string) bool
	provider.MetricsProvider
}

// Provider answers both metrics APIs. All fields are needed but Own and Missing.
//
// What Own owns is its alone: a rule that gives a metric of the same name and kind is never asked, whether Own has a value or
// not. Otherwise an HPA would be told another number whenever a decision is missing, which is when none should be told.
type Provider struct {
	Own       Own
	Values    Values
	Resources *kubernetes.Resources
	Objects   *kubernetes.Objects
	Lister    Lister
	Missing   *Missing
	Now       func() time.Time
}

// GetMetricByName answers for one object; for a namespace's own metric the name is the namespace's.
func (p *Provider) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, metricSelector labels.Selector) (*custom_metrics.MetricValue, error) {
	if p.owns(info.GroupResource, info.Metric) {
		return p.Own.GetMetricByName(ctx, name, info, metricSelector)
	}
	asked, err := p.asked(name.Namespace, info, metricSelector)
	if err != nil {
		return nil, err
	}
	asked.want.Key.Objects = name.Name
	view, err := p.Values.Lookup(ctx, asked.want)
	if err != nil {
		return nil, refused(err)
	}
	if !answered(view) {
		return nil, notFound(provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name), view.Explain())
	}
	value, absence := view.Value(name.Name, p.Now())
	if absence != nil {
		return nil, notFound(provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name), absence)
	}
	item := asked.item(name.Name, value, view.Window())
	return &item, nil
}

// GetMetricBySelector answers for all objects that match, those without a value left out and counted.
func (p *Provider) GetMetricBySelector(ctx context.Context, namespace string, selector labels.Selector, info provider.CustomMetricInfo, metricSelector labels.Selector) (*custom_metrics.MetricValueList, error) {
	if p.owns(info.GroupResource, info.Metric) {
		return p.Own.GetMetricBySelector(ctx, namespace, selector, info, metricSelector)
	}
	asked, err := p.asked(namespace, info, metricSelector)
	if err != nil {
		return nil, err
	}
	asked.want.Key.Objects = store.SelectorPrefix + selector.String()
	view, err := p.Values.Lookup(ctx, asked.want)
	if err != nil {
		return nil, refused(err)
	}
	if !answered(view) {
		return nil, notFound(provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", selector), view.Explain())
	}
	if asked.want.Key.Resource == (rules.Resource{Name: "pods"}) {
		return p.pods(asked, view, selector, info)
	}
	names, err := p.Objects.Names(ctx, asked.want.Key.Resource, asked.want.Key.Namespace, selector.String())
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	answer := &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, 0, len(names))}
	now := p.Now()
	for _, name := range names {
		if value, absence := view.Value(name, now); absence == nil {
			answer.Items = append(answer.Items, asked.item(name, value, view.Window()))
		}
	}
	if len(answer.Items) == 0 {
		return nil, notFound(provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", selector), view.Explain())
	}
	return answer, nil
}

func (p *Provider) pods(asked asked, view *store.View, selector labels.Selector, info provider.CustomMetricInfo) (*custom_metrics.MetricValueList, error) {
	pods := p.Objects.Pods.Select(asked.want.Key.Namespace, selector)
	answer := &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, 0, len(pods))}
	window, now := view.Window(), p.Now()
	var missing []*corev1.Pod
	var why *store.Absence
	for _, pod := range pods {
		value, absence := view.Value(pod.Name, now)
		switch {
		case absence == nil:
			answer.Items = append(answer.Items, asked.item(pod.Name, value, window))
		case kubernetes.Ready(pod): // a pod that is not Ready yet is expected to have no sample
			missing = append(missing, pod)
			if why == nil || why.LastGood.IsZero() {
				why = absence
			}
		}
	}
	p.Missing.set(asked.want.Key, len(missing), now)
	switch {
	case len(answer.Items) == 0 && len(pods) == 0:
		return nil, withReason(provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", selector), "no pod matches the selector")
	case len(answer.Items) == 0:
		if why == nil {
			why = view.Explain()
		}
		return nil, notFound(provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", selector), why)
	case len(missing) > 0 && view.FailPartial():
		return nil, withReason(provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", selector),
			fmt.Sprintf("%d of %d pods are Ready and have no value, such as %s (%s), and the rule says partial: Fail", len(missing), len(pods), missing[0].Name, why.Error()))
	}
	return answer, nil
}

// GetExternalMetric answers with all rows that the selector means; the HPA sums them.
func (p *Provider) GetExternalMetric(ctx context.Context, namespace string, metricSelector labels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	if p.owns(schema.GroupResource{}, info.Metric) {
		return p.Own.GetExternalMetric(ctx, namespace, metricSelector, info)
	}
	selector := kubernetes.SelectorOf(metricSelector)
	want := collect.Want{
		Key:      store.Key{Kind: rules.External, Namespace: namespace, Metric: info.Metric, Selector: selector.String()},
		Selector: selector,
	}
	missing := func() *apierrors.StatusError {
		return provider.NewMetricNotFoundForSelectorError(schema.GroupResource{Resource: "namespaces"}, info.Metric, namespace, metricSelector)
	}
	view, err := p.Values.Lookup(ctx, want)
	if err != nil {
		return nil, refused(err)
	}
	if !answered(view) {
		return nil, notFound(missing(), view.Explain())
	}
	rows, absence := view.Rows(p.Now())
	if absence != nil {
		return nil, notFound(missing(), absence)
	}
	answer := &external_metrics.ExternalMetricValueList{Items: make([]external_metrics.ExternalMetricValue, len(rows))}
	window := seconds(view.Window())
	for i, row := range rows {
		answer.Items[i] = external_metrics.ExternalMetricValue{
			MetricName: info.Metric, MetricLabels: row.Labels, Timestamp: metav1.NewTime(row.SampledAt),
			WindowSeconds: window, Value: quantity(row.Number),
		}
	}
	return answer, nil
}

func (p *Provider) owns(resource schema.GroupResource, metric string) bool {
	return p.Own != nil && p.Own.Owns(resource, metric)
}

// Listed is what discovery shows: what the lister lists, and Own's metrics in place of others of their names.
func (p *Provider) Listed() []rules.Entry {
	listed := p.Lister.Listed()
	if p.Own == nil {
		return listed
	}
	var entries []rules.Entry
	for _, info := range p.Own.ListAllMetrics() {
		resource := rules.Resource{Group: info.GroupResource.Group, Name: info.GroupResource.Resource}
		entries = append(entries, rules.Entry{Kind: rules.Custom, Resource: resource, Metric: info.Metric, Namespaced: info.Namespaced})
	}
	for _, info := range p.Own.ListAllExternalMetrics() {
		entries = append(entries, rules.Entry{Kind: rules.External, Metric: info.Metric, Namespaced: true})
	}
	for _, entry := range listed {
		if !p.owns(schema.GroupResource{Group: entry.Resource.Group, Resource: entry.Resource.Name}, entry.Metric) {
			entries = append(entries, entry)
		}
	}
	return entries
}

// ListAllMetrics lists what discovery shows of custom.metrics.k8s.io.
func (p *Provider) ListAllMetrics() []provider.CustomMetricInfo {
	var infos []provider.CustomMetricInfo
	for _, entry := range p.Listed() {
		if entry.Kind == rules.Custom {
			infos = append(infos, provider.CustomMetricInfo{
				GroupResource: schema.GroupResource{Group: entry.Resource.Group, Resource: entry.Resource.Name},
				Namespaced:    entry.Namespaced, Metric: entry.Metric,
			})
		}
	}
	return infos
}

// ListAllExternalMetrics lists what discovery shows of external.metrics.k8s.io.
func (p *Provider) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	var infos []provider.ExternalMetricInfo
	for _, entry := range p.Listed() {
		if entry.Kind == rules.External {
			infos = append(infos, provider.ExternalMetricInfo{Metric: entry.Metric})
		}
	}
	return infos
}

// asked is a custom request in the cluster's own names.
type asked struct {
	want   collect.Want
	kind   schema.GroupVersionKind
	metric custom_metrics.MetricIdentifier
}

func (p *Provider) asked(namespace string, info provider.CustomMetricInfo, metricSelector labels.Selector) (asked, error) {
	given := rules.Resource{Group: info.GroupResource.Group, Name: info.GroupResource.Resource}
	canonical, known := p.Resources.Resolve(given)
	kind, _ := p.Resources.Kind(given)
	if !known {
		return asked{}, withReason(provider.NewMetricNotFoundError(info.GroupResource, info.Metric), "the cluster knows no such resource")
	}
	if !canonical.Namespaced {
		namespace = ""
	}
	selector := kubernetes.SelectorOf(metricSelector)
	a := asked{
		kind:   kind,
		metric: custom_metrics.MetricIdentifier{Name: info.Metric},
		want: collect.Want{
			Key:      store.Key{Kind: rules.Custom, Namespace: namespace, Resource: canonical.Resource, Metric: info.Metric, Selector: selector.String()},
			Selector: selector,
		},
	}
	if len(selector) > 0 {
		a.metric.Selector = described(selector)
	}
	return a, nil
}

// described is the metric selector as the answer repeats it. (metav1.ParseToLabelSelector knows no "!=".) What a
// LabelSelector cannot say, no rule can ask either: the answer is an error then.
func described(selector rules.Selector) *metav1.LabelSelector {
	described := &metav1.LabelSelector{}
	for _, r := range selector {
		switch r.Operator {
		case rules.Equals:
			if described.MatchLabels == nil {
				described.MatchLabels = map[string]string{}
			}
			described.MatchLabels[r.Key] = r.Values[0]
		case rules.In, rules.NotIn, rules.NotEquals, rules.Exists, rules.DoesNotExist:
			operator := map[rules.Operator]metav1.LabelSelectorOperator{
				rules.In: metav1.LabelSelectorOpIn, rules.NotIn: metav1.LabelSelectorOpNotIn, rules.NotEquals: metav1.LabelSelectorOpNotIn,
				rules.Exists: metav1.LabelSelectorOpExists, rules.DoesNotExist: metav1.LabelSelectorOpDoesNotExist,
			}[r.Operator]
			described.MatchExpressions = append(described.MatchExpressions, metav1.LabelSelectorRequirement{Key: r.Key, Operator: operator, Values: r.Values})
		}
	}
	return described
}

func (a *asked) item(name string, value store.Value, window time.Duration) custom_metrics.MetricValue {
	return custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{
			// Group "/" version, so "/v1" for the core group: what prometheus-adapter says and clients have seen.
			APIVersion: a.kind.Group + "/" + a.kind.Version, Kind: a.kind.Kind, Namespace: a.want.Key.Namespace, Name: name,
		},
		Metric:        a.metric,
		Timestamp:     metav1.NewTime(value.SampledAt),
		WindowSeconds: seconds(window),
		Value:         quantity(value.Number),
	}
}

// quantity rounds to thousandths, the resolution the HPA reads. The number is finite and fits: the store saw to it.
func quantity(number float64) resource.Quantity {
	return *resource.NewMilliQuantity(int64(math.Round(number*1000)), resource.DecimalSI)
}

func seconds(window time.Duration) *int64 {
	if window <= 0 {
		return nil
	}
	s := int64(window / time.Second)
	return &s
}

func answered(view *store.View) bool { return view != nil && view.Answered() }

// notFound adds the reason to the library's not-found error, whose words prometheus-adapter's users know.
func notFound(err *apierrors.StatusError, why *store.Absence) *apierrors.StatusError {
	return withReason(err, why.Error())
}

func withReason(err *apierrors.StatusError, why string) *apierrors.StatusError {
	err.ErrStatus.Message += ": " + why
	return err
}

// refused is a request that cannot be taken on. It carries no Retry-After: the HPA comes back by itself.
func refused(err error) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusTooManyRequests, Reason: metav1.StatusReasonTooManyRequests, Message: err.Error(),
	}}
}
