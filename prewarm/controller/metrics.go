package controller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Metrics are the controller's own. A nil *Metrics counts nothing.
type Metrics struct {
	leader     prometheus.Gauge
	durations  prometheus.Histogram
	floor      *prometheus.GaugeVec
	need       *prometheus.GaugeVec
	demand     *prometheus.GaugeVec
	forecast   *prometheus.GaugeVec
	leadTime   *prometheus.GaugeVec
	ready      *prometheus.GaugeVec
	conditions *prometheus.GaugeVec
	decisions  *prometheus.CounterVec
	failures   prometheus.Counter
}

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	labels := []string{"namespace", "headroom"}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		leader:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_controller_leader", Help: "1 on the replica that decides for all Headroom objects."}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "headroom_controller_reconcile_duration_seconds", Help: "Time to look at one Headroom object, writes included.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		floor:     gauge("headroom_controller_floor_replicas", "Replicas to keep, of the last valid decision.", labels...),
		need:      gauge("headroom_controller_need_replicas", "Replicas that demand needs now.", labels...),
		ready:     gauge("headroom_controller_ready_replicas", "Ready pods of the target.", labels...),
		demand:    gauge("headroom_controller_demand", "Offered demand, in its metric's own unit; no series while it is unknown.", labels...),
		forecast:  gauge("headroom_controller_forecast_demand", "Quantile of the maximum demand over the lead time, in the demand metric's own unit; no series while there is none.", append(labels, "quantile")...),
		leadTime:  gauge("headroom_controller_lead_time_seconds", "Lead time in use.", labels...),
		conditions: gauge("headroom_controller_condition", "1 for the condition's present status, which is True, False or Unknown.",
			append(labels, "type", "status")...),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "headroom_controller_decisions_total", Help: "Decisions by the kind of their reason."}, []string{"kind"}),
	}
	m.failures = prometheus.NewCounter(prometheus.CounterOpts{Name: "headroom_controller_failures_total", Help: "Looks at a Headroom object at which something went wrong, such as a write that kube-apiserver did not take."})
	registry.MustRegister(m.failures, m.leader, m.durations, m.floor, m.need, m.ready, m.demand, m.forecast, m.leadTime, m.conditions, m.decisions)
	return m
}

func (m *Metrics) leads(is bool) {
	if m == nil {
		return
	}
	m.leader.Set(0)
	if is {
		m.leader.Set(1)
		return
	}
	for _, v := range m.perObject() {
		v.Reset() // the next leader shows them
	}
}

func (m *Metrics) perObject() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{m.floor, m.need, m.ready, m.demand, m.forecast, m.leadTime, m.conditions}
}

func (m *Metrics) reconciled(took time.Duration) {
	if m != nil {
		m.durations.Observe(took.Seconds())
	}
}

func (m *Metrics) failed() {
	if m != nil {
		m.failures.Inc()
	}
}

func (m *Metrics) forget(key types.NamespacedName) {
	if m == nil {
		return
	}
	for _, v := range m.perObject() {
		v.DeletePartialMatch(prometheus.Labels{"namespace": key.Namespace, "headroom": key.Name})
	}
}

// decided shows one look. What is unknown loses its series: it must not look like the last number.
func (m *Metrics) decided(l *look, conditions []metav1.Condition) {
	if m == nil {
		return
	}
	key := []string{l.hr.Namespace, l.hr.Name}
	for _, c := range conditions {
		for _, status := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} {
			value := 0.0
			if status == c.Status {
				value = 1
			}
			m.conditions.WithLabelValues(key[0], key[1], c.Type, string(status)).Set(value)
		}
	}
	show := func(v *prometheus.GaugeVec, known bool, value float64, more ...string) {
		if known {
			v.WithLabelValues(append(key, more...)...).Set(value)
		} else {
			v.DeletePartialMatch(prometheus.Labels{"namespace": key[0], "headroom": key[1]})
		}
	}
	decided := l.failure == nil
	if decided {
		m.decisions.WithLabelValues(l.decision.Kind.String()).Inc()
	}
	show(m.floor, decided && l.decision.Valid, float64(l.decision.Floor))
	show(m.need, decided && l.decision.Valid, float64(l.decision.Need))
	show(m.ready, decided, float64(len(l.pods.ready)))
	show(m.demand, decided && l.demand.Known, l.demand.Value)
	show(m.leadTime, decided, l.lead.Total().Seconds())
	show(m.forecast, false, 0) // the quantiles may be others than before
	if !decided || !l.outlook.Forecast.Known {
		return
	}
	for _, q := range l.outlook.Quantiles {
		show(m.forecast, true, q.Value, decimal(q.Level))
	}
}
