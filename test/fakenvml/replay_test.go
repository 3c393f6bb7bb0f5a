//go:build linux && cgo

package fakenvml_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/exporter"
	"github.com/headroom-autoscaler/headroom/dcgm/nvml"
	"github.com/headroom-autoscaler/headroom/test/fakenvml"
)

// TestACaptureShowsWhatTheDriverShowed goes the whole way twice: driver, readings, the best of them, what is told of pods, exposition; once as
// it happens and once from a capture of it. But for the masked serial numbers both are the same.
func TestACaptureShowsWhatTheDriverShowed(t *testing.T) {
	library, err := fakenvml.Build(t.TempDir())
	if errors.Is(err, fakenvml.ErrNoCompiler) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	cut, whole := fakenvml.H200(0).Sevenths(), fakenvml.H200(1)
	for i := range cut.Instances {
		cut.Compute(i, 0).Activity = fakenvml.Activity{SM: float64(10 * i), Graphics: 100}
		cut.Instances[i].DRAM = float64(i)
	}
	whole.Activity.SM = 80
	whole.Processes = []fakenvml.Process{{PID: 1, GI: -1, CI: -1, SM: 30, MiB: 100}, {PID: 2, GI: -1, CI: -1, SM: 10, MiB: 50}}
	scenario := fakenvml.Scenario{GPUs: []fakenvml.GPU{cut, whole}}
	file := filepath.Join(t.TempDir(), "scenario")
	if err := scenario.Write(file); err != nil {
		t.Fatal(err)
	}
	t.Setenv(fakenvml.Env, file)

	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	opts := nvml.DefaultOptions()
	opts.Library, opts.Now = library, func() time.Time { return now }
	lib, err := nvml.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	inv, err := lib.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	var capture bytes.Buffer
	writer, err := dcgm.NewCaptureWriter(&capture, dcgm.Header{Started: now, Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	frame := dcgm.Frame{Inventory: inv}
	live := newStation(t)
	var shown []string
	for range 4 {
		now = now.Add(time.Second)
		frame.At = now
		if frame.Readings, err = lib.Sample(); err != nil {
			t.Fatal(err)
		}
		if frame.Processes, err = lib.Processes(); err != nil {
			t.Fatal(err)
		}
		if err := writer.Write(frame); err != nil {
			t.Fatal(err)
		}
		shown = append(shown, live.show(frame))
		frame.Inventory = nil
	}
	for _, want := range []string{"gpu_slice_sm_active_ratio{", "gpu_pod_sm_active_ratio{", `basis="part"`, `DCGM_FI_PROF_SM_ACTIVE{`} {
		if !strings.Contains(shown[3], want) {
			t.Errorf("no %s in\n%s", want, shown[3])
		}
	}

	reader, err := dcgm.NewCaptureReader(&capture)
	if err != nil {
		t.Fatal(err)
	}
	again := newStation(t)
	var names *strings.Replacer
	for i := 0; ; i++ {
		frame, err := reader.Next()
		if errors.Is(err, io.EOF) {
			if i != len(shown) {
				t.Errorf("%d frames, want %d", i, len(shown))
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if frame.Inventory != nil {
			names = unmask(inv, frame.Inventory)
		}
		if diff := cmp.Diff(shown[i], names.Replace(again.show(frame))); diff != "" {
			t.Errorf("second %d: %s", i, diff)
		}
	}
}

// unmask gives masked serial numbers their real ones back.
func unmask(inv, masked *dcgm.Inventory) *strings.Replacer {
	var pairs []string
	for i, gpu := range masked.GPUs {
		pairs = append(pairs, gpu.UUID, inv.GPUs[i].UUID)
		for j, d := range gpu.Devices {
			pairs = append(pairs, d.UUID, inv.GPUs[i].Devices[j].UUID)
		}
	}
	return strings.NewReplacer(pairs...)
}

// station is what stands behind the driver, live or replayed.
type station struct {
	t        *testing.T
	now      time.Time
	inv      *dcgm.Inventory
	ladder   *dcgm.Ladder
	exporter *exporter.Exporter
	registry *prometheus.Registry
}

func newStation(t *testing.T) *station {
	s := &station{t: t, ladder: dcgm.NewLadder(dcgm.StaleIntervals * time.Second), registry: prometheus.NewPedanticRegistry()}
	s.exporter = exporter.New(exporter.Options{Interval: time.Second, Dialect: dcgm.OldDialect, Hostname: "node-1", Now: func() time.Time { return s.now }})
	if err := s.exporter.Register(s.registry); err != nil {
		t.Fatal(err)
	}
	return s
}

// show takes a frame and returns what is then scraped.
func (s *station) show(f dcgm.Frame) string {
	s.t.Helper()
	s.now = f.At
	if f.Inventory != nil {
		s.inv = f.Inventory
	}
	for _, r := range f.Readings {
		s.ladder.Offer(r)
	}
	snapshot := &exporter.Snapshot{Inventory: s.inv, Health: exporter.Health{Up: true, SampledAt: f.At}, Holders: map[dcgm.Slice][]dcgm.Pod{}}
	best := func(slice dcgm.Slice) (readings []dcgm.Reading) {
		for _, signal := range dcgm.Signals {
			readings = append(readings, s.ladder.Best(slice, signal, s.now))
		}
		return readings
	}
	two := []dcgm.Pod{{Namespace: "inference", Name: "a"}, {Namespace: "inference", Name: "b"}}
	for _, gpu := range s.inv.GPUs {
		whole := dcgm.Whole(gpu.UUID)
		snapshot.Readings = append(snapshot.Readings, best(whole)...)
		if !gpu.MIG {
			var owned []dcgm.Owned
			for _, p := range f.Processes {
				owned = append(owned, dcgm.Owned{Process: p, Pod: two[(p.PID+1)%2], Matched: true})
			}
			snapshot.Holders[whole] = two
			snapshot.Pods = append(snapshot.Pods, dcgm.Attribute(dcgm.TimeSliced, best(whole), two, owned)...)
		}
		for _, d := range gpu.Devices {
			snapshot.Readings = append(snapshot.Readings, best(d.Slice)...)
			snapshot.Pods = append(snapshot.Pods, dcgm.Attribute(dcgm.MIG, best(d.Slice), two[:1], nil)...)
		}
	}
	s.exporter.Publish(snapshot)
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			s.t.Fatal(err)
		}
	}
	return text.String()
}
