// Package report holds the figures of a load run beside their budgets, as a value that is printed as a table, written as
// Markdown and kept as JSON. It measures nothing.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// Schema names the layout of the JSON; a change that breaks readers gets a new number.
const Schema = "headroom.dev/load/v1"

// Bound is the side on which a budget lies.
type Bound string

const (
	AtMost  Bound = "at most"
	AtLeast Bound = "at least"
)

// Budget is a limit in the figure's own unit.
type Budget struct {
	Bound Bound   `json:"bound"`
	Limit float64 `json:"limit"`
}

// Figure is one measured number.
type Figure struct {
	Scenario string `json:"scenario"` // as given to --scenario
	Shape    string `json:"shape,omitempty"`
	Name     string `json:"name"`
	Unit     string `json:"unit"`
	// Value is nil when it could not be measured; Note then says why. A figure that is missing has missed its budget.
	Value  *float64 `json:"value"`
	Budget *Budget  `json:"budget,omitempty"`
	// Baseline is the empty provider's figure of the same run, where the budget is a multiple of it.
	Baseline *float64 `json:"baseline,omitempty"`
	Note     string   `json:"note,omitempty"`
}

// Measured makes a figure; a value that is no number becomes a missing one.
func Measured(scenario, shape, name, unit string, value float64) Figure {
	f := Figure{Scenario: scenario, Shape: shape, Name: name, Unit: unit}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		f.Note = "could not be computed"
		return f
	}
	f.Value = &value
	return f
}

// Missing makes a figure without a value.
func Missing(scenario, shape, name, unit, why string) Figure {
	return Figure{Scenario: scenario, Shape: shape, Name: name, Unit: unit, Note: why}
}

// AtMost sets the budget.
func (f Figure) AtMost(limit float64) Figure { f.Budget = &Budget{AtMost, limit}; return f }

// AtLeast sets the budget.
func (f Figure) AtLeast(limit float64) Figure { f.Budget = &Budget{AtLeast, limit}; return f }

// Times sets the budget as a multiple of the empty provider's figure.
func (f Figure) Times(bound Bound, factor, baseline float64) Figure {
	f.Budget, f.Baseline = &Budget{bound, factor * baseline}, &baseline
	return f
}

// Because adds a note.
func (f Figure) Because(format string, args ...any) Figure {
	f.Note = fmt.Sprintf(format, args...)
	return f
}

// Verdict compares with the budget.
type Verdict uint8

const (
	NoBudget Verdict = iota + 1
	Met
	Missed
)

func (v Verdict) String() string { return [...]string{"", "", "met", "MISSED"}[min(v, Missed)] }

// Verdict of a figure.
func (f Figure) Verdict() Verdict {
	switch {
	case f.Budget == nil:
		return NoBudget
	case f.Value == nil:
		return Missed
	case f.Budget.Bound == AtMost && *f.Value <= f.Budget.Limit, f.Budget.Bound == AtLeast && *f.Value >= f.Budget.Limit:
		return Met
	}
	return Missed
}

// Machine says where the figures are from.
type Machine struct {
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"`
	MemoryBytes int64  `json:"memoryBytes"`
	Kernel      string `json:"kernel"`
	Go          string `json:"go"`
}

// Report is one run.
type Report struct {
	Schema   string            `json:"schema"`
	Started  time.Time         `json:"started"`
	Seconds  float64           `json:"seconds"`
	Command  string            `json:"command"`
	Revision string            `json:"revision,omitempty"`
	Machine  Machine           `json:"machine"`
	Settings map[string]string `json:"settings,omitempty"`
	Figures  []Figure          `json:"figures"`
}

// Missed counts the figures that missed their budget.
func (r *Report) Missed() int {
	n := 0
	for _, f := range r.Figures {
		if f.Verdict() == Missed {
			n++
		}
	}
	return n
}

// JSON writes the report.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// ReadJSON reads a report back and refuses another schema.
func ReadJSON(data []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read load report: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("load report has schema %q, want %q", r.Schema, Schema)
	}
	return &r, nil
}

func (f Figure) cells() []string {
	value := "–"
	if f.Value != nil {
		value = number(*f.Value)
	}
	budget, baseline := "", ""
	if f.Budget != nil {
		budget = fmt.Sprintf("%s %s", f.Budget.Bound, number(f.Budget.Limit))
	}
	if f.Baseline != nil {
		baseline = number(*f.Baseline)
		if f.Value != nil && *f.Baseline > 0 {
			baseline += fmt.Sprintf(" (%.2f×)", *f.Value / *f.Baseline)
		}
	}
	return []string{f.Scenario, f.Shape, f.Name, value, f.Unit, baseline, budget, f.Verdict().String(), f.Note}
}

var header = []string{"scenario", "shape", "figure", "value", "unit", "empty provider", "budget", "", "note"}

// number prints three significant digits, without an exponent.
func number(v float64) string {
	a := math.Abs(v)
	switch {
	case v == math.Trunc(v) && a < 1e6:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	case a >= 0.01:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// Table writes the figures for a terminal.
func (r *Report) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, f := range r.Figures {
		fmt.Fprintln(t, strings.Join(f.cells(), "\t"))
	}
	return t.Flush()
}

// Markdown writes the whole report as a page.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Load on the metrics APIs\n\nWritten by `%s`; do not edit.\n\n", r.Command)
	fmt.Fprintf(&b, "%s, %d cores, %.0f GiB, Linux %s, %s. Started %s, took %s.", r.Machine.CPU, r.Machine.Cores,
		float64(r.Machine.MemoryBytes)/(1<<30), r.Machine.Kernel, r.Machine.Go,
		r.Started.UTC().Format("2006-01-02 15:04 MST"), (time.Duration(r.Seconds) * time.Second).String())
	if r.Revision != "" {
		fmt.Fprintf(&b, " Revision %s.", r.Revision)
	}
	fmt.Fprintf(&b, " %d of %d budgets missed.\n", r.Missed(), r.budgets())
	last := ""
	for _, f := range r.Figures {
		if f.Scenario != last {
			fmt.Fprintf(&b, "\n## %s\n\n|%s|\n|%s\n", f.Scenario, strings.Join(header[1:], "|"), strings.Repeat("---|", len(header)-1))
			last = f.Scenario
		}
		cells := f.cells()[1:]
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", "\\|")
		}
		fmt.Fprintf(&b, "|%s|\n", strings.Join(cells, "|"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) budgets() int {
	n := 0
	for _, f := range r.Figures {
		if f.Budget != nil {
			n++
		}
	}
	return n
}
