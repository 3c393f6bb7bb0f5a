package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	// A child dies with the thread that started it (Pdeathsig), so all are started from this one, which never ends first.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// repeated is a flag that may be given several times.
type repeated []string

func (r *repeated) String() string     { return strings.Join(*r, " ") }
func (r *repeated) Set(s string) error { *r = append(*r, s); return nil }

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: cluster build | up (each with --help)")
	}
	flags := flag.NewFlagSet("cluster "+args[0], flag.ContinueOnError)
	cache := flags.String("cache", "", "folder of the compiled binaries (default: in the user's cache folder)")
	switch args[0] {
	case "build":
		only := flags.String("only", "", "compile only these, such as prometheus,promtool")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		folder, err := build(ctx, *cache, *only, os.Stderr)
		if err == nil {
			fmt.Println(folder)
		}
		return err
	case "up":
		o := options{}
		flags.StringVar(&o.Dir, "dir", "", "folder for state, logs and credentials")
		flags.DurationVar(&o.SyncPeriod, "sync-period", 15*time.Second, "how often the HPA controller looks")
		flags.DurationVar(&o.DownscaleStabilization, "downscale-stabilization", 5*time.Minute, "the HPA controller's own")
		flags.BoolVar(&o.NoKwok, "no-kwok", false, "run no kwok: pods stay Pending unless somebody patches them")
		flags.Var((*repeated)(&o.ControllerManagerArgs), "kcm-arg", "one more argument for kube-controller-manager; may be repeated")
		flags.Var((*repeated)(&o.APIServerArgs), "apiserver-arg", "one more argument for kube-apiserver; may be repeated")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if o.Dir == "" {
			return fmt.Errorf("--dir is needed")
		}
		// Before anything is compiled: that takes minutes, and the parent may be gone, or told to stop, by then.
		ctx, cancel := whileOpen(ctx, os.Stdin)
		defer cancel()
		folder, err := build(ctx, *cache, "", os.Stderr)
		if err != nil {
			return err
		}
		o.Binaries = folder
		return serve(ctx, o)
	default:
		return fmt.Errorf("%q is neither build nor up", args[0])
	}
}

// whileOpen is a context that ends when the other end of a pipe is closed: the parent holds it, so it ends with the parent.
// Anything but a pipe never ends it.
func whileOpen(ctx context.Context, in *os.File) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if info, err := in.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		go func() {
			_, _ = io.Copy(io.Discard, in)
			cancel()
		}()
	}
	return ctx, cancel
}

// serve runs a control plane until it is told to stop.
func serve(ctx context.Context, o options) error {
	plane, err := up(ctx, o)
	defer plane.stop()
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(plane.Connection); err != nil {
		return err
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGUSR1)
	defer signal.Stop(again)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again: // what an upgrade of the control plane, or a node that dies, looks like from outside
			if err := plane.restart("kube-apiserver"); err != nil {
				return err
			}
		case dead := <-plane.died:
			if !dead.replaced {
				return fmt.Errorf("%s ended by itself:\n%s", dead.name, dead.tail())
			}
		}
	}
}
