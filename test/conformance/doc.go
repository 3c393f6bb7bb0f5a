// Package conformance holds the served APIs to what prometheus-adapter's users know and to what we do better, over HTTP:
// the library's real API server in this process, a fake Prometheus that records what it is asked, and client-go's fakes for
// the cluster. What the PromQL itself means is tried in the module promql beside it, on Prometheus' own engine.
package conformance
