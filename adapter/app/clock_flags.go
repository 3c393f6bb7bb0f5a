//go:build headroomclock

package app

import (
	"time"

	"github.com/spf13/pflag"
)

// addClockFlags lets a test live through a day in minutes. The base is a flag too, so that several replicas show the same time.
func addClockFlags(fs *pflag.FlagSet, o *HeadroomOptions) {
	fs.Float64Var(&o.clock.Rate, "clock-rate", o.clock.Rate, "how much faster than the wall clock decisions live; 0 for as fast")
	fs.Func("clock-base", "moment (RFC 3339) at which both clocks show the same", func(text string) (err error) {
		o.clock.Base, err = time.Parse(time.RFC3339, text)
		return err
	})
}
