package app

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/replay"
)

// goal is what the family should reach as geometric means, by group and lead; 0: none.
type goal struct{ atN2, onePercent float64 }

func goalOf(group string, lead time.Duration) goal {
	switch {
	case group == groupLLM:
		return goal{0.60, 1.27}
	case group != groupServices:
		return goal{}
	case lead == 2*time.Minute:
		return goal{0.38, 1.22}
	case lead == 5*time.Minute:
		return goal{0.31, 1.22}
	}
	return goal{0.29, 1.22}
}

func (b *board) write(out io.Writer, dir string) error {
	w := &page{out: out}
	w.printf("# Replay: the scoreboard\n\n")
	if dir == "" {
		w.printf("Made by `make bench-replay` on the seeded generators of `bench/traces` (seed 1, 16 days).\n\n")
	} else {
		w.printf("Made by `make bench-replay TRACES=DIR`. The forecaster was tuned on these traces too, so read the figures as an upper bound.\n\n")
	}
	w.printf(`One setting for all traces. perReplica is the scored mean / 8; load is even within a minute. Demand is seen as a mean over one minute, 15 s late; the
HPA of 1.37 syncs every 15 s; a pod is Ready exactly one lead time after it was created. Scored after 7 days of warm-up (or half of a shorter trace).
"target" is the HPA's own, as a share of perReplica. "Metric": the HPA also lists headroom_replicas, with scaleUp.tolerance 0; "MinReplicas": its minimum
is raised, and its tolerance is the default tenth. All costs are pod-hours from creation to deletion, divided by the oracle's.

- **late** is the headline: Σ max(0, offered − ready × perReplica) / Σ offered, on a 15 s grid, nothing carried over. **short** is the share of minutes with any of it.
- **Headroom** is the family of quantiles 0.05 to 0.995, or no forecast, × buffer 0, 1, 2 (no reserve on the forecast), by its lower convex hull in (cost, late). **N+b** goes up to b = %d.
- **at N+2's cost** is Headroom's late work there over N+2's; both plus ε = 0.05 %% of the work. Beside it the same against an N+2 that falls as late as
  Headroom's defaults (the longer of 5 min and the lead time, and the HPA's window on top): a slower fall alone is worth much, and that much is not the forecast's.
- **≤ 1 %% short** is the cost of the cheapest setting with at most 1 %% of minutes short: single settings, not mixed.
- Both families, and the oracle, fall five minutes late: in mode Metric by the HPA's own window (scaleDownHold 0s), in mode MinReplicas by scaleDownHold 5m.
  Forecasts look lead + 2 min ahead: a forecast from complete minutes is used for a minute more, and the HPA and the collection take 15 s each.
- The **oracle** is the same HPA with the floor ⌈max offered over (now, now + lead + 2 min] / perReplica⌉.
- **as shipped** is quantile 0.95, buffer 2, one on the forecast, scaleDownHold the longer of 5m and the lead time, and the horizon that the controller takes.
`, mostConstant)
	for _, s := range boardSetups {
		w.printf("\n## %v, target %g × perReplica\n", s.actuation, s.target)
		b.summary(w, s)
		for _, group := range []string{groupServices, groupLLM, groupIntermittent, groupShort} {
			b.group(w, group, s)
		}
	}
	return w.err
}

// summary is the geometric means beside the goals.
func (b *board) summary(w *page, s setup) {
	w.printf("\n| group | lead | traces | late at N+2's cost (goal) | at the cost of an N+2 with Headroom's hold | cost for ≤ 1 %% short, of the oracle's (goal) | below the best N+b |\n|---|---|---|---|---|---|---|\n")
	for _, group := range []string{groupServices, groupLLM} {
		members := b.members(group)
		if len(members) == 0 {
			continue
		}
		for _, lead := range members[0].leads() {
			var at, held, cost []float64
			wins := 0
			for _, e := range members {
				f := b.cells[key(e, lead, s)].figures()
				at, held, cost = append(at, f.atN2), append(held, f.atHeld), append(cost, f.onePercent)
				if f.win {
					wins++
				}
			}
			g := goalOf(group, lead)
			w.printf("| %s | %v | %d | %s | %s | %s | %d of %d |\n", group, short(lead), len(members), against(geometric(at), g.atN2), number(geometric(held)), against(geometric(cost), g.onePercent), wins, len(members))
		}
	}
}

func (b *board) members(group string) []entry {
	var members []entry
	for _, e := range b.entries {
		if e.group == group {
			members = append(members, e)
		}
	}
	return members
}

func (b *board) group(w *page, group string, s setup) {
	members := b.members(group)
	if len(members) == 0 {
		return
	}
	w.printf("\n### %s\n\n", group)
	if group == groupIntermittent || group == groupShort {
		w.printf("Reported only: no goal is set for these.\n\n")
	}
	w.printf("| trace | lead | HPA alone: late / short / cost | N+2: late / short / cost | Headroom at N+2's cost | ≤ 1 %% short: Headroom / N+b / cheapest Headroom | as shipped: late / short / cost | shipped against HPA alone: late, cost | oracle: late / short |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, e := range members {
		for _, lead := range e.leads() {
			c := b.cells[key(e, lead, s)]
			f := c.figures()
			name := "–"
			if best, ok := replay.Cheapest(c.headroom, func(p replay.Setting) bool { return p.ShortShare <= 0.01 }); ok {
				name = best.Name
			}
			w.printf("| %s | %v | %s | %s | %s | %s / %s / %s | %s | ×%.2f, +%.0f %% | %s / %s |\n", e.name, short(lead), c.place(c.alone), c.place(c.constant[2]), number(f.atN2),
				number(f.onePercent), number(f.onePercentConst), name, c.place(c.shipped),
				(c.shipped.LateShare+smooth)/(c.alone.LateShare+smooth), 100*(c.shipped.Cost/c.alone.Cost-1), percent(c.oracle.LateShare), percent(c.oracle.ShortShare))
		}
	}
}

// place is late work, minutes short, and the cost beside the oracle's.
func (c cell) place(p replay.Setting) string {
	return fmt.Sprintf("%s / %s / %.2f", percent(p.LateShare), percent(p.ShortShare), p.Cost/c.oracle.Cost)
}

// page keeps the first error of its writer.
type page struct {
	out io.Writer
	err error
}

func (p *page) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format, args...)
	}
}

func percent(share float64) string {
	if math.IsNaN(share) {
		return "–"
	}
	return fmt.Sprintf("%.2f %%", 100*share)
}

func number(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf("%.2f", x)
}

func against(x, goal float64) string {
	switch {
	case goal == 0:
		return number(x)
	case x <= goal:
		return fmt.Sprintf("%s (≤ %.2f: reached)", number(x), goal)
	}
	return fmt.Sprintf("%s (≤ %.2f: **missed**)", number(x), goal)
}

// geometric is the geometric mean, NaN when one of the numbers is.
func geometric(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(len(x)))
}

func short(d time.Duration) string { return fmt.Sprintf("%.0f min", d.Minutes()) }
