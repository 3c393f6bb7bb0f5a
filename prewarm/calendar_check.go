package prewarm

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	longestDuration = 366 * 24 * time.Hour // a leap year
	longestRamp     = 24 * time.Hour       // a ramp spreads pod starts over minutes, at most hours: more is a slip of units
	mostReplicas    = math.MaxInt32        // Kubernetes counts replicas in 32 bits
)

// NewCalendar makes a calendar of windows in an IANA zone ("" is UTC), with exceptions written 2006-01-02. Its error holds every problem
// (Unwrap() []error), each with its path as in the object's prewarm block, its value, and what is allowed there.
func NewCalendar(zone string, windows []Window, exceptions []string) (*Calendar, error) {
	p := &problems{}
	loc := p.zone(zone)
	dates := p.dates(exceptions)
	c := &Calendar{loc: loc, windows: make([]window, len(windows))}
	names := map[string]int{}
	for i, w := range windows {
		path := fmt.Sprintf("windows[%d]", i)
		if first, twice := names[w.Name]; twice {
			p.add(path+".name", w.Name, "a name of its own; windows[%d] has this one", first)
		} else {
			names[w.Name] = i
		}
		c.windows[i].Window = w
		p.numbers(path, w)
		recurring := w.Schedule != "" || w.Duration != 0
		once := !w.From.IsZero() || !w.Until.IsZero()
		switch {
		case recurring && once:
			p.add(path, w.Name, "either recurring (schedule and duration) or one-off (from and until), not both")
		case recurring:
			if fields := p.recurring(path, w); fields != nil {
				c.windows[i].starts = newStarts(fields, dates, loc)
			}
		case once:
			p.once(path, w)
			from := w.From.Round(0).In(loc)
			c.windows[i].once, c.windows[i].Duration = &from, w.Until.Sub(w.From)
		default:
			p.add(path, w.Name, "either recurring (schedule and duration) or one-off (from and until), and is neither")
		}
	}
	if err := errors.Join(p.all...); err != nil {
		return nil, err
	}
	return c, nil
}

// problems collects what is wrong, each as "path: value: must be allowed".
type problems struct{ all []error }

func (p *problems) add(path string, value any, allowed string, args ...any) {
	if text, is := value.(string); is {
		value = fmt.Sprintf("%q", text)
	}
	p.all = append(p.all, fmt.Errorf("%s: %v: must be %s", path, value, fmt.Sprintf(allowed, args...)))
}

func (p *problems) zone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	// "Local" is what the machine is set to: replicas, and a laptop, would disagree.
	if err != nil || strings.EqualFold(name, "local") {
		p.add("timeZone", name, "an IANA name such as Asia/Ho_Chi_Minh or UTC, spelt as in the time zone database")
		return time.UTC
	}
	return loc
}

// dates reads exceptions as days since 1970, ascending.
func (p *problems) dates(exceptions []string) []int64 {
	var dates []int64
	for i, text := range exceptions {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			p.add(fmt.Sprintf("exceptions[%d]", i), text, "a date that exists, written like 2026-12-25")
			continue
		}
		dates = append(dates, day.Unix()/secondsPerDay)
	}
	slices.Sort(dates)
	return dates
}

// numbers are the fields that both kinds have.
func (p *problems) numbers(path string, w Window) {
	if strings.TrimSpace(w.Name) == "" {
		p.add(path+".name", w.Name, "a name, by which status and metrics speak of the window")
	}
	if w.Replicas < 0 || w.Replicas > mostReplicas {
		p.add(path+".replicas", w.Replicas, "0 to %d", mostReplicas)
	}
	switch {
	case w.MaxReplicas < 0 || w.MaxReplicas > mostReplicas:
		p.add(path+".maxReplicas", w.MaxReplicas, "0 (none) to %d", mostReplicas)
	case w.MaxReplicas > 0 && w.MaxReplicas < w.Replicas:
		p.add(path+".maxReplicas", w.MaxReplicas, "0 (none) or at least the window's replicas, %d", w.Replicas)
	}
	if w.Ramp < 0 || w.Ramp > longestRamp {
		p.add(path+".ramp", w.Ramp, "0s to 24h")
	}
}

func (p *problems) once(path string, w Window) {
	switch {
	case w.From.IsZero():
		p.add(path+".from", "", "given beside until")
	case w.Until.IsZero():
		p.add(path+".until", "", "given beside from")
	case !w.Until.After(w.From):
		p.add(path+".until", w.Until.Format(time.RFC3339), "after from, %s", w.From.Format(time.RFC3339))
	case w.Until.Sub(w.From) > longestDuration:
		p.add(path+".until", w.Until.Format(time.RFC3339), "at most 366 days after from, %s", w.From.Format(time.RFC3339))
	}
}

const fiveFields = "five cron fields: minute (0-59), hour (0-23), day of month (1-31), month (1-12) and day of week (0-6, Sunday is 0)"

func (p *problems) recurring(path string, w Window) *cron.SpecSchedule {
	if w.Duration <= 0 || w.Duration > longestDuration {
		p.add(path+".duration", w.Duration, "more than 0s and at most 366 days (8784h)")
	}
	path += ".schedule"
	expression := strings.TrimSpace(w.Schedule)
	switch fields := strings.Fields(expression); {
	case strings.HasPrefix(expression, "TZ=") || strings.HasPrefix(expression, "CRON_TZ="):
		// Refused before the parser sees it: it panics on a zone without a schedule behind it.
		p.add(path, w.Schedule, "without a time zone; timeZone holds for all windows")
		return nil
	case strings.HasPrefix(expression, "@"):
		p.add(path, w.Schedule, "%s; descriptors are not offered, and @every would count from a moment that no one wrote down", fiveFields)
		return nil
	case len(fields) == 6:
		p.add(path, w.Schedule, "%s; there is no field for seconds", fiveFields)
		return nil
	case strings.Contains(expression, "*-"), strings.Contains(expression, "?-"):
		p.add(path, w.Schedule, "%s; a star does not begin a range", fiveFields) // the parser would drop the rest
		return nil
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(expression)
	if err != nil {
		p.add(path, w.Schedule, "%s (%v)", fiveFields, err)
		return nil
	}
	fields, is := parsed.(*cron.SpecSchedule)
	if !is || fields.Minute == 0 || fields.Hour == 0 || fields.Dom == 0 || fields.Month == 0 || fields.Dow == 0 {
		p.add(path, w.Schedule, "%s; one of them is empty", fiveFields)
		return nil
	}
	if !everFires(fields) {
		p.add(path, w.Schedule, "an expression that fires; no month that it names has a day that it names")
		return nil
	}
	return fields
}

// everFires says that some date exists on which the expression fires. The day of the week can only help: a restricted one is
// enough by itself beside a restricted day of month, and falls on every date in time beside an open one.
func everFires(fields *cron.SpecSchedule) bool {
	if fields.Dow&starBit == 0 {
		return true
	}
	for month := time.January; month <= time.December; month++ {
		days := daysIn(time.Date(2000, month, 1, 0, 0, 0, 0, time.UTC)) // a leap year
		if fields.Month>>month&1 == 1 && fields.Dom&(2<<days-1) > 1 {
			return true
		}
	}
	return false
}
