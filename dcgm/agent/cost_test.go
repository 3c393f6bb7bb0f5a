//go:build linux && cgo

package agent

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/test/fakenvml"
)

// BenchmarkCost runs the binary for half a minute on a node of eight GPUs with seven slices, each a pod's with two processes: a kubelet that is
// asked, two adapters that watch, a scrape every 15 s. An operation is that half minute. It reports the CPU that the process took, in percent of
// a core, and what it held at the end.
//
// The driver is the fake: its calls take no time, so that what is measured is ours alone, or sleep as long as has been reported of H100s.
// What the kernel's side of real calls costs is in neither. It has no events, for which the fake would look 500 times a second.
//
//	go test -run '^$' -bench Cost -benchtime 1x ./dcgm/agent
func BenchmarkCost(b *testing.B) {
	if fakeError != nil {
		b.Skip(fakeError)
	}
	binary := filepath.Join(b.TempDir(), "headroom-agent")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/headroom-agent").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	b.Run("calls take no time", func(b *testing.B) { benchmarkCost(b, binary) })
	b.Run("calls sleep as on an H100", func(b *testing.B) {
		benchmarkCost(b, binary, fakenvml.Rule{Call: "nvmlDeviceGetMemoryInfo_v2", GPU: -1, Microseconds: 7},
			fakenvml.Rule{Call: "nvmlGpmSampleGet", GPU: -1, Microseconds: 200}, fakenvml.Rule{Call: "nvmlGpmMigSampleGet", GPU: -1, Microseconds: 200})
	})
}

func benchmarkCost(b *testing.B, binary string, driver ...fakenvml.Rule) {
	const notSupported = 3
	scenario := fakenvml.Scenario{Rules: append(driver, fakenvml.Rule{Call: "nvmlEventSetCreate", GPU: -1, Return: notSupported})}
	s := &stage{TB: b, file: filepath.Join(b.TempDir(), "scenario"), options: DefaultOptions(), kubelet: startKubelet(b)}
	for i := range 8 {
		gpu := fakenvml.H200(i).Sevenths()
		for gi := range gpu.Instances {
			c := gpu.Compute(gi, 0)
			c.Activity = fakenvml.Activity{Graphics: 90, SM: 50, Tensor: 20}
			s.kubelet.give(fmt.Sprintf("llama-%d-%d", i, gi), "nvidia.com/mig-1g.18gb", c.UUID)
			for p := range 2 {
				gpu.Processes = append(gpu.Processes, fakenvml.Process{PID: 1000 + 100*i + 10*gi + p, GI: gi + 1, CI: 0, SM: -1, MiB: 100})
			}
		}
		scenario.GPUs = append(scenario.GPUs, gpu)
	}
	s.show(func(x *fakenvml.Scenario) { *x = scenario })
	logs := b.TempDir()
	for i := range 110 { // as many pods as a kubelet has by default
		if err := os.Mkdir(filepath.Join(logs, fmt.Sprintf("ns_pod-%d_%s", i, uid(i))), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	first := s.adapter("gpu_sm_active_ratio")
	s.watch("gpu_sm_active_ratio")
	address := freeAddress(b)
	var cpu, wall time.Duration
	var rss float64
	for b.Loop() {
		var log lines
		command := exec.Command(binary, "--node-name", "node-1", "--metrics-bind-address", address, "--nvml-library", fakeLibrary, "--pod-resources-socket", s.kubelet.socket, "--pod-logs-path", logs,
			"--stream-bind-address", s.options.StreamAddress, "--tls-cert-file", s.options.TLS.CertFile, "--tls-private-key-file", s.options.TLS.KeyFile, "--client-ca-file", s.options.TLS.ClientCAFile)
		command.Env = append(os.Environ(), fakenvml.Env+"="+s.file, fakenvml.StillEnv+"=1")
		command.Stderr = &log
		if err := command.Start(); err != nil {
			b.Fatal(err)
		}
		s.until("the first value", func() bool { return valueOf(first, "gpu_sm_active_ratio", "llama-7-6") == "0.50" })
		began, before := time.Now(), cpuOf(b, command.Process.Pid)
		for range 2 {
			select {
			case <-time.After(15 * time.Second):
			case <-b.Context().Done():
			}
			scrapeFrom(b, address)
		}
		cpu, wall = cpu+cpuOf(b, command.Process.Pid)-before, wall+time.Since(began)
		rss = residentMiB(b, command.Process.Pid)
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		if err := command.Wait(); err != nil {
			b.Fatalf("%v\n%s", err, log.String())
		}
	}
	b.ReportMetric(100*cpu.Seconds()/wall.Seconds(), "%core")
	b.ReportMetric(rss, "MiB-resident")
}

// BenchmarkStep is a step of a slice's activity, at any moment of the agent's second: an operation is the time until the adapter's store has the
// new value. It reports the longest. The fake's activity is that of the moment; a real counter's mean is whole a second later.
//
//	go test -run '^$' -bench Step -benchtime 20x ./dcgm/agent
func BenchmarkStep(b *testing.B) {
	if fakeError != nil {
		b.Skip(fakeError)
	}
	gpu := fakenvml.H200(0).Sevenths()
	s := &stage{TB: b, scenario: fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}}, file: filepath.Join(b.TempDir(), "scenario"), options: DefaultOptions(), kubelet: startKubelet(b)}
	b.Setenv(fakenvml.Env, s.file)
	s.show(func(*fakenvml.Scenario) {})
	s.kubelet.give("llama-0", "nvidia.com/mig-1g.18gb", gpu.Compute(2, 0).UUID)
	s.options.Node, s.options.MetricsAddress, s.options.Logger = "node-1", nowhere, slog.New(slog.DiscardHandler)
	s.options.Driver.Library, s.options.Pods.Socket, s.options.Pods.Logs = fakeLibrary, s.kubelet.socket, b.TempDir()
	kept := s.adapter("gpu_sm_active_ratio")
	s.start()
	s.until("the first value", func() bool { return valueOf(kept, "gpu_sm_active_ratio", "llama-0") == "0.00" })
	longest, target := time.Duration(0), 0
	for b.Loop() {
		b.StopTimer()
		target = (target + 37) % 100
		<-time.After(time.Duration(rand.IntN(1000)) * time.Millisecond)
		b.StartTimer()
		began := time.Now()
		s.show(func(x *fakenvml.Scenario) { x.GPUs[0].Compute(2, 0).Activity.SM = float64(target) })
		s.until("the step", func() bool {
			return valueOf(kept, "gpu_sm_active_ratio", "llama-0") == fmt.Sprintf("%.2f", float64(target)/100)
		})
		longest = max(longest, time.Since(began))
	}
	b.ReportMetric(longest.Seconds(), "s-longest")
}

func scrapeFrom(b *testing.B, address string) {
	b.Helper()
	answer, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || strings.Count(string(body), "gpu_pod_sm_active_ratio{") != 56 {
		b.Fatalf("%d pods in a scrape, %v", strings.Count(string(body), "gpu_pod_sm_active_ratio{"), err)
	}
}

// cpuOf is the time that a process has had a core: fields 14 and 15 of its stat, in hundredths of a second.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	found := resident.FindSubmatch(status)
	if found == nil {
		b.Fatal("no VmRSS")
	}
	kb, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kb / 1024
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String() // free, as of now
}
