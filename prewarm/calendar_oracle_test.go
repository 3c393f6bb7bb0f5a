package prewarm_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/prewarm"
)

var calendarRounds = flag.Int("calendar-rounds", 1, "spans of time per zone that the calendar is compared with its oracle on")

// The zones have between them: half-hour and quarter-hour offsets, half-hour and two-hour daylight time, negative daylight
// time, jumps at midnight, at one minute past it and back over it, a day that was skipped, clocks that change four times a year, rules that
// were given up, and rules that go on for ever.
var zones = []string{
	"UTC", "Asia/Ho_Chi_Minh", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Gaza", "Asia/Beirut",
	"Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "America/Havana",
	"America/Nuuk", "Australia/Lord_Howe", "Australia/Sydney", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kwajalein",
	"Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll",
}

// oracle is the slow, obvious calendar: it walks real time tick by tick, looks at the clock on the wall, and writes down for
// every tick what each window wants.
type oracle struct {
	begin   time.Time
	tick    time.Duration
	windows []prewarm.Window
	starts  [][]int // per window: ticks at which it starts, ascending
	ready   [][]int // per window and tick: the Ready-floor
	open    [][]int // per window and tick: the tick of the latest start that is open, -1 for none
}

// field is one field of an expression: how it is written, what it names, and whether it restricts anything.
type field struct {
	text  string
	named [60]bool
	star  bool
}

// expression is a cron expression that the test made, and so can judge without any parser.
type expression struct{ minute, hour, dom, month, dow field }

func (e expression) String() string {
	return strings.Join([]string{e.minute.text, e.hour.text, e.dom.text, e.month.text, e.dow.text}, " ")
}

// names says that the expression names a minute on the wall.
func (e expression) names(wall time.Time) bool {
	if !e.minute.named[wall.Minute()] || !e.hour.named[wall.Hour()] || !e.month.named[int(wall.Month())] {
		return false
	}
	dom, dow := e.dom.named[wall.Day()], e.dow.named[int(wall.Weekday())]
	if e.dom.star || e.dow.star {
		return dom && dow
	}
	return dom || dow
}

func newOracle(loc *time.Location, windows []prewarm.Window, expressions []expression, exceptions []string, begin time.Time, length, tick time.Duration) *oracle {
	o := &oracle{begin: begin, tick: tick, windows: windows, starts: make([][]int, len(windows))}
	ticks := int(length / tick)
	// What the wall has shown so far, as the time that has the same digits in UTC.
	onWall := func(at time.Time) time.Time {
		local := at.In(loc)
		_, offset := local.Zone()
		return at.Add(time.Duration(offset) * time.Second)
	}
	shown := onWall(begin)
	for i := range ticks {
		now := onWall(begin.Add(time.Duration(i) * tick))
		excepted := func(wall time.Time) bool { return slices.Contains(exceptions, wall.Format(time.DateOnly)) }
		// One step, many after a jump forward, none while a repeated hour lasts.
		for shown.Before(now) {
			shown = shown.Add(tick)
			if shown.Second() != 0 {
				continue
			}
			for w, window := range windows {
				already := len(o.starts[w]) > 0 && o.starts[w][len(o.starts[w])-1] == i
				if window.Schedule != "" && !already && expressions[w].names(shown) && !excepted(shown) && !excepted(now) {
					o.starts[w] = append(o.starts[w], i)
				}
			}
		}
		for w, window := range windows {
			if window.Schedule == "" && window.From.Equal(begin.Add(time.Duration(i)*tick)) {
				o.starts[w] = append(o.starts[w], i)
			}
		}
	}
	for w, window := range windows {
		o.fill(w, window, ticks)
	}
	return o
}

func (o *oracle) fill(w int, window prewarm.Window, ticks int) {
	ready, open := make([]int, ticks), make([]int, ticks)
	for i := range open {
		open[i] = -1
	}
	duration, ramp := int(o.duration(window)/o.tick), int(window.Ramp/o.tick)
	for n, start := range o.starts[w] {
		for i := max(0, start-ramp); i < min(start, ticks); i++ {
			x := i - (start - ramp)
			ready[i] = max(ready[i], (window.Replicas*x+ramp-1)/ramp)
		}
		until := start + duration
		if n+1 < len(o.starts[w]) {
			until = min(until, o.starts[w][n+1]) // from there on, that one is the latest
		}
		for i := start; i < min(until, ticks); i++ {
			ready[i], open[i] = window.Replicas, start
		}
	}
	o.ready, o.open = append(o.ready, ready), append(o.open, open)
}

func (o *oracle) duration(window prewarm.Window) time.Duration {
	if window.Schedule == "" {
		return window.Until.Sub(window.From)
	}
	return window.Duration
}

func (o *oracle) at(tick int) time.Time { return o.begin.Add(time.Duration(tick) * o.tick) }

// next is the first start of a window after a tick, -1 for none.
func (o *oracle) next(w, now int) int {
	i, _ := slices.BinarySearch(o.starts[w], now+1)
	if i == len(o.starts[w]) {
		return -1
	}
	return o.starts[w][i]
}

func (o *oracle) floorAt(now, lead int) prewarm.Floor {
	var floor prewarm.Floor
	for w, window := range o.windows {
		replicas := slices.Max(o.ready[w][now : now+lead+1])
		start := o.open[w][now]
		if start >= 0 {
			floor.MaxReplicas = max(floor.MaxReplicas, window.MaxReplicas)
		} else {
			start = o.next(w, now)
		}
		if replicas == 0 {
			continue
		}
		opens, closes := o.at(start), o.at(start).Add(o.duration(window))
		if replicas > floor.Replicas || replicas == floor.Replicas &&
			(opens.Before(floor.OpensAt) || opens.Equal(floor.OpensAt) && closes.After(floor.ClosesAt)) {
			floor.Replicas, floor.Window, floor.OpensAt, floor.ClosesAt = replicas, window.Name, opens, closes
		}
	}
	if floor.MaxReplicas > 0 {
		floor.MaxReplicas = max(floor.MaxReplicas, floor.Replicas)
	}
	return floor
}

// openings are those that start in [from, to), or the latest that is open at from, in order of start.
func (o *oracle) openings(from, to int) []prewarm.Opening {
	var all []prewarm.Opening
	for w, window := range o.windows {
		for _, start := range o.starts[w] {
			if start >= from && start < to || start == o.open[w][from] {
				all = append(all, prewarm.Opening{
					Window: window.Name, RampFrom: o.at(start).Add(-window.Ramp), Start: o.at(start), End: o.at(start).Add(o.duration(window)),
					Replicas: window.Replicas, MaxReplicas: window.MaxReplicas,
				})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b prewarm.Opening) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(b.Replicas, a.Replicas))
	})
	return all
}

// TestCalendarEqualsTheOracle compares seven weeks at a time, minute by minute, half of them around a change of clocks.
func TestCalendarEqualsTheOracle(t *testing.T) {
	for _, zone := range zones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			for round := range *calendarRounds {
				r := rand.New(rand.NewPCG(uint64(round), uint64(len(zone))<<32|uint64(zone[len(zone)-1])))
				compare(t, r, zone, 50*24*time.Hour, 10*24*time.Hour, time.Minute)
			}
		})
	}
}

// TestCalendarEqualsTheOracleBySeconds does the same where moments, durations and leads are not whole minutes.
func TestCalendarEqualsTheOracleBySeconds(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			for round := range *calendarRounds {
				r := rand.New(rand.NewPCG(uint64(round), uint64(len(zone))<<32|uint64(zone[0])))
				compare(t, r, zone, 3*24*time.Hour, 12*time.Hour, time.Second)
			}
		})
	}
}

func compare(t *testing.T, r *rand.Rand, zone string, length, longest, tick time.Duration) {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	middle := time.Date(1975+r.IntN(75), time.January, 1, 0, r.IntN(366*24*60), 0, 0, time.UTC)
	switch r.IntN(8) {
	case 0, 1, 2, 3:
		middle = clocksChange(middle, loc)
	case 4: // where rules that go on for ever are read year by year, the turn of a leap year is special
		middle = time.Date(middle.Year()&^3, time.December, 31, 12, 0, 0, 0, time.UTC)
	}
	begin := middle.Add(-length / 2).Truncate(tick)
	windows, expressions := randomWindows(r, begin, length, longest, tick)
	var exceptions []string
	for range r.IntN(5) {
		exceptions = append(exceptions, begin.Add(time.Duration(r.Int64N(int64(length)))).Format(time.DateOnly))
	}
	if r.IntN(4) == 0 {
		exceptions = append(exceptions, middle.Add(time.Duration(r.IntN(3)-1)*24*time.Hour).In(loc).Format(time.DateOnly))
	}
	calendar, err := prewarm.NewCalendar(zone, windows, exceptions)
	if err != nil {
		t.Fatalf("%v\n%s", err, describe(windows, exceptions))
	}
	o := newOracle(loc, windows, expressions, exceptions, begin, length, tick)
	// The oracle knows no start before its begin, and none after its end.
	margin := int(max(longest, 24*time.Hour+tick) / tick)
	lowest, highest := margin, int(length/tick)-margin
	leads := func() int { return []int{0, 1, r.IntN(10), r.IntN(30), r.IntN(600), r.IntN(1440)}[r.IntN(6)] }
	check := func(now, lead int) {
		if got, want := calendar.FloorAt(o.at(now), time.Duration(lead)*tick), o.floorAt(now, lead); !same(got, want) {
			t.Fatalf("%s: FloorAt(%s, %d ticks), calendar and oracle:\n%s\n%s", zone, o.at(now).In(loc), lead, gocmp.Diff(got, want), describe(windows, exceptions))
		}
	}
	for range 1000 {
		check(lowest+r.IntN(highest-lowest), leads())
	}
	for now, lead := int(length/tick)/2-720, leads(); now < int(length/tick)/2+720; now++ { // as the loop asks
		check(now, lead)
	}
	for range 50 {
		now := lowest + r.IntN(highest-lowest)
		compareOpenings(t, calendar, o, now, now+1+r.IntN(min(3000, highest-now)))
	}
	if t.Failed() {
		t.Fatalf("%s\n%s", zone, describe(windows, exceptions))
	}
}

func compareOpenings(t *testing.T, calendar *prewarm.Calendar, o *oracle, from, to int) {
	t.Helper()
	got, want := slices.Collect(calendar.Openings(o.at(from), o.at(to))), o.openings(from, to)
	if !slices.EqualFunc(got, want, sameOpening) {
		t.Errorf("Openings(%s, %s), calendar and oracle:\n%s", o.at(from), o.at(to), gocmp.Diff(got, want))
	}
	first := len(o.ready[0]) // the oracle's end
	for w := range o.windows {
		if start := o.next(w, from); start >= 0 {
			first = min(first, start)
		}
	}
	next, ok := calendar.Next(o.at(from))
	if first == len(o.ready[0]) {
		if ok && next.Start.Before(o.at(first)) {
			t.Errorf("Next(%s) = %+v, the oracle knows of none", o.at(from), next)
		}
		return
	}
	starting := slices.DeleteFunc(o.openings(first, first+1), func(opening prewarm.Opening) bool { return opening.Start.Before(o.at(first)) })
	if diff := gocmp.Diff(next, starting[0]); diff != "" {
		t.Errorf("Next(%s), calendar and oracle:\n%s", o.at(from), diff)
	}
}

// same is gocmp.Equal, a hundred times faster.
func same(a, b prewarm.Floor) bool {
	return a.Replicas == b.Replicas && a.MaxReplicas == b.MaxReplicas && a.Window == b.Window && a.OpensAt.Equal(b.OpensAt) && a.ClosesAt.Equal(b.ClosesAt)
}

func sameOpening(a, b prewarm.Opening) bool {
	return a.Window == b.Window && a.RampFrom.Equal(b.RampFrom) && a.Start.Equal(b.Start) && a.End.Equal(b.End) &&
		a.Replicas == b.Replicas && a.MaxReplicas == b.MaxReplicas
}

// clocksChange is the next change of a zone's offset within two years, or the moment itself.
func clocksChange(from time.Time, loc *time.Location) time.Time {
	_, before := from.In(loc).Zone()
	for at := from; at.Before(from.AddDate(2, 0, 0)); at = at.Add(time.Hour) {
		if _, after := at.In(loc).Zone(); after != before {
			return at
		}
	}
	return from
}

func randomWindows(r *rand.Rand, begin time.Time, length, longest, tick time.Duration) ([]prewarm.Window, []expression) {
	n := 1 + r.IntN(5)
	windows, expressions := make([]prewarm.Window, n), make([]expression, n)
	for i := range windows {
		w := &windows[i]
		w.Name, w.Replicas = fmt.Sprint("w", i), r.IntN(12)
		if r.IntN(3) == 0 {
			w.MaxReplicas = w.Replicas + r.IntN(5)
		}
		if r.IntN(2) == 0 {
			w.Ramp = tick * time.Duration(r.IntN(90))
		}
		if r.IntN(5) == 0 {
			w.From = begin.Add(tick * time.Duration(r.Int64N(int64(length/tick))))
			w.Until = w.From.Add(tick * time.Duration(1+r.Int64N(int64(longest/tick))))
			continue
		}
		w.Duration = tick * time.Duration(1+r.IntN(600))
		if r.IntN(4) == 0 {
			w.Duration = tick * time.Duration(1+r.Int64N(int64(longest/tick)))
		}
		expressions[i] = randomExpression(r)
		w.Schedule = expressions[i].String()
	}
	return windows, expressions
}

func randomExpression(r *rand.Rand) expression {
	e := expression{
		minute: randomField(r, 0, 59, 6), hour: randomField(r, 0, 23, 5),
		dom: randomField(r, 1, 28, 2), month: randomField(r, 1, 12, 1), dow: randomField(r, 0, 6, 2),
	}
	if e.dom.star { // a star reaches to the 31st
		e.dom.named = every(1, 31, 1)
	}
	if r.IntN(3) == 0 { // what jumps of the clock meet: the small hours
		e.hour = single([]int{0, 1, 2, 3, 23}[r.IntN(5)])
	}
	return e
}

// randomField restricts in odds of ten times.
func randomField(r *rand.Rand, low, high, odds int) field {
	if r.IntN(10) >= odds {
		return field{text: "*", named: every(low, high, 1), star: true}
	}
	a, b := low+r.IntN(high-low+1), low+r.IntN(high-low+1)
	a, b = min(a, b), max(a, b)
	step := 1 + r.IntN(high-low+1)
	switch r.IntN(4) {
	case 0:
		return single(a)
	case 1:
		both := every(a, a, 1)
		both[b] = true
		return field{text: fmt.Sprintf("%d,%d", a, b), named: both}
	case 2:
		return field{text: fmt.Sprintf("%d-%d", a, b), named: every(a, b, 1)}
	default:
		return field{text: fmt.Sprintf("%d-%d/%d", a, b, step), named: every(a, b, step)}
	}
}

func single(n int) field { return field{text: fmt.Sprint(n), named: every(n, n, 1)} }

func every(low, high, step int) (named [60]bool) {
	for n := low; n <= high; n += step {
		named[n] = true
	}
	return named
}

func describe(windows []prewarm.Window, exceptions []string) string {
	var b strings.Builder
	for _, w := range windows {
		fmt.Fprintf(&b, "%+v\n", w)
	}
	fmt.Fprintln(&b, "exceptions", exceptions)
	return b.String()
}
