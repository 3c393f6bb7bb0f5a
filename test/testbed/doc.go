// Package testbed gives tests, benchmarks and the demo a real cluster to work with: the control plane of test/cluster,
// real Prometheus and VictoriaMetrics servers, any number of "headroom serve" processes behind real APIServices, and the
// objects that they need.
//
//	bed, err := testbed.Start(ctx, testbed.Options{SyncPeriod: 2 * time.Second})
//	defer bed.Close()
//	exporter := testbed.NewExporter()
//	prometheus, err := bed.StartPrometheus(testbed.PrometheusOptions{Targets: []string{exporter.Address()}})
//	adapter, err := bed.StartAdapter(testbed.AdapterOptions{Rules: rules, PrometheusURL: prometheus.URL})
//	err = bed.RegisterAPIServices(ctx, adapter.Port)
//
// Everything listens on loopback at free ports, and nothing needs root. Close stops all that the bed started; so does the
// end of the process, however it ends.
package testbed
