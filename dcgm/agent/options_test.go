package agent

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/exporter"
	"github.com/headroom-autoscaler/headroom/dcgm/podmap"
)

var update = flag.Bool("update", false, "write the goldens anew")

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want []string // flags that are complained of
	}{
		{"defaults", nil, nil},
		{"everything of the stream", []string{"--stream-bind-address=:9402", "--tls-cert-file=c", "--tls-private-key-file=k", "--client-ca-file=a", "--node-name=n"}, nil},
		{"a stream without certificates", []string{"--stream-bind-address=:9402", "--node-name="}, []string{"--client-ca-file", "--node-name", "--tls-cert-file", "--tls-private-key-file"}},
		{"all at once", []string{"--interval=1ms", "--dcgm-compat=both", "--dcgm-exporter-url=9400", "--dcgm-exporter-interval=0s", "--metrics-bind-address=9401", "--log-level=loud"},
			[]string{"--dcgm-compat", "--dcgm-exporter-interval", "--dcgm-exporter-url", "--interval", "--log-level", "--metrics-bind-address"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := DefaultOptions()
			fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
			o.AddFlags(fs)
			if err := fs.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := o.Validate(); err != nil {
				for line := range strings.SplitSeq(err.Error(), "\n") {
					flag, _, _ := strings.Cut(line, ":")
					got = append(got, flag)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	inv := node()
	one, two, whole := inv.GPUs[1].Devices[0].Slice, inv.GPUs[1].Devices[1].Slice, dcgm.Whole(wholeGPU)
	read := func(s dcgm.Slice, signal dcgm.Signal, value float64) dcgm.Reading {
		return dcgm.Reading{Slice: s, Signal: signal, Value: value, At: noon.Add(-300 * time.Millisecond), Source: dcgm.GPM, Quality: dcgm.Exact}
	}
	pod := dcgm.Pod{Namespace: "inference", Name: "llama-0"}
	v := &View{
		Frame: dcgm.Frame{At: noon, Inventory: inv},
		Snapshot: &exporter.Snapshot{
			Readings: []dcgm.Reading{
				read(whole, dcgm.SMActive, 0.8), read(whole, dcgm.DRAMActive, 0).Without(dcgm.NotANumber), read(whole, dcgm.MemoryUsed, 70<<30), read(whole, dcgm.MemoryTotal, 140<<30),
				read(one, dcgm.SMActive, 0), read(one, dcgm.TensorActive, 0.125), read(one, dcgm.MemoryUsed, 1).Without(dcgm.Failed),
				read(two, dcgm.SMActive, 1).Without(dcgm.Warming),
			},
			Holders: map[dcgm.Slice][]dcgm.Pod{whole: {pod, {Namespace: "inference", Name: "phi-0"}}, two: {pod}},
			Pods:    []dcgm.PodReading{{Pod: pod, Sharing: dcgm.TimeSliced, Basis: dcgm.SharedDevice, Reading: read(whole, dcgm.SMActive, 0.8)}},
		},
		Unplaced: []podmap.Holding{hold("lost", "MIG-66666666-0000-0000-0000-000000000009")},
	}
	var out bytes.Buffer
	if err := table(&out, v, noon); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "top.txt")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("the table is not what %s says (write it anew with -update):\n%s", golden, diff)
	}
}
