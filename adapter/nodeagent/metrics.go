package nodeagent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// own are this package's own metrics. The names are frozen.
type own struct {
	known, connected   prometheus.Gauge
	failures, messages prometheus.Counter
	delay, deliver     prometheus.Histogram
	last               prometheus.Gauge
	values             *prometheus.GaugeVec
	left               *prometheus.GaugeVec
}

func newOwn(r prometheus.Registerer) *own {
	o := &own{
		known:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_nodeagent_agents", Help: "Node agents whose addresses are known."}),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_nodeagent_connected_agents", Help: "Node agents whose streams are open."}),
		failures:  prometheus.NewCounter(prometheus.CounterOpts{Name: "headroom_nodeagent_stream_failures_total", Help: "Streams of node agents that could not be opened, or ended."}),
		messages:  prometheus.NewCounter(prometheus.CounterOpts{Name: "headroom_nodeagent_messages_total", Help: "Messages from node agents."}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "headroom_nodeagent_message_delay_seconds", Help: "How much longer than the quickest one of its stream a message was under way.",
			Buckets: []float64{.001, .005, .02, .05, .1, .2, .5, 1, 2, 5, 10}}),
		deliver: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "headroom_nodeagent_deliver_duration_seconds", Help: "Time to put what all agents said into the store.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1}}),
		last:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_nodeagent_last_delivery_timestamp_seconds", Help: "When that was last done, in Unix time."}),
		values: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "headroom_nodeagent_values", Help: "Wanted values from node agents at the last delivery, by quality."}, []string{"quality"}),
		left:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "headroom_nodeagent_values_left_out", Help: "Values from node agents that were left out of the last delivery: stale, of a pod that is not on the agent's node (foreign), claimed by two nodes (disputed), or without a number for one of a pod's devices (incomplete)."}, []string{"reason"}),
	}
	r.MustRegister(o.known, o.connected, o.failures, o.messages, o.delay, o.deliver, o.last, o.values, o.left)
	return o
}

// tally is what one delivery did.
type tally struct {
	values                               map[dcgm.Quality]int
	stale, foreign, disputed, incomplete int
}

func newTally() *tally { return &tally{values: map[dcgm.Quality]int{}} }

func (o *own) delivered(t *tally, took time.Duration) {
	o.deliver.Observe(took.Seconds())
	o.last.SetToCurrentTime()
	for quality := range sources {
		o.values.WithLabelValues(quality.String()).Set(float64(t.values[quality]))
	}
	for reason, n := range map[string]int{"stale": t.stale, "foreign": t.foreign, "disputed": t.disputed, "incomplete": t.incomplete} {
		o.left.WithLabelValues(reason).Set(float64(n))
	}
}
