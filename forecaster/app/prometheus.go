package app

import (
	"context"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// queryTimeout is longer than the adapter's: a fortnight of one-minute points is read at once.
const queryTimeout = time.Minute

// Connect reads history from a Prometheus-compatible server; it is what "headroom forecast" gives to NewCommand.
func Connect(url string) (History, error) {
	client, err := prometheus.New(rules.Backend{Name: "command line", URLs: []string{url}, Timeout: queryTimeout}, nil)
	if err != nil {
		return nil, err
	}
	return history{prometheus.NewHistory(client)}, nil
}

type history struct{ points *prometheus.History }

func (h history) History(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]Sample, error) {
	points, err := h.points.Points(ctx, query, from, to, step)
	samples := make([]Sample, len(points))
	for i, p := range points {
		samples[i] = Sample{At: p.At, Value: p.Value}
	}
	return samples, err
}
