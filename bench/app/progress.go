package app

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress draws a bar on a terminal, and nothing elsewhere.
type progress struct {
	w     io.Writer // nil: nothing is drawn
	last  string
	drawn bool
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if !ok {
		return &progress{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{w: w}
}

// show draws the share done, 0 to 1, and what is being done.
func (p *progress) show(what string, share float64) {
	if p.w == nil {
		return
	}
	const width = 32
	full := int(width * min(max(share, 0), 1))
	line := fmt.Sprintf("%s%s %3.0f %% %s", strings.Repeat("█", full), strings.Repeat("░", width-full), 100*share, what)
	if line == p.last {
		return
	}
	p.last, p.drawn = line, true
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
}

func (p *progress) done() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
