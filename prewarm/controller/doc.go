// Package controller is the edge between Headroom objects and the pure package prewarm: it gathers what Decide takes, and gives
// what Decide says to the object's status, to the workload's autoscaler and to whoever asks for a metric.
//
//	Headroom ─┬─ target: scale subresource, pods ──► lead time (measured)  ─┐
//	          ├─ demand: the adapter's store ──────► engine (per object)  ─┼─► prewarm.Decide ─► status ─► served.go, every replica
//	          └─ calendar (compiled per generation) ───────────────────────┘          └────────► actuate.go, the leader alone
//
// # One leader, many servers
//
// Controller runs on the elected leader and ends with its lease; Run builds a new one from nothing, since a manager that has
// lost its lease cannot be started again. What serves (Served) is no part of it: it reads the objects on every replica, so that
// the loss of a leader costs no answer. Schedules are served from the replica's own clock and need no leader at all.
//
// # What survives
//
// A new leader knows the last floor from status.decision and lowers nothing until the history of demand is read back and one
// hold has passed (prewarm.Resume). Lead times are measured from pods, whose times the API server keeps; the sample so far is
// in status.leadTime.
//
// # Cost
//
// Decide runs every 15 s for each object from memory: the adapter's store, the pod and HPA informers of the process. Each
// object costs kube-apiserver one read of the scale subresource in five minutes and one write of the status a minute, more
// only when the floor, the kind of reason or a condition changes. Mode ScaledObject and a CapacityBuffer cost a read of theirs at
// each look besides, since Headroom watches neither.
//
// # Files
//
// controller.go: the manager and its lease. reconcile.go: one look at one object. inputs.go: target, pods, policy, calendar.
// status.go: conditions, events, when to write. effective.go: what would swallow the floor. actuate.go and its neighbours: the
// ways for a floor to reach the workload. engines.go: the forecasters. served.go: the metrics.
package controller
