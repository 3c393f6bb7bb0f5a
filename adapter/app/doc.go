// Package app wires the adapter: "headroom serve" and "headroom check".
//
// serve is one straight line: options, clients, informers, collector, API server, loop. A configuration that is changed
// while it runs is read, checked and built whole before it replaces the old one in a single swap; a bad one changes
// nothing. Everything that was started is stopped in reverse order.
//
// Losing the backend is not losing the process: probes ask whether this process does its work, not whether Prometheus
// does. A readiness probe tied to a backend would turn the backend's outage into 503s for every metric there is.
package app
