// Package store keeps the last good value of every wanted metric and object, with its age, and says why there is none
// when there is none.
//
// Three decisions shape it:
//
//   - Age is that of the newest raw sample behind a value, not of the query that computed it: rate() goes on answering for
//     minutes after its target died. A value older than its rule's maxStaleness is absent.
//   - A value is finite and not negative, or it is absent with a reason. Nothing here returns 0 for "don't know": the HPA
//     would scale to its minimum on it.
//   - What a round did not bring is kept until it is stale. A pod whose scrape timed out once keeps its last value, since
//     the HPA counts a pod that is missing from an answer as zero when it scales up.
//
// A Pods or Object metric is kept per object, and each object ages alone. An External metric is one answer of one or more
// rows which the HPA sums: a sum with an unknown part is unknown, so one bad row makes the whole absent once its last good
// value is stale, and rows that left the answer leave at once.
//
// Tables are immutable and swapped whole, so readers never lock and never see half a round. Whether the last attempt
// worked is kept beside the table, not in it: a failing backend must not touch data that is still good.
//
// The package takes the present time as a parameter everywhere and starts no goroutine.
package store
