package forecaster

import (
	"errors"
	"fmt"
	"time"
)

// ErrInsufficientHistory means that nothing has been measured yet that a forecast could stand on.
var ErrInsufficientHistory = errors.New("insufficient history")

// ErrNotDeclared means that a lead or quantile was asked for that the engine was not built for.
var ErrNotDeclared = errors.New("not declared at construction")

// Forecast is what the engine expects of the maximum of the series over (From, From+lead] for each declared lead. It is a
// plain value: nothing in it changes later. The zero Forecast has no leads and answers ErrNotDeclared.
type Forecast struct {
	From       time.Time     // the end of the last complete bin
	Age        time.Duration // how long before From demand was last known; 0 is fresh
	nLeads     int
	nQuantiles int
	leads      [MaxLeads]time.Duration
	quantiles  [MaxQuantiles]float64
	value      [MaxLeads][MaxQuantiles]float64
	record     [MaxLeads]Record
}

// Record is the engine's own view of how it has done lately at one lead.
type Record struct {
	// Skill is 1 - (pinball loss / loss of "last value + volatility-scaled residuals"), over about a day and averaged over
	// the quantiles: above 0 it is better. Zero while Labels is zero.
	Skill float64
	// Coverage is the share of outcomes at or below each quantile over about a week, in the order of the quantiles.
	Coverage [MaxQuantiles]float64
	// Labels is how many outcomes stand behind it. They overlap: a lead holds about five.
	Labels int
	// Fallback says that the engine did worse than the reference and the reference is what Forecast gives.
	Fallback bool
}

// Leads are the declared leads, ascending.
func (f *Forecast) Leads() []time.Duration { return f.leads[:f.nLeads] }

// Quantiles are the declared quantiles, ascending.
func (f *Forecast) Quantiles() []float64 { return f.quantiles[:f.nQuantiles] }

// Max is the quantile tau of the maximum over the lead. A lead between two declared ones uses the longer.
func (f *Forecast) Max(lead time.Duration, tau float64) (float64, error) {
	row, err := f.row(lead)
	if err != nil {
		return 0, err
	}
	for j, q := range f.Quantiles() {
		if q == tau {
			return f.value[row][j], nil
		}
	}
	return 0, fmt.Errorf("quantile %v: %w, only %v", tau, ErrNotDeclared, f.Quantiles())
}

// Row is every declared quantile at one lead.
func (f *Forecast) Row(lead time.Duration) ([]float64, error) {
	row, err := f.row(lead)
	if err != nil {
		return nil, err
	}
	return f.value[row][:f.nQuantiles], nil
}

// Record is the track record at one lead.
func (f *Forecast) Record(lead time.Duration) (Record, error) {
	row, err := f.row(lead)
	if err != nil {
		return Record{}, err
	}
	return f.record[row], nil
}

func (f *Forecast) row(lead time.Duration) (int, error) {
	for i, l := range f.Leads() {
		if lead <= l && lead > 0 {
			return i, nil
		}
	}
	return 0, fmt.Errorf("lead %v: %w, only up to %v", lead, ErrNotDeclared, f.Leads())
}
