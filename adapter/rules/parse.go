package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Parse reads a configuration. The error is Problems: every one at once.
func Parse(file string, data []byte, opts ParseOptions) (*Config, error) {
	d := &document{file: file, strict: opts.Strict}
	root, ok := d.load(data)
	if !ok {
		return nil, d.problems
	}
	cfg := &Config{Legacy: opts.Legacy}
	if kind := root.value["kind"]; kind != nil && root.has("data") {
		d.problem(kind, "kind", "this is the Kubernetes object around a configuration; give the text under its data key (kubectl get … -o jsonpath='{.data.config\\.yaml}')")
		return nil, d.problems
	}
	d.allow(root, "", "rules", "externalRules", "resourceRules", "backends", "presets")
	if n := root.value["resourceRules"]; !isNull(n) {
		d.warn(&yaml.Node{Line: n.Line}, "resourceRules", "is not served: metrics.k8s.io (CPU and memory of pods and nodes) is the job of metrics-server; install that and remove this")
	}
	cfg.Backends = d.backends(root.value["backends"])
	known := slices.Clone(opts.Backends)
	for _, b := range cfg.Backends {
		known = append(known, b.Name)
	}
	rr := ruleReader{document: d, legacy: opts.Legacy, backends: known}
	cfg.Rules = append(cfg.Rules, rr.presets(root.value["presets"])...)
	cfg.Rules = append(cfg.Rules, rr.list(root.value["rules"], "rules", Custom)...)
	cfg.Rules = append(cfg.Rules, rr.list(root.value["externalRules"], "externalRules", External)...)
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	cfg.Warnings = d.warnings.sorted()
	return cfg, nil
}

// load reads the first document of the stream, as prometheus-adapter does.
func (d *document) load(data []byte) (fields, bool) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := dec.Decode(&first); err != nil && !errors.Is(err, io.EOF) {
		d.syntax(err)
		return fields{}, false
	}
	if err := dec.Decode(&second); err == nil && len(second.Content) > 0 && !isNull(second.Content[0]) {
		d.warn(&yaml.Node{Line: second.Content[0].Line}, "", "a second YAML document is not read; keep one")
	} else if err != nil && !errors.Is(err, io.EOF) {
		d.syntax(err)
		return fields{}, false
	}
	var root *yaml.Node
	if len(first.Content) > 0 {
		root = first.Content[0]
	}
	f := d.anyMapping(root, "")
	return f, len(d.problems) == 0
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
