package metricsapi

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// Missing counts, for the last answer of each question, the Ready pods that had no value. It is what an alert looks at:
// the HPA sees them as zero on the way up.
type Missing struct {
	desc *prometheus.Desc
	now  func() time.Time

	mu   sync.Mutex
	last map[store.Key]missingPods
}

type missingPods struct {
	pods int
	at   time.Time
}

const (
	// missingFor is how long an answer's count is reported after the last request.
	missingFor = 3 * time.Minute
	// missingMost bounds the questions remembered; it is above what may be wanted.
	missingMost = 4096
)

// NewMissing registers the metric.
func NewMissing(reg prometheus.Registerer, now func() time.Time) *Missing {
	m := &Missing{
		now:  now,
		last: map[store.Key]missingPods{},
		desc: prometheus.NewDesc("headroom_adapter_pods_without_sample",
			"Ready pods that the last answers left out because they had no valid sample, summed over the selectors asked for.",
			[]string{"namespace", "metric"}, nil),
	}
	reg.MustRegister(m)
	return m
}

func (m *Missing) set(key store.Key, pods int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.last[key]; !known && len(m.last) >= missingMost {
		return
	}
	m.last[key] = missingPods{pods, now}
}

// Describe implements prometheus.Collector.
func (m *Missing) Describe(to chan<- *prometheus.Desc) { to <- m.desc }

// Collect implements prometheus.Collector.
func (m *Missing) Collect(to chan<- prometheus.Metric) {
	type series struct{ namespace, metric string }
	sums := map[series]int{}
	m.mu.Lock()
	for key, last := range m.last {
		if m.now().Sub(last.at) > missingFor {
			delete(m.last, key)
			continue
		}
		sums[series{key.Namespace, key.Metric}] += last.pods
	}
	m.mu.Unlock()
	for s, pods := range sums {
		to <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(pods), s.namespace, s.metric)
	}
}
