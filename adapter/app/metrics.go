package app

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// metrics is what the adapter says of itself. It is also the collector's Observer: transitions between working and
// failing are logged here, once each, and everything is counted.
type metrics struct {
	log *slog.Logger

	collections   *prometheus.HistogramVec
	failures      *prometheus.CounterVec
	rows          *prometheus.GaugeVec
	invalid       *prometheus.CounterVec
	lastSuccess   *prometheus.GaugeVec
	discoveries   *prometheus.CounterVec
	reloads       *prometheus.CounterVec
	reloadOK      prometheus.Gauge
	reloadSuccess prometheus.Gauge
	lastTick      prometheus.Gauge

	mu     sync.Mutex
	failed map[string]bool // by backend and rule
}

func newMetrics(reg prometheus.Registerer, wanted *collect.Wanted, log *slog.Logger) *metrics {
	with := promauto.With(reg)
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "headroom_adapter_wanted_metrics", Help: "Metrics (name, namespace, selector) that HPAs name or somebody asked for lately.",
	}, func() float64 { wants, _ := wanted.All(); return float64(len(wants)) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "headroom_adapter_wanted_overflow", Help: "Metrics that HPAs name and that are not collected, because --max-wanted is reached.",
	}, func() float64 { return float64(wanted.Overflow()) })
	return &metrics{
		log:    log,
		failed: map[string]bool{},
		collections: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "headroom_adapter_collection_duration_seconds", Help: "Time from asking a rule's queries to the values being served, failed ones included.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"backend"}),
		failures: with.NewCounterVec(prometheus.CounterOpts{
			Name: "headroom_adapter_collection_failures_total", Help: "Collections of a rule without a usable answer.",
		}, []string{"backend", "rule"}),
		rows: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "headroom_adapter_collection_rows", Help: "Rows in the last answer to a rule.",
		}, []string{"rule"}),
		invalid: with.NewCounterVec(prometheus.CounterOpts{
			Name: "headroom_adapter_invalid_samples_total", Help: "Rows without a usable number; cause is NaN, infinite, negative or no recent raw sample.",
		}, []string{"rule", "cause"}),
		lastSuccess: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "headroom_adapter_collection_last_success_timestamp_seconds", Help: "When a backend last answered a collection, in Unix time.",
		}, []string{"backend"}),
		discoveries: with.NewCounterVec(prometheus.CounterOpts{
			Name: "headroom_adapter_series_discoveries_total", Help: "Look-ups of series names and labels; result is ok or failed.",
		}, []string{"backend", "result"}),
		reloads: with.NewCounterVec(prometheus.CounterOpts{
			Name: "headroom_adapter_config_reloads_total", Help: "Changed configurations that were read; result is ok or refused.",
		}, []string{"result"}),
		reloadOK: with.NewGauge(prometheus.GaugeOpts{
			Name: "headroom_adapter_config_last_reload_successful", Help: "1 when the configuration on disk is the one in use, 0 when it was refused.",
		}),
		reloadSuccess: with.NewGauge(prometheus.GaugeOpts{
			Name: "headroom_adapter_config_last_reload_success_timestamp_seconds", Help: "When the configuration in use was read, in Unix time.",
		}),
		lastTick: with.NewGauge(prometheus.GaugeOpts{
			Name: "headroom_adapter_loop_last_tick_timestamp_seconds", Help: "When the collection loop last turned, in Unix time.",
		}),
	}
}

// Collected implements collect.Observer.
func (m *metrics) Collected(backend, rule string, took time.Duration, rows int, invalid map[store.Cause]int, err error) {
	m.collections.WithLabelValues(backend).Observe(took.Seconds())
	m.transition(backend, rule, err)
	if err != nil {
		m.failures.WithLabelValues(backend, rule).Inc()
		return
	}
	m.lastSuccess.WithLabelValues(backend).SetToCurrentTime()
	m.rows.WithLabelValues(rule).Set(float64(rows))
	for cause, n := range invalid {
		m.invalid.WithLabelValues(rule, cause.String()).Add(float64(n))
	}
	m.log.Debug("collected", "backend", backend, "rule", rule, "rows", rows, "took", took)
}

// Discovered implements collect.Observer.
func (m *metrics) Discovered(backend string, err error) {
	m.transition(backend, "discovery", err)
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.discoveries.WithLabelValues(backend, result).Inc()
}

// transition logs when something stops working or works again, not every time that it does not.
func (m *metrics) transition(backend, what string, err error) {
	m.mu.Lock()
	key := backend + " " + what
	was := m.failed[key]
	if err != nil {
		m.failed[key] = true
	} else {
		delete(m.failed, key)
	}
	m.mu.Unlock()
	switch {
	case err != nil && !was:
		m.log.Warn("no answer; last good values are served until they are stale", "backend", backend, "what", what, "error", err)
	case err == nil && was:
		m.log.Info("answers again", "backend", backend, "what", what)
	}
}

func (m *metrics) reloaded(err error, now time.Time) {
	if err != nil {
		m.reloads.WithLabelValues("refused").Inc()
		m.reloadOK.Set(0)
		return
	}
	m.reloads.WithLabelValues("ok").Inc()
	m.reloadOK.Set(1)
	m.reloadSuccess.Set(float64(now.Unix()))
}
