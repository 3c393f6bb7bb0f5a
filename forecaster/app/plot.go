package app

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
	"math"

	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/forecaster/backtest"
)

// plotPage is one file that needs nothing from elsewhere: no script, style or font is loaded.
//
//go:embed plot.html
var plotPage string

var plotTemplate = template.Must(template.New("plot").Parse(plotPage))

// plotData is what the page draws. Missing numbers are null.
type plotData struct {
	Report  report       `json:"report"`
	Start   int64        `json:"start"` // Unix seconds
	Step    float64      `json:"step"`
	Demand  []*float64   `json:"demand"`
	Origins []float64    `json:"origins"` // seconds from start
	Bands   [][]*float64 `json:"bands"`   // per quantile
	Targets []*float64   `json:"targets"`
}

func writePlot(w io.Writer, r report, c backtest.Comparison, s forecaster.Series) error {
	run := c.Run(backtest.NameEngine)
	d := plotData{Report: r, Start: s.Start.Unix(), Step: s.Step.Seconds(), Targets: known(run.Targets)}
	demand := make([]float64, len(s.Bins))
	for i, o := range s.Bins {
		v, ok := o.Number()
		if !ok {
			v = math.NaN()
		}
		demand[i] = v
	}
	d.Demand = known(demand)
	for _, o := range run.Origins {
		d.Origins = append(d.Origins, o.Seconds())
	}
	for j := range run.Protocol.Quantiles {
		band := make([]float64, len(run.Forecasts))
		for i, f := range run.Forecasts {
			band[i] = math.NaN()
			if f != nil {
				band[i] = f[j]
			}
		}
		d.Bands = append(d.Bands, known(band))
	}
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return plotTemplate.Execute(w, template.JS(data)) // JSON escapes <, > and & itself
}
