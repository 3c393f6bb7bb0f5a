// Package hpa is the arithmetic of Kubernetes' HorizontalPodAutoscaler (1.37) as a pure function: what the controller does with
// given metrics, pods and behavior, one sync at a time. It exists because Headroom acts through an HPA that somebody else owns:
// whether a floor arrives is decided there, by rules that are easy to get wrong in one's head. Two things stand on it: Examine,
// which says what would swallow a floor, and the replay, which runs it for weeks.
//
// # One step
//
//	replicas outside minReplicas … maxReplicas: go there at once, ask no metric      (neither windows nor rates apply)
//	each metric → proposal or failure → the largest proposal                         (proposal.go)
//	all failed, or some failed and the rest would scale down → do nothing            (frozen)
//	windows: lowest recommendation of the window up, highest of the window down      (limits.go)
//	rates: policies against the changes of their periods; then minReplicas, maxReplicas
//
// The windows come before the bounds. So a recommendation never contains minReplicas, and a floor given by minReplicas falls in
// the very sync in which minReplicas is lowered: nothing here protects its pods.
//
// # Exactness
//
// The metrics are integers in thousandths and averages are rounded down, ratios are float64, and both ends of the tolerance count
// as within it: 22 of 20 replicas is 1.1 and is ignored by the default tolerance, 21 of 19 is not. Overflows and conversions are
// the controller's own. Where the controller keeps odd lists (an old recommendation is overwritten, not removed; an event that was
// once outdated stays so) this package keeps them too, since they show when the spec changes under a running HPA. The module
// test/cluster/hpa compares all of it with the controller's code on random states.
//
// # Two ways to give pods
//
// A list of pods and samples (Workload.List, Reading.Samples) is what a cluster has; sums (Tally) and counts are what a
// simulation has, and what the list is reduced to. Object and External metrics with AverageValue need no pods at all.
//
// # What is not here
//
// A write of the scale that fails, the queue and its delays, and the reading of metrics. The order of an HPA's syncs is the
// caller's: Step is told the time.
package hpa
