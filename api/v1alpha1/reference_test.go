package v1alpha1_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write docs/headroom/reference.md")

// node is as much of a CustomResourceDefinition's schema as the reference tells.
type node struct {
	Type        string          `json:"type"`
	Format      string          `json:"format"`
	Pattern     string          `json:"pattern"`
	Description string          `json:"description"`
	Default     any             `json:"default"`
	Enum        []string        `json:"enum"`
	Minimum     *float64        `json:"minimum"`
	Maximum     *float64        `json:"maximum"`
	MinItems    *int            `json:"minItems"`
	MaxItems    *int            `json:"maxItems"`
	Required    []string        `json:"required"`
	Properties  map[string]node `json:"properties"`
	Items       *node           `json:"items"`
	IntOrString bool            `json:"x-kubernetes-int-or-string"`
	Rules       []struct {
		Message string `json:"message"`
	} `json:"x-kubernetes-validations"`
}

const referenceTop = `# Every field of a Headroom

<!-- Written from the CustomResourceDefinition by: go test ./api/v1alpha1 -run Reference -update -->

` + "`headroom.dev/v1alpha1`, kind `Headroom`, short name `hr`, namespaced. `kubectl explain headroom.spec` says the same." + `

Durations are written like ` + "`4m30s`" + `. In YAML the words ` + "`On` and `Off`" + ` need quotes, else they are read as true and false.
`

// TestReferencePageSaysWhatTheDefinitionSays keeps docs/headroom/reference.md from drifting: it is the definition, as tables.
func TestReferencePageSaysWhatTheDefinitionSays(t *testing.T) {
	text, err := os.ReadFile("../../charts/headroom/files/crds/headroom.dev_headrooms.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPI node `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil || len(crd.Spec.Versions) != 1 {
		t.Fatalf("%d versions, %v", len(crd.Spec.Versions), err)
	}
	root := crd.Spec.Versions[0].Schema.OpenAPI
	var page bytes.Buffer
	page.WriteString(referenceTop)
	page.WriteString("\n## spec\n\n")
	for _, rule := range root.Properties["spec"].Rules {
		fmt.Fprintf(&page, "- %s\n", rule.Message)
	}
	page.WriteString("\n| field | type | default | allowed | meaning |\n|---|---|---|---|---|\n")
	fields := specRows(&page, "", root.Properties["spec"])
	page.WriteString("\n## status\n\nWritten by Headroom alone.\n\n| field | type | meaning |\n|---|---|---|\n")
	fields += statusRows(&page, "", root.Properties["status"])
	if fields < 70 {
		t.Errorf("only %d fields were found", fields)
	}

	const file = "../../docs/headroom/reference.md"
	if *update {
		if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written, page.Bytes()) {
		t.Errorf("%s is not what the definition says: run go test ./api/v1alpha1 -run Reference -update and commit it", file)
	}
}

func specRows(page *bytes.Buffer, path string, n node) (fields int) {
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		child := n.Properties[name]
		at := join(path, name)
		var allowed []string
		if slices.Contains(n.Required, name) {
			allowed = append(allowed, "required")
		}
		fmt.Fprintf(page, "| `%s` | %s | %s | %s | %s |\n", at, child.kind(), child.fallback(), cell(strings.Join(append(allowed, child.allowed()...), "; ")), cell(child.Description))
		fields++
		switch {
		case name == "selector": // Kubernetes' own
		case child.Items != nil && child.Items.Properties != nil:
			fields += specRows(page, at+"[]", *child.Items)
		default:
			fields += specRows(page, at, child)
		}
	}
	return fields
}

func statusRows(page *bytes.Buffer, path string, n node) (fields int) {
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		child := n.Properties[name]
		at := join(path, name)
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", at, child.kind(), cell(child.Description))
		fields++
		switch {
		case name == "conditions": // Kubernetes' own
		case child.Items != nil && child.Items.Properties != nil:
			fields += statusRows(page, at+"[]", *child.Items)
		default:
			fields += statusRows(page, at, child)
		}
	}
	return fields
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (n node) kind() string {
	switch {
	case n.Items != nil && n.Items.Properties != nil:
		return "list"
	case n.Items != nil:
		return "list of " + n.Items.kind() + "s"
	case n.Properties != nil:
		return ""
	case n.IntOrString && n.Pattern != "":
		return "quantity"
	case n.IntOrString:
		return "text"
	case n.Format == "date-time":
		return "time"
	case n.Type == "string":
		return "text"
	}
	return n.Type
}

// fallback is the default of a field, and nothing where it only repeats those of the fields inside.
func (n node) fallback() string {
	switch {
	case n.Default == nil && n.Type == "boolean":
		return "`false`"
	case n.Default == nil || n.Properties != nil:
		return ""
	}
	return fmt.Sprintf("`%v`", n.Default)
}

func (n node) allowed() []string {
	var all []string
	if len(n.Enum) > 0 {
		all = append(all, "`"+strings.Join(n.Enum, "`, `")+"`")
	}
	between := func(low, high string) {
		switch {
		case low != "" && high != "":
			all = append(all, low+" to "+high)
		case low != "":
			all = append(all, "at least "+low)
		case high != "":
			all = append(all, "at most "+high)
		}
	}
	between(number(n.Minimum), number(n.Maximum))
	if n.Items != nil {
		between(number(n.MinItems), number(n.MaxItems))
	}
	rules := n.Rules
	if n.Items != nil {
		rules = append(slices.Clone(rules), n.Items.Rules...)
	}
	for _, rule := range rules {
		all = append(all, rule.Message)
	}
	return all
}

func number[T int | float64](n *T) string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("%.0f", float64(*n))
}

// cell is text as a table holds it.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
