package app

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/replay"
	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// Groups of traces on the scoreboard.
const (
	groupServices     = "services"
	groupLLM          = "LLM"
	groupIntermittent = "intermittent"
	groupShort        = "short"
)

// boardReplicas is about how many replicas every trace takes: perReplica is the scored mean divided by it.
const boardReplicas = 8

// smooth is the ε of the ratios of late work: 0.05 % of the work. Below it, two policies are as good as each other.
const smooth = 0.0005

// entry is one trace on the scoreboard.
type entry struct {
	name, group string
	series      forecaster.Series
}

// leads are the lead times that a group is replayed at. The LLM traces are level within windows of ten minutes, which makes
// shorter ones an artefact.
func (e entry) leads() []time.Duration {
	if e.group == groupLLM {
		return []time.Duration{10 * time.Minute, 15 * time.Minute}
	}
	return []time.Duration{2 * time.Minute, 5 * time.Minute, 15 * time.Minute}
}

// setup is one way to run the family: how the floor reaches the workload, and the HPA's own target as a share of perReplica.
type setup struct {
	actuation replay.Actuation
	target    float64
}

var boardSetups = []setup{{replay.ByMetric, 1}, {replay.ByMinReplicas, 1}, {replay.ByMetric, 0.8}, {replay.ByMinReplicas, 0.8}}

// cell is one trace at one lead in one setup.
type cell struct {
	alone, oracle, shipped, held replay.Setting
	headroom, constant           []replay.Setting
}

// board is the whole.
type board struct {
	entries []entry
	cells   map[string]cell // by key
}

func key(e entry, lead time.Duration, s setup) string {
	return fmt.Sprintf("%s %v %v %g", e.name, lead, s.actuation, s.target)
}

// Scoreboard replays every trace in dir, or the seeded generators if dir is empty, and writes a page of Markdown to out.
func Scoreboard(ctx context.Context, dir string, out, log io.Writer) error {
	entries, err := boardEntries(dir, log)
	if err != nil {
		return err
	}
	b := board{entries: entries, cells: map[string]cell{}}
	began, minutes := time.Now(), 0
	for _, e := range entries {
		for _, lead := range e.leads() {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := b.replay(e, lead)
			if err != nil {
				return fmt.Errorf("%s at %v: %w", e.name, lead, err)
			}
			minutes += n
			fmt.Fprintf(log, "replayed %s at %v\n", e.name, lead)
		}
	}
	fmt.Fprintf(log, "%d million minutes simulated in %v, forecasts included\n", minutes/1_000_000, time.Since(began).Round(time.Second))
	return b.write(out, dir)
}

func boardEntries(dir string, log io.Writer) ([]entry, error) {
	var all []entry
	if dir == "" {
		for _, s := range traces.Scenarios() {
			all = append(all, entry{name: s.Name, group: s.Group, series: s.Make(1, 16)})
		}
		return all, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.csv*"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, path := range files {
		t, err := readTrace(path, "requests", nil)
		if err != nil {
			return nil, err
		}
		s, err := t.Bin(max(time.Minute, t.Step), traces.Count)
		if err != nil {
			return nil, fmt.Errorf("bin %s: %w", path, err)
		}
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".gz"), ".csv")
		if n := len(t.Issues); n > 0 {
			fmt.Fprintf(log, "%s: %d bad lines, the first: %v\n", name, n, t.Issues[0])
		}
		all = append(all, entry{name: name, group: groupOf(name, s), series: s})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no *.csv or *.csv.gz in %s", dir)
	}
	return all, nil
}

// readTrace reads a column of a file; "-" is standard input.
func readTrace(path, column string, in io.Reader) (traces.Trace, error) {
	r := in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return traces.Trace{}, fmt.Errorf("open trace: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		r = f
	}
	t, err := traces.Read(r, column)
	if err != nil {
		return traces.Trace{}, fmt.Errorf("read trace %s: %w", path, err)
	}
	return t, nil
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

// warmUp is what is not scored at the start of a series: a week, or half of a shorter one.
func warmUp(s forecaster.Series, asked time.Duration) time.Duration {
	if s.Span() <= asked {
		return (s.Span() / 2).Truncate(time.Minute)
	}
	return asked
}

// runIn is how long pods are simulated before anything is scored.
const runIn = time.Hour

// replay runs all settings of one trace at one lead, and says how many minutes were simulated.
func (b *board) replay(e entry, lead time.Duration) (int, error) {
	offered, err := replay.Offered(e.series)
	if err != nil {
		return 0, err
	}
	warm := warmUp(e.series, 7*24*time.Hour)
	base := replay.Scenario{Start: e.series.Start, Offered: offered, ScoreFrom: int(warm / replay.Step), Flags: hpa.DefaultFlags(),
		Signal: replay.DefaultSignal(), Lead: replay.FixedLead(lead)}
	base.RunFrom = max(0, base.ScoreFrom-int(runIn/replay.Step))
	base.PerReplica = scoredMean(offered[base.ScoreFrom:]) / boardReplicas
	forecasts, err := replay.Forecast(e.series, time.UTC, replay.Reach(lead, base.Signal), replay.Quantiles(), warm, nil)
	if err != nil {
		return 0, err
	}
	total := lead + base.Signal.Delay + hpa.DefaultFlags().SyncPeriod
	product, err := replay.Forecast(e.series, time.UTC, replay.Rung(total), []float64{0.95}, warm, nil)
	if err != nil {
		return 0, err
	}
	shipped := shipped{outlook: product.Outlooks[0], hold: max(5*time.Minute, total)}
	minutes := 0
	for _, setup := range boardSetups {
		s := base
		s.HPA, s.Sources = boardHPA(s.PerReplica * setup.target)
		c, n, err := settings(&s, setup, lead, forecasts.Outlooks, shipped)
		if err != nil {
			return 0, err
		}
		minutes += n
		b.cells[key(e, lead, setup)] = c
	}
	return minutes, nil
}

func scoredMean(offered []float64) float64 {
	sum, n := 0.0, 0
	for _, v := range offered {
		if v == v {
			sum += v
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// boardHPA is an HPA on demand, by its average, with no behavior.
func boardHPA(target float64) (hpa.Spec, []replay.Source) {
	// Targets are in thousandths, which a trace of small numbers would not fit: the metric is served in another unit.
	scale := 1000 / target
	return hpa.Spec{MinReplicas: 1, MaxReplicas: 10_000, Metrics: []hpa.Metric{{Kind: hpa.External, Name: "demand", Target: hpa.AverageValue, TargetMilli: 1_000_000}}},
		[]replay.Source{{Kind: replay.DemandSource, Scale: scale}}
}

// mostConstant is the largest b of N + b, and boardBuffers how many buffers, from 0, Headroom's family has.
const (
	mostConstant = 24
	boardBuffers = 3
)

// shipped is what Headroom's defaults come to at one lead time.
type shipped struct {
	outlook *replay.Outlook
	hold    time.Duration
}

func settings(s *replay.Scenario, setup setup, lead time.Duration, outlooks []*replay.Outlook, defaults shipped) (cell, int, error) {
	// All fall five minutes late: by the HPA's own window, or by a hold of that length where the floor is a minimum.
	family := replay.Family{Actuation: setup.actuation, Hold: 5 * time.Minute, Min: 1, Max: 10_000}
	if setup.actuation == replay.ByMetric {
		family.ToleranceUp, family.Hold = new(float64), replay.Step
	}
	asShipped := family
	asShipped.Hold = defaults.hold
	policies := []replay.Policy{{Name: "HPA"}, family.Oracle(lead), asShipped.Forecast(defaults.outlook, 2, 1), asShipped.Constant(2)}
	for b := range mostConstant + 1 {
		policies = append(policies, family.Constant(b))
	}
	for _, o := range outlooks {
		for b := range boardBuffers {
			policies = append(policies, family.Forecast(o, b, 0))
		}
	}
	places, err := runAll(s, policies)
	if err != nil {
		return cell{}, 0, err
	}
	const head = 4
	c := cell{alone: places[0], oracle: places[1], shipped: places[2], held: places[3], constant: places[head : head+mostConstant+1], headroom: places[head+mostConstant+1:]}
	// A quantile of nothing is the forecast switched off, which is N + b.
	c.headroom = append(slices.Clone(c.headroom), c.constant[:boardBuffers]...)
	return c, len(policies) * (len(s.Offered) - s.RunFrom) / 4, nil
}

// runAll runs policies on all cores.
func runAll(s *replay.Scenario, policies []replay.Policy) ([]replay.Setting, error) {
	places, failures := make([]replay.Setting, len(policies)), make([]error, len(policies))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var done sync.WaitGroup
	for i, p := range policies {
		slots <- struct{}{}
		done.Go(func() {
			defer func() { <-slots }()
			r, err := replay.Run(s, p, nil)
			places[i], failures[i] = replay.SettingOf(r), err
		})
	}
	done.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return places, nil
}

// figures are what the goals are about, for one cell.
type figures struct {
	atN2            float64 // late work at N+2's cost, of N+2's; with ε
	atHeld          float64 // the same beside an N+2 that falls as late as Headroom's defaults do
	onePercent      float64 // cost of the cheapest setting with at most 1 % under-provisioned minutes, of the oracle's; NaN: none has
	onePercentConst float64 // the same of N+b
	win             bool    // Headroom reaches 1 % below the best N+b
}

func (c cell) figures() figures {
	n2 := c.constant[2]
	var f figures
	hull := replay.Hull(c.headroom)
	f.atN2 = (replay.LateAt(hull, n2.Cost) + smooth) / (n2.LateShare + smooth)
	f.atHeld = (replay.LateAt(hull, c.held.Cost) + smooth) / (c.held.LateShare + smooth)
	enough := func(p replay.Setting) bool { return p.ShortShare <= 0.01 }
	f.onePercent, f.onePercentConst = math.NaN(), math.NaN()
	mine, ok := replay.Cheapest(c.headroom, enough)
	if ok {
		f.onePercent = mine.Cost / c.oracle.Cost
	}
	other, found := replay.Cheapest(c.constant, enough)
	if found {
		f.onePercentConst = other.Cost / c.oracle.Cost
	}
	f.win = ok && (!found || mine.Cost < other.Cost)
	return f
}
