package forecaster

// record is how the engine has done lately at one lead, and the gate that stands on it.
type record struct {
	labels   int
	mine     [MaxQuantiles]mean // pinball loss
	theirs   [MaxQuantiles]mean // that of the reference
	covered  [MaxQuantiles]mean
	fallback bool
}

const (
	gateShut = 1.25 // loss against the reference above which the reference is used instead
	gateOpen = 1.00 // and below which the engine is trusted again
	gateFrom = 30   // labels before it may shut
)

func (h *horizon) learnRecord(e *Engine, s *slot, label float64, atLeast bool) {
	if atLeast {
		return
	}
	r := &h.record
	r.labels++
	for j, tau := range e.opts.Quantiles {
		rate := rateOf(h.perLabel, recordMemory)
		r.mine[j].add(pinball(tau, s.final[j], label), rate)
		r.theirs[j].add(pinball(tau, s.ref[j], label), rate)
		hit := 0.0
		if label <= s.final[j] {
			hit = 1
		}
		r.covered[j].add(hit, rateOf(h.perLabel, coverageMemory))
	}
	switch ratio := r.ratio(len(e.opts.Quantiles)); {
	case e.opts.Without&SkillGate != 0 || r.labels < gateFrom:
	case ratio > gateShut:
		r.fallback = true
	case ratio < gateOpen:
		r.fallback = false
	}
}

// ratio is the mean over the quantiles of loss against the reference's, 1 where neither loses.
func (r *record) ratio(nq int) float64 {
	sum := 0.0
	for j := range nq {
		if r.theirs[j].value > tiny {
			sum += r.mine[j].value / r.theirs[j].value
		} else {
			sum++
		}
	}
	return sum / float64(nq)
}

func (r *record) public(nq int) Record {
	out := Record{Labels: r.labels, Fallback: r.fallback}
	if r.labels > 0 {
		out.Skill = 1 - r.ratio(nq)
	}
	for j := range nq {
		out.Coverage[j] = r.covered[j].value
	}
	return out
}

func pinball(tau, q, y float64) float64 {
	if y >= q {
		return tau * (y - q)
	}
	return (1 - tau) * (q - y)
}
