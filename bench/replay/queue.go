package replay

import (
	"math"
	"time"
)

// queue is the line in front of the replicas, as a fluid: what is offered over a step comes evenly, is served first come first
// served at the rate that the Ready pods have, and goes away when it would wait longer than the patience. Waits are to the second.
type queue struct {
	patience int // steps; 0: for ever
	line     []parcel
	first    int

	arrived, served, lost, inLine float64
	waits                         waits
}

// parcel is one step's arrivals, and what is left of them.
type parcel struct {
	at            int
	arrived, left float64
}

func (q *queue) begin(s *Scenario) {
	q.patience = int((s.Patience + Step - 1) / Step)
	longest := 3600 // seconds that are told apart
	q.waits = waits{bins: make([]float64, longest+1)}
}

// step serves for one step.
func (q *queue) step(k int, offered, capacity float64) {
	q.arrived += offered
	if q.empty() && offered <= capacity {
		q.served += offered
		q.waits.add(0, offered)
		return
	}
	q.line = append(q.line, parcel{at: k, arrived: offered, left: offered})
	q.inLine += offered
	used := 0.0
	for q.first < len(q.line) && capacity > 0 {
		p := &q.line[q.first]
		take := min(p.left, capacity-used)
		if take > 0 {
			// The middle of what is taken arrived and is served at:
			arrived := float64(p.at) + (p.arrived-p.left+take/2)/p.arrived
			served := float64(k) + (used+take/2)/capacity
			q.waits.add(max(0, served-arrived)*stepSeconds, take)
			p.left -= take
			used += take
			q.served += take
			q.inLine -= take
		}
		if p.left > p.arrived*1e-12 {
			break
		}
		q.inLine -= p.left
		q.served += p.left
		q.first++
	}
	q.giveUp(k)
	if q.first > 64 && q.first*2 > len(q.line) {
		q.line = q.line[:copy(q.line, q.line[q.first:])]
		q.first = 0
	}
}

func (q *queue) empty() bool { return q.first == len(q.line) }

// byChance books a step without a backlog, whose waits somebody else books.
func (q *queue) byChance(offered float64) {
	q.arrived += offered
	q.served += offered
}

// giveUp takes out of the line who has waited for all of the patience.
func (q *queue) giveUp(k int) {
	if q.patience == 0 {
		return
	}
	for q.first < len(q.line) && q.line[q.first].at <= k-q.patience {
		q.lost += q.line[q.first].left
		q.inLine -= q.line[q.first].left
		q.first++
	}
}

// balance is how far arrivals are from what became of them, as a share.
func (q *queue) balance() float64 {
	waiting := 0.0
	for _, p := range q.line[q.first:] {
		waiting += p.left
	}
	return math.Abs(q.arrived-q.served-q.lost-waiting) / max(q.arrived, math.SmallestNonzeroFloat64)
}

// waits is how long how much of the served work waited, by the second.
type waits struct {
	bins []float64 // the last one holds what waited longer
	sum  float64
}

func (w *waits) add(seconds, amount float64) {
	w.bins[min(int(math.Ceil(seconds)), len(w.bins)-1)] += amount
	w.sum += amount
}

// quantile is the wait that a share p of the served work did not exceed.
func (w *waits) quantile(p float64) time.Duration {
	seen := 0.0
	for i, amount := range w.bins {
		if seen += amount; seen >= p*w.sum {
			return time.Duration(i) * time.Second
		}
	}
	return time.Duration(len(w.bins)-1) * time.Second
}
