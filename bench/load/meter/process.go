package meter

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, the unit of CPU times in /proc. It is 100 on every Linux architecture that Go runs on: the
// kernel keeps it there for user space whatever its own timer frequency (man 5 proc, sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// Usage is what one process has used so far.
type Usage struct {
	CPU time.Duration // user and system, all threads, in steps of 10 ms
	// ResidentBytes is VmRSS; PeakBytes is VmHWM, the largest it has been.
	ResidentBytes, PeakBytes int64
}

// Process reads /proc/PID.
func Process(pid int) (Usage, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return Usage{}, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return Usage{}, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	var u Usage
	if u.CPU, err = readStat(string(stat)); err != nil {
		return Usage{}, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	u.ResidentBytes, u.PeakBytes, err = readStatus(string(status))
	if err != nil {
		return Usage{}, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	return u, nil
}

// readStat adds utime and stime, fields 14 and 15. The command in field 2 may hold spaces and brackets, so fields are
// counted from the last closing one.
func readStat(stat string) (time.Duration, error) {
	_, after, ok := cutLast(stat, ")")
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, errors.New("stat has too few fields")
	}
	var ticks int64
	for _, text := range fields[11:13] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat field %q is no number", text)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

func readStatus(status string) (resident, peak int64, err error) {
	field := func(name string) (int64, error) {
		_, after, ok := strings.Cut(status, name+":")
		fields := strings.Fields(after)
		if !ok || len(fields) < 2 || fields[1] != "kB" {
			return 0, fmt.Errorf("status has no %s (has the process ended?)", name)
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		return n << 10, err
	}
	if resident, err = field("VmRSS"); err != nil {
		return 0, 0, err
	}
	peak, err = field("VmHWM")
	return resident, peak, err
}

// Machine is the CPU time of the whole machine: what other processes took shows how quiet a measurement was.
type Machine struct {
	Busy time.Duration // everything but idle and waiting for I/O
	// Stolen is the part of Busy that the hypervisor gave to other machines.
	Stolen time.Duration
}

// ReadMachine reads /proc/stat.
func ReadMachine() (Machine, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}, fmt.Errorf("CPU time of the machine: %w", err)
	}
	return readMachine(string(stat))
}

func readMachine(stat string) (Machine, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return Machine{}, errors.New("CPU time of the machine: first line of /proc/stat is not the sum of all CPUs")
	}
	var m Machine
	// user nice system idle iowait irq softirq steal; guest times are inside user and nice already.
	for i, text := range fields[1:9] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return Machine{}, fmt.Errorf("CPU time of the machine: field %q is no number", text)
		}
		d := time.Duration(n) * (time.Second / ticksPerSecond)
		switch i {
		case 3, 4:
		case 7:
			m.Stolen = d
			m.Busy += d
		default:
			m.Busy += d
		}
	}
	return m, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
