// Command load measures adapters of the Kubernetes metrics APIs: "drive" puts a load on any adapter, "scenarios" measures
// Headroom on a real control plane beside its budgets. See doc.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		stop()
		os.Exit(1)
	}
}

const usage = `Usage: load COMMAND [flags]

  drive      put a load on any adapter, direct or through kube-apiserver, and print what came back and what it cost
  scenarios  start a control plane, Prometheus, Headroom and an empty provider, and print every figure beside its budget

"load COMMAND -h" lists the flags.`

func run(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "drive":
		return driveCommand(ctx, args[1:])
	case "scenarios":
		return scenariosCommand(ctx, args[1:])
	case "", "help", "-h", "--help":
		fmt.Println(usage)
		return nil
	}
	return fmt.Errorf("unknown command %q\n\n%s", command, usage)
}
