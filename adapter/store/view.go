package store

import (
	"errors"
	"slices"
	"time"
)

// View is what all sources together know about a key. It is immutable.
type View struct {
	layers   []layer // best source first
	complete bool    // every source that was expected has been tried
}

type layer struct {
	source  Source
	table   *Table // nil until the source has answered
	attempt Attempt
}

// forgetAfter is how long a source that never answered is remembered for its error's sake.
const forgetAfter = 2 * time.Minute

func (l layer) keptFor() time.Duration {
	if l.table == nil {
		return forgetAfter
	}
	return max(forgetAfter, 2*l.table.MaxStaleness)
}

// Value is one object's value from the best source that has one, or why there is none.
func (v *View) Value(object string, now time.Time) (Value, *Absence) {
	var why *Absence
	for _, l := range v.layers {
		if l.table == nil {
			continue
		}
		value, absence := l.table.Value(object, now)
		if absence == nil {
			return value, nil
		}
		why = worthier(why, absence)
	}
	return Value{}, v.explain(why)
}

// Rows is an External answer from the best source that has one whole, or why there is none.
func (v *View) Rows(now time.Time) ([]Value, *Absence) {
	var why *Absence
	for _, l := range v.layers {
		if l.table == nil {
			continue
		}
		rows, absence := l.table.Rows(now)
		if absence == nil {
			return rows, nil
		}
		why = worthier(why, absence)
	}
	return nil, v.explain(why)
}

// Window is the range that the best answering source's query looks over; 0 for instant values.
func (v *View) Window() time.Duration {
	for _, l := range v.layers {
		if l.table != nil {
			return l.table.Window
		}
	}
	return 0
}

// FailPartial says that an answer for many pods fails when a Ready one has no value.
func (v *View) FailPartial() bool {
	for _, l := range v.layers {
		if l.table != nil {
			return l.table.FailPartial
		}
	}
	return false
}

// Tried says that a source has been tried.
func (v *View) Tried(source string) bool {
	return slices.ContainsFunc(v.layers, func(l layer) bool { return l.source.Name == source })
}

func (v *View) lacks(source string) bool { return !v.Tried(source) }

// Complete says that all sources have been tried, whether or not any has answered.
func (v *View) Complete() bool { return v.complete }

// Answered says that all sources have been tried and at least one has answered, whatever its answer held.
func (v *View) Answered() bool {
	if !v.complete {
		return false
	}
	for _, l := range v.layers {
		if l.table != nil {
			return true
		}
	}
	return false
}

// Empty says that no source has ever given a value for any object.
func (v *View) Empty() bool {
	for _, l := range v.layers {
		if l.table != nil && (l.table.Len() > 0 || l.table.zero != nil) {
			return false
		}
	}
	return true
}

// Explain says why a key has nothing at all; nil receivers included.
func (v *View) Explain() *Absence {
	if v == nil {
		return &Absence{Cause: NotAsked}
	}
	why := v.explain(nil)
	if !v.complete && why.Cause == NoSample {
		why.Cause = NotAsked
	}
	return why
}

// explain puts a source's trouble before the absence that follows from it.
func (v *View) explain(why *Absence) *Absence {
	for _, l := range v.layers {
		if l.attempt.Err == nil {
			continue
		}
		if known, ok := errors.AsType[*Absence](l.attempt.Err); ok {
			return known
		}
		failed := &Absence{Cause: Failed, Detail: l.attempt.Err.Error()}
		if why != nil {
			failed.LastGood = why.LastGood
		}
		return failed
	}
	if why == nil {
		return &Absence{Cause: NoSample}
	}
	return why
}

// worthier keeps the absence that tells more: a source that has seen the object knows more than one that never has.
func worthier(a, b *Absence) *Absence {
	if a == nil || a.Cause == NoSample && a.LastGood.IsZero() {
		return b
	}
	return a
}
