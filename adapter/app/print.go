package app

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

func (r *report) print(out io.Writer) {
	if r.File != "" {
		fmt.Fprintf(out, "%s: %d rules, no errors\n", r.File, r.Rules)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "warning: %s\n", warning)
	}
	for _, overlap := range r.Overlaps {
		fmt.Fprintf(out, "note: %s\n", overlap)
	}
	printFloors(out, r.Floors)
	if r.HPAs == nil {
		return
	}
	fmt.Fprintf(out, "\n%d HPAs ask for %d custom and %d external metrics: %s.\n", r.HPAs.HPAs, r.HPAs.CustomMetrics, r.HPAs.ExternalMetrics, r.HPAs.Explanation)
	if len(r.Answers) == 0 {
		return
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HPA\tKIND\tMETRIC\tOBJECT\tOURS\tTHEIRS\tVERDICT")
	for _, c := range r.Answers {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.HPA, c.Kind, c.Metric, c.Object, c.Ours.String(), c.Theirs.String(), c.Verdict)
	}
	_ = table.Flush()
	for _, c := range r.Answers {
		if c.Ours.Error != "" {
			fmt.Fprintf(out, "\n%s %s, ours: %s", c.HPA, c.Metric, c.Ours.Error)
		}
		if c.Theirs != nil && c.Theirs.Error != "" {
			fmt.Fprintf(out, "\n%s %s, theirs: %s", c.HPA, c.Metric, c.Theirs.Error)
		}
	}
	if s := r.Summary; s != nil {
		fmt.Fprintf(out, "\nCompared with %s at %s: %d the same (within %.0f %%), %d differ, %d answered by one side alone, %d by neither.\n",
			s.With, time.Now().UTC().Format("15:04:05Z"), s.Same, 100*sameWithin, s.Differ, s.Missing, s.Neither)
	}
}

func (s *side) String() string {
	switch {
	case s == nil:
		return "-"
	case s.Error != "":
		return "no value"
	case s.Items == 1:
		return fmt.Sprintf("%.4g", s.Sum)
	}
	return fmt.Sprintf("%.4g over %d", s.Sum, s.Items)
}
