package rules

import (
	"fmt"
	"regexp"
	"strings"
	"text/template"
)

// association says which label names objects of which resource, both ways:
// first by the overrides, then by the template.
type association struct {
	overrides []override // in the file's order; the first for a resource is its label
	template  *labelTemplate
}

type override struct {
	label    string
	resource Resource // as written: singular, plural or short
}

// labelTemplate is resources.template: "kube_<<.Resource>>".
type labelTemplate struct {
	tmpl    *template.Template
	pieces  []piece
	reverse []*regexp.Regexp // of labels with a group, and of those of the core group
}

type labelArgs struct{ Group, Resource string }

func parseLabelTemplate(text string) (*labelTemplate, error) {
	t, err := parseTemplate(text, "Group", "Resource")
	if err != nil {
		return nil, err
	}
	l := &labelTemplate{tmpl: t, pieces: pieces(t)}
	// The label becomes an expression by being written once for a group and a
	// resource that no text contains; what is left around them is literal.
	const group, resource = "\x00g\x00", "\x00r\x00"
	for _, g := range []string{group, ""} {
		label, err := render(t, labelArgs{g, resource})
		if err != nil {
			return nil, err
		}
		if !strings.Contains(label, resource) {
			return nil, fmt.Errorf("must contain <<.Resource>>, unchanged")
		}
		pattern := regexp.QuoteMeta(label)
		// Names of resources have no underscore, so a group with many is told apart.
		pattern = strings.Replace(pattern, regexp.QuoteMeta(group), "(?P<group>.+?)", 1)
		pattern = strings.Replace(pattern, regexp.QuoteMeta(resource), "(?P<resource>[^_]+?)", 1)
		if strings.Contains(pattern, "\x00") {
			return nil, fmt.Errorf("must contain <<.Resource>> once, and <<.Group>> at most once")
		}
		reverse, err := regexp.Compile("^" + pattern + "$")
		if err != nil {
			return nil, err
		}
		l.reverse = append(l.reverse, reverse)
		if !strings.Contains(label, group) {
			break
		}
	}
	return l, nil
}

// label of a resource. Dots and dashes of a group cannot stand in a label name.
func (l *labelTemplate) label(group, singular string) (string, bool) {
	group = strings.NewReplacer(".", "_", "-", "_").Replace(group)
	if l.pieces == nil {
		label, err := render(l.tmpl, labelArgs{group, singular})
		return label, err == nil && label != ""
	}
	var b strings.Builder
	for _, p := range l.pieces {
		switch p.field {
		case "Group":
			b.WriteString(group)
		case "Resource":
			b.WriteString(singular)
		default:
			b.WriteString(p.text)
		}
	}
	return b.String(), b.Len() > 0
}

func (a *association) labelFor(info ResourceInfo, rs Resources) (string, bool) {
	for _, o := range a.overrides {
		if o.resource == info.Resource {
			return o.label, true
		}
		if got, ok := rs.Resolve(o.resource); ok && got.Resource == info.Resource {
			return o.label, true
		}
	}
	if a.template == nil {
		return "", false
	}
	return a.template.label(info.Group, info.Singular)
}

func (a *association) resourceFor(label string, rs Resources) (ResourceInfo, bool) {
	for _, o := range a.overrides {
		if o.label == label {
			return rs.Resolve(o.resource)
		}
	}
	if a.template == nil {
		return ResourceInfo{}, false
	}
	for _, reverse := range a.template.reverse {
		m := reverse.FindStringSubmatch(label)
		if m == nil {
			continue
		}
		res := Resource{Name: m[reverse.SubexpIndex("resource")]}
		if i := reverse.SubexpIndex("group"); i > 0 {
			res.Group = m[i]
		}
		if info, ok := rs.Resolve(res); ok {
			return info, true
		}
		// The label of group networking.k8s.io says networking_k8s_io.
		res.Group = strings.ReplaceAll(res.Group, "_", ".")
		if info, ok := rs.Resolve(res); ok {
			return info, true
		}
	}
	return ResourceInfo{}, false
}

// namespaceLabel needs no cluster: the resource is always there.
func (a *association) namespaceLabel() (string, bool) {
	for _, o := range a.overrides {
		if isNamespaces(o.resource) {
			return o.label, true
		}
	}
	if a.template == nil {
		return "", false
	}
	return a.template.label("", "namespace")
}

func isNamespaces(r Resource) bool {
	return r.Group == "" && (r.Name == "namespaces" || r.Name == "namespace" || r.Name == "ns")
}
