package drive

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
)

// server is an adapter in virtual time: it takes a given time per answer, and may stall once.
type server struct {
	takes   time.Duration
	stallAt int
	stall   time.Duration
	fails   error

	mu    sync.Mutex
	asked map[string]int
	count int
	busy  int
	peak  int
}

func (s *server) Paths(targets []ask.Target) []string {
	paths := make([]string, len(targets))
	for i, t := range targets {
		paths[i] = t.Metric
	}
	return paths
}

func (s *server) AskPath(ctx context.Context, path string, _ int) (ask.Answer, error) {
	s.mu.Lock()
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[path]++
	s.count++
	s.busy++
	s.peak = max(s.peak, s.busy)
	takes := s.takes
	if s.stall > 0 && s.count == s.stallAt {
		takes = s.stall
	}
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.busy--
	s.mu.Unlock()
	if ctx.Err() != nil {
		return ask.Answer{}, ctx.Err()
	}
	return ask.Answer{Items: 1}, s.fails
}

func targets(n int) []ask.Target {
	var list []ask.Target
	for i := range n {
		list = append(list, ask.Target{Kind: ask.Pods, Metric: string(rune('a' + i))})
	}
	return list
}

func TestClosedLoopKeepsEveryClientBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: 10 * time.Millisecond}
		result, err := Run(t.Context(), s, Load{Targets: targets(5), Clients: 4, Duration: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if result.Answers != 400 || s.peak != 4 || result.PerSecond() != 400 {
			t.Errorf("%d answers, %d at once, %.0f/s; want 400, 4, 400/s", result.Answers, s.peak, result.PerSecond())
		}
		want := map[string]int{"a": 80, "b": 80, "c": 80, "d": 80, "e": 80}
		if diff := cmp.Diff(want, s.asked); diff != "" {
			t.Error("requests are not spread over all targets:", diff)
		}
	})
}

func TestOpenLoopOffersItsRateAndCountsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: time.Millisecond, stallAt: 100, stall: 500 * time.Millisecond}
		result, err := Run(t.Context(), s, Load{Targets: targets(1), Clients: 1, Rate: 100, Duration: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if result.Answers != 200 {
			t.Errorf("%d answers, want the 200 that were offered", result.Answers)
		}
		// One stall of 500 ms delays the fifty requests that fall due in it: a quarter of all, so the 90th percentile shows it.
		if p90, _ := result.Latency.Quantile(0.9); p90 < 200*time.Millisecond || p90 > 400*time.Millisecond {
			t.Errorf("p90 = %s: the stall is hidden", p90)
		}
		if p50, _ := result.Latency.Quantile(0.5); p50 > 2*time.Millisecond {
			t.Errorf("p50 = %s, want about 1 ms", p50)
		}
	})
}

func TestFailuresAreCountedByReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: time.Millisecond, fails: ask.Failure("HTTP 404")}
		result, err := Run(t.Context(), s, Load{Targets: targets(1), Clients: 2, Duration: time.Minute, MaxRequests: 10})
		if err != nil {
			t.Fatal(err)
		}
		if result.Answers != 0 || result.Failed() != 10 || result.Failures["HTTP 404"] != 10 {
			t.Errorf("%d answers, failures %v, want ten 404", result.Answers, result.Failures)
		}
		if _, ok := result.Latency.Quantile(0.5); ok {
			t.Error("failures count as answers in the latency")
		}
	})
}

func TestCancelEndsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := &server{takes: time.Hour}
		start := time.Now()
		result, err := Run(ctx, s, Load{Targets: targets(1), Clients: 3, Duration: time.Hour})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
			t.Errorf("ended after %s with %v", time.Since(start), err)
		}
		if result.Failed() != 0 {
			t.Error("requests that the caller gave up count as the server's failures")
		}
	})
}

func TestProblemsComeAllAtOnce(t *testing.T) {
	_, err := Run(t.Context(), &server{}, Load{Rate: -1, MaxRequests: -1})
	for _, want := range []string{"targets", "clients", "rate", "duration", "max requests"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in %v", want, err)
		}
	}
}
