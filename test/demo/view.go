package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/test/fleet"
)

// snapshot is one look at everything.
type snapshot struct {
	Elapsed          time.Duration
	Phase            string
	Offered          float64 // requests/s
	Capacity         float64 // requests/s that the Ready pods can serve
	Metric           float64 // what the HPA read last, requests/s for each pod
	Known            bool    // whether the HPA has read anything
	Current, Desired int     // the HPA's replicas
	Ready            int
	Loading          int // Running, not Ready
	Pending          int // without a GPU
	GPUs             int
	Waiting          float64 // requests
	Late, Lost       float64 // requests so far; late includes lost
	Total            float64 // requests so far
}

// The labels and numbers beside a chart take this many columns; a chart is between narrowest and widest.
const (
	beside    = 26
	narrowest = 20
	widest    = 100
)

// render is the whole picture. The charts span the planned time, and the width as far as it goes.
func render(history []snapshot, planned time.Duration, width int) string {
	now := history[len(history)-1]
	columns := max(narrowest, min(widest, width-beside))
	peak := 1.0
	for _, s := range history {
		peak = max(peak, s.Offered, s.Capacity)
	}
	chart := func(value func(i int) float64, top float64) string {
		return sparkline(history, planned, columns, value, top)
	}
	short := ""
	if now.Offered > now.Capacity {
		short = fmt.Sprintf("  ◄ %.0f req/s more than the Ready pods can serve", now.Offered-now.Capacity)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %s of %s  %s%s\n\n", clock(now.Elapsed), clock(planned), now.Phase, short)
	fmt.Fprintf(&b, "  offered   %5.0f req/s  %s\n", now.Offered, chart(func(i int) float64 { return history[i].Offered }, peak))
	fmt.Fprintf(&b, "  capacity  %5.0f req/s  %s\n", now.Capacity, chart(func(i int) float64 { return history[i].Capacity }, peak))
	fmt.Fprintf(&b, "  waiting   %5.0f req    %s\n", now.Waiting, chart(func(i int) float64 { return history[i].Waiting }, 10))
	late := func(i int) float64 { return newlyLate(history, i) }
	fmt.Fprintf(&b, "  late      %5.0f req/s  %s\n\n", late(len(history)-1), chart(late, 1))
	fmt.Fprintf(&b, "  per pod   %s req/s, as the HPA read it last; its target is %s\n", metric(now), target)
	fmt.Fprintf(&b, "  HPA       %5d replicas now, %s desired\n", now.Current, desired(now))
	fmt.Fprintf(&b, "  pods      %5d Ready, %d loading, %d Pending\n", now.Ready, now.Loading, now.Pending)
	fmt.Fprintf(&b, "  GPUs      %s   █ Ready  ▒ loading  · free  ? Pending, no GPU left\n", bar(now))
	fmt.Fprintf(&b, "  so far    %.0f requests; %.0f%s were late: they waited over %s\n",
		now.Total, now.Late, percent(now.Late, now.Total), fleet.DefaultOptions().LateWait)
	return clip(b.String(), width)
}

// newlyLate is how many requests per second turned out late since the look before.
func newlyLate(history []snapshot, i int) float64 {
	if i == 0 {
		return 0
	}
	since := (history[i].Elapsed - history[i-1].Elapsed).Seconds()
	if since <= 0 {
		return 0
	}
	return (history[i].Late - history[i-1].Late) / since
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

// metric is the number that the HPA read, if it did: unknown is no number.
func metric(s snapshot) string {
	if !s.Known {
		return "    –"
	}
	return fmt.Sprintf("%5.1f", s.Metric)
}

// desired is what the HPA wants, once it has decided anything.
func desired(s snapshot) string {
	if s.Desired == 0 {
		return "–"
	}
	return strconv.Itoa(s.Desired)
}

// bar shows every GPU, and the pods that found none.
func bar(s snapshot) string {
	free := max(0, s.GPUs-s.Ready-s.Loading)
	return strings.Repeat("█", s.Ready) + strings.Repeat("▒", s.Loading) + strings.Repeat("·", free) + strings.Repeat("?", s.Pending)
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
	return fmt.Sprintf("%s %-10s offered %3.0f/s  capacity %3.0f/s  per pod %s/s  HPA %2d → %2s  Ready %2d  loading %2d  Pending %2d  waiting %4.0f  late %5.0f%s",
		clock(s.Elapsed), s.Phase, s.Offered, s.Capacity, metric(s), s.Current, desired(s), s.Ready, s.Loading, s.Pending, s.Waiting, s.Late, percent(s.Late, s.Total))
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
