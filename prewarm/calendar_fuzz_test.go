package prewarm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/headroom-autoscaler/headroom/prewarm"
)

// FuzzNewCalendar: whatever is accepted opens, when its expression says or as a clock jumps, never on an exception, and the floor
// is whole a lead time before. Whatever is refused says where and why.
func FuzzNewCalendar(f *testing.F) {
	f.Add("Asia/Ho_Chi_Minh", "30 8 * * 1-5", "2026-12-25", int64(34200), int64(600), 12, 0, int64(1796000000), int64(240))
	f.Add("Europe/Berlin", "30 2 * * *", "2026-03-29", int64(3600), int64(0), 1, 4, int64(1774700000), int64(0))
	f.Add("Pacific/Apia", "*/15 * 30 * *", "2011-12-30", int64(60), int64(86400), 3, 3, int64(1325200000), int64(3600))
	f.Add("Australia/Lord_Howe", "0 0 29 2 ?", "", int64(31622400), int64(1), 2147483647, 0, int64(2240000000), int64(1))
	f.Add("Local", "TZ=UTC", "today", int64(-1), int64(-1), -1, -1, int64(0), int64(-1))
	f.Add("UTC", "30 2 31 2 *", "2026-02-30", int64(1), int64(1), 1, 1, int64(-1<<40), int64(1<<30))
	f.Fuzz(func(t *testing.T, zone, schedule, exception string, duration, ramp int64, replicas, ceiling int, unix, lead int64) {
		var exceptions []string
		if exception != "" {
			exceptions = []string{exception}
		}
		window := prewarm.Window{
			Name: "w", Schedule: schedule, Duration: seconds(duration), Ramp: seconds(ramp), Replicas: replicas, MaxReplicas: ceiling,
		}
		c, err := prewarm.NewCalendar(zone, []prewarm.Window{window}, exceptions)
		if err != nil {
			several, is := err.(interface{ Unwrap() []error })
			if c != nil || !is || len(several.Unwrap()) == 0 {
				t.Fatalf("refused with the calendar %v and the error %v", c, err)
			}
			return
		}
		now := time.Unix(unix%(1<<36), 0) // within two thousand years of 1970
		ahead := max(seconds(lead%(1<<25)), 0)
		next, ok := c.Next(now)
		if !ok || !next.Start.After(now) || !next.End.Equal(next.Start.Add(window.Duration)) {
			t.Fatalf("after %s comes %+v, %v", now, next, ok)
		}
		if today := next.Start.Format(time.DateOnly); slices.Contains(exceptions, today) {
			t.Fatalf("%+v starts on an exception", next)
		}
		named(t, schedule, next.Start)
		if got := c.FloorAt(next.Start.Add(-ahead), ahead); got.Replicas != replicas || got.MaxReplicas > 0 && got.MaxReplicas < replicas {
			t.Fatalf("%s before %s: %+v", ahead, next.Start, got)
		}
		if got := c.FloorAt(next.Start, 0); replicas > 0 && !got.OpensAt.Equal(next.Start) {
			t.Fatalf("at its start %s: %+v", next.Start, got)
		}
		near, far := c.FloorAt(now, ahead/2), c.FloorAt(now, ahead)
		if near.Replicas > far.Replicas {
			t.Fatalf("at %s, %d within %s but %d within %s", now, near.Replicas, ahead/2, far.Replicas, ahead)
		}
		for opening := range c.Openings(now, next.Start) {
			if opening.Start.After(now) {
				t.Fatalf("%+v starts before the next, %s", opening, next.Start)
			}
		}
	})
}

// seconds never wraps round.
func seconds(n int64) time.Duration { return time.Duration(n%(1<<33)) * time.Second }

// named fails unless the expression, as the parser reads it, names the minute on the wall, or a clock has just jumped to it.
func named(t *testing.T, schedule string, start time.Time) {
	t.Helper()
	parsed, err := cron.ParseStandard(schedule)
	if err != nil {
		t.Fatalf("%q was accepted: %v", schedule, err)
	}
	_, before := start.Add(-time.Second).Zone()
	_, after := start.Zone()
	wall := time.Date(start.Year(), start.Month(), start.Day(), start.Hour(), start.Minute(), start.Second(), 0, time.UTC)
	if !parsed.Next(wall.Add(-time.Second)).Equal(wall) && before >= after {
		t.Fatalf("%q does not name %s", schedule, start)
	}
}
