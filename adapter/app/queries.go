package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/promql"
	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// What --allow-queries may be.
const (
	queriesNone       = "none"
	queriesNamespaced = "namespaced"
	queriesAny        = "any"
)

const (
	// namespaceLabel is the label that confines a query.
	namespaceLabel = "namespace"
	// queriesEach is how many objects of one namespace may measure demand by a query. Each costs a query every round.
	queriesEach = 50
	// queriesTogether is how many queries of one namespace may be under way at once, histories among them; queriesAll of all
	// namespaces.
	queriesTogether, queriesAll = 2, 8
	// queryTimeout bounds one query. A demand that takes longer to measure is none that is decided by every 15 s.
	queryTimeout = 5 * time.Second
	// queryKept is how long a query is asked after the last look at its value, like a metric.
	queryKept = 150 * time.Second
)

// queries asks what Headroom objects measure demand by where that is raw PromQL, and keeps the last good values.
type queries struct {
	allow        string
	collector    *collect.Collector
	maxStaleness time.Duration
	all          chan struct{}
	work         sync.WaitGroup

	mu     sync.Mutex
	asked  map[types.NamespacedName]*askedQuery // nil: none is allowed
	spaces map[string]chan struct{}             // a slot for each query of a namespace that may be under way
}

// askedQuery is one object's query and what came of it.
type askedQuery struct {
	text     string // as it stands in the object
	confined string // as it is asked
	refused  error
	wanted   time.Time // the last look at it
	running  bool

	value float64
	at    time.Time // when value was good; zero: never
	err   error     // of the last try
}

func newQueries(allow string, collector *collect.Collector, maxStaleness time.Duration) *queries {
	q := &queries{
		allow: allow, collector: collector, maxStaleness: maxStaleness, all: make(chan struct{}, queriesAll), spaces: map[string]chan struct{}{},
	}
	if allow != queriesNone {
		q.asked = map[types.NamespacedName]*askedQuery{}
	}
	return q
}

// confine is an object's query as it may be asked.
func (q *queries) confine(hr *v1alpha1.Headroom) (text string, err error) {
	limits := promql.DefaultLimits()
	switch text = hr.Spec.Demand.Query; q.allow {
	case queriesAny:
		err = promql.Check(text, limits)
	case queriesNamespaced:
		text, err = promql.Confine(text, namespaceLabel, hr.Namespace, limits)
	default:
		return "", errors.New("demand.query is off; the adapter's --allow-queries=namespaced lets an object ask about its own namespace")
	}
	if err != nil {
		return "", fmt.Errorf("demand.query is refused: %w", err)
	}
	return text, nil
}

// value is the last good value of an object's query; the first look has it asked from then on.
func (q *queries) value(hr *v1alpha1.Headroom, now time.Time) (float64, error) {
	key := types.NamespacedName{Namespace: hr.Namespace, Name: hr.Name}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.asked[key]
	if a == nil || a.text != hr.Spec.Demand.Query {
		if a == nil && q.inNamespace(hr.Namespace) >= queriesEach {
			return 0, fmt.Errorf("demand.query: %d objects of this namespace have one already, the most that is allowed", queriesEach)
		}
		a = &askedQuery{text: hr.Spec.Demand.Query}
		if a.confined, a.refused = q.confine(hr); q.asked == nil {
			return 0, a.refused
		}
		q.asked[key] = a
	}
	a.wanted = now
	switch {
	case a.refused != nil:
		return 0, a.refused
	case !a.at.IsZero() && now.Sub(a.at) <= q.maxStaleness:
		return a.value, nil
	case a.err != nil:
		return 0, fmt.Errorf("demand.query: %w", a.err)
	case a.at.IsZero():
		return 0, errors.New("demand.query: not asked yet")
	}
	return 0, fmt.Errorf("demand.query: last answered %s ago", now.Sub(a.at).Round(time.Second))
}

func (q *queries) inNamespace(namespace string) int {
	n := 0
	for key := range q.asked {
		if key.Namespace == namespace {
			n++
		}
	}
	return n
}

// ask starts every query that somebody looks at and that is not under way, and waits for none.
func (q *queries) ask(ctx context.Context, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, a := range q.asked {
		switch {
		case now.Sub(a.wanted) > queryKept:
			delete(q.asked, key)
		case a.refused == nil && !a.running:
			a.running = true
			q.work.Go(func() { q.askOne(ctx, key.Namespace, a) })
		}
	}
}

func (q *queries) askOne(ctx context.Context, namespace string, a *askedQuery) {
	var value float64
	leave, err := q.enter(ctx, namespace)
	if err == nil {
		value, err = q.evaluate(ctx, a.confined)
		leave()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a.running, a.err = false, err
	if err == nil {
		a.value, a.at = value, time.Now()
	}
}

func (q *queries) evaluate(ctx context.Context, query string) (float64, error) {
	history, err := q.backend()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	point, found, err := history.Now(ctx, query)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return 0, errors.New("the query gives no sample")
	case math.IsNaN(point.Value) || math.IsInf(point.Value, 0) || point.Value < 0:
		return 0, fmt.Errorf("the query gives %v, which is no demand", point.Value)
	}
	return point.Value, nil
}

// backend is where queries are asked: the one of rules that name none.
func (q *queries) backend() (*prometheus.History, error) {
	b, ok := q.collector.DefaultBackend()
	client, isClient := b.Querier.(*prometheus.Client)
	if !ok || !isClient {
		return nil, errors.New("there is no default backend to ask a query")
	}
	return prometheus.NewHistory(client), nil
}

// enter waits for a place among the queries of a namespace, and among all; leave gives it back.
func (q *queries) enter(ctx context.Context, namespace string) (leave func(), err error) {
	q.mu.Lock()
	space := q.spaces[namespace]
	if space == nil {
		space = make(chan struct{}, queriesTogether)
		q.spaces[namespace] = space
	}
	q.mu.Unlock()
	for i, slots := range []chan struct{}{space, q.all} {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			if i > 0 {
				<-space
			}
			return nil, ctx.Err()
		}
	}
	return func() { <-q.all; <-space }, nil
}

// past reads the history of an object's query.
func (q *queries) past(ctx context.Context, hr *v1alpha1.Headroom, from, to time.Time, step time.Duration) ([]prometheus.Point, error) {
	query, err := q.confine(hr)
	if err != nil {
		return nil, err
	}
	history, err := q.backend()
	if err != nil {
		return nil, err
	}
	leave, err := q.enter(ctx, hr.Namespace)
	if err != nil {
		return nil, err
	}
	defer leave()
	return history.Points(ctx, query, from, to, step)
}
