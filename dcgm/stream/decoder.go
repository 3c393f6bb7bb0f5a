package stream

import (
	"encoding"
	"fmt"
	"slices"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Bounds of a stream: 16 GPUs of 7 slices, each shared by 16 pods, with 10 numbers each, are 17,920 series.
const (
	MaxSeries   = 32_768
	MinInterval = 100 * time.Millisecond
	MaxInterval = time.Minute
)

// Held is what a reader holds of a series. Its At is the agent's wall clock's, for people.
type Held struct {
	dcgm.PodReading
	Measured time.Duration // when, on the agent's clock
}

// Decoder reads one stream. It is not safe for concurrent use.
type Decoder struct {
	Node     string
	Interval time.Duration
	series   map[uint32]*Held // nil for one that has a word not known here
	begun    bool
}

// NewDecoder waits for a stream's first message.
func NewDecoder() *Decoder { return &Decoder{series: map[uint32]*Held{}} }

// Apply takes the next message. After an error the stream means nothing any more: a new one must be opened.
func (d *Decoder) Apply(u *Update) error {
	if err := d.begin(u); err != nil {
		return err
	}
	sent, measured := time.Duration(u.GetSentNanos()), time.Duration(u.GetMeasuredNanos())
	if sent < 0 || measured > sent {
		return fmt.Errorf("measured at %s and sent at %s of the agent's clock", measured, sent)
	}
	if len(u.GetChanged()) != len(u.GetValues()) {
		return fmt.Errorf("%d numbers for %d series", len(u.GetValues()), len(u.GetChanged()))
	}
	for _, id := range u.GetClosed() {
		if _, known := d.series[id]; !known {
			return fmt.Errorf("series %d is closed and was never opened", id)
		}
		delete(d.series, id)
	}
	stand := make(map[uint32]bool, len(u.GetKept()))
	for _, id := range u.GetKept() {
		stand[id] = true
	}
	wall := time.Unix(0, u.GetWallNanos()).Add(measured - sent)
	for id, held := range d.series { // before the new ones, which bring a time of their own
		if held != nil && !stand[id] {
			held.Measured, held.At = measured, wall
		}
	}
	for i, id := range u.GetChanged() {
		held, known := d.series[id]
		switch {
		case !known:
			return fmt.Errorf("series %d changes and was never opened", id)
		case held == nil:
		default:
			if err := held.set(u.GetValues()[i]); err != nil {
				return err
			}
		}
	}
	return d.openAll(u, sent)
}

// begin reads what only the first message has.
func (d *Decoder) begin(u *Update) error {
	if d.begun {
		return nil
	}
	d.Node, d.Interval = u.GetNode(), time.Duration(u.GetIntervalNanos())
	switch {
	case d.Node == "":
		return fmt.Errorf("the first message names no node")
	case d.Interval < MinInterval, d.Interval > MaxInterval:
		return fmt.Errorf("interval %s: want %s to %s", d.Interval, MinInterval, MaxInterval)
	}
	d.begun = true
	return nil
}

func (d *Decoder) openAll(u *Update, sent time.Duration) error {
	for _, s := range u.GetOpened() {
		if _, twice := d.series[s.GetId()]; twice {
			return fmt.Errorf("series %d is opened twice", s.GetId())
		}
		if len(d.series) >= MaxSeries {
			return fmt.Errorf("more than %d series", MaxSeries)
		}
		held, err := read(s)
		if err != nil {
			return fmt.Errorf("series %d: %w", s.GetId(), err)
		}
		if held != nil {
			held.Measured = sent - time.Duration(s.GetAgeNanos())
			held.At = time.Unix(0, u.GetWallNanos()).Add(-time.Duration(s.GetAgeNanos()))
		}
		d.series[s.GetId()] = held
	}
	return nil
}

// read is a series as described; nil when it has a word of a newer agent.
func read(s *Series) (*Held, error) {
	var h Held
	h.Pod = dcgm.Pod{Namespace: s.GetNamespace(), Name: s.GetPod(), UID: s.GetPodUid(), Container: s.GetContainer()}
	h.Generation = s.GetGeneration()
	if h.Pod.Namespace == "" || h.Pod.Name == "" || s.GetAgeNanos() < 0 {
		return nil, fmt.Errorf("want a namespace, a pod and an age, got %q, %q, %s", h.Pod.Namespace, h.Pod.Name, time.Duration(s.GetAgeNanos()))
	}
	type word struct {
		text string
		into encoding.TextUnmarshaler
	}
	words := []word{{s.GetSlice(), &h.Slice}, {s.GetSignal(), &h.Signal}, {s.GetBasis(), &h.Basis}, {s.GetSharing(), &h.Sharing}, {s.GetSource(), &h.Source}, {s.GetQuality(), &h.Quality}}
	unknown := func(w word) bool { return w.text == "" || w.into.UnmarshalText([]byte(w.text)) != nil }
	if slices.ContainsFunc(words, unknown) {
		return nil, nil
	}
	return &h, h.set(s.GetValue())
}

// set takes a number that is one of its signal's, and refuses any other.
func (h *Held) set(value float64) error {
	var why dcgm.Absence
	if h.Signal.Bytes() {
		_, why = dcgm.Amount(value)
	} else {
		_, _, why = dcgm.Ratio(value, 0)
	}
	if why != 0 {
		return fmt.Errorf("%s of %s/%s: %v: %s", h.Signal, h.Pod.Namespace, h.Pod.Name, value, why)
	}
	h.Value = value
	return nil
}

// Each shows every series that is held, in no order.
func (d *Decoder) Each(show func(*Held)) {
	for _, held := range d.series {
		if held != nil {
			show(held)
		}
	}
}
