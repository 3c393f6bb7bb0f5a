package prewarm

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// scenario is a run of hours or days:
//
//	zone Europe/Berlin
//	from 2026-03-02T00:00
//	to 2026-03-03T00:00
//	step 15s                                  how often Decide is called
//	policy perReplica=12 buffer=2 …           plan() where nothing is said
//	coldStart 2m30s                           from a pod's creation to Ready
//	lead fixed=4m | initial=4m collection=20s the tracker measures it from the pods, unless fixed
//	demand 00:00=20 06:00=20 09:00=160        offered, each day by the wall clock, straight lines between
//	noise 0.05                                of demand, up or down
//	served                                    the metric counts finished requests, so it saturates
//	forecast ahead=1.1 noise=0.2              the demand to come times 1.1, and noise
//	window name=office schedule="30 8 * * 1-5" duration=9h30m replicas=12 ramp=10m
//	exception 2026-12-25
//	at 12:00 unknown no answer                also: known; leader; loaded; sample 3 (what one look shows); look (a line, nothing else)
//	show floor                                no line for what changes the reason alone; show sum: no line at all
//	settle 10m                                the sum begins so long after the start
type scenario struct {
	zone                            *time.Location
	from, to                        time.Time
	step, coldStart, settle         time.Duration
	policy                          Policy
	lead                            LeadPolicy
	demand                          curve
	noise, foresight, forecastNoise float64
	served, floorOnly, sumOnly      bool
	seed                            uint64
	calendar                        *Calendar
	events                          []event
}

type event struct {
	at    time.Time
	kind  string
	text  string
	value float64
}

// curve is demand by the time of day.
type curve struct {
	zone   *time.Location
	points []curvePoint
}

type curvePoint struct {
	minute float64
	value  float64
}

func (c curve) at(now time.Time) float64 {
	local := now.In(c.zone)
	minute := float64(local.Hour()*60+local.Minute()) + float64(local.Second())/60
	i := sort.Search(len(c.points), func(i int) bool { return c.points[i].minute > minute })
	switch {
	case i == 0:
		return c.points[0].value
	case i == len(c.points):
		return c.points[i-1].value
	}
	a, b := c.points[i-1], c.points[i]
	return a.value + (b.value-a.value)*(minute-a.minute)/(b.minute-a.minute)
}

// reader collects problems, so that a line reads as if there were none.
type reader struct{ problems []error }

func (r *reader) float(text string) float64 {
	x, err := strconv.ParseFloat(text, 64)
	r.note(err)
	return x
}

func (r *reader) int(text string) int {
	n, err := strconv.Atoi(text)
	r.note(err)
	return n
}

func (r *reader) span(text string) time.Duration {
	d, err := time.ParseDuration(text)
	r.note(err)
	return d
}

// moment is "2026-03-02T12:00", or "12:00:15" on the first day.
func (r *reader) moment(s *scenario, text string) time.Time {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, text, s.zone); err == nil {
			return t
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			y, m, d := s.from.In(s.zone).Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, s.zone)
		}
	}
	r.note(fmt.Errorf("%q is no time", text))
	return time.Time{}
}

func (r *reader) note(err error) {
	if err != nil {
		r.problems = append(r.problems, err)
	}
}

func parseScenario(script string) (*scenario, error) {
	s := &scenario{zone: time.UTC, step: 15 * time.Second, coldStart: 2 * time.Minute, policy: plan(), lead: DefaultLeadPolicy()}
	s.lead.Collection = 20 * time.Second
	s.policy.ForecastMode = ForecastOff
	r := &reader{}
	var windows []Window
	var exceptions []string
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		words := fields(line)
		if len(words) == 0 {
			continue
		}
		switch key := words[0]; {
		case key == "zone" && len(words) == 2:
			zone, err := time.LoadLocation(words[1])
			r.note(err)
			if err == nil {
				s.zone = zone
			}
		case key == "from" && len(words) == 2:
			s.from = r.moment(s, words[1])
		case key == "to" && len(words) == 2:
			s.to = r.moment(s, words[1])
		case key == "step" && len(words) == 2:
			s.step = r.span(words[1])
		case key == "coldStart" && len(words) == 2:
			s.coldStart = r.span(words[1])
		case key == "settle" && len(words) == 2:
			s.settle = r.span(words[1])
		case key == "noise" && len(words) == 2:
			s.noise = r.float(words[1])
		case key == "seed" && len(words) == 2:
			s.seed = uint64(r.int(words[1]))
		case key == "served" && len(words) == 1:
			s.served = true
		case key == "show" && len(words) == 2 && words[1] == "floor":
			s.floorOnly = true
		case key == "show" && len(words) == 2 && words[1] == "sum":
			s.sumOnly = true
		case key == "exception" && len(words) == 2:
			exceptions = append(exceptions, words[1])
		case key == "policy":
			r.settings(words[1:], s.setPolicy)
		case key == "lead":
			r.settings(words[1:], s.setLead)
		case key == "forecast":
			s.policy.ForecastMode = ForecastOn
			r.settings(words[1:], s.setForecast)
		case key == "demand":
			r.settings(words[1:], s.setDemand)
		case key == "window":
			var w Window
			r.settings(words[1:], func(r *reader, key, value string) bool { return setWindow(r, s, &w, key, value) })
			windows = append(windows, w)
		case key == "at" && len(words) >= 3:
			e := event{at: r.moment(s, words[1]), kind: words[2], text: strings.Join(words[3:], " ")}
			if e.kind == "sample" {
				e.value = r.float(e.text)
			}
			if !strings.Contains(" unknown known leader loaded sample look ", " "+e.kind+" ") {
				r.note(fmt.Errorf("nothing is called %q", e.kind))
			}
			s.events = append(s.events, e)
		default:
			r.note(fmt.Errorf("%q means nothing", line))
		}
	}
	sort.SliceStable(s.events, func(i, j int) bool { return s.events[i].at.Before(s.events[j].at) })
	s.demand.zone = s.zone
	if len(s.demand.points) == 0 || !s.to.After(s.from) {
		r.note(errors.New("demand, from and to must be given"))
	}
	r.note(s.policy.Validate())
	calendar, err := NewCalendar(s.zone.String(), windows, exceptions)
	r.note(err)
	s.calendar = calendar
	return s, errors.Join(r.problems...)
}

func (r *reader) settings(words []string, set func(r *reader, key, value string) bool) {
	for _, word := range words {
		key, value, found := strings.Cut(word, "=")
		if !found || !set(r, key, value) {
			r.note(fmt.Errorf("%q is no setting", word))
		}
	}
}

func (s *scenario) setPolicy(r *reader, key, value string) bool {
	p := &s.policy
	switch key {
	case "perReplica":
		p.PerReplica = r.float(value)
	case "buffer":
		p.BufferReplicas = r.int(value)
	case "onForecast":
		p.BufferOnForecast = r.int(value)
	case "min":
		p.MinReplicas = r.int(value)
	case "max":
		p.MaxReplicas = r.int(value)
	case "growth":
		p.MaxGrowth = r.float(value)
	case "hold":
		p.ScaleDownHold = r.span(value)
	default:
		return false
	}
	return true
}

func (s *scenario) setLead(r *reader, key, value string) bool {
	switch key {
	case "fixed":
		s.lead.Fixed = r.span(value)
	case "initial":
		s.lead.Initial = r.span(value)
	case "collection":
		s.lead.Collection = r.span(value)
	default:
		return false
	}
	return true
}

func (s *scenario) setForecast(r *reader, key, value string) bool {
	switch key {
	case "ahead":
		s.foresight = r.float(value)
	case "noise":
		s.forecastNoise = r.float(value)
	case "mode":
		s.policy.ForecastMode = map[string]ForecastMode{"On": ForecastOn, "Shadow": ForecastShadow, "Off": ForecastOff}[value]
	default:
		return false
	}
	return true
}

func (s *scenario) setDemand(r *reader, key, value string) bool {
	hour, minute, found := strings.Cut(key, ":")
	s.demand.points = append(s.demand.points, curvePoint{float64(60*r.int(hour) + r.int(minute)), r.float(value)})
	return found
}

func setWindow(r *reader, s *scenario, w *Window, key, value string) bool {
	switch key {
	case "name":
		w.Name = value
	case "schedule":
		w.Schedule = value
	case "duration":
		w.Duration = r.span(value)
	case "from":
		w.From = r.moment(s, value)
	case "until":
		w.Until = r.moment(s, value)
	case "replicas":
		w.Replicas = r.int(value)
	case "max":
		w.MaxReplicas = r.int(value)
	case "ramp":
		w.Ramp = r.span(value)
	default:
		return false
	}
	return true
}

// fields splits at blanks, save between quotation marks, which are left out.
func fields(line string) (words []string) {
	var word strings.Builder
	quoted, any := false, false
	for _, c := range line + " " {
		switch {
		case c == '"':
			quoted, any = !quoted, true
		case c == ' ' && !quoted:
			if any {
				words = append(words, word.String())
			}
			word.Reset()
			any = false
		default:
			word.WriteRune(c)
			any = true
		}
	}
	return words
}
