package app

import (
	"log/slog"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	prometheusclient "github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/metricsapi"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
)

// described records the names of whatever is registered.
type described struct {
	prometheusclient.Registerer
	names []string
}

var descName = regexp.MustCompile(`fqName: "([^"]+)"`)

func (d *described) Register(c prometheusclient.Collector) error {
	descs := make(chan *prometheusclient.Desc, 16)
	go func() { c.Describe(descs); close(descs) }()
	for desc := range descs {
		d.names = append(d.names, descName.FindStringSubmatch(desc.String())[1])
	}
	return nil
}

func (d *described) MustRegister(cs ...prometheusclient.Collector) {
	for _, c := range cs {
		_ = d.Register(c)
	}
}

func TestTheMetricsPageNamesWhatIsRegistered(t *testing.T) {
	registered := &described{}
	newMetrics(registered, collect.NewWanted(1), slog.New(slog.DiscardHandler))
	prometheus.NewMetrics(registered)
	metricsapi.NewMissing(registered, time.Now)
	controller.NewMetrics(registered)
	slices.Sort(registered.names)

	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(headroom_[a-z_]+)` \\|").FindAllSubmatch(page, -1) {
		documented = append(documented, string(match[1]))
	}
	slices.Sort(documented)
	if diff := cmp.Diff(documented, registered.names); diff != "" {
		t.Errorf("docs/metrics.md (-) and what is registered (+) differ:\n%s", diff)
	}
}
