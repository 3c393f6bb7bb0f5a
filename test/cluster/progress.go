package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progressLine shows a count that grows: redrawn in place on a terminal, a line every half minute elsewhere.
type progressLine struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	label    string
	total    int
	count    int
	start    time.Time
	shown    time.Time
	stop     chan struct{}
	stopped  chan struct{}
}

func newProgressLine(out io.Writer, label string, total int) *progressLine {
	p := &progressLine{out: out, label: label, total: total, start: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	if file, ok := out.(*os.File); ok {
		if info, err := file.Stat(); err == nil {
			p.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	go p.run()
	return p
}

func (p *progressLine) run() {
	defer close(p.stopped)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			if p.terminal || time.Since(p.shown) > 30*time.Second {
				p.draw(" …")
			}
			p.mu.Unlock()
		}
	}
}

func (p *progressLine) step() {
	p.mu.Lock()
	p.count++
	p.mu.Unlock()
}

func (p *progressLine) done() {
	close(p.stop)
	<-p.stopped
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw("")
	if p.terminal {
		fmt.Fprintln(p.out)
	}
}

func (p *progressLine) draw(end string) {
	p.shown = time.Now()
	text := fmt.Sprintf("compiling %s: %d of its %d packages were not in the build cache yet, %s%s", p.label, min(p.count, p.total), p.total, time.Since(p.start).Round(time.Second), end)
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(p.out, text)
}
