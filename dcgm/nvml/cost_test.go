//go:build linux && cgo

package nvml

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/test/fakenvml"
)

// BenchmarkNode is a node of eight GPUs with seven slices each, and two processes a slice. An operation is a second of the agent's reading:
// one sample, and the process lists. It reports what share of a core that is at one a second, and the memory that the process holds.
//
// The driver is the fake: its calls take no time (what is measured is then ours alone), or wait as long as has been reported of H100s,
// which costs time and not CPU. What the kernel's side of a real call costs is not in it.
//
//	go test -run '^$' -bench Node ./dcgm/nvml
func BenchmarkNode(b *testing.B) {
	if fakeError != nil {
		b.Skip(fakeError)
	}
	for _, driver := range []struct {
		name  string
		rules []fakenvml.Rule
	}{
		{"calls take no time", nil},
		{"calls wait as on an H100", []fakenvml.Rule{
			{Call: "nvmlDeviceGetMemoryInfo_v2", GPU: -1, Microseconds: 7},
			{Call: "nvmlGpmSampleGet", GPU: -1, Microseconds: 200}, {Call: "nvmlGpmMigSampleGet", GPU: -1, Microseconds: 200},
		}},
	} {
		b.Run(driver.name, func(b *testing.B) { benchmarkNode(b, driver.rules) })
	}
}

func benchmarkNode(b *testing.B, rules []fakenvml.Rule) {
	s := fakenvml.Scenario{Rules: rules}
	for i := range 8 {
		gpu := fakenvml.H200(i).Sevenths()
		for gi := range gpu.Instances {
			gpu.Compute(gi, 0).Activity = fakenvml.Activity{Graphics: 90, SM: 50, Tensor: 20}
			for p := range 2 {
				gpu.Processes = append(gpu.Processes, fakenvml.Process{PID: 1000 + 100*i + 10*gi + p, GI: gi + 1, CI: 0, SM: -1, MiB: 100})
			}
		}
		s.GPUs = append(s.GPUs, gpu)
	}
	file := filepath.Join(b.TempDir(), "scenario")
	if err := s.Write(file); err != nil {
		b.Fatal(err)
	}
	b.Setenv(fakenvml.Env, file)
	b.Setenv(fakenvml.StillEnv, "1")
	now := noon
	opts := DefaultOptions()
	opts.Library, opts.Now = fakeLibrary, func() time.Time { return now }
	lib, err := Open(opts)
	if err != nil {
		b.Fatal(err)
	}
	defer lib.Close()
	if _, err := lib.Inventory(); err != nil {
		b.Fatal(err)
	}
	tick := func() {
		now = now.Add(time.Second)
		readings, err := lib.Sample()
		if err != nil || len(readings) != 8*(7+1)*6 {
			b.Fatal(len(readings), err)
		}
		if processes, err := lib.Processes(); err != nil || len(processes) != 8*7*2 {
			b.Fatal(len(processes), err)
		}
	}
	tick()
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		tick()
	}
	spent := cpu(b) - before
	b.ReportMetric(spent.Seconds()/float64(b.N)*100, "%core-at-1Hz")
	b.ReportMetric(residentMiB(b), "MiB-resident")
}

// cpu is the time that this process has had a core, in user and kernel.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

func residentMiB(b testing.TB) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	found := resident.FindSubmatch(status)
	if found == nil {
		b.Fatal("no VmRSS in /proc/self/status")
	}
	kb, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}
