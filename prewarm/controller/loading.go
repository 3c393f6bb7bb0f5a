package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
	"github.com/headroom-autoscaler/headroom/prewarm"
)

const (
	// pointsAtOnce is how much of a history one request asks for: four days. Prometheus refuses more than 11,000 points.
	pointsAtOnce = 4 * 24 * 60
	// pointsAtLeast is the shortest request that a backend which cannot answer is asked instead: half a day.
	pointsAtLeast = pointsAtOnce / 8
	// remainders bounds the small requests for what has passed while the large ones were under way.
	remainders = 3

	// idleAfter is how long engines are kept for a replica that decides no longer. It may be elected again.
	idleAfter = time.Hour

	firstRetry = 15 * time.Second
	lastRetry  = 10 * time.Minute
)

// learners is how many histories are learned from at once. It is all cores: nothing else is as urgent at a start, and the
// answers of the metrics APIs are given in between by the runtime's own scheduling.
func learners() int { return max(1, runtime.GOMAXPROCS(0)) }

// Run reads the histories of the objects in line, until the context ends.
func (e *Engines) Run(ctx context.Context) error {
	var work sync.WaitGroup
	for range e.Together {
		work.Go(func() {
			for s := e.next(ctx); s != nil; s = e.next(ctx) {
				e.load(ctx, s)
			}
		})
	}
	work.Wait()
	e.mu.Lock()
	abandoned := e.queue
	e.queue = nil
	e.mu.Unlock()
	for _, s := range abandoned { // for the next Run
		s.mu.Lock()
		s.loading = false
		s.mu.Unlock()
	}
	return nil
}

// next waits for a series in line; nil when the context ends.
func (e *Engines) next(ctx context.Context) *series {
	for {
		e.mu.Lock()
		for len(e.queue) > 0 && ctx.Err() == nil {
			s := e.queue[0]
			e.queue = e.queue[1:]
			if s.dropped.Load() {
				continue
			}
			if len(e.queue) > 0 {
				e.signal()
			}
			e.mu.Unlock()
			return s
		}
		e.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-time.After(idleAfter / 4):
			e.dropIdle()
		}
	}
}

// dropIdle forgets the objects that nobody looks at: another replica decides now.
func (e *Engines) dropIdle() {
	now := e.Now()
	for _, s := range e.all() {
		s.mu.Lock()
		idle := s.looked.Add(idleAfter).Before(now)
		s.mu.Unlock()
		if idle {
			e.Forget(keyOf(s.asks))
		}
	}
}

// load reads a history, learns from it, and hands the engine over. It never holds the lock while it waits.
func (e *Engines) load(ctx context.Context, s *series) {
	began := e.Now()
	from := binOf(began.Add(-s.identity.history))
	l := &loading{engines: e, series: s, chunk: pointsAtOnce, from: from, next: from}
	err := l.read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loading = false
	switch {
	case ctx.Err() != nil || s.dropped.Load():
	case err != nil:
		s.tries++
		s.failure = err
		s.retryAt = e.Now().Add(min(firstRetry<<min(s.tries-1, 10), lastRetry))
		e.Log.Warn("the history of demand could not be read", "headroom", keyOf(s.asks), "tries", s.tries, "error", err)
	default:
		l.finish()
		s.loaded, s.failure, s.tries, s.retryAt = true, nil, 0, time.Time{}
		e.Log.Debug("the history of demand is read", "headroom", keyOf(s.asks), "bins", s.known, "took", e.Now().Sub(began))
	}
}

// loading is one reading of a history, for a new engine. The old one, where there is one, goes on meanwhile.
type loading struct {
	engines *Engines
	series  *series
	chunk   int     // points asked for at once
	points  []Point // room for them

	engine *forecaster.Engine // nil until there are points
	known  int
	from   int64 // the first bin wanted
	next   int64 // the first bin that the engine has not been given
}

// read asks for the history up to the present, and learns from it.
func (l *loading) read(ctx context.Context) error {
	l.series.progress.store(0)
	upTo := binOf(l.engines.Now()) - 1
	points, err := l.fetch(ctx, l.from, upTo)
	if err != nil {
		return err
	}
	if err := l.learn(ctx, points, upTo); err != nil {
		return err
	}
	for range remainders {
		upTo = binOf(l.engines.Now()) - 1
		if l.series.remembers(l.next) || upTo < l.next {
			break
		}
		if points, err = l.fetch(ctx, l.next, upTo); err != nil {
			return fmt.Errorf("the last %d minutes: %w", upTo-l.next+1, err)
		}
		if err := l.learn(ctx, points, upTo); err != nil {
			return err
		}
	}
	l.series.progress.store(1)
	return nil
}

// remembers says that what was looked at since begins no later than a bin.
func (s *series) remembers(at int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.recent) > 0 && s.recent[0].at <= at
}

// fetch asks for the bins first to last, in as many requests as it takes. A request that fails is asked again in halves, for
// it may have been too much.
func (l *loading) fetch(ctx context.Context, first, last int64) ([]Point, error) {
	points := l.points[:0]
	for at := first; at <= last; {
		end := min(at+int64(l.chunk)-1, last)
		if err := l.engines.limiter.Wait(ctx); err != nil {
			return nil, err
		}
		got, err := l.engines.History.Past(ctx, l.series.asks, endOf(at), endOf(end), step)
		switch {
		case l.series.dropped.Load():
			return nil, errors.New("nobody wants it any more")
		case err != nil && ctx.Err() == nil && l.chunk > pointsAtLeast && end-at >= pointsAtLeast:
			l.chunk /= 2
			continue
		case err != nil:
			return nil, err
		}
		points = append(points, got[:min(len(got), int(end-at+1))]...)
		at = end + 1
		l.series.progress.store(0.9 * float64(at-l.from) / float64(max(last-l.from+1, 1)))
	}
	l.points = points
	return points, nil
}

// learn gives the points to the engine, with the bins that have none as missing.
func (l *loading) learn(ctx context.Context, points []Point, upTo int64) error {
	select {
	case l.engines.learn <- struct{}{}:
		defer func() { <-l.engines.learn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.engine == nil && len(points) > 0 {
		if len(points) < newToTheFleet {
			l.engines.learnPrior()
		}
		l.series.mu.Lock()
		engine, err := l.engines.newEngine(l.series)
		l.series.mu.Unlock()
		if err != nil {
			return err
		}
		l.engine = engine
	}
	for i, p := range points {
		at := binOf(p.At) - 1 // the bin that ends there
		if at < l.next || at > upTo {
			continue // not what was asked for
		}
		l.next = at + 1
		seen := observation(prewarm.Demand{Value: p.Value, Known: true, Saturated: p.Saturated})
		if l.engine.Observe(time.Unix(at*int64(step/time.Second), 0), seen) {
			l.known++
		}
		if i%1000 == 0 && (ctx.Err() != nil || l.series.dropped.Load()) {
			return context.Canceled
		}
	}
	l.next = upTo + 1
	return nil
}

// finish hands the engine over, with what was looked at meanwhile; the series' lock is held.
func (l *loading) finish() {
	s := l.series
	if l.engine == nil { // there is no history at all: begin with what was looked at
		engine, err := l.engines.newEngine(s)
		if err != nil {
			l.engines.Log.Error("no forecasts", "headroom", keyOf(s.asks), "error", err)
			return
		}
		l.engine = engine
	}
	s.engine, s.known = l.engine, l.known
	for _, b := range s.recent {
		if b.at >= l.next {
			s.feed(b)
		}
	}
}

// beginWithout makes an engine from what was looked at alone; s.mu is held.
func (e *Engines) beginWithout(s *series) {
	engine, err := e.newEngine(s)
	if err != nil {
		e.Log.Error("no forecasts", "headroom", keyOf(s.asks), "error", err)
		return
	}
	s.engine, s.known = engine, 0
	for _, b := range s.recent {
		s.feed(b)
	}
}

// newEngine is an engine for what is asked of the series; s.mu is held.
func (e *Engines) newEngine(s *series) (*forecaster.Engine, error) {
	o := forecaster.DefaultOptions()
	o.Step, o.Leads, o.Quantiles, o.Zone = step, s.asked.declare(), quantilesWith(s.quantile), s.zone
	o.Prior = e.prior.Load()
	return forecaster.New(o)
}

const (
	// newToTheFleet is the points below which an engine leans on what the others know: some hours.
	newToTheFleet = 1000
	// manyEnough is how many engines make a fleet, and enoughOfThem how many of them are asked.
	manyEnough, enoughOfThem = 8, 32
	// priorFresh is how long what they said is believed. It changes in days.
	priorFresh = time.Hour
)

// learnPrior asks the engines that have a history what the residuals of this fleet look like. It alone holds the locks of
// several series at once, and one goroutine at a time does so.
func (e *Engines) learnPrior() {
	e.asking.Lock()
	defer e.asking.Unlock()
	if now := e.Now(); now.Sub(e.asked).Abs() > priorFresh {
		e.asked = now
	} else {
		return
	}
	var engines []*forecaster.Engine
	for _, s := range e.all() {
		if len(engines) == enoughOfThem {
			break
		}
		s.mu.Lock()
		if s.engine == nil || s.known < newToTheFleet {
			s.mu.Unlock()
			continue
		}
		defer s.mu.Unlock()
		engines = append(engines, s.engine)
	}
	if len(engines) >= manyEnough {
		e.prior.Store(forecaster.PriorOf(engines...))
	}
}
