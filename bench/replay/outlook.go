package replay

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// Forecasts is what the forecaster said, bin by bin, of the maximum over one horizon.
type Forecasts struct {
	Outlooks    []*Outlook // one per quantile asked for, in order
	Calibration []Calibration
	Bins        int
}

// Calibration is how often demand stayed within a quantile.
type Calibration struct {
	Quantile float64
	Coverage float64 // share of forecasts whose maximum came out at or below the quantile
	Outcomes int     // forecasts with a known outcome; neighbours overlap
}

// Forecast runs the forecaster once through a series, as it would have run: every forecast is made from complete bins alone.
// Forecasts made from scoreFrom on count for the calibration. watch, which may be nil, is told the share done.
func Forecast(s forecaster.Series, zone *time.Location, horizon time.Duration, quantiles []float64, scoreFrom time.Duration, watch func(done, total int)) (Forecasts, error) {
	var out Forecasts
	per := int(s.Step / time.Minute)
	if per < 1 || s.Step%time.Minute != 0 {
		return out, fmt.Errorf("bins of %v: a replay forecasts from bins of whole minutes", s.Step)
	}
	options := forecaster.DefaultOptions()
	options.Step, options.Zone = s.Step, zone
	options.Leads = []time.Duration{max((horizon+s.Step-1)/s.Step, 1) * s.Step}
	var engines []*forecaster.Engine
	for rest := quantiles; len(rest) > 0; {
		n := min(len(rest), forecaster.MaxQuantiles)
		options.Quantiles, rest = rest[:n], rest[n:]
		e, err := forecaster.New(options)
		if err != nil {
			return out, err
		}
		engines = append(engines, e)
	}
	for _, q := range quantiles {
		values := make([]float32, per*(len(s.Bins)+1))
		for i := range values {
			values[i] = float32(math.NaN())
		}
		out.Outlooks = append(out.Outlooks, &Outlook{Value: values, Quantile: q, Horizon: options.Leads[0]})
	}
	for bin := range s.Bins {
		first := 0
		for _, e := range engines {
			e.Observe(s.At(bin), s.Bins[bin])
			f, err := e.Forecast(s.At(bin + 1))
			if errors.Is(err, forecaster.ErrInsufficientHistory) {
				continue
			}
			if err != nil {
				return out, err
			}
			row, err := f.Row(options.Leads[0])
			if err != nil {
				return out, err
			}
			for j, v := range row {
				for i := range per {
					out.Outlooks[first+j].Value[(bin+1)*per+i] = float32(v)
				}
			}
			first += len(row)
		}
		if watch != nil && bin%1024 == 0 {
			watch(bin, len(s.Bins))
		}
	}
	out.Bins = len(s.Bins)
	out.calibrate(s, int(options.Leads[0]/s.Step), int(scoreFrom/s.Step), per)
	return out, nil
}

func (f *Forecasts) calibrate(s forecaster.Series, ahead, from, per int) {
	for _, o := range f.Outlooks {
		c := Calibration{Quantile: o.Quantile}
		hit := 0
		for bin := max(from, 0); bin+ahead <= len(s.Bins); bin++ {
			v := float64(o.Value[bin*per])
			most, ok := maximum(s.Bins[bin : bin+ahead])
			if !ok || v != v {
				continue
			}
			c.Outcomes++
			if most <= v*(1+1e-6) { // single precision
				hit++
			}
		}
		c.Coverage = share(float64(hit), float64(c.Outcomes))
		f.Calibration = append(f.Calibration, c)
	}
}

// maximum is the largest of some bins, and false when one of them is unknown.
func maximum(bins []forecaster.Observation) (float64, bool) {
	most := math.Inf(-1)
	for _, b := range bins {
		v, ok := b.Number()
		if !ok {
			return 0, false
		}
		most = max(most, v)
	}
	return most, len(bins) > 0
}

// CraneLike is what the pattern forecaster of gocrane/crane comes to: yesterday, smoothed over half an hour, the largest of the
// window that begins now, times a margin. It says nothing before there is a yesterday. Gaps are filled with the value before.
func CraneLike(s forecaster.Series, window time.Duration, margin float64) *Outlook {
	per := max(int(s.Step/time.Minute), 1)
	day, half, ahead := int(24*time.Hour/s.Step), int(15*time.Minute/s.Step), max(int(window/s.Step), 1)
	n := len(s.Bins)
	sums := make([]float64, n+1)
	last := 0.0
	for i, b := range s.Bins {
		if v, ok := b.Number(); ok {
			last = v
		}
		sums[i+1] = sums[i] + last
	}
	out := &Outlook{Value: make([]float32, per*(n+1)), Quantile: math.NaN(), Horizon: window}
	for bin := 0; bin <= n; bin++ {
		v := math.NaN()
		if from := bin - day; from >= half {
			v = 0
			for i := from; i < min(from+ahead, bin); i++ {
				a, b := max(0, i-half), min(i+half+1, bin)
				v = max(v, (sums[b]-sums[a])/float64(b-a))
			}
			v *= margin
		}
		for i := range per {
			out.Value[bin*per+i] = float32(v)
		}
	}
	return out
}
