package nvml

import (
	"sync"
	"time"
)

// A driver call that hangs sits in the kernel and cannot be cancelled.
const (
	HungAfter = 10 * time.Second // readings are absent; a walk of MIG devices under load may take that long and no more
	EndAfter  = 60 * time.Second // nobody has seen one come back after that
)

// watch knows which calls are under way.
type watch struct {
	mu    sync.Mutex
	calls [8]flight // one for each goroutine that calls at once; the agent has three
}

type flight struct {
	call  string
	since time.Time
}

func (w *watch) begin(call string, now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.calls {
		if w.calls[i].call == "" {
			w.calls[i] = flight{call, now}
			return i
		}
	}
	return -1 // more callers than ever meant; this one is not watched
}

func (w *watch) end(token int) {
	if token < 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[token] = flight{}
}

// oldest is the call that has been under way longest; "" when there is none.
func (w *watch) oldest() flight {
	w.mu.Lock()
	defer w.mu.Unlock()
	var oldest flight
	for _, f := range w.calls {
		if f.call != "" && (oldest.call == "" || f.since.Before(oldest.since)) {
			oldest = f
		}
	}
	return oldest
}

// Hang is how bad a call under way is.
type Hang struct {
	Call string // "" for none
	For  time.Duration
}

// Stale says that nothing read so far describes the present.
func (h Hang) Stale() bool { return h.Call != "" && h.For > HungAfter }

// Action is what it asks for.
func (h Hang) Action() Action {
	if h.Call != "" && h.For > EndAfter {
		return End
	}
	return Carry
}
