package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/load/report"
)

// newReport fills in where and by what the figures are made. What cannot be read stays empty.
func newReport(command string, started time.Time) *report.Report {
	r := &report.Report{Schema: report.Schema, Command: command, Started: started, Machine: report.Machine{
		Cores: runtime.NumCPU(), Go: runtime.Version(),
	}}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		r.Machine.CPU = fieldOf(string(info), "model name")
	}
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		kib, _ := strconv.ParseInt(strings.TrimSuffix(fieldOf(string(info), "MemTotal"), " kB"), 10, 64)
		r.Machine.MemoryBytes = kib << 10
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		r.Machine.Kernel = strings.TrimSpace(string(release))
	}
	// "go run" stamps no revision into the binary, so git is asked; a copy without git has none.
	if revision, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		r.Revision = strings.TrimSpace(string(revision))
	}
	return r
}

// fieldOf is the value of the first "name : value" line.
func fieldOf(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
