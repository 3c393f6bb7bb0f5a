package promql

import (
	"context"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	dto "github.com/prometheus/client_model/go"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// Series are scraped every 15 s from 0 to 600 s, and asked at 605 s: every sample is five seconds old.
const (
	scrapes    = 40
	scrapeStep = 15
	askedAt    = 605
	lastScrape = 600
)

// database is Prometheus' engine over some series.
type database struct {
	engine  *promql.Engine
	storage storage.Storage
}

var blankLines = regexp.MustCompile(`(?m)^\n`) // one would end the series

func load(t *testing.T, text string) *database {
	t.Helper()
	return &database{
		engine:  promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000),
		storage: promqltest.LoadedStorage(t, fmt.Sprintf("load %ds\n%s", scrapeStep, blankLines.ReplaceAllString(text, ""))),
	}
}

// row is one row of an answer.
type row struct {
	labels map[string]string
	value  float64
}

// rows evaluates an instant query.
func (d *database) rows(t *testing.T, expr string) []row {
	t.Helper()
	rows, err := d.evaluate(expr, time.Unix(askedAt, 0))
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return rows
}

func (d *database) evaluate(expr string, at time.Time) ([]row, error) {
	query, err := d.engine.NewInstantQuery(context.Background(), d.storage, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(context.Background())
	if result.Err != nil {
		return nil, result.Err
	}
	vector, err := result.Vector()
	if err != nil {
		return nil, err
	}
	rows := make([]row, 0, len(vector))
	for _, sample := range vector {
		rows = append(rows, row{sample.Metric.Map(), sample.F})
	}
	return rows, nil
}

// ask evaluates an instant query; rows are keyed by their labels.
func (d *database) ask(t *testing.T, expr string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, r := range d.rows(t, expr) {
		values[labelText(r.labels)] = r.value
	}
	return values
}

func labelText(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// exposition reads a page with Prometheus' own parser and returns its series so that they end, after 600 s, where the page
// says: counters having grown steadily from nothing, gauges having stood still. Offsets are gauges that move.
func exposition(t *testing.T, page string, scraped map[string]string, honorLabels bool) string {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(families)) {
		family := families[name]
		for _, metric := range family.Metric {
			labels := map[string]string{}
			maps.Copy(labels, scraped)
			for _, pair := range metric.Label {
				key := pair.GetName()
				if _, taken := scraped[key]; taken && !honorLabels {
					key = "exported_" + key
				}
				labels[key] = pair.GetValue()
			}
			write := func(name string, labels map[string]string, value float64, grows bool) {
				step := 0.0
				if grows {
					step = value / scrapes
				}
				fmt.Fprintf(&out, "  %s%s %s+%sx%d\n", name, labelText(labels), number(value-step*scrapes), number(step), scrapes)
			}
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				write(name, labels, metric.GetCounter().GetValue(), true)
			case dto.MetricType_GAUGE:
				value := metric.GetGauge().GetValue()
				write(name, labels, value, strings.Contains(name, "offset") && value > 0)
			case dto.MetricType_HISTOGRAM:
				histogram := metric.GetHistogram()
				for _, bucket := range histogram.Bucket {
					with := maps.Clone(labels)
					with["le"] = number(bucket.GetUpperBound())
					write(name+"_bucket", with, float64(bucket.GetCumulativeCount()), true)
				}
				write(name+"_sum", labels, histogram.GetSampleSum(), true)
				write(name+"_count", labels, float64(histogram.GetSampleCount()), true)
			case dto.MetricType_SUMMARY:
				write(name+"_sum", labels, metric.GetSummary().GetSampleSum(), true)
				write(name+"_count", labels, float64(metric.GetSummary().GetSampleCount()), true)
			default:
				write(name, labels, metric.GetUntyped().GetValue(), false)
			}
		}
	}
	return out.String()
}

func number(f float64) string {
	if math.IsInf(f, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// cluster knows the resources that presets name.
type cluster struct{}

func (cluster) Resolve(r rules.Resource) (rules.ResourceInfo, bool) {
	for _, info := range []rules.ResourceInfo{
		{Resource: rules.Resource{Name: "pods"}, Singular: "pod", Namespaced: true},
		{Resource: rules.Resource{Name: "services"}, Singular: "service", Namespaced: true},
		{Resource: rules.Resource{Name: "namespaces"}, Singular: "namespace"},
		{Resource: rules.Resource{Group: "apps", Name: "deployments"}, Singular: "deployment", Namespaced: true},
		{Resource: rules.Resource{Group: "networking.k8s.io", Name: "ingresses"}, Singular: "ingress", Namespaced: true},
	} {
		if (r.Name == info.Name || r.Name == info.Singular) && (r.Group == "" || r.Group == info.Group) {
			return info, true
		}
	}
	return rules.ResourceInfo{}, false
}

func parse(t *testing.T, text string) *rules.Config {
	t.Helper()
	config, err := rules.Parse("rules.yaml", []byte(text), rules.ParseOptions{Backends: []string{"default"}})
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return config
}
