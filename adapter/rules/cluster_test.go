package rules

import (
	"strings"
	"testing"
)

// cluster is Resources by a table: "deployments.apps deployment namespaced".
type cluster []ResourceInfo

func newCluster(lines ...string) cluster {
	var c cluster
	for _, line := range lines {
		f := strings.Fields(line)
		name, group, _ := strings.Cut(f[0], ".")
		c = append(c, ResourceInfo{Resource{group, name}, f[1], f[2] == "namespaced"})
	}
	return c
}

func (c cluster) Resolve(r Resource) (ResourceInfo, bool) {
	for _, info := range c {
		if (r.Name == info.Name || r.Name == info.Singular) && (r.Group == "" || r.Group == info.Group) {
			return info, true
		}
	}
	return ResourceInfo{}, false
}

var testCluster = newCluster(
	"pods pod namespaced",
	"namespaces namespace cluster",
	"nodes node cluster",
	"persistentvolumes persistentvolume cluster",
	"services service namespaced",
	"deployments.apps deployment namespaced",
	"deployments.extensions deployment namespaced",
	"ingresses.networking.k8s.io ingress namespaced",
	"ingresses.extensions ingress namespaced",
	"models.example.com model namespaced",
	"gpupools.example.com gpupool cluster",
)

func mustParse(t testing.TB, text string, opts ParseOptions) *Config {
	t.Helper()
	cfg, err := Parse("config.yaml", []byte(text), opts)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return cfg
}

// oneRule wraps a metricsQuery into a rule for pods (or external).
func oneRule(t testing.TB, kind Kind, query string, opts ParseOptions) *Rule {
	t.Helper()
	list := "rules"
	if kind == External {
		list = "externalRules"
	}
	cfg := mustParse(t, list+`:
- seriesQuery: foo
  resources:
    overrides:
      namespaces: {resource: namespace}
      resource: {resource: pod}
  metricsQuery: |-
    `+strings.ReplaceAll(query, "\n", "\n    ")+"\n", opts)
	if len(cfg.Rules) != 1 {
		t.Fatalf("want one rule, have %d, warnings %v", len(cfg.Rules), cfg.Warnings)
	}
	return cfg.Rules[0]
}
