package prewarm_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"

	"github.com/headroom-autoscaler/headroom/prewarm"
)

func calendar(t testing.TB, zone string, exceptions []string, windows ...prewarm.Window) *prewarm.Calendar {
	t.Helper()
	c, err := prewarm.NewCalendar(zone, windows, exceptions)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

// TestStartsWhenClocksChange writes out by hand what the oracle checks at random. Times are as the wall shows them.
func TestStartsWhenClocksChange(t *testing.T) {
	for _, test := range []struct {
		name, zone, schedule string
		duration             time.Duration
		exceptions           []string
		from, to             string
		want                 []string // start → end
	}{
		{
			name: "a start in the skipped hour happens as the clock jumps over it", zone: "Europe/Berlin", schedule: "30 2 * * *", duration: time.Hour,
			from: "2026-03-28T00:00:00+01:00", to: "2026-03-31T00:00:00+02:00",
			want: []string{"03-28 02:30 CET → 03:30 CET", "03-29 03:00 CEST → 04:00 CEST", "03-30 02:30 CEST → 03:30 CEST"},
		},
		{
			name: "of several starts in the skipped hour one opening is left", zone: "Europe/Berlin", schedule: "*/20 1-3 * * *", duration: time.Minute,
			from: "2026-03-29T01:30:00+01:00", to: "2026-03-29T03:30:00+02:00",
			want: []string{"03-29 01:40 CET → 01:41 CET", "03-29 03:00 CEST → 03:01 CEST", "03-29 03:20 CEST → 03:21 CEST"},
		},
		{
			name: "a start in the repeated hour happens the first time only", zone: "Europe/Berlin", schedule: "30 2 * * *", duration: time.Hour,
			from: "2026-10-25T00:00:00+02:00", to: "2026-10-26T00:00:00+01:00",
			want: []string{"10-25 02:30 CEST → 02:30 CET"},
		},
		{
			name: "a night is as long as it says", zone: "America/New_York", schedule: "0 22 * * *", duration: 8 * time.Hour,
			from: "2026-03-07T12:00:00-05:00", to: "2026-03-09T12:00:00-04:00",
			want: []string{"03-07 22:00 EST → 07:00 EDT", "03-08 22:00 EDT → 06:00 EDT"},
		},
		{
			name: "half an hour skipped", zone: "Australia/Lord_Howe", schedule: "15 2 * * *", duration: time.Minute,
			from: "2026-10-03T12:00:00+10:30", to: "2026-10-05T12:00:00+11:00",
			want: []string{"10-04 02:30 +11 → 02:31 +11", "10-05 02:15 +11 → 02:16 +11"},
		},
		{
			name: "half an hour repeated", zone: "Australia/Lord_Howe", schedule: "45 1 * * *", duration: time.Minute,
			from: "2026-04-04T12:00:00+11:00", to: "2026-04-06T12:00:00+10:30",
			want: []string{"04-05 01:45 +11 → 01:46 +11", "04-06 01:45 +1030 → 01:46 +1030"},
		},
		{
			name: "a day that was skipped", zone: "Pacific/Apia", schedule: "30 8 * * *", duration: time.Hour,
			from: "2011-12-29T00:00:00-10:00", to: "2012-01-01T00:00:00+14:00",
			want: []string{"12-29 08:30 -10 → 09:30 -10", "12-31 00:00 +14 → 01:00 +14", "12-31 08:30 +14 → 09:30 +14"},
		},
		{
			name: "the skipped day excepted", zone: "Pacific/Apia", schedule: "30 8 * * *", duration: time.Hour, exceptions: []string{"2011-12-30"},
			from: "2011-12-29T00:00:00-10:00", to: "2012-01-01T00:00:00+14:00",
			want: []string{"12-29 08:30 -10 → 09:30 -10", "12-31 08:30 +14 → 09:30 +14"},
		},
		{
			name: "nothing is pushed into an excepted day", zone: "Pacific/Apia", schedule: "30 8 * * *", duration: time.Hour, exceptions: []string{"2011-12-31"},
			from: "2011-12-29T00:00:00-10:00", to: "2012-01-01T12:00:00+14:00",
			want: []string{"12-29 08:30 -10 → 09:30 -10", "01-01 08:30 +14 → 09:30 +14"},
		},
		{
			name: "midnight itself is skipped", zone: "America/Sao_Paulo", schedule: "0 0 * * *", duration: time.Hour,
			from: "2018-11-03T12:00:00-03:00", to: "2018-11-05T12:00:00-02:00",
			want: []string{"11-04 01:00 -02 → 02:00 -02", "11-05 00:00 -02 → 01:00 -02"},
		},
		{
			name: "a minute past midnight the clock goes back to yesterday", zone: "America/St_Johns", schedule: "0 0,23 * * *", duration: 30 * time.Minute,
			from: "2010-11-06T12:00:00-02:30", to: "2010-11-08T12:00:00-03:30",
			want: []string{"11-06 23:00 NDT → 23:30 NDT", "11-07 00:00 NDT → 23:30 NST", "11-07 23:00 NST → 23:30 NST", "11-08 00:00 NST → 00:30 NST"},
		},
		{
			name: "Ramadan in Morocco, an hour back in February and forward in March", zone: "Africa/Casablanca", schedule: "30 2 * * 0", duration: time.Minute,
			from: "2026-02-14T00:00:00+01:00", to: "2026-03-23T00:00:00+01:00",
			want: []string{
				"02-15 02:30 +01 → 02:31 +01", "02-22 02:30 +00 → 02:31 +00", "03-01 02:30 +00 → 02:31 +00",
				"03-08 02:30 +00 → 02:31 +00", "03-15 02:30 +00 → 02:31 +00", "03-22 03:00 +01 → 03:01 +01",
			},
		},
		{
			name: "no daylight time", zone: "Asia/Ho_Chi_Minh", schedule: "30 8 * * 1-5", duration: 9*time.Hour + 30*time.Minute, exceptions: []string{"2026-12-25"},
			from: "2026-12-24T00:00:00+07:00", to: "2026-12-29T00:00:00+07:00",
			want: []string{"12-24 08:30 +07 → 18:00 +07", "12-28 08:30 +07 → 18:00 +07"},
		},
		{
			name: "either of day of month and day of week", zone: "UTC", schedule: "0 6 13 * 5", duration: time.Hour,
			from: "2026-10-08T00:00:00Z", to: "2026-10-17T00:00:00Z",
			want: []string{"10-09 06:00 UTC → 07:00 UTC", "10-13 06:00 UTC → 07:00 UTC", "10-16 06:00 UTC → 07:00 UTC"},
		},
		{
			name: "the leap days around 2100", zone: "UTC", schedule: "0 0 29 2 *", duration: time.Hour,
			from: "2095-01-01T00:00:00Z", to: "2105-01-01T00:00:00Z",
			want: []string{"02-29 00:00 UTC → 01:00 UTC", "02-29 00:00 UTC → 01:00 UTC"},
		},
		{
			name: "a rare date, excepted for sixteen years", zone: "UTC", schedule: "0 0 29 2 *", duration: time.Hour,
			exceptions: []string{"2040-02-29", "2028-02-29", "2032-02-29", "2036-02-29"},
			from:       "2027-01-01T00:00:00Z", to: "2047-01-01T00:00:00Z",
			want: []string{"02-29 00:00 UTC → 01:00 UTC"},
		},
		{
			name: "the last day of a leap year", zone: "Europe/Berlin", schedule: "0 12 * * *", duration: time.Hour,
			from: "2040-12-31T00:00:00+01:00", to: "2041-01-01T00:00:00+01:00",
			want: []string{"12-31 12:00 CET → 13:00 CET"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := calendar(t, test.zone, test.exceptions, prewarm.Window{Name: "w", Schedule: test.schedule, Duration: test.duration, Replicas: 1})
			var got []string
			open := map[int64]bool{} // by minute
			from, to := at(t, test.from), at(t, test.to)
			for o := range c.Openings(from, to) {
				got = append(got, o.Start.Format("01-02 15:04 MST → ")+o.End.Format("15:04 MST"))
				for minute := o.Start; minute.Before(o.End); minute = minute.Add(time.Minute) {
					open[minute.Unix()] = true
				}
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("openings:\n%s", diff)
			}
			// Asked of a calendar that has nothing to remember.
			for now := from; now.Before(to) && now.Before(from.AddDate(0, 2, 0)); now = now.Add(7 * time.Minute) {
				fresh := calendar(t, test.zone, test.exceptions, prewarm.Window{Name: "w", Schedule: test.schedule, Duration: test.duration, Replicas: 1})
				if floor := fresh.FloorAt(now, 0); (floor.Replicas == 1) != open[now.Unix()] {
					t.Errorf("at %s: %+v", now, floor)
				}
			}
		})
	}
}

// TestTheParsersOwnWalk says why the parser's Next is not used, and where it can be trusted: in zones whose clocks do not change.
func TestTheParsersOwnWalk(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	half, err := cron.ParseStandard("30 2 * * *")
	if err != nil {
		t.Fatal(err)
	}
	if got := half.Next(time.Date(2026, 3, 29, 0, 0, 0, 0, berlin)); got.Day() != 30 {
		t.Errorf("cron no longer loses the start in the skipped hour: %s", got)
	}
	first := half.Next(time.Date(2026, 10, 25, 0, 0, 0, 0, berlin))
	if second := half.Next(first); second.Sub(first) != time.Hour {
		t.Errorf("cron no longer starts twice in the repeated hour: %s, %s", first, second)
	}

	r := rand.New(rand.NewPCG(1, 1))
	for _, zone := range []string{"UTC", "Asia/Ho_Chi_Minh", "Asia/Kolkata"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			text := randomExpression(r).String()
			theirs, err := cron.ParseStandard(text)
			if err != nil {
				t.Fatal(err)
			}
			ours := calendar(t, zone, nil, prewarm.Window{Name: "w", Schedule: text, Duration: time.Minute})
			now := time.Date(1980+r.IntN(100), 1, 1, 0, r.IntN(366*24*60), r.IntN(60), 0, loc)
			for range 5 {
				want := theirs.Next(now)
				if want.IsZero() {
					break // cron looks five years ahead, and February 29th can be eight away
				}
				got, ok := ours.Next(now)
				if !ok || !got.Start.Equal(want) {
					t.Fatalf("%s %q after %s: %s, cron says %s", zone, text, now, got.Start, want)
				}
				now = want
			}
		}
	}
}

func TestFloorAt(t *testing.T) {
	office := prewarm.Window{Name: "office", Schedule: "30 8 * * 1-5", Duration: 9*time.Hour + 30*time.Minute, Replicas: 12}
	ramped := office
	ramped.Ramp = 10 * time.Minute
	night := prewarm.Window{Name: "night", Schedule: "0 22 * * *", Duration: 8 * time.Hour, Replicas: 2, MaxReplicas: 4}
	launch := prewarm.Window{Name: "launch", From: at(t, "2026-12-01T09:00:00+07:00"), Until: at(t, "2026-12-01T14:00:00+07:00"), Replicas: 40}
	always := prewarm.Window{Name: "always", Schedule: "0 * * * *", Duration: 90 * time.Minute, Replicas: 3}
	ceiling := prewarm.Window{Name: "ceiling", Schedule: "0 12 * * *", Duration: time.Hour, MaxReplicas: 6}
	for _, test := range []struct {
		name    string
		windows []prewarm.Window
		now     string // a Tuesday in Ho Chi Minh City
		lead    time.Duration
		want    string
	}{
		{name: "no windows", now: "12:00", want: "0"},
		{name: "a second before a lead time before the start", windows: []prewarm.Window{office}, now: "08:25:59", lead: 4 * time.Minute, want: "0"},
		{name: "a lead time before the start", windows: []prewarm.Window{office}, now: "08:26", lead: 4 * time.Minute, want: "12 office 08:30–18:00"},
		{name: "at the start without a lead time", windows: []prewarm.Window{office}, now: "08:30", want: "12 office 08:30–18:00"},
		{name: "the second before the end", windows: []prewarm.Window{office}, now: "17:59:59", want: "12 office 08:30–18:00"},
		{name: "at the end", windows: []prewarm.Window{office}, now: "18:00", want: "0"},
		{name: "a negative lead time is none", windows: []prewarm.Window{office}, now: "08:30", lead: -time.Hour, want: "12 office 08:30–18:00"},
		{name: "a ramp has not begun", windows: []prewarm.Window{ramped}, now: "08:16", lead: 4 * time.Minute, want: "0"},
		{name: "a ramp began a second ago", windows: []prewarm.Window{ramped}, now: "08:20:01", want: "1 office 08:30–18:00"},
		{name: "half of a ramp, a lead time ahead", windows: []prewarm.Window{ramped}, now: "08:21", lead: 4 * time.Minute, want: "6 office 08:30–18:00"},
		{name: "a ramp rounds up", windows: []prewarm.Window{ramped}, now: "08:26", want: "8 office 08:30–18:00"},
		{name: "a ramp is whole at the start", windows: []prewarm.Window{ramped}, now: "08:30", want: "12 office 08:30–18:00"},
		{name: "open since yesterday", windows: []prewarm.Window{night}, now: "03:00", want: "2 ≤4 night 22:00–06:00"},
		{name: "the largest of two wins", windows: []prewarm.Window{office, launch}, now: "09:00", want: "40 launch 09:00–14:00"},
		{name: "the one left goes on", windows: []prewarm.Window{office, launch}, now: "14:00", want: "12 office 08:30–18:00"},
		{name: "longer than its period", windows: []prewarm.Window{always}, now: "12:10", want: "3 always 12:00–13:30"},
		{name: "a ceiling alone", windows: []prewarm.Window{ceiling}, now: "12:30", want: "0 ≤6"},
		{name: "a ceiling begins at its start, not a lead time before", windows: []prewarm.Window{ceiling}, now: "11:58", lead: 4 * time.Minute, want: "0"},
		{name: "a ceiling is over at its end", windows: []prewarm.Window{ceiling}, now: "13:00", want: "0"},
		{name: "the largest ceiling", windows: []prewarm.Window{ceiling, night, {Name: "noon", Schedule: "0 12 * * *", Duration: time.Hour, MaxReplicas: 7}}, now: "12:00", want: "0 ≤7"},
		{name: "a ceiling does not hold another window down", windows: []prewarm.Window{ceiling, office}, now: "12:30", want: "12 ≤12 office 08:30–18:00"},
		{
			name: "a ceiling does not hold down one that is about to open", now: "05:58", lead: 4 * time.Minute, want: "9 ≤9 morning 06:00–07:00",
			windows: []prewarm.Window{night, {Name: "morning", Schedule: "0 6 * * *", Duration: time.Hour, Replicas: 9}},
		},
		{
			name: "of equal windows the first to open is named", now: "10:00", want: "12 office 08:30–18:00",
			windows: []prewarm.Window{{Name: "later", Schedule: "0 9 * * *", Duration: 9 * time.Hour, Replicas: 12}, office},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := calendar(t, "Asia/Ho_Chi_Minh", nil, test.windows...)
			clock := test.now
			if len(clock) == len("15:04") {
				clock += ":00"
			}
			floor := c.FloorAt(at(t, "2026-12-01T"+clock+"+07:00"), test.lead)
			got := fmt.Sprint(floor.Replicas)
			if floor.MaxReplicas > 0 {
				got += fmt.Sprint(" ≤", floor.MaxReplicas)
			}
			if floor.Window != "" {
				got += fmt.Sprintf(" %s %s–%s", floor.Window, floor.OpensAt.Format("15:04"), floor.ClosesAt.Format("15:04"))
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestNoCalendarHasNoWindows(t *testing.T) {
	var none *prewarm.Calendar
	if floor := none.FloorAt(time.Unix(0, 0), time.Hour); floor != (prewarm.Floor{}) {
		t.Errorf("FloorAt: %+v", floor)
	}
	if next, ok := none.Next(time.Unix(0, 0)); ok {
		t.Errorf("Next: %+v", next)
	}
	for o := range none.Openings(time.Unix(0, 0), time.Unix(1<<40, 0)) {
		t.Errorf("Openings: %+v", o)
	}
}

// TestARampOfManyReplicasDoesNotOverflow: 2³¹ replicas times a day of nanoseconds is beyond 64 bits.
func TestARampOfManyReplicasDoesNotOverflow(t *testing.T) {
	c := calendar(t, "UTC", nil, prewarm.Window{Name: "w", From: at(t, "2026-01-02T00:00:00Z"), Until: at(t, "2026-01-03T00:00:00Z"), Replicas: 1<<31 - 1, Ramp: 24 * time.Hour})
	if got := c.FloorAt(at(t, "2026-01-01T12:00:00Z"), 0).Replicas; got != 1<<30 {
		t.Errorf("half of 2³¹−1, rounded up: %d, want %d", got, 1<<30)
	}
}

// TestMemoryIsNotState: a calendar that was asked by many at once, here and there, answers as one that was never asked.
func TestMemoryIsNotState(t *testing.T) {
	windows := []prewarm.Window{
		{Name: "office", Schedule: "30 8 * * 1-5", Duration: 9 * time.Hour, Replicas: 12, Ramp: 10 * time.Minute},
		{Name: "often", Schedule: "*/7 * * * *", Duration: 3 * time.Minute, Replicas: 5, MaxReplicas: 20},
		{Name: "once", From: at(t, "2026-06-01T00:00:00Z"), Until: at(t, "2026-06-03T00:00:00Z"), Replicas: 40},
	}
	asked := calendar(t, "Europe/Berlin", []string{"2026-05-29"}, windows...)
	var all sync.WaitGroup
	for seed := range uint64(4) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, seed))
			for range 300 {
				now := at(t, "2026-05-28T00:00:00Z").Add(time.Duration(r.Int64N(int64(7 * 24 * time.Hour))))
				lead := time.Duration(r.Int64N(int64(time.Hour)))
				fresh, err := prewarm.NewCalendar("Europe/Berlin", windows, []string{"2026-05-29"})
				if err != nil {
					t.Error(err)
					return
				}
				if got, want := asked.FloorAt(now, lead), fresh.FloorAt(now, lead); !same(got, want) {
					t.Errorf("FloorAt(%s, %s) = %+v, a fresh calendar says %+v", now, lead, got, want)
				}
				got, _ := asked.Next(now)
				if want, _ := fresh.Next(now); !cmp.Equal(got, want) {
					t.Errorf("Next(%s) = %+v, a fresh calendar says %+v", now, got, want)
				}
			}
		})
	}
	all.Wait()
}

func TestNewCalendarRefuses(t *testing.T) {
	good := prewarm.Window{Name: "w", Schedule: "30 8 * * *", Duration: time.Hour, Replicas: 3}
	from := at(t, "2026-12-01T09:00:00+07:00")
	with := func(change func(*prewarm.Window)) []prewarm.Window {
		w := good
		change(&w)
		return []prewarm.Window{w}
	}
	scheduled := func(text string) []prewarm.Window {
		return with(func(w *prewarm.Window) { w.Schedule = text })
	}
	const five = "must be five cron fields: minute (0-59), hour (0-23), day of month (1-31), month (1-12) and day of week (0-6, Sunday is 0)"
	for _, test := range []struct {
		name, zone string
		windows    []prewarm.Window
		exceptions []string
		want       []string // none: accepted
	}{
		{name: "a good one", windows: []prewarm.Window{good}, exceptions: []string{"2026-12-25", "2026-12-25"}},
		{name: "no windows", zone: "Asia/Ho_Chi_Minh"},
		{name: "names in expressions", windows: scheduled("0 8 * jan-mar MON,fri")},
		{name: "unknown zone", zone: "Asia/Hanoi", want: []string{`timeZone: "Asia/Hanoi": must be an IANA name such as Asia/Ho_Chi_Minh or UTC, spelt as in the time zone database`}},
		{name: "the machine's zone", zone: "Local", want: []string{`timeZone: "Local": must be an IANA name`}},
		{name: "a path for a zone", zone: "../etc/passwd", want: []string{`timeZone: "../etc/passwd": must be an IANA name`}},
		{name: "no name", windows: with(func(w *prewarm.Window) { w.Name = " " }), want: []string{`windows[0].name: " ": must be a name`}},
		{name: "a name twice", windows: []prewarm.Window{good, good}, want: []string{`windows[1].name: "w": must be a name of its own; windows[0] has this one`}},
		{name: "negative replicas", windows: with(func(w *prewarm.Window) { w.Replicas = -1 }), want: []string{`windows[0].replicas: -1: must be 0 to 2147483647`}},
		{name: "a negative ceiling", windows: with(func(w *prewarm.Window) { w.MaxReplicas = -1 }), want: []string{`windows[0].maxReplicas: -1: must be 0 (none) to 2147483647`}},
		{name: "a ceiling below the floor", windows: with(func(w *prewarm.Window) { w.MaxReplicas = 2 }), want: []string{`windows[0].maxReplicas: 2: must be 0 (none) or at least the window's replicas, 3`}},
		{name: "a negative ramp", windows: with(func(w *prewarm.Window) { w.Ramp = -1 }), want: []string{`windows[0].ramp: -1ns: must be 0s to 24h`}},
		{name: "a ramp of days", windows: with(func(w *prewarm.Window) { w.Ramp = 25 * time.Hour }), want: []string{`windows[0].ramp: 25h0m0s: must be 0s to 24h`}},
		{name: "no duration", windows: with(func(w *prewarm.Window) { w.Duration = 0 }), want: []string{`windows[0].duration: 0s: must be more than 0s and at most 366 days (8784h)`}},
		{name: "a negative duration", windows: with(func(w *prewarm.Window) { w.Duration = -time.Hour }), want: []string{`windows[0].duration: -1h0m0s: must be more than 0s`}},
		{name: "a duration beyond a year", windows: with(func(w *prewarm.Window) { w.Duration = 8785 * time.Hour }), want: []string{`windows[0].duration: 8785h0m0s: must be more than 0s`}},
		{name: "a year", windows: with(func(w *prewarm.Window) { w.Duration = 8784 * time.Hour })},
		{name: "both kinds", windows: with(func(w *prewarm.Window) { w.From, w.Until = from, from.Add(time.Hour) }), want: []string{`windows[0]: "w": must be either recurring (schedule and duration) or one-off (from and until), not both`}},
		{name: "neither kind", windows: []prewarm.Window{{Name: "w"}}, want: []string{`windows[0]: "w": must be either recurring (schedule and duration) or one-off (from and until), and is neither`}},
		{name: "no schedule", windows: scheduled(""), want: []string{`windows[0].schedule: "": ` + five}},
		{name: "until from", windows: []prewarm.Window{{Name: "w", From: from, Until: from}}, want: []string{`windows[0].until: "2026-12-01T09:00:00+07:00": must be after from, 2026-12-01T09:00:00+07:00`}},
		{name: "only from", windows: []prewarm.Window{{Name: "w", From: from}}, want: []string{`windows[0].until: "": must be given beside from`}},
		{name: "only until", windows: []prewarm.Window{{Name: "w", Until: from}}, want: []string{`windows[0].from: "": must be given beside until`}},
		{name: "a one-off of years", windows: []prewarm.Window{{Name: "w", From: from, Until: from.AddDate(2, 0, 0)}}, want: []string{`windows[0].until: "2028-12-01T09:00:00+07:00": must be at most 366 days after from`}},
		{name: "a one-off of ages", windows: []prewarm.Window{{Name: "w", From: from, Until: from.AddDate(999, 0, 0)}}, want: []string{`windows[0].until: "3025-12-01T09:00:00+07:00": must be at most 366 days after from`}},
		{name: "seconds", windows: scheduled("0 30 8 * * *"), want: []string{`windows[0].schedule: "0 30 8 * * *": ` + five + `; there is no field for seconds`}},
		{name: "four fields", windows: scheduled("30 8 * *"), want: []string{`windows[0].schedule: "30 8 * *": ` + five + ` (expected exactly 5 fields, found 4`}},
		{name: "Sunday is 0", windows: scheduled("30 8 * * 7"), want: []string{`windows[0].schedule: "30 8 * * 7": ` + five + ` (end of range (7) above maximum (6): 7)`}},
		{name: "every", windows: scheduled("@every 1h"), want: []string{`windows[0].schedule: "@every 1h": ` + five + `; descriptors are not offered`}},
		{name: "daily", windows: scheduled("@daily"), want: []string{`windows[0].schedule: "@daily": ` + five + `; descriptors are not offered`}},
		{name: "a zone in the expression", windows: scheduled("TZ=Asia/Tokyo 30 8 * * *"), want: []string{`windows[0].schedule: "TZ=Asia/Tokyo 30 8 * * *": must be without a time zone; timeZone holds for all windows`}},
		{name: "a zone and no expression", windows: scheduled("CRON_TZ=UTC"), want: []string{`windows[0].schedule: "CRON_TZ=UTC": must be without a time zone`}},
		{name: "30 February", windows: scheduled("30 2 31 2 *"), want: []string{`windows[0].schedule: "30 2 31 2 *": must be an expression that fires; no month that it names has a day that it names`}},
		{name: "31 in short months", windows: scheduled("0 0 31 4,6,9,11 ?"), want: []string{`must be an expression that fires`}},
		{name: "29 February fires", windows: scheduled("0 0 29 2 *")},
		{name: "30 February or a Sunday fires", windows: scheduled("0 0 30 2 0")},
		{name: "an empty list", windows: scheduled("0 0 1 * ,"), want: []string{`windows[0].schedule: "0 0 1 * ,": ` + five + `; one of them is empty`}},
		{name: "a range from a star", windows: scheduled("0 *-5 * * *"), want: []string{`windows[0].schedule: "0 *-5 * * *": ` + five + `; a star does not begin a range`}},
		{name: "an exception that is no date", exceptions: []string{"2026-12-25", "25.12.2026", "2026-02-29"}, want: []string{
			`exceptions[1]: "25.12.2026": must be a date that exists, written like 2026-12-25`,
			`exceptions[2]: "2026-02-29": must be a date that exists, written like 2026-12-25`,
		}},
		{
			name: "every problem at once", zone: "Mars/Olympus", exceptions: []string{"tomorrow"},
			windows: []prewarm.Window{good, {Name: "w", Schedule: "@hourly", Duration: -1, Replicas: 5, MaxReplicas: 1, Ramp: -1}},
			want: []string{
				"timeZone: ", "exceptions[0]: ", "windows[1].name: ", "windows[1].maxReplicas: ", "windows[1].ramp: ", "windows[1].duration: ", "windows[1].schedule: ",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			zone := test.zone
			if zone == "" {
				zone = "UTC"
			}
			c, err := prewarm.NewCalendar(zone, test.windows, test.exceptions)
			if (c == nil) == (err == nil) {
				t.Fatalf("calendar %v and error %v", c, err)
			}
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %d problems, want %d:\n%s", len(got), len(test.want), strings.Join(got, "\n"))
			}
			for i, want := range test.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("problem %d:\n got %s\nwant %s", i, got[i], want)
				}
			}
		})
	}
}
