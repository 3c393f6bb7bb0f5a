package agent

import "sync"

// hub keeps the newest view and wakes those that wait for one.
type hub struct {
	mu      sync.Mutex
	current *View
	next    chan struct{} // closed when current is replaced
}

func newHub() *hub { return &hub{next: make(chan struct{})} }

func (h *hub) publish(v *View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = v
	close(h.next)
	h.next = make(chan struct{})
}

// newest is the last view, nil before the first, and what ends when there is another.
func (h *hub) newest() (*View, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current, h.next
}
