package controller

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/headroom-autoscaler/headroom/prewarm"
	"github.com/headroom-autoscaler/headroom/prewarm/hpa"
)

// TestTroubleshootingNamesEveryReason compares the tables of the troubleshooting page with what the code can say: the page
// lacks no reason and names none that does not exist.
func TestTroubleshootingNamesEveryReason(t *testing.T) {
	page, err := os.ReadFile("../../docs/headroom/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (?:Ready \\| |DemandAvailable \\| )?`([A-Z][A-Za-z]+)` \\|").FindAllSubmatch(page, -1) {
		documented[string(row[1])] = true
	}
	said := map[string]bool{}
	for reason := range problemReasonTexts {
		said[reason.String()] = true
	}
	for reason := hpa.ProblemReason(1); !strings.Contains(reason.String(), "("); reason++ {
		said[reason.String()] = true
	}
	for kind := prewarm.ReasonKind(1); !strings.HasPrefix(kind.String(), "ReasonKind"); kind++ {
		said[kind.String()] = true
	}
	for _, file := range []string{"effective.go", "status.go"} {
		for _, reason := range reasonsIn(t, file) {
			said[reason] = true
		}
	}
	if len(said) < 35 {
		t.Errorf("only %d reasons were found in the code: %v", len(said), slices.Sorted(maps.Keys(said)))
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(said)), slices.Sorted(maps.Keys(documented))); diff != "" {
		t.Errorf("docs/headroom/troubleshooting.md (+) and what the code can say (-) differ:\n%s", diff)
	}
}

// reasonsIn are the reasons written out in a file: constants named reason…, the literal reasons of findings, and literals passed
// to a function add after whether it warns.
func reasonsIn(t *testing.T, file string) (found []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	literal := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			text, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, text)
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if strings.HasPrefix(name.Name, "reason") && i < len(n.Values) {
					literal(n.Values[i])
				}
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "add" && len(n.Args) > 2 {
				literal(n.Args[1])
			}
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "set" && len(n.Args) > 3 {
				literal(n.Args[2])
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Reason" {
				literal(n.Value)
			}
		}
		return true
	})
	return found
}
