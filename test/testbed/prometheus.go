package testbed

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// PrometheusOptions are what a metrics server can be told.
type PrometheusOptions struct {
	Name           string        // tells several apart; "" for "prometheus"
	ScrapeInterval time.Duration // 0 for 1 s
	Targets        []string      // host:port; their own namespace and pod labels are honoured
	Past           string        // an OpenMetrics file of samples to begin with; Prometheus only
}

// MetricsServer is a running Prometheus or VictoriaMetrics.
type MetricsServer struct {
	*Process
	URL   string
	data  string
	ready string // path that answers 200 when it can be asked
}

// StartPrometheus runs a real Prometheus.
func (b *Bed) StartPrometheus(ctx context.Context, o PrometheusOptions) (*MetricsServer, error) {
	if o.Name == "" {
		o.Name = "prometheus"
	}
	if o.Past != "" {
		data := filepath.Join(b.Dir, o.Name+"-data")
		// One large block, since promtool reads the whole file once for each.
		promtool := exec.CommandContext(ctx, filepath.Join(b.Binaries, "promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=480h", o.Past, data)
		if output, err := promtool.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("promtool: %w\n%s", err, output)
		}
	}
	return b.startMetricsServer(ctx, o, "/-/ready", func(config, data, address string) (string, []string) {
		return "prometheus", []string{"--config.file", config, "--storage.tsdb.path", data, "--web.listen-address", address, "--log.level", "warn"}
	})
}

// StartVictoriaMetrics runs a real single-node VictoriaMetrics. Its default of hiding the newest 30 s of samples is
// lowered to what these tests' scrape intervals need.
func (b *Bed) StartVictoriaMetrics(ctx context.Context, o PrometheusOptions) (*MetricsServer, error) {
	if o.Name == "" {
		o.Name = "victoria-metrics"
	}
	return b.startMetricsServer(ctx, o, "/health", func(config, data, address string) (string, []string) {
		return "victoria-metrics", []string{"-promscrape.config", config, "-storageDataPath", data, "-httpListenAddr", address,
			"-search.latencyOffset", "1s", "-loggerLevel", "WARN"}
	})
}

func (b *Bed) startMetricsServer(ctx context.Context, o PrometheusOptions, ready string, command func(config, data, address string) (string, []string)) (*MetricsServer, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	config, data := filepath.Join(b.Dir, o.Name+".yaml"), filepath.Join(b.Dir, o.Name+"-data")
	if err := os.WriteFile(config, []byte(scrapeConfig(o)), 0o600); err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	binary, args := command(config, data, address)
	m := &MetricsServer{Process: newProcess(b.Dir, o.Name, filepath.Join(b.Binaries, binary), args...), URL: "http://" + address, data: data, ready: ready}
	if err := b.run(m.Process); err != nil {
		return nil, err
	}
	return m, m.WaitReady(ctx)
}

func scrapeConfig(o PrometheusOptions) string {
	interval := o.ScrapeInterval
	if interval == 0 {
		interval = time.Second
	}
	return fmt.Sprintf(`global: {scrape_interval: %dms, scrape_timeout: %dms}
scrape_configs:
- job_name: fleet
  honor_labels: true
  static_configs:
  - targets: ["%s"]
`, interval.Milliseconds(), interval.Milliseconds(), strings.Join(o.Targets, `", "`))
}

// WaitReady waits until the server can be asked.
func (m *MetricsServer) WaitReady(ctx context.Context) error {
	return WaitFor(ctx, time.Minute, m.Name+" ready", func(ctx context.Context) (bool, string) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL+m.ready, nil)
		if err != nil {
			return false, err.Error()
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err.Error()
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK, response.Status
	})
}

// Forget removes the server's data. It must have been stopped.
func (m *MetricsServer) Forget() error { return os.RemoveAll(m.data) }
