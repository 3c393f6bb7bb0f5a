package timeline

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// Parse reads a file. It says which line it does not understand.
func Parse(text string) (*Timeline, error) {
	head, body, found := strings.Cut(text, "\n--\n")
	if !found {
		return nil, errors.New("no line -- between the HPA and its syncs")
	}
	t := &Timeline{Flags: hpa.DefaultFlags(), head: head}
	for text := range strings.SplitSeq(head, "\n") {
		if err := t.header(strings.Fields(text)); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
	}
	last := time.Duration(0)
	for text := range strings.SplitSeq(strings.TrimSuffix(body, "\n"), "\n") {
		given, rest, _ := strings.Cut(text, "|")
		l := line{given: strings.TrimSpace(given)}
		if l.given == "" || strings.HasPrefix(l.given, "#") {
			l.given = strings.TrimSpace(text)
		} else if err := l.parse(rest); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		} else if l.at < last {
			return nil, fmt.Errorf("%q: before the sync above it, at %s", text, last)
		} else {
			last = l.at
		}
		t.lines = append(t.lines, l)
	}
	return t, nil
}

func (l *line) parse(rest string) error {
	seen, why, _ := strings.Cut(rest, "|")
	l.sync, l.seen, l.why = true, strings.TrimSpace(seen), strings.TrimSpace(why)
	words := strings.Fields(l.given)
	var err error
	if l.at, err = time.ParseDuration(words[0]); err != nil {
		return err
	}
	for _, word := range words[1:] {
		key, value, keyed := strings.Cut(word, "=")
		switch {
		case word == "restart":
			l.restart = true
			continue
		case !keyed:
			l.values = append(l.values, word)
			continue
		}
		n, err := count(value)
		switch key {
		case "min":
			l.min = &n
		case "max":
			l.max = &n
		case "replicas":
			l.set = &n
		case "pending":
			l.pending = n
		default:
			err = fmt.Errorf("%s= is none of min, max, replicas, pending", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func count(text string) (int32, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	return int32(n), err
}

func (t *Timeline) header(words []string) (err error) {
	if len(words) == 0 || words[0] == "#" {
		return nil
	}
	of := map[string]int{"min": 2, "max": 2, "metric": 5}[words[0]]
	if of != 0 && len(words) != of {
		return fmt.Errorf("%s has %d words, not %d", words[0], of, len(words))
	}
	switch words[0] {
	case "min":
		t.Spec.MinReplicas, err = count(words[1])
	case "max":
		t.Spec.MaxReplicas, err = count(words[1])
	case "behavior":
		t.Spec.Behavior = &hpa.Behavior{}
	case "up", "down":
		if t.Spec.Behavior == nil {
			return errors.New("needs a line behavior before it")
		}
		r := &t.Spec.Behavior.ScaleUp
		if words[0] == "down" {
			r = &t.Spec.Behavior.ScaleDown
		}
		err = pairs(words[1:], func(key, value string) error { return rule(r, key, value) })
	case "metric":
		m := hpa.Metric{Kind: named[hpa.MetricKind](words[1]), Name: words[2], Target: named[hpa.TargetKind](words[3]), CPU: words[2] == "cpu"}
		if m.TargetMilli, err = milli(words[4]); m.Target == hpa.Utilization {
			m.TargetMilli /= 1000 // per cent are whole
		}
		t.Spec.Metrics = append(t.Spec.Metrics, m)
	case "flags":
		err = pairs(words[1:], t.flag)
	default:
		err = fmt.Errorf("%s is none of min, max, metric, behavior, up, down, flags", words[0])
	}
	return err
}

func pairs(words []string, set func(key, value string) error) error {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if err := set(key, value); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	return nil
}

func (t *Timeline) flag(key, value string) (err error) {
	switch key {
	case "downscale":
		t.Flags.DownscaleStabilization, err = time.ParseDuration(value)
	case "tolerance":
		t.Flags.Tolerance, err = strconv.ParseFloat(value, 64)
	default:
		err = errors.New("no such flag; there are downscale and tolerance")
	}
	return err
}

func rule(r *hpa.Rules, key, value string) error {
	switch key {
	case "window":
		d, err := time.ParseDuration(value)
		r.StabilizationWindow = &d
		return err
	case "tolerance":
		n, err := milli(value)
		tolerance := hpa.Tolerance(n)
		r.Tolerance = &tolerance
		return err
	case "select":
		r.SelectPolicy = named[hpa.SelectPolicy](value)
		if r.SelectPolicy == 0 {
			return errors.New("there are Max, Min and Disabled")
		}
		return nil
	case "policy":
		for text := range strings.SplitSeq(value, ",") {
			amount, period, _ := strings.Cut(text, "/")
			p := hpa.Policy{Kind: hpa.PodsPolicy}
			if per, found := strings.CutSuffix(amount, "%"); found {
				p.Kind, amount = hpa.PercentPolicy, per
			}
			var err error
			if p.Value, err = count(amount); err != nil {
				return err
			}
			if p.Period, err = time.ParseDuration(period); err != nil {
				return err
			}
			r.Policies = append(r.Policies, p)
		}
		return nil
	}
	return errors.New("no such rule; there are window, tolerance, select and policy")
}

// named is the value of an enum that prints so; 0: none does, which the spec's validation reports.
func named[T interface {
	~uint8
	fmt.Stringer
}](name string) T {
	for v := T(1); v < 16; v++ {
		if v.String() == name {
			return v
		}
	}
	return 0
}
