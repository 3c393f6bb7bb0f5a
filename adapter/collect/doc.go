// Package collect turns what is wanted into as few backend queries as possible, and their answers into store tables.
//
//	wanted keys ──► plan: units ──► value query + age query, side by side ──► readings per key ──► store
//	                 ▲
//	                 └── catalog (rules × series names found) and the labels those series carry
//
// A unit is one rule asked once: for all wanted namespaces together where the rule's query can be split by its result
// labels (all presets can), else for one key. So the number of queries follows the number of rules, not that of HPAs or
// pods. The same reading serves every HPA that asks for it.
//
// A unit that is still under way is not started again, and units do not wait for one another: a hung backend or a slow
// rule costs nobody else a round. A key that appears between rounds is collected at once (Kicked), and whoever asked for
// it waits for that, within bounds.
//
// The package stands between the pure core and the edges: it speaks to backends through Querier and to the cluster
// through Pods, and links neither Prometheus nor Kubernetes. It owns no ticker: the app calls Tick.
package collect
