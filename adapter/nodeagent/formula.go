package nodeagent

import (
	"cmp"
	"slices"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/stream"
)

// metric is one that pods have.
type metric struct {
	name   string
	signal dcgm.Signal
	part   bool // the pod's part of a shared device in place of the device
	memory bool // used divided by total
}

// metrics are those of the dcgm-exporter preset, and parts.
var metrics = []metric{
	{name: "gpu_sm_active_ratio", signal: dcgm.SMActive},
	{name: "gpu_dram_active_ratio", signal: dcgm.DRAMActive},
	{name: "gpu_tensor_active_ratio", signal: dcgm.TensorActive},
	{name: "gpu_graphics_active_ratio", signal: dcgm.GraphicsActive},
	{name: "gpu_memory_used_ratio", signal: dcgm.MemoryUsed, memory: true},
	{name: "gpu_sm_active_part_ratio", signal: dcgm.SMActive, part: true},
	{name: "gpu_graphics_active_part_ratio", signal: dcgm.GraphicsActive, part: true},
}

// Metrics are the names that this package gives, of pods.
func Metrics() []string {
	var names []string
	for _, m := range metrics {
		names = append(names, m.name)
	}
	return names
}

// podName is a pod as the metrics API knows it.
type podName struct{ namespace, name string }

// formula makes a pod's metric from the series of one agent. It is made anew when series come or go, and evaluated for each message.
type formula struct {
	pod    podName
	metric int
	over   [][]*stream.Held // for each device the series that are added up
	total  []*stream.Held   // memory: the total of each device
}

// value is a formula's result.
type value struct {
	pod      podName
	metric   int
	number   float64
	quality  dcgm.Quality  // the worst of what went in
	measured time.Duration // the oldest of what went in, on the agent's clock
	at       time.Time     // the same by the agent's wall clock, for people
}

// onDevice are the series of one pod on one device.
type onDevice struct {
	device map[dcgm.Signal]*stream.Held // the pod's own, or a shared device's: one is as good as another
	parts  map[dcgm.Signal][]*stream.Held
}

// formulas makes those that can be made of an agent's series. incomplete counts pods' metrics that have numbers of some devices and not of others.
func formulas(each func(func(*stream.Held))) (made []formula, incomplete int) {
	pods := map[podName]map[dcgm.Slice]*onDevice{}
	each(func(h *stream.Held) {
		name := podName{h.Pod.Namespace, h.Pod.Name}
		if pods[name] == nil {
			pods[name] = map[dcgm.Slice]*onDevice{}
		}
		d := pods[name][h.Slice]
		if d == nil {
			d = &onDevice{map[dcgm.Signal]*stream.Held{}, map[dcgm.Signal][]*stream.Held{}}
			pods[name][h.Slice] = d
		}
		if h.Basis == dcgm.Part {
			d.parts[h.Signal] = append(d.parts[h.Signal], h)
			return
		}
		if other := d.device[h.Signal]; other == nil || h.Quality.Better(other.Quality) {
			d.device[h.Signal] = h
		}
	})
	for name, devices := range pods {
		for i, m := range metrics {
			f := formula{pod: name, metric: i}
			for _, d := range devices {
				f.add(m, d)
			}
			switch len(f.over) {
			case 0:
			case len(devices):
				made = append(made, f)
			default:
				incomplete++
			}
		}
	}
	slices.SortFunc(made, func(a, b formula) int {
		return cmp.Or(cmp.Compare(a.pod.namespace, b.pod.namespace), cmp.Compare(a.pod.name, b.pod.name), cmp.Compare(a.metric, b.metric))
	})
	return made, incomplete
}

func (f *formula) add(m metric, d *onDevice) {
	device, parts := d.device[m.signal], d.parts[m.signal]
	switch {
	case m.memory:
		if total := d.device[dcgm.MemoryTotal]; device != nil && total != nil {
			f.over, f.total = append(f.over, []*stream.Held{device}), append(f.total, total)
		}
	case m.part && len(parts) > 0:
		f.over = append(f.over, parts)
	case m.part && (device == nil || device.Basis != dcgm.Own): // the part is not known; a device of its own is all the pod's
	case device != nil:
		f.over = append(f.over, []*stream.Held{device})
	}
}

// evaluate is the formula's number as of the series' present ones. False when it is none.
func (f *formula) evaluate() (value, bool) {
	v := value{pod: f.pod, metric: f.metric}
	sum, total := 0.0, float64(len(f.over))
	for i, series := range f.over {
		for _, h := range series {
			sum += h.Value
			v.take(h, i == 0 && h == series[0])
		}
	}
	if f.total != nil {
		total = 0
		for _, h := range f.total {
			total += h.Value
			v.take(h, false)
		}
	}
	if total <= 0 {
		return value{}, false
	}
	v.number = sum / total
	return v, true
}

func (v *value) take(h *stream.Held, first bool) {
	v.quality = max(v.quality, h.Quality)
	if first || h.Measured < v.measured {
		v.measured, v.at = h.Measured, h.At
	}
}
