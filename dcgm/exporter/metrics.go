package exporter

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Options say how to show.
type Options struct {
	Interval time.Duration // between readings: what staleness counts in
	Dialect  dcgm.Dialect  // 0: no second copy
	Hostname string        // for the dialects
	Now      func() time.Time
}

// Exporter shows the last snapshot that was published. Publish and scrapes may run at the same time.
type Exporter struct {
	opts    Options
	current atomic.Pointer[Snapshot]
}

// New shows nothing until Publish.
func New(opts Options) *Exporter { return &Exporter{opts: opts} }

// Publish replaces what is shown.
func (e *Exporter) Publish(s *Snapshot) { e.current.Store(s) }

// Register adds the metrics to a registry.
func (e *Exporter) Register(r prometheus.Registerer) error {
	if err := r.Register(ours{e}); err != nil {
		return err
	}
	if e.opts.Dialect == 0 {
		return nil
	}
	return r.Register(dialect{e})
}

// signal is how a signal is written.
type signal struct{ name, help string }

// The names are frozen.
var signals = map[dcgm.Signal]signal{
	dcgm.SMActive:       {"sm_active_ratio", "Share of SM cycles with at least one warp resident, 0 to 1"},
	dcgm.DRAMActive:     {"dram_active_ratio", "Share of memory bandwidth in use, 0 to 1; compute instances of one GPU instance share it"},
	dcgm.TensorActive:   {"tensor_active_ratio", "Share of cycles in which the tensor pipes work, 0 to 1"},
	dcgm.GraphicsActive: {"graphics_active_ratio", "Share of time in which any kernel ran, 0 to 1: whether, not how much"},
	dcgm.MemoryUsed:     {"memory_used_bytes", "Memory allocated"},
	dcgm.MemoryTotal:    {"memory_total_bytes", "Memory that there is"},
}

var (
	sliceLabels = []string{"gpu", "uuid", "gi", "ci", "mig_uuid", "profile"}
	valueLabels = append(slices.Clip(sliceLabels), "source", "quality")
	podLabels   = slices.Concat([]string{"namespace", "pod", "pod_uid", "container"}, valueLabels, []string{"sharing", "basis"})

	sliceValues = descriptions("gpu_slice_", " of a GPU or MIG device.", valueLabels)
	podValues   = descriptions("gpu_pod_", " of the GPU or MIG device that a container holds, as basis says: the container's own, its part of a shared device, or the device.", podLabels)

	smWeight     = prometheus.NewDesc("gpu_slice_sm_weight_ratio", "The slice's SMs divided by those that MIG can give out on its GPU.", sliceLabels, nil)
	memoryWeight = prometheus.NewDesc("gpu_slice_memory_weight_ratio", "The GPU instance's memory slices divided by its GPU's: its share of memory and bandwidth.", sliceLabels, nil)
	info         = prometheus.NewDesc("gpu_slice_info", "What a GPU or MIG device is; always 1.", append(slices.Clip(sliceLabels), "model", "pci_bus_id", "architecture", "generation", "driver"), nil)
	absent       = prometheus.NewDesc("gpu_slice_absent", "1 for each signal of a GPU or MIG device that has no value, with the reason.", append(slices.Clip(sliceLabels), "signal", "reason"), nil)

	up       = prometheus.NewDesc("headroom_agent_nvml_up", "1 while there is an NVIDIA driver to read from.", nil, nil)
	age      = prometheus.NewDesc("headroom_agent_sample_age_seconds", "Time since the GPUs were last sampled.", nil, nil)
	failures = prometheus.NewDesc("headroom_agent_nvml_call_failures_total", "Driver calls that failed.", []string{"call", "code"}, nil)
	clamped  = prometheus.NewDesc("headroom_agent_values_clamped_total", "Ratios a little above 1 that were taken as 1.", []string{"signal"}, nil)
	refused  = prometheus.NewDesc("headroom_agent_values_refused_total", "Values from the driver that no ratio or amount can be.", []string{"signal", "reason"}, nil)
)

func descriptions(prefix, of string, labels []string) map[dcgm.Signal]*prometheus.Desc {
	all := map[dcgm.Signal]*prometheus.Desc{}
	for s, written := range signals {
		all[s] = prometheus.NewDesc(prefix+written.name, written.help+of, labels, nil)
	}
	return all
}

// ours collects the metrics of our own names.
type ours struct{ *Exporter }

func (ours) Describe(to chan<- *prometheus.Desc) {
	for _, s := range dcgm.Signals {
		to <- sliceValues[s]
		to <- podValues[s]
	}
	for _, d := range []*prometheus.Desc{smWeight, memoryWeight, info, absent, up, age, failures, clamped, refused} {
		to <- d
	}
}

func (c ours) Collect(to chan<- prometheus.Metric) {
	s := c.current.Load()
	if s == nil {
		s = &Snapshot{}
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	now := c.opts.Now()
	c.collectHealth(s.Health, now, to)
	if s.Inventory == nil {
		return
	}
	named := map[dcgm.Slice][]string{}
	for _, gpu := range s.Inventory.GPUs {
		whole := dcgm.Whole(gpu.UUID)
		named[whole] = []string{strconv.Itoa(gpu.Index), gpu.UUID, "", "", "", ""}
		gauge(info, 1, with(named[whole], gpu.Name, gpu.PCI, word(gpu.Architecture), strconv.FormatUint(gpu.Generation, 10), s.Inventory.Driver)...)
		for _, d := range gpu.Devices {
			labels := []string{strconv.Itoa(gpu.Index), gpu.UUID, strconv.Itoa(d.Slice.GI), strconv.Itoa(d.Slice.CI), d.UUID, d.Profile.String()}
			named[d.Slice] = labels
			gauge(info, 1, with(labels, gpu.Name, gpu.PCI, word(gpu.Architecture), strconv.FormatUint(d.Generation, 10), s.Inventory.Driver)...)
			if d.Weights.SM > 0 {
				gauge(smWeight, d.Weights.SM, labels...)
			}
			if d.Weights.Memory > 0 {
				gauge(memoryWeight, d.Weights.Memory, labels...)
			}
		}
	}
	for _, r := range s.Readings {
		labels, known := named[r.Slice]
		r = r.Fresh(now, c.opts.Interval)
		switch {
		case !known:
		case r.Valid():
			gauge(sliceValues[r.Signal], r.Value, with(labels, r.Source.String(), r.Quality.String())...)
		default:
			gauge(absent, 1, with(labels, r.Signal.String(), r.Absence.String())...)
		}
	}
	for _, r := range s.Pods {
		labels, known := named[r.Slice]
		r.Reading = r.Fresh(now, c.opts.Interval)
		if !known || !r.Valid() {
			continue
		}
		pod := []string{r.Pod.Namespace, r.Pod.Name, r.Pod.UID, r.Pod.Container}
		gauge(podValues[r.Signal], r.Value, with(with(pod, labels...), r.Source.String(), r.Quality.String(), r.Sharing.String(), r.Basis.String())...)
	}
}

func (c ours) collectHealth(h Health, now time.Time, to chan<- prometheus.Metric) {
	isUp := 0.0
	if h.Up {
		isUp = 1
	}
	to <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, isUp)
	if !h.SampledAt.IsZero() {
		to <- prometheus.MustNewConstMetric(age, prometheus.GaugeValue, now.Sub(h.SampledAt).Seconds())
	}
	for f, n := range h.Failures {
		to <- prometheus.MustNewConstMetric(failures, prometheus.CounterValue, float64(n), f.Call, f.Code)
	}
	for s, n := range h.Clamped {
		to <- prometheus.MustNewConstMetric(clamped, prometheus.CounterValue, float64(n), s.String())
	}
	for r, n := range h.Refused {
		to <- prometheus.MustNewConstMetric(refused, prometheus.CounterValue, float64(n), r.Signal.String(), r.Why.String())
	}
}

// with is a copy of labels with more behind.
func with(labels []string, more ...string) []string {
	return append(append(make([]string, 0, len(labels)+len(more)), labels...), more...)
}

// word is an architecture, or nothing where it is not known.
func word(a dcgm.Architecture) string {
	if a == 0 {
		return ""
	}
	return a.String()
}
