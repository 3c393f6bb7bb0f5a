package nodeagent

import (
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/dcgm"
)

// sources are where each quality stands in the store. Rules have ranks from 0 up, some hundred at most.
var sources = map[dcgm.Quality]store.Source{
	dcgm.Exact:     {Name: "node agent, exact", Rank: -3},
	dcgm.Corrected: {Name: "node agent, corrected", Rank: -2},
	dcgm.Aggregate: {Name: "node agent, aggregate", Rank: -1},
	dcgm.Duty:      {Name: "node agent, duty", Rank: 1 << 20},
}

var podResource = rules.Resource{Name: "pods"}

// table is one that a delivery fills: a metric of a namespace's pods.
type table struct {
	key      store.Key
	byPod    map[dcgm.Quality]map[string]store.Reading
	disputed map[string]bool // pods for which two nodes speak
}

// wantedTables are the tables to fill, by metric and namespace: those of whole namespaces, which is where metrics live that are not asked for
// pod by pod.
type wantedTables []map[string]*table

func (c *Client) tables() wantedTables {
	wanted := make(wantedTables, len(metrics))
	for _, want := range c.opts.Wanted() {
		key := want.Key
		if key.Kind != rules.Custom || key.Resource != podResource || key.Selector != "" || key.Namespace == "" {
			continue
		}
		for i, m := range metrics {
			if m.name != key.Metric {
				continue
			}
			if wanted[i] == nil {
				wanted[i] = map[string]*table{}
			}
			key.Objects = ""
			wanted[i][key.Namespace] = &table{key: key, byPod: map[dcgm.Quality]map[string]store.Reading{}}
		}
	}
	return wanted
}

// Deliver puts what the agents said last into the store, for what is wanted. Run calls it.
func (c *Client) Deliver(now time.Time) {
	began := c.opts.Now()
	wanted, readers, count := c.tables(), c.readers(), newTally()
	longest := time.Duration(0)
	for _, r := range readers {
		longest = max(longest, r.decoder.Interval)
	}
	for _, r := range readers {
		c.collect(r, wanted, longest, now, count)
	}
	terms := store.Terms{Window: longest, MaxStaleness: dcgm.StaleIntervals * longest}
	for _, namespaces := range wanted {
		for _, t := range namespaces {
			count.disputed += len(t.disputed)
			for quality, readings := range t.byPod {
				count.values[quality] += len(readings)
				if len(readings) > 0 {
					c.opts.Store.Record(t.key, sources[quality], readings, terms, now)
				}
			}
		}
	}
	c.own.delivered(count, c.opts.Now().Sub(began))
}

// collect evaluates what is wanted of one agent. What is too old, or of a pod that the node has no say in, is left out.
func (c *Client) collect(r *reader, wanted wantedTables, longest time.Duration, now time.Time, count *tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	node, interval := r.decoder.Node, r.decoder.Interval
	count.incomplete += r.missing
	for i := range r.made {
		f := &r.made[i]
		t := wanted[f.metric][f.pod.namespace]
		if t == nil {
			continue
		}
		v, is := f.evaluate()
		age := max(0, now.Sub(r.zero.Add(v.measured)))
		switch {
		case !is:
		case age > dcgm.StaleIntervals*interval:
			count.stale++
		case c.opts.Bound != nil && !c.opts.Bound(node, f.pod.namespace, f.pod.name):
			count.foreign++
		default:
			// A table has one limit of age: the longest interval's. An agent that is quicker is held to its own by looking older.
			age += dcgm.StaleIntervals * (longest - interval)
			t.put(f.pod.name, v.quality, store.NewReading(v.number, v.at, age, now))
		}
	}
}

// put adds a pod's reading, which each node gives once. A second one is another node's: then neither counts.
func (t *table) put(pod string, quality dcgm.Quality, reading store.Reading) {
	if t.disputed[pod] {
		return
	}
	for _, readings := range t.byPod {
		if _, twice := readings[pod]; twice {
			delete(readings, pod)
			if t.disputed == nil {
				t.disputed = map[string]bool{}
			}
			t.disputed[pod] = true
			return
		}
	}
	if t.byPod[quality] == nil {
		t.byPod[quality] = map[string]store.Reading{}
	}
	t.byPod[quality][pod] = reading
}
