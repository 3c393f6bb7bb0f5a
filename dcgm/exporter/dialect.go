package exporter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// dialect collects the same readings under dcgm-exporter's names. It describes nothing: dcgm-exporter's series of one name have different
// labels (a slice has more than a GPU, a held device more than a free one), which a described collector may not.
type dialect struct{ *Exporter }

func (dialect) Describe(chan<- *prometheus.Desc) {}

func (c dialect) Collect(to chan<- prometheus.Metric) {
	s := c.current.Load()
	if s == nil || s.Inventory == nil {
		return
	}
	now := c.opts.Now()
	readings := map[dcgm.Slice]map[dcgm.Signal]dcgm.Reading{}
	for _, r := range s.Readings {
		if readings[r.Slice] == nil {
			readings[r.Slice] = map[dcgm.Signal]dcgm.Reading{}
		}
		if r = r.Fresh(now, c.opts.Interval); r.Valid() {
			readings[r.Slice][r.Signal] = r
		}
	}
	for _, gpu := range s.Inventory.GPUs {
		if !gpu.MIG {
			c.collectSlice(to, gpu, nil, false, readings[dcgm.Whole(gpu.UUID)], s.Holders[dcgm.Whole(gpu.UUID)])
		}
		members := map[int]int{}
		for _, d := range gpu.Devices {
			members[d.Slice.GI]++
		}
		for i := range gpu.Devices {
			d := &gpu.Devices[i]
			c.collectSlice(to, gpu, d, members[d.Slice.GI] > 1, readings[d.Slice], s.Holders[d.Slice])
		}
	}
}

func (c dialect) collectSlice(to chan<- prometheus.Metric, gpu dcgm.GPU, d *dcgm.Device, several bool, readings map[dcgm.Signal]dcgm.Reading, holders []dcgm.Pod) {
	pods := []*dcgm.Pod{nil}
	if len(holders) > 0 {
		pods = pods[:0]
		for i := range holders {
			pods = append(pods, &holders[i])
		}
	}
	for _, pod := range pods {
		labels := prometheus.Labels{}
		for _, l := range c.opts.Dialect.Labels(gpu, d, several, c.opts.Hostname, pod) {
			labels[l.Name] = l.Value
		}
		write := func(name, help string, value float64) {
			to <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), prometheus.GaugeValue, value)
		}
		for _, f := range dcgm.Fields() {
			r, found := readings[f.Signal]
			fits := r.Quality != dcgm.Duty // a duty cycle is no activity
			if f.Quality == dcgm.Duty {
				fits = d == nil // and DCGM has none for slices
			}
			if !found || !fits {
				continue
			}
			write(f.Name(c.opts.Dialect), f.Help, r.Value/float64(f.Scale))
		}
		used, total := readings[dcgm.MemoryUsed], readings[dcgm.MemoryTotal]
		if used.Valid() && total.Valid() {
			write(dcgm.FieldFree, "Framebuffer memory free (in MiB).", max(0, total.Value-used.Value)/float64(dcgm.MiBScale))
		}
	}
}
