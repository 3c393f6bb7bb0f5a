package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	prometheusclient "github.com/prometheus/client_golang/prometheus"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

// The fleet of these tests: workloads of two pods each, one of which is replaced in the middle, running vLLM, scraped every
// half minute for two weeks.
const (
	workloads   = 25
	fleetScrape = 30 * time.Second
	fleetSpan   = 14 * 24 * time.Hour
	fleetRules  = "presets: [{name: vllm, window: 2m}, {name: sglang, window: 2m}]"
)

// offered is what a pod of a workload is offered, in requests/s, as a function of time.
func offered(workload int, at time.Time) float64 {
	day := 2 * math.Pi * float64(at.Unix()%86400) / 86400
	return 10 + float64(workload) + 5*math.Sin(day)
}

// served is the integral of offered: the counter.
func served(workload int, at time.Time) float64 {
	day := 2 * math.Pi * float64(at.Unix()%86400) / 86400
	return (10+float64(workload))*float64(at.Unix()%1e8) - 5*86400/(2*math.Pi)*math.Cos(day)
}

// podsOf are the pods that a workload had, with the share of the span that each lived for.
func fleetPods(workload int) map[string][2]float64 {
	name := fmt.Sprintf("llm-%d-6d4cf56db6-", workload)
	return map[string][2]float64{name + "bcdfg": {0, 1}, name + "hjklm": {0, 0.5}, name + "npqrs": {0.5, 1}}
}

// backfill writes the fleet's past into a Prometheus' data folder, by promtool.
func backfill(t *testing.T, binaries, data string, end time.Time) {
	path := filepath.Join(t.TempDir(), "fleet.om")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(file, 1<<20)
	begin := end.Add(-fleetSpan)
	for _, metric := range []string{"vllm:request_success_total", "vllm:num_requests_running", "vllm:num_requests_waiting"} {
		for workload := range workloads {
			for pod, life := range fleetPods(workload) {
				for at := begin; !at.After(end); at = at.Add(fleetScrape) {
					if share := at.Sub(begin).Seconds() / fleetSpan.Seconds(); share < life[0] || share > life[1] {
						continue
					}
					value := 0.0
					if metric == "vllm:request_success_total" {
						value = served(workload, at)
					}
					fmt.Fprintf(w, "%s{namespace=\"inference\",pod=%q} %.3f %d\n", metric, pod, value, at.Unix())
				}
			}
		}
	}
	fmt.Fprintln(w, "# EOF")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	// One large block, since promtool reads the whole file once for each.
	out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=480h", path, data).CombinedOutput()
	if err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
}

// prometheusServer is a Prometheus that has a past and scrapes nothing.
type prometheusServer struct {
	url string
	pid int
}

func realPrometheus(t *testing.T, end time.Time) prometheusServer {
	if os.Getenv("HEADROOM_E2E") == "" {
		t.Skip("set HEADROOM_E2E=1 (make e2e does) to compile Prometheus and promtool")
	}
	build := exec.CommandContext(t.Context(), "go", "run", ".", "build", "-only", "prometheus,promtool")
	build.Dir, build.Stderr = "../../test/cluster", os.Stderr
	folder, err := build.Output()
	if err != nil {
		t.Fatal(err)
	}
	binaries, dir := strings.TrimSpace(string(folder)), t.TempDir()
	began := time.Now()
	backfill(t, binaries, filepath.Join(dir, "data"), end)
	t.Logf("the past is written in %s", time.Since(began).Round(time.Second))
	config := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 30s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port, err := testbed.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	server := exec.Command(filepath.Join(binaries, "prometheus"), "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--storage.tsdb.retention.time=60d", "--web.listen-address", strings.TrimPrefix(url, "http://"), "--log.level=warn")
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	server.Stderr = os.Stderr
	runtime.LockOSThread() // its death is that of the thread that started it
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait(); runtime.UnlockOSThread() })
	err = testbed.WaitFor(t.Context(), time.Minute, "Prometheus ready", func(ctx context.Context) (bool, string) {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/-/ready", nil)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err.Error()
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK, response.Status
	})
	if err != nil {
		t.Fatal(err)
	}
	return prometheusServer{url, server.Process.Pid}
}

// historiesOf reads from one backend.
func historiesOf(t *testing.T, url, allow string) *histories {
	config, err := rules.Parse("rules.yaml", []byte(fleetRules), rules.ParseOptions{Backends: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := prometheus.New(rules.Backend{Name: "default", URLs: []string{url}}, prometheus.NewMetrics(prometheusclient.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	collector := collect.New(collect.Options{
		Store: store.New(), Wanted: collect.NewWanted(100), Resources: offline{}, Observer: newMetrics(prometheusclient.NewRegistry(), collect.NewWanted(1), slog.New(slog.DiscardHandler)),
		DefaultStaleness: time.Minute, RelistInterval: time.Minute, MaxAge: time.Minute,
	})
	backend := collect.Backend{Name: "default", Querier: client}
	collector.Use(config, map[string]collect.Backend{"": backend, "default": backend})
	return &histories{collector: collector, queries: newQueries(allow, collector, time.Minute)}
}

func fleetHeadroom(object int) *v1alpha1.Headroom {
	workload := object % workloads
	hr := &v1alpha1.Headroom{ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: fmt.Sprintf("object-%d", object)}}
	hr.Spec.ScaleTargetRef = v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: fmt.Sprintf("llm-%d", workload)}
	hr.Spec.Demand.Metric = &v1alpha1.DemandMetric{Name: "requests_offered_per_second", Type: v1alpha1.PodsDemand}
	hr.Spec.Forecast.History.Duration = fleetSpan
	return hr
}

// TestHistoriesOnARealPrometheus reads the past of 500 objects back, and holds it to what the fleet was offered.
func TestHistoriesOnARealPrometheus(t *testing.T) {
	end := time.Now().Truncate(time.Minute)
	server := realPrometheus(t, end)
	h := historiesOf(t, server.url, queriesNamespaced)

	t.Run("a query of the object's own", func(t *testing.T) {
		hr := fleetHeadroom(3)
		hr.Spec.Demand = v1alpha1.Demand{Query: `sum(rate(vllm:request_success_total{pod=~"llm-3-.*"}[2m]))`}
		from := end.Add(-24 * time.Hour)
		points, err := h.Past(t.Context(), hr, from, end, time.Minute)
		if err != nil || len(points) != 1441 || math.Abs(points[0].Value-2*offered(3, from)) > 0.3 {
			t.Errorf("%d points, %v", len(points), err)
		}
		hr.Namespace = "another"
		if points, err = h.Past(t.Context(), hr, from, end, time.Minute); err != nil || len(points) != 0 {
			t.Errorf("another namespace reads %d points, %v", len(points), err)
		}
		hr.Spec.Demand.Query = "sum by (pod) (vllm:num_requests_running)"
		hr.Namespace = "inference"
		if _, err = h.Past(t.Context(), hr, from, end, time.Minute); err == nil || !strings.Contains(err.Error(), "aggregate it to one series") {
			t.Errorf("several series: %v", err)
		}
	})

	t.Run("the demand is what was offered", func(t *testing.T) {
		for _, workload := range []int{0, 1, 12, 24} { // llm-1 and llm-12 have names that begin alike
			from := end.Add(-4 * 24 * time.Hour)
			points, err := h.Past(t.Context(), fleetHeadroom(workload), from, end, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if len(points) != 4*1440+1 {
				t.Errorf("workload %d: %d points", workload, len(points))
			}
			for _, p := range points {
				if want := 2 * offered(workload, p.At.Add(-time.Minute)); math.Abs(p.Value-want) > 0.01*want {
					t.Fatalf("workload %d at %s: %v, want %v", workload, p.At, p.Value, want)
				}
			}
		}
	})

	t.Run("a start", func(t *testing.T) {
		objects := 500
		if testing.Short() {
			objects = 50
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		e := controller.NewEngines(controller.EnginesOptions{History: h, Now: time.Now, Log: slog.Default()})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = e.Run(ctx) }()
		defer func() { stop(); <-done }()
		began, ours, its, most := time.Now(), spent(os.Getpid()), spent(server.pid), uint64(0)
		look := func(object int) controller.Outlook {
			hr := fleetHeadroom(object)
			e.Observe(hr, time.Now(), prewarm.Demand{Value: 2 * offered(object%workloads, time.Now()), Known: true})
			if object%5 == 0 { // those with a CapacityBuffer look further ahead too
				e.Forecast(hr, time.Now(), 12*time.Minute, 0.95)
			}
			return e.Forecast(hr, time.Now(), 4*time.Minute, 0.95)
		}
		err := testbed.WaitFor(t.Context(), 20*time.Minute, "all histories", func(context.Context) (bool, string) {
			settled := 0
			for object := range objects {
				if look(object).Settled {
					settled++
				}
			}
			runtime.ReadMemStats(&after)
			most = max(most, after.HeapAlloc)
			return settled == objects, fmt.Sprintf("%d of %d", settled, objects)
		})
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		ours, its = spent(os.Getpid())-ours, spent(server.pid)-its
		runtime.GC()
		runtime.ReadMemStats(&after)
		mebi := func(bytes uint64) float64 { return float64(bytes) / (1 << 20) }
		grown := mebi(after.HeapAlloc - before.HeapAlloc)
		t.Logf("%d objects, 14 days of minutes each: %s on %d cores, %s of processor time here and %s in Prometheus; heap %.0f MiB more, %.0f MiB at the highest",
			objects, took.Round(time.Second), runtime.GOMAXPROCS(0), ours.Round(time.Second), its.Round(time.Second), grown, mebi(most-before.HeapAlloc))
		// 500 within three minutes on two cores, Prometheus on the same two. The time that passes says nothing on a machine that
		// has other things to do.
		if each := (ours + its) / time.Duration(objects); each > 2*3*time.Minute/500 {
			t.Errorf("%s of processor time for each object, want at most %s", each, 2*3*time.Minute/500)
		}
		if each := grown / float64(objects); each > 100./500 {
			t.Errorf("%.2f MiB of heap for each object, want at most 0.2", each)
		}
		now := 2 * offered(3, time.Now())
		if o := look(3); !o.Forecast.Known || o.Forecast.Value < 0.9*now || o.Forecast.Value > 1.2*now || o.Labels < 1000 {
			t.Errorf("demand is %v, the outlook %+v", now, o)
		}
	})
}

// spent is the processor time of a process, as Linux counts it: hundredths of a second.
func spent(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
