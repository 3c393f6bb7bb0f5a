package collect

import (
	"context"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// Lookup finds the view that answers a want; nil when nothing is known. The usual case reads memory only. A want that is
// new is noted, collected at once and waited for, for at most answerWait and not at all while the backends are known to
// be failing: nobody's request hangs because Prometheus does.
func (c *Collector) Lookup(ctx context.Context, want Want) (*store.View, error) {
	table := c.tableOf(want)
	isNew, err := c.Wanted.Ask(want.Key, table, c.now())
	view := c.Store.View(table.Key)
	if view != nil && view.Answered() {
		return view, nil
	}
	if narrow := c.Store.View(want.Key); narrow != nil && narrow.Answered() {
		return narrow, nil // the rules have just changed, and how this metric is asked for is not decided yet
	}
	if err != nil {
		return nil, err
	}
	if isNew || view == nil {
		c.Kick()
		if !c.hopeless() {
			c.wait(ctx, table.Key)
		}
	}
	return c.Store.View(table.Key), nil
}

func (c *Collector) wait(ctx context.Context, key store.Key) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	select {
	case <-c.Store.Tried(key):
	case <-ctx.Done():
	}
}

// tableOf is the want whose table holds the answer: that of all objects of the namespace where every rule that gives the
// metric is asked for whole namespaces, else the want itself.
func (c *Collector) tableOf(want Want) Want {
	key := want.Key
	if key.Objects == "" || key.Kind == rules.External || key.Namespace == "" {
		return want
	}
	s := c.source.Load()
	if s == nil {
		return want
	}
	key.Objects = ""
	if s.discovery.askedWhole(key, c.Resources) {
		return Want{Key: key, Selector: want.Selector}
	}
	return want
}

// hopeless says that no backend answers in time: each has just timed out, or has finished nothing for longer than a
// request would wait.
func (c *Collector) hopeless() bool {
	s := c.source.Load()
	if s == nil {
		return true
	}
	now := c.now()
	for _, b := range s.backends {
		busy := b.busySince.Load()
		if !b.timedOut.Load() && (busy == 0 || now.UnixNano()-busy <= int64(answerWait)) {
			return false
		}
	}
	return true
}
