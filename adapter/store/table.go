package store

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Table is everything known about one key after a round. It is immutable.
type Table struct {
	// Window is the range the rule's query looks over; 0 for an instant value.
	Window time.Duration
	// MaxStaleness is the age past which a value is absent.
	MaxStaleness time.Duration
	// FailPartial says that an answer for many pods fails when a Ready one has no value, instead of leaving it out.
	FailPartial bool

	values  map[string]Value // by object name, or by row for External
	invalid map[string]Cause // objects of the last answer without a usable number
	rows    []string         // External: the last answer's rows in a stable order
	zero    *Value           // emptyIsZero: what an object without a series counts as, as of the last good answer
}

// Terms are a rule's conditions for its values.
type Terms struct {
	Window       time.Duration
	MaxStaleness time.Duration
	FailPartial  bool
	EmptyIsZero  bool
}

// Value is one object's value, or why it has none.
func (t *Table) Value(object string, now time.Time) (Value, *Absence) {
	value, found := t.values[object]
	if found && value.Age(now) <= t.MaxStaleness {
		return value, nil
	}
	cause, bad := t.invalid[object]
	if !found && !bad && t.zero != nil && t.zero.Age(now) <= t.MaxStaleness {
		return *t.zero, nil
	}
	absence := &Absence{Cause: NoSample, LastGood: value.SampledAt}
	switch {
	case bad:
		absence.Cause = cause
	case found:
		absence.Cause = Stale
	}
	return Value{}, absence
}

// Rows is an External answer, or why there is none. It is all or nothing: the HPA sums the rows.
func (t *Table) Rows(now time.Time) ([]Value, *Absence) {
	values := make([]Value, 0, len(t.rows))
	for _, row := range t.rows {
		value, absence := t.Value(row, now)
		if absence != nil {
			absence.Detail = row
			return nil, absence
		}
		values = append(values, value)
	}
	if len(values) == 0 {
		if t.zero != nil && t.zero.Age(now) <= t.MaxStaleness {
			return []Value{*t.zero}, nil
		}
		return nil, &Absence{Cause: NoSample}
	}
	return values, nil
}

// Len is how many objects or rows have a value, stale ones included.
func (t *Table) Len() int { return len(t.values) }

// remembered is how long a value is kept after it went stale, for nothing but to say when it was last seen.
const remembered = 10 * time.Minute

// mergeObjects makes the table that follows a round in which each object stands for itself.
func mergeObjects(previous *Table, readings map[string]Reading, terms Terms, now time.Time) *Table {
	next := &Table{
		Window: terms.Window, MaxStaleness: terms.MaxStaleness, FailPartial: terms.FailPartial,
		values: make(map[string]Value, len(readings)),
	}
	for object, reading := range readings {
		next.take(object, reading, previous)
	}
	if previous != nil {
		for object, value := range previous.values {
			if _, read := readings[object]; !read && value.Age(now) <= terms.MaxStaleness+remembered {
				next.values[object] = value
			}
		}
	}
	if terms.EmptyIsZero {
		next.zero = &Value{SampledAt: now, FreshAt: now}
	}
	return next
}

// mergeRows makes the table that follows an External answer: the rows are those of the answer, so that a series which
// ended stops counting. An empty answer says nothing, and leaves the rows to age.
func mergeRows(previous *Table, readings map[string]Reading, terms Terms, now time.Time) *Table {
	if len(readings) == 0 && previous != nil && !terms.EmptyIsZero {
		next := *previous
		next.Window, next.MaxStaleness, next.FailPartial = terms.Window, terms.MaxStaleness, terms.FailPartial
		return &next
	}
	next := &Table{
		Window: terms.Window, MaxStaleness: terms.MaxStaleness, FailPartial: terms.FailPartial,
		values: make(map[string]Value, len(readings)),
		rows:   slices.SortedFunc(maps.Keys(readings), cmp.Compare[string]),
	}
	for row, reading := range readings {
		next.take(row, reading, previous)
	}
	if len(readings) == 0 && terms.EmptyIsZero {
		next.zero = &Value{SampledAt: now, FreshAt: now}
	}
	return next
}

// take puts a reading in, or, where it is no good, the last good value, which goes on ageing. Time does not run
// backwards: a backend that lags behind the one asked before does not replace a newer sample.
func (t *Table) take(object string, reading Reading, previous *Table) {
	var last Value
	hadLast := false
	if previous != nil {
		last, hadLast = previous.values[object]
	}
	if reading.Invalid != 0 {
		if t.invalid == nil {
			t.invalid = map[string]Cause{}
		}
		t.invalid[object] = reading.Invalid
		if hadLast {
			t.values[object] = last
		}
		return
	}
	if hadLast && last.SampledAt.After(reading.SampledAt) {
		t.values[object] = last
		return
	}
	t.values[object] = reading.Value
}

// RowName is the identity of an External row: its labels in a stable order.
func RowName(labels map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(labels[name])
	}
	return b.String()
}
