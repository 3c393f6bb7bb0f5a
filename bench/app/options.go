package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/replay"
)

// Options of one run of "headroom replay".
type Options struct {
	Files []string // manifests: an HPA, and a Headroom unless one is to be proposed

	FromCluster string // namespace/name, in place of Files
	Kubeconfig  string
	Context     string

	Trace         string // file, plain or gzip; "-" is standard input
	Column        string
	Gauge         bool // the column is a level, and not a count of the row's time
	PrometheusURL string
	Query         string
	Since         time.Duration
	TimeZone      string // whose days demand follows; empty: the Headroom's, else UTC

	measured replay.LeadTimes // by the cluster; used where LeadTime is left at its default

	LeadTime   string // 4m, 2m..6m or a file with one time a line
	Warmup     time.Duration
	Delay      time.Duration // scrape and collection
	Window     time.Duration // of the rate that demand is
	GPUs       int           // pods that can run at once; 0: no limit
	GPUsPerPod float64
	Price      float64 // of a GPU-hour
	Failures   float64 // of a Ready pod, per hour
	Patience   time.Duration
	Seed       uint64

	// The linear law of a batching server, for the queue; without TokenTime a replica serves perReplica.
	TokenTime    string // α+β, such as 12ms+0.4ms
	TokenSLO     time.Duration
	Slots        int
	KVTokens     float64
	Prefill      float64 // prompt tokens a second
	PromptTokens float64 // of a request on average, where the trace does not say
	OutputTokens float64

	Sweep bool
	SLO   string // as 99% or 0.99

	Report  string // HTML file
	JSON    string // file; "-" is standard output
	Propose string // file for the proposed Headroom; empty: shown
}

// DefaultOptions is the one source of the command's defaults.
func DefaultOptions() Options {
	return Options{
		Column: "requests", Since: 14 * 24 * time.Hour, LeadTime: "4m", Warmup: 7 * 24 * time.Hour, Delay: 15 * time.Second, Window: time.Minute,
		GPUsPerPod: 1, Patience: time.Minute, Seed: 1, SLO: "99%",
	}
}

// Validate reports every problem that can be seen without looking at a file.
func (o Options) Validate() error {
	var all []error
	if (o.Trace == "") == (o.PrometheusURL == "") {
		all = append(all, errors.New("traffic: exactly one of --trace and --prometheus-url is needed"))
	}
	if o.PrometheusURL != "" && o.Query == "" && o.FromCluster == "" {
		all = append(all, errors.New("--query: empty: --prometheus-url needs the PromQL of the offered load, such as 'sum(rate(requests_total[1m]))'"))
	}
	if len(o.Files) > 0 && o.FromCluster != "" {
		all = append(all, errors.New("-f and --from-cluster: one of them says where the manifests are"))
	}
	if len(o.Files) == 0 && o.FromCluster == "" {
		all = append(all, errors.New("-f: none: give the HorizontalPodAutoscaler's manifest, and the Headroom's if there is one; or --from-cluster"))
	}
	if _, err := time.LoadLocation(o.TimeZone); err != nil {
		all = append(all, fmt.Errorf("--time-zone: %q: must be a name of the time zone database", o.TimeZone))
	}
	if o.Since <= 0 {
		all = append(all, fmt.Errorf("--since: %v: must be positive", o.Since))
	}
	if o.Warmup < 0 {
		all = append(all, fmt.Errorf("--warmup: %v: must be 0 or more", o.Warmup))
	}
	if !(o.Price >= 0) || !(o.GPUsPerPod > 0) {
		all = append(all, fmt.Errorf("--price and --gpus-per-pod: %v and %v: must be 0 or more, and above 0", o.Price, o.GPUsPerPod))
	}
	if _, err := o.slo(); err != nil {
		all = append(all, err)
	}
	if _, _, err := o.law(); err != nil {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// slo is the share of the work that is to be in time.
func (o Options) slo() (float64, error) {
	text, isPercent := strings.CutSuffix(strings.TrimSpace(o.SLO), "%")
	v, err := strconv.ParseFloat(text, 64)
	if isPercent {
		v /= 100
	}
	if err != nil || !(v > 0 && v < 1) {
		return 0, fmt.Errorf("--slo: %q: must be a share of the work below all of it, such as 99%% or 0.99", o.SLO)
	}
	return v, nil
}

// days is a duration flag that also takes days: 7d, 1d12h.
type days struct{ to *time.Duration }

func (d days) Type() string { return "duration" }

func (d days) String() string {
	if d.to == nil {
		return ""
	}
	if v := *d.to; v >= 24*time.Hour && v%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", v/(24*time.Hour))
	}
	return d.to.String()
}

func (d days) Set(s string) error {
	v, err := parseDays(s)
	if err == nil {
		*d.to = v
	}
	return err
}

func parseDays(s string) (time.Duration, error) {
	n, rest := int64(0), s
	if before, after, ok := strings.Cut(s, "d"); ok {
		var err error
		if n, err = strconv.ParseInt(before, 10, 32); err != nil || n < 0 || n > 100_000 {
			return 0, fmt.Errorf("%q: must be like 7d, 1d12h or 90m", s)
		}
		rest = after
	}
	v := time.Duration(0)
	if rest != "" {
		var err error
		if v, err = time.ParseDuration(rest); err != nil {
			return 0, fmt.Errorf("%q: must be like 7d, 1d12h or 90m", s)
		}
	}
	return time.Duration(n)*24*time.Hour + v, nil
}
