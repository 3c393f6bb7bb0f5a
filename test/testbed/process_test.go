package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// shell is a process that runs a script, killed when the test ends.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	p := newProcess(t.TempDir(), "shell", "/bin/sh", "-c", script)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// saw waits until the process has written the text.
func saw(t *testing.T, p *Process, text string) {
	t.Helper()
	if err := WaitFor(t.Context(), 20*time.Second, fmt.Sprintf("%q in the log", text), func(context.Context) (bool, string) {
		tail := p.Tail(5)
		return strings.Contains(tail, text), tail
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAProcessStopsInItsOwnWay(t *testing.T) {
	p := shell(t, `trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done`)
	saw(t, p, "hello")
	p.Stop()
	saw(t, p, "bye")
	if p.Signal(0) == nil {
		t.Error("it is still there")
	}
}

func TestAFrozenProcessCanBeStopped(t *testing.T) {
	p := shell(t, `trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done`)
	saw(t, p, "hello")
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if states := threadStates(p.PID()); states != "T" {
		t.Errorf("its thread is in state %q", states)
	}
	p.Stop()
	saw(t, p, "bye")
}

func TestAFrozenProcessGoesOn(t *testing.T) {
	p := shell(t, `while :; do sleep 0.05; done`)
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := WaitFor(t.Context(), 20*time.Second, "it to go on", func(context.Context) (bool, string) {
		states := threadStates(p.PID())
		return states != "" && states != "T", states
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAProcessCanBeStartedAgainButNotTwice(t *testing.T) {
	p := shell(t, `echo "I am $$"; while :; do sleep 0.05; done`)
	first := p.PID()
	saw(t, p, fmt.Sprint("I am ", first))
	if err := p.Start(); err == nil || p.PID() != first {
		t.Fatalf("started a second time beside the first: %v", err)
	}
	p.Kill()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	saw(t, p, fmt.Sprint("I am ", p.PID()))
	saw(t, p, fmt.Sprint("I am ", first)) // the log goes on
}

func TestAProcessThatWasNeverStarted(t *testing.T) {
	p := newProcess(t.TempDir(), "nobody", "/no/such/program")
	p.Stop()
	p.Kill()
	if err := p.Pause(); err == nil {
		t.Error("paused")
	}
	if err := p.Start(); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("started with %v", err)
	}
}

func TestWaitForSaysWhatItSawLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		err := WaitFor(t.Context(), 3050*time.Millisecond, "pigs to fly", func(context.Context) (bool, string) {
			looks++
			return false, fmt.Sprintf("look %d", looks)
		})
		const want = "waited 3s for pigs to fly; last seen: look 31"
		if err == nil || err.Error() != want {
			t.Errorf("%v instead of %q", err, want)
		}
	})
}

func TestWaitForEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		err := WaitFor(ctx, time.Hour, "ever", func(context.Context) (bool, string) {
			if time.Since(start) > time.Second {
				cancel()
			}
			return false, "no"
		})
		if err == nil || time.Since(start) > 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestAnExporterShowsWhatItIsTold(t *testing.T) {
	e, err := NewExporter()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	scrape := func() (int, string) {
		response, err := http.Get("http://" + e.Address() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if status, body := scrape(); status != http.StatusOK || body != "" {
		t.Errorf("before anything is told: %d %q", status, body)
	}
	e.Export("up %d\n", 7)
	if status, body := scrape(); status != http.StatusOK || body != "up 7\n" {
		t.Errorf("%d %q", status, body)
	}
	e.Fail(true)
	if status, _ := scrape(); status != http.StatusServiceUnavailable {
		t.Errorf("%d from one that fails", status)
	}
	e.Fail(false)
	if _, body := scrape(); body != "up 7\n" {
		t.Errorf("%q after it failed", body)
	}
}

// What a bed cannot start must not leave a folder behind.
func TestABedThatIsGivenUpLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if bed, err := Start(ctx, Options{Progress: io.Discard}); err == nil {
		bed.Close()
		t.Fatal("started")
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not say that it was given up", err)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
