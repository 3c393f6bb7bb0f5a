package kubernetes

import (
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

var (
	podResource       = rules.Resource{Name: "pods"}
	namespaceResource = rules.Resource{Name: "namespaces"}
)

var operators = map[selection.Operator]rules.Operator{
	selection.Equals: rules.Equals, selection.DoubleEquals: rules.Equals, selection.NotEquals: rules.NotEquals,
	selection.In: rules.In, selection.NotIn: rules.NotIn,
	selection.Exists: rules.Exists, selection.DoesNotExist: rules.DoesNotExist,
	selection.GreaterThan: rules.GreaterThan, selection.LessThan: rules.LessThan,
}

// SelectorOf gives a Kubernetes selector in the form the rules take it; nil for one that selects everything.
func SelectorOf(selector labels.Selector) rules.Selector {
	requirements, _ := selector.Requirements()
	var s rules.Selector
	for _, r := range requirements {
		s = append(s, rules.Requirement{Key: r.Key(), Operator: operators[r.Operator()], Values: r.Values().List()})
	}
	return s
}
