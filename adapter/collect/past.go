package collect

import (
	"errors"
	"slices"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// Past is one query, of all rules of one backend that give a metric.
type Past struct {
	Backend Backend
	Query   string // the sum
	Count   string // how many objects it is of; "" for External
}

// ErrNotDiscovered says that it is not known yet which series there are, and so not which rules give a metric.
var ErrNotDiscovered = errors.New("which series exist is not known yet")

// Past writes the queries for a metric's past: the sum, over the objects of the want's namespace whose names match a regular
// expression, of what the rules give. They are for range queries, one for each backend that a rule asks, best rule first.
func (c *Collector) Past(want Want, names string) ([]Past, error) {
	s := c.source.Load()
	if s == nil {
		return nil, ErrNotDiscovered
	}
	key, known := want.Key, s.discovery.known.Load()
	var pasts []Past
	var queries [][]rules.Query // of each of pasts
	var problems []error
	for _, match := range known.catalog.Candidates(key.Kind, key.Resource, key.Metric, c.Resources) {
		if labels, looked := s.discovery.labelsOf(seriesRef{match.Rule, match.Series}); looked && key.Kind != rules.External && !labels[match.Label] {
			continue
		}
		b := s.backends[match.Rule.Backend]
		if b == nil {
			continue // it could not be built, which was reported
		}
		ask := rules.Ask{Series: match.Series, Resource: key.Resource, Selector: want.Selector, MatchLabels: b.MatchLabels}
		if match.Rule.Namespaced && key.Namespace != "" {
			ask.Namespaces = []string{key.Namespace}
		}
		query, err := match.Rule.BuildPast(ask, names, c.Resources)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		i := slices.IndexFunc(pasts, func(p Past) bool { return p.Backend.Name == b.Name })
		if i < 0 {
			i = len(pasts)
			pasts, queries = append(pasts, Past{Backend: b.Backend}), append(queries, nil)
		}
		queries[i] = append(queries[i], query)
	}
	switch {
	case len(pasts) > 0:
	case len(problems) > 0:
		return nil, errors.Join(problems...)
	case !known.complete:
		return nil, ErrNotDiscovered
	default:
		return nil, &store.Absence{Cause: store.NoRule}
	}
	for i := range pasts {
		var err error
		if pasts[i].Query, pasts[i].Count, err = rules.Together(key.Kind, queries[i]); err != nil {
			return nil, err
		}
	}
	return pasts, nil
}

// DefaultBackend is the one of rules that name none; false before the first configuration.
func (c *Collector) DefaultBackend() (Backend, bool) {
	s := c.source.Load()
	if s == nil || s.backends[""] == nil {
		return Backend{}, false
	}
	return s.backends[""].Backend, true
}
