package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
	"github.com/headroom-autoscaler/headroom/prewarm/app"
	"github.com/headroom-autoscaler/headroom/prewarm/controller"
	"github.com/headroom-autoscaler/headroom/test/testbed"
)

type rule struct {
	group, resource string
	verbs           []string
}

func (r rule) policy() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{r.group}, Resources: []string{r.resource}, Verbs: r.verbs}
}

// granted is a user with a few rights.
type granted struct {
	name   string
	config *rest.Config
}

func grant(t *testing.T, namespace string, rules []rule) granted {
	t.Helper()
	g := granted{name: "least-" + namespace, config: rest.CopyConfig(shared.Config)}
	g.config.Impersonate = rest.ImpersonationConfig{UserName: g.name}
	_, err := shared.Client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: g.name}}, metav1.CreateOptions{})
	must(t, err)
	_, err = shared.Client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: g.name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: g.name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: g.name}},
	}, metav1.CreateOptions{})
	must(t, err)
	g.change(t, rules)
	probe := newClient(t, g.config, &writes{})
	must(t, testbed.WaitFor(t.Context(), soon, "the rights to be there", func(ctx context.Context) (bool, string) {
		err := probe.List(ctx, &v1alpha1.HeadroomList{}, client.InNamespace(namespace))
		return err == nil, fmt.Sprint(err)
	}))
	return g
}

func (g granted) change(t *testing.T, rules []rule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: g.name}}
	for _, r := range rules {
		role.Rules = append(role.Rules, r.policy())
	}
	_, err := shared.Client.RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{})
	must(t, err)
}

// TestEverythingIsGivenBackWithoutAController is "headroom release": three HPAs and a ScaledObject in two namespaces, one Headroom
// waiting to be deleted, as after a "helm uninstall".
func TestEverythingIsGivenBackWithoutAController(t *testing.T) {
	installKEDAsCRD(t)
	first, second := newHeld(t, "llm"), newHeldIn(t, "given-back-elsewhere", "vision")
	must(t, replace(t.Context(), hpaManifest(first.namespace, "llm", new(int32(3)))))
	must(t, replace(t.Context(), hpaManifest(second.namespace, "vision", new(int32(1)))))
	first.apply(8).stands(8)
	second.apply(5).stands(5)
	third := newHeldIn(t, first.namespace, "keda")
	_, err := shared.Dynamic.Resource(scaledObjects).Namespace(third.namespace).Create(t.Context(), newScaledObject(third.namespace, "keda"), metav1.CreateOptions{})
	must(t, err)
	third.change(func(hr *v1alpha1.Headroom) {
		hr.Spec.Actuation.Mode, hr.Spec.Actuation.ScaledObjectName = v1alpha1.ActuateScaledObject, "keda"
	})
	third.apply(4).counts(new(int32(4)))
	// One whose owner has put another value there since, and one that lost its Headroom.
	other := newHeldIn(t, first.namespace, "other")
	must(t, clientSideApply("kubectl-client-side-apply")(t.Context(), hpaManifest(first.namespace, "other", new(int32(2)))))
	other.apply(6).stands(6)
	must(t, clientSideApply("kubectl-client-side-apply")(t.Context(), hpaManifest(first.namespace, "other", new(int32(4)))))
	other.change(func(hr *v1alpha1.Headroom) { hr.Finalizers = nil })
	must(t, other.client.Delete(t.Context(), other.object()))
	must(t, first.client.Delete(t.Context(), first.object()))
	if hr := first.object(); hr.DeletionTimestamp == nil {
		t.Fatal("it does not wait for its finalizer")
	}

	run := func(args ...string) (string, error) {
		t.Helper()
		command := app.NewReleaseCommand()
		var out bytes.Buffer
		command.SetOut(&out)
		command.SetErr(&out)
		command.SetArgs(append(args, "--kubeconfig", shared.Kubeconfig))
		err := command.ExecuteContext(t.Context())
		t.Logf("headroom release %s: %v\n%s", strings.Join(args, " "), err, out.String())
		return out.String(), err
	}

	text, err := run("--all", "--dry-run")
	must(t, err)
	first.stands(8)
	second.stands(5)
	third.counts(new(int32(4)))
	other.stands(4)
	for _, want := range []string{"llm", "vision", "keda", "other"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the dry run", want)
		}
	}
	if hr := second.object(); !controller.HasFinalizer(hr) {
		t.Error("a dry run took a finalizer away")
	}

	_, err = run("vision", "--namespace", second.namespace)
	must(t, err)
	first.stands(8)
	second.stands(1)
	if hr := second.object(); controller.HasFinalizer(hr) {
		t.Error("the finalizer is still there")
	}

	text, err = run("--all", "--namespace", first.namespace, "-o", "json")
	must(t, err)
	var got []controller.Released
	must(t, json.Unmarshal([]byte(text), &got))
	slices.SortFunc(got, func(a, b controller.Released) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	for i := range got {
		got[i].Note = ""
	}
	namespace := first.namespace
	want := []controller.Released{
		{Kind: "Headroom", Namespace: namespace, Name: "keda"},
		{Kind: "Headroom", Namespace: namespace, Name: "llm"},
		{Kind: "HorizontalPodAutoscaler", Namespace: namespace, Name: "llm", Headroom: "llm", From: new(int32(8)), To: new(int32(3))},
		{Kind: "HorizontalPodAutoscaler", Namespace: namespace, Name: "other", Headroom: "other", From: new(int32(4)), To: new(int32(4))},
		{Kind: "ScaledObject", Namespace: namespace, Name: "keda", Headroom: "keda", From: new(int32(4))},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("given back (-want +got):\n%s", diff)
	}
	first.stands(3)
	third.counts(nil)
	other.stands(4)
	var gone v1alpha1.Headroom
	if err := first.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "llm"}, &gone); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the Headroom that waited is still there: %v", err)
	}

	text, err = run("--all")
	must(t, err)
	if !strings.Contains(text, "othing") {
		t.Errorf("a second time: %s", text)
	}
	if _, err := run("missing", "--namespace", namespace); err == nil {
		t.Error("a Headroom that does not exist and holds nothing is released without a word")
	}
	if _, err := run(); err == nil {
		t.Error("neither a name nor --all")
	}
}
