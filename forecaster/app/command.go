package app

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/forecaster/backtest"
)

// Sample is one value of a range query.
type Sample struct {
	At    time.Time
	Value float64
}

// History answers range queries.
type History interface {
	History(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]Sample, error)
}

// NewCommand is "headroom forecast". connect gives the history behind a URL; where it is nil, --prometheus-url is refused.
func NewCommand(connect func(url string) (History, error)) *cobra.Command {
	o := DefaultOptions()
	c := &cobra.Command{
		Use:   "forecast",
		Short: "Replay a trace or Prometheus history through the forecaster and show how good the forecasts are",
		Example: "  headroom forecast --trace requests.csv.gz --lead 10m --plot forecast.html\n" +
			"  headroom forecast --prometheus-url http://localhost:9090 --query 'sum(rate(requests_total[1m]))' --gauge --since 14d",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return run(c.Context(), o, connect, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Trace, "trace", o.Trace, "CSV with timestamp_s and a column, plain or gzip; - for standard input")
	f.StringVar(&o.Column, "column", o.Column, "column to forecast")
	f.BoolVar(&o.Gauge, "gauge", o.Gauge, "the column is a level: average it in a bin instead of summing")
	f.StringVar(&o.PrometheusURL, "prometheus-url", o.PrometheusURL, "read history from Prometheus instead of a trace")
	f.StringVar(&o.Query, "query", o.Query, "PromQL that gives one series")
	f.Var(days{&o.Since}, "since", "how far back to query")
	f.StringVar(&o.TimeZone, "time-zone", o.TimeZone, "whose days and weeks demand follows")
	f.Var(days{&o.Step}, "step", "width of a bin, 10s to 5m")
	f.Var(days{&o.Lead}, "lead", "how far ahead: the forecast is of the maximum until then")
	f.Var(days{&o.Every}, "every", "from one scored forecast to the next")
	f.Var(days{&o.Warmup}, "warmup", "what is not scored at the start; half of a shorter trace")
	f.Float64SliceVar(&o.Quantiles, "quantiles", o.Quantiles, "quantiles, ascending")
	f.StringVar(&o.Out, "out", o.Out, "write the forecasts to this CSV file")
	f.StringVar(&o.Plot, "plot", o.Plot, "write a plot to this HTML file")
	f.BoolVar(&o.JSON, "json", o.JSON, "print JSON instead of a table")
	return c
}

func run(ctx context.Context, o Options, connect func(string) (History, error), in io.Reader, out, log io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	engine := forecaster.DefaultOptions()
	engine.Step, engine.Leads, engine.Quantiles = o.Step, []time.Duration{o.Lead}, o.Quantiles
	engine.Zone, _ = time.LoadLocation(o.TimeZone) // Validate has loaded it before
	if err := engine.Validate(); err != nil {
		return err
	}
	series, issues, err := load(ctx, o, connect, in)
	if err != nil {
		return err
	}
	tell(log, issues)
	p := backtest.Protocol{Lead: o.Lead, Every: o.Every, Warmup: o.Warmup, Quantiles: o.Quantiles}
	bar := newProgress(log)
	c, err := backtest.Compare(series, p, engine, func(done, total int) { bar.show(done, total) })
	bar.done()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	took, err := timePerStep(series, engine)
	if err != nil {
		return err
	}
	r := newReport(c, series, issues, took)
	if o.Out != "" {
		if err := writeFile(o.Out, func(w io.Writer) error { return writeCSV(w, c.Run(backtest.NameEngine)) }); err != nil {
			return fmt.Errorf("write forecasts: %w", err)
		}
	}
	if o.Plot != "" {
		if err := writeFile(o.Plot, func(w io.Writer) error { return writePlot(w, r, c, series) }); err != nil {
			return fmt.Errorf("write plot: %w", err)
		}
	}
	if o.JSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(out)
}

func load(ctx context.Context, o Options, connect func(string) (History, error), in io.Reader) (forecaster.Series, []traces.Issue, error) {
	if o.PrometheusURL != "" {
		return query(ctx, o, connect, time.Now())
	}
	r := in
	if o.Trace != "-" {
		f, err := os.Open(o.Trace)
		if err != nil {
			return forecaster.Series{}, nil, fmt.Errorf("open trace: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		r = f
	}
	t, err := traces.Read(r, o.Column)
	if err != nil {
		return forecaster.Series{}, nil, fmt.Errorf("read trace %s: %w", o.Trace, err)
	}
	m := traces.Count
	if o.Gauge {
		m = traces.Gauge
	}
	s, err := t.Bin(o.Step, m)
	if err != nil {
		return forecaster.Series{}, nil, fmt.Errorf("bin trace %s: %w", o.Trace, err)
	}
	return s, t.Issues, nil
}

// query reads history on the grid of the step. A step without a sample is missing.
func query(ctx context.Context, o Options, connect func(string) (History, error), now time.Time) (forecaster.Series, []traces.Issue, error) {
	if connect == nil {
		return forecaster.Series{}, nil, errors.New("--prometheus-url: this program was built without it")
	}
	h, err := connect(o.PrometheusURL)
	if err != nil {
		return forecaster.Series{}, nil, fmt.Errorf("connect to %s: %w", o.PrometheusURL, err)
	}
	to := now.Truncate(o.Step)
	from := to.Add(-o.Since).Truncate(o.Step)
	samples, err := h.History(ctx, o.Query, from, to, o.Step)
	if err != nil {
		return forecaster.Series{}, nil, fmt.Errorf("query history: %w", err)
	}
	n := int(to.Sub(from) / o.Step)
	s := forecaster.Series{Start: from, Step: o.Step, Bins: make([]forecaster.Observation, n)}
	for i := range s.Bins {
		s.Bins[i] = forecaster.NoData()
	}
	bad, got := 0, 0
	for _, x := range samples {
		// A sample of a range query at t speaks of what came before t, so it is the bin that ends there.
		i := int(x.At.Sub(from)/o.Step) - 1
		if i < 0 || i >= n {
			continue
		}
		if !(x.Value >= 0) || x.Value > 1e30 {
			bad++
			continue
		}
		got++
		s.Bins[i] = forecaster.Value(x.Value)
	}
	var issues []traces.Issue
	if bad > 0 {
		issues = append(issues, traces.Issue{Reason: fmt.Sprintf("%d samples are negative or no number", bad), Action: "taken as missing"})
	}
	if got == 0 {
		return s, issues, fmt.Errorf("query history: %w between %s and %s", traces.ErrNoRows, from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	if missing := n - got - bad; missing > 0 {
		issues = append(issues, traces.Issue{Reason: fmt.Sprintf("%d of %d steps have no sample", missing, n), Action: "taken as missing"})
	}
	return s, issues, nil
}

// tell prints what was wrong with the input, at most a screenful.
func tell(w io.Writer, issues []traces.Issue) {
	const most = 20
	for i, issue := range issues {
		if i == most {
			fmt.Fprintf(w, "… and %d more\n", len(issues)-most)
			return
		}
		if issue.Line > 0 {
			fmt.Fprintln(w, issue)
		} else {
			fmt.Fprintf(w, "%s: %s\n", issue.Reason, issue.Action)
		}
	}
}

func timePerStep(s forecaster.Series, o forecaster.Options) (time.Duration, error) {
	e, err := forecaster.New(o)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for i, bin := range s.Bins {
		e.Observe(s.At(i), bin)
		if _, err := e.Forecast(s.At(i + 1)); err != nil && !errors.Is(err, forecaster.ErrInsufficientHistory) {
			return 0, err
		}
	}
	return time.Since(began) / time.Duration(max(1, len(s.Bins))), nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// writeCSV writes one row per origin; the fields are empty where there was no forecast yet.
func writeCSV(w io.Writer, r backtest.Run) error {
	c := csv.NewWriter(w)
	head := []string{"origin_s"}
	for _, q := range r.Protocol.Quantiles {
		head = append(head, "q"+strconv.FormatFloat(q, 'g', -1, 64))
	}
	_ = c.Write(head) // csv.Writer keeps its error for Error
	for i, origin := range r.Origins {
		line := make([]string, len(head))
		line[0] = strconv.FormatInt(int64(origin/time.Second), 10)
		for j := range r.Forecasts[i] {
			line[j+1] = strconv.FormatFloat(r.Forecasts[i][j], 'g', -1, 64)
		}
		_ = c.Write(line)
	}
	c.Flush()
	return c.Error()
}

// progress draws a bar on a terminal, and nothing elsewhere.
type progress struct {
	w     io.Writer
	last  int
	drawn bool
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if !ok {
		return &progress{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{w: w, last: -1}
}

func (p *progress) show(done, total int) {
	if p.w == nil || total == 0 {
		return
	}
	const width = 40
	if percent := 100 * done / total; percent != p.last {
		p.last, p.drawn = percent, true
		full := width * done / total
		fmt.Fprintf(p.w, "\r%s%s %3d %%", strings.Repeat("█", full), strings.Repeat("░", width-full), percent)
	}
}

func (p *progress) done() {
	if p.drawn {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", 50))
	}
}
