package hpa

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscaling "k8s.io/api/autoscaling/v2"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa/timeline"
)

// TestTimelines plays the timelines of prewarm/hpa with the controller: what stands in them is what it shows.
func TestTimelines(t *testing.T) {
	files, err := filepath.Glob("../../../prewarm/hpa/testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no timelines", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			life, err := timeline.Parse(string(content))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				r := newRig(life.Flags, life.Spec)
				defer r.stop()
				start := time.Now().Add(10 * time.Second)
				got, err := life.Play(start, func(s timeline.Sync) (timeline.Outcome, error) {
					if s.Restart {
						r.boot()
					}
					time.Sleep(time.Until(start.Add(s.At)))
					r.configure(s.Spec)
					writes := r.writes
					r.sync(s.Workload, s.Readings)
					return r.outcome(r.writes > writes), nil
				})
				if err != nil {
					t.Fatal(err)
				}
				want := timeline.Seen(string(content))
				if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(timeline.Seen(got), "\n")); diff != "" {
					t.Errorf("the controller does something else (-file +controller):\n%s", diff)
				}
			})
		})
	}
}

// outcome is what a timeline shows of the controller.
func (r *rig) outcome(wrote bool) timeline.Outcome {
	seen := strconv.Itoa(int(r.scale.Spec.Replicas))
	if wrote {
		seen += " rescaled"
	}
	for _, kind := range []autoscaling.HorizontalPodAutoscalerConditionType{autoscaling.AbleToScale, autoscaling.ScalingActive, autoscaling.ScalingLimited, autoscaling.ScaledToZero} {
		if _, reason, _ := strings.Cut(r.condition(kind), " "); reason != "" {
			seen += " " + reason
		}
	}
	return timeline.Outcome{Replicas: r.scale.Spec.Replicas, Seen: seen}
}
