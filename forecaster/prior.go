package forecaster

import "math"

// Prior is what a fleet of series knows of scaled residuals: for each expert their quantiles at priorLevels, free of units.
// A new series starts from it, with the weight of about a quarter of an hour's labels, and forgets it as its own come in.
type Prior struct {
	z [cells][len(priorLevels)]float64
}

var priorLevels = [...]float64{0.002, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998}

// priorWeight is how many labels the prior counts for.
const priorWeight = 40

// PriorOf pools what engines have learned at their first lead: the mean of each quantile of each expert's scaled residuals.
// Engines with fewer than a thousand labels have too little to say and are passed over; nil if none is left.
func PriorOf(engines ...*Engine) *Prior {
	var p Prior
	n := 0.0
	for _, e := range engines {
		h := e.horizon[0]
		if h.labels < 1000 {
			continue
		}
		n++
		for c := range cells {
			sk := &h.sketches[c]
			if sk.total == 0 {
				sk = &h.sketches[xLast]
			}
			for i, level := range priorLevels {
				p.z[c][i] += sk.at(level)
			}
		}
	}
	if n == 0 {
		return nil
	}
	for c := range p.z {
		for i := range p.z[c] {
			p.z[c][i] /= n
		}
	}
	return &p
}

// believe fills the sketches from the prior.
func (h *horizon) believe(p *Prior, quantiles []float64) {
	if p == nil {
		p = &builtinPrior
	}
	for c := range h.sketches {
		h.sketches[c].believe(&p.z[c], quantiles)
	}
	h.reference.believe(&p.z[xLast], quantiles)
}

// believe spreads priorWeight labels over the cells between the prior's quantiles, evenly in probability.
func (s *sketch) believe(z *[len(priorLevels)]float64, quantiles []float64) {
	const grains = 400
	for g := range grains {
		level := (float64(g) + 0.5) / grains
		c := cellOf(interpolate(z, level))
		s.cell[c] += priorWeight / float32(grains)
	}
	s.total = priorWeight
	for i := range s.mark {
		s.remark(i, quantiles[i])
	}
}

// interpolate is z at a level between priorLevels, linear in the logit of the level; flat beyond the ends.
func interpolate(z *[len(priorLevels)]float64, level float64) float64 {
	if level <= priorLevels[0] {
		return z[0]
	}
	for i := 1; i < len(priorLevels); i++ {
		if level <= priorLevels[i] {
			a, b := logit(priorLevels[i-1]), logit(priorLevels[i])
			return z[i-1] + (z[i]-z[i-1])*(logit(level)-a)/(b-a)
		}
	}
	return z[len(z)-1]
}

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// at is a quantile of the sketch that no mark follows, by a scan.
func (s *sketch) at(tau float64) float64 {
	m := mark{at: sketchCells - 1}
	s.settle(&m, tau)
	one := sketch{total: s.total, unit: s.unit, mark: []mark{m}, cell: s.cell}
	return one.quantile(0, tau)
}

// Table is the prior as it stands in prior_table.go: a row per expert, a column per level.
func (p *Prior) Table() [][]float64 {
	var rows [][]float64
	for c := range p.z {
		rows = append(rows, append([]float64(nil), p.z[c][:]...))
	}
	return rows
}

// BuiltinPrior is the prior of an engine that was given none.
func BuiltinPrior() *Prior {
	p := builtinPrior
	return &p
}
