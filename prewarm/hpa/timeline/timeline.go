// Package timeline is a text form of an HPA's life: what it was given at each sync and what it did. The same file is played by
// prewarm/hpa and by the HPA controller itself, and a life recorded from a kube-controller-manager is written in it.
//
//	# a comment
//	min 1
//	max 40
//	flags downscale=10s tolerance=0.2
//	behavior
//	up window=0s tolerance=0 select=Min policy=100%/15s,4/15s
//	down select=Disabled
//	metric External headroom_replicas AverageValue 1
//	--
//	0s 12                  | 4 rescaled SucceededRescale ValidMetricFound ScaleUpLimit NotScaledToZero | ByMetrics 12 12
//	15s absent min=3       | …
//
// After "--" every line is a sync: the time since the first, one reading for each metric (in its unit, or absent), and what else
// happened since the last sync: min=, max= (the HPA was written), replicas= (somebody scaled the target), pending= (so many of its
// pods are Pending, the rest Running and Ready), restart (of the controller manager). A Pods reading is every running pod's own; a
// Utilization is in per cent. The second column is what the controller shows: replicas, whether it wrote them, the reasons of
// AbleToScale, ScalingActive, ScalingLimited and ScaledToZero. The third is prewarm/hpa's own: cause, proposal, stabilised.
package timeline

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// Timeline is a parsed file.
type Timeline struct {
	Spec  hpa.Spec // at the first sync
	Flags hpa.Flags
	head  string
	lines []line
}

// line is a sync, or a comment between syncs (given alone).
type line struct {
	given, seen, why string
	sync             bool
	at               time.Duration
	values           []string
	min, max, set    *int32
	pending          int32
	restart          bool
}

// Sync is what the HPA is given at one sync.
type Sync struct {
	At       time.Duration
	Spec     hpa.Spec // with the bounds of now
	Restart  bool     // the controller manager was restarted before it
	Workload hpa.Workload
	Readings []hpa.Reading
}

// Outcome is what the HPA did: two columns.
type Outcome struct {
	Replicas  int32
	Seen, Why string
}

// Show writes a result as a timeline does.
func Show(r hpa.Result) Outcome {
	var seen strings.Builder
	seen.WriteString(strconv.Itoa(int(r.Replicas)))
	if r.Rescaled {
		seen.WriteString(" rescaled")
	}
	c := r.Conditions
	for _, condition := range []hpa.Condition{c.AbleToScale, c.ScalingActive, c.ScalingLimited, c.ScaledToZero} {
		if condition.Reason != 0 {
			seen.WriteString(" " + condition.Reason.String())
		}
	}
	why := r.Cause.String()
	if r.Cause == hpa.ByMetrics {
		why += fmt.Sprintf(" %d %d", r.Proposal, r.Stabilized)
	}
	return Outcome{r.Replicas, seen.String(), why}
}

// Play gives every sync to the HPA, lets the replicas be what the last one left, and returns the file with what step did.
func (t *Timeline) Play(now time.Time, step func(Sync) (Outcome, error)) (string, error) {
	out := strings.Builder{}
	fmt.Fprintf(&out, "%s\n--\n", t.head)
	spec, replicas := t.Spec, t.Spec.MinReplicas
	for i := range t.lines {
		l := &t.lines[i]
		if !l.sync {
			fmt.Fprintln(&out, l.given)
			continue
		}
		for _, change := range []struct {
			from *int32
			to   *int32
		}{{l.min, &spec.MinReplicas}, {l.max, &spec.MaxReplicas}, {l.set, &replicas}} {
			if change.from != nil {
				*change.to = *change.from
			}
		}
		if replicas > maxPods {
			return "", fmt.Errorf("%q: %d replicas; a timeline lists every pod, and takes %d at most", l.given, replicas, maxPods)
		}
		s := Sync{At: l.at, Spec: spec, Restart: l.restart, Workload: workload(now.Add(l.at), replicas, l.pending)}
		var err error
		if s.Readings, err = l.readings(spec, s.Workload); err != nil {
			return "", fmt.Errorf("%q: %w", l.given, err)
		}
		done, err := step(s)
		if err != nil {
			return "", fmt.Errorf("%q: %w", l.given, err)
		}
		replicas = done.Replicas
		text := fmt.Sprintf("%-28s | %s", l.given, done.Seen)
		if done.Why != "" {
			text = fmt.Sprintf("%-128s | %s", text, done.Why)
		}
		fmt.Fprintln(&out, text)
	}
	return out.String(), nil
}

const maxPods = 10_000

// Seen is the file without its third column, for a player that has none.
func Seen(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if given, rest, found := strings.Cut(l, "|"); found && !strings.HasPrefix(l, "#") {
			seen, _, _ := strings.Cut(rest, "|")
			lines[i] = strings.TrimSpace(given) + " | " + strings.TrimSpace(seen)
		}
	}
	return strings.Join(lines, "\n")
}

// workload has pods that have been up for an hour.
func workload(now time.Time, replicas, pending int32) hpa.Workload {
	w := hpa.Workload{SpecReplicas: replicas, StatusReplicas: replicas, List: make([]hpa.Pod, max(0, replicas))}
	for i := range w.List {
		w.List[i] = hpa.Pod{Phase: hpa.Running, Ready: hpa.Ready, Started: now.Add(-time.Hour), ReadyChanged: now.Add(-time.Hour)}
		if i < int(pending) {
			w.List[i] = hpa.Pod{Phase: hpa.Pending}
		}
	}
	return w
}

func (l *line) readings(spec hpa.Spec, w hpa.Workload) ([]hpa.Reading, error) {
	if len(l.values) != len(spec.Metrics) {
		return nil, fmt.Errorf("%d readings for %d metrics", len(l.values), len(spec.Metrics))
	}
	out := make([]hpa.Reading, len(l.values))
	for i, text := range l.values {
		if out[i].Absent = text == "absent"; out[i].Absent {
			continue
		}
		value, err := milli(text)
		if err != nil {
			return nil, err
		}
		switch m := spec.Metrics[i]; {
		case m.Kind == hpa.Object || m.Kind == hpa.External:
			out[i].Value = value
			continue
		case m.Target == hpa.Utilization:
			value /= 100 // of a request of 1
		}
		for _, pod := range w.List {
			out[i].Samples = append(out[i].Samples, hpa.Sample{Present: pod.Phase == hpa.Running, Milli: value, RequestMilli: 1000, At: pod.Started.Add(time.Hour)})
		}
	}
	return out, nil
}

func milli(text string) (int64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("a number: %w", err)
	}
	return int64(v*1000 + 0.5), nil
}
