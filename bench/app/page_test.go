package app

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/headroom-autoscaler/headroom/bench/report"
)

// TestThePageOfTheDocs: every flag and every field of the JSON stands in it.
func TestThePageOfTheDocs(t *testing.T) {
	raw, err := os.ReadFile("../../docs/replay.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	NewCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(page, "`--"+f.Name+"`") {
			t.Errorf("--%s is not in docs/replay.md", f.Name)
		}
	})
	for _, path := range fields(reflect.TypeFor[report.Document](), "") {
		if !strings.Contains(page, "`"+path+"`") {
			t.Errorf("%s of the JSON is not in docs/replay.md", path)
		}
	}
	for _, sentence := range []string{report.Schema, "headroom replay -f hpa.yaml -f headroom.yaml --trace"} {
		if !strings.Contains(page, sentence) {
			t.Errorf("docs/replay.md does not say %q", sentence)
		}
	}
}

// fields are the paths of a document's leaves. Points, of which there are several lists, are one word each.
func fields(of reflect.Type, path string) []string {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	point := reflect.TypeFor[report.Point]()
	switch {
	case of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct && of.Elem() == point:
		return []string{path + "[]"}
	case of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct:
		return fields(of.Elem(), path+"[]")
	case of.Kind() != reflect.Struct, of == point, of.PkgPath() == "time":
		return []string{path}
	}
	var all []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if path != "" {
			name = path + "." + name
		}
		all = append(all, fields(field.Type, name)...)
	}
	return all
}
