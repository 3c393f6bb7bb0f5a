package backtest

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"math"
	"os"
	"testing"

	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
)

var update = flag.Bool("update", false, "write forecaster/prior_table.go anew")

// The built-in prior is what a fleet of synthetic series has learned; no real trace is in it.
func TestBuiltinPriorIsWhatTheGeneratorsTeach(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: running the fleet takes a few seconds")
	}
	var fleet []*forecaster.Engine
	for _, s := range traces.Scenarios() {
		for seed := range uint64(2) {
			o := forecaster.DefaultOptions()
			o.Without = forecaster.PooledPrior
			e, err := forecaster.New(o)
			if err != nil {
				t.Fatal(err)
			}
			series := s.Make(100+seed, 9)
			for i, bin := range series.Bins {
				e.Observe(series.At(i), bin)
			}
			fleet = append(fleet, e)
		}
	}
	var b bytes.Buffer
	b.WriteString("package forecaster\n\n// builtinPrior is made by \"go test ./forecaster/backtest -run BuiltinPrior -update\" from the seeded generators.\n")
	b.WriteString("var builtinPrior = Prior{z: [cells][len(priorLevels)]float64{\n")
	table := forecaster.PriorOf(fleet...).Table()
	for _, row := range table {
		b.WriteString("{")
		for _, z := range row {
			fmt.Fprintf(&b, "%.3f, ", z)
		}
		b.WriteString("},\n")
	}
	b.WriteString("}}\n")
	if *update {
		src, err := format.Source(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("../prior_table.go", src, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have := forecaster.BuiltinPrior().Table()
	for c := range table {
		for i := range table[c] {
			// Another processor may round differently, and learning carries that far.
			if math.Abs(table[c][i]-have[c][i]) > 0.1*(1+math.Abs(have[c][i])) {
				t.Errorf("expert %d, level %d: the generators give %.3f, the table has %.3f; run with -update", c, i, table[c][i], have[c][i])
			}
		}
	}
}
