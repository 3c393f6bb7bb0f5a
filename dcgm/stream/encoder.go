package stream

import (
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Tolerance is how far a ratio may move without being sent: a controller that holds a target of 70 % with a tolerance of 10 % of it does
// not see half a hundredth.
const Tolerance = 0.005

// toleranceBytes is the same for memory: what one allocation of a caching allocator is at least.
const toleranceBytes = 2 << 20

// State is what an agent knows at one moment. It is immutable.
type State struct {
	Readings []dcgm.PodReading // those without a number are as good as not there
}

// Encoder makes the messages of one stream. It is not safe for concurrent use.
type Encoder struct {
	node     string
	interval time.Duration
	start    time.Time // of the agent: the zero of its clock
	round    uint64
	last     uint32 // id
	open     map[key]*sent
}

// key is all that tells one series from another. A reading of another quality is another quantity, so it is another series.
type key struct {
	pod        dcgm.Pod
	slice      dcgm.Slice
	generation uint64
	signal     dcgm.Signal
	basis      dcgm.Basis
	sharing    dcgm.Sharing
	source     dcgm.Source
	quality    dcgm.Quality
}

// sent is what the reader holds of a series.
type sent struct {
	id    uint32
	value float64
	at    time.Time
	round uint64 // in which it was last there
}

// NewEncoder begins a stream. start is when the agent began, by time.Now, so that it never steps.
func NewEncoder(node string, interval time.Duration, start time.Time) *Encoder {
	return &Encoder{node: node, interval: interval, start: start, open: map[key]*sent{}}
}

// Update is the message that brings a reader from what it holds to s.
func (e *Encoder) Update(s State, now time.Time) *Update {
	u := &Update{WallNanos: now.UnixNano(), SentNanos: int64(now.Sub(e.start))}
	if e.round == 0 {
		u.Node, u.IntervalNanos = e.node, int64(e.interval)
	}
	e.round++
	measured := now
	for i := range s.Readings {
		r := &s.Readings[i]
		if !r.Valid() {
			continue
		}
		k := key{r.Pod, r.Slice, r.Generation, r.Signal, r.Basis, r.Sharing, r.Source, r.Quality}
		held := e.open[k]
		switch {
		case held == nil:
			e.last++
			e.open[k] = &sent{id: e.last, value: r.Value, at: r.At, round: e.round}
			u.Opened = append(u.Opened, describe(e.last, r, now))
			continue
		case held.round == e.round: // told twice: the first counts
			continue
		case r.At.After(held.at):
			if r.At.Before(measured) {
				measured = r.At
			}
			held.at = r.At
		default:
			u.Kept = append(u.Kept, held.id)
		}
		if moved(r.Signal, held.value, r.Value) { // of what was kept too: whose part it is may be known better by now
			held.value = r.Value
			u.Changed, u.Values = append(u.Changed, held.id), append(u.Values, r.Value)
		}
		held.round = e.round
	}
	for k, held := range e.open {
		if held.round != e.round {
			u.Closed = append(u.Closed, held.id)
			delete(e.open, k)
		}
	}
	u.MeasuredNanos = int64(measured.Sub(e.start))
	return u
}

func describe(id uint32, r *dcgm.PodReading, now time.Time) *Series {
	return &Series{
		Id: id, Namespace: r.Pod.Namespace, Pod: r.Pod.Name, PodUid: r.Pod.UID, Container: r.Pod.Container, Slice: r.Slice.String(), Generation: r.Generation,
		Signal: r.Signal.String(), Basis: r.Basis.String(), Sharing: r.Sharing.String(), Source: r.Source.String(), Quality: r.Quality.String(),
		Value: r.Value, AgeNanos: int64(max(0, now.Sub(r.At))),
	}
}

// moved says that a number is to be sent.
func moved(signal dcgm.Signal, held, now float64) bool {
	tolerance := Tolerance
	if signal.Bytes() {
		tolerance = toleranceBytes
	}
	return math.Abs(now-held) > tolerance || (held == 0) != (now == 0)
}
