package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// document reads YAML by hand, so that every problem is found at once and has
// its line, and a key that is not known has a suggestion.
type document struct {
	file     string
	strict   bool
	problems Problems
	warnings Problems
}

func (d *document) problem(n *yaml.Node, path, format string, args ...any) {
	d.problems = append(d.problems, d.at(n, path, fmt.Sprintf(format, args...)))
}

// warn is for what has always been accepted and never worked; strict refuses it.
func (d *document) warn(n *yaml.Node, path, format string, args ...any) {
	if d.strict {
		d.problem(n, path, format, args...)
		return
	}
	d.note(n, path, format, args...)
}

// note is for what holds but may surprise.
func (d *document) note(n *yaml.Node, path, format string, args ...any) {
	d.warnings = append(d.warnings, d.at(n, path, fmt.Sprintf(format, args...)))
}

func (d *document) at(n *yaml.Node, path, message string) Problem {
	p := Problem{File: d.file, Path: path, Message: message}
	if n != nil {
		p.Line = n.Line
		if n.Kind == yaml.ScalarNode {
			p.Value = n.Value
		}
	}
	return p
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax turns the YAML library's error into a problem with a line.
func (d *document) syntax(err error) {
	text := err.Error()
	p := Problem{File: d.file, Message: "not YAML: " + yamlLine.ReplaceAllString(text, "")}
	if m := yamlLine.FindStringSubmatch(text); m != nil && m[1] != "" {
		p.Line, _ = strconv.Atoi(m[1])
	}
	d.problems = append(d.problems, p)
}

// target follows an alias.
func target(n *yaml.Node) *yaml.Node {
	for range 16 { // an alias of an alias is legal, endless ones are not
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && (n.Tag == "!!null" || n.Tag == "" && n.Value == "")
}

// fields of a mapping, in its order.
type fields struct {
	keys  []*yaml.Node
	value map[string]*yaml.Node
}

func (f fields) has(key string) bool { return f.value[key] != nil }

// mapping reads an object with the keys that are allowed.
func (d *document) mapping(n *yaml.Node, path string, allowed ...string) fields {
	f := d.anyMapping(n, path)
	d.allow(f, path, allowed...)
	return f
}

// allow refuses every key that is not named.
func (d *document) allow(f fields, path string, allowed ...string) {
	for _, key := range f.keys {
		if !slices.Contains(allowed, key.Value) {
			d.problem(&yaml.Node{Line: key.Line}, join(path, key.Value), "there is no such field; %s", suggest(key.Value, allowed))
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// anyMapping reads an object whose keys are data.
func (d *document) anyMapping(n *yaml.Node, path string) fields {
	f := fields{value: map[string]*yaml.Node{}}
	d.collect(&f, n, path, 0)
	return f
}

func (d *document) collect(f *fields, n *yaml.Node, path string, merges int) {
	n = target(n)
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.problem(n, path, "must be a mapping (key: value)")
		return
	}
	own := map[string]bool{}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := target(n.Content[i]), target(n.Content[i+1])
		switch {
		case key == nil || key.Kind != yaml.ScalarNode:
			d.problem(n.Content[i], path, "a key must be text")
		case key.Tag == "!!merge":
			merged = append(merged, value)
		case own[key.Value]:
			d.problem(&yaml.Node{Line: key.Line}, join(path, key.Value), "stands here twice; keep one")
		default:
			own[key.Value] = true
			if f.value[key.Value] == nil { // what merges bring in is weaker
				f.keys = append(f.keys, key)
				f.value[key.Value] = value
				if value == nil {
					f.value[key.Value] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: key.Line}
				}
			}
		}
	}
	for _, m := range merged {
		if merges > 8 {
			d.problem(n, path, "merges (<<) nest too deep")
			return
		}
		if m != nil && m.Kind == yaml.SequenceNode {
			for _, part := range m.Content {
				d.collect(f, part, path, merges+1)
			}
		} else {
			d.collect(f, m, path, merges+1)
		}
	}
}

func (d *document) list(n *yaml.Node, path string) []*yaml.Node {
	const most = 10000 // entries: far above any file, far below what an alias bomb unfolds to
	n = target(n)
	switch {
	case isNull(n):
		return nil
	case n.Kind != yaml.SequenceNode:
		d.problem(n, path, "must be a list (- entry)")
		return nil
	case len(n.Content) > most:
		d.problem(n, path, "has %d entries; at most %d", len(n.Content), most)
		return nil
	}
	return n.Content
}

// text is any scalar, as the file has it.
func (d *document) text(n *yaml.Node, path string) string {
	n = target(n)
	if isNull(n) {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		d.problem(n, path, "must be text")
		return ""
	}
	return n.Value
}

func (d *document) boolean(n *yaml.Node, path string, otherwise bool) bool {
	n = target(n)
	if isNull(n) {
		return otherwise
	}
	if n.Kind == yaml.ScalarNode {
		switch strings.ToLower(n.Value) {
		case "true", "yes", "on", "y":
			return true
		case "false", "no", "off", "n":
			return false
		}
	}
	d.problem(n, path, "must be true or false")
	return otherwise
}

func (d *document) duration(n *yaml.Node, path string, least, most time.Duration) time.Duration {
	n = target(n)
	if isNull(n) {
		return 0
	}
	got, err := parseDuration(d.text(n, path))
	if err != nil || got < least || got > most {
		d.problem(n, path, "must be a duration from %s to %s, such as 30s, 5m or 1h30m", shortDuration(least), shortDuration(most))
		return 0
	}
	return got
}

// shortDuration writes 1m0s as people do.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// choice is one of a few words.
func choice[T fmt.Stringer](d *document, n *yaml.Node, path string, otherwise T, options ...T) T {
	got := d.text(n, path)
	if got == "" {
		return otherwise
	}
	var words []string
	for _, o := range options {
		if o.String() == got {
			return o
		}
		words = append(words, o.String())
	}
	d.problem(target(n), path, "must be %s", strings.Join(words, " or "))
	return otherwise
}

// suggest names the nearest allowed key, or all of them.
func suggest(got string, allowed []string) string {
	best, distance := "", 3
	for _, a := range allowed {
		e := edits(strings.ToLower(got), strings.ToLower(a))
		if len(got) > 4 && strings.HasPrefix(a, got) { // bearerToken: bearerTokenFile
			e = min(e, 2)
		}
		if e < distance {
			best, distance = a, e
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "allowed are " + strings.Join(allowed, ", ")
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
