//go:build linux && cgo

package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/nodeagent"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/test/fakenvml"
	"github.com/headroom-autoscaler/headroom/test/pki"
)

var (
	fakeLibrary string
	fakeError   error
)

func TestMain(m *testing.M) {
	directory, err := os.MkdirTemp("", "fakenvml-")
	if err != nil {
		panic(err)
	}
	fakeLibrary, fakeError = fakenvml.Build(directory)
	code := m.Run()
	os.RemoveAll(directory)
	os.Exit(code)
}

// stage is a node: a driver, a kubelet, and the agent's options for them.
type stage struct {
	testing.TB
	scenario fakenvml.Scenario
	file     string
	options  *Options
	kubelet  *kubelet
	client   nodeagent.TLSOptions
}

func newStage(t *testing.T, scenario fakenvml.Scenario) *stage {
	t.Helper()
	switch {
	case errors.Is(fakeError, fakenvml.ErrNoCompiler):
		t.Skip(fakeError)
	case fakeError != nil:
		t.Fatal(fakeError)
	}
	s := &stage{TB: t, scenario: scenario, file: filepath.Join(t.TempDir(), "scenario"), options: DefaultOptions()}
	t.Setenv(fakenvml.Env, s.file)
	s.show(func(*fakenvml.Scenario) {})
	s.kubelet = startKubelet(t)
	s.options.Node, s.options.MetricsAddress, s.options.Interval = "node-1", nowhere, 200*time.Millisecond
	s.options.Driver.Library, s.options.Pods.Socket, s.options.Pods.Logs = fakeLibrary, s.kubelet.socket, t.TempDir()
	s.options.Logger = slog.New(slog.DiscardHandler)
	return s
}

// show changes what the driver shows.
func (s *stage) show(change func(*fakenvml.Scenario)) {
	s.Helper()
	change(&s.scenario)
	if err := s.scenario.Write(s.file); err != nil {
		s.Fatal(err)
	}
}

// start runs the agent until the test ends or stop is called, which gives Run's error.
func (s *stage) start() (a *Agent, stop func() error) {
	s.Helper()
	a, err := New(s.options)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	s.Cleanup(func() { _ = stop() })
	return a, stop
}

func (s *stage) until(what string, is func() bool) {
	s.Helper()
	ticker, timeout := time.NewTicker(10*time.Millisecond), time.After(60*time.Second)
	defer ticker.Stop()
	for !is() {
		select {
		case <-ticker.C:
		case <-timeout:
			s.Fatalf("%s never came", what)
		}
	}
}

func scrapeOf(a *Agent) string {
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// kubelet imitates one's PodResources.
type kubelet struct {
	podresources.UnimplementedPodResourcesListerServer
	socket string
	mu     sync.Mutex
	pods   []*podresources.PodResources
}

func startKubelet(t testing.TB) *kubelet {
	t.Helper()
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := &kubelet{socket: filepath.Join(dir, "s")}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", k.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, k)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return k
}

func (k *kubelet) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &podresources.ListPodResourcesResponse{PodResources: k.pods}, nil
}

func (k *kubelet) give(pod, resource string, ids ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pods = append(k.pods, &podresources.PodResources{Namespace: "inference", Name: pod, Containers: []*podresources.ContainerResources{
		{Name: "main", Devices: []*podresources.ContainerDevices{{ResourceName: resource, DeviceIds: ids}}},
	}})
}

// adapter makes the stream's certificates, runs an adapter's side of it and returns its store.
func (s *stage) adapter(metrics ...string) *store.Store {
	s.Helper()
	agents, adapters := pki.New(s, "agents"), pki.New(s, "adapters")
	s.options.TLS.CertFile, s.options.TLS.KeyFile = agents.Issue("agent", x509.ExtKeyUsageServerAuth, nodeagent.ServerName)
	s.options.TLS.ClientCAFile = adapters.File
	s.client.CAFile = agents.File
	s.client.CertFile, s.client.KeyFile = adapters.Issue("adapter", x509.ExtKeyUsageClientAuth)
	s.options.StreamAddress = freeAddress(s)
	return s.watch(metrics...)
}

// watch runs one more adapter's side.
func (s *stage) watch(metrics ...string) *store.Store {
	s.Helper()
	var wants []collect.Want
	for _, name := range metrics {
		wants = append(wants, collect.Want{Key: tableOf(name)})
	}
	kept := store.New()
	client, err := nodeagent.New(nodeagent.Options{
		Store: kept, Wanted: func() []collect.Want { return wants }, TLS: s.client, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		s.Fatal(err)
	}
	client.SetAddresses([]string{s.options.StreamAddress})
	ctx, cancel := context.WithCancel(s.Context())
	var running sync.WaitGroup
	running.Go(func() { client.Run(ctx) })
	s.Cleanup(func() { cancel(); running.Wait() })
	return kept
}

func tableOf(metric string) store.Key {
	return store.Key{Kind: rules.Custom, Namespace: "inference", Resource: rules.Resource{Name: "pods"}, Metric: metric}
}

func valueOf(kept *store.Store, metric, pod string) string {
	view := kept.View(tableOf(metric))
	if view == nil {
		return "nothing"
	}
	v, absence := view.Value(pod, time.Now())
	if absence != nil {
		return absence.Cause.String()
	}
	return fmt.Sprintf("%.2f", v.Number)
}

func TestASliceReachesTheAdapter(t *testing.T) {
	gpu := fakenvml.H200(0).Sevenths()
	gpu.Compute(2, 0).Activity = fakenvml.Activity{SM: 40, Graphics: 50, Tensor: 10}
	gpu.Instances[2].DRAM = 30
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}})
	s.kubelet.give("llama-0", "nvidia.com/mig-1g.18gb", gpu.Compute(2, 0).UUID)
	kept := s.adapter("gpu_sm_active_ratio", "gpu_dram_active_ratio")
	_, stop := s.start()
	s.until("the first value", func() bool { return valueOf(kept, "gpu_sm_active_ratio", "llama-0") == "0.40" })
	s.until("the bandwidth of its GPU instance", func() bool { return valueOf(kept, "gpu_dram_active_ratio", "llama-0") == "0.30" })

	s.show(func(x *fakenvml.Scenario) { x.GPUs[0].Compute(2, 0).Activity.SM = 90 })
	began := time.Now()
	s.until("the step", func() bool { return valueOf(kept, "gpu_sm_active_ratio", "llama-0") == "0.90" })
	t.Logf("a step of the slice's activity was in the store after %s, with an interval of %s", time.Since(began).Round(time.Millisecond), s.options.Interval)

	s.kubelet.give("phi-0", "nvidia.com/mig-1g.18gb", gpu.Compute(3, 0).UUID)
	s.until("a new pod, which is idle", func() bool { return valueOf(kept, "gpu_sm_active_ratio", "phi-0") == "0.00" })

	if err := stop(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	s.until("its end", func() bool { return valueOf(kept, "gpu_sm_active_ratio", "llama-0") == "stale" })
}

func TestCertificatesAreReplacedUnderTheAgent(t *testing.T) {
	gpu := fakenvml.H200(0)
	gpu.Activity.SM = 40
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}})
	s.kubelet.give("llama-0", "nvidia.com/gpu", gpu.UUID)
	first := s.adapter("gpu_sm_active_ratio")
	s.start()
	s.until("the first value", func() bool { return valueOf(first, "gpu_sm_active_ratio", "llama-0") == "0.40" })
	agents, adapters := pki.New(t, "new agents"), pki.New(t, "new adapters")
	cert, key := agents.Issue("agent", x509.ExtKeyUsageServerAuth, nodeagent.ServerName)
	for from, to := range map[string]string{cert: s.options.TLS.CertFile, key: s.options.TLS.KeyFile, adapters.File: s.options.TLS.ClientCAFile} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.client = nodeagent.TLSOptions{CAFile: agents.File}
	s.client.CertFile, s.client.KeyFile = adapters.Issue("adapter", x509.ExtKeyUsageClientAuth)
	second := s.watch("gpu_sm_active_ratio")
	s.until("the value by the new certificates", func() bool { return valueOf(second, "gpu_sm_active_ratio", "llama-0") == "0.40" })
}

func TestMIGIsReconfiguredUnderTheAgent(t *testing.T) {
	gpu := fakenvml.H200(0).Cut(fakenvml.Slice{Profile: "3g.71gb", Start: 0}, fakenvml.Slice{Profile: "3g.71gb", Start: 4})
	gpu.Compute(0, 0).Activity.SM = 40
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}})
	s.kubelet.give("llama-0", "nvidia.com/mig-3g.71gb", gpu.Compute(0, 0).UUID)
	kept := s.adapter("gpu_sm_active_ratio")
	s.start()
	s.until("the first value", func() bool { return valueOf(kept, "gpu_sm_active_ratio", "llama-0") == "0.40" })
	after := fakenvml.H200(0).Sevenths()
	after.Compute(0, 0).Activity.SM = 70
	s.show(func(x *fakenvml.Scenario) { x.GPUs[0] = after })
	s.until("the end of the slice that is gone", func() bool { return valueOf(kept, "gpu_sm_active_ratio", "llama-0") == "stale" })
	s.kubelet.give("phi-0", "nvidia.com/mig-1g.18gb", after.Compute(0, 0).UUID)
	s.until("the new slice's pod", func() bool { return valueOf(kept, "gpu_sm_active_ratio", "phi-0") == "0.70" })
	if got := valueOf(kept, "gpu_sm_active_ratio", "llama-0"); got != "stale" {
		t.Errorf("the pod of a slice that is gone has %s", got)
	}
}

func TestPodsInTurnOnAGPU(t *testing.T) {
	gpu := fakenvml.H200(0)
	gpu.Activity = fakenvml.Activity{SM: 80, Graphics: 90}
	gpu.Processes = []fakenvml.Process{{PID: 100, GI: -1, CI: -1, SM: 30, MiB: 1000}, {PID: 200, GI: -1, CI: -1, SM: 10, MiB: 2000}}
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}})
	s.options.Pods.Proc = t.TempDir()
	for i, pod := range []string{"llama-0", "phi-0"} {
		s.kubelet.give(pod, "nvidia.com/gpu.shared", fmt.Sprintf("%s::%d", gpu.UUID, i))
		if err := os.Mkdir(filepath.Join(s.options.Pods.Logs, "inference_"+pod+"_"+uid(i+1)), 0o700); err != nil {
			t.Fatal(err)
		}
		process := filepath.Join(s.options.Pods.Proc, fmt.Sprint(100*(i+1)))
		if err := os.Mkdir(process, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(process, "cgroup"), []byte("0::/kubepods/burstable/pod"+uid(i+1)+"/"+strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept := s.adapter("gpu_sm_active_ratio", "gpu_sm_active_part_ratio")
	s.start()
	for _, want := range []struct{ metric, pod, is string }{
		{"gpu_sm_active_ratio", "llama-0", "0.80"}, {"gpu_sm_active_ratio", "phi-0", "0.80"},
		{"gpu_sm_active_part_ratio", "llama-0", "0.60"}, {"gpu_sm_active_part_ratio", "phi-0", "0.20"},
	} {
		s.until(want.metric+" of "+want.pod, func() bool { return valueOf(kept, want.metric, want.pod) == want.is })
	}
}

func TestWithoutGPMTheNodesDCGMExporterIsRead(t *testing.T) {
	gpu := fakenvml.H200(0).Cut(fakenvml.Slice{Profile: "1g.18gb", Start: 0})
	gpu.Name, gpu.Architecture, gpu.GPM = "NVIDIA A100-SXM4-80GB", 7, false
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}})
	s.kubelet.give("llama-0", "nvidia.com/mig-1g.10gb", gpu.Compute(0, 0).UUID)
	var mu sync.Mutex
	answers := true
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !answers {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "DCGM_FI_PROF_SM_ACTIVE{gpu=\"0\",UUID=%q,GPU_I_PROFILE=\"1g.10gb\",GPU_I_ID=\"%d\"} 0.35\n", gpu.UUID, gpu.Instances[0].ID)
	}))
	defer exporter.Close()
	s.options.DCGM.URL, s.options.DCGM.Compat = exporter.URL+"/metrics", "old"
	a, _ := s.start()
	s.until("the exporter's reading", func() bool {
		return strings.Contains(scrapeOf(a), `pod="llama-0",pod_uid="",profile="1g.18gb",quality="exact",sharing="mig",source="dcgm-exporter"`)
	})
	if text := scrapeOf(a); strings.Contains(text, "DCGM_FI_") {
		t.Error("dcgm-exporter's names are shown beside a dcgm-exporter")
	}
	mu.Lock()
	answers = false
	mu.Unlock()
	s.until("dcgm-exporter's names, now that it is gone", func() bool { return strings.Contains(scrapeOf(a), "DCGM_FI_DEV_FB_USED{") })
	s.until("the end of its reading", func() bool { return !strings.Contains(scrapeOf(a), `source="dcgm-exporter"`) })
}

func TestADriverThatHangs(t *testing.T) { // takes nvml.HungAfter
	gpu := fakenvml.H200(0)
	gpu.Activity.SM = 40
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}})
	a, stop := s.start()
	s.until("the first value", func() bool { return strings.Contains(scrapeOf(a), "gpu_slice_sm_active_ratio{") })
	s.show(func(x *fakenvml.Scenario) { x.Rules = []fakenvml.Rule{{Call: "nvmlGpmSampleGet", GPU: -1, Hang: true}} })
	s.until("the end of the value", func() bool { return !strings.Contains(scrapeOf(a), "gpu_slice_sm_active_ratio{") })
	s.until("that the driver hangs", func() bool { return strings.Contains(scrapeOf(a), `reason="hung",signal="sm_active"`) })
	s.show(func(x *fakenvml.Scenario) { x.Rules = nil })
	s.until("the value, again", func() bool { return strings.Contains(scrapeOf(a), "gpu_slice_sm_active_ratio{") })
	s.show(func(x *fakenvml.Scenario) { x.Rules = []fakenvml.Rule{{Call: "nvmlGpmSampleGet", GPU: -1, Hang: true}} })
	s.until("the end of the value", func() bool { return !strings.Contains(scrapeOf(a), "gpu_slice_sm_active_ratio{") })
	began := time.Now()
	if err := stop(); err != nil {
		t.Errorf("ended with %v", err)
	}
	t.Logf("ended %s after it was asked to, with a call under way", time.Since(began).Round(time.Millisecond))
	s.show(func(x *fakenvml.Scenario) { x.Rules = nil })
}

// TestTheCommandBecomesANewProcess runs the binary: memory that GPM broke can be read again after it, by the same process id without GPM, and an end that is
// asked for is a quick one.
func TestTheCommandBecomesANewProcess(t *testing.T) {
	gpu := fakenvml.H200(0).Cut(fakenvml.Slice{Profile: "1g.18gb", Start: 0})
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}, BreakMemory: true})
	binary := filepath.Join(t.TempDir(), "headroom-agent")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/headroom-agent").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	address := freeAddress(t)
	var log lines
	command := exec.Command(binary, "--metrics-bind-address", address, "--nvml-library", fakeLibrary, "--interval", "200ms", "--pod-resources-socket", "")
	command.Stderr = &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = command.Process.Kill() }()
	metrics := func() string {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return ""
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return string(body)
	}
	s.until("a process without GPM that reads memory", func() bool {
		text := metrics()
		return strings.Contains(text, `reason="driver too old",signal="sm_active"`) && strings.Contains(text, `gpu_slice_memory_used_bytes{ci="0"`)
	})
	began := time.Now()
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("ended with %v; it said:\n%s", err, log.String())
	}
	t.Logf("ended %s after SIGTERM", time.Since(began).Round(time.Millisecond))
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestANodeWithoutADriver(t *testing.T) {
	s := newStage(t, fakenvml.Scenario{})
	s.options.Driver.Library = filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	a, stop := s.start()
	s.until("that there is no driver", func() bool { return strings.Contains(scrapeOf(a), "headroom_agent_nvml_up 0") })
	if err := stop(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestCaptureAndReplay(t *testing.T) {
	gpu := fakenvml.H200(0).Cut(fakenvml.Slice{Profile: "3g.71gb", Start: 0}, fakenvml.Slice{Profile: "1g.18gb", Start: 4})
	gpu.Compute(0, 0).Activity = fakenvml.Activity{SM: 40, Graphics: 60}
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}})
	file := filepath.Join(t.TempDir(), "capture.jsonl")
	s.options.Pods.Socket = ""
	a, err := New(s.options)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := a.capture(t.Context(), file, 3*time.Second, "a test")
	if err != nil || frames < 3 {
		t.Fatalf("%d frames, %v", frames, err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(written), gpu.UUID) || strings.Contains(string(written), gpu.Compute(0, 0).UUID) {
		t.Error("the capture has a real UUID in it")
	}
	s.options.Driver.Library, s.options.Replay, s.options.Interval = "/nowhere", file, 100*time.Millisecond
	a, stop := s.start()
	s.until("the recorded slice", func() bool {
		text := scrapeOf(a)
		return strings.Contains(text, `gpu_slice_sm_active_ratio{ci="0",gi="1",gpu="0",`) && strings.Contains(text, "headroom_agent_nvml_up 1")
	})
	s.until("the recording's second time through", func() bool { // the first frame of each time through has no ratio yet
		return strings.Contains(scrapeOf(a), `} 0.4`)
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	s.options.Replay = filepath.Join(t.TempDir(), "none")
	if a, err = New(s.options); err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--replay") {
		t.Errorf("replaying no file: %v", err)
	}
}

func TestTopOnce(t *testing.T) {
	gpu := fakenvml.H200(0).Cut(fakenvml.Slice{Profile: "3g.71gb", Start: 0})
	gpu.Compute(0, 0).Activity = fakenvml.Activity{SM: 40}
	s := newStage(t, fakenvml.Scenario{GPUs: []fakenvml.GPU{gpu}})
	s.kubelet.give("llama-0", "nvidia.com/mig-3g.71gb", gpu.Compute(0, 0).UUID)
	s.options.Interval = 500 * time.Millisecond
	a, err := New(s.options)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := a.top(t.Context(), io.Writer(&out), true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3g.71gb 1/0", "40.0%", "inference/llama-0", "45.5%"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
