// Package promql tries what adapter/rules writes on Prometheus' own engine: every preset on text with its exporter's names,
// and batched queries against the same questions asked one by one.
package promql
