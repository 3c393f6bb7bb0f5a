package report

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
)

// WriteTable writes the comparison for a terminal.
func (d *Document) WriteTable(out io.Writer) error {
	width := 0
	for _, p := range d.Policies {
		width = max(width, len(p.Name))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%-*s\tlate\tunserved\tunder-prov.\twait P50/P95/P99\treplica-hours\tcost\t× oracle\tstarted\tworst day\t\n", width, "policy")
	for _, p := range d.Policies {
		oracle := "–"
		if p.ToOracle != nil {
			oracle = fmt.Sprintf("%.2f", *p.ToOracle)
		}
		fmt.Fprintf(w, "%-*s\t%s\t%s\t%d min\t%s\t%.0f\t%s\t%s\t%d\t%s on %s\t\n", width, p.Name, Percent(p.LateShare), Percent(p.UnservedShare), p.UnderProvisioned,
			seconds(p.WaitP50)+" / "+seconds(p.WaitP95)+" / "+seconds(p.WaitP99), p.ReplicaHours, d.price(p.Cost), oracle, p.PodsStarted, Percent(p.WorstDayLateShare), p.WorstDay)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nlate: work offered beyond what the Ready replicas carry, on a 15 s grid. unserved: given up after %s in the queue.\n", seconds(d.Workload.Patience))
	fmt.Fprintf(out, "forecast of the maximum over %s:", seconds(d.Workload.HorizonSeconds))
	for _, c := range d.Calibration {
		if c.Quantile >= 0.5 {
			fmt.Fprintf(out, " q%s held %s,", number(c.Quantile), Percent(c.Coverage))
		}
	}
	_, err := fmt.Fprintf(out, " of the time\n")
	if f := d.Frontier; f != nil && err == nil {
		_, err = fmt.Fprintln(out, f.verdict())
	}
	for _, n := range d.Notes {
		if err == nil {
			_, err = fmt.Fprintln(out, "note:", n)
		}
	}
	return err
}

func (d *Document) price(cost float64) string {
	if d.Workload.PricePerGPUHour == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", cost)
}

// verdict names the cheapest setting that reaches the SLO.
func (f *Frontier) verdict() string {
	if f.Cheapest == nil {
		return fmt.Sprintf("No setting of the sweep serves %s of the work in time.", Percent(f.SLO))
	}
	text := fmt.Sprintf("Cheapest with %s of the work in time: %s, %.0f replica-hours, %s late.", Percent(f.SLO), f.Cheapest.Name, f.Cheapest.ReplicaHours, Percent(f.Cheapest.LateShare))
	if o := f.CheapestOwned; o != nil && o.Name != f.Cheapest.Name {
		text += fmt.Sprintf(" Cheapest with a forecast: %s, %.0f replica-hours.", o.Name, o.ReplicaHours)
	}
	return text
}

// Percent is a share as a person reads it.
func Percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 2, 64) + " %" }

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func seconds(s float64) string {
	if s == 0 {
		return "0s"
	}
	return time.Duration(s * float64(time.Second)).String()
}
