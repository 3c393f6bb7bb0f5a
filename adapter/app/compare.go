package app

import (
	"context"
	"fmt"
	"math"
	"net/url"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	customv1 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/metrics/pkg/apis/external_metrics"
	externalv1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	custom "k8s.io/metrics/pkg/client/custom_metrics"
	external "k8s.io/metrics/pkg/client/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// side is one adapter's answer.
type side struct {
	Items int     `json:"items"`
	Sum   float64 `json:"sum"`
	Error string  `json:"error,omitempty"`
}

// comparison is one question with both answers; Theirs is nil when nobody else was asked.
type comparison struct {
	HPA        string  `json:"hpa"`
	Kind       string  `json:"kind"`
	Metric     string  `json:"metric"`
	Object     string  `json:"object,omitempty"`
	Ours       side    `json:"ours"`
	Theirs     *side   `json:"theirs,omitempty"`
	Difference float64 `json:"relativeDifference,omitempty"`
	Verdict    string  `json:"verdict"`
}

type comparedWith struct {
	With    string `json:"with"`
	Same    int    `json:"same"`
	Differ  int    `json:"differ"`
	Missing int    `json:"answeredByOneSide"`
	Neither int    `json:"answeredByNeither"`
}

// sameWithin is how far two answers may be apart and count as the same: they are computed at different instants from
// rates over different windows' edges.
const sameWithin = 0.1

const (
	verdictSame    = "same"
	verdictDiffer  = "differs"
	verdictOurs    = "only ours answers"
	verdictTheirs  = "only theirs answers"
	verdictNeither = "neither answers"
	verdictValue   = "has a value"
	verdictNone    = "has no value"
)

func (s *comparedWith) count(c comparison) {
	switch c.Verdict {
	case verdictSame:
		s.Same++
	case verdictDiffer:
		s.Differ++
	case verdictOurs, verdictTheirs:
		s.Missing++
	case verdictNeither:
		s.Neither++
	}
}

// ours asks this process's own provider.
func (a *Adapter) ours(ctx context.Context, q question) side {
	info := provider.CustomMetricInfo{
		GroupResource: schema.GroupResource{Group: q.resource.Group, Resource: q.resource.Name}, Namespaced: true, Metric: q.metric,
	}
	switch {
	case q.kind == rules.External:
		list, err := a.provider.GetExternalMetric(ctx, q.namespace, q.selector, provider.ExternalMetricInfo{Metric: q.metric})
		if err != nil {
			return side{Error: err.Error()}
		}
		return total(list.Items, func(i external_metrics.ExternalMetricValue) resource.Quantity { return i.Value })
	case q.pods != nil:
		list, err := a.provider.GetMetricBySelector(ctx, q.namespace, q.pods, info, q.selector)
		if err != nil {
			return side{Error: err.Error()}
		}
		return total(list.Items, func(i custom_metrics.MetricValue) resource.Quantity { return i.Value })
	default:
		item, err := a.provider.GetMetricByName(ctx, types.NamespacedName{Namespace: q.namespace, Name: q.object}, info, q.selector)
		if err != nil {
			return side{Error: err.Error()}
		}
		return side{Items: 1, Sum: item.Value.AsApproximateFloat64()}
	}
}

// otherAdapter is asked through the clients that the HPA controller uses.
type otherAdapter struct {
	custom   custom.CustomMetricsClient
	external external.ExternalMetricsClient
}

func newOtherAdapter(a *Adapter, where, caFile string) (*otherAdapter, error) {
	config, err := a.base.ClientConfig()
	if err != nil {
		return nil, err
	}
	if where != "cluster" {
		if u, err := url.Parse(where); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("--compare: %q is neither \"cluster\" nor a URL of the form https://host[:port]", where)
		}
		config = rest.CopyConfig(config)
		config.Host = where
		config.CAData, config.CAFile = nil, caFile
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("--compare: %w", err)
	}
	externals, err := external.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("--compare: %w", err)
	}
	return &otherAdapter{
		custom:   custom.NewForConfig(config, a.resources.Mapper(), custom.NewAvailableAPIsGetter(found)),
		external: externals,
	}, nil
}

func (o *otherAdapter) ask(q question) side {
	switch {
	case q.kind == rules.External:
		list, err := o.external.NamespacedMetrics(q.namespace).List(q.metric, q.selector)
		if err != nil {
			return side{Error: err.Error()}
		}
		return total(list.Items, func(i externalv1.ExternalMetricValue) resource.Quantity { return i.Value })
	case q.pods != nil:
		list, err := o.custom.NamespacedMetrics(q.namespace).GetForObjects(schema.GroupKind{Kind: "Pod"}, q.pods, q.metric, q.selector)
		if err != nil {
			return side{Error: err.Error()}
		}
		return total(list.Items, func(i customv1.MetricValue) resource.Quantity { return i.Value })
	default:
		item, err := o.custom.NamespacedMetrics(q.namespace).GetForObject(q.objectGK, q.object, q.metric, q.selector)
		if err != nil {
			return side{Error: err.Error()}
		}
		return side{Items: 1, Sum: item.Value.AsApproximateFloat64()}
	}
}

// total adds an answer's items up. One without items is what the HPA calls it: no metrics.
func total[T any](items []T, value func(T) resource.Quantity) side {
	s := side{Items: len(items)}
	for _, item := range items {
		quantity := value(item)
		s.Sum += quantity.AsApproximateFloat64()
	}
	if s.Items == 0 {
		s.Error = "an answer without items, which the HPA takes as an error"
	}
	return s
}

func (a *Adapter) compare(ctx context.Context, q question, other *otherAdapter) comparison {
	object := q.object
	if q.pods != nil {
		object = q.pods.String()
	} else if q.kind == rules.External {
		object = q.selector.String()
	}
	kind := "External"
	if q.kind == rules.Custom {
		kind = "Pods"
		if q.pods == nil {
			kind = "Object"
		}
	}
	c := comparison{HPA: q.hpa, Kind: kind, Metric: q.metric, Object: object, Ours: a.ours(ctx, q)}
	if other == nil {
		c.Verdict = verdictValue
		if c.Ours.Error != "" {
			c.Verdict = verdictNone
		}
		return c
	}
	theirs := other.ask(q)
	c.Theirs = &theirs
	c.judge()
	return c
}

func (c *comparison) judge() {
	ours, theirs := c.Ours, *c.Theirs
	switch {
	case ours.Error != "" && theirs.Error != "":
		c.Verdict = verdictNeither
	case ours.Error != "":
		c.Verdict = verdictTheirs
	case theirs.Error != "":
		c.Verdict = verdictOurs
	default:
		c.Verdict = verdictSame
		if larger := math.Max(math.Abs(ours.Sum), math.Abs(theirs.Sum)); larger > 0 {
			c.Difference = math.Abs(ours.Sum-theirs.Sum) / larger
		}
		if c.Difference > sameWithin || ours.Items != theirs.Items {
			c.Verdict = verdictDiffer
		}
	}
}
