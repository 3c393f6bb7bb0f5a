package scenario

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
	"github.com/headroom-autoscaler/headroom/bench/load/latency"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// hungWait is the longest that an answer may take while Prometheus is silent. An answer from memory takes under a
// millisecond; the rest is for a small machine that does other things, and still far from any backend's timeout.
const hungWait = 500 * time.Millisecond

// hung stops Prometheus (the process lives and its port accepts, but nothing answers) and asks on.
func (r *run) hung(ctx context.Context) error {
	questions := questions(r.world.shape)
	if err := r.world.autoscalers(ctx, r.world.shape.Deployments(), everything); err != nil {
		return err
	}
	if err := r.adapter.allGood(ctx, questions, time.Minute); err != nil {
		return err
	}
	if err := r.Pause("prometheus"); err != nil {
		return err
	}
	stopped := time.Now()
	defer func() { _ = r.Resume("prometheus") }()
	r.Progress("hung: Prometheus stopped")

	var waits latency.Histogram
	var lastGood, firstBad time.Time
	outcomes := map[string]int{}
	askOne := func(i int) error {
		start := time.Now()
		_, err := r.adapter.client.Ask(ctx, questions[i%len(questions)])
		waits.Record(time.Since(start))
		if err == nil {
			outcomes["good"]++
			lastGood = time.Now()
		} else {
			outcomes[err.Error()]++
			if firstBad.IsZero() {
				firstBad = time.Now()
			}
		}
		return err
	}
	silence := r.MaxStaleness + 2*r.ScrapeInterval + 5*time.Second
	for i := 0; time.Since(stopped) < silence; i++ {
		_ = askOne(i * 7)
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	worst, _ := waits.Quantile(1)
	median, _ := waits.Quantile(0.5)
	r.add(
		report.Measured(Hung, r.world.shape.String(), "longest wait for an answer", "ms", float64(worst)/float64(time.Millisecond)).
			AtMost(float64(hungWait)/float64(time.Millisecond)).Because("p50 %.2f ms; answers: %v", float64(median)/float64(time.Millisecond), outcomes),
		after(r, "last good values served for", lastGood, stopped).AtLeast((r.MaxStaleness-r.ScrapeInterval-r.CollectInterval).Seconds()).
			Because("maxStaleness %s, counted from the sample: when Prometheus stops, it is up to one scrape and one collection old", r.MaxStaleness),
		after(r, "first not-found", firstBad, stopped).AtMost((r.MaxStaleness + time.Second).Seconds()),
	)

	if err := r.Resume("prometheus"); err != nil {
		return err
	}
	resumed := time.Now()
	fresh, err := r.freshAgain(ctx, resumed)
	if err != nil {
		return err
	}
	recovered := time.Time{}
	pods := r.world.shape.Targets(ask.Pods, exporter.Waiting)
	for i := 0; time.Since(resumed) < time.Minute && recovered.IsZero(); i++ {
		if _, err := r.adapter.client.Ask(ctx, pods[i%len(pods)]); err == nil {
			recovered = time.Now()
		} else if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	f := after(r, "good again after Prometheus has a fresh sample", recovered, fresh)
	r.add(f.AtMost((r.CollectInterval + time.Second).Seconds()).
		Because("Prometheus had one %.2f s after it went on", fresh.Sub(resumed).Seconds()))
	return nil
}

func after(r *run, name string, at, since time.Time) report.Figure {
	if at.IsZero() {
		return report.Missing(Hung, r.world.shape.String(), name, "s", "never happened")
	}
	return report.Measured(Hung, r.world.shape.String(), name, "s", math.Max(0, at.Sub(since).Seconds()))
}

// freshAgain is when Prometheus first answers with a sample that is newer than since.
func (r *run) freshAgain(ctx context.Context, since time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	expression := fmt.Sprintf("timestamp(%s{pod=%q})", exporter.Waiting, exporter.Pod(0, 0))
	for {
		unix, ok, err := r.query(ctx, expression)
		if err == nil && ok && unix >= float64(since.UnixMilli())/1000 {
			return time.Now(), nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return time.Time{}, fmt.Errorf("prometheus has no fresh sample a minute after it went on: %v, %w", ok, err)
		}
	}
}
