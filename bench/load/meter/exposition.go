// Package meter reads from outside what an answer costs: counters from the servers' own /metrics, CPU time and memory from
// /proc. Two readings are compared; nothing here is estimated.
package meter

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Sample is one line of the Prometheus text format.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Reading is one scrape.
type Reading []Sample

// Scrape reads url, which must answer in the Prometheus text format.
func Scrape(ctx context.Context, client *http.Client, url string) (Reading, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape %s: HTTP %d", url, response.StatusCode)
	}
	return ReadText(response.Body)
}

// ReadText parses the text format: only what a counter needs, so exemplars and timestamps are not expected.
func ReadText(r io.Reader) (Reading, error) {
	var reading Reading
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		sample, err := readLine(line)
		if err != nil {
			return nil, fmt.Errorf("metrics line %d: %w", n, err)
		}
		reading = append(reading, sample)
	}
	return reading, lines.Err()
}

func readLine(line string) (Sample, error) {
	end := strings.IndexAny(line, "{ \t")
	if end <= 0 {
		return Sample{}, fmt.Errorf("no value in %q", line)
	}
	s := Sample{Name: line[:end]}
	rest := line[end:]
	if rest[0] == '{' {
		var err error
		if s.Labels, rest, err = readLabels(rest[1:]); err != nil {
			return Sample{}, err
		}
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return Sample{}, fmt.Errorf("no value in %q", line)
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return Sample{}, fmt.Errorf("value %q is no number", fields[0])
	}
	s.Value = value
	return s, nil
}

func readLabels(text string) (labels map[string]string, rest string, err error) {
	labels = map[string]string{}
	for {
		text = strings.TrimLeft(text, " ,")
		if after, ok := strings.CutPrefix(text, "}"); ok {
			return labels, after, nil
		}
		name, after, ok := strings.Cut(text, "=\"")
		if !ok {
			return nil, "", fmt.Errorf("labels end early at %q", text)
		}
		var value strings.Builder
		closed := false
		i := 0
		for ; i < len(after) && !closed; i++ {
			switch c := after[i]; {
			case c == '"':
				closed = true
			case c == '\\' && i+1 < len(after):
				i++
				if after[i] == 'n' {
					value.WriteByte('\n')
				} else {
					value.WriteByte(after[i])
				}
			default:
				value.WriteByte(c)
			}
		}
		if !closed {
			return nil, "", fmt.Errorf("label %s has no closing quote", name)
		}
		labels[name] = value.String()
		text = after[i:]
	}
}

// Match selects samples by name and by labels that must be equal.
type Match struct {
	Name   string
	Labels map[string]string
}

// Sum adds up all samples that match. No sample is zero: counters with labels appear with their first event.
func (r Reading) Sum(m Match) float64 {
	total := 0.0
	for _, s := range r {
		if s.Name == m.Name && contains(s.Labels, m.Labels) {
			total += s.Value
		}
	}
	return total
}

// Delta is the growth of the matching counters from before to after.
func Delta(before, after Reading, m Match) float64 { return after.Sum(m) - before.Sum(m) }

// DeltaBy splits Delta by the values of labels, joined by spaces; groups that did not grow are left out.
func DeltaBy(before, after Reading, m Match, labels ...string) map[string]float64 {
	groups := map[string]float64{}
	add := func(r Reading, sign float64) {
		for _, s := range r {
			if s.Name != m.Name || !contains(s.Labels, m.Labels) {
				continue
			}
			var values []string
			for _, l := range labels {
				if v := s.Labels[l]; v != "" {
					values = append(values, v)
				}
			}
			groups[strings.Join(values, " ")] += sign * s.Value
		}
	}
	add(after, 1)
	add(before, -1)
	maps.DeleteFunc(groups, func(_ string, v float64) bool { return v == 0 })
	return groups
}

// Largest lists the groups of DeltaBy, largest first.
func Largest(groups map[string]float64) []string {
	return slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		if groups[a] != groups[b] {
			return int(groups[b]) - int(groups[a])
		}
		return strings.Compare(a, b)
	})
}

func contains(labels, wanted map[string]string) bool {
	for name, value := range wanted {
		if labels[name] != value {
			return false
		}
	}
	return true
}
