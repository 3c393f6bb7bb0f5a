package app

import (
	"fmt"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/headroom-autoscaler/headroom/bench/report"
	"github.com/headroom-autoscaler/headroom/prewarm/manifest"
)

// proposal is a Headroom for an HPA that has none. It says what defaults leave open and nothing else.
type proposal struct {
	hpa        *autoscalingv2.HorizontalPodAutoscaler
	demand     string // lines of spec.demand
	perReplica string
	quantile   string // empty: the default
	buffer     int    // below 0: the default
}

// propose reads perReplica and the metric of demand off the HPA.
func propose(hpa *autoscalingv2.HorizontalPodAutoscaler) (proposal, error) {
	p := proposal{hpa: hpa, buffer: -1}
	for _, m := range hpa.Spec.Metrics {
		var name, kind string
		var target *resource.Quantity
		switch {
		case m.Pods != nil:
			name, kind, target = m.Pods.Metric.Name, "Pods", m.Pods.Target.AverageValue
		case m.External != nil && !manifest.Own(m.External.Metric.Name):
			name, kind, target = m.External.Metric.Name, "External", m.External.Target.AverageValue
		}
		if target == nil {
			continue
		}
		p.demand, p.perReplica = fmt.Sprintf("    metric: {name: %s, type: %s}", name, kind), target.String()
		return p, nil
	}
	return p, fmt.Errorf("HPA %s has no Pods or External metric with an averageValue, so what one replica carries is not known: write a Headroom with demand.perReplica and give it with -f too", hpa.Name)
}

// settle takes the cheapest Headroom of a sweep, where one reaches the SLO.
func (p *proposal) settle(f *report.Frontier) bool {
	if f == nil || f.CheapestOwned == nil {
		return false
	}
	p.quantile, p.buffer = fmt.Sprint(f.CheapestOwned.Quantile), f.CheapestOwned.Buffer
	return true
}

// yaml is the manifest.
func (p *proposal) yaml() string {
	var b strings.Builder
	ref := p.hpa.Spec.ScaleTargetRef
	fmt.Fprintf(&b, "apiVersion: headroom.dev/v1alpha1\nkind: Headroom\nmetadata:\n  name: %s\n", ref.Name)
	if p.hpa.Namespace != "" {
		fmt.Fprintf(&b, "  namespace: %s\n", p.hpa.Namespace)
	}
	fmt.Fprintf(&b, "spec:\n  scaleTargetRef: {apiVersion: %s, kind: %s, name: %s}\n  demand:\n%s\n    perReplica: %q\n", ref.APIVersion, ref.Kind, ref.Name, p.demand, p.perReplica)
	if p.quantile != "" {
		fmt.Fprintf(&b, "  forecast: {risk: {quantile: %q}}\n", p.quantile)
	}
	if p.buffer >= 0 {
		fmt.Fprintf(&b, "  buffer: {replicas: %d}\n", p.buffer)
	}
	return b.String()
}
