package prewarm

import "time"

// windowFloor is the calendar's Floor; a value of that type is assignable to it.
type windowFloor = struct {
	Replicas, MaxReplicas int
	Window                string
	OpensAt, ClosesAt     time.Time
}
