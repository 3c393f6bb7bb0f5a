package scenario

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/drive"
	"github.com/headroom-autoscaler/headroom/bench/load/exporter"
	"github.com/headroom-autoscaler/headroom/bench/load/meter"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// targetsOf are the questions of one kind, over all HPAs.
func targetsOf(shape exporter.Shape, kind ask.Kind) []ask.Target {
	switch kind {
	case ask.Object:
		return shape.Targets(kind, exporter.DeploymentArrivals)
	case ask.External:
		return shape.Targets(kind, exporter.QueueLag)
	}
	return shape.Targets(ask.Pods, exporter.PodMetrics[:]...)
}

// observer watches everything that an answer may cost.
func (r *run) observer() *meter.Observer {
	processes := r.withAdapter()
	processes["empty"] = r.empty.pid
	return r.observe(processes)
}

// alternate loads the adapter and the empty provider in turns, so that whatever else the machine does meets both.
func (r *run) alternate(ctx context.Context, load drive.Load) (adapter, empty *drive.Result, err error) {
	adapter, empty = &drive.Result{}, &drive.Result{}
	warm := load
	warm.Duration, warm.Rate = time.Second, 0
	for i := range 2 * r.Slices {
		subject, total := r.adapter, adapter
		if i%2 == 1 {
			subject, total = r.empty, empty
		}
		if i < 2 { // connections, authorization cache, code paths
			if _, err := drive.Run(ctx, subject.client, warm); err != nil {
				return nil, nil, err
			}
		}
		part, err := drive.Run(ctx, subject.client, load)
		if err != nil {
			return nil, nil, err
		}
		total.Merge(part)
	}
	return adapter, empty, nil
}

func milliseconds(r *drive.Result, q float64) float64 {
	d, ok := r.Latency.Quantile(q)
	if !ok {
		return math.NaN()
	}
	return float64(d) / float64(time.Millisecond)
}

// direct asks the adapter itself, past kube-apiserver, with one client and with twenty.
func (r *run) direct(ctx context.Context, shape exporter.Shape) error {
	for _, kind := range []ask.Kind{ask.Pods, ask.Object, ask.External} {
		load := drive.Load{Targets: targetsOf(shape, kind), Clients: 1, Duration: r.Slice}
		before, err := r.observer().Observe(ctx)
		if err != nil {
			return err
		}
		adapter, empty, err := r.alternate(ctx, load)
		if err != nil {
			return err
		}
		after, err := r.observer().Observe(ctx)
		if err != nil {
			return err
		}
		figure := func(name, unit string, value float64) report.Figure {
			return report.Measured(Direct, shape.String(), fmt.Sprintf("%s, one client, %s", kind, name), unit, value)
		}
		r.add(
			figure("p50", "ms", milliseconds(adapter, 0.5)).Times(report.AtMost, 1.5, milliseconds(empty, 0.5)),
			figure("p99", "ms", milliseconds(adapter, 0.99)).Times(report.AtMost, 2, milliseconds(empty, 0.99)),
			figure("failed requests", "requests", float64(adapter.Failed())).AtMost(0).Because("of %d%s", adapter.Answers+adapter.Failed(), reasons(adapter)),
		)
		if kind == ask.Pods {
			r.medians[shape.Pods] = milliseconds(adapter, 0.5)
			r.add(r.perAnswer(shape, after.Since(before), adapter)...)
		}
	}
	adapter, empty, err := r.alternate(ctx, drive.Load{Targets: targetsOf(shape, ask.Pods), Clients: 20, Duration: r.Slice})
	if err != nil {
		return err
	}
	r.add(
		report.Measured(Direct, shape.String(), "Pods, 20 clients, throughput", "answers/s", adapter.PerSecond()).
			Times(report.AtLeast, 0.7, empty.PerSecond()),
		report.Measured(Direct, shape.String(), "Pods, 20 clients, p99", "ms", milliseconds(adapter, 0.99)).
			Because("empty provider %.2f ms", milliseconds(empty, 0.99)),
		report.Measured(Direct, shape.String(), "Pods, 20 clients, failed requests", "requests", float64(adapter.Failed())).
			AtMost(0).Because("of %d%s", adapter.Answers+adapter.Failed(), reasons(adapter)),
	)
	return nil
}

func reasons(r *drive.Result) string {
	var text strings.Builder
	for reason, n := range r.Failures {
		fmt.Fprintf(&text, "; %d × %s", n, reason)
	}
	return text.String()
}

// perAnswer is what the answers cost Prometheus and kube-apiserver beyond the collection rounds that fell in the time.
func (r *run) perAnswer(shape exporter.Shape, cost meter.Cost, result *drive.Result) []report.Figure {
	rounds := math.Ceil(cost.Elapsed.Seconds()/r.CollectInterval.Seconds()) + 1
	beyond := max(0, cost.QueryCount()-rounds*r.queriesPerRound())
	answers := float64(result.Answers)
	return []report.Figure{
		report.Measured(Direct, shape.String(), "Prometheus queries per Pods answer", "queries", beyond/answers).AtMost(0).
			Because("%.0f queries in all, of which at most %.0f rounds × %.0f are the background's; %.0f answers",
				cost.QueryCount(), rounds, r.queriesPerRound(), answers),
		report.Measured(Direct, shape.String(), "kube-apiserver LISTs per Pods answer", "LISTs", cost.ListsOf(answerable...)/answers).AtMost(0).
			Because("of what answers are made from; in all: %s; %.0f SubjectAccessReviews of both adapters",
				cost.Lists(), cost.RequestCount("POST authorization.k8s.io subjectaccessreviews")),
	}
}

// cpu compares what an answer costs in CPU time, all servers together, at one offered rate for both adapters.
func (r *run) cpu(ctx context.Context, shape exporter.Shape) error {
	const rate = 400 // per second: about a fifth of what one core answers, so that neither adapter queues
	servers := []string{"prometheus", "kube-apiserver", "etcd"}
	observer := r.observer()
	spend := func(do func() (*drive.Result, error)) (meter.Cost, *drive.Result, error) {
		before, err := observer.Observe(ctx)
		if err != nil {
			return meter.Cost{}, nil, err
		}
		result, err := do()
		if err != nil {
			return meter.Cost{}, nil, err
		}
		after, err := observer.Observe(ctx)
		return after.Since(before), result, err
	}
	length := 4 * r.Slice
	per := map[string]float64{} // CPU seconds per 1,000 answers, summed over slices
	note := map[string]string{}
	for _, s := range []*subject{r.adapter, r.empty, r.empty, r.adapter} { // ABBA: a drift of the machine meets both alike
		idle, _, err := spend(func() (*drive.Result, error) { return nil, pause(ctx, length) })
		if err != nil {
			return err
		}
		load := drive.Load{Targets: targetsOf(shape, ask.Pods), Clients: 20, Rate: rate, Duration: length}
		busy, result, err := spend(func() (*drive.Result, error) { return drive.Run(ctx, s.client, load) })
		if err != nil {
			return err
		}
		if result.Failed() > 0 || float64(result.Answers) < 0.98*rate*length.Seconds() {
			return fmt.Errorf("%s: the offered rate of %d/s was not answered: %d answers%s", s.name, rate, result.Answers, reasons(result))
		}
		names := append([]string{s.name}, servers...)
		above := 0.0
		note[s.name] = ""
		for _, name := range names {
			v := (busy.CPU[name].Seconds() - idle.Cores(name)*busy.Elapsed.Seconds()) / float64(result.Answers) * 1000
			note[s.name] += fmt.Sprintf("%s %.3f, ", name, v)
			above += v
		}
		per[s.name] += above / 2
		note[s.name] += fmt.Sprintf("others on the machine %.2f cores", busy.Others.Seconds()/busy.Elapsed.Seconds())
	}
	r.add(report.Measured(CPU, shape.String(), "CPU per 1,000 Pods answers", "s", per["adapter"]).
		Times(report.AtMost, 1.5, per["empty"]).
		Because("above idle, at %d/s; last slice: %s; empty provider's: %s", rate, note["adapter"], note["empty"]))
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
