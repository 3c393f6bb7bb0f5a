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

// place is where a wanted value goes.
type place struct {
	metric    int
	namespace string
}

// reported is what one pod has, and who says so.
type reported struct {
	node    string
	quality dcgm.Quality
	reading store.Reading
	dispute bool
}

// Deliver puts what the agents said last into the store, for what is wanted. Run calls it.
func (c *Client) Deliver(now time.Time) {
	began := c.opts.Now()
	wanted := c.places()
	pictures := c.pictures()
	longest := time.Duration(0)
	for _, p := range pictures {
		longest = max(longest, p.interval)
	}
	count := newTally()
	all := map[place]map[string]reported{}
	for _, p := range pictures {
		count.incomplete += p.missing
		for _, v := range p.values {
			at := place{v.metric, v.pod.namespace}
			if _, is := wanted[at]; is {
				c.report(all, at, p, v, longest, now, count)
			}
		}
	}
	terms := store.Terms{Window: longest, MaxStaleness: dcgm.StaleIntervals * longest}
	for at, pods := range all {
		byQuality := map[dcgm.Quality]map[string]store.Reading{}
		for name, r := range pods {
			if r.dispute {
				count.disputed++
				continue
			}
			if byQuality[r.quality] == nil {
				byQuality[r.quality] = make(map[string]store.Reading, len(pods))
			}
			byQuality[r.quality][name] = r.reading
			count.values[r.quality]++
		}
		for quality, readings := range byQuality {
			c.opts.Store.Record(wanted[at], sources[quality], readings, terms, now)
		}
	}
	c.own.delivered(count, c.opts.Now().Sub(began))
}

// report notes a value unless it is too old, or of a pod that the node has no say in.
func (c *Client) report(all map[place]map[string]reported, at place, p *picture, v value, longest time.Duration, now time.Time, count *tally) {
	fresh := p.zero.Add(v.measured)
	age := max(0, now.Sub(fresh))
	switch {
	case age > dcgm.StaleIntervals*p.interval:
		count.stale++
		return
	case c.opts.Bound != nil && !c.opts.Bound(p.node, v.pod.namespace, v.pod.name):
		count.foreign++
		return
	}
	if all[at] == nil {
		all[at] = map[string]reported{}
	}
	if other, twice := all[at][v.pod.name]; twice && other.node != p.node {
		other.dispute = true
		all[at][v.pod.name] = other
		return
	}
	// A table has one limit of age: the longest interval's. An agent that is quicker is held to its own by looking older.
	age += dcgm.StaleIntervals * (longest - p.interval)
	all[at][v.pod.name] = reported{node: p.node, quality: v.quality, reading: store.NewReading(v.number, v.at, age, now)}
}

// places are the tables to fill: those of whole namespaces, which is where metrics live that are not asked for pod by pod.
func (c *Client) places() map[place]store.Key {
	wanted := map[place]store.Key{}
	for _, want := range c.opts.Wanted() {
		key := want.Key
		if key.Kind != rules.Custom || key.Resource != podResource || key.Selector != "" || key.Namespace == "" {
			continue
		}
		for i, m := range metrics {
			if m.name == key.Metric {
				key.Objects = ""
				wanted[place{i, key.Namespace}] = key
			}
		}
	}
	return wanted
}
