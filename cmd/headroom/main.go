// Command headroom is the one binary of Headroom's control side: "headroom serve" in the cluster, the other commands in
// a shell, also as "kubectl headroom" when it is found under the name kubectl-headroom.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // calendars name zones, and an image built from scratch has none

	"github.com/spf13/cobra"

	adapter "github.com/headroom-autoscaler/headroom/adapter/app"
	bench "github.com/headroom-autoscaler/headroom/bench/app"
	forecaster "github.com/headroom-autoscaler/headroom/forecaster/app"
	prewarm "github.com/headroom-autoscaler/headroom/prewarm/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root(filepath.Base(os.Args[0])).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		stop()
		os.Exit(1)
	}
}

func root(name string) *cobra.Command {
	if name == "kubectl-headroom" {
		name = "kubectl headroom"
	}
	cmd := &cobra.Command{
		Use:   "headroom",
		Short: "Keep GPU inference pods ready before the load arrives",
		Long: `Headroom is the metrics server that a HorizontalPodAutoscaler asks, and the foresight it lacks.

It serves custom.metrics.k8s.io and external.metrics.k8s.io from Prometheus, reading prometheus-adapter's
configuration unchanged; and for Headroom objects it keeps pods Ready ahead of the HPA: a buffer above what demand needs,
pre-warm windows, and a forecast of the maximum demand over the time that a pod takes to become Ready.`,
		Version:       version(),
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: name},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(adapter.NewServeCommand(), adapter.NewCheckCommand(), prewarm.NewExplainCommand(), prewarm.NewReleaseCommand(), forecaster.NewCommand(forecaster.Connect), bench.NewCommand())
	return cmd
}

// version is what the linker or the module's build information says.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
