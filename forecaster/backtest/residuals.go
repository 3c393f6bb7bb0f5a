package backtest

import (
	"math"
	"sort"
)

// residualWindow is how many labelled residuals a baseline looks back on: two days of minutes.
const residualWindow = 2880

// window is the last residualWindow numbers, kept both in order of age and sorted.
type window struct {
	ring   []float64
	next   int
	sorted []float64
}

func (w *window) add(x float64) {
	if len(w.ring) < residualWindow {
		w.ring = append(w.ring, x)
	} else {
		at := sort.SearchFloat64s(w.sorted, w.ring[w.next])
		w.sorted = append(w.sorted[:at], w.sorted[at+1:]...)
		w.ring[w.next] = x
		w.next = (w.next + 1) % residualWindow
	}
	at := sort.SearchFloat64s(w.sorted, x)
	w.sorted = append(w.sorted, 0)
	copy(w.sorted[at+1:], w.sorted[at:])
	w.sorted[at] = x
}

// quantile is the value of rank ⌈(n+1)τ⌉, the conformal quantile of n exchangeable residuals; the largest one where the
// rank exceeds n, and 0 of none.
func (w *window) quantile(tau float64) float64 {
	n := len(w.sorted)
	if n == 0 {
		return 0
	}
	rank := int(math.Ceil(float64(n+1)*tau - 1e-9))
	return w.sorted[min(max(rank, 1), n)-1]
}

// average is an exponentially weighted mean whose first values count equally, so that it has no bias from its start.
type average struct {
	rate, weight, mean float64
}

func (a *average) add(x float64) {
	a.weight = 1 + (1-a.rate)*a.weight
	a.mean += (x - a.mean) / a.weight
}

// form says how residuals are put on one scale.
type form uint8

const (
	additive form = iota + 1
	volatility
)

// band turns a point forecast into quantiles by the point's own past residuals.
type band struct {
	form       form
	fast, slow average // of |residual|
	past       window
}

func newBand(f form, perStepMinutes float64) *band {
	return &band{
		form: f,
		fast: average{rate: 1 - math.Exp(-perStepMinutes/45)},
		slow: average{rate: 1 - math.Exp(-perStepMinutes/1440)},
	}
}

// scale is σ = ½ EW45min + ½ EW1d of |residual|; 1 in the additive form.
func (b *band) scale() float64 {
	if b.form == additive {
		return 1
	}
	return (b.fast.mean + b.slow.mean) / 2
}

// label learns from a residual; scale is what scale() was when the forecast was made.
func (b *band) label(residual, scale float64) {
	switch {
	case scale > 0:
		b.past.add(residual / scale)
	case residual == 0:
		b.past.add(0)
	}
	b.fast.add(math.Abs(residual))
	b.slow.add(math.Abs(residual))
}

func (b *band) at(point, tau float64) float64 {
	return max(0, point+b.scale()*b.past.quantile(tau))
}
