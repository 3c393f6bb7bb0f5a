package main

import (
	"fmt"
	"io"
	"time"
)

// teller says what is being started, and that a step that takes long is still alive.
type teller struct {
	out   io.Writer
	plain bool
}

func (t *teller) say(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", args...) }

// A step that takes longer than worthATime gets its time in the end; a log hears every aliveEvery of one that goes on.
const (
	worthATime = 2 * time.Second
	aliveEvery = 30 * time.Second
)

// step does what it says, with a clock that runs in place on a terminal.
func (t *teller) step(what string, do func() error) error {
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	every := time.Second
	if t.plain {
		every = aliveEvery
		t.say("- %s", what)
	} else {
		_, _ = fmt.Fprintf(t.out, "- %s", what)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			t.end(what, time.Since(began).Round(time.Second))
			return err
		case <-ticker.C:
			took := time.Since(began).Round(time.Second)
			if t.plain {
				t.say("  … %s", took)
			} else {
				_, _ = fmt.Fprintf(t.out, "\r\x1b[K- %s … %s", what, took)
			}
		}
	}
}

func (t *teller) end(what string, took time.Duration) {
	switch {
	case !t.plain && took >= worthATime:
		t.say("\r\x1b[K- %s (%s)", what, took)
	case !t.plain:
		t.say("\r\x1b[K- %s", what)
	case took >= aliveEvery:
		t.say("  done in %s", took)
	}
}
