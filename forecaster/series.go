package forecaster

import (
	"fmt"
	"math"
	"time"
)

// Kind says what is known about one bin of a series. The zero Kind is invalid on purpose: an observation that nobody
// filled in is refused instead of being read as "no demand".
type Kind uint8

const (
	// Missing: nothing is known about the bin. It is never a zero.
	Missing Kind = iota + 1
	// Measured: Value is the demand.
	Measured
	// VerifiedZero: the source was up and there was no demand.
	VerifiedZero
	// AtLeast: the servers were saturated, so the demand was Value or more (a censored observation).
	AtLeast
)

func (k Kind) String() string {
	switch k {
	case Missing:
		return "missing"
	case Measured:
		return "measured"
	case VerifiedZero:
		return "verified zero"
	case AtLeast:
		return "at least"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Observation is what is known about one bin. Value is in the unit of the series, finite and not negative; it counts
// only for Measured and AtLeast.
type Observation struct {
	Kind  Kind
	Value float64
}

// NoData is the observation of a bin about which nothing is known.
func NoData() Observation { return Observation{Kind: Missing} }

// Value is the observation of a measured demand of v.
func Value(v float64) Observation { return Observation{Kind: Measured, Value: v} }

// Zero is the observation of a bin that was watched and had no demand.
func Zero() Observation { return Observation{Kind: VerifiedZero} }

// LowerBound is the observation of a bin in which demand was v or more.
func LowerBound(v float64) Observation { return Observation{Kind: AtLeast, Value: v} }

// Number returns the measured demand, and false if it is unknown or only bounded.
func (o Observation) Number() (float64, bool) {
	switch o.Kind {
	case Measured:
		return o.Value, true
	case VerifiedZero:
		return 0, true
	case Missing, AtLeast:
	}
	return 0, false
}

// sane returns the observation as the engine takes it: a NaN, an infinity, a negative number (which is what a counter
// reset looks like after a careless subtraction) or an unknown kind is an absence, never a number.
func (o Observation) sane() Observation {
	switch o.Kind {
	case VerifiedZero:
		return Observation{Kind: Measured}
	case Measured, AtLeast:
		if math.IsNaN(o.Value) || o.Value < 0 || o.Value > maxMagnitude {
			return NoData()
		}
		if o.Value < 1/maxMagnitude {
			o.Value = 0
		}
		return o
	case Missing:
	}
	return NoData()
}

// maxMagnitude bounds what is taken for a demand, so that single precision and squares stay finite. What is below its
// inverse is a zero.
const maxMagnitude = 1e30

// Series is demand on a grid: Bins[i] covers [Start + i·Step, Start + (i+1)·Step).
type Series struct {
	Start time.Time
	Step  time.Duration
	Bins  []Observation
}

// At is the start of bin i.
func (s Series) At(i int) time.Time { return s.Start.Add(time.Duration(i) * s.Step) }

// Span is the time that the bins cover.
func (s Series) Span() time.Duration { return time.Duration(len(s.Bins)) * s.Step }
