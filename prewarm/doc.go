// Package prewarm decides how many replicas a GPU inference service should have ready: pre-warm windows, the measured lead time,
// and one decision with its reason. It is pure: it asks no clock, opens nothing, and every result is a value.
//
// # The decision
//
// Decide takes what is known at a moment and gives a Decision and the State for the next call:
//
//	raw   = max( ⌈demand now / perReplica⌉ + buffer.replicas            N+2
//	             ⌈Qτ(max demand over the lead time) / perReplica⌉ + buffer.onForecast
//	             the calendar over now … now + lead time )               Ready at a window's start
//	Floor = clamp( max of raw over the last scaleDownHold, limits.minReplicas, limits.maxReplicas )
//
// The status, the metric, the minimum of the HPA, events, explain and the replay all show this one value.
//
// Quotients are rounded up with a relative tolerance of 1e-9, so that sums of floating-point rates that should be a whole
// number of replicas are one.
//
// # Rises at once, falls late
//
// The hold (hold.go) is the only thing that protects pods when the floor is an HPA's minimum: the HPA's own stabilisation
// records recommendations before it applies the minimum. So a decision counts for the whole hold after it was made, and what is
// not known lowers nothing:
//
//   - While demand is unknown, Decision is not Valid; FloorAtLeast may raise for a window. What stood counts as decided
//     anew at each such call, so a whole hold of known demand must follow before anything falls.
//   - A silence of more than StaleAfter between two calls, or a clock that was set back, is treated the same.
//   - A new leader starts from the floor in the status (Resume) and lowers nothing until the history is loaded and a hold has
//     passed since it began.
//   - A window's maxReplicas is applied before the hold. Only the object's limits act at once: whoever changes them means it.
//
// # The calendar
//
// FloorAt gives what the windows ask for over now … now + lead time. Its rules are told at the type Calendar.
//
// # What may not feed itself
//
// Nothing is computed from a live minimum. A live number of replicas appears twice: while the ready replicas are saturated,
// demand is a lower bound, and the reactive term is at least ready × maxGrowth until the load is carried; and
// stopWhenUnschedulable caps a rise at the pods that there are. The first ends by itself (Policy.Saturates says when), the
// second cannot raise. The growth may overshoot: while pods are on their way the ready ones stay saturated, and as they become
// Ready a multiple of them is more than demand needs. It is limited by limits.maxReplicas and falls a hold later.
//
// # Demand
//
// SumDemand adds up the samples of the Ready pods. A few that are missing are filled with the mean of the rest, aloud; more make
// demand unknown. A NaN, an infinite or a negative value is a missing one, here and in Decide.
//
// # Lead time
//
// A Tracker looks at the target's pods every round and measures batches: the pods of one raise, told apart by their
// creation, from the first created to the last Ready. (When each of twelve pods is Ready within its P90, all twelve are only
// 28 % of the time.) The first Ready is recorded when it is seen, since the condition's own time moves when a pod loses
// Ready. Batches under way, and those scaled down before they were whole, are right-censored observations of a
// Kaplan-Meier estimate (survival.go), so that the estimate is not low in a time of trouble, when only the fast ones have
// finished; where too many are unfinished it says "at least". Pods that fail, or are not Ready after GiveUp, are counted apart.
//
// There are two estimates beside the one that counts: on nodes that were there, and with a node that had to be made. The
// one that counts is over both, unless spare nodes are kept. To it come how old demand is, the HPA's period, and the time its
// scaleUp policies take: the batch's measure begins where these end, at the creation of its first pod.
//
// The batches are told apart again from the pods that exist, so a new leader continues batches that are under way; finished
// ones it reads from the status (Persist, Restore).
//
// # How it is tested
//
// The files under testdata are whole days played through Decide with a simulated workload, readable from top to bottom. The
// hold, the estimate and the calendar each have a slow definition beside them in the tests; FuzzDecide checks on
// random stories that nothing unknown lowers, that more demand never asks for less, that a forecast only adds and that the floor
// comes to rest.
package prewarm
