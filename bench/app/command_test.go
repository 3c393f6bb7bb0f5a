package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/report"
	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
)

const hpaYAML = `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 60
  metrics:
  - type: Pods
    pods: {metric: {name: requests_offered_per_second}, target: {type: AverageValue, averageValue: "70"}}
  behavior:
    scaleUp: {tolerance: "0"}
`

const headroomYAML = `apiVersion: headroom.dev/v1alpha1
kind: Headroom
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  demand:
    metric: {name: requests_offered_per_second}
    perReplica: "70"
  prewarm:
    windows:
    - {name: morning, schedule: "0 8 * * *", duration: 2h, replicas: 14}
`

// folder has the manifests, and a trace of so many days in counts per minute.
func folder(t *testing.T, days int) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "hpa.yaml", hpaYAML)
	put(t, dir, "headroom.yaml", headroomYAML)
	put(t, dir, "trace.csv", traceOf(traces.DailyService(2, days), 0))
	return dir
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// traceOf writes a series as counts: its values are rates.
func traceOf(s forecaster.Series, from int64) string {
	var b strings.Builder
	b.WriteString("timestamp_s,requests\n")
	for i, o := range s.Bins {
		v, _ := o.Number()
		fmt.Fprintf(&b, "%d,%g\n", from+int64(i)*60, 60*v)
	}
	return b.String()
}

func replayed(t *testing.T, dir string, change func(o *Options)) (stdout, stderr string, err error) {
	t.Helper()
	o := DefaultOptions()
	o.Files = []string{filepath.Join(dir, "hpa.yaml"), filepath.Join(dir, "headroom.yaml")}
	o.Trace, o.Warmup = filepath.Join(dir, "trace.csv"), 2*24*time.Hour
	change(&o)
	var out, log bytes.Buffer
	err = run(context.Background(), o, strings.NewReader(""), &out, &log)
	return out.String(), log.String(), err
}

func TestReplayOfATrace(t *testing.T) {
	dir := folder(t, 4)
	page, figures := filepath.Join(dir, "out.html"), filepath.Join(dir, "out.json")
	table, _, err := replayed(t, dir, func(o *Options) {
		o.LeadTime, o.Report, o.JSON, o.Price, o.Sweep = "2m..6m", page, figures, 2, true
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	var doc report.Document
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	names := map[string]report.Policy{}
	for _, p := range doc.Policies {
		names[p.Name] = p
		if !strings.Contains(table, p.Name) {
			t.Errorf("the table has no %s:\n%s", p.Name, table)
		}
	}
	for _, name := range []string{"HPA as it is", "HPA +1", "HPA +2", "HPA +4", "schedules alone", "Crane-like", "Headroom", "oracle"} {
		if _, ok := names[name]; !ok {
			t.Errorf("no policy %q", name)
		}
	}
	if alone, own, oracle := names["HPA as it is"], names["Headroom"], names["oracle"]; own.LateShare >= alone.LateShare || oracle.LateShare > own.LateShare+0.001 || *oracle.ToOracle != 1 {
		t.Errorf("late: HPA %v, Headroom %v, oracle %v", alone.LateShare, own.LateShare, oracle.LateShare)
	}
	if own := names["Headroom"]; math.Abs(own.Cost-2*own.ReplicaHours) > 1e-6 {
		t.Errorf("%v replica-hours at 2 cost %v", own.ReplicaHours, own.Cost)
	}
	if doc.Frontier == nil || doc.Frontier.Cheapest == nil || !strings.Contains(table, "Cheapest with 99.00 %") {
		t.Error("the sweep names no cheapest setting")
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
}

func TestAHeadroomIsProposed(t *testing.T) {
	dir := folder(t, 4)
	written := filepath.Join(dir, "proposed.yaml")
	if _, _, err := replayed(t, dir, func(o *Options) {
		o.Files, o.Sweep, o.Propose = o.Files[:1], true, written
	}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(written)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `perReplica: "70"`) || !strings.Contains(string(text), "risk: {quantile:") {
		t.Errorf("proposed:\n%s", text)
	}
	// What is proposed is what can be applied and replayed.
	if _, _, err := replayed(t, dir, func(o *Options) { o.Files[1] = written }); err != nil {
		t.Errorf("the proposed manifest is not accepted: %v", err)
	}
}

func TestReplayOfPrometheus(t *testing.T) {
	series := traces.DailyService(2, 3)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, _ := strconv.ParseFloat(r.FormValue("start"), 64)
		end, _ := strconv.ParseFloat(r.FormValue("end"), 64)
		var values []string
		for at := start; at <= end; at += 60 {
			v, _ := series.Bins[int(at/60)%len(series.Bins)].Number()
			values = append(values, fmt.Sprintf("[%f,%q]", at, strconv.FormatFloat(v, 'g', -1, 64)))
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[%s]}]}}`, strings.Join(values, ","))
	}))
	defer server.Close()
	dir := folder(t, 1)
	out, _, err := replayed(t, dir, func(o *Options) {
		o.Trace, o.PrometheusURL, o.Query, o.Since, o.Warmup, o.JSON = "", server.URL, "sum(rate(requests_total[1m]))", 2*24*time.Hour, 24*time.Hour, "-"
	})
	if err != nil {
		t.Fatal(err)
	}
	var doc report.Document
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Trace.UnknownShare != 0 || doc.Trace.To.Sub(doc.Trace.From).Round(time.Hour) != 2*24*time.Hour {
		t.Errorf("%v unknown from %v to %v", doc.Trace.UnknownShare, doc.Trace.From, doc.Trace.To)
	}
}

// TestBadInput: one clear sentence, and the way out.
func TestBadInput(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string, o *Options)
		want   []string // in the error
	}{
		{"no traffic", func(_ *testing.T, _ string, o *Options) { o.Trace = "" }, []string{"exactly one of --trace and --prometheus-url"}},
		{"no HPA", func(_ *testing.T, _ string, o *Options) { o.Files = o.Files[1:] }, []string{"no HorizontalPodAutoscaler", "only a Headroom", "kubectl get hpa"}},
		{"an HPA without a metric", func(t *testing.T, dir string, _ *Options) {
			put(t, dir, "hpa.yaml", strings.Split(hpaYAML, "  metrics:")[0])
		}, []string{"HPA web lists no metric", "averageValue"}},
		{"a Headroom that matches nothing", func(t *testing.T, dir string, _ *Options) {
			put(t, dir, "headroom.yaml", strings.ReplaceAll(headroomYAML, "kind: Deployment, name: web", "kind: Deployment, name: shop"))
		}, []string{"matches nothing", "Deployment shop", "web scales Deployment web", "scaleTargetRef"}},
		{"a field that does not exist", func(t *testing.T, dir string, _ *Options) {
			put(t, dir, "headroom.yaml", strings.Replace(headroomYAML, "prewarm:", "preheat:", 1))
		}, []string{"headroom.yaml", "preheat"}},
		{"an old HPA", func(t *testing.T, dir string, _ *Options) {
			put(t, dir, "hpa.yaml", strings.Replace(hpaYAML, "autoscaling/v2", "autoscaling/v1", 1))
		}, []string{"autoscaling/v2", "kubectl get hpa"}},
		{"a trace that is too short", func(t *testing.T, dir string, _ *Options) {
			s := traces.DailyService(2, 1)
			s.Bins = s.Bins[:40]
			put(t, dir, "trace.csv", traceOf(s, 0))
		}, []string{"covers 40m0s", "at least 1h"}},
		{"other units", func(t *testing.T, dir string, o *Options) { o.Gauge = true }, []string{"--gauge", "perReplica", "maximum is 60"}},
		{"too coarse", func(t *testing.T, dir string, _ *Options) {
			put(t, dir, "trace.csv", "timestamp_s,requests\n0,1\n3600,2\n7200,3\n")
		}, []string{"every 1h0m0s", "too coarse", "one row a minute"}},
		{"nothing in it", func(t *testing.T, dir string, _ *Options) {
			s := traces.DailyService(2, 3)
			for i := range s.Bins {
				s.Bins[i] = forecaster.Zero()
			}
			put(t, dir, "trace.csv", traceOf(s, 0))
		}, []string{"zero throughout"}},
		{"no such column", func(_ *testing.T, _ string, o *Options) { o.Column = "tokens" }, []string{`"tokens"`, "requests"}},
		{"a lead time that is none", func(_ *testing.T, _ string, o *Options) { o.LeadTime = "6m..2m" }, []string{"--lead-time", "2m..6m"}},
		{"slots without a law", func(_ *testing.T, _ string, o *Options) { o.Slots = 64 }, []string{"--itl", "12ms+0.4ms"}},
		{"a law without tokens", func(_ *testing.T, _ string, o *Options) {
			o.TokenTime, o.TokenSLO, o.Slots = "12ms+0.4ms", 40*time.Millisecond, 64
		}, []string{"--output-tokens"}},
		{"a law that nothing keeps", func(_ *testing.T, _ string, o *Options) {
			o.TokenTime, o.TokenSLO, o.Slots = "12ms+0.4ms", 10*time.Millisecond, 64
		}, []string{"12.4ms"}},
		{"an SLO of all", func(_ *testing.T, _ string, o *Options) { o.SLO = "100%" }, []string{"--slo", "99%"}},
		{"a metric that says nothing of load, and no Headroom", func(t *testing.T, dir string, o *Options) {
			put(t, dir, "hpa.yaml", strings.Split(hpaYAML, "  - type")[0]+"  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}\n")
			o.Files = o.Files[:1]
		}, []string{"what one replica carries is not known", "demand.perReplica"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := folder(t, 3)
			_, _, err := replayed(t, dir, func(o *Options) { test.change(t, dir, o) })
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range test.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

// TestOddTraffic is replayed, and what is odd is said.
func TestOddTraffic(t *testing.T) {
	for _, test := range []struct {
		name string
		text func(lines []string) string
		want string
	}{
		{"gaps", func(l []string) string {
			return strings.Join(append(append([]string{}, l[:2000]...), l[2100:]...), "\n")
		}, "gap of 1h40m0s"},
		{"unsorted rows", func(l []string) string { l[900], l[901] = l[901], l[900]; return strings.Join(l, "\n") }, "before the row above"},
		{"a line of nonsense", func(l []string) string { l[77] = "x,y"; return strings.Join(l, "\n") }, "left out"},
		{"gzip", func(l []string) string {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write([]byte(strings.Join(l, "\n"))) // a buffer takes all
			_ = z.Close()
			return b.String()
		}, ""},
		{"by the clock of the world", func(l []string) string {
			return strings.TrimSpace(traceOf(traces.DailyService(2, 3), 1_772_409_600))
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := folder(t, 3)
			put(t, dir, "trace.csv", test.text(strings.Split(strings.TrimSpace(traceOf(traces.DailyService(2, 3), 0)), "\n")))
			out, log, err := replayed(t, dir, func(*Options) {})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(log, test.want) || !strings.Contains(out, "Headroom") {
				t.Errorf("expected %q in\n%s\n%s", test.want, log, out)
			}
		})
	}
}

func TestLeadTimesOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leads")
	put(t, filepath.Dir(path), "leads", "# measured\n3m20s\n200\n\n95.5\n")
	l, err := readLeadTimes(path)
	if err != nil || len(l.Measured) != 3 || l.Measured[1] != 200*time.Second {
		t.Errorf("%v, %v", l, err)
	}
}

func TestFlagsAgreeWithTheDefaults(t *testing.T) {
	o := DefaultOptions()
	c := NewCommand()
	for name, want := range map[string]string{"lead-time": o.LeadTime, "warmup": "7d", "since": "14d", "slo": o.SLO, "patience": o.Patience.String(), "delay": o.Delay.String(), "column": o.Column} {
		if got := c.Flags().Lookup(name).DefValue; got != want {
			t.Errorf("--%s defaults to %q, expected %q", name, got, want)
		}
	}
}
