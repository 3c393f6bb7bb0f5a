package controller

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// shown is what events have told of an object: each is sent when something changes in kind, never because time has passed.
type shown struct {
	origin     string
	conditions map[string]metav1.ConditionStatus
}

// resume takes over from what another leader has told.
func (s *shown) resume(hr *v1alpha1.Headroom) {
	s.conditions = map[string]metav1.ConditionStatus{}
	for _, c := range hr.Status.Conditions {
		s.conditions[c.Type] = c.Status
	}
	if d := hr.Status.Decision; d != nil {
		s.origin = d.Kind
	}
}

// tell sends what is new.
func (s *shown) tell(recorder events.EventRecorder, hr *v1alpha1.Headroom, l *look) {
	for _, c := range hr.Status.Conditions {
		before, told := s.conditions[c.Type]
		s.conditions[c.Type] = c.Status
		// The first word about an object is worth saying only when something is wrong.
		if before == c.Status || (!told && c.Status != metav1.ConditionFalse) || c.Status == metav1.ConditionUnknown {
			continue
		}
		recorder.Eventf(hr, nil, eventType(c.Status), c.Type+"Is"+string(c.Status), "Decide", "%s: %s", c.Reason, c.Message)
	}
	if d := l.decision; l.failure == nil && d.Valid && d.Origin.String() != s.origin {
		s.origin = d.Origin.String()
		recorder.Eventf(hr, nil, corev1.EventTypeNormal, "FloorFrom"+s.origin, "Decide", "floor %d: %s", d.Floor, d.Reason)
	}
}
