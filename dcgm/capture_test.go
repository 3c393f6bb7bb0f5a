package dcgm

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func captured(t *testing.T) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewCaptureWriter(&file, Header{Started: noon, Interval: time.Second, Comment: "nothing ran"})
	if err != nil {
		t.Fatal(err)
	}
	frames := []Frame{
		{At: at(0), Inventory: node(), Readings: []Reading{sm(Compute(gpuA, 3, 0), 0.5, 0), sm(Whole(gpuB), 0.5, 0).Without(Warming)}},
		{At: at(1), Readings: []Reading{sm(Compute(gpuA, 3, 0), 0.25, 1)}, Processes: []Process{{Slice: Compute(gpuA, 3, 0), PID: 41, MemoryBytes: 7, MemoryKnown: true}}},
	}
	for _, f := range frames {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(Frame{At: at(0)}); err == nil {
		t.Error("a frame of an earlier time is written")
	}
	return file.Bytes()
}

func TestACaptureIsReadAsItWasAndHidesWhoseItIs(t *testing.T) {
	file := captured(t)
	for _, serial := range []string{gpuA, gpuB, migA, "11111111", "MIG-1\""} {
		if strings.Contains(string(file), serial) {
			t.Errorf("the capture tells %s", serial)
		}
	}
	r, err := NewCaptureReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Header{CaptureVersion, noon, time.Second, "nothing ran"}, r.Header); diff != "" {
		t.Error(diff)
	}
	first, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	slice := first.Inventory.GPUs[0].Devices[0].Slice
	if first.Readings[0].Slice != slice || slice.GPU != first.Inventory.GPUs[0].UUID || slice.GI != 3 {
		t.Errorf("the reading is of %s, the inventory has %s", first.Readings[0].Slice, slice)
	}
	second, err := r.Next()
	if err != nil || second.Inventory != nil || second.Processes[0].Slice != slice {
		t.Errorf("%+v, %v", second, err)
	}
	want := sm(slice, 0.25, 1)
	if diff := cmp.Diff([]Reading{want}, second.Readings); diff != "" {
		t.Error(diff)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestCapturesThatAreNone(t *testing.T) {
	header := `{"headroom_capture":1,"started":"2026-03-01T12:00:00Z","interval":1000000000}` + "\n"
	for _, test := range []struct{ name, text string }{
		{"nothing", ""},
		{"another version", `{"headroom_capture":2,"interval":1000000000}`},
		{"no interval", `{"headroom_capture":1}`},
		{"not JSON", header + "x"},
		{"a frame without a time", header + `{"readings":[]}`},
		{"frames out of order", header + `{"at":"2026-03-01T12:00:01Z"}` + "\n" + `{"at":"2026-03-01T12:00:00Z"}`},
		{"a ratio that is none", header + `{"at":"2026-03-01T12:00:01Z","readings":[{"slice":"GPU-1","signal":"sm_active","value":3,"quality":"exact"}]}`},
		{"a reading that is nothing", header + `{"at":"2026-03-01T12:00:01Z","readings":[{"slice":"GPU-1","signal":"sm_active"}]}`},
		{"a reading that is both", header + `{"at":"2026-03-01T12:00:01Z","readings":[{"slice":"GPU-1","signal":"sm_active","value":1,"quality":"exact","absence":"hung"}]}`},
		{"an unknown signal", header + `{"at":"2026-03-01T12:00:01Z","readings":[{"slice":"GPU-1","signal":"temperature","value":1,"quality":"exact"}]}`},
		{"a line without bounds", header + `{"at":"` + strings.Repeat("x", MaxFrameSize) + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := NewCaptureReader(strings.NewReader(test.text))
			for err == nil {
				_, err = r.Next()
			}
			if errors.Is(err, io.EOF) {
				t.Error("read to the end")
			}
		})
	}
}

// FuzzCapture: whatever is read can be written and is read as the same again, but for the serials.
func FuzzCapture(f *testing.F) {
	f.Add([]byte(`{"headroom_capture":1,"started":"2026-03-01T12:00:00Z","interval":1000000000}` + "\n" + `{"at":"2026-03-01T12:00:01Z","readings":[{"slice":"GPU-1/3/0","signal":"sm_active","value":0.5,"quality":"exact"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := NewCaptureReader(bytes.NewReader(text))
		if err != nil {
			return
		}
		var file bytes.Buffer
		w, err := NewCaptureWriter(&file, r.Header)
		if err != nil {
			return // a time that JSON cannot write back
		}
		var frames []Frame
		for {
			frame, err := r.Next()
			if err != nil {
				break
			}
			if w.Write(frame) != nil {
				return
			}
			frames = append(frames, frame)
		}
		again, err := NewCaptureReader(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		for _, frame := range frames {
			back, err := again.Next()
			if err != nil {
				t.Fatalf("%v\n%s", err, file.Bytes())
			}
			if len(back.Readings) != len(frame.Readings) {
				t.Fatalf("%d readings of %d", len(back.Readings), len(frame.Readings))
			}
			for i := range back.Readings {
				back.Readings[i].Slice.GPU = frame.Readings[i].Slice.GPU
			}
			if diff := cmp.Diff(append([]Reading{}, frame.Readings...), append([]Reading{}, back.Readings...)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
