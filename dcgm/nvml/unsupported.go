//go:build !linux || !cgo

package nvml

import (
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Library cannot be had in this build.
type Library struct{}

// Open says so.
func Open(Options) (*Library, error) { return nil, ErrNoSupport }

func (*Library) Close() error                            { return ErrNoSupport }
func (*Library) Inventory() (*dcgm.Inventory, error)     { return nil, ErrNoSupport }
func (*Library) Sample() ([]dcgm.Reading, error)         { return nil, ErrNoSupport }
func (*Library) Processes() ([]dcgm.Process, error)      { return nil, ErrNoSupport }
func (*Library) Listen() error                           { return ErrNoSupport }
func (*Library) Next(time.Duration) (Event, bool, error) { return Event{}, false, ErrNoSupport }
func (*Library) Verdict(time.Time) Verdict               { return Verdict{} }
func (*Library) Counts() Counts                          { return Counts{} }
