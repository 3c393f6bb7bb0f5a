//go:build linux && cgo

package nvml

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/test/fakenvml"
)

// go-nvml cannot change its library within a process, and a missing symbol ends the process. So each test that needs a driver runs its body in a
// child: this test binary again, for that test alone.
const (
	childVariable   = "HEADROOM_TEST_CHILD"
	libraryVariable = "HEADROOM_TEST_LIBRARY"
)

var (
	fakeDirectory string
	fakeLibrary   string
	fakeError     error
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		directory, err := os.MkdirTemp("", "fakenvml-")
		if err != nil {
			panic(err)
		}
		fakeDirectory = directory
		fakeLibrary, fakeError = fakenvml.Build(directory)
	}
	code := m.Run()
	if fakeDirectory != "" {
		os.RemoveAll(fakeDirectory)
	}
	os.Exit(code)
}

func needFake(t *testing.T) {
	t.Helper()
	switch {
	case errors.Is(fakeError, fakenvml.ErrNoCompiler):
		t.Skip(fakeError)
	case fakeError != nil:
		t.Fatal(fakeError)
	}
}

// inChild runs body in a process of its own, with a library that shows the scenario.
func inChild(t *testing.T, scenario fakenvml.Scenario, body func(f *fake)) {
	t.Helper()
	inChildWith(t, func() string { return fakeLibrary }, scenario, body)
}

// bodyRan tells a child that ran its body from one that found nothing to run.
const bodyRan = "the child has run its body"

func inChildWith(t *testing.T, library func() string, scenario fakenvml.Scenario, body func(f *fake)) {
	t.Helper()
	if os.Getenv(childVariable) == t.Name() {
		f := &fake{T: t, scenario: scenario, file: os.Getenv(fakenvml.Env), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
		f.show(func(*fakenvml.Scenario) {})
		body(f)
		fmt.Println(bodyRan)
		return
	}
	needFake(t)
	if out, code := child(t, library()); code != 0 || strings.Contains(out, "fakenvml: misuse") || !strings.Contains(out, bodyRan) {
		t.Fatalf("the child ended with code %d and said:\n%s", code, out)
	}
}

func child(t *testing.T, library string) (string, int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(t.Name(), "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	command := exec.Command(self, "-test.run="+strings.Join(parts, "/"), "-test.count=1", "-test.timeout=5m")
	// The race detector waits a second before a process ends, for reports of others that it does not have.
	command.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", childVariable+"="+t.Name(), libraryVariable+"="+library, "LD_LIBRARY_PATH="+filepath.Dir(library), fakenvml.Env+"="+filepath.Join(t.TempDir(), "scenario"))
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	var failed *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return out.String(), command.ProcessState.ExitCode()
}

// fake is the child's side: the driver that it shows itself, a clock that stands still until told otherwise, and the library under test.
type fake struct {
	*testing.T
	scenario fakenvml.Scenario
	file     string
	now      time.Time
	opts     Options
	lib      *Library
}

// show changes what the driver shows.
func (f *fake) show(change func(*fakenvml.Scenario)) {
	f.Helper()
	change(&f.scenario)
	if err := f.scenario.Write(f.file); err != nil {
		f.Fatal(err)
	}
}

func (f *fake) options() Options {
	opts := DefaultOptions()
	opts.Library, opts.Now = os.Getenv(libraryVariable), func() time.Time { return f.now }
	opts.TrustOldDrivers, opts.WithoutGPM = f.opts.TrustOldDrivers, f.opts.WithoutGPM
	return opts
}

// open opens the library and looks at what is there.
func (f *fake) open() *dcgm.Inventory {
	f.Helper()
	lib, err := Open(f.options())
	if err != nil {
		f.Fatal(err)
	}
	f.lib = lib
	f.Cleanup(func() {
		if err := lib.Close(); err != nil {
			f.Error(err)
		}
	})
	return f.look()
}

func (f *fake) look() *dcgm.Inventory {
	f.Helper()
	inv, err := f.lib.Inventory()
	if err != nil {
		f.Fatal(err)
	}
	return inv
}

// tick lets a second pass and samples.
func (f *fake) tick() tick {
	f.Helper()
	f.now = f.now.Add(time.Second)
	readings, err := f.lib.Sample()
	if err != nil {
		f.Fatal(err)
	}
	got := tick{}
	for _, r := range readings {
		key := r.Slice.String() + " " + r.Signal.String()
		if _, twice := got[key]; twice {
			f.Errorf("two readings of %s in one tick", key)
		}
		if r.Valid() == (r.Absence != 0) {
			f.Errorf("%s is neither a number nor an absence, or both: %+v", key, r)
		}
		got[key] = r
	}
	return got
}

type tick map[string]dcgm.Reading

// of is a reading as a person would write it: "0.42 exact", or why there is none.
func (got tick) of(slice dcgm.Slice, signal dcgm.Signal) string {
	r, found := got[slice.String()+" "+signal.String()]
	switch {
	case !found:
		return "nothing"
	case !r.Valid():
		return r.Absence.String()
	case signal.Bytes():
		return fmt.Sprintf("%.0f MiB", r.Value/(1<<20))
	}
	return fmt.Sprintf("%.3f %s", r.Value, r.Quality)
}

func (f *fake) want(got tick, slice dcgm.Slice, signal dcgm.Signal, want string) {
	f.Helper()
	if is := got.of(slice, signal); is != want {
		f.Errorf("%s of %s is %q, want %q", signal, slice, is, want)
	}
}

func (f *fake) asks(want Action) {
	f.Helper()
	if v := f.lib.Verdict(f.now); v.Action != want {
		f.Errorf("the library asks to %s (%s), want to %s", v.Action, v.Why, want)
	}
}
