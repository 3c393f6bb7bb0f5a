package forecaster

import (
	"math"
	"time"
)

// The experts' point forecasts of the maximum over the lead.
const (
	xLast = iota
	xRunMax
	xHalf
	xTenth
	xDay
	xWeek
	xShape
	xRootShape
	xWinters
	xWeekShift
	xRidge
	xSince
	xTSB
	xEvent
	xOutside
	xMiddle // the mixture's own median: the second stage
	points
)

// A cell is a point with one form of residual scale. Every point has the geometric mean of the plain and the modelled σ (a
// model shrunk half way to what needs no model); the middle has the modelled one as well.
const (
	cellMiddleModelled = points
	cells              = points + 1
	maxExperts         = cells
	firstStage         = xMiddle
)

var cellNames = [cells]string{
	"last", "running max", "ewma 0.5", "ewma 0.1", "day ago", "week ago", "level×shape", "√level×shape", "holt-winters",
	"week ago shifted", "ridge", "since change", "tsb", "event", "outside", "middle", "middle, modelled σ",
}

func pointOf(cell int) int { return min(cell, xMiddle) }

// Memories in minutes. They were chosen by powers of two or so on whole sets of traces, never for one.
const (
	sketchMemory   = 5000
	slowMemory     = 5000
	shortMemory    = 200
	largestMemory  = 800
	calMemory      = 10080
	spreadMemory   = 5000
	ridgeMemory    = 2000
	recordMemory   = 4320
	coverageMemory = 10080
	// calShrink: the conformal correction counts n/(n+calShrink), n being the independent labels beyond the quantile.
	calShrink = 10
)

const ridgeInputs = 17

// horizon is all the state of one lead.
type horizon struct {
	lead     int // bins
	stride   int // bins from one learned forecast to the next
	perLabel float64
	rates    labelRates

	rv60, rv240 mean // |change over the lead|
	scales      [points]scale
	sketches    [cells]sketch
	ridge       ridge
	first       []aggregator // of the middle: memories
	second      []aggregator // quantile-major: [quantile·memories + memory]
	spread      mean         // |label - middle|: the unit of regrets and corrections
	correction  []sketch     // per quantile, of (label - mixed)/unit
	reference   sketch       // last value + plain σ
	record      record
	labels      int

	slots []slot // forecasts without a label yet, a ring
	head  int
	count int
	now   slot // the forecast being made
}

// slot is one forecast, with what is needed to learn from it once its label is known.
type slot struct {
	bin     int64 // last complete bin when it was made
	usable  bool  // made from fresh data
	awake   uint64
	cell    int // hour of the day
	size    float64
	middle  float64
	unit    float64
	point   [points]float64
	logDay  [points]float32
	own     [points][scaleOwn]float32
	shared  [scaleShared]float32
	inputs  [ridgeInputs]float32
	sigma   [cells]float32
	refUnit float32
	q       []float32             // [cell·quantiles + quantile]
	mixed   [MaxQuantiles]float64 // before correction
	final   [MaxQuantiles]float64 // after it, ascending
	ref     [MaxQuantiles]float64
}

func (e *Engine) newHorizon(lead time.Duration) *horizon {
	n := int(lead / e.opts.Step)
	h := &horizon{lead: n, stride: strideOf(n)}
	h.perLabel = e.minutes * float64(h.stride)
	h.rates = newLabelRates(h.perLabel)
	nq := len(e.opts.Quantiles)
	for k := range h.scales {
		h.scales[k] = newScale(h.perLabel)
	}
	for c := range h.sketches {
		h.sketches[c] = newSketch(nq)
	}
	h.reference = newSketch(nq)
	h.ridge = newRidge(ridgeInputs, math.Exp(-h.perLabel/ridgeMemory), 100, 1e4)
	overlap := float64(h.lead) / float64(h.stride)
	if e.opts.Without&OverlapFactor != 0 {
		overlap = 1
	}
	memories := []float64{slowMemory, shortMemory}
	if e.opts.Without&ShortMemory != 0 {
		memories = memories[:1]
	}
	for _, m := range memories {
		h.first = append(h.first, newAggregator(firstStage, h.perLabel, m, largestMemory, overlap))
	}
	for range e.opts.Quantiles {
		for _, m := range memories {
			h.second = append(h.second, newAggregator(cells, h.perLabel, m, largestMemory, overlap))
		}
		h.correction = append(h.correction, newSketch(1))
	}
	h.slots = make([]slot, n/h.stride+1)
	for i := range h.slots {
		h.slots[i].q = make([]float32, cells*nq)
	}
	h.now.q = make([]float32, cells*nq)
	return h
}

// strideOf is how far apart the forecasts are that are learned from: three to seven to a lead. Neighbouring labels overlap,
// so more of them cost time and bring nothing. The strides are primes, and none but 3 divides a minute or an hour: else they would
// meet a rhythm of the data (a batch job every ten minutes) always at the same beat.
func strideOf(lead int) int {
	stride := 1
	for _, p := range [...]int{3, 7, 13, 29, 61, 127, 251} {
		if 10*lead >= 33*p {
			stride = p
		}
	}
	return stride
}

// absent are the experts that the options leave out.
func absent(p Part) uint64 {
	var off uint64
	drop := func(part Part, experts ...int) {
		if p&part != 0 {
			for _, x := range experts {
				off |= 1 << x
			}
		}
	}
	drop(SecondStage, xMiddle, cellMiddleModelled)
	drop(LearnedScale, cellMiddleModelled)
	drop(RidgeExpert, xRidge)
	drop(SeasonalExperts, xDay, xWeek, xShape, xRootShape, xWinters, xWeekShift)
	drop(WeekShift, xWeekShift)
	drop(LevelSinceChange, xSince)
	drop(TSB, xTSB)
	return off
}

// observed updates what depends on the last lead of bins.
func (h *horizon) observed(e *Engine, y float64) {
	if before := e.recent[e.ringAt(e.bin-int64(h.lead)+1)]; !math.IsNaN(before) {
		h.rv60.add(math.Abs(y-before), rateOf(e.minutes, 60))
		h.rv240.add(math.Abs(y-before), rateOf(e.minutes, 240))
	}
	if h.labels == 0 {
		size := guessRough*e.level.rough.value + guessLevel*e.level.scale.value
		for k := range h.scales {
			h.scales[k].expect(size)
		}
		h.spread = mean{4, size}
	}
}

// Before the first label, residuals are thought to be this many times the mean step from bin to bin, plus this share of the
// level. For a random walk the mean maximum of ten steps is three times the mean step, for noise 1.4 times.
const (
	guessRough = 1.5
	guessLevel = 0.05
)

// forecast fills h.now with the forecast made after e.bin, ahead bins of which are not known (0 when fresh).
func (h *horizon) forecast(e *Engine, from time.Time, ahead int64) {
	s := &h.now
	s.bin = e.bin + ahead
	gap := s.bin - e.known
	s.usable = gap == 0 && e.level.started
	s.awake = e.present
	phase := e.seasons.phaseAt(from, e.opts.Zone)
	s.cell = phase % e.seasons.perDay * timeCells / e.seasons.perDay
	low := h.points(e, s, phase, from)
	var shared [scaleShared]float64
	sharedLogs(&shared, h.scales[xRunMax].day.value, [scaleShared]float64{
		s.point[xRunMax], s.point[xRunMax] - low, h.rv60.value, h.rv240.value, e.level.rough.value,
		math.Abs(e.level.last - e.level.e120),
	})
	for i, v := range shared {
		s.shared[i] = float32(v)
	}
	// A gap of g bins before a lead of L: as for a random walk, the spread grows by √(1+g/L).
	widen := math.Sqrt(1 + float64(gap)/float64(h.lead))
	nq := len(e.opts.Quantiles)
	for k := range xMiddle {
		if s.awake>>k&1 != 0 {
			h.band(e, s, k, &shared, widen)
		}
	}
	s.middle = 0
	for i := range h.first {
		s.middle += h.first[i].mix(s.q[e.median:], nq, s.awake) / float64(len(h.first))
	}
	s.point[xMiddle] = s.middle
	h.band(e, s, xMiddle, &shared, widen)
	h.combine(e, s, widen)
}

// band computes the quantiles of one expert's cells.
func (h *horizon) band(e *Engine, s *slot, k int, shared *[scaleShared]float64, widen float64) {
	sc := &h.scales[k]
	plain := sc.plain()
	sigma, modelled := plain, plain
	if e.opts.Without&LearnedScale == 0 {
		var x [scaleFeatures]float64
		logDay := sc.features(&x, s.cell, math.Abs(s.point[k]-e.level.last), shared)
		modelled = sc.modelled(&x, logDay)
		sigma = math.Sqrt(plain * modelled)
		s.logDay[k] = float32(logDay)
		for i := range scaleOwn {
			s.own[k][i] = float32(x[1+i])
		}
	}
	if k == xTSB {
		// Between sessions every recent σ is nearly zero, and then a session comes: only a scale of weeks is of use.
		sigma = sc.week.value
	}
	h.fill(e, s, k, sigma*widen)
	if k == xMiddle {
		h.fill(e, s, cellMiddleModelled, modelled*widen)
	}
}

func (h *horizon) fill(e *Engine, s *slot, cell int, sigma float64) {
	s.sigma[cell] = float32(sigma)
	nq := len(e.opts.Quantiles)
	point, sk := s.point[pointOf(cell)], &h.sketches[cell]
	for j, tau := range e.opts.Quantiles {
		s.q[cell*nq+j] = float32(max(0, point+sigma*sk.quantile(j, tau)))
	}
}

// combine mixes the experts, corrects the mixture and sorts the quantiles.
func (h *horizon) combine(e *Engine, s *slot, widen float64) {
	nq, nm := len(e.opts.Quantiles), len(h.first)
	s.unit = h.spread.value
	refSigma := h.scales[xLast].plain() * widen
	s.refUnit = float32(refSigma)
	for j, tau := range e.opts.Quantiles {
		sum := 0.0
		for i := range nm {
			sum += h.second[j*nm+i].mix(s.q[j:], nq, s.awake)
		}
		s.mixed[j] = sum / float64(nm)
		s.final[j] = s.mixed[j]
		if c := &h.correction[j]; c.total > 0 && e.opts.Without&Calibration == 0 {
			// Independent labels beyond the quantile: the labels seen, less their overlap, times the share beyond.
			n := c.total / c.unit * float64(h.stride) / float64(h.lead) * min(tau, 1-tau)
			s.final[j] += s.unit * widen * c.quantile(0, tau) * n / (n + calShrink)
		}
		s.final[j] = max(s.final[j], 0)
		s.ref[j] = max(0, s.point[xLast]+refSigma*h.reference.quantile(j, tau))
		if j > 0 {
			s.final[j] = max(s.final[j], s.final[j-1])
			s.ref[j] = max(s.ref[j], s.ref[j-1])
		}
	}
}

// push keeps h.now until its label is known.
func (h *horizon) push() {
	if h.count == len(h.slots) {
		return // cannot be: slots outnumber the forecasts that a lead holds
	}
	at := (h.head + h.count) % len(h.slots)
	q := h.slots[at].q
	copy(q, h.now.q)
	h.slots[at] = h.now
	h.slots[at].q = q
	h.count++
}

// reconsider makes the forecast to be learned from again, where it starts at from and nothing has been observed since: an
// outside forecast can only be asked for once the bin before it is complete.
func (h *horizon) reconsider(e *Engine, from time.Time) {
	if h.count == 0 || !e.level.started || !from.Equal(e.end(e.bin)) {
		return
	}
	if last := &h.slots[(h.head+h.count-1)%len(h.slots)]; last.bin == e.bin {
		h.forecast(e, from, 0)
		h.count--
		h.push()
	}
}

// forget drops the forecasts whose labels will never be known.
func (h *horizon) forget() { h.head, h.count = 0, 0 }
