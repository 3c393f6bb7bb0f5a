// Command demo shows a real HPA scale a simulated GPU fleet through Headroom: a real control plane, a real Prometheus, the
// adapter behind real APIServices. Only the pods, the GPUs and the traffic are simulated.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `Usage: demo [flags]

Starts a control plane (compiled on the first run), a Prometheus, Headroom and an HPA, offers a step and a ramp of
requests to a simulated fleet, and shows what the HPA makes of it. Everything is on loopback; nothing needs root.

Examples:
  make demo                                  five minutes, live
  make demo DEMO_FLAGS=--keep                leave it running afterwards, and look around with kubectl
  make demo DEMO_FLAGS="--duration 3m"       the same traffic in less time
  make demo DEMO_FLAGS=--plain               a line every five seconds instead of a picture

Flags:
`

func main() {
	o := options{}
	flags := flag.NewFlagSet("demo", flag.ExitOnError)
	flags.DurationVar(&o.Duration, "duration", 5*time.Minute, "length of the traffic")
	flags.BoolVar(&o.Keep, "keep", false, "leave everything running at the end, until Ctrl-C")
	flags.BoolVar(&o.Plain, "plain", !isTerminal(os.Stdout), "print lines instead of redrawing")
	flags.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flags.PrintDefaults()
	}
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, o)
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Println("\nStopped; everything that was started is gone.")
	case err != nil:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		stop()
		os.Exit(1)
	}
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
