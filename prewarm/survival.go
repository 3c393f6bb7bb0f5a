package prewarm

import (
	"cmp"
	"slices"
	"time"
)

// observation is how long something took, or, unfinished, how long it has lasted at least.
type observation struct {
	took     time.Duration
	finished bool
}

// survivalQuantile is the p-quantile of the duration by the product-limit estimator, S(t) = Π (1 - dᵢ/nᵢ) over the times tᵢ ≤ t at
// which dᵢ of the nᵢ still observed finished (Kaplan and Meier 1958): the least t with S(t) ≤ 1-p. Observations cut off at tᵢ
// count among the nᵢ. Where the curve stays above 1-p, reached is false and the quantile is at least the longest observation.
//
// Leaving the unfinished out instead would report the fast half of a trouble as the whole of it.
func survivalQuantile(observations []observation, p float64) (quantile time.Duration, reached bool) {
	sorted := slices.SortedFunc(slices.Values(observations), func(a, b observation) int { return cmp.Compare(a.took, b.took) })
	surviving := 1.0
	for i := 0; i < len(sorted); {
		at, finished, end := sorted[i].took, 0, i
		for ; end < len(sorted) && sorted[end].took == at; end++ {
			if sorted[end].finished {
				finished++
			}
		}
		surviving *= 1 - float64(finished)/float64(len(sorted)-i)
		if surviving <= (1-p)*(1+relativeEpsilon) { // 0.5·0.2 is not 0.1 to the last bit
			return at, true
		}
		quantile, i = at, end
	}
	return quantile, false
}
