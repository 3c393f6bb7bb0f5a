package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

func TestTheClockShowsTheWall(t *testing.T) {
	if now := (Clock{}).Now().String(); strings.Contains(now, "m=") {
		t.Errorf("%s carries a monotonic reading, which hides that a clock was set", now)
	}
	base := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	fast := Clock{Base: base, Rate: 30}
	if got, want := fast.At(base.Add(time.Minute)), base.Add(30*time.Minute); !got.Equal(want) {
		t.Errorf("%s, want %s", got, want)
	}
	if got := fast.At(time.Time{}); !got.IsZero() {
		t.Errorf("no time became %s", got)
	}
	if got := fast.Wall(fast.Span(time.Minute)); got != time.Minute {
		t.Error(got)
	}
}

// A leader takes over what stands, not only what was last validly decided: a window may have raised it while demand was unknown.
func TestANewLeaderTakesOverWhatStands(t *testing.T) {
	held := int32(40)
	for name, c := range map[string]struct {
		status v1alpha1.HeadroomStatus
		want   int
		any    bool
	}{
		"nothing":               {},
		"a decision":            {v1alpha1.HeadroomStatus{Decision: &v1alpha1.Decision{Floor: 7}}, 7, true},
		"more held":             {v1alpha1.HeadroomStatus{Decision: &v1alpha1.Decision{Floor: 7}, Actuation: &v1alpha1.ActuationStatus{AppliedMinReplicas: &held}}, 40, true},
		"held, and no decision": {v1alpha1.HeadroomStatus{Actuation: &v1alpha1.ActuationStatus{AppliedMinReplicas: &held}}, 40, true},
	} {
		t.Run(name, func(t *testing.T) {
			if floor, any := standing(&v1alpha1.Headroom{Status: c.status}); floor != c.want || any != c.any {
				t.Errorf("%d %t", floor, any)
			}
		})
	}
}
