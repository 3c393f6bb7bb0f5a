package app

import (
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// gcPercent is how much the heap may grow between collections. A round over 5,000 pods leaves tens of megabytes of garbage
// every five seconds, and with Go's own 100 the process keeps twice what it uses. bench/load shows what it costs.
const gcPercent = 50

// NewServeCommand is "headroom serve".
func NewServeCommand() *cobra.Command {
	o := DefaultOptions()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the custom and external metrics APIs",
		Long: `Serve custom.metrics.k8s.io and external.metrics.k8s.io.

Metrics that HPAs name, or that somebody asks for, are collected in the background; answers come from memory.
The rules file is watched: a good change takes effect without a restart, a bad one is refused and reported.`,
		Example: `  # in a cluster, with the presets for vLLM and for Kafka
  echo 'presets: [vllm, kafka-exporter]' > rules.yaml
  headroom serve --config rules.yaml --prometheus-url http://prometheus.monitoring:9090

  # with prometheus-adapter's own configuration file, custom metrics alone (KEDA keeps the external ones)
  headroom serve --config config.yaml --prometheus-url http://prometheus.monitoring:9090 --serve custom

  # outside a cluster
  headroom serve --config rules.yaml --prometheus-url http://localhost:9090 --kubeconfig ~/.kube/config`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			adapter, err := New(cmd.Context(), o)
			if err != nil {
				return err
			}
			return adapter.Run(cmd.Context())
		},
	}
	o.AddFlags(cmd.Flags())
	return cmd
}
