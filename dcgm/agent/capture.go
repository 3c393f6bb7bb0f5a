package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// capture writes what the driver shows for a while. The file is there whole or, after an error, not at all.
func (a *Agent) capture(ctx context.Context, path string, d time.Duration, comment string) (frames int, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".capture-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	defer file.Close()
	w, err := dcgm.NewCaptureWriter(file, dcgm.Header{Started: time.Now().UTC().Truncate(time.Second), Interval: a.opts.Interval, Comment: comment})
	if err != nil {
		return 0, err
	}
	var inventory *dcgm.Inventory
	err = a.watch(ctx, d, func(v *View) error {
		f := v.Frame
		if f.Inventory == nil || len(f.Readings) == 0 {
			return nil
		}
		if f.Inventory == inventory {
			f.Inventory = nil
		} else {
			inventory = f.Inventory
		}
		frames++
		return w.Write(f)
	})
	if err != nil {
		return frames, err
	}
	if frames == 0 {
		return 0, errors.New("nothing was read: is there a driver?")
	}
	if err := file.Chmod(0o644); err != nil {
		return frames, err
	}
	if err := file.Close(); err != nil {
		return frames, err
	}
	return frames, os.Rename(file.Name(), path)
}

// watch works without servers for so long, 0 for until the context ends, and shows each view.
func (a *Agent) watch(ctx context.Context, d time.Duration, show func(*View) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var timeout <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	worked := make(chan error, 1)
	go func() { worked <- a.work(ctx) }()
	for {
		view, next := a.hub.newest()
		if view != nil {
			if err := show(view); err != nil {
				cancel()
				return errors.Join(err, <-worked)
			}
		}
		select {
		case <-next:
		case <-timeout:
			cancel()
			return <-worked
		case err := <-worked:
			if err == nil && ctx.Err() == nil {
				err = fmt.Errorf("reading ended")
			}
			return err
		}
	}
}
