package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// child is one program of the control plane.
type child struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// start runs a program with its output in NAME.log. It dies when this process does, however that dies.
func (p *plane) start(name string, args ...string) error {
	log := filepath.Join(p.Dir, name+".log")
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	c := &child{name: name, log: log, cmd: exec.Command(filepath.Join(p.Binaries, name), args...), done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.Dir = file, file, p.Dir
	c.cmd.Env = append(os.Environ(), "HOME="+p.Dir) // kwok reads a configuration of the user's otherwise
	// A group of its own keeps the terminal's Ctrl-C away: stop decides the order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p.children = append(p.children, c)
	p.PIDs[name] = c.cmd.Process.Pid
	go func() {
		_ = c.cmd.Wait() // how it ended is in its log
		close(c.done)
		p.died <- c
	}()
	return nil
}

// patience is how long a program may take to stop. kube-apiserver waits a minute for watches to end; nobody here does.
const patience = 5 * time.Second

// stop ends the programs in reverse order: kube-apiserver before etcd, since without etcd its own stop hangs for minutes.
func (p *plane) stop() {
	for _, c := range slices.Backward(p.children) {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.done:
			continue
		case <-time.After(patience):
		}
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// tail is the end of the program's log.
func (c *child) tail() string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
