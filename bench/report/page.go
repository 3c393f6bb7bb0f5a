package report

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
	"math"
	"strconv"

	"github.com/headroom-autoscaler/headroom/bench/replay"
)

//go:embed page.html
var pageHTML string

//go:embed page.js
var pageScript string

//go:embed page.css
var pageStyle string

//go:embed uplot/uPlot.iife.min.js
var uplotScript string

//go:embed uplot/uPlot.min.css
var uplotStyle string

//go:embed uplot/LICENSE
var uplotLicence string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// drawn is what the page draws, beside the document: by the minute, from the first.
type drawn struct {
	Document Document   `json:"document"`
	Start    int64      `json:"start"` // Unix seconds
	Minutes  int        `json:"minutes"`
	Scored   int        `json:"scored"` // minute
	Demand   numbers    `json:"demand"`
	Bands    []drawBand `json:"bands"`
	Lives    []drawLife `json:"lives"`
}

type drawBand struct {
	Quantile float64 `json:"quantile"`
	Value    numbers `json:"value"`
}

// drawLife is one policy's timeline. Counts are in runs: value, how often, value, how often, …
type drawLife struct {
	Name    string     `json:"name"`
	Ready   []int32    `json:"ready"`
	Pods    []int32    `json:"pods"`
	Floor   []int32    `json:"floor"`
	Reasons []drawText `json:"reasons,omitempty"`
}

type drawText struct {
	Minute int    `json:"m"`
	Text   string `json:"t"`
}

// numbers are written with four digits, and what is unknown as null.
type numbers []float64

// MarshalJSON writes them.
func (n numbers) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, 6*len(n)+2)
	out = append(out, '[')
	for i, v := range n {
		if i > 0 {
			out = append(out, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			out = append(out, "null"...)
			continue
		}
		out = strconv.AppendFloat(out, v, 'g', 4, 64)
	}
	return append(out, ']'), nil
}

// WritePage writes the HTML file.
func WritePage(w io.Writer, doc Document, q *replay.Question, c *replay.Comparison) error {
	s := &q.Scenario
	const perMinute = 4
	// What was lived through is shown, and the warm-up of the forecaster is not.
	first := s.RunFrom / perMinute
	n := len(s.Offered) / perMinute
	d := drawn{Document: doc, Start: s.Start.Unix() + int64(first)*60, Minutes: n - first, Scored: s.ScoreFrom/perMinute - first}
	for m := first; m < n; m++ {
		sum := 0.0
		for _, v := range s.Offered[m*perMinute : (m+1)*perMinute] {
			sum += v / perMinute
		}
		d.Demand = append(d.Demand, sum/s.PerReplica)
	}
	for _, o := range c.Bands {
		b := drawBand{Quantile: o.Quantile}
		for m := first; m < n; m++ {
			b.Value = append(b.Value, float64(o.Value[m])/s.PerReplica)
		}
		d.Bands = append(d.Bands, b)
	}
	for _, l := range c.Lives {
		t := l.Timeline
		life := drawLife{Name: l.Name, Ready: runs(t.Ready[first:n]), Pods: runs(t.Pods[first:n]), Floor: runs(t.Floor[first:n])}
		for m := first; m < n && t.Reason != nil; m++ {
			if t.Reason[m] != "" {
				life.Reasons = append(life.Reasons, drawText{m - first, t.Reason[m]})
			}
		}
		d.Lives = append(d.Lives, life)
	}
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	// JSON escapes <, > and & itself, so that nothing in it ends the script.
	return pageTemplate.Execute(w, map[string]any{
		"Data": template.JS(data), "Script": template.JS(pageScript), "Style": template.CSS(pageStyle),
		"Plot": template.JS(uplotScript), "PlotStyle": template.CSS(uplotStyle), "Licence": template.HTML("<!--\n" + uplotLicence + "\n-->"),
		"Title": doc.Workload.Target,
	})
}

// runs are numbers as value, how often, value, how often, …
func runs(all []int32) []int32 {
	out := []int32{}
	for i, v := range all {
		if i > 0 && v == all[i-1] {
			out[len(out)-1]++
			continue
		}
		out = append(out, v, 1)
	}
	return out
}
