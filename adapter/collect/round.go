package collect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// Sample is one row of a backend's answer to an instant query. Value may be anything a float can be.
type Sample struct {
	Labels map[string]string
	Value  float64
	// Evaluated is the backend's time at which the query was evaluated.
	Evaluated time.Time
}

// Querier is a backend as this package sees it.
type Querier interface {
	Query(ctx context.Context, expr string) ([]Sample, error)
	SeriesNames(ctx context.Context, match string, lookback time.Duration) ([]string, error)
	LabelNames(ctx context.Context, match string, lookback time.Duration) ([]string, error)
	Timeout() time.Duration
}

// Objects names the objects of a resource that a label selector means; pods from memory, others by asking.
type Objects interface {
	Names(ctx context.Context, resource rules.Resource, namespace, selector string) ([]string, error)
}

// answer is what a backend said to a unit.
type answer struct {
	query  rules.Query
	values []Sample
	ages   []Sample
}

// run asks the unit's queries, the value's and the age's side by side.
func (u *unit) run(ctx context.Context, backend Querier, matchLabels map[string]string, resources rules.Resources, objects Objects) (answer, error) {
	ask := u.ask
	ask.MatchLabels = matchLabels
	names, err := u.names(ctx, objects)
	if err != nil {
		return answer{}, err
	}
	ask.Names = names
	query, err := u.rule.Build(ask, resources)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", u.rule.Name, err)
	}
	a := answer{query: query}
	ageErr := make(chan error, 1)
	go func() {
		if query.Age == "" {
			ageErr <- nil
			return
		}
		var err error
		a.ages, err = backend.Query(ctx, query.Age)
		ageErr <- err
	}()
	a.values, err = backend.Query(ctx, query.Value)
	if err2 := <-ageErr; err == nil && err2 != nil {
		err = fmt.Errorf("age of the samples: %w", err2)
	}
	return a, err
}

// readings judges every row of an answer: its number, and its age by the companion query. invalid counts rows without a
// usable number by cause.
func (a *answer) readings(now time.Time) (rows []row, invalid map[store.Cause]int) {
	ages := indexAges(a.ages)
	rows = make([]row, 0, len(a.values))
	invalid = map[store.Cause]int{}
	for _, sample := range a.values {
		r := row{labels: sample.Labels}
		if a.query.Age == "" {
			r.reading = store.NewReading(sample.Value, sample.Evaluated, 0, now)
		} else if sampledAt, age, ok := ages.of(sample.Labels); ok {
			r.reading = store.NewReading(sample.Value, sampledAt, age, now)
		} else {
			r.reading = store.Reading{Invalid: store.NoRawSample}
		}
		if r.reading.Invalid != 0 {
			invalid[r.reading.Invalid]++
		}
		rows = append(rows, r)
	}
	return rows, invalid
}

// source is what the store calls the unit's rule.
func (u *unit) source(f feed) store.Source {
	return store.Source{Name: u.rule.Name + " " + u.ask.Series, Rank: f.rank}
}

type row struct {
	labels  map[string]string
	reading store.Reading
}

// ageIndex finds the age of a value's row by the labels that both have: the age query groups by some or all of them.
type ageIndex struct {
	by   []string
	rows map[string]Sample
}

func indexAges(ages []Sample) ageIndex {
	index := ageIndex{rows: make(map[string]Sample, len(ages))}
	seen := map[string]bool{}
	for _, sample := range ages {
		for name := range sample.Labels {
			if !seen[name] {
				seen[name] = true
				index.by = append(index.by, name)
			}
		}
	}
	for _, sample := range ages {
		index.rows[index.key(sample.Labels)] = sample
	}
	return index
}

// key joins the values of the index's labels; an absent label is an empty one, as in PromQL.
func (x *ageIndex) key(labels map[string]string) string {
	switch len(x.by) {
	case 0:
		return ""
	case 1:
		return labels[x.by[0]]
	}
	size := 0
	for _, name := range x.by {
		size += len(labels[name]) + 1
	}
	key := make([]byte, 0, size)
	for _, name := range x.by {
		key = append(append(key, labels[name]...), 0)
	}
	return string(key)
}

func (x *ageIndex) of(labels map[string]string) (sampledAt time.Time, age time.Duration, ok bool) {
	sample, ok := x.rows[x.key(labels)]
	if !ok || !(sample.Value > 0 && sample.Value < 1e12) {
		return time.Time{}, 0, false
	}
	sampledAt = time.UnixMilli(int64(sample.Value * 1000))
	return sampledAt, sample.Evaluated.Sub(sampledAt), true
}

// deliver sorts the rows to the unit's feeds and records them.
func (u *unit) deliver(query rules.Query, rows []row, terms store.Terms, into *store.Store, now time.Time) {
	split := newSplit(u, query, rows)
	done := map[store.Key]bool{}
	for _, f := range u.feeds {
		if done[f.table] {
			continue
		}
		done[f.table] = true
		into.Record(f.table, u.source(f), split.readings(f), terms, now)
	}
}

// split finds the rows that belong to a feed.
type split struct {
	query rules.Query
	rows  []row
	// selected says that the query had the selector: its rows are the answer, whatever labels the query left them.
	selected bool
	// byNamespace holds custom rows by namespace and object, made once for all feeds.
	byNamespace map[string]map[string]store.Reading
	byLabel     map[string]map[string][]row // External: rows by label name and value, made when a selector first needs it
}

func newSplit(u *unit, query rules.Query, rows []row) *split {
	s := &split{query: query, rows: rows, selected: len(u.ask.Selector) > 0}
	if u.rule.Kind == rules.External {
		return s
	}
	s.byNamespace = map[string]map[string]store.Reading{}
	for _, r := range rows {
		object, named := r.labels[query.ResourceLabel]
		if !named || object == "" {
			continue // a row that names no object belongs to none
		}
		namespace := ""
		if query.NamespaceLabel != "" {
			namespace = r.labels[query.NamespaceLabel]
		}
		objects := s.byNamespace[namespace]
		if objects == nil {
			objects = map[string]store.Reading{}
			s.byNamespace[namespace] = objects
		}
		// The last row of an object counts, as in prometheus-adapter; a rule that aggregates by object gives only one.
		objects[object] = r.reading
	}
	return s
}

func (s *split) readings(f feed) map[string]store.Reading {
	if s.byNamespace == nil {
		return s.external(f.want)
	}
	namespace := ""
	if s.query.NamespaceLabel != "" {
		namespace = f.want.Key.Namespace
	}
	objects := s.byNamespace[namespace]
	if f.table.Objects == "" || strings.HasPrefix(f.table.Objects, store.SelectorPrefix) {
		return objects
	}
	one := map[string]store.Reading{}
	if reading, ok := objects[f.table.Objects]; ok {
		one[f.table.Objects] = reading
	}
	return one
}

func (s *split) external(want Want) map[string]store.Reading {
	readings := map[string]store.Reading{}
	selector := want.Selector
	if s.selected {
		selector = nil
	}
	for _, r := range s.candidates(selector) {
		if s.query.NamespaceLabel != "" && r.labels[s.query.NamespaceLabel] != want.Key.Namespace {
			continue
		}
		if !selector.Matches(r.labels) {
			continue
		}
		reading := r.reading
		reading.Labels = r.labels
		readings[store.RowName(r.labels)] = reading
	}
	return readings
}

// candidates narrows the rows by the selector's first equality, so that 500 selectors over 5,000 rows are not 2.5
// million comparisons.
func (s *split) candidates(selector rules.Selector) []row {
	for _, requirement := range selector {
		if requirement.Operator != rules.Equals || len(requirement.Values) != 1 || requirement.Values[0] == "" {
			continue
		}
		index, ok := s.byLabel[requirement.Key]
		if !ok {
			index = map[string][]row{}
			for _, r := range s.rows {
				value := r.labels[requirement.Key]
				index[value] = append(index[value], r)
			}
			if s.byLabel == nil {
				s.byLabel = map[string]map[string][]row{}
			}
			s.byLabel[requirement.Key] = index
		}
		return index[requirement.Values[0]]
	}
	return s.rows
}
