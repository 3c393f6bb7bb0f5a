package traces

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// Scenario is a seeded generator of minute series. The same seed gives the same series, bit for bit.
type Scenario struct {
	Name  string
	Group string // services, LLM, intermittent or short: how the scoreboard groups it
	Make  func(seed uint64, days int) forecaster.Series
}

// Scenarios are the stand-ins for real traffic, in a fixed order.
func Scenarios() []Scenario {
	return []Scenario{
		{"llm-like", "LLM", LLMLike},
		{"daily-service", "services", DailyService},
		{"intermittent", "intermittent", Intermittent},
		{"flash-crowd", "services", FlashCrowd},
		{"step", "services", Step},
		{"regime-change", "services", RegimeChange},
		{"dst-week", "services", DSTWeek},
		{"outage", "services", Outage},
	}
}

const minutesPerDay = 24 * 60

// source makes one random stream per scenario and seed.
func source(seed, salt uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, salt)) }

// minutes fills days of one-minute bins from t = 0 with value(i), i counting minutes.
func minutes(days int, value func(i int) forecaster.Observation) forecaster.Series {
	s := forecaster.Series{Start: time.Unix(0, 0).UTC(), Step: time.Minute, Bins: make([]forecaster.Observation, days*minutesPerDay)}
	for i := range s.Bins {
		s.Bins[i] = value(i)
	}
	return s
}

// poisson draws a count of mean m; the normal approximation is used from 50 up.
func poisson(r *rand.Rand, m float64) float64 {
	if m >= 50 {
		return math.Max(0, math.Round(m+math.Sqrt(m)*r.NormFloat64()))
	}
	limit, p := math.Exp(-m), 1.0
	for k := 0.0; ; k++ {
		if p *= r.Float64(); p <= limit {
			return k
		}
	}
}

// LLMLike imitates requests to one large model: hardly any season, strong persistence, jumps of all sizes. Over ten minutes
// the relative change is 5 % at the median, about 25 % at p90 and 60 % at p99. Jumps come at random times, on average
// every six minutes: nothing happens at fixed edges.
func LLMLike(seed uint64, days int) forecaster.Series {
	r := source(seed, 1)
	x, rough := 0.0, 0.0 // log level less season; log of the size of jumps
	phase := r.Float64()
	return minutes(days, func(i int) forecaster.Observation {
		rough += 0.002*(0-rough) + 0.05*r.NormFloat64()
		if r.Float64() < 1.0/6 {
			size := 0.045
			switch u := r.Float64(); {
			case u > 0.96:
				size = 0.45
			case u > 0.75:
				size = 0.20
			}
			x += 0.04*(0-x) + size*math.Exp(0.5*rough)*r.NormFloat64()
		}
		season := 0.15 * math.Sin(2*math.Pi*(float64(i)/minutesPerDay+phase))
		return forecaster.Value(poisson(r, 2000*math.Exp(x+season)))
	})
}

// daily is the shape of a service with office hours: day and weekend, 1 at its mean.
func daily(minute int) float64 {
	day := float64(minute%minutesPerDay) / minutesPerDay
	shape := 1 + 0.6*math.Sin(2*math.Pi*(day-0.35)) + 0.2*math.Sin(4*math.Pi*(day-0.1))
	if weekday := minute / minutesPerDay % 7; weekday == 2 || weekday == 3 { // 1970 began on a Thursday
		shape *= 0.6
	}
	return max(shape, 0.05)
}

// wander is a slow mean-reverting walk in logarithms.
func wander(r *rand.Rand, x *float64, rate, size float64) float64 {
	*x += rate*(0-*x) + size*r.NormFloat64()
	return math.Exp(*x)
}

// DailyService is a service with strong daily and weekly cycles and modest noise.
func DailyService(seed uint64, days int) forecaster.Series {
	r := source(seed, 2)
	x := 0.0
	return minutes(days, func(i int) forecaster.Observation {
		return forecaster.Value(poisson(r, 600*daily(i)*wander(r, &x, 0.01, 0.015)))
	})
}

// Intermittent has no demand most of the time: requests come in short sessions.
func Intermittent(seed uint64, days int) forecaster.Series {
	r := source(seed, 3)
	left, size := 0, 0.0
	return minutes(days, func(i int) forecaster.Observation {
		if left == 0 && r.Float64() < 0.012*daily(i) {
			left, size = 1+int(r.ExpFloat64()*12), 5*math.Exp(0.7*r.NormFloat64())
		}
		if left == 0 {
			return forecaster.Zero()
		}
		left--
		return forecaster.Value(poisson(r, size))
	})
}

// FlashCrowd is a daily service on which crowds break a few times a week: up three- to tenfold in minutes, gone in an hour.
func FlashCrowd(seed uint64, days int) forecaster.Series {
	r := source(seed, 4)
	x, crowd := 0.0, 0.0
	return minutes(days, func(i int) forecaster.Observation {
		if r.Float64() < 0.5/minutesPerDay {
			crowd += 2 + 7*r.Float64()
		}
		crowd *= math.Exp(-1.0 / 25)
		return forecaster.Value(poisson(r, 300*daily(i)*wander(r, &x, 0.01, 0.02)*(1+crowd)))
	})
}

// Step is a daily service that triples for good two thirds of the way.
func Step(seed uint64, days int) forecaster.Series {
	s := DailyService(seed, days)
	for i := len(s.Bins) * 2 / 3; i < len(s.Bins); i++ {
		s.Bins[i].Value *= 3
	}
	return s
}

// RegimeChange is a daily service that loses its season and becomes rough half way.
func RegimeChange(seed uint64, days int) forecaster.Series {
	r := source(seed, 5)
	x := 0.0
	return minutes(days, func(i int) forecaster.Observation {
		if i < days*minutesPerDay/2 {
			return forecaster.Value(poisson(r, 600*daily(i)*wander(r, &x, 0.01, 0.015)))
		}
		return forecaster.Value(poisson(r, 600*wander(r, &x, 0.01, 0.06)))
	})
}

// dstStart is the start of a DSTWeek series: 14 days before the clocks go forward in New York in 2026.
var dstStart = time.Date(2026, 2, 22, 5, 0, 0, 0, time.UTC) // midnight there

// DSTZone is the zone whose clocks a DSTWeek series follows.
const DSTZone = "America/New_York"

// DSTWeek is a daily service that follows local clocks, which go forward an hour on its fifteenth day. It starts at local
// midnight; give the engine DSTZone.
func DSTWeek(seed uint64, days int) forecaster.Series {
	r := source(seed, 6)
	x := 0.0
	s := minutes(days, func(i int) forecaster.Observation {
		local := i
		if i >= 14*minutesPerDay+2*60 {
			local += 60
		}
		return forecaster.Value(poisson(r, 600*daily(local)*wander(r, &x, 0.01, 0.015)))
	})
	s.Start = dstStart
	return s
}

// Outage is a daily service of which nothing is known for an hour every third day, and of 5 % of all minutes.
func Outage(seed uint64, days int) forecaster.Series {
	s := DailyService(seed, days)
	r := source(seed, 7)
	for i := range s.Bins {
		out := i/minutesPerDay%3 == 2 && i%minutesPerDay/60 == 10
		if out || r.Float64() < 0.05 {
			s.Bins[i] = forecaster.NoData()
		}
	}
	return s
}
