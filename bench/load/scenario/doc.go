// Package scenario measures one adapter on a real control plane and a real Prometheus, and puts every figure beside its
// budget.
//
// The adapter and the empty provider (bench/load/empty: the same library, constant answers) run at the same time and are
// loaded in turns, so that figures which are stated as a ratio come from the same machine in the same minutes. Requests go
// over all HPAs' selectors: one repeated URL would only measure a cache. Direct requests carry the aggregator's client
// certificate and the HPA controller's identity, as they do when kube-apiserver forwards them.
//
// CPU times are those of the processes in /proc; queries and LISTs are the servers' own counters. Idle use is measured
// before each load and subtracted, and what the rest of the machine took meanwhile is printed beside it.
package scenario
