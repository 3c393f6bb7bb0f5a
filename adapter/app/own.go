package app

import (
	"fmt"
	"slices"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
)

// ownNames are warnings about external metrics of rules that nobody will ever be given, since Headroom's own have the same
// names. A rule about pods or other objects is not in the way.
func ownNames(parsed *rules.Config) []string {
	var warnings []string
	own := controller.MetricNames()
	for _, rule := range parsed.Rules {
		if name, literal := rule.Literal(); literal && rule.Kind == rules.External && slices.Contains(own, name) {
			warnings = append(warnings, fmt.Sprintf("%s: external metric %s is Headroom's own, so that this rule is never asked for it: give it another name", rule.Name, name))
		}
	}
	return warnings
}
