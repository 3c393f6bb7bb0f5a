package hpa

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the package computes into testdata")

// A timeline is a text file: the HPA, a line "--", then one line for each sync. What stands right of the bar is the result; a
// timeline recorded from a kube-controller-manager has the same form. Readings are in the metric's unit, or "absent"; pods are all
// Ready, except so many as pending=, and there are as many as the last sync left, unless replicas= says otherwise.
//
//	min 1 | max 40 | behavior | up window=0s tolerance=0 select=Max policy=100%/15s,4/15s | down … | flags downscale=10s tolerance=0.1
//	metric External headroom_replicas AverageValue 1
//	--
//	15s 12 min=3 | 12 rescaled …
type timeline struct {
	spec  Spec
	flags Flags
}

func TestTimelines(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no timelines", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := play(string(content))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(content), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("go test ./prewarm/hpa -update writes what is computed (-file +computed):\n%s", diff)
			}
		})
	}
}

func play(text string) (string, error) {
	head, body, found := strings.Cut(text, "\n--\n")
	if !found {
		return "", fmt.Errorf("no line --")
	}
	line := timeline{flags: DefaultFlags()}
	for _, text := range strings.Split(head, "\n") {
		if err := line.header(text); err != nil {
			return "", fmt.Errorf("%q: %w", text, err)
		}
	}
	a, err := New(line.spec, line.flags)
	if err != nil {
		return "", err
	}
	out := strings.Builder{}
	fmt.Fprintf(&out, "%s\n--\n", head)
	replicas := line.spec.MinReplicas
	for _, text := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
		given, _, _ := strings.Cut(text, "|")
		given = strings.TrimSpace(given)
		if given == "" || strings.HasPrefix(given, "#") {
			fmt.Fprintln(&out, given)
			continue
		}
		result, err := line.sync(a, given, &replicas)
		if err != nil {
			return "", fmt.Errorf("%q: %w", text, err)
		}
		fmt.Fprintf(&out, "%-28s | %s\n", given, result)
	}
	return out.String(), nil
}

func (l *timeline) header(text string) error {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] == "#" {
		return nil
	}
	switch words[0] {
	case "min", "max":
		n, err := strconv.ParseInt(words[1], 10, 32)
		if words[0] == "min" {
			l.spec.MinReplicas = int32(n)
		} else {
			l.spec.MaxReplicas = int32(n)
		}
		return err
	case "behavior":
		l.spec.Behavior = &Behavior{}
	case "up":
		return rulesOf(words[1:], &l.spec.Behavior.ScaleUp)
	case "down":
		return rulesOf(words[1:], &l.spec.Behavior.ScaleDown)
	case "metric":
		target, err := strconv.ParseFloat(words[4], 64)
		m := Metric{Kind: named(metricKinds[:], words[1], Pods), Name: words[2], Target: named(targetKinds[:], words[3], Value), TargetMilli: int64(target * 1000)}
		l.spec.Metrics = append(l.spec.Metrics, m)
		return err
	case "flags":
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			var err error
			switch key {
			case "downscale":
				l.flags.DownscaleStabilization, err = time.ParseDuration(value)
			case "tolerance":
				l.flags.Tolerance, err = strconv.ParseFloat(value, 64)
			default:
				err = fmt.Errorf("no flag %s", key)
			}
			if err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("what is %s?", words[0])
	}
	return nil
}

func named[T ~uint8](names []string, name string, _ T) T {
	for i, n := range names {
		if n == name {
			return T(i)
		}
	}
	return 0
}

func rulesOf(words []string, r *Rules) error {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "window":
			var d time.Duration
			d, err = time.ParseDuration(value)
			r.StabilizationWindow = &d
		case "tolerance":
			var milli float64
			milli, err = strconv.ParseFloat(value, 64)
			t := Tolerance(int64(milli * 1000))
			r.Tolerance = &t
		case "select":
			r.SelectPolicy = named(selections[:], value, SelectMax)
		case "policy":
			for _, p := range strings.Split(value, ",") {
				amount, period, _ := strings.Cut(p, "/")
				policy := Policy{Kind: PodsPolicy}
				if strings.HasSuffix(amount, "%") {
					policy.Kind, amount = PercentPolicy, strings.TrimSuffix(amount, "%")
				}
				var n int64
				if n, err = strconv.ParseInt(amount, 10, 32); err != nil {
					return err
				}
				policy.Value = int32(n)
				if policy.Period, err = time.ParseDuration(period); err != nil {
					return err
				}
				r.Policies = append(r.Policies, policy)
			}
		default:
			err = fmt.Errorf("no rule %s", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *timeline) sync(a *Autoscaler, given string, replicas *int32) (string, error) {
	words := strings.Fields(given)
	at, err := time.ParseDuration(words[0])
	if err != nil {
		return "", err
	}
	var readings []Reading
	var pending int32
	for _, word := range words[1:] {
		key, value, keyed := strings.Cut(word, "=")
		if !keyed {
			readings = append(readings, Reading{Absent: word == "absent"})
			if word != "absent" {
				v, err := strconv.ParseFloat(word, 64)
				if err != nil {
					return "", err
				}
				readings[len(readings)-1].Value = int64(v * 1000)
			}
			continue
		}
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return "", err
		}
		switch key {
		case "replicas":
			*replicas = int32(n)
		case "pending":
			pending = int32(n)
		case "min":
			a.SetBounds(int32(n), a.spec.MaxReplicas)
		case "max":
			a.SetBounds(a.spec.MinReplicas, int32(n))
		case "restart":
			a.Restart()
		default:
			return "", fmt.Errorf("what is %s?", key)
		}
	}
	w := Workload{SpecReplicas: *replicas, StatusReplicas: *replicas, Pods: *replicas, Ready: *replicas - pending}
	for i := range readings {
		if i < len(a.spec.Metrics) && a.spec.Metrics[i].perPod() {
			readings[i].Tally = &Tally{Pods: w.Pods, Sampled: w.Ready, Unready: pending, SumMilli: readings[i].Value * int64(w.Ready)}
		}
	}
	r := a.Step(start.Add(at), w, readings)
	*replicas = r.Replicas
	text := fmt.Sprintf("%d %s", r.Replicas, r.Cause)
	if r.Rescaled {
		text += " rescaled"
	}
	if r.Cause == ByMetrics {
		text += fmt.Sprintf(" proposal=%d stabilized=%d", r.Proposal, r.Stabilized)
	}
	c := r.Conditions
	for _, reason := range []Reason{c.AbleToScale.Reason, c.ScalingActive.Reason, c.ScalingLimited.Reason, c.ScaledToZero.Reason} {
		if reason != 0 {
			text += " " + reason.String()
		}
	}
	return text, nil
}
