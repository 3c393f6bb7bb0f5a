package forecaster

import (
	"math"
	"time"
)

// seasons is what the wall clock tells. Tables are indexed by wall-clock phase, not by age, so a gap or a clock change
// leaves them right: after a DST change the phases of the lost hour keep what they had, and those of the doubled hour are
// written twice. A week of minutes is 20 KiB in half precision.
type seasons struct {
	cell   time.Duration // width of a phase: the step, but at least a minute
	perDay int
	week   []half    // the last demand seen in each phase of the week (the largest within the phase), NaN before
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
		week: make([]half, 7*perDay), shape: make([]float32, perDay), offset: make([]float32, perDay),
	}
	for i := range s.week {
		s.week[i] = halfNaN
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

// half is the upper half of a float32, rounded: 0.2 % apart at worst, the range of a float32. Numbers here are not negative,
// so their bits sort as they do, and NaN, all ones, is kept apart.
type half uint16

const halfNaN = half(0xffff)

func toHalf(x float64) half { return half((math.Float32bits(float32(x)) + 0x8000) >> 16) }

func (h half) float() float64 {
	if h == halfNaN {
		return math.NaN()
	}
	return float64(math.Float32frombits(uint32(h) << 16))
}

// peak is the largest value over the n phases from on, NaN if all are unknown.
func peak(table []float32, from, n int) float64 {
	m := float32(math.Inf(-1))
	for part := range wrapped(len(table), from, n) {
		for _, v := range table[part[0]:part[1]] {
			if v > m {
				m = v
			}
		}
	}
	if m == float32(math.Inf(-1)) {
		return math.NaN()
	}
	return float64(m)
}

// weekPeak is peak for the table of the week.
func (s *seasons) weekPeak(from, n int) float64 {
	m, any := half(0), false
	for part := range wrapped(len(s.week), from, n) {
		for _, v := range s.week[part[0]:part[1]] {
			if v != halfNaN {
				m, any = max(m, v), true
			}
		}
	}
	if !any {
		return math.NaN()
	}
	return m.float()
}

// wrapped yields the one or two stretches of a cyclic table that n entries from on make.
func wrapped(size, from, n int) func(func([2]int) bool) {
	return func(yield func([2]int) bool) {
		if over := from + n - size; over > 0 {
			if !yield([2]int{0, over}) {
				return
			}
			n -= over
		}
		yield([2]int{from, from + n})
	}
}

// or is x, or otherwise where x is unknown.
func or(x, otherwise float64) float64 {
	if math.IsNaN(x) {
		return otherwise
	}
	return x
}
