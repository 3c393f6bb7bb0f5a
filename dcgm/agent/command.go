package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// NewCommand is headroom-agent: by itself the agent, with capture and top beside it.
func NewCommand() *cobra.Command {
	o := DefaultOptions()
	cmd := &cobra.Command{
		Use:   "headroom-agent",
		Short: "Read every GPU and MIG device of this node once a second, and say which pod each is",
		Long: `headroom-agent reads SM, memory and tensor activity of every GPU and MIG device once a second, each as a ratio of that
device, and says which pods hold them: to Prometheus at /metrics, and to Headroom's adapters over a stream.

Its own metrics begin with gpu_slice_, gpu_pod_ and headroom_agent_.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return restarting(run(cmd.Context(), o)) },
	}
	o.AddFlags(cmd.Flags())
	cmd.AddCommand(newCaptureCommand(), newTopCommand())
	return cmd
}

func run(ctx context.Context, o *Options) error {
	a, err := New(o)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// restarting becomes a new process where one is asked for. Only a new one can load the driver's library afresh, and the container's next start
// would not know which GPUs to leave alone.
func restarting(err error) error {
	restart, is := errors.AsType[*RestartError](err)
	if !is {
		return err
	}
	self, cannot := os.Executable()
	if cannot != nil {
		return errors.Join(err, cannot)
	}
	args := append(slices.Clip(os.Args), "--without-gpm="+strings.Join(restart.WithoutGPM, ","))
	return errors.Join(err, syscall.Exec(self, args, os.Environ()))
}

func newCaptureCommand() *cobra.Command {
	o, out, d, comment := DefaultOptions(), "", time.Minute, ""
	o.LogLevel = "warn"
	cmd := &cobra.Command{
		Use:   "capture --out FILE",
		Short: "Record what the driver shows, for --replay elsewhere",
		Long:  "capture records what the driver shows, a frame an interval, as JSON lines. UUIDs are masked; pods are not in it.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" || d < o.Interval {
				return fmt.Errorf("--out: a file is needed; --duration: %s: want at least the interval, %s", d, o.Interval)
			}
			o.Pods.Socket = "" // not recorded
			a, err := New(o)
			if err != nil {
				return err
			}
			frames, err := a.capture(cmd.Context(), out, d, comment)
			if err != nil {
				return fmt.Errorf("capture: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d frames in %s\n", frames, out)
			return err
		},
	}
	o.addSourceFlags(cmd.Flags())
	o.addLogFlags(cmd.Flags())
	cmd.Flags().StringVar(&out, "out", out, "file to write")
	cmd.Flags().DurationVar(&d, "duration", d, "how long to record; an interrupt ends it earlier")
	cmd.Flags().StringVar(&comment, "comment", comment, "what ran meanwhile, for those who replay it")
	return cmd
}

func newTopCommand() *cobra.Command {
	o, once := DefaultOptions(), false
	o.LogLevel = "error"
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show every GPU and MIG device with its pods in the terminal",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := New(o)
			if err != nil {
				return err
			}
			return a.top(cmd.Context(), cmd.OutOrStdout(), once)
		},
	}
	o.addSourceFlags(cmd.Flags())
	o.addLogFlags(cmd.Flags())
	cmd.Flags().BoolVar(&once, "once", once, "print one table and end")
	return cmd
}

var errEnough = errors.New("enough")

// warmUp is how many views go by before the one of --once: a ratio needs two samples, and the kubelet a moment.
const warmUp = 3

func (a *Agent) top(ctx context.Context, to io.Writer, once bool) error {
	file, isFile := to.(*os.File)
	terminal := isFile && term.IsTerminal(int(file.Fd()))
	seen := 0
	err := a.watch(ctx, 0, func(v *View) error {
		if seen++; once && v.Inventory != nil && seen < warmUp {
			return nil
		}
		var page bytes.Buffer
		if terminal && !once {
			page.WriteString("\x1b[H\x1b[2J") // home, and clear
		}
		if err := table(&page, v, time.Now()); err != nil {
			return err
		}
		if _, err := to.Write(page.Bytes()); err != nil {
			return err
		}
		if once {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
