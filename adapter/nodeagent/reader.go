package nodeagent

import (
	"sync"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm/stream"
)

// reader keeps what one stream has said. Messages and deliveries come from different goroutines.
type reader struct {
	began   time.Time // the zero of the receiver's clock
	decoder *stream.Decoder
	delays  lag

	mu       sync.Mutex // guards what follows, and the series behind the formulas
	made     []formula
	missing  int       // metrics of pods that have numbers of some devices only
	received time.Time // the last message
	zero     time.Time // of the agent's clock, by ours: with it, what was measured when is as old as it is
}

func newReader(began time.Time) *reader { return &reader{began: began, decoder: stream.NewDecoder()} }

// take reads one more message and says how long it was under way.
func (r *reader) take(u *stream.Update, received time.Time) (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.decoder.Apply(u); err != nil {
		return 0, err
	}
	if len(u.GetOpened())+len(u.GetClosed()) > 0 {
		r.made, r.missing = formulas(r.decoder.Each)
	}
	sent := time.Duration(u.GetSentNanos())
	delay := r.delays.of(sent, received.Sub(r.began))
	r.received, r.zero = received, received.Add(-delay-sent)
	return delay, nil
}

// who is the stream's node, and when it was last heard; no node before the first message.
func (r *reader) who() (node string, received time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.decoder.Node, r.received
}
