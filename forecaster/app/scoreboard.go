package app

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/forecaster/backtest"
)

// Groups of traces on the scoreboard.
const (
	groupServices     = "services"
	groupLLM          = "LLM"
	groupIntermittent = "intermittent"
	groupShort        = "short"
)

var (
	boardLeads     = []time.Duration{2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute}
	boardQuantiles = []float64{0.5, 0.9, 0.95, 0.99}
)

// entry is one series on the scoreboard.
type entry struct {
	name, group string
	series      forecaster.Series
	zone        *time.Location
}

// Scoreboard scores the engine on every trace in dir, or on the seeded generators if dir is empty, and writes a page of
// Markdown to out. Progress goes to log.
func Scoreboard(ctx context.Context, dir string, out, log io.Writer) error {
	entries, err := boardEntries(dir, log)
	if err != nil {
		return err
	}
	b := &board{out: out, log: log, results: map[string]map[time.Duration]backtest.Comparison{}}
	for _, en := range entries {
		b.results[en.name] = map[time.Duration]backtest.Comparison{}
		for _, lead := range boardLeads {
			if err := ctx.Err(); err != nil {
				return err
			}
			if en.group == groupLLM && lead < 10*time.Minute {
				continue // their ten-minute windows make shorter leads an artefact
			}
			p := backtest.Protocol{Lead: lead, Every: 5 * time.Minute, Warmup: 7 * 24 * time.Hour, Quantiles: boardQuantiles}
			if en.group == groupShort {
				p.Warmup = 0
			}
			o := forecaster.DefaultOptions()
			o.Zone = en.zone
			c, err := backtest.Compare(en.series, p, o, nil)
			if err != nil {
				return fmt.Errorf("score %s at %v: %w", en.name, lead, err)
			}
			b.results[en.name][lead] = c
			fmt.Fprintf(log, "scored %s at %v\n", en.name, lead)
		}
	}
	b.write(dir, entries)
	return b.ablations(ctx, entries)
}

func boardEntries(dir string, log io.Writer) ([]entry, error) {
	var all []entry
	if dir == "" {
		for _, s := range traces.Scenarios() {
			en := entry{name: s.Name, group: s.Group, series: s.Make(1, 16), zone: time.UTC}
			if s.Name == "dst-week" {
				zone, err := time.LoadLocation(traces.DSTZone)
				if err != nil {
					return nil, fmt.Errorf("load time zone: %w", err)
				}
				en.zone = zone
			}
			all = append(all, en)
		}
		return all, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.csv*"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open trace: %w", err)
		}
		t, err := traces.Read(f, "requests")
		_ = f.Close() // it was only read
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		s, err := t.Bin(max(time.Minute, t.Step), traces.Count)
		if err != nil {
			return nil, fmt.Errorf("bin %s: %w", path, err)
		}
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".gz"), ".csv")
		if n := len(t.Issues); n > 0 {
			fmt.Fprintf(log, "%s: %d bad lines, the first: %v\n", name, n, t.Issues[0])
		}
		all = append(all, entry{name: name, group: groupOf(name, s), series: s, zone: time.UTC})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no *.csv or *.csv.gz in %s", dir)
	}
	return all, nil
}

// groupOf sorts a trace by what it is and, where that says nothing, by its name.
func groupOf(name string, s forecaster.Series) string {
	zeros, known := 0, 0
	for _, o := range s.Bins {
		if v, ok := o.Number(); ok {
			known++
			if v == 0 {
				zeros++
			}
		}
	}
	switch {
	case s.Span() < 48*time.Hour:
		return groupShort
	case 10*zeros >= 3*known:
		return groupIntermittent
	case strings.Contains(name, "servegen") || strings.Contains(name, "llm"):
		return groupLLM
	}
	return groupServices
}

type board struct {
	out, log io.Writer
	results  map[string]map[time.Duration]backtest.Comparison
}

func (b *board) printf(format string, args ...any) { fmt.Fprintf(b.out, format, args...) }

func (b *board) write(dir string, entries []entry) {
	b.printf("# Forecasts: the scoreboard\n\n")
	if dir == "" {
		b.printf("Made by `go run ./forecaster/app/benchforecast` on the seeded generators of `bench/traces` (seed 1, 16 days).\n\n")
	} else {
		b.printf("Made by `make bench-forecast TRACES=DIR`. The same settings for all traces. **These traces served tuning as well as reporting**, so read\n")
		b.printf("them as an upper bound; the seeded generators (`go run ./forecaster/app/benchforecast`) were not tuned on.\n\n")
	}
	b.printf("Target: the maximum over the lead. Origins every 5 min after 7 days (or half a shorter trace) of warm-up. All ratios are of mean pinball loss on\nthe same origins; below 1 is better. \"best of pool\" is the best of the twenty fixed experts, chosen per trace and quantile in hindsight.\n")
	for _, group := range []string{groupServices, groupLLM, groupIntermittent} {
		members := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.group != group })
		if len(members) > 0 {
			b.group(group, members)
		}
	}
	b.short(entries)
}

func (b *board) group(group string, members []entry) {
	b.printf("\n## %s\n", group)
	for _, lead := range boardLeads {
		if _, ok := b.results[members[0].name][lead]; !ok {
			continue
		}
		b.printf("\n### Lead %v\n\n", lead)
		b.printf("| trace | vs plain q0.5 / 0.9 / 0.95 / 0.99 | vs best of pool | vs running max + additive | plain vs last + additive | coverage 0.5 / 0.9 / 0.95 / 0.99 (standard error) | apart | ramps |\n|---|---|---|---|---|---|---|---|\n")
		var plain, best, run, base [][]float64
		for _, m := range members {
			c := b.results[m.name][lead]
			e, p := c.Run(backtest.NameEngine), c.Run(backtest.NamePlain)
			mine, _ := e.Loss()
			hind, _ := c.Best()
			vsBest := make([]float64, len(mine))
			for j := range mine {
				vsBest[j] = mine[j] / hind[j]
				if mine[j] == hind[j] {
					vsBest[j] = 1
				}
			}
			plain, best = append(plain, e.Ratios(p)), append(best, vsBest)
			run = append(run, e.Ratios(c.Run("running max + additive")))
			base = append(base, p.Ratios(c.Run("last + additive")))
			i, cov := len(plain)-1, e.Covered()
			b.printf("| %s | %s | %s | %s | %s | %s (%s) | %s | %s |\n", m.name, row(plain[i]), row(best[i]), row(run[i]), row(base[i]),
				points(cov.All), points(cov.StandardError), points(cov.Apart), points(cov.Ramps))
		}
		b.printf("| **geometric mean** | %s | %s | %s | %s | | | |\n", row(columns(plain)), row(columns(best)), row(columns(run)), row(columns(base)))
		b.baselines(members, lead)
	}
}

// baselines shows the other methods against last + additive.
func (b *board) baselines(members []entry, lead time.Duration) {
	names := []string{backtest.NameEngine, backtest.NamePlain, backtest.NameLastVol, backtest.NameRunMax, backtest.NameUniform,
		"day ago + additive", "week ago + additive", "holt-winters + additive", "crane-like", "dynamo-like", "phpa-like"}
	b.printf("\nAgainst last value + additive residuals, geometric mean:\n\n| method | q0.5 / 0.9 / 0.95 / 0.99 |\n|---|---|\n")
	for _, n := range names {
		var all [][]float64
		for _, m := range members {
			c := b.results[m.name][lead]
			all = append(all, c.Run(n).Ratios(c.Run("last + additive")))
		}
		b.printf("| %s | %s |\n", n, row(columns(all)))
	}
}

// short reports the first six hours of the short traces.
func (b *board) short(entries []entry) {
	b.printf("\n## Cold start\n\nCoverage over the first 6 h of each short trace, from the first minute on, pooled over traces.\n\n| lead | origins | 0.5 / 0.9 / 0.95 / 0.99 |\n|---|---|---|\n")
	for _, lead := range boardLeads {
		hit, n := make([]float64, len(boardQuantiles)), 0.0
		for _, en := range entries {
			if en.group != groupShort {
				continue
			}
			r := b.results[en.name][lead].Run(backtest.NameEngine)
			r.Scored(func(i int, q []float64, y float64) {
				if r.Origins[i] >= 6*time.Hour {
					return
				}
				n++
				for j := range q {
					if y <= q[j] {
						hit[j]++
					}
				}
			})
		}
		if n == 0 {
			continue
		}
		for j := range hit {
			hit[j] /= n
		}
		b.printf("| %v | %.0f | %s |\n", lead, n, points(hit))
	}
}

// ablations leaves out one part at a time, on the leads that the goals name.
func (b *board) ablations(ctx context.Context, entries []entry) error {
	b.printf("\n## What each part is worth\n\nPinball against the whole engine when one part is left out, geometric mean (services at 15 min, LLM at 10 min); above 1, the part helps.\n\n| without | services q0.5 / 0.9 / 0.95 / 0.99 | LLM | intermittent |\n|---|---|---|---|\n")
	groups := []string{groupServices, groupLLM, groupIntermittent}
	for _, part := range forecaster.Parts() {
		b.printf("| %v |", part)
		for _, group := range groups {
			lead := 15 * time.Minute
			if group == groupLLM {
				lead = 10 * time.Minute
			}
			var all [][]float64
			for _, en := range entries {
				if en.group != group {
					continue
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				o := forecaster.DefaultOptions()
				o.Zone, o.Without, o.Leads, o.Step = en.zone, part, []time.Duration{lead}, en.series.Step
				e, err := forecaster.New(o)
				if err != nil {
					return err
				}
				p := backtest.Protocol{Lead: lead, Every: 5 * time.Minute, Warmup: 7 * 24 * time.Hour, Quantiles: boardQuantiles}
				runs, err := backtest.Evaluate(en.series, p, nil, backtest.Engine(e, lead))
				if err != nil {
					return fmt.Errorf("score %s without %v: %w", en.name, part, err)
				}
				all = append(all, runs[0].Ratios(b.results[en.name][lead].Run(backtest.NameEngine)))
			}
			if len(all) == 0 {
				b.printf(" – |")
				continue
			}
			b.printf(" %s |", row(columns(all)))
		}
		b.printf("\n")
		fmt.Fprintf(b.log, "left out %v\n", part)
	}
	return nil
}

func columns(rows [][]float64) []float64 {
	out := make([]float64, len(rows[0]))
	for j := range out {
		var column []float64
		for _, r := range rows {
			column = append(column, r[j])
		}
		out[j] = backtest.GeometricMean(column)
	}
	return out
}

func row(x []float64) string { return joined(x, "%.3f") }

// points prints shares in per cent.
func points(x []float64) string {
	scaled := make([]float64, len(x))
	for i := range x {
		scaled[i] = 100 * x[i]
	}
	return joined(scaled, "%.1f")
}

func joined(x []float64, format string) string {
	var s []string
	for _, v := range x {
		if math.IsNaN(v) {
			s = append(s, "–")
			continue
		}
		s = append(s, fmt.Sprintf(format, v))
	}
	return strings.Join(s, " / ")
}
