package forecaster

import "math"

// mean is an exponentially weighted mean in which the first values count equally, so that it has no bias from its start.
type mean struct{ weight, value float64 }

func (m *mean) add(x, rate float64) {
	m.weight = 1 + (1-rate)*m.weight
	m.value += (x - m.value) / m.weight
}

// rateOf is the rate of a mean with the given memory, both in minutes.
func rateOf(perUpdate, memory float64) float64 { return -math.Expm1(-perUpdate / memory) }

// levels is where demand stands now, in the unit of the series. Everything here is shared by all leads.
type levels struct {
	started  bool
	last     float64
	half     float64 // EWMA, gain 0.5 a step
	tenth    float64 // EWMA, gain 0.1 a step
	e30      float64 // EWMA, memory in minutes
	e120     float64
	e480     float64
	winters  float64 // level of the additive Holt-Winters, gain 0.3
	ratio    float64 // demand over the mean day at this phase
	shift    float64 // demand less that of a week ago, gain 0.2
	since    float64 // mean since the last change point
	sinceN   float64
	noise    float64 // mean |deviation| inside a stretch without change
	rough    mean    // |step to step|, an hour
	scale    mean    // the level over a day, for the regression
	busy     float64 // TSB: chance that a bin has demand
	busySize float64 // TSB: size of a bin with demand
	peaks    [8]float64
	peakDay  int64 // day number of peaks[peakDay mod 8]
}

const (
	// changeAt deviations of the usual size make a change point. 3.5 mean absolute deviations are 2.8 standard ones.
	changeAt = 3.5
	sinceMax = 20
	tsbRate  = 0.05 // Teunter, Syntetos and Babai 2011 use 0.05 to 0.2 for both
)

// start sets every level to the first value, so that nothing has to climb from zero.
func (l *levels) start(y float64) {
	l.started = true
	l.last, l.half, l.tenth, l.e30, l.e120, l.e480, l.winters, l.since = y, y, y, y, y, y, y, y
	l.ratio = 1
	l.busySize = y
	if y > 0 {
		l.busy = 1
	}
}

// learn takes a measured bin, or a lower bound above the last value, at the given phase of the week. minutes is the step.
func (l *levels) learn(y float64, phase int, s *seasons, minutes float64) {
	if !l.started {
		l.start(y)
	}
	l.rough.add(math.Abs(y-l.last), rateOf(minutes, 60))
	l.change(y)
	l.last = y
	l.half += 0.5 * (y - l.half)
	l.tenth += 0.1 * (y - l.tenth)
	l.e30 += rateOf(minutes, 30) * (y - l.e30)
	l.e120 += rateOf(minutes, 120) * (y - l.e120)
	l.e480 += rateOf(minutes, 480) * (y - l.e480)
	l.scale.add(y, rateOf(minutes, 1440))
	if y > 0 {
		l.busy += tsbRate * (1 - l.busy)
		l.busySize += 4 * tsbRate * (y - l.busySize)
	} else {
		l.busy -= tsbRate * l.busy
	}
	l.season(y, phase, s, minutes)
}

// season updates what depends on the wall clock. Several bins may fall in one phase: the week keeps their largest.
func (l *levels) season(y float64, phase int, s *seasons, minutes float64) {
	d := phase % s.perDay
	again := phase == s.phase
	if mean := float64(s.shape[d]); math.IsNaN(mean) {
		s.shape[d] = float32(y)
	} else {
		if mean > 0 {
			l.ratio = min(max(l.ratio+rateOf(minutes, 6)*(y/mean-l.ratio), 0), 5)
		}
		s.shape[d] += float32(0.4 * (y - mean))
	}
	l.winters += 0.3 * (y - float64(s.offset[d]) - l.winters)
	s.offset[d] += float32(0.2 * (y - l.winters - float64(s.offset[d])))
	w := s.week[phase].float()
	if again {
		s.week[phase] = toHalf(max(or(w, 0), y))
		return
	}
	if !math.IsNaN(w) {
		l.shift += 0.2 * (y - w - l.shift)
	}
	s.week[phase] = toHalf(y)
	s.phase = phase
}

// change keeps the mean since demand last moved by more than its noise.
func (l *levels) change(y float64) {
	if d := math.Abs(y - l.since); d > changeAt*l.noise {
		l.since, l.sinceN = y, 1
		l.noise = max(l.noise*1.05, d/100) // slowly give in to a noise that has grown; d/100 starts it
	} else {
		l.sinceN = min(l.sinceN+1, sinceMax)
		l.since += (y - l.since) / l.sinceN
		l.noise += 0.05 * (d - l.noise)
	}
}

// remember keeps the largest demand of each of the last 7 days and today.
func (l *levels) remember(y float64, day int64) {
	if gap := day - l.peakDay; gap > 0 {
		for i := int64(1); i <= min(gap, int64(len(l.peaks))); i++ {
			l.peaks[mod8(l.peakDay+i)] = 0
		}
		l.peakDay = day
	}
	p := &l.peaks[mod8(l.peakDay)]
	*p = max(*p, y)
}

func mod8(day int64) int { return int(day & 7) }

func (l *levels) peak7() float64 {
	m := 0.0
	for _, p := range l.peaks {
		m = max(m, p)
	}
	return m
}
