package backtest

import (
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// outlook makes a point forecast of the maximum over the lead from what it has been shown.
type outlook interface {
	see(y float64) // NaN for missing
	point() float64
}

// banded is an outlook with additive residual quantiles, so that methods that give no quantiles can be scored on them. Each
// gets the same 2,880 residuals as every other baseline.
type banded struct {
	lead      int
	quantiles []float64
	outlook   outlook
	band      *band
	history   []float64
	pending   []float64
	known     bool
}

func newBanded(step, lead time.Duration, quantiles []float64, o outlook) Predictor {
	return &banded{lead: int(lead / step), quantiles: quantiles, outlook: o, band: newBand(additive, step.Minutes())}
}

func (b *banded) Observe(_ time.Time, o forecaster.Observation) {
	y, ok := o.Number()
	if !ok {
		y = math.NaN()
	}
	b.known = b.known || ok
	b.history = append(b.history, y)
	if len(b.pending) == b.lead {
		label := math.Inf(-1)
		for _, v := range b.history[len(b.history)-b.lead:] {
			label = math.Max(label, v) // math.Max keeps NaN
		}
		if !math.IsNaN(label) {
			b.band.label(label-b.pending[0], 1)
		}
		b.pending = b.pending[1:]
	}
	b.outlook.see(y)
	b.pending = append(b.pending, b.outlook.point())
}

func (b *banded) Quantiles(_ time.Time, dst []float64) bool {
	if !b.known {
		return false
	}
	for j, tau := range b.quantiles {
		dst[j] = b.band.at(b.pending[len(b.pending)-1], tau)
	}
	return true
}

// CraneLike is yesterday, smoothed over half an hour, times 1.1: what the pattern forecaster of gocrane/crane comes to
// when its low-pass filter has done its work and the middle one of its margins is taken.
func CraneLike(step, lead time.Duration, quantiles []float64) Predictor {
	return newBanded(step, lead, quantiles, &craneLike{lead: int(lead / step), day: int(24 * time.Hour / step), half: int(15 * time.Minute / step)})
}

type craneLike struct {
	lead, day, half int
	history         []float64
}

func (c *craneLike) see(y float64) {
	if n := len(c.history); math.IsNaN(y) && n > 0 {
		y = c.history[n-1] // it fills gaps itself
	}
	c.history = append(c.history, y)
}

func (c *craneLike) point() float64 {
	n := len(c.history)
	from := n - c.day
	if from < c.half {
		return c.history[n-1]
	}
	m := 0.0
	for i := from; i < min(from+c.lead, n); i++ {
		sum, k := 0.0, 0.0
		for j := max(0, i-c.half); j <= min(n-1, i+c.half); j++ {
			sum, k = sum+c.history[j], k+1
		}
		m = max(m, sum/k)
	}
	return 1.1 * m
}

// DynamoLike is a local linear trend by Kalman filter with the noises of NVIDIA Dynamo's planner (level 1, trend 0.1,
// observation 10), which looks one interval ahead: here the interval is the lead.
func DynamoLike(step, lead time.Duration, quantiles []float64) Predictor {
	return newBanded(step, lead, quantiles, &kalman{lead: float64(lead / step), p: [3]float64{1e6, 0, 1e6}})
}

type kalman struct {
	lead         float64
	started      bool
	level, trend float64
	p            [3]float64 // var(level), cov, var(trend)
}

func (k *kalman) see(y float64) {
	if math.IsNaN(y) {
		return
	}
	if !k.started {
		k.level, k.started = y, true
	}
	k.level += k.trend
	a, b, c := k.p[0]+2*k.p[1]+k.p[2]+1, k.p[1]+k.p[2], k.p[2]+0.1
	gain, slope := a/(a+10), b/(a+10)
	miss := y - k.level
	k.level += gain * miss
	k.trend += slope * miss
	k.p = [3]float64{(1 - gain) * a, (1 - gain) * b, c - slope*b}
}

func (k *kalman) point() float64 { return max(0, k.level, k.level+k.lead*k.trend) }

// PHPALike is ordinary least squares through the last six values, extended over the lead: the linear model of the
// predictive-horizontal-pod-autoscaler with its default history.
func PHPALike(step, lead time.Duration, quantiles []float64) Predictor {
	return newBanded(step, lead, quantiles, &line{lead: float64(lead / step)})
}

type line struct {
	lead float64
	last []float64
}

func (l *line) see(y float64) {
	if math.IsNaN(y) {
		return
	}
	if l.last = append(l.last, y); len(l.last) > 6 {
		l.last = l.last[1:]
	}
}

func (l *line) point() float64 {
	n := float64(len(l.last))
	if n == 0 {
		return 0
	}
	mx, my, sxy, sxx := (n-1)/2, 0.0, 0.0, 0.0
	for _, y := range l.last {
		my += y / n
	}
	for i, y := range l.last {
		sxy += (float64(i) - mx) * (y - my)
		sxx += (float64(i) - mx) * (float64(i) - mx)
	}
	if sxx == 0 {
		return my
	}
	now := my + sxy/sxx*(n-1-mx)
	return max(0, now, now+l.lead*sxy/sxx)
}
