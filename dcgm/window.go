package dcgm

import "time"

// Window is the recent past of one slice and signal. Its zero value is not usable; make one with NewWindow.
type Window struct {
	span     time.Duration
	readings []Reading // by At
}

// MinCoverage is the share of a window that must be known for a mean or a maximum over it to be told: with less than half of it,
// what is not known decides.
const MinCoverage = 0.5

// maxReadings bounds a window's memory whatever is added: four a second for a minute and some.
const maxReadings = 256

// NewWindow looks back over span.
func NewWindow(span time.Duration) *Window { return &Window{span: span} }

// Add takes the next reading. One without a number leaves a hole; one of a later generation, or an absence that ends the slice,
// empties the window. A reading that is not newer than the last is ignored.
func (w *Window) Add(r Reading) {
	last := Reading{}
	if len(w.readings) > 0 {
		last = w.readings[len(w.readings)-1]
	}
	switch {
	case r.Absence.Ends():
		w.readings = w.readings[:0]
		return
	case !r.Valid(), !r.At.After(last.At), r.Generation < last.Generation:
		return
	case r.Generation > last.Generation, r.Quality != last.Quality: // another quality is another quantity
		w.readings = w.readings[:0]
	}
	keep := 0
	for keep < len(w.readings) && (r.At.Sub(w.readings[keep].At) > w.span || len(w.readings)-keep >= maxReadings) {
		keep++
	}
	w.readings = append(w.readings[:0], w.readings[keep:]...)
	w.readings = append(w.readings, r)
}

// Mean is the mean over the span before now, each reading counting for the time that it covers and no other does. It is
// absent when less than MinCoverage of the span is covered.
func (w *Window) Mean(now time.Time) Reading {
	sum := 0.0
	out, covered := w.each(now, func(r Reading, d time.Duration) { sum += r.Value * d.Seconds() })
	if out.Valid() {
		out.Value = sum / covered.Seconds()
	}
	return out
}

// Max is the largest reading that covers a part of the span before now, absent as Mean is.
func (w *Window) Max(now time.Time) Reading {
	largest := 0.0
	out, _ := w.each(now, func(r Reading, _ time.Duration) { largest = max(largest, r.Value) })
	if out.Valid() {
		out.Value = largest
	}
	return out
}

// each goes through the readings with the time that each covers: from the end of the one before, or its own window's start,
// to its own time.
func (w *Window) each(now time.Time, visit func(Reading, time.Duration)) (Reading, time.Duration) {
	if len(w.readings) == 0 {
		return Reading{Absence: NoCoverage}, 0
	}
	out := w.readings[len(w.readings)-1]
	out.Window = w.span
	start, covered := now.Add(-w.span), time.Duration(0)
	for _, r := range w.readings {
		from := r.At.Add(-r.Window)
		if from.Before(start) {
			from = start
		}
		until := r.At
		if until.After(now) {
			until = now
		}
		if d := until.Sub(from); d > 0 {
			visit(r, d)
			covered += d
			start = until
		}
	}
	if covered.Seconds() < MinCoverage*w.span.Seconds() {
		return out.Without(NoCoverage), 0
	}
	return out, covered
}
