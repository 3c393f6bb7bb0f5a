package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// snapshot is one look at everything.
type snapshot struct {
	Elapsed          time.Duration
	Phase            string
	Offered          float64 // requests/s
	Capacity         float64 // requests/s that the Ready pods can serve
	Metric           float64 // what the HPA read last, requests/s for each pod
	Current, Desired int     // the HPA's replicas
	Ready            int
	Loading          int // Running, not Ready
	Pending          int // without a GPU
	GPUs             int
	Waiting          float64 // requests
	Late, Lost       float64 // requests so far; late includes lost
	Total            float64 // requests so far
}

// render is the whole picture in the given width.
func render(history []snapshot, width int) string {
	now := history[len(history)-1]
	chart := max(20, min(100, width-28))
	peak := 1.0
	for _, s := range history {
		peak = max(peak, s.Offered, s.Capacity)
	}
	column := func(value func(snapshot) float64, top float64) string { return sparkline(history, chart, value, top) }
	var b strings.Builder
	fmt.Fprintf(&b, "  %s  %-10s  %s\n\n", clock(now.Elapsed), now.Phase, "(the newest second is on the right)")
	fmt.Fprintf(&b, "  offered   %5.0f req/s  %s\n", now.Offered, column(func(s snapshot) float64 { return s.Offered }, peak))
	fmt.Fprintf(&b, "  capacity  %5.0f req/s  %s\n", now.Capacity, column(func(s snapshot) float64 { return s.Capacity }, peak))
	fmt.Fprintf(&b, "  waiting   %5.0f req    %s\n\n", now.Waiting, column(func(s snapshot) float64 { return s.Waiting }, 0))
	fmt.Fprintf(&b, "  per pod   %5.1f req/s, as the HPA read it last (target %s)\n", now.Metric, target)
	fmt.Fprintf(&b, "  HPA       %5d → %d replicas\n", now.Current, now.Desired)
	fmt.Fprintf(&b, "  pods      %5d Ready, %d loading, %d Pending   %s\n", now.Ready, now.Loading, now.Pending, bar(now))
	fmt.Fprintf(&b, "  late      %5.0f of %.0f requests%s\n", now.Late, now.Total, percent(now.Late, now.Total))
	return b.String()
}

// bar shows every pod: Ready, loading, Pending; and the GPUs that nobody uses.
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

// sparkline draws the history in width columns, each the highest of its share; top 0 scales by the highest of all.
func sparkline(history []snapshot, width int, value func(snapshot) float64, top float64) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	per := max(1, (len(history)+width-1)/width)
	for _, s := range history {
		top = max(top, value(s))
	}
	var b strings.Builder
	for from := 0; from < len(history); from += per {
		highest := 0.0
		for _, s := range history[from:min(len(history), from+per)] {
			highest = max(highest, value(s))
		}
		level := 0
		if top > 0 {
			level = min(len(levels)-1, int(highest/top*float64(len(levels))))
		}
		b.WriteRune(levels[level])
	}
	return b.String()
}

// line is one look for those who read a log.
func line(s snapshot) string {
	return fmt.Sprintf("%s %-10s offered %3.0f/s  capacity %3.0f/s  per pod %4.1f  HPA %2d → %2d  ready %2d  loading %2d  pending %2d  waiting %4.0f  late %5.0f%s",
		clock(s.Elapsed), s.Phase, s.Offered, s.Capacity, s.Metric, s.Current, s.Desired, s.Ready, s.Loading, s.Pending, s.Waiting, s.Late, percent(s.Late, s.Total))
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// summary says what was seen, in numbers that the history holds.
func summary(history []snapshot) string {
	last := history[len(history)-1]
	first, most, pending, short := history[0], 0, 0, 0
	var stepAt, grewAt time.Duration
	for i, s := range history {
		most, pending = max(most, s.Ready), max(pending, s.Pending)
		if s.Offered > s.Capacity {
			short++
		}
		if i > 0 && stepAt == 0 && s.Offered > history[i-1].Offered*1.5 {
			stepAt = s.Elapsed
		}
		if stepAt > 0 && grewAt == 0 && s.Ready > first.Ready {
			grewAt = s.Elapsed
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nIn %s the HPA went from %d to %d Ready pods", clock(last.Elapsed), first.Ready, most)
	if pending > 0 {
		fmt.Fprintf(&b, ", and up to %d more found no GPU", pending)
	}
	fmt.Fprintf(&b, ".\n%.0f of %.0f requests%s waited longer than two seconds, %.0f of them gave up; capacity was short for %s.\n",
		last.Late, last.Total, percent(last.Late, last.Total), last.Lost, clock(time.Duration(short)*time.Second))
	if grewAt > 0 {
		fmt.Fprintf(&b, "From the step in the load to the first new Ready pod it took %s: the metrics and the HPA's period, and then %s of loading.\n"+
			"That is what a reactive HPA cannot do better.\n", (grewAt - stepAt).Round(time.Second), coldStart)
	}
	return b.String()
}

// screen shows pictures in place, or lines.
type screen struct {
	out   io.Writer
	plain bool
	lines int // of the last picture
	last  time.Duration
}

func newScreen(out io.Writer, plain bool) *screen {
	return &screen{out: out, plain: plain, last: -time.Hour}
}

// lineEvery is how often a log gets a line.
const lineEvery = 5 * time.Second

func (s *screen) draw(history []snapshot) {
	now := history[len(history)-1]
	if s.plain {
		if now.Elapsed-s.last >= lineEvery {
			fmt.Fprintln(s.out, line(now))
			s.last = now.Elapsed
		}
		return
	}
	text := render(history, terminalWidth())
	if s.lines > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.lines) // back up, and clear what was there
	}
	fmt.Fprint(s.out, text)
	s.lines = strings.Count(text, "\n")
}

// terminalWidth asks the terminal; 80 where it does not say.
func terminalWidth() int {
	cmd := exec.Command("stty", "size")
	cmd.Stdin = os.Stdin
	if out, err := cmd.Output(); err == nil {
		if fields := strings.Fields(string(out)); len(fields) == 2 {
			if width, err := strconv.Atoi(fields[1]); err == nil && width > 0 {
				return width
			}
		}
	}
	return 80
}
