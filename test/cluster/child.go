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
	// replaced says that it was ended to be started again.
	replaced bool
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
	if err := os.WriteFile(filepath.Join(p.Dir, name+".pid"), fmt.Append(nil, c.cmd.Process.Pid), 0o600); err != nil {
		return err
	}
	go func() {
		_ = c.cmd.Wait() // how it ended is in its log
		close(c.done)
		p.died <- c
	}()
	return nil
}

// restart kills a program and starts it again as it was. It is not ready when this returns; NAME.pid says which process it is now.
func (p *plane) restart(name string) error {
	i := slices.IndexFunc(p.children, func(c *child) bool { return c.name == name })
	if i < 0 {
		return fmt.Errorf("no %s runs here", name)
	}
	old := p.children[i]
	old.replaced = true
	_ = old.cmd.Process.Kill()
	<-old.done
	p.children = slices.Delete(p.children, i, i+1)
	if err := p.start(name, old.cmd.Args[1:]...); err != nil {
		return err
	}
	// Where it was in the order in which they are stopped.
	last := len(p.children) - 1
	p.children = slices.Insert(p.children[:last:last], i, p.children[last])
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
