package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/bench/traces"
	"github.com/headroom-autoscaler/headroom/forecaster"
)

// traffic is what is replayed: the offered load in bins of whole minutes.
type traffic struct {
	name   string
	unit   string
	series forecaster.Series
	issues []string
}

// coarsest is the widest bin that the forecaster takes.
const coarsest = 5 * time.Minute

func readTraffic(ctx context.Context, o Options, in io.Reader, now time.Time) (traffic, error) {
	if o.PrometheusURL != "" {
		return queryTraffic(ctx, o, now)
	}
	t, err := readTrace(o.Trace, o.Column, in)
	if err != nil {
		return traffic{}, err
	}
	if t.Step > coarsest {
		return traffic{}, fmt.Errorf("trace %s: a row every %v: too coarse to replay pods that start in minutes; export one row a minute", o.Trace, t.Step)
	}
	// A trace by the clock of the world starts fifty years after 1970: the grid begins where it does.
	from := t.Rows[0].At.Truncate(time.Minute)
	for i := range t.Rows {
		t.Rows[i].At -= from
	}
	meaning, unit := traces.Count, strings.TrimSuffix(o.Column, "_total")+"/s"
	if o.Gauge {
		meaning, unit = traces.Gauge, ""
	}
	width := (max(t.Step, time.Minute) + time.Minute - 1).Truncate(time.Minute)
	s, err := t.Bin(width, meaning)
	if err != nil {
		return traffic{}, fmt.Errorf("trace %s: %w: export rows every 10, 15, 20, 30 or 60 seconds", o.Trace, err)
	}
	s.Start = s.Start.Add(from)
	if !o.Gauge {
		for i, b := range s.Bins {
			s.Bins[i].Value = b.Value / width.Seconds()
		}
	}
	found := traffic{name: filepath.Base(o.Trace), unit: unit, series: s}
	const shown = 5
	for i, issue := range t.Issues {
		if i == shown {
			found.issues = append(found.issues, fmt.Sprintf("… and %d more like these", len(t.Issues)-shown))
			break
		}
		found.issues = append(found.issues, issue.String())
	}
	return found, nil
}

// queryTimeout is longer than a server's: a fortnight of minutes is read at once.
const queryTimeout = time.Minute

// queryTraffic reads history on a grid of minutes. A minute without a sample is missing.
func queryTraffic(ctx context.Context, o Options, now time.Time) (traffic, error) {
	client, err := prometheus.New(rules.Backend{Name: "command line", URLs: []string{o.PrometheusURL}, Timeout: queryTimeout}, nil)
	if err != nil {
		return traffic{}, fmt.Errorf("connect to %s: %w", o.PrometheusURL, err)
	}
	to := now.Truncate(time.Minute)
	from := to.Add(-o.Since).Truncate(time.Minute)
	points, err := prometheus.NewHistory(client).Points(ctx, o.Query, from, to, time.Minute)
	if err != nil {
		return traffic{}, fmt.Errorf("query history: %w", err)
	}
	if len(points) == 0 {
		return traffic{}, fmt.Errorf("query history: no sample between %s and %s: does the query give one series, and does %s keep %v?",
			from.Format(time.RFC3339), to.Format(time.RFC3339), o.PrometheusURL, o.Since)
	}
	// History often begins later than it is asked for: what lies before is no gap.
	first := points[0].At.Add(-time.Minute).Truncate(time.Minute)
	n := int(to.Sub(first) / time.Minute)
	s := forecaster.Series{Start: first, Step: time.Minute, Bins: make([]forecaster.Observation, n)}
	for i := range s.Bins {
		s.Bins[i] = forecaster.NoData()
	}
	bad, got := 0, 0
	for _, p := range points {
		// A sample at t speaks of the minute that ends there.
		i := int(p.At.Sub(first)/time.Minute) - 1
		if i < 0 || i >= n {
			continue
		}
		if !(p.Value >= 0) || math.IsInf(p.Value, 0) {
			bad++
			continue
		}
		got++
		s.Bins[i] = forecaster.Value(p.Value)
	}
	found := traffic{name: o.Query, series: s}
	if bad > 0 {
		found.issues = append(found.issues, fmt.Sprintf("%d samples are negative or no number: taken as missing", bad))
	}
	if missing := n - got - bad; missing > 0 {
		found.issues = append(found.issues, fmt.Sprintf("%d of %d minutes have no sample: taken as missing", missing, n))
	}
	return found, nil
}

// shortest is the least that a replay says anything about.
const shortest = time.Hour

var errTooShort = errors.New("too short")

// warmUpOf is what is not scored: what was asked for, or half of a trace that is not longer, which a note says.
func warmUpOf(s forecaster.Series, asked time.Duration) (warm time.Duration, note string, err error) {
	switch span := s.Span(); {
	case span < shortest:
		return 0, "", fmt.Errorf("the traffic covers %v, %w: give at least %v, and two weeks to see a week scored", span, errTooShort, shortest)
	case span <= asked:
		warm = warmUp(s, asked)
		return warm, fmt.Sprintf("the traffic covers %v, no more than the warm-up of %v: half of it is warm-up instead; longer traffic, or a shorter --warmup, says more", span, asked), nil
	}
	return asked.Truncate(time.Minute), "", nil
}
