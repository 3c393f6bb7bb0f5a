package scenario

import (
	"context"
	"fmt"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/drive"
	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// through asks as the HPA controller does, through kube-apiserver: what a user of the cluster sees. It has no budget, since
// most of it is kube-apiserver's own time.
func (r *run) through(ctx context.Context) error {
	if err := r.aggregate(ctx); err != nil {
		return err
	}
	client, err := r.throughApiserver()
	if err != nil {
		return err
	}
	defer client.Close()
	shape := r.world.shape
	for _, kind := range []ask.Kind{ask.Pods, ask.Object, ask.External} {
		observer := r.observe(r.withAdapter())
		before, err := observer.Observe(ctx)
		if err != nil {
			return err
		}
		result, err := drive.Run(ctx, client, drive.Load{Targets: targetsOf(shape, kind), Clients: 1, Duration: r.Slice})
		if err != nil {
			return err
		}
		after, err := observer.Observe(ctx)
		if err != nil {
			return err
		}
		cost := after.Since(before)
		figure := func(name, unit string, value float64) report.Figure {
			return report.Measured(Through, shape.String(), fmt.Sprintf("%s, one client, %s", kind, name), unit, value)
		}
		r.add(
			figure("p50", "ms", milliseconds(result, 0.5)),
			figure("p99", "ms", milliseconds(result, 0.99)),
			figure("failed requests", "requests", float64(result.Failed())).AtMost(0).
				Because("of %d%s", result.Answers+result.Failed(), reasons(result)),
			figure("kube-apiserver LISTs per answer", "LISTs", cost.ListsOf(answerable...)/float64(result.Answers)).AtMost(0).Because("%s", cost.Lists()),
		)
	}
	return nil
}
