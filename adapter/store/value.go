package store

import (
	"fmt"
	"math"
	"time"
)

// Value is one number that can be served.
type Value struct {
	Number float64 // finite, at least 0, below MaxNumber
	// SampledAt is the newest raw sample's timestamp by the backend's clock: what is shown to people.
	SampledAt time.Time
	// FreshAt is the same instant by this process's clock: what age is counted from, so that clocks that disagree make
	// nothing look fresh or stale.
	FreshAt time.Time
	// Labels are an External row's labels; nil otherwise.
	Labels map[string]string
}

// Age is how old the sample behind the value is; never negative.
func (v Value) Age(now time.Time) time.Duration { return max(0, now.Sub(v.FreshAt)) }

// MaxNumber bounds what fits a Kubernetes quantity in thousandths (int64). Past it there is no honest answer.
const MaxNumber = float64(math.MaxInt64/1000 - 1024)

// Cause says why there is no value.
type Cause int

const (
	NoSample    Cause = iota + 1 // the backend answered, and the object was not in it
	NoRawSample                  // a value was computed, but no raw sample behind it is recent enough to be seen: the target is gone
	Stale                        // the newest raw sample is older than maxStaleness
	NotANumber                   // NaN
	Infinite                     // +Inf, -Inf, or more than a quantity holds
	Negative                     // below zero, which no metric served here can be
	NotAsked                     // no attempt has finished yet
	Failed                       // the backend did not answer and nothing good is left
	NoRule                       // no rule gives the metric, or none from a series that a backend has
)

var causeTexts = map[Cause]string{
	NoSample: "no sample", NoRawSample: "no recent raw sample", Stale: "stale", NotANumber: "NaN",
	Infinite: "infinite", Negative: "negative", NotAsked: "not collected yet", Failed: "backend failed",
	NoRule: "no rule gives this metric from a series that a backend has",
}

func (c Cause) String() string {
	if text, ok := causeTexts[c]; ok {
		return text
	}
	return fmt.Sprintf("cause %d", int(c))
}

// Absence is the reason there is no value. It is what the API's error shows.
type Absence struct {
	Cause Cause
	// LastGood is the timestamp of the last sample that could be served; zero when there never was one.
	LastGood time.Time
	// Detail is the backend's error or the row meant, where there is one.
	Detail string
}

func (a *Absence) Error() string {
	text := a.Cause.String()
	if a.Detail != "" {
		text += ": " + a.Detail
	}
	switch {
	case a.Cause == NoRule:
		return text
	case a.LastGood.IsZero():
		return text + ", never seen"
	}
	return fmt.Sprintf("%s, last seen at %s", text, a.LastGood.UTC().Format("15:04:05Z"))
}

// Reading is what one round learned about one object or row: a number with its times, or why there is none.
type Reading struct {
	Value
	Invalid Cause // 0 when Value stands
}

// NewReading judges a number as a backend gave it. The raw sample is sampleAge old now; a negative age (a backend whose
// sample lies in its own future) counts as 0.
func NewReading(number float64, sampledAt time.Time, sampleAge time.Duration, now time.Time) Reading {
	r := Reading{Value: Value{Number: number, SampledAt: sampledAt, FreshAt: now.Add(-max(0, sampleAge))}}
	switch {
	case math.IsNaN(number):
		r.Invalid = NotANumber
	case number < 0:
		r.Invalid = Negative
	case number > MaxNumber: // +Inf too
		r.Invalid = Infinite
	}
	if math.IsInf(number, -1) {
		r.Invalid = Infinite
	}
	return r
}
