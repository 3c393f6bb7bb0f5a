// Package drive puts a bounded load on an adapter: so many clients, or so many requests a second, for so long.
//
// Without a rate the loop is closed: every client asks again as soon as it has its answer. With a rate it is open: request
// i is due at i/rate after the start, and one that had to wait for a free client counts its wait as latency, so that a
// server which stalls cannot hide behind the requests that were never sent (Gil Tene's "coordinated omission").
package drive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
	"github.com/headroom-autoscaler/headroom/bench/load/latency"
)

// Load says how much is asked, and for how long.
type Load struct {
	Targets  []ask.Target
	Clients  int           // requests in flight at most
	Rate     float64       // requests per second offered; 0: as fast as the clients get answers
	Duration time.Duration // no request is sent after it; those in flight are awaited
	// MaxRequests bounds the load in count too; 0: none but the time.
	MaxRequests int
}

// Problems are all that is wrong with the load, empty when it can run.
func (l Load) Problems() []error {
	var problems []error
	if len(l.Targets) == 0 {
		problems = append(problems, errors.New("targets: none; want at least one request to ask"))
	}
	if l.Clients < 1 || l.Clients > 1000 {
		problems = append(problems, fmt.Errorf("clients: %d; want 1 to 1000", l.Clients))
	}
	if !(l.Rate >= 0 && l.Rate <= 100_000) {
		problems = append(problems, fmt.Errorf("rate: %v; want 0 (no limit) to 100000 requests per second", l.Rate))
	}
	if l.Duration <= 0 || l.Duration > time.Hour {
		problems = append(problems, fmt.Errorf("duration: %s; want more than 0 and at most 1h", l.Duration))
	}
	if l.MaxRequests < 0 {
		problems = append(problems, fmt.Errorf("max requests: %d; want 0 (no limit) or more", l.MaxRequests))
	}
	return problems
}

// Result is what came back.
type Result struct {
	Latency latency.Histogram // of good answers alone
	Answers uint64            // good ones
	// Failures counts the others by reason.
	Failures map[string]uint64
	// FailureLatency is that of the others: a refusal that takes a minute is worse than one that takes a millisecond.
	FailureLatency latency.Histogram
	Elapsed        time.Duration // first request sent to last answer read
}

// Failed is the number of requests without a good answer.
func (r *Result) Failed() uint64 { return r.FailureLatency.Count() }

// PerSecond is the throughput of good answers.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Answers) / r.Elapsed.Seconds()
}

// Merge adds another run of the same load.
func (r *Result) Merge(other *Result) {
	r.Latency.Merge(&other.Latency)
	r.FailureLatency.Merge(&other.FailureLatency)
	r.Answers += other.Answers
	r.Elapsed += other.Elapsed
	if r.Failures == nil {
		r.Failures = map[string]uint64{}
	}
	for reason, n := range other.Failures {
		r.Failures[reason] += n
	}
}

// Asker is the adapter as a load sees it; *ask.Client is one.
type Asker interface {
	Paths([]ask.Target) []string
	AskPath(ctx context.Context, path string, wantItems int) (ask.Answer, error)
}

// Run puts the load on the adapter. It ends with the load's own bounds, or early with ctx's error.
func Run(ctx context.Context, asker Asker, load Load) (*Result, error) {
	if problems := load.Problems(); len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	// Shuffled once with a fixed seed: neighbours in the list (same namespace) are not neighbours in time, and two
	// adapters are asked in the same order.
	targets := append([]ask.Target(nil), load.Targets...)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	paths := asker.Paths(targets)

	start := time.Now()
	schedule := schedule{start: start, end: start.Add(load.Duration), rate: load.Rate, limit: uint64(load.MaxRequests)}
	parts := make([]Result, load.Clients)
	var clients sync.WaitGroup
	for i := range parts {
		part := &parts[i]
		part.Failures = map[string]uint64{}
		clients.Go(func() {
			for {
				n, from, ok := schedule.next(ctx)
				if !ok {
					return
				}
				at := n % uint64(len(targets))
				_, err := asker.AskPath(ctx, paths[at], targets[at].Items)
				took := time.Since(from)
				switch {
				case err == nil:
					part.Answers++
					part.Latency.Record(took)
				case ctx.Err() != nil:
					return
				default:
					part.Failures[err.Error()]++
					part.FailureLatency.Record(took)
				}
			}
		})
	}
	clients.Wait()
	total := &Result{}
	for i := range parts {
		total.Merge(&parts[i])
	}
	total.Elapsed = time.Since(start)
	return total, ctx.Err()
}

// schedule hands out the numbers of requests, and when each is due.
type schedule struct {
	start, end time.Time
	rate       float64
	limit      uint64
	handedOut  atomic.Uint64
}

// next waits until the next request is due. from is the instant from which its latency counts.
func (s *schedule) next(ctx context.Context) (n uint64, from time.Time, ok bool) {
	n = s.handedOut.Add(1) - 1
	if s.limit > 0 && n >= s.limit || ctx.Err() != nil {
		return 0, time.Time{}, false
	}
	now := time.Now()
	if s.rate <= 0 {
		return n, now, now.Before(s.end)
	}
	due := s.start.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
	if !due.Before(s.end) {
		return 0, time.Time{}, false
	}
	wait := due.Sub(now)
	if wait <= 0 {
		return n, due, true // late: no client was free
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		// The timer's own lateness is the load generator's, not the server's.
		return n, time.Now(), true
	case <-ctx.Done():
		return 0, time.Time{}, false
	}
}
