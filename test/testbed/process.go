package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that the bed runs, with its output in a file.
type Process struct {
	Name string
	Log  string
	args []string
	path string
	dir  string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// patience is how long a program may take to stop after it was asked to.
const patience = 10 * time.Second

func newProcess(dir, name, path string, args ...string) *Process {
	return &Process{Name: name, Log: filepath.Join(dir, name+".log"), path: path, args: args, dir: dir}
}

// Start runs the program; also again, after it has ended. Its log is appended to.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.cmd.Process.Signal(syscall.Signal(0)) == nil {
		return errors.New(p.Name + " runs already") // a second one would hide the first from Close
	}
	file, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = file, file, p.dir
	// Pdeathsig follows the thread that starts it. Go ends a thread only with a goroutine that is locked to it, and none that
	// starts programs is.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	return nil
}

// PID is the running program's process id.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Done is closed when the program started last has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Stop asks the program to end and waits for it, for a while.
func (p *Process) Stop() {
	if p.Signal(syscall.SIGTERM) != nil {
		return
	}
	_ = p.Signal(syscall.SIGCONT) // one that is stopped cannot hear
	select {
	case <-p.Done():
	case <-time.After(patience):
		p.Kill()
	}
}

// Kill ends the program as a crash would, and waits until it is gone.
func (p *Process) Kill() {
	if p.Signal(syscall.SIGKILL) == nil {
		<-p.Done()
	}
}

// Pause freezes the program as a hung one is: it keeps its connections and answers nothing. It returns when all threads
// have stopped: the signal alone leaves time for one more answer.
func (p *Process) Pause() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return WaitFor(context.Background(), patience, p.Name+" to freeze", func(context.Context) (bool, string) {
		states := threadStates(p.PID())
		return states != "" && strings.Trim(states, "T") == "", "threads in the states " + states
	})
}

// threadStates are the kernel's letters for what each thread of the process does; T is stopped.
func threadStates(pid int) string {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		panic(err) // the pattern is well formed
	}
	var states strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		// The name in parentheses may hold anything, parentheses too.
		if i := strings.LastIndex(string(text), ") "); i >= 0 && len(text) > i+2 {
			states.WriteByte(text[i+2])
		}
	}
	return states.String()
}

// Resume lets a paused program go on.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Signal sends a signal to the running program.
func (p *Process) Signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New(p.Name + " was never started")
	}
	return p.cmd.Process.Signal(s)
}

// Tail is the end of the program's log.
func (p *Process) Tail(lines int) string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// FreePort finds a port on loopback that nobody listens on.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
