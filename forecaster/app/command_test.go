package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
)

func execute(t *testing.T, connect func(string) (History, error), args ...string) (out, log string, err error) {
	t.Helper()
	c := NewCommand(connect)
	var o, l bytes.Buffer
	c.SetOut(&o)
	c.SetErr(&l)
	c.SetArgs(args)
	err = c.ExecuteContext(context.Background())
	return o.String(), l.String(), err
}

// writeTrace writes days of a daily service as a trace, without the given minutes.
func writeTrace(t *testing.T, days int, without ...int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("timestamp_s,requests\n")
	gone := map[int]bool{}
	for _, w := range without {
		gone[w] = true
	}
	for i, o := range traces.DailyService(1, days).Bins {
		if v, _ := o.Number(); !gone[i] {
			fmt.Fprintf(&b, "%d,%g\n", i*60, v)
		}
	}
	path := filepath.Join(t.TempDir(), "trace.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandOnATrace(t *testing.T) {
	dir := t.TempDir()
	csv, html := filepath.Join(dir, "f.csv"), filepath.Join(dir, "p.html")
	out, log, err := execute(t, nil, "--trace", writeTrace(t, 3, 100, 101), "--warmup", "1d", "--out", csv, "--plot", html)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 missing", "relative to plain engine", "coverage", "weights at the end", "µs a step"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table does not say %q:\n%s", want, out)
		}
	}
	if !strings.Contains(log, "line 102: gap of 2m0s") {
		t.Errorf("the gap is not reported by line: %s", log)
	}
	rows, err := os.ReadFile(csv)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(rows)), "\n")
	if lines[0] != "origin_s,q0.5,q0.9,q0.95,q0.99" || !strings.HasPrefix(lines[1], "86400,") {
		t.Errorf("forecasts begin %q, %q", lines[0], lines[1])
	}
	// Origins from 1 d to 3 d less the lead of 10 min, every 5 min.
	if want := 1 + (2*1440-10)/5 + 1; len(lines) != want {
		t.Errorf("%d lines of forecasts, want %d", len(lines), want)
	}
	page, err := os.ReadFile(html)
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"http://", "https://", "src=", "@import"} {
		if bytes.Contains(page, []byte(never)) {
			t.Errorf("the plot refers to something outside: %q", never)
		}
	}
}

// What comes later must not change what was forecast before: no look-ahead.
func TestCuttingTheTraceLeavesEarlierForecasts(t *testing.T) {
	whole, cut := filepath.Join(t.TempDir(), "a.csv"), filepath.Join(t.TempDir(), "b.csv")
	for _, c := range []struct {
		days int
		out  string
	}{{4, whole}, {3, cut}} {
		if _, _, err := execute(t, nil, "--trace", writeTrace(t, c.days), "--warmup", "1d", "--out", c.out); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := os.ReadFile(whole)
	b, _ := os.ReadFile(cut)
	if len(b) == 0 || !bytes.HasPrefix(a, b) {
		t.Error("forecasts of the cut trace are not the first forecasts of the whole one")
	}
}

func TestCommandJSON(t *testing.T) {
	out, _, err := execute(t, nil, "--trace", writeTrace(t, 2), "--warmup", "12h", "--json", "--quantiles", "0.9,0.99")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Quantiles []float64
		Coverage  struct{ AllOrigins []float64 }
		Weights   []struct{ Share []float64 }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{0.9, 0.99}, r.Quantiles); d != "" {
		t.Error(d)
	}
	sum := 0.0
	for _, w := range r.Weights {
		sum += w.Share[0]
	}
	if math.Abs(sum-1) > 1e-3 || r.Coverage.AllOrigins[0] < 0.8 {
		t.Errorf("weights sum to %v, coverage %v", sum, r.Coverage.AllOrigins)
	}
}

type fake struct {
	samples []Sample
	err     error
	step    time.Duration
	span    time.Duration
}

func (f *fake) History(_ context.Context, _ string, from, to time.Time, step time.Duration) ([]Sample, error) {
	f.step, f.span = step, to.Sub(from)
	if f.err != nil {
		return nil, f.err
	}
	for at := from; !at.After(to); at = at.Add(step) {
		if at.Unix()/60%100 != 0 { // every hundredth is lacking
			f.samples = append(f.samples, Sample{at, 50 + float64(at.Unix()/60%60)})
		}
	}
	f.samples[5].Value = math.NaN()
	return f.samples, nil
}

func TestCommandOnPrometheus(t *testing.T) {
	f := &fake{}
	out, log, err := execute(t, func(string) (History, error) { return f, nil }, "--prometheus-url", "http://p", "--query", "q", "--since", "1d", "--warmup", "12h")
	if err != nil {
		t.Fatal(err)
	}
	if f.step != time.Minute || f.span != 24*time.Hour {
		t.Errorf("asked for %v at a step of %v, want 24h and 1m", f.span, f.step)
	}
	if !strings.Contains(out, "1440 bins of 1m0s") || !strings.Contains(log, "have no sample: taken as missing") {
		t.Errorf("output:\n%s\n%s", out, log)
	}
	if _, _, err := execute(t, func(string) (History, error) { return &fake{err: errors.New("down")}, nil }, "--prometheus-url", "http://p", "--query", "q"); err == nil || !strings.Contains(err.Error(), "down") {
		t.Errorf("error %v, want the one of the history", err)
	}
}

func TestCommandRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no input", nil, "exactly one of --trace and --prometheus-url"},
		{"both", []string{"--trace", "x", "--prometheus-url", "y", "--query", "q"}, "exactly one of"},
		{"no query", []string{"--prometheus-url", "y"}, "--query"},
		{"no zone", []string{"--trace", "x", "--time-zone", "Mars/North"}, "--time-zone"},
		{"no file", []string{"--trace", "nowhere.csv"}, "open trace"},
		{"odd step", []string{"--trace", "x", "--step", "7s"}, "step"},
		{"odd lead", []string{"--trace", "x", "--lead", "90s"}, "leads[0]"},
		{"quantiles falling", []string{"--trace", "x", "--quantiles", "0.9,0.5"}, "quantiles[1]"},
		{"odd duration", []string{"--trace", "x", "--warmup", "7 days"}, "must be like 7d"},
		{"no prometheus", []string{"--prometheus-url", "y", "--query", "q"}, "built without it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := execute(t, nil, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestDefaultsAgreeWithTheEngine(t *testing.T) {
	o, e := DefaultOptions(), forecaster.DefaultOptions()
	if o.Step != e.Step || o.Lead != e.Leads[0] || !cmp.Equal(o.Quantiles, e.Quantiles) {
		t.Errorf("the command's defaults are %v, %v, %v, the engine's %v, %v, %v", o.Step, o.Lead, o.Quantiles, e.Step, e.Leads[0], e.Quantiles)
	}
}
