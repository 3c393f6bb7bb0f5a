package app

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/replay"
	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
)

// The columns of a trace that say how long requests are.
const (
	promptColumn = "prompt_tokens"
	outputColumn = "output_tokens"
)

// law reads the options of the service model; false when none is asked for, and a replica serves perReplica.
func (o Options) law() (replay.Law, bool, error) {
	var l replay.Law
	if o.TokenTime == "" {
		if o.Slots != 0 || o.TokenSLO != 0 || o.KVTokens != 0 || o.Prefill != 0 {
			return l, false, errors.New("--slots, --itl-slo, --kv-tokens, --prefill: they belong to --itl, the time between tokens as a line such as 12ms+0.4ms (of one batch, and of each request in it)")
		}
		return l, false, nil
	}
	alpha, beta, ok := strings.Cut(o.TokenTime, "+")
	a, errA := time.ParseDuration(alpha)
	b, errB := time.ParseDuration(beta)
	if !ok || errA != nil || errB != nil {
		return l, false, fmt.Errorf("--itl: %q: must be two times, of one batch and of each request in it, such as 12ms+0.4ms", o.TokenTime)
	}
	l = replay.Law{Alpha: a, Beta: b, TokenSLO: o.TokenSLO, Slots: o.Slots, KVTokens: o.KVTokens, Prefill: o.Prefill}
	if err := l.Validate(); err != nil {
		return l, false, fmt.Errorf("--itl, --itl-slo, --slots, --kv-tokens, --prefill: %w", err)
	}
	return l, true, nil
}

// serviceOf is the service model, and a sentence about it.
func serviceOf(o Options, found traffic) (replay.Service, string, error) {
	law, asked, err := o.law()
	if err != nil || !asked {
		return replay.Service{}, "In the queue one Ready replica serves perReplica.", err
	}
	steps := len(found.series.Bins) * int(found.series.Step/replay.Step)
	prompt, output := constant(o.PromptTokens, steps), constant(o.OutputTokens, steps)
	from := "given"
	if o.Trace != "" && o.Trace != "-" {
		p, errP := meanTokens(o, found, promptColumn)
		q, errQ := meanTokens(o, found, outputColumn)
		if errP == nil && errQ == nil {
			prompt, output, from = p, q, "from the trace"
		}
	}
	if mean(output) == 0 {
		return replay.Service{}, "", fmt.Errorf("--itl: how long requests are is not known: the trace has no columns %s and %s; give --prompt-tokens and --output-tokens", promptColumn, outputColumn)
	}
	rate, slots := law.At(mean(prompt), mean(output)) // of the mean request; single steps have their own
	return replay.ServiceOf(law, prompt, output), fmt.Sprintf("In the queue one Ready replica works on %.0f requests at once and finishes %.3g a second (%.0f prompt and %.0f output tokens on average, %s).",
		slots, rate, mean(prompt), mean(output), from), nil
}

// meanTokens is tokens for each request, by the step.
func meanTokens(o Options, found traffic, column string) ([]float64, error) {
	t, err := readTrace(o.Trace, column, nil)
	if err != nil {
		return nil, err
	}
	from := time.Duration(found.series.Start.Unix()) * time.Second
	for i := range t.Rows {
		t.Rows[i].At -= from
	}
	s, err := t.Bin(found.series.Step, traces.Count)
	if err != nil {
		return nil, err
	}
	for i := range s.Bins {
		tokens, ok := s.Bins[i].Number()
		s.Bins[i] = forecaster.NoData()
		if i >= len(found.series.Bins) {
			continue
		}
		if requests, known := found.series.Bins[i].Number(); ok && known && requests > 0 {
			s.Bins[i] = forecaster.Value(tokens / (requests * found.series.Step.Seconds()))
		}
	}
	s.Bins = s.Bins[:min(len(s.Bins), len(found.series.Bins))]
	for len(s.Bins) < len(found.series.Bins) {
		s.Bins = append(s.Bins, forecaster.NoData())
	}
	return replay.Offered(s)
}

func constant(v float64, n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = v
	}
	return all
}

func mean(all []float64) float64 {
	sum, n := 0.0, 0.0
	for _, v := range all {
		if !math.IsNaN(v) {
			sum, n = sum+v, n+1
		}
	}
	return sum / max(n, 1)
}
