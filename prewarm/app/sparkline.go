package app

import (
	"fmt"
	"math"
	"strings"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// sparkline is one series of the past as a line of text.
type sparkline struct {
	Name   string     `json:"name"`
	Line   string     `json:"-"`
	Range  string     `json:"range"`
	Values []*float64 `json:"values"` // oldest first; null where nothing is known
}

var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws values, oldest first, NaN where nothing is known, between zero and the given top.
func spark(values []float64, top float64) string {
	var b strings.Builder
	for _, v := range values {
		switch {
		case math.IsNaN(v):
			b.WriteRune(' ')
		case top <= 0:
			b.WriteRune(bars[0])
		default:
			b.WriteRune(bars[min(max(int(v/top*float64(len(bars))), 0), len(bars)-1)])
		}
	}
	return b.String()
}

// sparklineOf is a named series drawn to its own or a common top.
func sparklineOf(name string, values []float64, top float64) sparkline {
	s := sparkline{Name: name, Line: spark(values, top), Values: make([]*float64, len(values))}
	low, high := math.Inf(1), math.Inf(-1)
	for i, v := range values {
		if !math.IsNaN(v) {
			s.Values[i] = &v
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	s.Range = "nothing known"
	if low <= high {
		s.Range = fmt.Sprintf("%.4g – %.4g", low, high)
	}
	return s
}

// bandWidth is how many characters the highest quantile takes.
const bandWidth = 60

// band draws demand now and the quantiles of its maximum on one line: what is there already, and how far it may rise.
func band(demand float64, quantiles []v1alpha1.QuantileStatus) string {
	top := demand
	for _, q := range quantiles {
		top = math.Max(top, q.Value.AsApproximateFloat64())
	}
	if top <= 0 {
		return "no demand"
	}
	at := func(v float64) int { return int(math.Round(v / top * bandWidth)) }
	shades := []rune("▒░·")
	line := []rune(strings.Repeat("█", at(demand)))
	labels := strings.Builder{}
	labels.WriteString("█ now")
	for i, q := range quantiles {
		shade := shades[min(i, len(shades)-1)]
		for len(line) < at(q.Value.AsApproximateFloat64()) {
			line = append(line, shade)
		}
		fmt.Fprintf(&labels, "  %c q%s", shade, q.Quantile)
	}
	return string(line) + "   " + labels.String()
}
