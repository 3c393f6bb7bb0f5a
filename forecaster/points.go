package forecaster

import (
	"math"
	"time"
)

// points fills s.point, but for the middle, and returns the smallest value of the last lead.
func (h *horizon) points(e *Engine, s *slot, phase int, from time.Time) (low float64) {
	l, p := &e.level, &s.point
	run, low := e.span(s.bin, h.lead)
	perDay := e.seasons.perDay
	n := e.seasons.cells(h.lead, e.opts.Step)
	today := phase % perDay
	yesterday := (phase + 6*perDay) % (7 * perDay)

	p[xLast], p[xRunMax], p[xHalf], p[xTenth], p[xSince] = l.last, run, l.half, l.tenth, l.since
	p[xWinters] = max(0, l.winters+or(peak(e.seasons.offset, today, n), 0))
	p[xDay] = or(e.seasons.weekPeak(yesterday, n), l.last)
	week := e.seasons.weekPeak(phase, n)
	p[xWeek] = or(week, p[xDay])
	p[xWeekShift] = max(0, or(week+l.shift, p[xWinters]))
	shape := peak(e.seasons.shape, today, n)
	p[xShape] = or(l.ratio*shape, l.last)
	p[xRootShape] = or(math.Sqrt(l.ratio)*shape, l.last)
	// TSB's chance and size of demand, for the maximum of a lead of bins taken as independent.
	p[xTSB] = l.busySize * (1 - math.Pow(1-l.busy, float64(h.lead)))
	h.regress(e, s, phase, yesterday)
	e.hints.points(h, s, from, e)
	return low
}

// regress is the ridge expert: the maximum over the lead from everything else that is known, in units of the level.
func (h *horizon) regress(e *Engine, s *slot, phase, yesterday int) {
	l, p := &e.level, &s.point
	run := p[xRunMax]
	p[xRidge] = run
	s.size = l.scale.value
	if s.size <= 0 || e.opts.Without&RidgeExpert != 0 {
		s.size = 0
		return
	}
	x := [ridgeInputs]float64{
		s.size, l.last, l.half, run, p[xDay], p[xWeek], p[xShape], p[xWinters], l.tenth, p[xWeekShift], p[xRootShape],
		or(e.seasons.week[yesterday].float(), l.last), or(e.seasons.week[phase].float(), l.last), l.e30, l.e120, l.e480,
		or(e.recent[e.ringAt(e.bin-int64(h.lead)+1)], run),
	}
	for i := range x {
		x[i] /= s.size
		s.inputs[i] = float32(x[i])
	}
	if h.ridge.seen > 0 {
		p[xRidge] = min(max(s.size*h.ridge.predict(x[:]), 0), 4*run)
	}
}

// span is the largest and smallest known value of the n bins up to bin; the last value if none is known. A bin of which
// only a lower bound is known counts as the last value where that is higher.
func (e *Engine) span(bin int64, n int) (high, low float64) {
	high, low = math.Inf(-1), math.Inf(1)
	for b := max(bin-int64(n)+1, e.bin-int64(len(e.recent))+1); b <= min(bin, e.bin); b++ {
		at := e.ringAt(b)
		v := e.recent[at]
		if e.bound[at] {
			v = max(v, e.level.last)
		}
		if v > high {
			high = v
		}
		if v < low {
			low = v
		}
	}
	if high < low {
		return e.level.last, e.level.last
	}
	return high, low
}
