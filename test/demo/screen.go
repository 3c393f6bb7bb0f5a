package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// screen shows pictures in place, or lines.
type screen struct {
	out     io.Writer
	plain   bool
	planned time.Duration
	width   func() int
	lines   int           // of the last picture
	last    time.Duration // of the last line
}

func newScreen(out *os.File, plain bool, planned time.Duration) *screen {
	return &screen{out: out, plain: plain, planned: planned, last: -lineEvery, width: func() int {
		if width, _, err := term.GetSize(int(out.Fd())); err == nil && width > 0 {
			return width
		}
		return 80
	}}
}

// lineEvery is how often a log gets a line.
const lineEvery = 5 * time.Second

func (s *screen) draw(history []snapshot) {
	now := history[len(history)-1]
	if s.plain {
		if now.Elapsed-s.last >= lineEvery {
			_, _ = fmt.Fprintln(s.out, line(now))
			s.last = now.Elapsed.Truncate(lineEvery) // the next one is not later for this one's delay
		}
		return
	}
	text := render(history, s.planned, s.width())
	if s.lines > 0 {
		text = fmt.Sprintf("\x1b[%dA\x1b[J", s.lines) + text // back up, and clear what was there; one write does not flicker
	}
	_, _ = fmt.Fprint(s.out, text)
	s.lines = strings.Count(text, "\n")
}
