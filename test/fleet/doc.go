// Package fleet simulates the pods of an inference service and what is offered to them, as far as an autoscaler can see it.
//
// It is a fluid model: requests flow in at the offered rate, go to the Ready pods with the shortest queues, wait there, and flow
// out at what a pod can serve. A request that waits longer than the service allows is late, and one that waits longer than a
// client's patience is lost. Whatever was offered is served, waiting or lost, at every instant.
//
// The model is pure; Exporter shows it to Prometheus under the names that vLLM and dcgm-exporter use. Those two names are
// facts of their documentation; the numbers behind them are this model's.
package fleet
