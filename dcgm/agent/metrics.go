package agent

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/dcgm/nvml"
)

// metrics are the agent's own, beside those of dcgm/exporter on reading. The names are frozen.
type metrics struct {
	tick        prometheus.Histogram
	events      *prometheus.CounterVec
	kubelet     *prometheus.CounterVec
	podsHeard   prometheus.Gauge
	unplaced    prometheus.Gauge
	unknown     prometheus.Gauge
	exporter    *prometheus.CounterVec
	refused     prometheus.Counter
	subscribers prometheus.Gauge
	messages    prometheus.Counter
	bytes       prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		tick: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "headroom_agent_tick_duration_seconds", Help: "Time to join what was read with the pods and to publish it.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1}}),
		events:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "headroom_agent_nvml_events_total", Help: "Events that the driver reported, by kind, and by number for XID errors."}, []string{"kind", "xid"}),
		kubelet:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "headroom_agent_pod_resources_requests_total", Help: "Questions to the kubelet which pods hold what, by result: ok or failed."}, []string{"result"}),
		podsHeard:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_agent_pod_resources_timestamp_seconds", Help: "When the kubelet last said which pods hold what, in Unix time; 0 for never."}),
		unplaced:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_agent_unplaced_devices", Help: "Devices of pods that no GPU or MIG device of this node is, as far as is known: their pods have no readings."}),
		unknown:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_agent_unreadable_devices", Help: "Device ids of pods that are of NVIDIA's resources and cannot be read: their pods have no readings."}),
		exporter:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "headroom_agent_dcgm_exporter_requests_total", Help: "Scrapes of the node's dcgm-exporter, by result: ok or failed."}, []string{"result"}),
		refused:     prometheus.NewCounter(prometheus.CounterOpts{Name: "headroom_agent_dcgm_exporter_values_refused_total", Help: "Values of the node's dcgm-exporter that no ratio or amount can be."}),
		subscribers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_agent_stream_subscribers", Help: "Adapters that watch the stream."}),
		messages:    prometheus.NewCounter(prometheus.CounterOpts{Name: "headroom_agent_stream_messages_total", Help: "Messages sent to adapters."}),
		bytes:       prometheus.NewCounter(prometheus.CounterOpts{Name: "headroom_agent_stream_bytes_total", Help: "Size of the messages sent to adapters."}),
	}
	r.MustRegister(m.tick, m.events, m.kubelet, m.podsHeard, m.unplaced, m.unknown, m.exporter, m.refused, m.subscribers, m.messages, m.bytes)
	return m
}

func (m *metrics) ticked(v *View, took time.Duration) {
	m.tick.Observe(took.Seconds())
	m.unplaced.Set(float64(len(v.Unplaced)))
	m.unknown.Set(float64(len(v.Unknown)))
	if !v.PodsAt.IsZero() {
		m.podsHeard.Set(float64(v.PodsAt.UnixMilli()) / 1000)
	}
}

func (m *metrics) heard(e nvml.Event) {
	kind, xid := "xid", ""
	switch e.Kind {
	case nvml.MIGChanged:
		kind = "mig_changed"
	case nvml.GPUUnavailable:
		kind = "gpu_unavailable"
	default:
		xid = strconv.FormatUint(e.XID, 10)
	}
	m.events.WithLabelValues(kind, xid).Inc()
}

func (m *metrics) askedKubelet(err error) { m.kubelet.WithLabelValues(result(err)).Inc() }
func (m *metrics) scraped(err error)      { m.exporter.WithLabelValues(result(err)).Inc() }

func (m *metrics) refusedOfExporter(n int) { m.refused.Add(float64(n)) }

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}
