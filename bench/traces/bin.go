package traces

import (
	"fmt"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// Meaning says how the rows of one bin make the bin's value.
type Meaning uint8

const (
	// Count: rows are numbers of events, so they are summed, and a bin's value is events per bin.
	Count Meaning = iota + 1
	// Gauge: rows are levels, so they are averaged.
	Gauge
)

// Bin puts the trace on a grid of step from t = 0. A bin that lacks a row is missing; a trailing partial bin is dropped.
// Rows coarser than the step are refused: splitting them would invent detail.
func (t Trace) Bin(step time.Duration, m Meaning) (forecaster.Series, error) {
	if step <= 0 {
		return forecaster.Series{}, fmt.Errorf("step %v: must be positive", step)
	}
	if t.Step > step {
		return forecaster.Series{}, fmt.Errorf("step %v: the trace has a row every %v only; ask for that or a multiple", step, t.Step)
	}
	if step%t.Step != 0 {
		return forecaster.Series{}, fmt.Errorf("step %v: not a multiple of the trace's own %v", step, t.Step)
	}
	if len(t.Rows) == 0 {
		return forecaster.Series{}, ErrNoRows
	}
	end := t.Rows[len(t.Rows)-1].At + t.Step
	n := end / step
	if n > maxBins {
		return forecaster.Series{}, fmt.Errorf("step %v: %d bins; is %s in seconds?", step, n, timeColumn)
	}
	perBin := int(step / t.Step)
	s := forecaster.Series{Start: time.Unix(0, 0).UTC(), Step: step, Bins: make([]forecaster.Observation, n)}
	sums, counts := make([]float64, n), make([]int, n)
	for _, r := range t.Rows {
		if i := r.At / step; i < n {
			sums[i] += r.Value
			counts[i]++
		}
	}
	for i := range s.Bins {
		switch {
		case counts[i] < perBin:
			s.Bins[i] = forecaster.NoData()
		case m == Gauge:
			s.Bins[i] = forecaster.Value(sums[i] / float64(counts[i]))
		default:
			s.Bins[i] = forecaster.Value(sums[i])
		}
	}
	return s, nil
}
