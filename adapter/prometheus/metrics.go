package prometheus

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics is what the backends' clients report together.
type Metrics struct {
	duration *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

// NewMetrics registers them; one Metrics serves the clients of all backends.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	return &Metrics{
		duration: promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
			Name:    "headroom_backend_request_duration_seconds",
			Help:    "Time a request to a backend took, failed ones included; endpoint is query, query_range, labels or label/__name__/values.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"backend", "endpoint"}),
		failures: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "headroom_backend_request_failures_total",
			Help: "Requests to a backend without a usable answer; reason is timeout, refused (the server said no), partial, or transport.",
		}, []string{"backend", "reason"}),
	}
}

func (m *Metrics) observe(backend, endpoint string, took time.Duration, err error) {
	if m == nil {
		return
	}
	m.duration.WithLabelValues(backend, endpoint).Observe(took.Seconds())
	if err != nil {
		m.failures.WithLabelValues(backend, reason(err)).Inc()
	}
}

func reason(err error) string {
	var refused *refusal
	switch {
	case errors.As(err, &refused) && refused.kind == "partial":
		return "partial"
	case errors.As(err, &refused):
		return "refused"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "transport"
	}
}
