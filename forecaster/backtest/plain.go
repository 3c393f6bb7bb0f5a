package backtest

import (
	"math"
	"sort"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// Pool runs the ten fixed experts, each with additive and with volatility-scaled residuals, and the plain engine on top
// of the volatility-scaled ten: Bernstein online aggregation per quantile, φ = 0.9995, E never decaying, 1 % uniform, no
// calibration and no prior. It is the yardstick of the scoreboard.
type Pool struct {
	step      time.Duration
	lead      int
	quantiles []float64
	points    *points
	bands     [2][pointCount]*band
	pending   []pooled // forecasts whose label is not known yet, oldest first
	spread    average  // |label - median|, the unit of the regrets
	boa       []*boa   // per quantile
	started   bool
}

// pooled is what the pool said at one bin.
type pooled struct {
	point  [pointCount]float64
	scale  [2][pointCount]float64
	q      [][2][pointCount]float64 // per quantile
	mixed  []float64
	middle float64
}

// NewPool returns the pool for one lead.
func NewPool(step, lead time.Duration, quantiles []float64) *Pool {
	p := &Pool{
		step: step, lead: int(lead / step), quantiles: quantiles,
		points: newPoints(step, int(lead/step)),
		spread: average{rate: 1 - math.Exp(-step.Minutes()/1440)},
	}
	for k := range pointCount {
		p.bands[0][k] = newBand(additive, step.Minutes())
		p.bands[1][k] = newBand(volatility, step.Minutes())
	}
	for range quantiles {
		p.boa = append(p.boa, newBOA(pointCount, 0.9995))
	}
	return p
}

// Observe takes the next bin; t is not looked at, as a Series has no holes.
func (p *Pool) Observe(_ time.Time, o forecaster.Observation) {
	y, ok := o.Number()
	if !ok {
		y = math.NaN()
	}
	label := p.points.add(y)
	if len(p.pending) == p.lead {
		if !math.IsNaN(label) {
			p.learn(p.pending[0], label)
		}
		p.pending = p.pending[1:]
	}
	p.started = p.started || ok
	p.pending = append(p.pending, p.forecast())
}

func (p *Pool) forecast() pooled {
	f := pooled{point: p.points.now, q: make([][2][pointCount]float64, len(p.quantiles)), mixed: make([]float64, len(p.quantiles))}
	for form := range p.bands {
		for k, b := range p.bands[form] {
			f.scale[form][k] = b.scale()
			for j, tau := range p.quantiles {
				f.q[j][form][k] = b.at(f.point[k], tau)
			}
		}
	}
	for j := range p.quantiles {
		f.mixed[j] = p.boa[j].mix(f.q[j][1][:])
	}
	sort.Float64s(f.mixed)
	f.middle = f.mixed[0]
	return f
}

func (p *Pool) learn(f pooled, label float64) {
	p.spread.add(math.Abs(label - f.middle))
	for j, tau := range p.quantiles {
		p.boa[j].learn(f.q[j][1][:], f.mixed[j], label, tau, p.spread.mean)
	}
	for form := range p.bands {
		for k, b := range p.bands[form] {
			b.label(label-f.point[k], f.scale[form][k])
		}
	}
}

// Plain is the plain engine as a Predictor.
func (p *Pool) Plain() Predictor {
	return view{p, func(f pooled, j int) float64 { return f.mixed[j] }}
}

// Member is one expert of the pool as a Predictor: expert k of ten, in the additive or the volatility-scaled form. Members
// of a pool see what the pool sees; only the view that Plain returns passes observations on.
func (p *Pool) Member(k int, scaled bool) Predictor {
	form := 0
	if scaled {
		form = 1
	}
	return silent{view{p, func(f pooled, j int) float64 { return f.q[j][form][k] }}}
}

// Uniform is the plain average of the ten volatility-scaled experts.
func (p *Pool) Uniform() Predictor {
	return silent{view{p, func(f pooled, j int) float64 {
		sum := 0.0
		for _, q := range f.q[j][1] {
			sum += q
		}
		return sum / pointCount
	}}}
}

type view struct {
	*Pool
	pick func(f pooled, j int) float64
}

func (v view) Quantiles(_ time.Time, dst []float64) bool {
	if !v.started {
		return false
	}
	f := v.pending[len(v.pending)-1]
	for j := range dst {
		dst[j] = v.pick(f, j)
	}
	return true
}

type silent struct{ view }

func (silent) Observe(time.Time, forecaster.Observation) {}

// boa is Bernstein online aggregation with forgetting on the gradient of the pinball loss (Wintenberger 2017, algorithm
// 2.1 with the multiple learning rates of section 3; pointwise in the quantile as in Berrisch and Ziel 2021).
type boa struct {
	forget               float64
	regret, square, most []float64
	weight               []float64
}

func newBOA(n int, forget float64) *boa {
	b := &boa{forget: forget, regret: make([]float64, n), square: make([]float64, n), most: make([]float64, n), weight: make([]float64, n)}
	for k := range b.weight {
		b.weight[k] = 1 / float64(n)
	}
	return b
}

func (b *boa) mix(q []float64) float64 {
	sum := 0.0
	for k, w := range b.weight {
		sum += w * q[k]
	}
	return sum
}

const uniformShare = 0.01

func (b *boa) learn(q []float64, mixed, label, tau, unit float64) {
	if unit <= 0 {
		return
	}
	g := -tau
	if label < mixed {
		g = 1 - tau
	}
	n := float64(len(q))
	logs, rates, top := make([]float64, len(q)), make([]float64, len(q)), math.Inf(-1)
	for k := range q {
		r := g * (mixed - q[k]) / unit
		b.most[k] = max(b.most[k], math.Abs(r))
		b.square[k] = b.forget*b.square[k] + r*r
		if b.most[k] > 0 {
			rates[k] = min(1/(2*b.most[k]), math.Sqrt(math.Log(n)/b.square[k]))
		} else {
			rates[k] = 1
		}
		b.regret[k] = b.forget*b.regret[k] + r - rates[k]*r*r
		logs[k] = rates[k] * b.regret[k]
		top = max(top, logs[k])
	}
	sum := 0.0
	for k := range q {
		b.weight[k] = rates[k] * math.Exp(logs[k]-top)
		sum += b.weight[k]
	}
	for k := range q {
		b.weight[k] = (1-uniformShare)*b.weight[k]/sum + uniformShare/n
	}
}
