package forecaster

// ridge is recursive least squares with exponential forgetting (Haykin, Adaptive Filter Theory, 4th ed., table 9.1). P is
// symmetric, so only its lower triangle is kept, row by row. Ridge, because P starts at a finite size around a prior mean
// of the weights, and because forgetting pauses while some direction of P is above a bound: without excitation P would
// grow as forget^-n.
type ridge struct {
	forget float64
	bound  float64
	seen   int
	w      []float64
	p      []float64
}

func newRidge(n int, forget, start, bound float64) ridge {
	r := ridge{forget: forget, bound: bound, w: make([]float64, n), p: make([]float64, n*(n+1)/2)}
	for i := range n {
		r.p[i*(i+1)/2+i] = start
	}
	return r
}

// maxFeatures bounds the scratch space of learn.
const maxFeatures = 24

func (r *ridge) predict(x []float64) float64 {
	sum := 0.0
	for i, v := range x {
		sum += v * r.w[i]
	}
	return sum
}

// learn takes one example; scaling x and y by √w gives it the weight w.
func (r *ridge) learn(x []float64, y float64) {
	n := len(r.w)
	var k [maxFeatures]float64
	at := 0
	for i := range n {
		xi, sum := x[i], 0.0
		row, before, gain := r.p[at:at+i], x[:i], k[:i] // of one length, so that the inner loop has no bounds checks
		for j, v := range row {
			sum += v * before[j]
			gain[j] += v * xi
		}
		k[i] += sum + r.p[at+i]*xi
		at += i + 1
	}
	denominator := r.forget
	for i, v := range x[:n] {
		denominator += v * k[i]
	}
	miss := (y - r.predict(x)) / denominator
	grow := 1 / r.forget
	for i := range n {
		r.w[i] += k[i] * miss
		if r.p[i*(i+1)/2+i] > r.bound {
			grow = 1
		}
	}
	at = 0
	for i := range n {
		ki := k[i] / denominator
		row, gain := r.p[at:at+i+1], k[:i+1]
		for j, g := range gain {
			row[j] = (row[j] - ki*g) * grow
		}
		at += i + 1
	}
	r.seen++
}
