package traces

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Row is one line of a trace: the chosen column's value over [At, At + Trace.Step).
type Row struct {
	At    time.Duration // from the start of the trace's clock
	Value float64       // finite, not negative
	Line  int           // in the file, the header being line 1
}

// Trace is one column of a trace file, sorted by time, one row per time stamp.
type Trace struct {
	Column string
	Step   time.Duration
	Rows   []Row
	Issues []Issue // in order of line
}

// Issue is something wrong in a trace file, and what Read did about it.
type Issue struct {
	Line   int
	Reason string
	Action string
}

func (i Issue) String() string { return fmt.Sprintf("line %d: %s: %s", i.Line, i.Reason, i.Action) }

// ErrNoRows is returned for a file without a single usable row.
var ErrNoRows = errors.New("no usable row")

const (
	timeColumn = "timestamp_s"
	// maxSeconds keeps time stamps inside time.Duration (292 years) with room to add. A time stamp beyond it is in
	// milliseconds or nanoseconds since 1970, so it is reported as a wrong unit.
	maxSeconds = 9e9
	maxBins    = 50_000_000 // a grid beyond this is a wrong unit too: 95 years of minutes
)

// Read reads one column of a trace, plain or gzip. Bad rows are left out and reported in Trace.Issues by line; an error
// means that there is nothing to work with.
func Read(r io.Reader, column string) (Trace, error) {
	plain, err := decompressed(r)
	if err != nil {
		return Trace{}, err
	}
	lines := bufio.NewScanner(plain)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	t := Trace{Column: column}
	if !lines.Scan() {
		if err := lines.Err(); err != nil {
			return Trace{}, fmt.Errorf("read header: %w", err)
		}
		return Trace{}, fmt.Errorf("read header: %w", ErrNoRows)
	}
	timeAt, valueAt, width, err := header(lines.Text(), column)
	if err != nil {
		return Trace{}, err
	}
	for line := 2; lines.Scan(); line++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		row, reason := parse(text, timeAt, valueAt, width)
		if reason != "" {
			t.note(line, reason, "left out")
			continue
		}
		row.Line = line
		t.Rows = append(t.Rows, row)
	}
	if err := lines.Err(); err != nil {
		return Trace{}, fmt.Errorf("read rows: %w", err)
	}
	t.order()
	if len(t.Rows) == 0 {
		return t, ErrNoRows
	}
	t.Step = commonStep(t.Rows)
	t.gaps()
	sort.SliceStable(t.Issues, func(i, j int) bool { return t.Issues[i].Line < t.Issues[j].Line })
	return t, nil
}

func decompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	magic, _ := b.Peek(2) // a shorter file is no gzip
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("read gzip: %w", err)
	}
	return z, nil
}

func header(text, column string) (timeAt, valueAt, width int, err error) {
	names := strings.Split(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"), ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	timeAt, valueAt = slices.Index(names, timeColumn), slices.Index(names, column)
	if timeAt < 0 {
		return 0, 0, 0, fmt.Errorf("line 1: no column %q, only %s", timeColumn, strings.Join(names, ", "))
	}
	if valueAt < 0 || valueAt == timeAt {
		return 0, 0, 0, fmt.Errorf("line 1: no column %q to forecast, only %s", column, strings.Join(names, ", "))
	}
	return timeAt, valueAt, len(names), nil
}

func parse(text string, timeAt, valueAt, width int) (Row, string) {
	fields := strings.Split(text, ",")
	if len(fields) != width {
		return Row{}, fmt.Sprintf("%d fields instead of %d", len(fields), width)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(fields[timeAt]), 64)
	switch {
	case err != nil || math.IsNaN(seconds):
		return Row{}, fmt.Sprintf("time stamp %q is not a number of seconds", fields[timeAt])
	case seconds < 0:
		return Row{}, fmt.Sprintf("time stamp %s is negative", fields[timeAt])
	case seconds > maxSeconds:
		return Row{}, fmt.Sprintf("time stamp %s is no number of seconds (milliseconds or nanoseconds?)", fields[timeAt])
	}
	value := strings.TrimSpace(fields[valueAt])
	v, err := strconv.ParseFloat(value, 64)
	switch {
	case value == "":
		return Row{}, "value is empty"
	case err != nil:
		return Row{}, fmt.Sprintf("value %q is not a number", value)
	case math.IsNaN(v) || math.IsInf(v, 0):
		return Row{}, fmt.Sprintf("value %s is not finite", value)
	case v < 0:
		return Row{}, fmt.Sprintf("value %s is negative", value)
	}
	return Row{At: time.Duration(math.Round(seconds * 1e9)), Value: v}, ""
}

// order sorts the rows and keeps the first of several at one time.
func (t *Trace) order() {
	for i := 1; i < len(t.Rows); i++ {
		if t.Rows[i].At < t.Rows[i-1].At {
			t.note(t.Rows[i].Line, fmt.Sprintf("time stamp %gs is before the row above", t.Rows[i].At.Seconds()), "sorted into place")
		}
	}
	sort.SliceStable(t.Rows, func(i, j int) bool { return t.Rows[i].At < t.Rows[j].At })
	kept := t.Rows[:0]
	for _, r := range t.Rows {
		if len(kept) > 0 && kept[len(kept)-1].At == r.At {
			t.note(r.Line, fmt.Sprintf("time stamp %gs was given before, on line %d", r.At.Seconds(), kept[len(kept)-1].Line), "left out")
			continue
		}
		kept = append(kept, r)
	}
	t.Rows = kept
}

// gaps reports each hole once, at the row after it.
func (t *Trace) gaps() {
	for i := 1; i < len(t.Rows); i++ {
		d := t.Rows[i].At - t.Rows[i-1].At
		switch {
		case d > t.Step:
			lacking := (d+t.Step/2)/t.Step - 1
			t.note(t.Rows[i].Line, fmt.Sprintf("gap of %v before this row, %d rows lacking", d-t.Step, lacking), "the bins it touches are missing")
		case d < t.Step:
			t.note(t.Rows[i].Line, fmt.Sprintf("row comes %v after the last, sooner than the step of %v", d, t.Step), "put into its bin as it is")
		}
	}
}

func (t *Trace) note(line int, reason, action string) {
	t.Issues = append(t.Issues, Issue{Line: line, Reason: reason, Action: action})
}

// commonStep is the commonest difference of neighbours, the smaller one on a tie; a lone row covers a second.
func commonStep(rows []Row) time.Duration {
	if len(rows) < 2 {
		return time.Second
	}
	counts := make(map[time.Duration]int)
	for i := 1; i < len(rows); i++ {
		counts[rows[i].At-rows[i-1].At]++
	}
	best, most := time.Duration(0), 0
	for d, n := range counts {
		if n > most || n == most && d < best {
			best, most = d, n
		}
	}
	return best
}
