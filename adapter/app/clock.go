//go:build !headroomclock

package app

import "github.com/spf13/pflag"

// addClockFlags adds nothing: in a program that people run, decisions go by the wall clock. Tests are built with the tag
// headroomclock.
func addClockFlags(*pflag.FlagSet, *HeadroomOptions) {}
