package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary behave as the program itself, so that its life and death can be watched from outside.
const asProgram = "HEADROOM_CLUSTER_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// soon is far more than starting or stopping takes (five seconds and two), for a machine that is busy.
const soon = 2 * time.Minute

// running is the program as its parent sees it.
type running struct {
	Connection
	cmd   *exec.Cmd
	hold  io.Closer
	said  *strings.Builder // standard error; read it after ended
	ended chan error
}

// runUp starts "cluster up" and reads its line.
func runUp(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	if os.Getenv("HEADROOM_E2E") == "" {
		t.Skip("set HEADROOM_E2E=1 to compile and run control planes")
	}
	r := &running{cmd: exec.Command(os.Args[0], append([]string{"up", "--dir", dir}, args...)...), said: &strings.Builder{}, ended: make(chan error, 1)}
	r.cmd.Env = append(os.Environ(), asProgram+"=1")
	r.cmd.Stderr = r.said
	stdin, err := r.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.hold = stdin
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	line, readErr := bufio.NewReader(stdout).ReadBytes('\n')
	go func() { r.ended <- r.cmd.Wait() }()
	if readErr != nil {
		t.Fatalf("no line: %v, %s", <-r.ended, r.said)
	}
	if err := json.Unmarshal(line, &r.Connection); err != nil {
		t.Fatal(err)
	}
	return r
}

// wait waits until the program has ended.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(soon):
		t.Fatal("still running")
		return nil
	}
}

// leavesNothing checks that none of the programs it started is left.
func (r *running) leavesNothing(t *testing.T) {
	t.Helper()
	want := []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}
	for _, name := range want {
		pid, ok := r.PIDs[name]
		if !ok {
			t.Fatalf("%s is not among %v", name, r.PIDs)
		}
		late := time.After(soon)
		look := time.NewTicker(20 * time.Millisecond) // the kernel tells nobody but a parent that a process has ended
		for alive(pid, name) {
			select {
			case <-look.C:
			case <-late:
				look.Stop()
				t.Fatalf("%s is left as process %d", name, pid)
			}
		}
		look.Stop()
	}
}

// alive says whether the process runs this program: a number may have gone to another one, and a zombie is dead.
func alive(pid int, name string) bool {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && filepath.Base(path) == name
}

func TestItStopsAndLeavesNothing(t *testing.T) {
	for _, tc := range []struct {
		name    string
		end     func(r *running) error
		wantErr bool
		want    string // in what it says
	}{
		{name: "on an interrupt", end: func(r *running) error { return r.cmd.Process.Signal(os.Interrupt) }},
		{name: "when standard input is closed", end: func(r *running) error { return r.hold.Close() }},
		{name: "when it is killed", end: func(r *running) error { return r.cmd.Process.Kill() }, wantErr: true},
		{name: "when etcd crashes", end: func(r *running) error { return syscall.Kill(r.PIDs["etcd"], syscall.SIGKILL) }, wantErr: true, want: "etcd ended by itself:"},
		{name: "when kwok crashes", end: func(r *running) error { return syscall.Kill(r.PIDs["kwok"], syscall.SIGKILL) }, wantErr: true, want: "kwok ended by itself:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := runUp(t, t.TempDir())
			for name, pid := range r.PIDs {
				if !alive(pid, name) {
					t.Fatalf("%s does not run as process %d", name, pid)
				}
			}
			if err := tc.end(r); err != nil {
				t.Fatal(err)
			}
			if err := r.wait(t); (err != nil) != tc.wantErr {
				t.Errorf("ended with %v; it said:\n%s", err, r.said)
			}
			if !strings.Contains(r.said.String(), tc.want) {
				t.Errorf("%q is not in what it said:\n%s", tc.want, r.said)
			}
			r.leavesNothing(t)
		})
	}
}

func TestTwoRunSideBySide(t *testing.T) {
	first, second := runUp(t, t.TempDir()), runUp(t, t.TempDir())
	if first.Server == second.Server || first.EtcdURL == second.EtcdURL || first.Token == second.Token {
		t.Errorf("they share something: %+v, %+v", first.Connection, second.Connection)
	}
	if err := first.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := first.wait(t); err != nil {
		t.Errorf("the first ended with %v: %s", err, first.said)
	}
	for name, pid := range second.PIDs {
		if !alive(pid, name) {
			t.Errorf("%s of the second ended with the first", name)
		}
	}
}

// A child that cannot start is the answer, with the reason from its log, and not a line that says all is ready.
func TestAChildThatCannotStartIsNamed(t *testing.T) {
	if os.Getenv("HEADROOM_E2E") == "" {
		t.Skip("set HEADROOM_E2E=1 to compile and run control planes")
	}
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{name: "kube-apiserver", args: []string{"--apiserver-arg", "--no-such-flag"}, want: "no-such-flag"},
		{name: "kube-controller-manager", args: []string{"--kcm-arg", "--no-such-flag"}, want: "no-such-flag"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], append([]string{"up", "--dir", t.TempDir()}, tc.args...)...)
			cmd.Env = append(os.Environ(), asProgram+"=1")
			var out, said strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &said
			err := cmd.Run()
			if err == nil || out.Len() > 0 {
				t.Errorf("ended with %v and printed %q", err, out.String())
			}
			for _, want := range []string{tc.name + " ended by itself:", tc.want} {
				if !strings.Contains(said.String(), want) {
					t.Errorf("%q is not in what it said:\n%s", want, said.String())
				}
			}
		})
	}
}
