package traces

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

func TestReadReportsEveryBadLine(t *testing.T) {
	text := strings.Join([]string{
		"timestamp_s,requests",
		"0,1",
		"60,2",
		"60,9",    // 4: given before
		"180,4",   // 5: gap before it
		"120,x",   // 6
		"240",     // 7
		"300,-1",  // 8
		"360,NaN", // 9
		"1e12,1",  // 10
		"-60,1",   // 11
		"abc,1",   // 12
		"240,5",   // 13
		"10,3",    // 14: out of order and out of step
		"",        // 15: ignored
		"420,",    // 16
		"480,1",   // 17: gap before it
		"540,1",
		"600,1",
	}, "\n")
	trace, err := Read(strings.NewReader(text), "requests")
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, i := range trace.Issues {
		got = append(got, i.Line)
	}
	// 2nd mention of line 14: it also comes sooner than a step after its neighbour; 3 does so because of 14.
	if d := cmp.Diff([]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 14, 16, 17}, got); d != "" {
		t.Errorf("lines reported (-want +got):\n%s\n%v", d, trace.Issues)
	}
	if trace.Step != time.Minute {
		t.Errorf("step %v, want 1m", trace.Step)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "no usable row"},
		{"header alone", "timestamp_s,requests\n", "no usable row"},
		{"no time", "time,requests\n0,1\n", `no column "timestamp_s"`},
		{"no such column", "timestamp_s,load\n0,1\n", `no column "requests"`},
		{"gzip cut short", "\x1f\x8b\x08", "gzip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.text), "requests")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestBin(t *testing.T) {
	read := func(text string) Trace {
		trace, err := Read(strings.NewReader("timestamp_s,requests\n"+text), "requests")
		if err != nil {
			t.Fatal(err)
		}
		return trace
	}
	for _, c := range []struct {
		name string
		text string
		m    Meaning
		want []forecaster.Observation
	}{
		{"counts are summed", "0,1\n30,2\n60,3\n90,4\n", Count, []forecaster.Observation{forecaster.Value(3), forecaster.Value(7)}},
		{"gauges are averaged", "0,1\n30,2\n60,3\n90,4\n", Gauge, []forecaster.Observation{forecaster.Value(1.5), forecaster.Value(3.5)}},
		{"a lacking row makes the bin missing", "0,1\n30,2\n60,3\n120,1\n150,1\n", Count,
			[]forecaster.Observation{forecaster.Value(3), forecaster.NoData(), forecaster.Value(2)}},
		{"a trailing partial bin is dropped", "0,1\n30,2\n60,3\n", Count, []forecaster.Observation{forecaster.Value(3)}},
		{"bins start at zero", "60,1\n90,2\n120,1\n150,1\n", Count,
			[]forecaster.Observation{forecaster.NoData(), forecaster.Value(3), forecaster.Value(2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := read(c.text).Bin(time.Minute, c.m)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, s.Bins); d != "" {
				t.Errorf("bins (-want +got):\n%s", d)
			}
		})
	}
	for _, c := range []struct {
		name string
		step time.Duration
		want string
	}{
		{"finer than the rows", 10 * time.Second, "a row every 30s only"},
		{"not a multiple", 45 * time.Second, "not a multiple"},
		{"zero", 0, "must be positive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read("0,1\n30,2\n60,1\n").Bin(c.step, Count)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("timestamp_s,requests\n0,1\n60,2\n"))
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte("timestamp_s,requests\n0,1\n0,2\n-3,x\n"))
	_ = w.Close()
	f.Add(z.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		trace, err := Read(bytes.NewReader(data), "requests")
		if err != nil {
			return
		}
		for i, r := range trace.Rows {
			if !(r.Value >= 0) || i > 0 && r.At <= trace.Rows[i-1].At {
				t.Fatalf("row %d: %+v after %+v", i, r, trace.Rows[max(0, i-1)])
			}
		}
		s, err := trace.Bin(time.Minute, Count)
		if err != nil {
			return
		}
		if time.Duration(len(s.Bins))*time.Minute > trace.Rows[len(trace.Rows)-1].At+trace.Step {
			t.Fatalf("%d bins reach past the last row", len(s.Bins))
		}
	})
}
