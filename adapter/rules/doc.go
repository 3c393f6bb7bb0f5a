// Package rules is the rule language. It reads a prometheus-adapter
// configuration unchanged, adds backends and presets to it, and turns "which
// value does this object have" into PromQL. It is pure: it asks no cluster and
// no Prometheus, reads no clock and no file, and returns reasons instead of
// logging them.
//
//	file ──► Parse ──► Config{Rules, Backends, Warnings}      every problem at once, with its line
//	                      │
//	  series names ──► Catalog ──► Candidates(metric)         rules that may give it, best first
//	                                   │
//	  objects, selector ──────────► Rule.Build ──► Query{Value, Age, …}
//
// # One query for many
//
// An HPA asks for the pods of one Deployment. Asking Prometheus as often would
// cost a query for each HPA and round, so a rule says of itself whether one
// query stands for all: Batches (several namespaces, no names) and
// FiltersInMemory (external, no selector). The answer is a proof on the shape of
// the query (batch.go), made by a small reader of PromQL (lexer.go, reader.go,
// operand.go) that has no other duty than this and the ages. It is conservative:
// what it does not know does not batch, and is asked one question at a time, as
// prometheus-adapter would. Build proves it again for the query in hand. A test
// compares batched and single answers by an evaluator that knows nothing of the
// proof.
//
// # Ages
//
// The time in Prometheus's answer is the evaluation's, and rate(x[5m]) goes on
// for minutes after x has died. So every query comes with one for the time of
// the newest raw sample behind each value (age.go), written from the same
// selectors. Where samples cannot be named (absent, an unknown function), the
// rule falls back to `age: evaluation` with a warning: refusing would break files
// that work today. `age: sample` refuses.
//
// # Several rules, one metric
//
// vllm and sglang both give requests_waiting, and a cluster may run both. No
// rule hides another: Candidates gives all, and each object takes the first that
// has a valid value for it. Adding them up was rejected, for a pod that two rules
// see would count twice; so was renaming, for an HPA should not care which
// server it scales. The order is: later in the file, earlier in the file, later
// preset, earlier preset.
//
// # Presets
//
// A preset is a file in the same language (presets/*.yaml) with one thing more:
// a rule without seriesQuery, whose name.as is a plain name and whose overrides
// name the labels, is always on offer and needs no discovery. All presets batch.
//
// # Scope of a resource
//
// Whether a resource has namespaces, and whether it exists, is asked each time
// (Resources): a label for a CRD that is installed later works when it is there.
// The one resource that is known without asking is namespaces.
package rules
