package collect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// againAfter is how soon a look-up that found no series for a metric somebody wants, or that failed after it had answered
// before, is made again: a new deployment's first series should count within seconds, not at the next relist. One that has
// never been answered is made again at the next round, like a query.
const againAfter = 15 * time.Second

// discovery knows which series the rules' backends have, and which labels those carry. Names are looked up for all rules,
// since that is one cheap request each; labels only for series that somebody wants.
type discovery struct {
	config *rules.Config
	known  atomic.Pointer[found]

	mu     sync.Mutex
	names  map[string]*lookup // by backend and series query; rules that share them share the answer
	labels map[seriesRef]*lookup
	early  bool // look names up before the relist, since something wanted is unknown
}

// found is one immutable state of the catalog with the decisions made from it.
type found struct {
	catalog  *rules.Catalog
	complete bool     // every rule's names have been looked up at least once
	whole    sync.Map // store.Key → bool: every rule that gives the metric batches
}

type lookup struct {
	at      time.Time // of the last attempt
	running bool
	ok      bool            // at least one answer has come
	failed  bool            // the last attempt
	err     error           // of the last attempt
	labels  map[string]bool // for labels
}

func newDiscovery(config *rules.Config) *discovery {
	d := &discovery{config: config, names: map[string]*lookup{}, labels: map[seriesRef]*lookup{}}
	f := &found{catalog: rules.NewCatalog(config), complete: true}
	for _, rule := range config.Rules {
		if rule.SeriesQuery() != "" {
			f.complete = false
		}
	}
	d.known.Store(f)
	return d
}

func (d *discovery) catalog() *rules.Catalog { return d.known.Load().catalog }

// labelsOf implements the type of the same name.
func (d *discovery) labelsOf(ref seriesRef) (map[string]bool, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.labels[ref]
	if l == nil || !l.ok {
		return nil, false
	}
	return l.labels, true
}

// untried says that a series' labels, which a plan did not know, may still come: only a look-up that failed ends the
// waiting. One that ended well after the plan was made counts as still to come, since the next plan will know it.
func (d *discovery) untried(ref seriesRef) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.labels[ref]
	return l == nil || l.ok || !l.failed
}

// failure says why it is not known whether a rule gives a metric: a look-up of these series' labels failed, or one of a
// rule's names did. nil while one has not ended.
func (d *discovery) failure(refs []seriesRef) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var failed error
	look := func(l *lookup) (ended bool) {
		if l == nil || !l.ok && !l.failed {
			return false
		}
		if failed == nil && !l.ok {
			failed = l.err
		}
		return true
	}
	for _, ref := range refs {
		if !look(d.labels[ref]) {
			return nil
		}
	}
	for _, l := range d.names {
		if !look(l) {
			return nil
		}
	}
	return failed
}

// askedWhole says that every rule that may give a key is asked for whole namespaces.
func (d *discovery) askedWhole(key store.Key, resources rules.Resources) bool {
	f := d.known.Load()
	if whole, ok := f.whole.Load(key); ok {
		return whole.(bool)
	}
	candidates := f.catalog.Candidates(key.Kind, key.Resource, key.Metric, resources)
	whole := allBatch(candidates)
	if len(candidates) > 0 { // unknown names must not pile up here
		f.whole.Store(key, whole)
	}
	return whole
}

// everything lists the metrics of all series whose labels are known.
func (d *discovery) everything(resources rules.Resources) []rules.Entry {
	return d.catalog().Metrics(resources, func(rule *rules.Rule, series string) []string {
		labels, _ := d.labelsOf(seriesRef{rule, series})
		return slices.Sorted(maps.Keys(labels))
	})
}

// unlabelled are the series whose labels have never been looked up.
func (d *discovery) unlabelled(resources rules.Resources) []seriesRef {
	var refs []seriesRef
	d.catalog().Metrics(resources, func(rule *rules.Rule, series string) []string {
		ref := seriesRef{rule, series}
		if _, known := d.labelsOf(ref); !known && rule.Kind == rules.Custom {
			refs = append(refs, ref)
		}
		return nil
	})
	return refs
}

// suspect asks for names to be looked up again before the relist: a wanted metric has no series.
func (d *discovery) suspect() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.early = true
}

// nameQuery is what one request for series names asks.
type nameQuery struct{ backend, match string }

func (q nameQuery) id() string { return q.backend + "\x00" + q.match }

// due picks the look-ups to make now and marks them as running. Only a new round repeats those that failed, or one that
// fails at once would be repeated without end.
func (d *discovery) due(needs []seriesRef, relist time.Duration, newRound bool, now time.Time) (names map[nameQuery][]*rules.Rule, labels []seriesRef) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[nameQuery][]*rules.Rule{}
	for _, rule := range d.config.Rules {
		if match := rule.SeriesQuery(); match != "" {
			q := nameQuery{rule.Backend, match}
			all[q] = append(all[q], rule)
		}
	}
	names = map[nameQuery][]*rules.Rule{}
	for q, of := range all {
		l := d.names[q.id()]
		if l == nil {
			l = &lookup{}
			d.names[q.id()] = l
		}
		if l.begin(now, relist, d.early, newRound) {
			names[q] = of
		}
	}
	d.early = false
	for _, ref := range needs {
		l := d.labels[ref]
		if l == nil {
			l = &lookup{}
			d.labels[ref] = l
		}
		if l.begin(now, relist, false, newRound) {
			labels = append(labels, ref)
		}
	}
	for ref, l := range d.labels { // those in use are refreshed too
		if l.ok && l.begin(now, relist, false, newRound) {
			labels = append(labels, ref)
		}
	}
	return names, labels
}

func (l *lookup) begin(now time.Time, relist time.Duration, early, newRound bool) bool {
	age := now.Sub(l.at)
	due := l.at.IsZero() || age >= relist || age >= againAfter && (early || l.failed) || newRound && l.failed && !l.ok
	if l.running || !due {
		return false
	}
	l.running, l.at = true, now
	return true
}

// namesFound takes the answer of a name look-up. A failed one, or an empty one, changes nothing that is known: an empty
// answer of a Prometheus that has just started must not make metrics vanish.
func (d *discovery) namesFound(q nameQuery, of []*rules.Rule, names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.names[q.id()]
	l.running, l.failed, l.err = false, err != nil, err
	if err != nil {
		return
	}
	first := !l.ok
	l.ok = true
	if len(names) == 0 && !first {
		return
	}
	f := d.known.Load()
	series := make(map[*rules.Rule][]string, len(of))
	for _, rule := range of {
		series[rule] = names
	}
	next := &found{catalog: f.catalog.With(series), complete: true}
	for _, rule := range d.config.Rules {
		if match := rule.SeriesQuery(); match != "" {
			if l := d.names[nameQuery{rule.Backend, match}.id()]; l == nil || !l.ok {
				next.complete = false
			}
		}
	}
	d.known.Store(next)
}

func (d *discovery) labelsFound(ref seriesRef, names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.labels[ref]
	l.running, l.failed, l.err = false, err != nil, err
	if err != nil || len(names) == 0 && l.ok {
		return
	}
	l.labels = make(map[string]bool, len(names))
	for _, name := range names {
		l.labels[name] = true
	}
	// A series without labels is one that is gone for now: look again soon.
	l.ok, l.failed = true, len(names) == 0
}

// discover makes the look-ups that are due, in the background.
func (c *Collector) discover(ctx context.Context, s *source, needs []seriesRef, newRound bool, now time.Time) {
	names, labels := s.discovery.due(needs, c.RelistInterval, newRound, now)
	for q, of := range names {
		c.lookUp(ctx, s, q.backend, func(ctx context.Context, b *backend) error {
			found, err := b.Querier.SeriesNames(ctx, rules.Narrow(q.match, b.MatchLabels), c.MaxAge)
			s.discovery.namesFound(q, of, found, err)
			return err
		}, func(err error) { s.discovery.namesFound(q, of, nil, err) })
	}
	for _, ref := range labels {
		c.lookUp(ctx, s, ref.rule.Backend, func(ctx context.Context, b *backend) error {
			found, err := b.Querier.LabelNames(ctx, selectorOf(ref.series, b.MatchLabels), c.MaxAge)
			s.discovery.labelsFound(ref, found, err)
			return err
		}, func(err error) { s.discovery.labelsFound(ref, nil, err) })
	}
}

// selectorOf selects a series by name and by the backend's own labels. The series query's other matchers are left out: a
// label too many only means that a query is asked which finds nothing.
func selectorOf(series string, matchLabels map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{__name__=%q", series)
	for _, name := range slices.Sorted(maps.Keys(matchLabels)) {
		fmt.Fprintf(&b, ",%s=%q", name, matchLabels[name])
	}
	b.WriteByte('}')
	return b.String()
}

// lookUp runs one look-up; refused is called instead where the backend does not exist. What is learned may make wants
// plannable, and what is not to be learned is no longer waited for, so it ends with a kick.
func (c *Collector) lookUp(ctx context.Context, s *source, name string, ask func(context.Context, *backend) error, refused func(error)) {
	b := s.backends[name]
	if b == nil {
		refused(fmt.Errorf("backend %s is not usable", name))
		return
	}
	c.work.Go(func() {
		select {
		case b.slots <- struct{}{}:
			defer func() { <-b.slots }()
		case <-ctx.Done():
			refused(ctx.Err())
			return
		}
		err := b.answers(c.now(), func() error { return ask(ctx, b) })
		if ctx.Err() != nil {
			return
		}
		c.Observer.Discovered(b.Name, err)
		if err != nil {
			c.rounds.Add(1) // an attempt was made, and failed: the process is as ready as it can be
		}
		c.Kick()
	})
}
