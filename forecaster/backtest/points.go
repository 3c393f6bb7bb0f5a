package backtest

import (
	"math"
	"time"
)

// pointCount is the size of the fixed pool: experts 1 to 10 of the plain engine.
const pointCount = 10

// pointNames in the order of points.now.
var pointNames = [pointCount]string{
	"last", "running max", "ewma 0.5", "ewma 0.1", "day ago", "week ago", "level×shape", "√level×shape", "holt-winters", "ridge",
}

// points computes the ten point forecasts of the plain engine for the maximum over the next lead. It keeps the whole
// history and takes the obvious way everywhere: it is an oracle and a yardstick, not a product.
type points struct {
	lead      int // bins
	day, week int // bins
	history   []float64
	now       [pointCount]float64

	fast, slow float64
	started    bool
	shape      []float64 // mean over days per phase, NaN before the first
	ratio      float64
	ratioRate  float64
	level      float64
	season     []float64
	scale      average
	ridge      *ridge
	features   [][]float64 // per bin, in units of scales
	scales     []float64
}

func newPoints(step time.Duration, lead int) *points {
	p := &points{
		lead: lead,
		day:  int(24 * time.Hour / step), week: int(7 * 24 * time.Hour / step),
		ratio: 1, ratioRate: 1 - math.Exp(-step.Minutes()/6),
		scale: average{rate: 1 - math.Exp(-step.Minutes()/1440)},
		ridge: newRidge(9, 0.9995),
	}
	p.shape = make([]float64, p.day)
	for i := range p.shape {
		p.shape[i] = math.NaN()
	}
	p.season = make([]float64, p.day)
	return p
}

// add takes the next bin, NaN for missing, and returns the label of the forecast made lead bins ago, NaN if unknown.
func (p *points) add(y float64) (label float64) {
	p.history = append(p.history, y)
	n := len(p.history)
	label = math.NaN()
	if n > p.lead {
		label = p.windowMax(n-p.lead, n)
		if f := p.features[n-1-p.lead]; f != nil && !math.IsNaN(label) {
			p.ridge.learn(f, label/p.scales[n-1-p.lead])
		}
	}
	p.learn(y)
	p.predict()
	return label
}

// windowMax is the maximum of history[from:to], NaN if any bin is missing.
func (p *points) windowMax(from, to int) float64 {
	m := math.Inf(-1)
	for _, v := range p.history[from:to] {
		if math.IsNaN(v) {
			return v
		}
		m = max(m, v)
	}
	return m
}

func (p *points) learn(y float64) {
	if math.IsNaN(y) {
		return
	}
	if !p.started {
		p.fast, p.slow, p.level, p.started = y, y, y, true
	}
	phase := (len(p.history) - 1) % p.day
	p.now[0] = y
	p.fast += 0.5 * (y - p.fast)
	p.slow += 0.1 * (y - p.slow)
	p.scale.add(y)
	if s := p.shape[phase]; math.IsNaN(s) {
		p.shape[phase] = y
	} else {
		if s > 0 {
			p.ratio = min(max(p.ratio+p.ratioRate*(y/s-p.ratio), 0), 5)
		}
		p.shape[phase] += 0.4 * (y - s)
	}
	p.level += 0.3 * (y - p.season[phase] - p.level)
	p.season[phase] += 0.2 * (y - p.level - p.season[phase])
}

func (p *points) predict() {
	n := len(p.history)
	last := p.now[0]
	recent := 0.0
	for _, v := range p.history[max(0, n-p.lead):] {
		if !math.IsNaN(v) {
			recent = max(recent, v)
		}
	}
	shape, season := math.Inf(-1), math.Inf(-1)
	for h := range p.lead {
		phase := (n + h) % p.day
		if s := p.shape[phase]; !math.IsNaN(s) {
			shape = max(shape, s)
		}
		season = max(season, p.season[phase])
	}
	p.now[1] = recent
	p.now[2], p.now[3] = p.fast, p.slow
	p.now[4] = p.ago(p.day, last)
	p.now[5] = p.ago(p.week, p.now[4])
	p.now[6], p.now[7] = last, last
	if !math.IsInf(shape, -1) {
		p.now[6], p.now[7] = p.ratio*shape, math.Sqrt(p.ratio)*shape
	}
	p.now[8] = max(0, p.level+season)
	p.now[9] = recent
	s := p.scale.mean
	p.scales = append(p.scales, s)
	if s <= 0 {
		p.features = append(p.features, nil)
		return
	}
	x := []float64{1, last / s, p.fast / s, recent / s, p.now[4] / s, p.now[5] / s, p.now[6] / s, p.now[8] / s, p.slow / s}
	p.features = append(p.features, x)
	if p.ridge.seen > 0 {
		p.now[9] = min(max(s*p.ridge.predict(x), 0), 4*recent)
	}
}

// ago is the maximum over the coming lead as it was one period before.
func (p *points) ago(period int, otherwise float64) float64 {
	m, n := math.Inf(-1), len(p.history)
	for h := range p.lead {
		if i := n + h - period; i >= 0 && i < n && !math.IsNaN(p.history[i]) {
			m = max(m, p.history[i])
		}
	}
	if math.IsInf(m, -1) {
		return otherwise
	}
	return m
}

// ridge is recursive least squares with exponential forgetting (Haykin, Adaptive Filter Theory, table 10.1).
type ridge struct {
	forget float64
	w      []float64
	p      [][]float64
	k      []float64
	seen   int
}

func newRidge(n int, forget float64) *ridge {
	r := &ridge{forget: forget, w: make([]float64, n), k: make([]float64, n), p: make([][]float64, n)}
	for i := range r.p {
		r.p[i] = make([]float64, n)
		r.p[i][i] = 100
	}
	return r
}

func (r *ridge) predict(x []float64) float64 {
	sum := 0.0
	for i, v := range x {
		sum += v * r.w[i]
	}
	return sum
}

func (r *ridge) learn(x []float64, y float64) {
	r.seen++
	denominator := r.forget
	for i := range x {
		r.k[i] = 0
		for j := range x {
			r.k[i] += r.p[i][j] * x[j]
		}
		denominator += x[i] * r.k[i]
	}
	miss := y - r.predict(x)
	for i := range x {
		r.w[i] += r.k[i] / denominator * miss
	}
	trace := 0.0
	for i := range x {
		for j := 0; j <= i; j++ {
			v := (r.p[i][j] - r.k[i]*r.k[j]/denominator) / r.forget
			r.p[i][j], r.p[j][i] = v, v
		}
		trace += r.p[i][i]
	}
	// Without excitation P grows as forget^-n; a bounded diagonal keeps it finite.
	for i := range x {
		if r.p[i][i] > 1e6 || trace > 1e7 {
			for j := range x {
				r.p[i][j], r.p[j][i] = 0, 0
			}
			r.p[i][i] = 100
		}
	}
}
