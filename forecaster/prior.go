package forecaster

// Prior is what a fleet of series knows about scaled residuals: for each expert their quantiles at PriorLevels, free of
// units. A new series starts from it.
type Prior struct {
	z [cells][priorLevels]float64
}

const priorLevels = 13

func (h *horizon) believe(p *Prior, quantiles []float64) {}
