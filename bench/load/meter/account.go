package meter

import (
	"fmt"
	"time"
)

// Account is the state of several processes and of the machine at one instant.
type Account struct {
	At        time.Time
	Processes map[string]Usage // by name
	Machine   Machine
}

// Take reads all processes, by name and process ID.
func Take(now time.Time, pids map[string]int) (Account, error) {
	a := Account{At: now, Processes: map[string]Usage{}}
	var err error
	if a.Machine, err = ReadMachine(); err != nil {
		return Account{}, err
	}
	for name, pid := range pids {
		if a.Processes[name], err = Process(pid); err != nil {
			return Account{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return a, nil
}

// Spending is the CPU time between two accounts.
type Spending struct {
	Elapsed time.Duration
	CPU     map[string]time.Duration // by process name
	// Others is what the machine spent outside the named processes, stolen time included.
	Others time.Duration
}

// Since is the spending from before to a. Processes that are only in one of the two are left out.
func (a Account) Since(before Account) Spending {
	s := Spending{Elapsed: a.At.Sub(before.At), CPU: map[string]time.Duration{}}
	s.Others = a.Machine.Busy - before.Machine.Busy
	for name, now := range a.Processes {
		if then, ok := before.Processes[name]; ok {
			s.CPU[name] = now.CPU - then.CPU
			s.Others -= s.CPU[name]
		}
	}
	return s
}

// Cores is the average number of cores that a process kept busy.
func (s Spending) Cores(name string) float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return s.CPU[name].Seconds() / s.Elapsed.Seconds()
}

// Sum adds up the CPU time of the named processes.
func (s Spending) Sum(names ...string) time.Duration {
	var total time.Duration
	for _, name := range names {
		total += s.CPU[name]
	}
	return total
}
