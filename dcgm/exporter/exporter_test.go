package exporter

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

var update = flag.Bool("update", false, "write the goldens anew")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	cut   = "GPU-11111111-2222-3333-4444-555555555555"
	whole = "GPU-66666666-7777-8888-9999-000000000000"
)

// node is an H200 of three slices, two of them compute instances of one GPU instance, and an L4 whose driver knows no more than a duty cycle.
func node() *Snapshot {
	read := func(s dcgm.Slice, signal dcgm.Signal, value float64) dcgm.Reading {
		return dcgm.Reading{Slice: s, Signal: signal, Value: value, At: noon.Add(-time.Second), Source: dcgm.GPM, Quality: dcgm.Exact}
	}
	one, two, three, l4 := dcgm.Compute(cut, 1, 0), dcgm.Compute(cut, 1, 1), dcgm.Compute(cut, 9, 0), dcgm.Whole(whole)
	llama := dcgm.Pod{Namespace: "inference", Name: "llama-0", UID: "0f3c6f2a-8d3e-4c1b-9a70-2f4be6a1d001", Container: "vllm"}
	phi := dcgm.Pod{Namespace: "inference", Name: "phi-0", Container: "server"}
	duty := read(l4, dcgm.GraphicsActive, 0.42)
	duty.Source, duty.Quality = dcgm.Utilization, dcgm.Duty
	old := read(three, dcgm.SMActive, 0.77)
	old.At = noon.Add(-4 * time.Second)
	s := &Snapshot{
		Inventory: &dcgm.Inventory{Driver: "570.124.06", GPUs: []dcgm.GPU{
			{UUID: cut, Index: 0, Name: "NVIDIA H200", PCI: "00000000:17:00.0", Architecture: dcgm.Hopper, MIG: true, Generation: 4, Devices: []dcgm.Device{
				{Slice: one, UUID: "MIG-1", Profile: dcgm.Profile{ComputeSlices: 1, GPUSlices: 3, MemoryGB: 71}, Weights: dcgm.Weights{SM: 0.25, Memory: 0.5}, Generation: 1},
				{Slice: two, UUID: "MIG-2", Profile: dcgm.Profile{ComputeSlices: 2, GPUSlices: 3, MemoryGB: 71}, Weights: dcgm.Weights{SM: 0.5, Memory: 0.5}, Generation: 2},
				{Slice: three, UUID: "MIG-3", Profile: dcgm.Profile{ComputeSlices: 1, GPUSlices: 1, MemoryGB: 18}, Weights: dcgm.Weights{Memory: 0.125}, Generation: 3},
			}},
			{UUID: whole, Index: 1, Name: "NVIDIA L4", PCI: "00000000:3D:00.0", Architecture: dcgm.Ada},
		}},
		Readings: []dcgm.Reading{
			read(dcgm.Whole(cut), dcgm.SMActive, 0.5), read(one, dcgm.SMActive, 0.8), read(one, dcgm.DRAMActive, 0.25), read(one, dcgm.MemoryUsed, 1<<30), read(one, dcgm.MemoryTotal, 69<<30),
			read(two, dcgm.SMActive, 0), read(two, dcgm.TensorActive, 0).Without(dcgm.NotANumber), old, duty, read(l4, dcgm.SMActive, 0).Without(dcgm.NotSupported),
			read(dcgm.Compute(cut, 5, 0), dcgm.SMActive, 0.9), // of a slice that the inventory does not have
		},
		Holders: map[dcgm.Slice][]dcgm.Pod{one: {llama}, l4: {llama, phi}},
		Health: Health{Up: true, SampledAt: noon.Add(-time.Second), Failures: map[Failure]uint64{{"nvmlGpmSampleGet", "no permission"}: 3},
			Clamped: map[dcgm.Signal]uint64{dcgm.SMActive: 2}, Refused: map[Refusal]uint64{{dcgm.TensorActive, dcgm.NotANumber}: 1}},
	}
	s.Pods = append(s.Pods, dcgm.Attribute(dcgm.MIG, s.Readings[1:5], []dcgm.Pod{llama}, nil)...)
	s.Pods = append(s.Pods, dcgm.Attribute(dcgm.TimeSliced, []dcgm.Reading{duty}, []dcgm.Pod{llama, phi}, []dcgm.Owned{
		{Process: dcgm.Process{Slice: l4, PID: 1, Busy: 0.3, BusyKnown: true}, Pod: llama, Matched: true},
		{Process: dcgm.Process{Slice: l4, PID: 2, Busy: 0.1, BusyKnown: true}, Pod: phi, Matched: true}})...)
	return s
}

func scrape(t *testing.T, d dcgm.Dialect, s *Snapshot) string {
	t.Helper()
	e := New(Options{Interval: time.Second, Dialect: d, Hostname: "node-1", Now: func() time.Time { return noon }})
	registry := prometheus.NewPedanticRegistry()
	if err := e.Register(registry); err != nil {
		t.Fatal(err)
	}
	if s != nil {
		e.Publish(s)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

func TestExposition(t *testing.T) {
	for name, d := range map[string]dcgm.Dialect{"off": 0, "old": dcgm.OldDialect, "new": dcgm.NewDialect} {
		t.Run(name, func(t *testing.T) {
			got, golden := scrape(t, d, node()), filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("go test ./dcgm/exporter -update writes it anew:\n%s", diff)
			}
		})
	}
}

func TestWithoutADriverNothingIsSaidOfGPUs(t *testing.T) {
	for name, s := range map[string]*Snapshot{"nothing published": nil, "no inventory": {Readings: node().Readings}} {
		got := scrape(t, dcgm.OldDialect, s)
		if strings.Contains(got, "gpu_") || strings.Contains(got, "DCGM") || !strings.Contains(got, "headroom_agent_nvml_up 0") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// TestADialectIsReadBackAsWhatItIs: what is written as dcgm-exporter would is read as what it was, by what reads dcgm-exporters.
func TestADialectIsReadBackAsWhatItIs(t *testing.T) {
	s := node()
	for _, d := range []dcgm.Dialect{dcgm.OldDialect, dcgm.NewDialect} {
		rows, err := dcgm.ParseExposition(strings.NewReader(scrape(t, d, s)), func(name string) bool { return strings.HasPrefix(name, "DCGM_") })
		if err != nil || len(rows) == 0 {
			t.Fatal(len(rows), err)
		}
		readings, refused := dcgm.FromExporter(rows, s.Inventory, false, noon, time.Second)
		if refused != 0 {
			t.Errorf("refused %d", refused)
		}
		for _, r := range readings {
			found := false
			for _, is := range s.Readings {
				same := is.Slice.GPUInstance() == r.Slice.GPUInstance() && is.Signal == r.Signal
				if same && math.Abs(is.Value-r.Value) < 1e-9 && is.Valid() {
					found = true
				}
			}
			if !found {
				t.Errorf("%s: %+v was never shown", d, r)
			}
		}
		for _, row := range rows {
			if pod, held := dcgm.PodOf(row.Labels); held && pod.Namespace != "inference" {
				t.Errorf("%+v", row)
			}
		}
	}
}

// BenchmarkScrape is one scrape of a node of eight GPUs with seven slices each, every slice held by a pod, in one dialect.
func BenchmarkScrape(b *testing.B) {
	s := &Snapshot{Inventory: &dcgm.Inventory{}, Holders: map[dcgm.Slice][]dcgm.Pod{}, Health: Health{Up: true}}
	for g := range 8 {
		gpu := dcgm.GPU{UUID: cut[:len(cut)-1] + string(rune('0'+g)), Index: g, MIG: true, Name: "NVIDIA H200"}
		for i := range 7 {
			slice := dcgm.Compute(gpu.UUID, i+1, 0)
			gpu.Devices = append(gpu.Devices, dcgm.Device{Slice: slice, UUID: "MIG-" + slice.String(), Profile: dcgm.Profile{ComputeSlices: 1, GPUSlices: 1, MemoryGB: 18}, Weights: dcgm.Weights{SM: 0.1, Memory: 0.1}})
			pod := dcgm.Pod{Namespace: "inference", Name: "llama-" + slice.String(), UID: "u", Container: "vllm"}
			s.Holders[slice] = []dcgm.Pod{pod}
			var readings []dcgm.Reading
			for _, signal := range dcgm.Signals {
				readings = append(readings, dcgm.Reading{Slice: slice, Signal: signal, Value: 0.5, At: noon, Source: dcgm.GPM, Quality: dcgm.Exact})
			}
			s.Readings = append(s.Readings, readings...)
			s.Pods = append(s.Pods, dcgm.Attribute(dcgm.MIG, readings, []dcgm.Pod{pod}, nil)...)
		}
		s.Inventory.GPUs = append(s.Inventory.GPUs, gpu)
	}
	e := New(Options{Interval: time.Second, Dialect: dcgm.OldDialect, Hostname: "node-1", Now: func() time.Time { return noon }})
	registry := prometheus.NewRegistry()
	if err := e.Register(registry); err != nil {
		b.Fatal(err)
	}
	e.Publish(s)
	series := 0
	for b.Loop() {
		families, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		series = 0
		var text bytes.Buffer
		for _, f := range families {
			series += len(f.Metric)
			if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(series), "series")
}
