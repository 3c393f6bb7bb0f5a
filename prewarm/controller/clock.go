package controller

import "time"

// Clock is the clock by which decisions are made. The zero Clock is the wall clock. A faster one lets a test live through a day
// in minutes: calendars, holds, lead times and forecasts go by it, and everything that the cluster does is seen in its time.
type Clock struct {
	Base time.Time // where both clocks showed the same
	Rate float64   // how much faster it runs; 0 is 1
}

// Now is the present, as the wall clock shows it. Without Go's monotonic reading: decisions compare it with times that other
// replicas wrote, and a clock that is set must be seen to have been set.
func (c Clock) Now() time.Time { return c.At(time.Now().Round(0)) }

// At is the clock's time at a wall time.
func (c Clock) At(wall time.Time) time.Time {
	if c.Rate == 0 || wall.IsZero() {
		return wall
	}
	return c.Base.Add(c.Span(wall.Sub(c.Base)))
}

// Span is how much time passes by the clock in a span of wall time.
func (c Clock) Span(wall time.Duration) time.Duration {
	if c.Rate == 0 {
		return wall
	}
	return time.Duration(float64(wall) * c.Rate)
}

// Wall is how much wall time a span of the clock takes.
func (c Clock) Wall(span time.Duration) time.Duration {
	if c.Rate == 0 {
		return span
	}
	return time.Duration(float64(span) / c.Rate)
}
