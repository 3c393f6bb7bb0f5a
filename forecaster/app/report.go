package app

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/forecaster/backtest"
)

// report is what the command says, as JSON or as a table.
type report struct {
	Bins           int        `json:"bins"`
	MissingBins    int        `json:"missingBins"`
	StepSeconds    float64    `json:"stepSeconds"`
	LeadSeconds    float64    `json:"leadSeconds"`
	WarmupSeconds  float64    `json:"warmupSeconds"`
	Origins        int        `json:"origins"`
	ScoredOrigins  int        `json:"scoredOrigins"`
	Quantiles      []float64  `json:"quantiles"`
	Loss           []*float64 `json:"pinballLoss"`
	Relative       []relative `json:"lossRelativeTo"`
	Coverage       coverage   `json:"coverage"`
	Weights        []weight   `json:"weights"`
	StepNanos      int64      `json:"nanosecondsPerStep"`
	Issues         []string   `json:"issues"`
	lead, timeStep time.Duration
}

// relative is the engine's loss over a baseline's, null where there is nothing to compare.
type relative struct {
	Baseline string     `json:"baseline"`
	Ratio    []*float64 `json:"ratio"`
}

type coverage struct {
	All           []*float64 `json:"allOrigins"`
	StandardError []*float64 `json:"standardError"`
	Apart         []*float64 `json:"windowsApart"`
	Ramps         []*float64 `json:"ramps"`
}

type weight struct {
	Expert string     `json:"expert"`
	Share  []*float64 `json:"share"`
}

// known turns NaN and infinities, which JSON lacks, into null.
func known(x []float64) []*float64 {
	out := make([]*float64, len(x))
	for i := range x {
		if !math.IsNaN(x[i]) && !math.IsInf(x[i], 0) {
			out[i] = &x[i]
		}
	}
	return out
}

func newReport(c backtest.Comparison, s forecaster.Series, issues []traces.Issue, took time.Duration) report {
	run := c.Run(backtest.NameEngine)
	loss, scored := run.Loss()
	cov := run.Covered()
	r := report{
		Bins: len(s.Bins), StepSeconds: s.Step.Seconds(), LeadSeconds: c.Lead.Seconds(), WarmupSeconds: run.Protocol.Warmup.Seconds(),
		Origins: len(run.Origins), ScoredOrigins: scored, Quantiles: run.Protocol.Quantiles, Loss: known(loss),
		Coverage:  coverage{known(cov.All), known(cov.StandardError), known(cov.Apart), known(cov.Ramps)},
		StepNanos: took.Nanoseconds(), Issues: []string{}, lead: c.Lead, timeStep: took,
	}
	for _, o := range s.Bins {
		if _, ok := o.Number(); !ok {
			r.MissingBins++
		}
	}
	for _, n := range []string{backtest.NameLast, backtest.NameLastVol, backtest.NameRunMax, "day ago + additive", "week ago + additive",
		"holt-winters + additive", "crane-like", "dynamo-like", "phpa-like", backtest.NameUniform, backtest.NamePlain} {
		r.Relative = append(r.Relative, relative{n, known(run.Ratios(c.Run(n)))})
	}
	best, _ := c.Best()
	hind := make([]float64, len(best))
	for j := range best {
		hind[j] = loss[j] / best[j]
	}
	r.Relative = append(r.Relative, relative{"best of the fixed pool in hindsight", known(hind)})
	for _, w := range c.Engine.Weights(0) {
		r.Weights = append(r.Weights, weight{w.Expert, known(w.Share)})
	}
	for _, i := range issues {
		r.Issues = append(r.Issues, i.String())
	}
	return r
}

func (r report) print(out io.Writer) error {
	fmt.Fprintf(out, "%d bins of %v, %d missing; %d forecasts of the maximum over %v after a warm-up of %v, %d of them scored\n\n",
		r.Bins, time.Duration(r.StepSeconds)*time.Second, r.MissingBins, r.Origins, r.lead, time.Duration(r.WarmupSeconds)*time.Second, r.ScoredOrigins)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, values []*float64, format string, scale float64) {
		fmt.Fprintf(w, "%s\t", name)
		for _, v := range values {
			if v == nil {
				fmt.Fprint(w, "–\t")
				continue
			}
			fmt.Fprintf(w, format+"\t", *v*scale)
		}
		fmt.Fprintln(w)
	}
	head := func(title string) {
		fmt.Fprintf(w, "%s\t", title)
		for _, q := range r.Quantiles {
			fmt.Fprintf(w, "q%g\t", q)
		}
		fmt.Fprintln(w)
	}
	head("pinball loss")
	line("mean, in the unit of the series", r.Loss, "%.4g", 1)
	for _, x := range r.Relative {
		line("relative to "+x.Baseline, x.Ratio, "%.3f", 1)
	}
	fmt.Fprintln(w)
	head("coverage, %")
	line("all origins", r.Coverage.All, "%.1f", 100)
	line("standard error", r.Coverage.StandardError, "%.1f", 100)
	line("windows apart", r.Coverage.Apart, "%.1f", 100)
	line("ramps", r.Coverage.Ramps, "%.1f", 100)
	fmt.Fprintln(w)
	head("weights at the end, %")
	shares := slices.Clone(r.Weights)
	slices.SortStableFunc(shares, func(a, b weight) int { return -compareLast(a.Share, b.Share) })
	for _, x := range shares {
		line(x.Expert, x.Share, "%.0f", 100)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%.1f µs a step (observe and forecast)\n", float64(r.timeStep.Nanoseconds())/1000)
	return err
}

// compareLast orders by the share in the highest quantile.
func compareLast(a, b []*float64) int {
	x, y := a[len(a)-1], b[len(b)-1]
	switch {
	case x == nil || y == nil || *x == *y:
		return 0
	case *x < *y:
		return -1
	}
	return 1
}
