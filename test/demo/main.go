// Command demo offers the same traffic to two simulated GPU fleets, one scaled by an HPA alone and one by an HPA with Headroom,
// and shows them side by side: a real control plane, a real Prometheus, the adapter behind real APIServices. Only the pods, the
// GPUs and the traffic are simulated.
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

	"golang.org/x/term"
)

const usage = `Usage: demo [flags]

Starts a control plane (compiled on the first run), a Prometheus and Headroom, and offers the same step and the same ramp
of requests to two simulated fleets: one has an HPA alone, the other an HPA with Headroom. Shows both side by side, and how
many requests were late in each. Everything is on loopback; nothing needs root.

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
	flags.BoolVar(&o.Plain, "plain", !term.IsTerminal(int(os.Stdout.Fd())), "print lines instead of redrawing")
	flags.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flags.PrintDefaults()
	}
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	if err := o.validate(flags.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n\n", err)
		flags.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop() // a second Ctrl-C ends the demo at once; what it started then ends by itself
		fmt.Println("\nStopping …")
	})
	err := run(ctx, o)
	switch {
	case ctx.Err() != nil: // whatever went wrong then, went wrong because of it
		fmt.Println("Stopped; everything that was started is gone.")
	case err != nil:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

// shortest is the least time in which the fleet can still be seen to grow: a pod alone takes 45 s.
const shortest = 2 * time.Minute

func (o options) validate(rest []string) error {
	var problems []error
	if o.Duration < shortest {
		problems = append(problems, fmt.Errorf("--duration %s: at least %s, or no new pod is Ready before the end", o.Duration, shortest))
	}
	if len(rest) > 0 {
		problems = append(problems, fmt.Errorf("%q: the demo takes flags only", rest))
	}
	return errors.Join(problems...)
}
