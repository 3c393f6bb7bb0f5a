package dcgm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A capture is what a node agent saw, as JSON lines, so that everything behind the driver can run from it. The first line is a
// Header, every other a Frame in order of time. Serial numbers are masked: each UUID is replaced by one that is numbered in order of
// appearance, the same throughout the capture. Pods are not in it.

// CaptureVersion is the format's. A reader refuses others.
const CaptureVersion = 1

// Header is a capture's first line.
type Header struct {
	Version  int           `json:"headroom_capture"`
	Started  time.Time     `json:"started"`
	Interval time.Duration `json:"interval"`          // between frames, in nanoseconds
	Comment  string        `json:"comment,omitempty"` // the load that ran, for people
}

// Frame is what one tick saw.
type Frame struct {
	At        time.Time  `json:"at"`
	Inventory *Inventory `json:"inventory,omitempty"` // in the first frame, and whenever it changed
	Readings  []Reading  `json:"readings,omitempty"`
	Processes []Process  `json:"processes,omitempty"`
}

// Bounds of a capture that is read: a frame of 16 GPUs of 7 slices takes about 150 KiB.
const (
	MaxFrameSize = 4 << 20
	MaxFrames    = 100_000 // more than a day at 1 Hz
)

// CaptureWriter writes a capture.
type CaptureWriter struct {
	out  *json.Encoder
	mask masks
	last time.Time
}

// NewCaptureWriter writes the header.
func NewCaptureWriter(to io.Writer, h Header) (*CaptureWriter, error) {
	h.Version = CaptureVersion
	w := &CaptureWriter{out: json.NewEncoder(to), mask: masks{}}
	if err := w.out.Encode(h); err != nil {
		return nil, fmt.Errorf("write capture: %w", err)
	}
	return w, nil
}

// Write adds a frame. The frame itself is left as it is.
func (w *CaptureWriter) Write(f Frame) error {
	if f.At.Before(w.last) {
		return fmt.Errorf("write capture: frame of %s after that of %s", f.At.Format(time.RFC3339Nano), w.last.Format(time.RFC3339Nano))
	}
	w.last = f.At
	if err := w.out.Encode(w.mask.frame(f)); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// masks are the UUIDs seen so far and what stands for each.
type masks map[string]string

func (m masks) uuid(real string) string {
	if real == "" {
		return ""
	}
	masked, seen := m[real]
	if !seen {
		kind, _, _ := strings.Cut(real, "-")
		if kind != "MIG" {
			kind = "GPU"
		}
		masked = fmt.Sprintf("%s-00000000-0000-0000-0000-%012d", kind, len(m)+1)
		m[real] = masked
	}
	return masked
}

func (m masks) frame(f Frame) Frame {
	if f.Inventory != nil {
		inv := *f.Inventory
		inv.GPUs = append([]GPU(nil), inv.GPUs...)
		for i, gpu := range inv.GPUs {
			inv.GPUs[i].UUID = m.uuid(gpu.UUID)
			inv.GPUs[i].Devices = append([]Device(nil), gpu.Devices...)
			for j, d := range gpu.Devices {
				inv.GPUs[i].Devices[j].Slice.GPU = m.uuid(d.Slice.GPU)
				inv.GPUs[i].Devices[j].UUID = m.uuid(d.UUID)
			}
		}
		f.Inventory = &inv
	}
	f.Readings = append([]Reading(nil), f.Readings...)
	for i, r := range f.Readings {
		f.Readings[i].Slice.GPU = m.uuid(r.Slice.GPU)
	}
	f.Processes = append([]Process(nil), f.Processes...)
	for i, p := range f.Processes {
		f.Processes[i].Slice.GPU = m.uuid(p.Slice.GPU)
	}
	return f
}

// CaptureReader reads a capture, a frame at a time.
type CaptureReader struct {
	Header Header
	lines  *bufio.Scanner
	line   int
	last   time.Time
}

// NewCaptureReader reads the header.
func NewCaptureReader(from io.Reader) (*CaptureReader, error) {
	r := &CaptureReader{lines: bufio.NewScanner(from)}
	r.lines.Buffer(make([]byte, 0, 64<<10), MaxFrameSize)
	if err := r.next(&r.Header); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read capture: %w", err)
	}
	if r.Header.Version != CaptureVersion {
		return nil, fmt.Errorf("read capture: version %d: want %d", r.Header.Version, CaptureVersion)
	}
	if r.Header.Interval <= 0 {
		return nil, fmt.Errorf("read capture: interval %s: want more than 0", r.Header.Interval)
	}
	return r, nil
}

// Next is the next frame; io.EOF after the last.
func (r *CaptureReader) Next() (Frame, error) {
	var f Frame
	if r.line > MaxFrames {
		return Frame{}, fmt.Errorf("read capture: more than %d frames", MaxFrames)
	}
	if err := r.next(&f); err != nil {
		if errors.Is(err, io.EOF) {
			return Frame{}, io.EOF
		}
		return Frame{}, fmt.Errorf("read capture: %w", err)
	}
	if f.At.IsZero() || f.At.Before(r.last) {
		return Frame{}, fmt.Errorf("read capture: line %d: time %s: want one not before %s", r.line, f.At.Format(time.RFC3339Nano), r.last.Format(time.RFC3339Nano))
	}
	for _, reading := range f.Readings {
		if err := reading.check(); err != nil {
			return Frame{}, fmt.Errorf("read capture: line %d: %w", r.line, err)
		}
	}
	r.last = f.At
	return f, nil
}

func (r *CaptureReader) next(into any) error {
	r.line++
	if !r.lines.Scan() {
		if err := r.lines.Err(); err != nil {
			return fmt.Errorf("line %d: %w", r.line, err)
		}
		return io.EOF
	}
	if err := json.Unmarshal(r.lines.Bytes(), into); err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	return nil
}

// check refuses a reading that no agent makes.
func (r Reading) check() error {
	if r.Slice.Level == 0 || r.Signal == 0 || (r.Quality == 0) == (r.Absence == 0) {
		return fmt.Errorf("reading of %s, %s: want a slice, a signal, and either a quality or an absence", r.Slice, r.Signal)
	}
	if !r.Valid() {
		return nil
	}
	var why Absence
	if r.Signal.Bytes() {
		_, why = Amount(r.Value)
	} else {
		_, _, why = Ratio(r.Value, 0)
	}
	if why != 0 {
		return fmt.Errorf("reading of %s, %s: %v: %s", r.Slice, r.Signal, r.Value, why)
	}
	return nil
}
