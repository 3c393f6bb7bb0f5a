package backtest

import (
	"math"
	"math/rand/v2"
	"time"

	"gonum.org/v1/gonum/stat"
)

// Pinball is the quantile loss of forecast q at level tau for outcome y (Koenker and Bassett 1978): its expectation is
// least at the true quantile. Same unit as y.
func Pinball(tau, q, y float64) float64 {
	if y >= q {
		return tau * (y - q)
	}
	return (1 - tau) * (q - y)
}

// Scored calls f for every origin that has a forecast and a whole target.
func (r Run) Scored(f func(i int, forecast []float64, target float64)) {
	for i, row := range r.Forecasts {
		if row != nil && !math.IsNaN(r.Targets[i]) {
			f(i, row, r.Targets[i])
		}
	}
}

// Loss is the mean pinball loss per quantile and the number of origins behind it.
func (r Run) Loss() (perQuantile []float64, n int) {
	perQuantile = make([]float64, len(r.Protocol.Quantiles))
	r.Scored(func(_ int, row []float64, y float64) {
		n++
		for j, tau := range r.Protocol.Quantiles {
			perQuantile[j] += Pinball(tau, row[j], y)
		}
	})
	for j := range perQuantile {
		perQuantile[j] /= float64(n)
	}
	return perQuantile, n
}

// Ratios divides the mean loss of r by that of base on the origins that both scored.
func (r Run) Ratios(base Run) []float64 {
	mine, theirs := make([]float64, len(r.Protocol.Quantiles)), make([]float64, len(r.Protocol.Quantiles))
	r.Scored(func(i int, row []float64, y float64) {
		if base.Forecasts[i] == nil {
			return
		}
		for j, tau := range r.Protocol.Quantiles {
			mine[j] += Pinball(tau, row[j], y)
			theirs[j] += Pinball(tau, base.Forecasts[i][j], y)
		}
	})
	out := make([]float64, len(mine))
	for j := range out {
		out[j] = ratio(mine[j], theirs[j])
	}
	return out
}

// ratio is 1 where neither loses anything, as on a dead series.
func ratio(a, b float64) float64 {
	if a == b {
		return 1
	}
	return a / b
}

// GeometricMean of positive numbers; NaN of none.
func GeometricMean(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	return stat.GeometricMean(x, nil)
}

// Coverage is the share of outcomes at or below each quantile: all origins, only windows that do not overlap, and only
// ramps.
type Coverage struct {
	All, Apart, Ramps    []float64 // NaN where there is no origin
	NAll, NApart, NRamps int
	StandardError        []float64 // of All, by 6-hour block bootstrap
	Days                 float64   // scored
}

// rampGrowth is what counts as a ramp: the maximum over the lead is at least this many times the value now.
const rampGrowth = 1.2

// Covered measures r's coverage.
func (r Run) Covered() Coverage {
	k := len(r.Protocol.Quantiles)
	c := Coverage{All: make([]float64, k), Apart: make([]float64, k), Ramps: make([]float64, k)}
	next := time.Duration(-1 << 62)
	r.Scored(func(i int, row []float64, y float64) {
		apart := r.Origins[i] >= next
		ramp := y > 0 && y >= rampGrowth*r.Now[i]
		c.NAll++
		if apart {
			c.NApart++
			next = r.Origins[i] + r.Protocol.Lead
		}
		if ramp {
			c.NRamps++
		}
		for j := range row {
			if y > row[j] {
				continue
			}
			c.All[j]++
			if apart {
				c.Apart[j]++
			}
			if ramp {
				c.Ramps[j]++
			}
		}
	})
	for j := range c.All {
		c.All[j] /= float64(c.NAll)
		c.Apart[j] /= float64(c.NApart)
		c.Ramps[j] /= float64(c.NRamps)
	}
	c.Days = float64(c.NAll) * r.Protocol.Every.Hours() / 24
	c.StandardError = r.blockBootstrap(6*time.Hour, 400)
	return c
}

// blockBootstrap is the standard error of the coverage when whole blocks of time are drawn with replacement, as
// neighbouring origins share most of their window (Künsch 1989). Seeded: the same run gives the same number.
func (r Run) blockBootstrap(block time.Duration, draws int) []float64 {
	k := len(r.Protocol.Quantiles)
	type cell struct {
		n   float64
		hit []float64
	}
	var blocks []cell
	at := time.Duration(-1)
	r.Scored(func(i int, row []float64, y float64) {
		if b := r.Origins[i] / block; b != at || len(blocks) == 0 {
			at = b
			blocks = append(blocks, cell{hit: make([]float64, k)})
		}
		c := &blocks[len(blocks)-1]
		c.n++
		for j := range row {
			if y <= row[j] {
				c.hit[j]++
			}
		}
	})
	out := make([]float64, k)
	if len(blocks) < 2 {
		for j := range out {
			out[j] = math.NaN()
		}
		return out
	}
	random := rand.New(rand.NewPCG(1, 2))
	samples := make([][]float64, k)
	for range draws {
		n, hit := 0.0, make([]float64, k)
		for range blocks {
			c := blocks[random.IntN(len(blocks))]
			n += c.n
			for j := range hit {
				hit[j] += c.hit[j]
			}
		}
		for j := range hit {
			samples[j] = append(samples[j], hit[j]/n)
		}
	}
	for j := range out {
		out[j] = stat.StdDev(samples[j], nil)
	}
	return out
}
