package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/test/fleet"
)

// seen is what a history tells about one fleet.
type seen struct {
	most              int           // Ready pods at most
	short             time.Duration // the Ready pods could serve less than was offered
	podTime           time.Duration // of pods that had a GPU, Ready or loading
	step, asked, grew time.Duration // when the load rose, the HPA wanted more, a new pod was Ready; 0 for never
}

func study(history []snapshot, fleet int) seen {
	s := seen{}
	var calm fleetNow // the last look before the step
	for i := range history {
		now := history[i].Fleets[fleet]
		s.most = max(s.most, now.Ready)
		if i == 0 {
			continue
		}
		before := history[i-1].Fleets[fleet]
		elapsed := history[i].Elapsed
		since := elapsed - history[i-1].Elapsed
		if history[i-1].Offered > before.Capacity {
			s.short += since
		}
		s.podTime += since * time.Duration(before.Ready+before.Loading)
		if s.step == 0 && history[i].Offered > history[i-1].Offered*1.5 {
			s.step, calm = elapsed, before
		}
		if s.step > 0 && s.asked == 0 && now.Desired > max(calm.Desired, calm.Ready) {
			s.asked = elapsed
		}
		if s.step > 0 && s.grew == 0 && now.Ready > calm.Ready {
			s.grew = elapsed
		}
	}
	return s
}

// summary says what was seen, in numbers that the history holds.
func summary(history []snapshot) string {
	last := history[len(history)-1]
	var results [fleets]seen
	for i := range results {
		results[i] = study(history, i)
	}
	var b strings.Builder
	row := func(what string, value func(f fleetNow, s seen) string) {
		fmt.Fprintf(&b, "  %-26s", what)
		for i, f := range last.Fleets {
			fmt.Fprintf(&b, "  %15s", value(f, results[i]))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nThe same %.0f requests were offered to both in %s.\n\n", last.Fleets[alone].Total, clock(last.Elapsed))
	fmt.Fprintf(&b, "  %-26s  %15s  %15s\n", "", namespaces[alone], namespaces[ahead])
	row(fmt.Sprintf("waited over %s", fleet.DefaultOptions().LateWait), func(f fleetNow, _ seen) string {
		return fmt.Sprintf("%.0f%s", f.Late, percent(f.Late, f.Total))
	})
	row(" until the client gave up", func(f fleetNow, _ seen) string { return fmt.Sprintf("%.0f", f.Lost) })
	row("offered more than capacity", func(_ fleetNow, s seen) string { return clock(s.short) })
	row("Ready pods at most", func(_ fleetNow, s seen) string { return fmt.Sprint(s.most) })
	row("GPU-minutes", func(_ fleetNow, s seen) string { return fmt.Sprintf("%.1f", s.podTime.Minutes()) })
	b.WriteString("\n" + ratio(last.Fleets[alone].Late, last.Fleets[ahead].Late))
	if s := results[alone]; s.asked > 0 && s.grew > 0 {
		fmt.Fprintf(&b, "After the step the HPA alone took %s to ask for more pods, and %s until the\nfirst of them was Ready; %s of that it was loading.\n",
			(s.asked - s.step).Round(time.Second), (s.grew - s.step).Round(time.Second), coldStart)
	}
	return b.String()
}

// ratio compares the late requests. Less than one of them is none: the model is a fluid's.
func ratio(alone, ahead float64) string {
	switch {
	case alone < 1 && ahead < 1:
		return "No request was late in either.\n"
	case alone < 1:
		return fmt.Sprintf("With Headroom %.0f requests were late, and none with the HPA alone.\n", ahead)
	case ahead < 1:
		return fmt.Sprintf("With Headroom no request was late, of the HPA's %.0f.\n", alone)
	case ahead <= alone:
		return fmt.Sprintf("With Headroom %.1f %% as many requests were late as with the HPA alone.\n", 100*ahead/alone)
	}
	return fmt.Sprintf("With Headroom %.1f times as many requests were late as with the HPA alone.\n", ahead/alone)
}
