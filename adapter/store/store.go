package store

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// Key names one thing that somebody wants to know.
type Key struct {
	Kind      rules.Kind
	Namespace string         // "" for a metric of cluster-scoped objects
	Resource  rules.Resource // zero for External
	Metric    string
	Selector  string // the metric selector in canonical form; "" selects everything
	// Objects narrows a key whose rule cannot be asked for a whole namespace at once: an object's name, or a pod
	// selector behind SelectorPrefix. "" means all objects.
	Objects string
}

// SelectorPrefix marks Key.Objects as a selector; no object's name begins with it.
const SelectorPrefix = "?"

// Source is where a key's readings come from. Several may give the same metric (two exporters with the same preset name,
// a node agent and an exporter): an object takes its value from the best source that has a valid one for it, and a worse
// source takes over only once the better one's last good value is stale. They are never averaged.
type Source struct {
	Name string
	Rank int // 0 is the best
}

// Attempt is how the last try to collect a key from a source went.
type Attempt struct {
	At time.Time
	// Err is nil when the backend answered, whatever the answer held.
	Err error
}

// Store is the memory of one adapter. It is safe for concurrent use.
type Store struct {
	mu   sync.RWMutex
	keys map[Key]*entry
}

type entry struct {
	view  atomic.Pointer[View]
	once  sync.Once
	tried chan struct{} // closed once every source has been tried
	// writing makes one change at a time; it is held for a merge, never for a query.
	writing  sync.Mutex
	expected []string // sources that must have been tried before the key counts as tried
}

// New returns an empty store.
func New() *Store { return &Store{keys: map[Key]*entry{}} }

// View returns what is known about a key; nil when no attempt has finished.
func (s *Store) View(key Key) *View {
	if e := s.find(key); e != nil {
		return e.view.Load()
	}
	return nil
}

// Expect says which sources give a key, before they are asked: until each has been tried once, the first of them may hold
// half of the objects, and half an answer is a wrong one. A key that has answered goes on answering when sources are added.
func (s *Store) Expect(key Key, sources []string) {
	e := s.entry(key)
	e.writing.Lock()
	defer e.writing.Unlock()
	e.expected = sources
	view := e.view.Load()
	if view == nil || view.Answered() {
		return
	}
	next := *view
	next.complete = !slices.ContainsFunc(sources, view.lacks)
	e.view.Store(&next)
	if next.complete {
		e.once.Do(func() { close(e.tried) })
	}
}

// Tried returns a channel that is closed once the key has been tried at all its sources.
func (s *Store) Tried(key Key) <-chan struct{} { return s.entry(key).tried }

// Record takes one round's answer of a source for a key. Custom metrics are read per object name, External ones per
// RowName.
func (s *Store) Record(key Key, from Source, readings map[string]Reading, terms Terms, now time.Time) {
	s.entry(key).change(from, now, func(previous layer) layer {
		if key.Kind == rules.External {
			previous.table = mergeRows(previous.table, readings, terms, now)
		} else {
			previous.table = mergeObjects(previous.table, readings, terms, now)
		}
		previous.attempt = Attempt{At: now}
		return previous
	})
}

// Fail notes that a source could not be asked for a key. What was known stays.
func (s *Store) Fail(key Key, from Source, err error, now time.Time) {
	s.entry(key).change(from, now, func(previous layer) layer {
		previous.attempt = Attempt{At: now, Err: err}
		return previous
	})
}

// Retain forgets every key that keep refuses, so that the memory follows what is wanted.
func (s *Store) Retain(keep func(Key) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.keys {
		if !keep(key) {
			delete(s.keys, key)
		}
	}
}

// Keys is how many keys are kept.
func (s *Store) Keys() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.keys)
}

func (s *Store) find(key Key) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys[key]
}

func (s *Store) entry(key Key) *entry {
	if e := s.find(key); e != nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	if e == nil {
		e = &entry{tried: make(chan struct{})}
		s.keys[key] = e
	}
	return e
}

// change replaces one source's layer. Sources that have not been tried for so long that nothing of them can be fresh are
// dropped: their rule is gone.
func (e *entry) change(from Source, now time.Time, with func(layer) layer) {
	e.writing.Lock()
	defer e.writing.Unlock()
	var next View
	changed := layer{source: from}
	if previous := e.view.Load(); previous != nil {
		next.complete = previous.complete
		for _, l := range previous.layers {
			switch {
			case l.source.Name == from.Name:
				changed = l
				changed.source = from
			case l.source.Name == "": // "no rule" ends when a rule speaks
			case now.Sub(l.attempt.At) <= l.keptFor():
				next.layers = append(next.layers, l)
			}
		}
	}
	next.layers = append(next.layers, with(changed))
	slices.SortStableFunc(next.layers, func(a, b layer) int { return cmp.Compare(a.source.Rank, b.source.Rank) })
	next.complete = next.complete || !slices.ContainsFunc(e.expected, next.lacks)
	e.view.Store(&next)
	if next.complete {
		e.once.Do(func() { close(e.tried) })
	}
}
