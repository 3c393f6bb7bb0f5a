package nvml

import (
	"errors"
	"slices"
	"time"
)

// Options say how to read.
type Options struct {
	// Library is the file to load; "" for the driver's libnvidia-ml.so.1 by the system's search path.
	Library string
	// Interval is how often Sample is called.
	Interval time.Duration
	// TrustOldDrivers lets GPM run on MIG with drivers before 550.
	TrustOldDrivers bool
	// WithoutGPM are UUIDs of GPUs whose GPM is left alone: those that Restart named.
	WithoutGPM []string
	// Now is the clock; it must be monotonic as time.Now is.
	Now func() time.Time
}

// DefaultOptions are what an agent uses.
func DefaultOptions() Options {
	return Options{Interval: time.Second, Now: time.Now}
}

func (o Options) withoutGPM(gpu string) bool { return slices.Contains(o.WithoutGPM, gpu) }

// ErrNoSupport is Open's where the program was built without cgo, or not for linux.
var ErrNoSupport = errors.New("built without NVML: it needs linux and cgo")
