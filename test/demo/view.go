package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// snapshot is one look at everything.
type snapshot struct {
	Elapsed  time.Duration
	Phase    string
	Offered  float64 // requests/s, to each fleet
	Fleets   [fleets]fleetNow
	Decision decision
}

// fleetNow is one fleet at a moment.
type fleetNow struct {
	Capacity         float64 // requests/s that the Ready pods can serve
	Metric           float64 // what the HPA read last, for each pod
	Known            bool    // whether the HPA has read anything
	Current, Desired int     // the HPA's replicas
	Ready            int
	Loading          int     // Running, not Ready
	Pending          int     // without a node
	Waiting          float64 // requests
	Late, Lost       float64 // requests so far; late includes lost
	Total            float64 // requests so far
}

// decision is what kubectl get headroom shows.
type decision struct {
	Made                                 bool
	Demand                               float64 // requests/s
	DemandKnown                          bool
	Need, Buffer, Floor, Replicas, Ready int
	Reason                               string
}

// targets are what the HPAs want of their metrics: load for each pod, and one for each replica of Headroom's floor.
var targets = [fleets]string{target, "1"}

// The labels and numbers beside a chart take this many columns; a chart is between narrowest and widest.
const (
	beside    = 26
	narrowest = 20
	widest    = 100
)

// render is the whole picture. The charts span the planned time, and the width as far as it goes; both fleets have one scale.
func render(history []snapshot, planned time.Duration, width int) string {
	now := history[len(history)-1]
	columns := max(narrowest, min(widest, width-beside))
	peak, queue, lateness := 1.0, 10.0, 1.0
	for i, s := range history {
		peak = max(peak, s.Offered)
		for f := range s.Fleets {
			peak, queue, lateness = max(peak, s.Fleets[f].Capacity), max(queue, s.Fleets[f].Waiting), max(lateness, newlyLate(history, i, f))
		}
	}
	var b strings.Builder
	row := func(label string, unit string, top float64, value func(i int) float64) {
		fmt.Fprintf(&b, "  %-9s %5.0f %-5s  %s\n", label, value(len(history)-1), unit, sparkline(history, planned, columns, value, top))
	}
	fmt.Fprintf(&b, "  %s of %s  %s\n\n", clock(now.Elapsed), clock(planned), now.Phase)
	row("offered", "req/s", peak, func(i int) float64 { return history[i].Offered })
	for f, name := range namespaces {
		fmt.Fprintf(&b, "  %s%s\n", name, short(now, f))
		row(" capacity", "req/s", peak, func(i int) float64 { return history[i].Fleets[f].Capacity })
		row(" waiting", "req", queue, func(i int) float64 { return history[i].Fleets[f].Waiting })
		row(" late", "req/s", lateness, func(i int) float64 { return newlyLate(history, i, f) })
	}
	b.WriteString("\n" + table(now) + "\n" + decided(now.Decision, width))
	return clip(b.String(), width)
}

// short says by how much a fleet is too small.
func short(now snapshot, f int) string {
	if over := now.Offered - now.Fleets[f].Capacity; over > 0 {
		return fmt.Sprintf("  ◄ %.0f req/s more than its Ready pods can serve", over)
	}
	return ""
}

// table sets the fleets beside each other.
func table(now snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-13s  %9s  %8s  %5s  %7s  %7s  %s\n", "namespace", "HPA reads", "replicas", "Ready", "loading", "Pending", "late so far")
	for i, f := range now.Fleets {
		replicas := fmt.Sprintf("%d → %s", f.Current, desired(f))
		fmt.Fprintf(&b, "  %-13s  %9s  %8s  %5d  %7d  %7d  %.0f%s\n", namespaces[i], metric(f, targets[i]), replicas,
			f.Ready, f.Loading, f.Pending, f.Late, percent(f.Late, f.Total))
	}
	return b.String()
}

// decided is the line of kubectl get headroom, and its reason in two lines: the picture's height does not change.
func decided(d decision, width int) string {
	const head = "  because  "
	if !d.Made {
		return "  Headroom  no decision yet\n\n\n"
	}
	text := fmt.Sprintf("  Headroom  demand %s  need %d  buffer %d  floor %d  replicas %d  Ready %d\n", demand(d), d.Need, d.Buffer, d.Floor, d.Replicas, d.Ready)
	one, two := d.Reason, ""
	if room := width - len(head); room > 0 && utf8.RuneCountInString(one) > room {
		one, two = split(d.Reason, room)
	}
	if two != "" {
		two = strings.Repeat(" ", len(head)) + two
	}
	return text + head + one + "\n" + two + "\n"
}

// split breaks a text at the last space within the room, or just there.
func split(text string, room int) (one, two string) {
	runes := []rune(text)
	for i := room; i > 0; i-- {
		if runes[i] == ' ' {
			return string(runes[:i]), string(runes[i+1:])
		}
	}
	return string(runes[:room]), string(runes[room:])
}

func demand(d decision) string {
	if !d.DemandKnown {
		return "unknown"
	}
	return fmt.Sprintf("%.1f req/s", d.Demand)
}

// newlyLate is how many requests per second of a fleet turned out late since the look before.
func newlyLate(history []snapshot, i, f int) float64 {
	if i == 0 {
		return 0
	}
	since := (history[i].Elapsed - history[i-1].Elapsed).Seconds()
	if since <= 0 {
		return 0
	}
	return (history[i].Fleets[f].Late - history[i-1].Fleets[f].Late) / since
}

// clip cuts lines at the width: one that wraps would spoil redrawing in place.
func clip(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if runes := []rune(strings.TrimSuffix(line, "\n")); len(runes) > width {
			line = string(runes[:width]) + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// metric is the number that the HPA read, if it did, and what it wants: unknown is no number.
func metric(f fleetNow, target string) string {
	if !f.Known {
		return "– of " + target
	}
	return fmt.Sprintf("%.1f of %s", f.Metric, target)
}

// desired is what the HPA wants, once it has decided anything.
func desired(f fleetNow) string {
	if f.Desired == 0 {
		return "–"
	}
	return strconv.Itoa(f.Desired)
}

func percent(part, whole float64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.1f %%)", 100*part/whole)
}

// sparkline draws a value over the planned time, each column the highest of its share of it. What is higher than top
// raises the scale. A column that no snapshot falls into repeats the one before: a busy machine misses a second.
func sparkline(history []snapshot, planned time.Duration, columns int, value func(i int) float64, top float64) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	var highest []float64
	before := 0.0
	for i, s := range history {
		v := value(i)
		top = max(top, v)
		column := min(columns-1, int(int64(s.Elapsed)*int64(columns)/int64(planned)))
		for len(highest) < column {
			highest = append(highest, before)
		}
		if len(highest) == column {
			highest = append(highest, v)
		}
		highest[column] = max(highest[column], v)
		before = v
	}
	var b strings.Builder
	for _, v := range highest {
		b.WriteRune(levels[max(0, min(len(levels)-1, int(v/top*float64(len(levels)))))])
	}
	return b.String()
}

// line is one look for those who read a log.
func line(s snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-10s offered %3.0f/s", clock(s.Elapsed), s.Phase, s.Offered)
	for i, f := range s.Fleets {
		fmt.Fprintf(&b, "  | %s: reads %s  HPA %d → %s  Ready %d  loading %d  Pending %d  waiting %.0f  late %.0f%s", namespaces[i], metric(f, targets[i]),
			f.Current, desired(f), f.Ready, f.Loading, f.Pending, f.Waiting, f.Late, percent(f.Late, f.Total))
	}
	if d := s.Decision; d.Made {
		fmt.Fprintf(&b, "  | floor %d: %s", d.Floor, d.Reason)
	}
	return b.String()
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
