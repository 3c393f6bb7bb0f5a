package replay

import (
	"fmt"

	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// Actuation is how a floor reaches the workload.
type Actuation uint8

const (
	ByMetric      Actuation = iota + 1 // the HPA lists headroom_replicas
	ByMinReplicas                      // the HPA's minReplicas is raised
	ByNothing                          // the floor is worked out and not used
)

var actuationTexts = [...]string{"", "Metric", "MinReplicas", "None"}

func (a Actuation) String() string {
	if int(a) < len(actuationTexts) {
		return actuationTexts[a]
	}
	return fmt.Sprintf("Actuation(%d)", uint8(a))
}

// Policy is one way to scale.
type Policy struct {
	Name      string
	Floors    Floors // nil: the HPA by itself
	Actuation Actuation
	Lift      bool // a floor within the HPA's tolerance is served past it (deadband: Lift)
	// ToleranceUp, when it is given, is the HPA's behavior.scaleUp.tolerance with this policy. ByMetric wants 0: else a floor
	// of up to a tenth above the replicas there are is ignored.
	ToleranceUp *float64
}

// floorMetric is how the documentation has an HPA list headroom_replicas.
var floorMetric = hpa.Metric{Kind: hpa.External, Name: "headroom_replicas", Target: hpa.AverageValue, TargetMilli: 1000, Headroom: true}

// autoscaler is the scenario's HPA as a policy has it: without Headroom's metrics where the policy does not serve them, and
// with the floor's where it does.
func (s *Scenario) autoscaler(p *Policy) (hpa.Spec, []Source) {
	spec, sources := s.HPA, []Source(nil)
	spec.Metrics = nil
	served, listed := p.Floors != nil && p.Actuation == ByMetric, false
	for i, m := range s.HPA.Metrics {
		own := s.Sources[i].Kind != DemandSource
		if own && !served {
			continue
		}
		listed = listed || s.Sources[i].Kind == FloorSource
		spec.Metrics, sources = append(spec.Metrics, m), append(sources, s.Sources[i])
	}
	if served && !listed {
		spec.Metrics, sources = append(spec.Metrics, floorMetric), append(sources, Source{Kind: FloorSource})
	}
	if p.ToleranceUp != nil {
		behavior := hpa.Behavior{}
		if spec.Behavior != nil {
			behavior = *spec.Behavior
		}
		behavior.ScaleUp.Tolerance = p.ToleranceUp
		spec.Behavior = &behavior
	}
	return spec, sources
}
