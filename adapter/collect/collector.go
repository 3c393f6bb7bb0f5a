package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

const (
	// askTogether bounds the queries under way at one backend: enough to hide its latency, few enough not to be its load.
	askTogether = 8
	// answerWait is how long the first request for a key waits for its collection. The HPA's other metrics wait behind
	// it, so it is short against the HPA's period of 15 s.
	answerWait = 2 * time.Second
)

// Observer is told what happened; the app counts and logs it.
type Observer interface {
	// Collected reports one unit: its rows (with those of the age query's value side only), rows without a usable number
	// by cause, and the error if there was no answer.
	Collected(backend, rule string, took time.Duration, rows int, invalid map[store.Cause]int, err error)
	// Discovered reports one look-up of series names or labels.
	Discovered(backend string, err error)
}

// Backend is a Querier with the label matchers that every query to it carries. Several names may stand for one backend,
// such as its own and "", the one of rules that name none: then their Backends are equal in Name and Querier.
type Backend struct {
	Name        string
	Querier     Querier
	MatchLabels map[string]string
}

// Options are what a Collector stands on. All fields are needed.
type Options struct {
	Store     *store.Store
	Wanted    *Wanted
	Resources rules.Resources
	Objects   Objects
	Observer  Observer
	// DefaultStaleness is the age past which values are absent where a rule says nothing.
	DefaultStaleness time.Duration
	// RelistInterval is how old the knowledge of which series exist may get; MaxAge how far back a series counts as existing.
	RelistInterval, MaxAge time.Duration
	// FullDiscovery looks up the labels of every series, so that Everything can list what nobody wants yet.
	FullDiscovery bool
}

// Collector keeps the store filled with what is wanted. It is safe for concurrent use; Tick starts the work.
type Collector struct {
	Options
	now    func() time.Time
	source atomic.Pointer[source]
	kick   chan struct{}
	rounds atomic.Int64 // units finished, answered or not

	mu      sync.Mutex
	running map[string]bool // ids of units under way
	work    sync.WaitGroup
}

// source is what a configuration gives: replaced whole when it is reloaded.
type source struct {
	backends  map[string]*backend
	config    *rules.Config
	discovery *discovery
}

type backend struct {
	Backend
	slots chan struct{}
	// timedOut is set while the last query got no answer in time: then no request waits for the next.
	timedOut atomic.Bool
	// busySince is since when the backend has had queries and finished none, in unix nanoseconds; 0 when it is idle.
	busySince atomic.Int64
}

// answers asks the backend something and remembers whether it answers in time.
func (b *backend) answers(start time.Time, ask func() error) error {
	b.busySince.CompareAndSwap(0, start.UnixNano())
	err := ask()
	b.busySince.Store(0)
	b.timedOut.Store(errors.Is(err, context.DeadlineExceeded))
	return err
}

// New makes a collector without a configuration; Use gives it one.
func New(o Options) *Collector {
	return &Collector{Options: o, now: time.Now, kick: make(chan struct{}, 1), running: map[string]bool{}}
}

// Use makes a configuration the one that is collected. What is in the store stays and ages, so that nothing is missing
// between the old rules' last answer and the new ones' first.
func (c *Collector) Use(config *rules.Config, backends map[string]Backend) {
	s := &source{config: config, backends: make(map[string]*backend, len(backends))}
	made := map[string]*backend{}
	for name, b := range backends {
		if made[b.Name] == nil {
			made[b.Name] = &backend{Backend: b, slots: make(chan struct{}, askTogether)}
		}
		s.backends[name] = made[b.Name]
	}
	s.discovery = newDiscovery(config)
	c.source.Store(s)
	c.Kick()
}

// Kick asks for a tick that collects what has never been tried. Kicked is where the app hears it.
func (c *Collector) Kick() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// Kicked signals that a tick with onlyNew is due.
func (c *Collector) Kicked() <-chan struct{} { return c.kick }

// Attempted says whether any collection has finished, answered or not.
func (c *Collector) Attempted() bool { return c.rounds.Load() > 0 }

// Catalog is the present set of rules and the series found for them; nil before the first configuration.
func (c *Collector) Catalog() *rules.Catalog {
	if s := c.source.Load(); s != nil {
		return s.discovery.catalog()
	}
	return nil
}

// Listed are the wants that a rule has answered for: what discovery shows.
func (c *Collector) Listed() []Want {
	wants, _ := c.Wanted.All()
	return slices.DeleteFunc(wants, func(want Want) bool {
		view := c.Store.View(c.tableOf(want).Key)
		return view == nil || !view.Answered()
	})
}

// Everything lists all metrics that the rules give from the series found so far.
func (c *Collector) Everything() []rules.Entry {
	s := c.source.Load()
	if s == nil {
		return nil
	}
	return s.discovery.everything(c.Resources)
}

// Tick starts every unit that is due and not still under way, and returns without waiting for any. With onlyNew it
// starts only those that feed a key which was never tried.
func (c *Collector) Tick(ctx context.Context, onlyNew bool) {
	s := c.source.Load()
	if s == nil {
		return
	}
	now := c.now()
	c.Wanted.Expire(now)
	wants, version := c.Wanted.All()
	known := s.discovery.known.Load() // the series and whether those are all must be of one moment
	p := makePlan(wants, known.catalog, known.complete, s.discovery.labelsOf, c.Resources)
	for _, key := range p.unknown {
		c.Store.Fail(key, store.Source{}, &store.Absence{Cause: store.NoRule}, now)
	}
	if len(p.unknown) > 0 || c.anyEmpty(p.units) {
		s.discovery.suspect() // the series that will give it may just have appeared
	}
	if c.FullDiscovery {
		p.needs = append(p.needs, s.discovery.unlabelled(c.Resources)...)
	}
	c.discover(ctx, s, p.needs, !onlyNew, now)
	for _, key := range p.open {
		if err := s.discovery.failure(p.awaits[key]); err != nil {
			c.Store.Fail(key, store.Source{}, err, now)
		}
	}
	c.expect(s, p)
	tables := map[store.Key]bool{}
	for _, u := range p.units {
		for _, f := range u.feeds {
			tables[f.table], tables[f.want.Key] = true, true
		}
		if !onlyNew || c.feedsNew(u) {
			c.start(ctx, s, u, version)
		}
	}
	if onlyNew {
		return
	}
	for _, want := range wants { // those that cannot be planned at the moment too: their last good values count
		whole := want.Key
		whole.Objects = ""
		tables[want.Key], tables[whole] = true, true
	}
	c.Store.Retain(func(key store.Key) bool { return tables[key] })
}

// Wait returns once no unit is under way.
func (c *Collector) Wait() { c.work.Wait() }

// feedsNew says that a unit feeds a key which has never been tried at this source. That another source has been tried is
// not enough: the unit may have been under way for others when the key was first wanted.
func (c *Collector) feedsNew(u *unit) bool {
	for _, f := range u.feeds {
		if view := c.Store.View(f.table); view == nil || !view.Complete() && !view.Tried(u.source(f).Name) {
			return true
		}
	}
	return false
}

// labelsOfSeries is expected of a key, as if it were a source, while it is not known whether a series gives the key.
const labelsOfSeries = "labels of a series"

// expect tells the store which rules give a key that has not been complete yet.
func (c *Collector) expect(s *source, p plan) {
	sources := map[store.Key][]string{}
	fresh := func(key store.Key) bool {
		view := c.Store.View(key)
		return view == nil || !view.Answered()
	}
	for _, u := range p.units {
		for _, f := range u.feeds {
			if fresh(f.table) {
				sources[f.table] = append(sources[f.table], u.source(f).Name)
			}
		}
	}
	for key, refs := range p.awaits {
		if fresh(key) && slices.ContainsFunc(refs, s.discovery.untried) {
			sources[key] = append(sources[key], labelsOfSeries)
		}
	}
	for _, key := range slices.Concat(p.unknown, p.open) {
		if _, awaited := sources[key]; !awaited {
			sources[key] = nil
		}
	}
	for key, names := range sources {
		c.Store.Expect(key, names)
	}
}

// anyEmpty says that a want has rules and yet no value at all.
func (c *Collector) anyEmpty(units []*unit) bool {
	for _, u := range units {
		for _, f := range u.feeds {
			if view := c.Store.View(f.table); view != nil && view.Empty() {
				return true
			}
		}
	}
	return false
}

// start runs a unit in the background, unless it is running already. version is that of the wants it was planned for.
func (c *Collector) start(ctx context.Context, s *source, u *unit, version uint64) {
	b := s.backends[u.rule.Backend]
	if b == nil { // the configuration was checked; this is a rule of a backend that could not be built
		for _, f := range u.feeds {
			c.Store.Fail(f.table, u.source(f), fmt.Errorf("backend %s is not usable", u.rule.Backend), c.now())
		}
		return
	}
	c.mu.Lock()
	if c.running[u.id] {
		c.mu.Unlock()
		return
	}
	c.running[u.id] = true
	c.mu.Unlock()
	c.work.Go(func() {
		select {
		case b.slots <- struct{}{}:
			c.collect(ctx, s, b, u)
			<-b.slots
		case <-ctx.Done():
		}
		c.mu.Lock()
		delete(c.running, u.id)
		c.mu.Unlock()
		c.rounds.Add(1)
		if c.Wanted.Version() != version {
			c.Kick() // wants that came while this unit was under way could not join it, and it can be started again now
		}
	})
}

func (c *Collector) collect(ctx context.Context, s *source, b *backend, u *unit) {
	start := c.now()
	var a answer
	err := b.answers(start, func() (err error) {
		a, err = u.run(ctx, b.Querier, b.MatchLabels, c.Resources, c.Objects)
		return err
	})
	now := c.now()
	if ctx.Err() != nil || c.source.Load() != s {
		return // stopping, or the rules have changed under the question
	}
	if err != nil {
		for _, f := range u.feeds {
			c.Store.Fail(f.table, u.source(f), err, now)
		}
		c.Observer.Collected(b.Name, u.rule.Name, now.Sub(start), 0, nil, err)
		return
	}
	rows, invalid := a.readings(now)
	u.deliver(a.query, rows, c.terms(u.rule, a.query), c.Store, now)
	c.Observer.Collected(b.Name, u.rule.Name, now.Sub(start), len(rows), invalid, nil)
}

func (c *Collector) terms(rule *rules.Rule, query rules.Query) store.Terms {
	terms := store.Terms{
		Window: query.Window, MaxStaleness: rule.MaxStaleness,
		FailPartial: rule.Partial == rules.Fail, EmptyIsZero: rule.EmptyIsZero,
	}
	if terms.MaxStaleness == 0 {
		terms.MaxStaleness = c.DefaultStaleness
	}
	return terms
}
