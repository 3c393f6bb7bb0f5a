package forecaster

import "math"

// A sketch is the recent distribution of one expert's scaled residuals: a histogram whose cells are log-linear, eight to
// the octave on each side of zero (the layout of HdrHistogram), with exponential forgetting. Forgetting is done by giving
// each newcomer a larger weight than the last and dividing everything by the same number now and then, so an insertion
// touches one cell. The cell that holds each wanted quantile is tracked from insertion to insertion, which makes a
// quantile O(1) instead of a scan.
//
// Residuals are in units of their own mean absolute value, so ±2^-4 to 2^6 is ample; what lies beyond counts in the
// outermost cell. Between a cell's edges the quantile is interpolated, so its error is well below the 12 % of a cell.
type sketch struct {
	total float64 // weight of all cells
	unit  float64 // weight of the next newcomer
	mark  []mark  // one per quantile, shared storage
	cell  []float32
}

// mark is the cell of one quantile: above is the weight in the cells after it.
type mark struct {
	above float64
	at    int32
}

const (
	cellsPerOctave = 8
	lowestOctave   = -4
	octaves        = 10
	sideCells      = cellsPerOctave * octaves
	sketchCells    = 2*sideCells + 1
	zeroCell       = sideCells
	// renormAt keeps float32 cells far from overflow, and often enough washes rounding out of the marks.
	renormAt = 1e6
)

// cellOf puts z in its cell.
func cellOf(z float64) int {
	m := math.Abs(z)
	if !(m >= 1.0/(1<<-lowestOctave)) {
		return zeroCell
	}
	bits := math.Float64bits(m)
	// Exponent and the first three bits of the mantissa, as one number that grows with m.
	i := int(bits>>(52-3)) - (1023+lowestOctave)<<3
	i = min(i, sideCells-1) + 1
	if z < 0 {
		return zeroCell - i
	}
	return zeroCell + i
}

// cellEdges are the lower and upper edges of each cell.
var cellEdges = func() (e [sketchCells + 1]float64) {
	edge := func(i int) float64 { // i ≥ 0: the lower edge of cell i+1 above zero
		return math.Ldexp(1+float64(i%cellsPerOctave)/cellsPerOctave, lowestOctave+i/cellsPerOctave)
	}
	for i := 0; i <= sideCells; i++ {
		e[zeroCell+1+i] = edge(i)
		e[zeroCell-i] = -edge(i)
	}
	return e
}()

// add puts z in; growth is the factor by which a newcomer outweighs the one before, 1/(1-rate) for a memory of 1/rate.
func (s *sketch) add(z, growth float64, quantiles []float64) {
	c := cellOf(z)
	s.cell[c] += float32(s.unit)
	s.total += s.unit
	for i := range s.mark {
		m := &s.mark[i]
		if int32(c) > m.at {
			m.above += s.unit
		}
		s.settle(m, quantiles[i])
	}
	s.unit *= growth
	if s.unit > renormAt {
		s.renormalise(quantiles)
	}
}

// settle moves a mark to the cell where the weight above falls to what the quantile leaves: of n equal weights the
// conformal rank ⌈(n+1)τ⌉ leaves n-(n+1)τ.
func (s *sketch) settle(m *mark, tau float64) {
	want := s.left(tau)
	for m.above > want && m.at < sketchCells-1 {
		m.at++
		m.above -= float64(s.cell[m.at])
	}
	for m.at > 0 && m.above+float64(s.cell[m.at]) <= want {
		m.above += float64(s.cell[m.at])
		m.at--
	}
}

func (s *sketch) left(tau float64) float64 { return max(0, s.total*(1-tau)-tau*s.unit) }

func (s *sketch) renormalise(quantiles []float64) {
	by := float32(1 / s.unit)
	s.total = 0
	for i := range s.cell {
		s.cell[i] *= by
		s.total += float64(s.cell[i])
	}
	s.unit = 1
	for i := range s.mark {
		s.remark(i, quantiles[i])
	}
}

// remark finds a mark from scratch.
func (s *sketch) remark(i int, tau float64) {
	m := &s.mark[i]
	m.at, m.above = sketchCells-1, 0
	s.settle(m, tau)
}

// quantile returns mark i's quantile, interpolated in its cell from the top.
func (s *sketch) quantile(i int, tau float64) float64 {
	m := &s.mark[i]
	w := float64(s.cell[m.at])
	lo, hi := cellEdges[m.at], cellEdges[m.at+1]
	if w <= 0 {
		return (lo + hi) / 2
	}
	part := (s.left(tau) - m.above) / w
	return hi - min(max(part, 0), 1)*(hi-lo)
}

func newSketch(quantiles int) sketch {
	return sketch{unit: 1, mark: make([]mark, quantiles), cell: make([]float32, sketchCells)}
}
