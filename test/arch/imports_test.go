package arch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/headroom-autoscaler/headroom"

// pure packages import the standard library, one another and the libraries named here. They ask no clock and open nothing:
// net/http, os and log/slog are not for them.
var pure = map[string][]string{
	"adapter/rules":       {"go.yaml.in/yaml/v3"}, // line numbers in errors
	"adapter/store":       nil,
	"adapter/collect":     nil,
	"forecaster":          {"gonum.org/v1/gonum"},
	"forecaster/backtest": {"gonum.org/v1/gonum"},
	"prewarm":             {"github.com/robfig/cron/v3"},
	"prewarm/hpa":         nil,
	"dcgm":                nil,
	"bench/replay":        nil,
	"bench/traces":        nil,
}

// edges wrap one dependency each and never import one another.
var edges = []string{
	"adapter/prometheus", "adapter/promql", "adapter/nodeagent", "adapter/kubernetes", "adapter/metricsapi", "prewarm/manifest", "prewarm/controller",
	"forecaster/outside", "dcgm/nvml", "dcgm/podmap", "dcgm/exporter", "bench/report",
}

// edgeExceptions are edges that may import another, with the reason.
var edgeExceptions = map[string]string{
	"adapter/metricsapi → adapter/kubernetes": "it answers for the pods that the informer knows; an interface of its three methods would repeat the types and hide nothing",
	"prewarm/controller → prewarm/manifest":   "it wraps no dependency but reads the words of api and autoscaling/v2, the same for the controller, the replay and check",
}

// apps wire; each imports its own component's packages, any pure one, and what is listed here.
var apps = map[string][]string{
	"adapter/app":    {"adapter/", "prewarm/controller", "prewarm/manifest"},
	"forecaster/app": {"forecaster/", "adapter/prometheus"},
	"prewarm/app":    {"prewarm/", "adapter/prometheus"},
	"dcgm/agent":     {"dcgm/"},
	"bench/app":      {"bench/", "adapter/prometheus", "prewarm/manifest"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func packages(t *testing.T, patterns ...string) map[string]pkg {
	t.Helper()
	list := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	list.Dir = "../.."
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	found := map[string]pkg{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for decoder.More() {
		var p pkg
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		found[p.name()] = p
	}
	return found
}

// standard says that an import path is the standard library's: its first element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func TestPurePackagesStayPure(t *testing.T) {
	all := packages(t, "./...")
	for name, allowed := range pure {
		p, exists := all[name]
		if !exists {
			continue // not written yet
		}
		for _, path := range p.Imports {
			ours := strings.TrimPrefix(path, module+"/")
			_, pureToo := pure[ours]
			switch {
			case path == "net/http", path == "os", path == "log/slog", path == "log":
				t.Errorf("%s imports %s: it is pure; pass what it needs as a value", name, path)
			case standard(path), pureToo, under(path, allowed):
			default:
				t.Errorf("%s imports %s: a pure package may import the standard library, pure packages and %v", name, path, allowed)
			}
		}
		for _, path := range p.Deps {
			if strings.HasPrefix(path, "k8s.io/") || strings.HasPrefix(path, "sigs.k8s.io/") || strings.HasPrefix(path, "github.com/prometheus/") {
				t.Errorf("%s links %s, through something that it imports", name, path)
			}
		}
	}
}

func TestEdgesDoNotKnowOneAnother(t *testing.T) {
	all := packages(t, "./...")
	for _, name := range edges {
		for _, path := range all[name].Imports {
			other := strings.TrimPrefix(path, module+"/")
			if _, allowed := edgeExceptions[name+" → "+other]; slices.Contains(edges, other) && !allowed {
				t.Errorf("%s imports the edge %s: what both need belongs in a pure package, what joins them in the app", name, other)
			}
		}
	}
}

func TestAppsWireTheirOwnComponent(t *testing.T) {
	all := packages(t, "./...")
	for name, allowed := range apps {
		for _, path := range all[name].Imports {
			other, ours := strings.CutPrefix(path, module+"/")
			_, isPure := pure[other]
			if ours && !isPure && !strings.HasPrefix(other, "api/") && !slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(other, prefix) }) {
				t.Errorf("%s imports %s: an app may import pure packages and %v", name, other, allowed)
			}
		}
	}
}

func TestBinariesLinkOnlyWhatTheyNeed(t *testing.T) {
	all := packages(t, "./cmd/...")
	for binary, forbidden := range map[string][]string{
		// Of Prometheus the parser alone, with the types that it names: no engine, no database, no discovery of targets.
		"cmd/headroom": {
			"github.com/NVIDIA/go-nvml", "k8s.io/kubernetes", "github.com/prometheus/prometheus/config", "github.com/prometheus/prometheus/discovery",
			"github.com/prometheus/prometheus/scrape", "github.com/prometheus/prometheus/rules", "github.com/prometheus/prometheus/storage/remote",
			"github.com/prometheus/prometheus/tsdb/index", "github.com/prometheus/prometheus/tsdb/wlog", "github.com/prometheus/prometheus/web",
		},
		"cmd/headroom-agent": {"k8s.io/client-go"},
	} {
		for _, path := range all[binary].Deps {
			if under(path, forbidden) {
				t.Errorf("%s links %s", binary, path)
			}
		}
	}
}

func TestTheRootModuleHasNoControlPlane(t *testing.T) {
	edit := exec.Command("go", "mod", "edit", "-json")
	edit.Dir = "../.."
	out, err := edit.Output()
	if err != nil {
		t.Fatalf("go mod edit -json: %v", err)
	}
	var file struct{ Require []struct{ Path string } }
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatal(err)
	}
	// Prometheus' module is here for its parser alone; what of it may be linked is judged above.
	controlPlane := []string{"k8s.io/kubernetes", "go.etcd.io/etcd/server", "sigs.k8s.io/kwok", "github.com/VictoriaMetrics/VictoriaMetrics", "helm.sh/helm"}
	for _, require := range file.Require {
		if under(require.Path, controlPlane) {
			t.Errorf("the root module requires %s; the tests' control plane keeps its own go.mod", require.Path)
		}
	}
}

// TestTheRulesCanFail plants a violation of each rule's predicate, so that a rule that never fires is noticed.
func TestTheRulesCanFail(t *testing.T) {
	for _, test := range []struct {
		path    string
		allowed []string
		want    bool
	}{
		{"gonum.org/v1/gonum/stat", []string{"gonum.org/v1/gonum"}, true},
		{"gonum.org/v1/gonumx", []string{"gonum.org/v1/gonum"}, false},
		{"k8s.io/api/core/v1", nil, false},
	} {
		if got := under(test.path, test.allowed); got != test.want {
			t.Errorf("under(%s, %v) = %v, want %v", test.path, test.allowed, got, test.want)
		}
	}
	if standard("k8s.io/api") || !standard("net/http") {
		t.Error(fmt.Sprint("standard: ", standard("k8s.io/api"), standard("net/http")))
	}
}

func under(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return path == root || strings.HasPrefix(path, root+"/") })
}
