package forecaster

import (
	"math"
	"time"
)

// seasons is what the wall clock tells. Tables are indexed by wall-clock phase, not by age, so a gap or a clock change
// leaves them right: after a DST change the phases of the lost hour keep what they had, and those of the doubled hour are
// written twice. Single precision: a week of minutes is 40 KiB.
type seasons struct {
	cell   time.Duration // width of a phase: the step, but at least a minute
	perDay int
	week   []float32 // the last demand seen in each phase of the week (the largest within the phase), NaN before
	shape  []float32 // mean over days by phase of the day, NaN before
	offset []float32 // additive Holt-Winters season by phase of the day
	phase  int       // of the last bin written, -1 at first
}

// minCell is the finest phase that is kept.
const minCell = time.Minute

func newSeasons(step time.Duration) seasons {
	cell := max(step, minCell)
	perDay := max(1, int(24*time.Hour/cell))
	s := seasons{
		cell: cell, perDay: perDay, phase: -1,
		week: make([]float32, 7*perDay), shape: make([]float32, perDay), offset: make([]float32, perDay),
	}
	for i := range s.week {
		s.week[i] = float32(math.NaN())
	}
	for i := range s.shape {
		s.shape[i] = float32(math.NaN())
	}
	return s
}

// phaseAt is the phase of the week at t on the clocks of zone; 0 is Thursday 00:00, as 1970 began.
func (s *seasons) phaseAt(t time.Time, zone *time.Location) int {
	_, east := t.In(zone).Zone()
	const week = int64(7 * 24 * 3600)
	in := (t.Unix() + int64(east)) % week
	if in < 0 {
		in += week
	}
	return int(in*int64(time.Second)/int64(s.cell)) % len(s.week)
}

// cells is how many phases n bins of the step touch, at most a day.
func (s *seasons) cells(n int, step time.Duration) int {
	return min(s.perDay, max(1, int((time.Duration(n)*step+s.cell-1)/s.cell)))
}

// peak is the largest value over the n phases from on, NaN if all are unknown.
func peak(table []float32, from, n int) float64 {
	m := float32(math.Inf(-1))
	if over := from + n - len(table); over > 0 {
		for _, v := range table[:over] {
			if v > m {
				m = v
			}
		}
		n -= over
	}
	for _, v := range table[from : from+n] {
		if v > m {
			m = v
		}
	}
	if m == float32(math.Inf(-1)) {
		return math.NaN()
	}
	return float64(m)
}

// or is x, or otherwise where x is unknown.
func or(x, otherwise float64) float64 {
	if math.IsNaN(x) {
		return otherwise
	}
	return x
}
