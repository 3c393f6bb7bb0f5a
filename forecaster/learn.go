package forecaster

import "math"

// resolve learns from the forecast whose last bin is the one just observed, if there is one.
func (h *horizon) resolve(e *Engine) {
	for h.count > 0 && h.slots[h.head].bin+int64(h.lead) <= e.bin {
		s := &h.slots[h.head]
		h.head = (h.head + 1) % len(h.slots)
		h.count--
		if !s.usable || s.bin+int64(h.lead) != e.bin {
			continue
		}
		if label, atLeast, ok := e.label(h.lead); ok {
			h.learn(e, s, label, atLeast)
		}
	}
}

// label is the maximum of the last n bins. It is unknown if one of them is missing, and a lower bound if one is.
func (e *Engine) label(n int) (m float64, atLeast, ok bool) {
	for i := range n {
		at := e.ringAt(e.bin - int64(i))
		v := e.recent[at]
		if math.IsNaN(v) {
			return 0, false, false
		}
		m = max(m, v)
		atLeast = atLeast || e.bound[at]
	}
	return m, atLeast, true
}

// learn takes the outcome of forecast s. A lower bound teaches only what it proves: that demand was above something.
func (h *horizon) learn(e *Engine, s *slot, label float64, atLeast bool) {
	h.labels++
	h.learnRidge(e, s, label, atLeast)
	h.learnWeights(e, s, label, atLeast)
	h.learnRecord(e, s, label, atLeast)
	h.learnScales(e, s, label, atLeast)
}

func (h *horizon) learnRidge(e *Engine, s *slot, label float64, atLeast bool) {
	if s.size <= 0 || atLeast && label <= s.point[xRidge] {
		return
	}
	// Weighting by 1/σ² was tried: no better on any group of traces.
	var x [ridgeInputs]float64
	for i, v := range s.inputs {
		x[i] = float64(v)
	}
	h.ridge.learn(x[:], label/s.size)
}

func (h *horizon) learnWeights(e *Engine, s *slot, label float64, atLeast bool) {
	if !atLeast || label > s.middle {
		h.spread.add(math.Abs(label-s.middle), rateOf(h.perLabel, spreadMemory))
	}
	unit := h.spread.value
	if unit <= tiny {
		return
	}
	nq, nm := len(e.opts.Quantiles), len(h.first)
	for i := range h.first {
		h.first[i].learn(s.q[e.median:], nq, s.awake, label, e.opts.Quantiles[e.median], unit, atLeast)
	}
	growth := math.Exp(h.perLabel / calMemory)
	for j, tau := range e.opts.Quantiles {
		for i := range nm {
			h.second[j*nm+i].learn(s.q[j:], nq, s.awake, label, tau, unit, atLeast)
		}
		if !atLeast || label > s.mixed[j] {
			h.correction[j].add((label-s.mixed[j])/unit, growth, e.opts.Quantiles[j:j+1])
		}
	}
}

func (h *horizon) learnScales(e *Engine, s *slot, label float64, atLeast bool) {
	nq := len(e.opts.Quantiles)
	growth := math.Exp(h.perLabel / sketchMemory)
	if sigma := float64(s.refUnit); sigma > tiny && (!atLeast || label > s.ref[nq-1]) {
		h.reference.add((label-s.point[xLast])/sigma, growth, e.opts.Quantiles)
	}
	for c := range cells {
		if s.awake>>c&1 == 0 {
			continue
		}
		if atLeast && label <= float64(s.q[c*nq+nq-1]) {
			continue
		}
		if sigma := float64(s.sigma[c]); sigma > tiny {
			h.sketches[c].add((label-s.point[pointOf(c)])/sigma, growth, e.opts.Quantiles)
		}
	}
	var x [scaleFeatures]float32
	for k := range points {
		if s.awake>>k&1 == 0 {
			continue
		}
		size := label - s.point[k]
		if atLeast && size <= h.scales[k].plain() {
			continue
		}
		x[0] = 1
		copy(x[1:], s.own[k][:])
		for i, v := range s.shared {
			x[1+scaleOwn+i] = min(max(v-s.logDay[k], -logLimit), logLimit)
		}
		features := x[:]
		if e.opts.Without&LearnedScale != 0 {
			features = nil
		}
		h.scales[k].learn(math.Abs(size), features, float64(s.logDay[k]), s.cell, &h.rates)
	}
}
