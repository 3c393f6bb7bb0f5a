package app

import (
	"strings"
	"testing"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

func TestCheckNamesRulesInTheShadowOfHeadroomsOwnMetrics(t *testing.T) {
	parsed, err := rules.Parse("config.yaml", []byte(`
rules:
- seriesQuery: 'requests{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: headroom_demand}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: 'wanted{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: headroom_replicas}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
- seriesQuery: 'queue{namespace!=""}'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: queue_length}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'
`), rules.ParseOptions{Backends: []string{commandLineBackend}})
	if err != nil {
		t.Fatal(err)
	}
	got := ownNames(parsed)
	if len(got) != 1 || !strings.Contains(got[0], "external metric headroom_replicas is Headroom's own") {
		t.Errorf("%q", got)
	}
}
