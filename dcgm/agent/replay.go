package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/nvml"
)

// replay reads a recording in place of the driver, over and over, as if it happened now.
func (a *Agent) replay(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := a.replayOnce(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("--replay: %s: %w", a.opts.Replay, err)
		case n == 0:
			return fmt.Errorf("--replay: %s: no frames", a.opts.Replay)
		}
	}
	return nil
}

func (a *Agent) replayOnce(ctx context.Context) (frames int, err error) {
	file, err := os.Open(a.opts.Replay)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	recording, err := dcgm.NewCaptureReader(file)
	if err != nil {
		return 0, err
	}
	var inventory *dcgm.Inventory
	every(ctx, a.opts.Interval, func() bool {
		var f dcgm.Frame
		if f, err = recording.Next(); err != nil {
			return false
		}
		frames++
		if f.Inventory == nil {
			f.Inventory = inventory
		}
		inventory = f.Inventory
		a.tick(shifted(f, time.Now()), nvml.Counts{})
		return true
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return frames, err
}

// shifted is a frame as if it were taken now. Each reading keeps its age.
func shifted(f dcgm.Frame, now time.Time) dcgm.Frame {
	readings := make([]dcgm.Reading, len(f.Readings))
	for i, r := range f.Readings {
		r.At = now.Add(-max(0, f.At.Sub(r.At)))
		readings[i] = r
	}
	f.At, f.Readings = now, readings
	return f
}
