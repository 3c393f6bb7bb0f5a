// Package prometheus is the edge to everything that answers the Prometheus HTTP API: Prometheus itself, Thanos, Mimir, VictoriaMetrics.
//
// A Client stands for one backend of the configuration. It knows how to ask (credentials that are read again when their
// files change, GET or POST by length, several URLs tried in order, the deadline passed on to the server) and how to read
// an answer without trusting it: an answer is bounded in size, and a partial one is refused, because a sum over half the
// series is a number that looks right and is not.
//
// What it does not know is what the numbers mean. Age, validity and last good values belong to adapter/store.
package prometheus
