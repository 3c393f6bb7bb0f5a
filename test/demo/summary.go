package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/test/fleet"
)

// seen is what a history tells about the step in the load and what came of it.
type seen struct {
	most, pending     int           // Ready pods, and Pending ones, at most
	short             time.Duration // the Ready pods could serve less than was offered
	step, asked, grew time.Duration // when the load rose, the HPA wanted more, a new pod was Ready; 0 for never
}

func study(history []snapshot) seen {
	s := seen{}
	var calm snapshot // the last look before the step
	for i, now := range history {
		s.most, s.pending = max(s.most, now.Ready), max(s.pending, now.Pending)
		if i == 0 {
			continue
		}
		before := history[i-1]
		if before.Offered > before.Capacity {
			s.short += now.Elapsed - before.Elapsed
		}
		if s.step == 0 && now.Offered > before.Offered*1.5 {
			s.step, calm = now.Elapsed, before
		}
		if s.step > 0 && s.asked == 0 && now.Desired > max(calm.Desired, calm.Ready) {
			s.asked = now.Elapsed
		}
		if s.step > 0 && s.grew == 0 && now.Ready > calm.Ready {
			s.grew = now.Elapsed
		}
	}
	return s
}

// summary says what was seen, in numbers that the history holds.
func summary(history []snapshot) string {
	first, last, s := history[0], history[len(history)-1], study(history)
	var b strings.Builder
	fmt.Fprintf(&b, "\nIn %s the fleet went from %d to %d Ready pods", clock(last.Elapsed), first.Ready, s.most)
	if s.pending > 0 {
		fmt.Fprintf(&b, "; up to %d more stayed Pending:\nall %d GPUs were taken", s.pending, last.GPUs)
	}
	fmt.Fprintf(&b, ".\n%.0f of %.0f requests%s waited over %s", last.Late, last.Total, percent(last.Late, last.Total), fleet.DefaultOptions().LateWait)
	if last.Lost >= 1 {
		fmt.Fprintf(&b, ", %.0f of these until the client gave up", last.Lost)
	}
	fmt.Fprintf(&b, ".\nFor %s the Ready pods could serve less than was offered.\n", clock(s.short))
	if s.asked > 0 && s.grew > 0 {
		fmt.Fprintf(&b, "After the step in the load it took %s until the HPA asked for more pods,\n"+
			"and %s until the first of them was Ready; %s of that it was loading.\n"+
			"An HPA that only reacts cannot do better: it would have to be told before the load comes.\n",
			(s.asked - s.step).Round(time.Second), (s.grew - s.step).Round(time.Second), coldStart)
	}
	return b.String()
}
