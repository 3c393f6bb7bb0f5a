package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Options of one run of "headroom forecast".
type Options struct {
	Trace         string // file, plain or gzip; "-" is standard input
	Column        string
	Gauge         bool
	PrometheusURL string
	Query         string
	Since         time.Duration
	TimeZone      string
	Step          time.Duration
	Lead          time.Duration
	Every         time.Duration
	Warmup        time.Duration
	Quantiles     []float64
	Out           string // forecasts as CSV
	Plot          string // HTML file
	JSON          bool
}

// DefaultOptions is the one source of the command's defaults.
func DefaultOptions() Options {
	return Options{
		Column: "requests", Since: 14 * 24 * time.Hour, TimeZone: "UTC",
		Step: time.Minute, Lead: 10 * time.Minute, Every: 5 * time.Minute, Warmup: 7 * 24 * time.Hour,
		Quantiles: []float64{0.5, 0.9, 0.95, 0.99},
	}
}

// Validate reports what is wrong with the choice of input; the rest is checked where it is used.
func (o Options) Validate() error {
	var all []error
	if (o.Trace == "") == (o.PrometheusURL == "") {
		all = append(all, errors.New("exactly one of --trace and --prometheus-url is needed"))
	}
	if o.PrometheusURL != "" && o.Query == "" {
		all = append(all, errors.New("--query: empty: --prometheus-url needs one"))
	}
	if o.Since <= 0 {
		all = append(all, fmt.Errorf("--since: %v: must be positive", o.Since))
	}
	if _, err := time.LoadLocation(o.TimeZone); err != nil {
		all = append(all, fmt.Errorf("--time-zone: %q: must be a name of the time zone database", o.TimeZone))
	}
	return errors.Join(all...)
}

// days is a duration flag that also takes days: 7d, 1d12h.
type days struct{ to *time.Duration }

func (d days) Type() string { return "duration" }

func (d days) String() string {
	if d.to == nil {
		return ""
	}
	v := *d.to
	if n := v / (24 * time.Hour); n > 0 && v%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", n)
	}
	return v.String()
}

func (d days) Set(s string) error {
	n, rest := int64(0), s
	if before, after, ok := strings.Cut(s, "d"); ok {
		var err error
		if n, err = strconv.ParseInt(before, 10, 32); err != nil || n < 0 || n > 100_000 {
			return fmt.Errorf("%q: must be like 7d, 1d12h or 90m", s)
		}
		rest = after
	}
	v := time.Duration(0)
	if rest != "" {
		var err error
		if v, err = time.ParseDuration(rest); err != nil {
			return fmt.Errorf("%q: must be like 7d, 1d12h or 90m", s)
		}
	}
	*d.to = time.Duration(n)*24*time.Hour + v
	return nil
}
