package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

const (
	docsFolder = "../../docs/headroom"
	// documentedNamespace is the one of all manifests about workloads.
	documentedNamespace = "inference"
	// patience is how long something may take in these tests, which scale by Kubernetes' default policies of four pods in 15 s.
	patience = 3 * time.Minute
)

// documentedRules serve the metric of the pages at once; the presets' rates take a minute to fill.
const documentedRules = baseRules + `
- seriesQuery: 'documented_offered{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: requests_offered_per_second}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
`

// documentedKinds are those of which the pages show manifests.
var documentedKinds = map[schema.GroupVersionKind]string{
	{Group: "headroom.dev", Version: "v1alpha1", Kind: "Headroom"}:              "headrooms",
	{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"}:      "horizontalpodautoscalers",
	{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"}:               "scaledobjects",
	{Group: "autoscaling.x-k8s.io", Version: "v1beta1", Kind: "CapacityBuffer"}: "capacitybuffers",
	{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application"}:            "applications",
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}:    "clusterroles",
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"}:           "roles",
}

// documentedBlock is one fenced block of a page.
type documentedBlock struct {
	language, text string
}

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func blocksOf(t *testing.T, page string) (blocks []documentedBlock) {
	t.Helper()
	text, err := os.ReadFile(page)
	must(t, err)
	for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, documentedBlock{m[1], m[2]})
	}
	return blocks
}

func objectsOf(t *testing.T, text string) (objects []*unstructured.Unstructured) {
	t.Helper()
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		must(t, yaml.UnmarshalStrict([]byte(document), &object.Object))
		objects = append(objects, object)
	}
	return objects
}

// reader is somebody who follows a page from top to bottom.
type reader struct {
	dir     string // of headroom and kubectl-headroom
	applied []*unstructured.Unstructured
}

func newReader(t *testing.T) *reader {
	t.Helper()
	program, _, _, _, err := shared.AdapterFiles(t.Context())
	must(t, err)
	r := &reader{dir: t.TempDir()}
	for _, name := range []string{"headroom", "kubectl-headroom"} {
		must(t, os.Symlink(program, filepath.Join(r.dir, name)))
	}
	t.Cleanup(func() { r.tidy(t) })
	return r
}

// apply does as kubectl apply --server-side --force-conflicts: what does not fit its definition is refused.
func (r *reader) apply(t *testing.T, object *unstructured.Unstructured, dryRun bool) *unstructured.Unstructured {
	t.Helper()
	plural, ok := documentedKinds[object.GroupVersionKind()]
	if !ok {
		t.Fatalf("a manifest of %s, of which this test knows nothing", object.GroupVersionKind())
	}
	options := metav1.ApplyOptions{FieldManager: "reader", Force: true}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	} else {
		r.applied = append(r.applied, object)
		must(t, shared.EnsureNamespace(t.Context(), object.GetNamespace()))
	}
	resource := shared.Dynamic.Resource(object.GroupVersionKind().GroupVersion().WithResource(plural))
	stored, err := resource.Namespace(object.GetNamespace()).Apply(t.Context(), object.GetName(), object, options)
	if err != nil {
		t.Fatalf("apply %s %s: %v", object.GetKind(), object.GetName(), err)
	}
	return stored
}

// tidy deletes what was applied, the newest first, and waits until it is gone: a Headroom gives back what it holds before.
func (r *reader) tidy(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	slices.SortStableFunc(r.applied, func(a, b *unstructured.Unstructured) int {
		return strings.Compare(a.GetKind(), b.GetKind()) // Headroom before HorizontalPodAutoscaler and ScaledObject
	})
	for _, object := range r.applied {
		resource := shared.Dynamic.Resource(object.GroupVersionKind().GroupVersion().WithResource(documentedKinds[object.GroupVersionKind()])).Namespace(object.GetNamespace())
		if err := resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		must(t, testbed.WaitFor(ctx, patience, object.GetName()+" to be gone", func(ctx context.Context) (bool, string) {
			_, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
			return apierrors.IsNotFound(err), fmt.Sprint(err)
		}))
	}
}

var (
	nameComment = regexp.MustCompile(`^# ([a-z0-9-]+\.yaml)\n`)
	commandLine = regexp.MustCompile(`^(?:kubectl )?headroom (check|explain|release)( .*)?$`)
)

// follow does what a block says: a manifest is kept as a file when it has a name and applied, a command is run.
func (r *reader) follow(t *testing.T, block documentedBlock) (commands int) {
	t.Helper()
	if block.language == "yaml" {
		if name := nameComment.FindStringSubmatch(block.text); name != nil {
			must(t, os.WriteFile(filepath.Join(r.dir, name[1]), []byte(block.text), 0o600))
		}
		for _, object := range objectsOf(t, block.text) {
			r.apply(t, object, false)
		}
		return 0
	}
	if block.language == "text" {
		return 0 // what a command may answer
	}
	for line := range strings.Lines(block.text) {
		line = strings.TrimSpace(line)
		command := commandLine.FindStringSubmatch(line)
		if command == nil {
			t.Fatalf("a line that this test cannot run: %q", line)
		}
		r.waitDecided(t)
		r.run(t, line, command[1])
		commands++
	}
	return commands
}

// waitDecided waits until what was applied last to each Headroom that has pods is what its status is about.
func (r *reader) waitDecided(t *testing.T) {
	t.Helper()
	for _, object := range r.applied {
		if object.GetKind() != "Headroom" || !strings.HasPrefix(object.GetName(), "llama-") {
			continue
		}
		must(t, testbed.WaitFor(t.Context(), patience, object.GetName()+" to be decided about", func(ctx context.Context) (bool, string) {
			hr, err := (&ahead{fleet: &fleet{namespace: object.GetNamespace(), name: object.GetName()}}).headroom(ctx)
			if err != nil {
				return false, err.Error()
			}
			return hr.Status.ObservedGeneration == hr.Generation && hr.Status.Decision != nil, fmt.Sprintf("%+v", hr.Status.Conditions)
		}))
	}
}

// run runs a command until it succeeds: demand may not have been measured yet.
func (r *reader) run(t *testing.T, line, verb string) {
	t.Helper()
	words := strings.Fields(line)
	if words[0] == "kubectl" {
		words = append([]string{"kubectl-headroom"}, words[2:]...)
	}
	must(t, testbed.WaitFor(t.Context(), patience, line, func(ctx context.Context) (bool, string) {
		cmd := exec.CommandContext(ctx, filepath.Join(r.dir, words[0]), words[1:]...)
		cmd.Dir, cmd.Env = r.dir, append(os.Environ(), "KUBECONFIG="+shared.Kubeconfig)
		out, err := cmd.CombinedOutput()
		says := map[string]string{"check": "nothing keeps the floor from the workload", "explain": "Keep "}[verb]
		return err == nil && strings.Contains(string(out), says), fmt.Sprintf("%v\n%s", err, out)
	}))
}

// documentedLoad shows sixty requests a second on the Ready pods of each deployment of the pages, which are for twelve each: N is 5.
func documentedLoad(t *testing.T, names ...string) []*fleet {
	t.Helper()
	var fleets []*fleet
	for _, name := range names {
		f := &fleet{namespace: documentedNamespace, name: name}
		must(t, shared.AddDeployment(t.Context(), testbed.Deployment{Namespace: f.namespace, Name: name, Replicas: 1}))
		t.Cleanup(func() {
			if err := shared.Client.AppsV1().Deployments(f.namespace).Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
		fleets = append(fleets, f)
	}
	shared.exporter.ExportFunc(func(now time.Time) string {
		var text strings.Builder
		for _, f := range fleets {
			text.WriteString(f.export("documented_offered", func(_ time.Time, _ string, _, pods int) float64 { return 60 / float64(pods) })(now))
		}
		return text.String()
	})
	return fleets
}

// documentedDecider starts an adapter that decides, by the rules of these tests, and makes it the cluster's.
func documentedDecider(t *testing.T) {
	t.Helper()
	must(t, shared.InstallCRDs(t.Context()))
	for _, name := range []string{"scaledobjects.keda.sh", "capacitybuffers.autoscaling.x-k8s.io", "applications.argoproj.io"} {
		installCRD(t, filepath.Join("testdata", name+".yaml"))
		t.Cleanup(func() { removeCRD(t, name) })
	}
	adapter, err := shared.StartAdapter(t.Context(), testbed.AdapterOptions{
		Name: "documented", Rules: documentedRules, PrometheusURL: shared.prometheus.URL,
		Args: append(slices.Clone(fastArgs), "--decide-interval", "1s", "--hpa-sync-period", syncPeriod.String(), "--lease-namespace", testbed.Namespace),
	})
	must(t, err)
	t.Cleanup(adapter.Stop)
	must(t, shared.RegisterAPIServices(t.Context(), adapter.Port))
	t.Cleanup(func() {
		if err := shared.RegisterAPIServices(context.WithoutCancel(t.Context()), shared.adapter.Port); err != nil {
			t.Error(err)
		}
	})
	waitLeaderWithin(t, adapter, patience)
}

// TestThePagesAboutHeadroomObjectsWork follows each page on a real API server: every manifest is applied, every command run.
func TestThePagesAboutHeadroomObjectsWork(t *testing.T) {
	documentedDecider(t)
	documentedLoad(t, "llama-70b", "llama-8b", "llama-3b", "llama-13b", "scorer")
	pages, err := filepath.Glob(filepath.Join(docsFolder, "*.md"))
	must(t, err)
	first := blocksOf(t, filepath.Join(docsFolder, "buffer.md"))[0]
	manifests, commands := 0, 0
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			r := newReader(t)
			for _, object := range objectsOf(t, first.text) { // what a page without manifests speaks of
				r.apply(t, object, false)
			}
			for _, block := range blocksOf(t, page) {
				commands += r.follow(t, block)
				if block.language == "yaml" {
					manifests += len(objectsOf(t, block.text))
				}
			}
		})
	}
	t.Logf("%d manifests applied, %d commands run", manifests, commands)
	if manifests < 20 || commands < 15 {
		t.Error("the pages have more than that")
	}
}

// TestTheDocumentedBufferIsKept: the four pairs of the page on N+2, as they stand there, keep seven pods Ready under a load for five.
func TestTheDocumentedBufferIsKept(t *testing.T) {
	documentedDecider(t)
	fleets := documentedLoad(t, "llama-70b", "llama-8b", "llama-3b", "llama-13b")
	r := newReader(t)
	var names []string
	for _, block := range blocksOf(t, filepath.Join(docsFolder, "buffer.md")) {
		if block.language != "yaml" {
			continue
		}
		if objects := objectsOf(t, block.text); len(objects) == 2 {
			for _, object := range objects {
				r.apply(t, object, false)
			}
			names = append(names, objects[0].GetName())
		}
	}
	if diff := cmp.Diff([]string{"llama-70b", "llama-8b", "llama-3b", "llama-13b"}, names); diff != "" {
		t.Fatal(diff)
	}
	for _, f := range fleets {
		must(t, shared.WaitReplicas(t.Context(), patience, f.namespace, f.name, 7))
		_, err := shared.WaitReady(t.Context(), patience, f.namespace, f.name, 7)
		must(t, err)
		hr, err := (&ahead{fleet: f}).headroom(t.Context())
		must(t, err)
		if c := meta.FindStatusCondition(hr.Status.Conditions, v1alpha1.ConditionFloorEffective); c == nil || c.Status != metav1.ConditionTrue {
			t.Errorf("%s: %+v", f.name, c)
		}
		var hpa *autoscalingv2.HorizontalPodAutoscaler
		hpa, err = shared.Client.AutoscalingV2().HorizontalPodAutoscalers(f.namespace).Get(t.Context(), f.name, metav1.GetOptions{})
		must(t, err)
		if min := *hpa.Spec.MinReplicas; (min == 7) != (f.name == "llama-8b") {
			t.Errorf("%s: minReplicas %d", f.name, min)
		}
	}
}

// TestTheDocumentedRightsAreThoseOfTheseTests: every other test here runs an adapter with exactly the rights that the page on
// serving lists.
func TestTheDocumentedRightsAreThoseOfTheseTests(t *testing.T) {
	roles := 0
	for _, block := range blocksOf(t, "../../docs/serving.md") {
		if block.language != "yaml" {
			continue
		}
		for _, object := range objectsOf(t, block.text) {
			roles++
			(&reader{}).apply(t, object, true)
			var documented rbacv1.ClusterRole // a Role has the same fields
			text, err := yaml.Marshal(object.Object)
			must(t, err)
			must(t, yaml.UnmarshalStrict(text, &documented))
			var rules []rbacv1.PolicyRule
			if object.GetKind() == "Role" {
				live, err := shared.Client.RbacV1().Roles(object.GetNamespace()).Get(t.Context(), object.GetName(), metav1.GetOptions{})
				must(t, err)
				rules = live.Rules
			} else {
				live, err := shared.Client.RbacV1().ClusterRoles().Get(t.Context(), object.GetName(), metav1.GetOptions{})
				must(t, err)
				rules = live.Rules
			}
			if diff := cmp.Diff(rights(rules), rights(documented.Rules)); diff != "" {
				t.Errorf("%s %s: documented (+) and in use (-):\n%s", object.GetKind(), object.GetName(), diff)
			}
		}
	}
	if roles != 3 {
		t.Errorf("%d roles on the page", roles)
	}
}

// rights are a role's rules as one line for each verb on each resource.
func rights(rules []rbacv1.PolicyRule) (lines []string) {
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					lines = append(lines, verb+" "+resource+"."+group)
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}
