// bench/load has four storeys:
//
//	latency, report, exporter   pure: histogram; figures beside budgets; a synthetic fleet as text
//	ask, drive, meter           edges: the HPA's requests; the load loop; /metrics and /proc of the servers around
//	scenario                    a control plane's worth of pods and HPAs, and every budget as a scenario
//	load (this), empty          the command, and the empty provider that it compares with
//
// Figures are never compared across runs: what is stated as a multiple of the empty provider is measured beside it, in turns.
package main
