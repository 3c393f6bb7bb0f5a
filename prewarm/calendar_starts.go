package prewarm

import (
	"slices"
	"sort"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	secondsPerDay = 24 * 60 * 60

	// No zone has been further than 15 h 14 min from UTC (Manila and Sitka before their day lines moved, in the 19th century;
	// today 14 h), so a wall-clock time lies within this many seconds of the same digits in UTC.
	farthestOffset = 16 * 60 * 60

	// 29 February is missing from 1896 to 1904 and from 2096 to 2104; no date that exists is rarer.
	rarestDays = 9 * 366

	// starBit is set by the parser in a field that restricts nothing.
	starBit = 1 << 63
)

// starts are the moments at which a recurring window starts. A time on the wall is written as the seconds that the same
// digits would be since 1970 in UTC, and a date as the days.
type starts struct {
	loc             *time.Location
	dom, month, dow uint64  // bit n: n is named; starBit: all are
	minutes         []int64 // seconds since midnight, ascending, not empty
	exceptions      []int64 // dates, ascending
}

func newStarts(fields *cron.SpecSchedule, exceptions []int64, loc *time.Location) *starts {
	s := &starts{loc: loc, dom: fields.Dom, month: fields.Month, dow: fields.Dow, exceptions: exceptions}
	for hour := range int64(24) {
		for minute := range int64(60) {
			if fields.Hour>>hour&1 == 1 && fields.Minute>>minute&1 == 1 {
				s.minutes = append(s.minutes, hour*3600+minute*60)
			}
		}
	}
	return s
}

// moment is the first second at which the zone's clock shows wall or later. It never falls as wall rises, however the clocks
// of the zone jump: that is what lets next and latest bisect.
func (s *starts) moment(wall int64) int64 {
	at := wall - farthestOffset // the clock shows less than wall here and has never shown more
	for {
		t := time.Unix(at, 0).In(s.loc)
		_, offset := t.Zone()
		_, bound := t.ZoneBounds()
		shows := max(at, wall-int64(offset))
		if bound.IsZero() {
			return shows
		}
		until := bound.Unix() // the offset holds until here
		if until <= at {
			// Past the last transition that a zone file lists, Go gives the end of a year as a bound, and in a leap year puts it on
			// 31 December: a bound may be early, and on that day lies behind.
			until = at + 3600
		}
		if shows < until {
			return shows
		}
		at = until
	}
}

// date is the date on the zone's wall.
func (s *starts) date(at int64) int64 {
	_, offset := time.Unix(at, 0).In(s.loc).Zone()
	wall := at + int64(offset)
	return (wall - ((wall%secondsPerDay)+secondsPerDay)%secondsPerDay) / secondsPerDay
}

func (s *starts) excepted(date int64) bool {
	_, found := slices.BinarySearch(s.exceptions, date)
	return found
}

// on says whether starts are scheduled for a date, and whether for any date of its month, so that a walk can leave out the month.
func (s *starts) on(date int64) (scheduled, inMonth bool, day time.Time) {
	day = time.Unix(date*secondsPerDay, 0).UTC()
	if s.month>>day.Month()&1 == 0 {
		return false, false, day
	}
	dom, dow := s.dom>>day.Day()&1 == 1, s.dow>>day.Weekday()&1 == 1
	if s.dom&starBit != 0 || s.dow&starBit != 0 {
		return dom && dow && !s.excepted(date), true, day
	}
	return (dom || dow) && !s.excepted(date), true, day
}

// next is the first start after now.
func (s *starts) next(now time.Time) (time.Time, bool) {
	from := now.Unix() // a start is a whole second: it is after now exactly if it is after now's whole second
	date := s.date(from)
	last := date
	if n := len(s.exceptions); n > 0 {
		last = max(last, s.exceptions[n-1])
	}
	for last += rarestDays; date <= last; date++ {
		scheduled, inMonth, day := s.on(date)
		if !inMonth {
			date += int64(daysIn(day) - day.Day()) // and one by the loop
			continue
		}
		if !scheduled {
			continue
		}
		for i := s.after(date, from); i < len(s.minutes); i++ {
			if at := s.moment(date*secondsPerDay + s.minutes[i]); !s.excepted(s.date(at)) {
				return time.Unix(at, 0).In(s.loc), true
			}
		}
	}
	return time.Time{}, false
}

// latest is the last start at or before now, if it began less than within ago.
func (s *starts) latest(now time.Time, within time.Duration) (time.Time, bool) {
	until := now.Unix()
	oldest := now.Add(-within).Unix()
	// The wall may have shown tomorrow already, and gone back.
	for date := s.date(until) + 1; (date+1)*secondsPerDay+farthestOffset >= oldest; date-- {
		scheduled, inMonth, day := s.on(date)
		if !inMonth {
			date -= int64(day.Day() - 1)
			continue
		}
		if !scheduled {
			continue
		}
		for i := s.after(date, until) - 1; i >= 0; i-- {
			if at := s.moment(date*secondsPerDay + s.minutes[i]); !s.excepted(s.date(at)) {
				return time.Unix(at, 0).In(s.loc), true
			}
		}
	}
	return time.Time{}, false
}

// after is the first of a date's minutes that starts after a moment.
func (s *starts) after(date, moment int64) int {
	return sort.Search(len(s.minutes), func(i int) bool { return s.moment(date*secondsPerDay+s.minutes[i]) > moment })
}

func daysIn(day time.Time) int {
	return time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
