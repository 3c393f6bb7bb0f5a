package app

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/replay"
)

// longestLead is what a lead time may be; the forecaster looks no further.
const longestLead = 2 * time.Hour

// readLeadTimes reads 4m, 2m..6m, or a file with one time a line: a duration, or a number of seconds.
func readLeadTimes(text string) (replay.LeadTimes, error) {
	var l replay.LeadTimes
	low, high, isRange := strings.Cut(text, "..")
	if isRange {
		a, errA := time.ParseDuration(low)
		b, errB := time.ParseDuration(high)
		if errA != nil || errB != nil || a < 0 || b < a || b > longestLead {
			return l, fmt.Errorf("--lead-time: %q: must be two times in order up to %v, such as 2m..6m", text, longestLead)
		}
		return replay.LeadTimes{Min: a, Max: b}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		if d < 0 || d > longestLead {
			return l, fmt.Errorf("--lead-time: %v: must be 0 to %v", d, longestLead)
		}
		return replay.FixedLead(d), nil
	}
	file, err := os.Open(text)
	if err != nil {
		return l, fmt.Errorf("--lead-time: %q is no time such as 4m, no range such as 2m..6m, and no file: %w", text, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		word := strings.TrimSpace(lines.Text())
		if word == "" || strings.HasPrefix(word, "#") {
			continue
		}
		d, err := time.ParseDuration(word)
		if seconds, bad := strconv.ParseFloat(word, 64); err != nil && bad == nil {
			d, err = time.Duration(seconds*float64(time.Second)), nil
		}
		if err != nil || d < 0 || d > longestLead {
			return l, fmt.Errorf("--lead-time %s: line %d: %q: must be a time such as 3m20s, or seconds, up to %v", text, n, word, longestLead)
		}
		l.Measured = append(l.Measured, d)
	}
	if err := lines.Err(); err != nil {
		return l, fmt.Errorf("--lead-time %s: %w", text, err)
	}
	if len(l.Measured) == 0 {
		return l, fmt.Errorf("--lead-time %s: no times in it: write one a line, such as 3m20s", text)
	}
	return l, nil
}
