package collect

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// Want is a key with its metric selector in the form the rules take it.
type Want struct {
	Key      store.Key
	Selector rules.Selector
}

// keptWarm is how long a key is collected after the last request for it. A controller-manager whose client limit is
// exhausted asks for each of 1,000 metrics every 50 s; three times that forgives two lost rounds.
const keptWarm = 150 * time.Second

// Wanted is the set of keys worth collecting: those that standing objects (HPAs) name, and those asked for lately.
type Wanted struct {
	limit int

	mu       sync.RWMutex
	standing map[string][]Want // by source, such as "HPA"
	asked    map[store.Key]*ask
	all      map[store.Key]rules.Selector // the union, at most limit
	over     int                          // wants that found no room
	version  uint64                       // changes when a want is added
}

type ask struct {
	want Want
	last atomic.Int64 // unix nanoseconds
}

// TooManyError says that the limit of wanted keys is reached.
type TooManyError struct{ Limit int }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("already %d metrics are wanted, the most that --max-wanted allows: raise it, or let HPAs share metrics", e.Limit)
}

// NewWanted keeps at most limit keys.
func NewWanted(limit int) *Wanted {
	return &Wanted{limit: limit, standing: map[string][]Want{}, asked: map[store.Key]*ask{}, all: map[store.Key]rules.Selector{}}
}

// SetStanding replaces what one source wants and reports whether that brought keys that were not wanted before.
func (w *Wanted) SetStanding(source string, wants []Want) (grew bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.standing[source] = wants
	return w.unite()
}

// Ask notes a request for a want whose table is that of another, wider one or its own. A standing want needs no noting.
// It reports whether the table is of a want that nobody had.
func (w *Wanted) Ask(key store.Key, table Want, now time.Time) (isNew bool, err error) {
	if w.touch(key, table.Key, now) {
		return false, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.all[table.Key]; known {
		return false, nil // somebody was faster
	}
	if len(w.all) >= w.limit {
		return false, &TooManyError{Limit: w.limit}
	}
	a := &ask{want: table}
	a.last.Store(now.UnixNano())
	w.asked[table.Key] = a
	w.all[table.Key] = table.Selector
	w.version++
	return true, nil
}

// touch keeps an asked want warm without the write lock; it is on the path of every answer.
func (w *Wanted) touch(key, table store.Key, now time.Time) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if a, ok := w.asked[table]; ok {
		a.last.Store(now.UnixNano())
		return true
	}
	_, standing := w.all[key]
	if !standing {
		_, standing = w.all[table]
	}
	return standing
}

// Expire drops keys that nobody asked for lately.
func (w *Wanted) Expire(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	expired := false
	for key, a := range w.asked {
		if now.Sub(time.Unix(0, a.last.Load())) > keptWarm {
			delete(w.asked, key)
			expired = true
		}
	}
	if expired {
		w.unite()
	}
}

// All returns the wanted keys in no particular order, and a version that changes when one is added.
func (w *Wanted) All() ([]Want, uint64) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	wants := make([]Want, 0, len(w.all))
	for key, selector := range w.all {
		wants = append(wants, Want{Key: key, Selector: selector})
	}
	return wants, w.version
}

// Version changes when a want is added.
func (w *Wanted) Version() uint64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.version
}

// Overflow is how many wants found no room under the limit.
func (w *Wanted) Overflow() int {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.over
}

// unite builds the union. What is already collected stays before what is new, so that a flood of new HPAs does not push
// out metrics that others scale on.
func (w *Wanted) unite() (grew bool) {
	before := w.all
	w.all = make(map[store.Key]rules.Selector, len(before))
	w.over = 0
	var fresh []Want
	each := func(want Want) {
		if _, had := before[want.Key]; had {
			w.all[want.Key] = want.Selector
		} else {
			fresh = append(fresh, want)
		}
	}
	for _, wants := range w.standing {
		for _, want := range wants {
			each(want)
		}
	}
	for _, a := range w.asked {
		each(a.want)
	}
	slices.SortFunc(fresh, func(a, b Want) int { return compareKeys(a.Key, b.Key) }) // the same ones fit every time
	for _, want := range fresh {
		if _, twice := w.all[want.Key]; twice {
			continue
		}
		if len(w.all) >= w.limit {
			w.over++
			continue
		}
		w.all[want.Key] = want.Selector
		grew = true
	}
	if grew {
		w.version++
	}
	return grew
}
