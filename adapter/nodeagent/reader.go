package nodeagent

import (
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm/stream"
)

// picture is what an agent's last message left. It is immutable.
type picture struct {
	node     string
	interval time.Duration
	values   []value
	received time.Time
	zero     time.Time // of the agent's clock, by ours: with it, what was measured when is as old as it is
	missing  int       // metrics of pods that have numbers of some devices only
}

// reader turns one stream's messages into pictures.
type reader struct {
	began   time.Time // the zero of the receiver's clock
	decoder *stream.Decoder
	delays  lag
	made    []formula
	missing int
}

func newReader(began time.Time) *reader { return &reader{began: began, decoder: stream.NewDecoder()} }

// take is the picture after one more message, and how long the message was under way.
func (r *reader) take(u *stream.Update, received time.Time) (*picture, time.Duration, error) {
	if err := r.decoder.Apply(u); err != nil {
		return nil, 0, err
	}
	if len(u.GetOpened())+len(u.GetClosed()) > 0 {
		r.made, r.missing = formulas(r.decoder.Each)
	}
	sent := time.Duration(u.GetSentNanos())
	delay := r.delays.of(sent, received.Sub(r.began))
	p := &picture{
		node: r.decoder.Node, interval: r.decoder.Interval, received: received, zero: received.Add(-delay - sent),
		values: make([]value, 0, len(r.made)), missing: r.missing,
	}
	for i := range r.made {
		if v, is := r.made[i].evaluate(); is {
			p.values = append(p.values, v)
		}
	}
	return p, delay, nil
}
