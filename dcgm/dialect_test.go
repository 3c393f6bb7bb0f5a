package dcgm

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBothSpellings(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Fields() {
		for _, d := range []Dialect{OldDialect, NewDialect} {
			got, found := FieldOf(f.Name(d))
			if !found || got != f {
				t.Errorf("%s is %+v", f.Name(d), got)
			}
		}
		if seen[f.Old] || f.ID == 0 || f.Scale == 0 || f.Quality == 0 {
			t.Errorf("%+v", f)
		}
		seen[f.Old] = true
	}
	if _, found := FieldOf("DCGM_FI_DEV_GPU_TEMP"); found {
		t.Error("temperature has a meaning")
	}
}

func TestWorkloadsByLabel(t *testing.T) {
	for _, test := range []struct {
		name   string
		labels map[string]string
		want   Pod
		found  bool
	}{
		{"with honorLabels", map[string]string{"namespace": "a", "pod": "p", "container": "c", "pod_uid": "u"}, Pod{"a", "p", "u", "c"}, true},
		{"without honorLabels the exporter is pod", map[string]string{"namespace": "gpu-operator", "pod": "nvidia-dcgm-exporter-x", "container": "nvidia-dcgm-exporter", "exported_namespace": "a", "exported_pod": "p", "exported_container": "c"}, Pod{"a", "p", "", "c"}, true},
		{"old namespace", map[string]string{"pod_namespace": "a", "pod_name": "p", "container_name": "c"}, Pod{"a", "p", "", "c"}, true},
		{"no workload", map[string]string{"UUID": gpuA}, Pod{}, false},
		{"empty is none", map[string]string{"pod": "", "namespace": ""}, Pod{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, found := PodOf(test.labels)
			if diff := cmp.Diff(test.want, got); diff != "" || found != test.found {
				t.Error(found, diff)
			}
		})
	}
}

// TestAScrape reads what a dcgm-exporter prints on a node with an A100 in MIG mode and one that is whole.
func TestAScrape(t *testing.T) {
	inv := &Inventory{GPUs: []GPU{
		{UUID: gpuA, Index: 0, MIG: true, Architecture: Ampere, Devices: []Device{
			{Slice: Compute(gpuA, 1, 0), Profile: Profile{ComputeSlices: 3, GPUSlices: 3, MemoryGB: 20}, Generation: 4},
			{Slice: Compute(gpuA, 7, 0), Profile: Profile{ComputeSlices: 1, GPUSlices: 1, MemoryGB: 5}, Generation: 5}}},
		{UUID: gpuB, Index: 1, Architecture: Ampere},
	}}
	for _, test := range []struct {
		file    string
		correct bool
		want    []string
	}{
		{"old.txt", false, []string{
			"GPU-11111111-2222-3333-4444-555555555555/1/0 dram_active 0.210 exact",
			"GPU-11111111-2222-3333-4444-555555555555/1/0 graphics_active 0.330 aggregate", // one busy engine of three: NVIDIA/DCGM issue 138
			"GPU-11111111-2222-3333-4444-555555555555/1/0 memory_total 20096 MiB",
			"GPU-11111111-2222-3333-4444-555555555555/1/0 memory_used 5000 MiB",
			"GPU-11111111-2222-3333-4444-555555555555/1/0 sm_active 1.000 aggregate", // printed as 1.294
			"GPU-11111111-2222-3333-4444-555555555555/7/0 graphics_active 0.500 exact",
			"GPU-66666666-7777-8888-9999-000000000000 graphics_active 0.970 exact",
			"GPU-66666666-7777-8888-9999-000000000000 graphics_active 0.980 duty",
			"GPU-66666666-7777-8888-9999-000000000000 memory_used out of range",
		}},
		{"new.txt", true, []string{
			"GPU-11111111-2222-3333-4444-555555555555/1/0 graphics_active 0.990 corrected",
			"GPU-11111111-2222-3333-4444-555555555555/1/0 sm_active 0.250 aggregate",
			"GPU-11111111-2222-3333-4444-555555555555/7/0 graphics_active not a number",
			"GPU-66666666-7777-8888-9999-000000000000 sm_active 0.400 exact",
		}},
	} {
		t.Run(test.file, func(t *testing.T) {
			text, err := os.Open("testdata/dcgm-exporter/" + test.file)
			if err != nil {
				t.Fatal(err)
			}
			defer text.Close()
			rows, err := ParseExposition(text, func(name string) bool { return strings.HasPrefix(name, "DCGM_") })
			if err != nil {
				t.Fatal(err)
			}
			readings, refused := FromExporter(rows, inv, test.correct, noon, 30*time.Second)
			if refused != 1 {
				t.Errorf("refused %d values, want 1", refused)
			}
			var got []string
			for _, r := range readings {
				what := fmt.Sprintf("%.3f %s", r.Value, r.Quality)
				switch {
				case !r.Valid():
					what = r.Absence.String()
				case r.Signal.Bytes():
					what = fmt.Sprintf("%.0f MiB", r.Value/(1<<20))
				}
				got = append(got, fmt.Sprintf("%s %s %s", r.Slice, r.Signal, what))
				if r.Source != DCGMExporter || !r.At.Equal(noon) {
					t.Errorf("%+v", r)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExpositionsThatAreNone(t *testing.T) {
	for _, bad := range []string{"a{", "a{b}", `a{b="c} 1`, `a{b="c"} x`, `a{b="c"}`, "a", "a 1 2 3", `a{b="c"} 1 2 3`, `{b="c"} 1`} {
		if rows, err := ParseExposition(strings.NewReader(bad), func(string) bool { return true }); err == nil {
			t.Errorf("%q is read as %v", bad, rows)
		}
	}
	long := "a{b=\"" + strings.Repeat("x", MaxRowSize) + "\"} 1"
	if _, err := ParseExposition(strings.NewReader(long), func(string) bool { return true }); err == nil {
		t.Error("a line without bounds is read")
	}
	many := strings.Repeat("a 1\n", MaxRows+1)
	if _, err := ParseExposition(strings.NewReader(many), func(string) bool { return true }); err == nil {
		t.Error("rows without bounds are read")
	}
	if rows, err := ParseExposition(strings.NewReader(many), func(string) bool { return false }); err != nil || len(rows) != 0 {
		t.Error("what is not wanted is kept", err)
	}
}

func written(rows []Row) string {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for _, r := range rows {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
			labels = append(labels, name+`="`+escape.Replace(r.Labels[name])+`"`)
		}
		fmt.Fprintf(&b, "%s{%s} %v\n", r.Name, strings.Join(labels, ","), r.Value)
	}
	return b.String()
}

// FuzzExposition: what is read, written and read again is the same.
func FuzzExposition(f *testing.F) {
	f.Add("# HELP a b\n# TYPE a gauge\na{b=\"c\",d=\"e\\\"\\\\\\n\"} 1\n")
	f.Add("a 1 1700000000000\nb{} NaN\nc{x=\"\"} +Inf")
	f.Fuzz(func(t *testing.T, text string) {
		all := func(string) bool { return true }
		rows, err := ParseExposition(strings.NewReader(text), all)
		if err != nil {
			return
		}
		again, err := ParseExposition(strings.NewReader(written(rows)), all)
		if err != nil {
			t.Fatalf("%q, written as %q: %v", text, written(rows), err)
		}
		same := cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) })
		if diff := cmp.Diff(rows, again, same); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzScrape: whatever an exporter prints, what comes of it are ratios, amounts or reasons, of slices that this node has.
func FuzzScrape(f *testing.F) {
	for _, file := range []string{"old.txt", "new.txt"} {
		text, err := os.ReadFile("testdata/dcgm-exporter/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), true)
	}
	f.Fuzz(func(t *testing.T, text string, correct bool) {
		rows, err := ParseExposition(strings.NewReader(text), func(string) bool { return true })
		if err != nil {
			return
		}
		inv := node()
		inv.GPUs[0].Architecture = Ampere
		readings, _ := FromExporter(rows, inv, correct, noon, time.Second)
		for _, r := range readings {
			if err := r.check(); err != nil {
				t.Error(err)
			}
			_, isDevice := inv.Device(r.Slice)
			if gpu, here := inv.GPU(r.Slice.GPU); !here || isDevice != gpu.MIG {
				t.Errorf("a reading of %s", r.Slice)
			}
		}
	})
}
