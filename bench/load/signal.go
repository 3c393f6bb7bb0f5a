package main

import (
	"fmt"
	"syscall"
)

// A process that is stopped keeps its connections and answers nothing, as a hung one does.
const (
	stopSignal = syscall.SIGSTOP
	goOnSignal = syscall.SIGCONT
)

func send(processes map[string]int, name string, s syscall.Signal) error {
	pid, known := processes[name]
	if !known {
		return fmt.Errorf("no process %s among %v", name, processes)
	}
	return syscall.Kill(pid, s)
}
