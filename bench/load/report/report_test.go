package report

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func example() *Report {
	return &Report{
		Schema: Schema, Started: time.Unix(1_800_000_000, 0).UTC(), Seconds: 754.2, Command: "make bench-load", Revision: "abc1234",
		Machine:  Machine{CPU: "Example CPU", Cores: 2, MemoryBytes: 8 << 30, Kernel: "6.1", Go: "go1.26"},
		Settings: map[string]string{"scrape interval": "5s"},
		Figures: []Figure{
			Measured("direct", "5000 pods", "Pods p50", "ms", 0.71).Times(AtMost, 1.5, 0.56),
			Measured("direct", "5000 pods", "Pods p99", "ms", 5.4).Times(AtMost, 2, 2),
			Measured("direct", "5000 pods", "Pods, 20 clients", "answers/s", 2800).Times(AtLeast, 0.7, 4000),
			Measured("memory", "5000 pods", "resident", "MiB", 120.04).AtMost(150).Because("after load | peak 140"),
			Measured("memory", "5000 pods", "per pod", "KiB", math.NaN()).AtMost(20),
			Missing("hung", "", "longest wait", "ms", "Prometheus would not stop").AtMost(1000),
			Measured("direct", "100 pods", "requests", "1", 123456),
		},
	}
}

func TestVerdicts(t *testing.T) {
	want := []Verdict{Met, Missed, Met, Met, Missed, Missed, NoBudget}
	var got []Verdict
	for _, f := range example().Figures {
		got = append(got, f.Verdict())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := example().Missed(); n != 3 {
		t.Errorf("%d missed, want 3: what could not be measured has not been met", n)
	}
}

func TestGolden(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write func(*Report, *bytes.Buffer) error
	}{
		{"table.txt", func(r *Report, b *bytes.Buffer) error { return r.Table(b) }},
		{"page.md", func(r *Report, b *bytes.Buffer) error { return r.Markdown(b) }},
		{"report.json", func(r *Report, b *bytes.Buffer) error { return r.JSON(b) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got bytes.Buffer
			if err := tc.write(example(), &got); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", tc.name)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("run with -update if this is meant:\n%s", diff)
			}
		})
	}
}

func TestJSONComesBack(t *testing.T) {
	var b bytes.Buffer
	if err := example().JSON(&b); err != nil {
		t.Fatal(err)
	}
	back, err := ReadJSON(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), back); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{`{}`, `{"schema":"headroom.dev/load/v0"}`, `[`} {
		if _, err := ReadJSON([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}
