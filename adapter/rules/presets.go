package rules

import (
	"embed"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed presets/*.yaml
var presetFiles embed.FS

// PresetNames are those that `presets:` may list, sorted.
func PresetNames() []string {
	entries, err := presetFiles.ReadDir("presets")
	if err != nil {
		panic(err) // the files are part of the program
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return out
}

// PresetSource is a preset's text: the same language, with comments.
func PresetSource(name string) (string, bool) {
	data, err := presetFiles.ReadFile("presets/" + name + ".yaml")
	return string(data), err == nil
}

// defaultWindow of a preset's rates: four scrapes at Prometheus's example
// interval of 15 s, two at 30 s, which is the least that a rate needs.
const defaultWindow = time.Minute

// presets reads the list: names, or {name: …, options}.
func (rr *ruleReader) presets(n *yaml.Node) []*Rule {
	var out []*Rule
	for i, item := range rr.document.list(n, "presets") {
		path := index("presets", i)
		item = target(item)
		var f fields
		if item != nil && item.Kind == yaml.ScalarNode {
			f.value = map[string]*yaml.Node{"name": item}
		} else {
			f = rr.mapping(item, path, "name", "backend", "maxStaleness", "partial", "window", "labels", "matchLabels")
		}
		name := rr.text(f.value["name"], path)
		source, ok := PresetSource(name)
		if !ok {
			names := PresetNames()
			rr.problem(or(f.value["name"], item), path, "there is no such preset; %s", suggest(name, names))
			continue
		}
		out = append(out, rr.expand(name, source, f, path)...)
	}
	return out
}

// expand writes out one preset with its options.
func (rr *ruleReader) expand(name, source string, f fields, path string) []*Rule {
	before := len(rr.problems)
	pr := &ruleReader{
		document: &document{file: "preset " + name}, legacy: rr.legacy, backends: rr.backends, preset: name,
		backend:      rr.text(f.value["backend"], path+".backend"),
		maxStaleness: rr.duration(f.value["maxStaleness"], path+".maxStaleness", time.Second, maxStalenessLimit),
		partial:      choice(rr.document, f.value["partial"], path+".partial", 0, Omit, Fail),
		window:       rr.duration(f.value["window"], path+".window", time.Second, time.Hour),
	}
	if pr.window == 0 {
		pr.window = defaultWindow
	}
	if pr.backend != "" && !slices.Contains(rr.backends, pr.backend) {
		rr.problem(target(f.value["backend"]), path+".backend", "no backend has this name; %s", oneOf("backends are", rr.backends))
	}
	matchLabels := rr.matchLabels(f.value["matchLabels"], path+".matchLabels")
	for _, label := range sortedKeys(matchLabels) {
		pr.static = append(pr.static, equal(label, matchLabels[label]))
	}
	root, ok := pr.load([]byte(source))
	if !ok {
		panic(pr.problems) // a preset is part of the program, and a test reads them all
	}
	pr.labels = rr.presetLabels(root, f.value["labels"], path+".labels")
	prefix := path + "." + name + "."
	rules := append(pr.list(root.value["rules"], prefix+"rules", Custom), pr.list(root.value["externalRules"], prefix+"externalRules", External)...)
	if len(pr.problems) > 0 {
		panic(pr.problems)
	}
	if len(rr.problems) > before {
		return nil
	}
	return rules
}

// presetLabels reads `labels:`, which renames labels that name objects: those
// in the overrides of the preset's rules. External rules have no objects, and
// spell the labels of their results out.
func (rr *ruleReader) presetLabels(root fields, n *yaml.Node, path string) map[string]string {
	f := rr.anyMapping(n, path)
	if len(f.keys) == 0 {
		return nil
	}
	var known []string
	scan := &document{}
	for _, item := range scan.list(root.value["rules"], "") {
		resources := scan.anyMapping(scan.anyMapping(item, "").value["resources"], "")
		for _, key := range scan.anyMapping(resources.value["overrides"], "").keys {
			known = append(known, key.Value)
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	out := map[string]string{}
	for _, key := range f.keys {
		to := rr.text(f.value[key.Value], path+"."+key.Value)
		switch {
		case !slices.Contains(known, key.Value):
			rr.problem(&yaml.Node{Line: key.Line}, path+"."+key.Value, "the preset names no objects by this label; %s", oneOf("it uses", known))
		case !isLabelName(to):
			rr.problem(target(f.value[key.Value]), path+"."+key.Value, "must be a Prometheus label name: letters, digits and _, not beginning with a digit")
		default:
			out[key.Value] = to
		}
	}
	return out
}
