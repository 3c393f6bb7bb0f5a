package backtest

import (
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// engine is the product's engine as a Predictor for one of its leads.
type engine struct {
	e    *forecaster.Engine
	lead time.Duration
}

// Engine scores e at one of its leads.
func Engine(e *forecaster.Engine, lead time.Duration) Predictor { return engine{e, lead} }

func (p engine) Observe(t time.Time, o forecaster.Observation) { p.e.Observe(t, o) }

func (p engine) Quantiles(now time.Time, dst []float64) bool {
	f, err := p.e.Forecast(now)
	if err != nil {
		return false
	}
	row, err := f.Row(p.lead)
	if err != nil {
		return false
	}
	copy(dst, row)
	return true
}
