package forecaster

import "math"

// aggregator is Bernstein online aggregation of the experts' forecasts of one quantile: Wintenberger 2017 (Optimal learning
// with Bernstein online aggregation), the second-order exponential weights with one learning rate per expert, run on the
// gradient of the pinball loss as in Berrisch and Ziel 2021 (CRPS learning). Four things are added:
//
//   - regrets are forgotten with a given memory, and so is their largest size E, else one burst slows learning for good;
//   - neighbouring labels share most of their window, so n of them carry the information of n/overlap: the variance term
//     of the learning rate is multiplied by overlap (the delayed-feedback bound of Joulani et al. 2013 has the same factor);
//   - experts may sleep (no event is announced, the outside forecast is late): then they have no weight and learn nothing;
//   - a small uniform share keeps every expert within reach.
type aggregator struct {
	forget, forgetLargest float64
	overlap, logN         float64
	regret, square        []float32 // single precision: state is counted in KiB
	largest               []float32
	weight                []float32
}

// uniformShare is spread over all experts alike.
const uniformShare = 0.01

func newAggregator(n int, perLabel, memory, memoryLargest, overlap float64) aggregator {
	a := aggregator{
		forget: math.Exp(-perLabel / memory), forgetLargest: math.Exp(-perLabel / memoryLargest), overlap: overlap, logN: math.Log(float64(n)),
		regret: make([]float32, n), square: make([]float32, n), largest: make([]float32, n), weight: make([]float32, n),
	}
	for k := range a.weight {
		a.weight[k] = 1 / float32(n)
	}
	return a
}

// mix is the weighted mean of q[k·stride] over the experts that are awake.
func (a *aggregator) mix(q []float32, stride int, awake uint64) float64 {
	sum, all := 0.0, 0.0
	for k, w := range a.weight {
		if awake>>k&1 == 0 {
			continue
		}
		sum += float64(w) * float64(q[k*stride])
		all += float64(w)
	}
	return sum / all
}

// learn takes the label of a forecast. unit makes regrets free of scale. atLeast says that the outcome was label or more.
func (a *aggregator) learn(q []float32, stride int, awake uint64, label, tau, unit float64, atLeast bool) {
	mixed := a.mix(q, stride, awake)
	slope := -tau
	if label < mixed {
		if atLeast {
			return // the sign of the gradient is unknown
		}
		slope = 1 - tau
	}
	var exponent, rate [maxExperts]float64
	top := math.Inf(-1)
	for k := range a.weight {
		if awake>>k&1 != 0 {
			r := slope * (mixed - float64(q[k*stride])) / unit
			r = min(max(r, -maxRegret), maxRegret)
			a.largest[k] = float32(max(a.forgetLargest*float64(a.largest[k]), math.Abs(r)))
			a.square[k] = float32(a.forget*float64(a.square[k]) + r*r)
			rate[k] = a.rate(k)
			a.regret[k] = float32(a.forget*float64(a.regret[k]) + r - rate[k]*r*r)
		} else {
			rate[k] = a.rate(k)
		}
		exponent[k] = rate[k] * float64(a.regret[k])
		top = max(top, exponent[k])
	}
	sum := 0.0
	for k := range a.weight {
		if d := exponent[k] - top; d > lostBehind {
			exponent[k] = rate[k] * math.Exp(d)
			sum += exponent[k]
		} else {
			exponent[k] = 0
		}
	}
	share := uniformShare / float64(len(a.weight))
	for k := range a.weight {
		a.weight[k] = float32((1-uniformShare)*exponent[k]/sum + share)
	}
}

// lostBehind is the logarithm of a weight that is far below the rounding of the uniform share.
const lostBehind = -60

// maxRegret bounds a regret in units of the usual miss, so that one absurd label cannot overflow anything.
const maxRegret = 1e6

// rate is the learning rate min(1/(2E), √(ln K / V)).
func (a *aggregator) rate(k int) float64 {
	if a.largest[k] <= 1e-9 || a.square[k] <= 1e-18 {
		return 1
	}
	return min(1/(2*float64(a.largest[k])), math.Sqrt(a.logN/(float64(a.square[k])*a.overlap)))
}
