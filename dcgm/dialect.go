package dcgm

import (
	"slices"
	"strconv"
	"time"
)

// Dialect is a spelling of dcgm-exporter's names and labels.
type Dialect int

const (
	OldDialect Dialect = iota + 1 // DCGM before 4.6, dcgm-exporter up to 4.5.3-4.8.2: DCGM_FI_PROF_SM_ACTIVE, Hostname
	NewDialect                    // since: DCGM_FI_PROF_SM_UTIL_RATIO, hostname
)

var dialects = names[Dialect]{"dialect", []string{"old", "new"}}

func (d Dialect) String() string                { return dialects.text(d) }
func (d Dialect) MarshalText() ([]byte, error)  { return dialects.marshal(d) }
func (d *Dialect) UnmarshalText(t []byte) error { return dialects.unmarshal(d, t) }

// Scale is the unit that dcgm-exporter gives a field in: its profiling fields are ratios, its utilization is in percent, memory in MiB.
type Scale float64

const (
	RatioScale   Scale = 1
	PercentScale Scale = 0.01
	MiBScale     Scale = 1 << 20
)

// Field is one of DCGM's, in both spellings.
type Field struct {
	ID       int // DCGM's number
	Signal   Signal
	Old, New string
	Scale    Scale // times this is the signal's unit
	Help     string
	// Quality is what the value is worth for a whole GPU.
	Quality Quality
}

// Memory that is free and reserved is not a signal of its own: free, used and reserved together are the total.
const (
	FieldFree     = "DCGM_FI_DEV_FB_FREE"
	fieldReserved = "DCGM_FI_DEV_FB_RESERVED"
)

// fields are those that Headroom reads and writes, from dcgm_fields.h of DCGM 4.6 and dcgm-exporter's default-counters.csv.
var fields = []Field{
	{1002, SMActive, "DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_SM_UTIL_RATIO", RatioScale, "The ratio of cycles an SM has at least 1 warp assigned.", Exact},
	{1005, DRAMActive, "DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO", RatioScale, "Ratio of cycles the device memory interface is active sending or receiving data.", Exact},
	{1004, TensorActive, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_TENSOR_UTIL_RATIO", RatioScale, "Ratio of cycles the tensor (HMMA) pipe is active.", Exact},
	{1001, GraphicsActive, "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", RatioScale, "Ratio of time the graphics engine is active.", Exact},
	{203, GraphicsActive, "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO", PercentScale, "GPU utilization (in %).", Duty},
	{252, MemoryUsed, "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_USED", MiBScale, "Framebuffer memory used (in MiB).", Exact},
}

// Fields are DCGM's fields that have a meaning here.
func Fields() []Field { return slices.Clone(fields) }

// FieldOf finds a field by either of its names.
func FieldOf(name string) (Field, bool) {
	for _, f := range fields {
		if f.Old == name || f.New == name {
			return f, true
		}
	}
	return Field{}, false
}

// Name is the field's in a dialect.
func (f Field) Name(d Dialect) string {
	if d == NewDialect {
		return f.New
	}
	return f.Old
}

// Label is a name and a value.
type Label struct{ Name, Value string }

// Labels are those that dcgm-exporter writes on a series about a slice, in its order. It knows GPU instances only: several compute
// instances of one differ in GPU_C_ID, which it does not have and which is left out where there is only one.
func (d Dialect) Labels(gpu GPU, device *Device, severalComputeInstances bool, hostname string, pod *Pod) []Label {
	labels := []Label{
		{"gpu", strconv.Itoa(gpu.Index)}, {"UUID", gpu.UUID}, {"pci_bus_id", gpu.PCI},
		{"device", "nvidia" + strconv.Itoa(gpu.Index)}, {"modelName", gpu.Name},
	}
	if device != nil {
		instance := device.Profile
		instance.ComputeSlices = instance.GPUSlices
		labels = append(labels, Label{"GPU_I_PROFILE", instance.String()}, Label{"GPU_I_ID", strconv.Itoa(device.Slice.GI)})
		if severalComputeInstances {
			labels = append(labels, Label{"GPU_C_ID", strconv.Itoa(device.Slice.CI)})
		}
	}
	host := "Hostname"
	if d == NewDialect {
		host = "hostname"
	}
	labels = append(labels, Label{host, hostname})
	if pod != nil {
		labels = append(labels, Label{"container", pod.Container}, Label{"namespace", pod.Namespace}, Label{"pod", pod.Name})
		if pod.UID != "" {
			labels = append(labels, Label{"pod_uid", pod.UID})
		}
	}
	return labels
}

// podSpellings are the labels that name the workload, best first. Where a scrape keeps its own namespace and pod, the workload's are
// exported_…; then pod alone is the exporter's.
var podSpellings = []struct{ namespace, pod, container string }{
	{"exported_namespace", "exported_pod", "exported_container"},
	{"pod_namespace", "pod_name", "container_name"},
	{"namespace", "pod", "container"},
}

// PodOf is the workload that a series' labels name. False when they name none, which is not an idle pod's series.
func PodOf(labels map[string]string) (Pod, bool) {
	for _, spelling := range podSpellings {
		if labels[spelling.pod] != "" {
			return Pod{Namespace: labels[spelling.namespace], Name: labels[spelling.pod], Container: labels[spelling.container], UID: labels["pod_uid"]}, true
		}
	}
	return Pod{}, false
}

// SliceOf is the GPU or GPU instance that a series' labels name; dcgm-exporter puts the parent's UUID on a slice's series.
func SliceOf(labels map[string]string) (Slice, bool) {
	gpu := labels["UUID"]
	if gpu == "" {
		gpu = labels["uuid"]
	}
	if !validUUID(gpu, "GPU-") {
		return Slice{}, false
	}
	id, isSlice := labels["GPU_I_ID"]
	if !isSlice || id == "" {
		return Whole(gpu), true
	}
	gi, ok := number(id)
	return Instance(gpu, gi), ok
}

// Row is one sample of an exposition.
type Row struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// exporterOvershoot: DCGM's SM activity of GPU instances has been seen at 1.29 (NVIDIA/DCGM issue 152) and means full.
const exporterOvershoot = 0.5

// FromExporter turns a scrape of a dcgm-exporter into readings of this node's slices, as of now. interval is the exporter's, since
// a value says nothing of its time. A GPU instance's value goes to its compute instances: as Exact where the instance is one slice
// with one compute instance, so that both are the same; as Aggregate elsewhere. With correct set, graphics activity of
// an Ampere GPU instance of G slices with C compute instances of equal size becomes min(1, value·G/C) of each, marked as Corrected;
// that is inferred from NVIDIA/DCGM issue 138 and not confirmed by NVIDIA, hence an option.
func FromExporter(rows []Row, inv *Inventory, correct bool, now time.Time, interval time.Duration) (readings []Reading, refused int) {
	memory := memoryTotals(rows)
	for _, row := range rows {
		f, known := FieldOf(row.Name)
		slice, placed := SliceOf(row.Labels)
		if !known || !placed {
			continue
		}
		gpu, here := inv.GPU(slice.GPU)
		if !here || (slice.Level == WholeGPU) == gpu.MIG {
			continue // another node's, or the parent of slices: those are told one by one
		}
		r := Reading{Slice: slice, Signal: f.Signal, At: now, Window: interval, Source: DCGMExporter, Quality: f.Quality, Generation: gpu.Generation}
		var why Absence
		if f.Signal.Bytes() {
			r.Window = 0
			r.Value, why = Amount(row.Value * float64(f.Scale))
		} else {
			r.Value, _, why = Ratio(row.Value*float64(f.Scale), exporterOvershoot)
		}
		if why != 0 {
			refused++
			r = r.Without(why)
		}
		own := readingsOf(r, gpu, f, correct)
		readings = append(readings, own...)
		if total, ok := memory[slice]; ok && f.Signal == MemoryUsed {
			for _, used := range own {
				used.Signal, used.Value = MemoryTotal, total
				readings = append(readings, used)
			}
		}
	}
	return readings, refused
}

// readingsOf gives a GPU instance's reading to each of its compute instances.
func readingsOf(r Reading, gpu *GPU, f Field, correct bool) []Reading {
	if r.Slice.Level == WholeGPU {
		return []Reading{r}
	}
	var members []Device
	for _, d := range gpu.Devices {
		if d.Slice.GPUInstance() == r.Slice {
			members = append(members, d)
		}
	}
	var out []Reading
	for _, d := range members {
		r.Slice, r.Generation = d.Slice, d.Generation
		one := r
		switch {
		case !one.Valid() || f.Signal.Bytes() || f.Signal == DRAMActive: // the GPU instance's own
		case d.Profile.GPUSlices == 1 && len(members) == 1:
		case correct && f.Signal == GraphicsActive && f.Quality == Exact && gpu.Architecture == Ampere && sameSize(members):
			one.Value = min(1, one.Value*float64(d.Profile.GPUSlices)/float64(len(members)))
			one.Quality = Corrected
		default:
			one.Quality = max(one.Quality, Aggregate)
		}
		out = append(out, one)
	}
	return out
}

func sameSize(devices []Device) bool {
	for _, d := range devices {
		if d.Profile.ComputeSlices != devices[0].Profile.ComputeSlices {
			return false
		}
	}
	return true
}

// memoryTotals adds used, free and reserved up where all that there is of them is plausible.
func memoryTotals(rows []Row) map[Slice]float64 {
	sums, haveFree := map[Slice]float64{}, map[Slice]bool{}
	for _, row := range rows {
		slice, ok := SliceOf(row.Labels)
		if !ok || row.Name != "DCGM_FI_DEV_FB_USED" && row.Name != FieldFree && row.Name != fieldReserved {
			continue
		}
		sums[slice] += row.Value * float64(MiBScale)
		haveFree[slice] = haveFree[slice] || row.Name == FieldFree
	}
	for slice, sum := range sums {
		if _, why := Amount(sum); why != 0 || !haveFree[slice] {
			delete(sums, slice)
		}
	}
	return sums
}
