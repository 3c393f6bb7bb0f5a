package testbed

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// soon is far more than anything here takes, for a machine that is busy.
const soon = time.Minute

// asParent makes the test binary start a bed, say which processes run, and wait to be killed.
const asParent = "HEADROOM_TESTBED_AS_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(asParent) != "" {
		if err := parent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func parent() error {
	ctx := context.Background()
	bed, err := Start(ctx, Options{})
	if err != nil {
		return err
	}
	defer bed.Close()
	prometheus, err := bed.StartPrometheus(ctx, PrometheusOptions{})
	if err != nil {
		return err
	}
	pids := map[string]int{"prometheus": prometheus.PID(), "cluster": bed.cluster.Process.Pid}
	maps.Copy(pids, bed.PIDs)
	if err := json.NewEncoder(os.Stdout).Encode(pids); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// alive says whether the process runs the program: its number may have gone to another one, and a zombie is dead.
func alive(pid int, name string) bool {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && filepath.Base(path) == name
}

func noneIsLeft(t *testing.T, pids map[string]int) {
	t.Helper()
	if err := WaitFor(context.Background(), soon, "all to be gone", func(context.Context) (bool, string) {
		var left []string
		for name, pid := range pids {
			if alive(pid, name) {
				left = append(left, name)
			}
		}
		return len(left) == 0, fmt.Sprint("left: ", left)
	}); err != nil {
		t.Error(err)
	}
}

func needsKubernetes(t *testing.T) {
	t.Helper()
	if os.Getenv("HEADROOM_E2E") == "" {
		t.Skip("set HEADROOM_E2E=1 to compile and run a control plane")
	}
}

// A test that is killed, or runs into its timeout, closes nothing itself.
func TestAKilledParentTakesEverythingWithIt(t *testing.T) {
	needsKubernetes(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asParent+"=1", "TMPDIR="+t.TempDir())
	var said strings.Builder
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadBytes('\n')
	killErr := cmd.Process.Kill()
	_ = cmd.Wait() // killed
	if readErr != nil || killErr != nil {
		t.Fatalf("%v, %v, %s", readErr, killErr, said.String())
	}
	var pids map[string]int
	if err := json.Unmarshal(line, &pids); err != nil {
		t.Fatal(err)
	}
	if len(pids) != 7 {
		t.Errorf("%v are not the cluster program, Prometheus and five of the control plane", pids)
	}
	noneIsLeft(t, pids)
}

// TestABed is one test, so that its parts share one control plane.
func TestABed(t *testing.T) {
	needsKubernetes(t)
	t.Setenv("TMPDIR", t.TempDir())
	bed, err := Start(t.Context(), Options{SyncPeriod: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{"cluster": bed.cluster.Process.Pid}
	maps.Copy(pids, bed.PIDs)
	defer func() {
		for name, pid := range pids {
			if !alive(pid, name) {
				t.Errorf("%s ended before the bed was closed", name)
			}
		}
		bed.Close()
		noneIsLeft(t, pids)
		if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
	}()
	t.Run("an adapter has the rights it needs and no more", func(t *testing.T) { rights(t, bed) })
	t.Run("pods wait for GPUs and load before they are Ready", func(t *testing.T) { pods(t, bed) })
	t.Run("Prometheus", func(t *testing.T) {
		keepsAndForgets(t, func(o PrometheusOptions) (*MetricsServer, error) { return bed.StartPrometheus(t.Context(), o) })
	})
	t.Run("VictoriaMetrics", func(t *testing.T) {
		keepsAndForgets(t, func(o PrometheusOptions) (*MetricsServer, error) { return bed.StartVictoriaMetrics(t.Context(), o) })
	})
}

func rights(t *testing.T, bed *Bed) {
	if err := bed.applyRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := bed.applyRights(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
	for _, tc := range []struct {
		name                                          string
		verb, group, resource, subresource, namespace string
		want                                          bool
	}{
		{name: "watch pods", verb: "watch", resource: "pods", want: true},
		{name: "list HPAs", verb: "list", group: "autoscaling", resource: "horizontalpodautoscalers", want: true},
		{name: "review access", verb: "create", group: "authorization.k8s.io", resource: "subjectaccessreviews", want: true},
		{name: "review tokens", verb: "create", group: "authentication.k8s.io", resource: "tokenreviews", want: true},
		{name: "read who the aggregator is", verb: "get", resource: "configmaps", namespace: "kube-system"}, // by name only
		{name: "read secrets", verb: "list", resource: "secrets"},
		{name: "delete pods", verb: "delete", resource: "pods"},
		{name: "scale deployments", verb: "update", group: "apps", resource: "deployments"},
		{name: "raise an HPA's minimum", verb: "patch", group: "autoscaling", resource: "horizontalpodautoscalers", want: true},
		{name: "replace HPAs", verb: "update", group: "autoscaling", resource: "horizontalpodautoscalers"},
		{name: "delete HPAs", verb: "delete", group: "autoscaling", resource: "horizontalpodautoscalers"},
		{name: "read how a workload is scaled", verb: "get", group: "apps", resource: "deployments", subresource: "scale", want: true},
		{name: "write replicas", verb: "patch", group: "apps", resource: "deployments", subresource: "scale"},
		{name: "change what a Headroom asks for", verb: "update", group: "headroom.dev", resource: "headrooms"},
		{name: "write what was decided", verb: "patch", group: "headroom.dev", resource: "headrooms", subresource: "status", want: true},
		{name: "hold the lease", verb: "update", group: "coordination.k8s.io", resource: "leases", namespace: Namespace, want: true},
		{name: "hold others' leases", verb: "update", group: "coordination.k8s.io", resource: "leases", namespace: "kube-system"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			review, err := bed.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{
					User:               "system:serviceaccount:" + Namespace + ":" + Service,
					Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + Namespace, "system:authenticated"},
					ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: tc.verb, Group: tc.group, Resource: tc.resource, Subresource: tc.subresource, Namespace: tc.namespace},
				},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if review.Status.Allowed != tc.want {
				t.Errorf("allowed: %v, because %q", review.Status.Allowed, review.Status.Reason)
			}
		})
	}
}

func pods(t *testing.T, bed *Bed) {
	const coldStart = 4 * time.Second
	ctx := t.Context()
	if err := bed.AddNode(ctx, "small", 2); err != nil {
		t.Fatal(err)
	}
	if err := bed.AddDeployment(ctx, Deployment{Namespace: "pods", Name: "llm", Replicas: 3, ColdStart: coldStart}); err != nil {
		t.Fatal(err)
	}
	names, err := bed.WaitReady(ctx, soon, "pods", "llm", 2)
	if err != nil {
		t.Fatal(err)
	}
	list, err := bed.Client.CoreV1().Pods("pods").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	waiting := 0
	for _, pod := range list.Items {
		conditions := map[corev1.PodConditionType]corev1.PodCondition{}
		for _, c := range pod.Status.Conditions {
			conditions[c.Type] = c
		}
		if conditions[corev1.PodReady].Status == corev1.ConditionTrue {
			// Both times are in whole seconds.
			took := conditions[corev1.PodReady].LastTransitionTime.Sub(pod.Status.StartTime.Time)
			if took < coldStart-time.Second || pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
				t.Errorf("%s is %s and Ready %s after its start, at %q", pod.Name, pod.Status.Phase, took, pod.Status.PodIP)
			}
			continue
		}
		waiting++
		if c := conditions[corev1.PodScheduled]; pod.Status.Phase != corev1.PodPending || c.Reason != corev1.PodReasonUnschedulable || !strings.Contains(c.Message, string(GPU)) {
			t.Errorf("%s is %s: %s: %s", pod.Name, pod.Status.Phase, c.Reason, c.Message)
		}
	}
	if waiting != 1 {
		t.Errorf("%d of three pods wait for one of two GPUs", waiting)
	}

	// The one that waits takes the GPU of one that goes.
	if err := bed.Client.CoreV1().Pods("pods").Delete(ctx, names[0], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := WaitFor(ctx, soon, "another pod in place of "+names[0], func(ctx context.Context) (bool, string) {
		now, err := bed.ReadyPods(ctx, "pods", "llm")
		return err == nil && len(now) == 2 && !strings.Contains(strings.Join(now, " "), names[0]), fmt.Sprint(now, err)
	}); err != nil {
		t.Error(err)
	}
}

// keepsAndForgets takes a metrics server through what tests do to one.
func keepsAndForgets(t *testing.T, start func(PrometheusOptions) (*MetricsServer, error)) {
	exporter, err := NewExporter()
	if err != nil {
		t.Fatal(err)
	}
	defer exporter.Close()
	exporter.Export("probe{namespace=\"theirs\",pod=\"p\"} 1\n")
	server, err := start(PrometheusOptions{Targets: []string{exporter.Address()}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	// Over an hour, so that what was scraped before a stop still shows. The labels are the target's own.
	const ever = `count_over_time(probe{namespace="theirs",pod="p"}[1h])`
	waitSeries(t, server, ever)

	exporter.Export("") // from now on only what is kept can answer
	server.Stop()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := server.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitSeries(t, server, ever)

	server.Stop()
	if err := server.Forget(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := server.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitSeries(t, server, "up") // it has scraped, so it would have it
	if has, seen := hasSeries(t.Context(), server, ever); has {
		t.Errorf("it has forgotten nothing: %s", seen)
	}

	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if has, seen := hasSeries(ctx, server, "up"); has || ctx.Err() == nil {
		t.Errorf("a frozen server answered: %s", seen)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	waitSeries(t, server, "up")
}

func waitSeries(t *testing.T, server *MetricsServer, query string) {
	t.Helper()
	if err := WaitFor(t.Context(), soon, query, func(ctx context.Context) (bool, string) {
		return hasSeries(ctx, server, query)
	}); err != nil {
		t.Fatalf("%v\n%s", err, server.Tail(10))
	}
}

func hasSeries(ctx context.Context, server *MetricsServer, query string) (has bool, seen string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return false, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return false, err.Error()
	}
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	err = json.Unmarshal(body, &answer)
	return err == nil && len(answer.Data.Result) > 0, string(body)
}
