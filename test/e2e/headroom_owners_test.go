package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

var hpas = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// owner is a tool that keeps an HPA as its manifest says. Each does what the tool does, with the library the tool does it with.
type owner struct {
	name string
	// apply makes the HPA as the manifest says, or makes it so again.
	apply func(ctx context.Context, manifest *unstructured.Unstructured) error
	// heals says that applying the same manifest again puts its minimum back.
	heals bool
	// conflicts says that applying it is refused while Headroom holds another minimum.
	conflicts bool
	// blind says that applying the very value that Headroom holds leaves no trace of whose it is: Helm sends nothing where
	// nothing differs, and a replace looks as if only the annotation had been removed.
	blind bool
}

func owners() []owner {
	return []owner{
		{name: "kubectl apply", apply: clientSideApply("kubectl-client-side-apply"), heals: true},
		{name: "kubectl apply --server-side", apply: serverSideApply("kubectl", false), conflicts: true},
		{name: "Flux (server-side, forced)", apply: serverSideApply("kustomize-controller", true), heals: true},
		{name: "Argo CD (client-side)", apply: clientSideApply("argocd-controller"), heals: true},
		{name: "Helm 3 (three-way merge)", apply: helmUpgrade(), heals: true, blind: true},
		{name: "kubectl replace", apply: replace, heals: true, blind: true},
	}
}

// hpaManifest is what a person writes; min nil leaves minReplicas out.
func hpaManifest(namespace, name string, min *int32) *unstructured.Unstructured {
	spec := map[string]any{
		"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
		"maxReplicas":    int64(20),
		"metrics": []any{map[string]any{"type": "External", "external": map[string]any{
			"metric": map[string]any{"name": "nobody_serves_this"}, "target": map[string]any{"type": "AverageValue", "averageValue": "1"},
		}}},
	}
	if min != nil {
		spec["minReplicas"] = int64(*min)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
		"metadata": map[string]any{"namespace": namespace, "name": name}, "spec": spec,
	}}
}

func serverSideApply(manager string, force bool) func(context.Context, *unstructured.Unstructured) error {
	return func(ctx context.Context, manifest *unstructured.Unstructured) error {
		_, err := shared.Dynamic.Resource(hpas).Namespace(manifest.GetNamespace()).Apply(ctx, manifest.GetName(), manifest,
			metav1.ApplyOptions{FieldManager: manager, Force: force})
		return err
	}
}

// clientSideApply is kubectl's: a three-way merge between the manifest of before, kept in an annotation, the new one, and what
// stands.
func clientSideApply(manager string) func(context.Context, *unstructured.Unstructured) error {
	return func(ctx context.Context, manifest *unstructured.Unstructured) error {
		client := shared.Dynamic.Resource(hpas).Namespace(manifest.GetNamespace())
		text, err := json.Marshal(manifest.Object)
		if err != nil {
			return err
		}
		modified := manifest.DeepCopy()
		modified.SetAnnotations(map[string]string{lastApplied: string(text)})
		live, err := client.Get(ctx, manifest.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = client.Create(ctx, modified, metav1.CreateOptions{FieldManager: manager})
			return err
		}
		if err != nil {
			return err
		}
		return threeWay(ctx, manager, []byte(live.GetAnnotations()[lastApplied]), modified, live)
	}
}

// helmUpgrade keeps the manifest of before to itself, as Helm does in its release.
func helmUpgrade() func(context.Context, *unstructured.Unstructured) error {
	var before []byte
	return func(ctx context.Context, manifest *unstructured.Unstructured) error {
		client := shared.Dynamic.Resource(hpas).Namespace(manifest.GetNamespace())
		original := before
		var err error
		if before, err = json.Marshal(manifest.Object); err != nil {
			return err
		}
		live, err := client.Get(ctx, manifest.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = client.Create(ctx, manifest, metav1.CreateOptions{FieldManager: "helm"})
			return err
		}
		if err != nil {
			return err
		}
		return threeWay(ctx, "helm", original, manifest, live)
	}
}

func threeWay(ctx context.Context, manager string, original []byte, modified, live *unstructured.Unstructured) error {
	schema, err := strategicpatch.NewPatchMetaFromStruct(autoscalingv2.HorizontalPodAutoscaler{})
	if err != nil {
		return err
	}
	next, err := json.Marshal(modified.Object)
	if err != nil {
		return err
	}
	current, err := json.Marshal(live.Object)
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, next, current, schema, true)
	if err != nil || string(patch) == "{}" {
		return err
	}
	_, err = shared.Dynamic.Resource(hpas).Namespace(live.GetNamespace()).Patch(ctx, live.GetName(), types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
	return err
}

// replace writes the manifest over whatever stands, annotations included.
func replace(ctx context.Context, manifest *unstructured.Unstructured) error {
	client := shared.Dynamic.Resource(hpas).Namespace(manifest.GetNamespace())
	live, err := client.Get(ctx, manifest.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, manifest, metav1.CreateOptions{FieldManager: "kubectl-replace"})
		return err
	}
	if err != nil {
		return err
	}
	next := manifest.DeepCopy()
	next.SetResourceVersion(live.GetResourceVersion())
	_, err = client.Update(ctx, next, metav1.UpdateOptions{FieldManager: "kubectl-replace"})
	return err
}

// TestEveryOwnerGetsItsMinimumBack plays the life of an HPA with each tool that could own it.
func TestEveryOwnerGetsItsMinimumBack(t *testing.T) {
	for _, o := range owners() {
		t.Run(o.name, func(t *testing.T) {
			h := newHeld(t, "llm")
			apply := func(min *int32) error { return o.apply(t.Context(), hpaManifest(h.namespace, "llm", min)) }
			must(t, apply(new(int32(3))))
			h.apply(8).stands(8).userMin(3)

			err := apply(new(int32(3))) // the same manifest again
			switch {
			case o.conflicts:
				if !apierrors.IsConflict(err) {
					t.Fatalf("a server-side apply against what Headroom holds: %v, want a conflict", err)
				}
			case o.heals:
				must(t, err)
				h.stands(3)
			}
			h.apply(8).stands(8).userMin(3)

			// A manifest with another minimum.
			if err := apply(new(int32(5))); !o.conflicts {
				must(t, err)
			} else if !apierrors.IsConflict(err) {
				t.Fatalf("a server-side apply against what Headroom holds: %v, want a conflict", err)
			} else {
				must(t, serverSideApply("kubectl", true)(t.Context(), hpaManifest(h.namespace, "llm", new(int32(5)))))
			}
			h.stands(5).apply(8).stands(8).userMin(5)

			// A manifest with the very minimum that is held, which changes nothing that a plain comparison could see.
			must(t, apply(new(int32(8))))
			h.stands(8).apply(9).stands(9)
			if o.blind {
				h.userMin(5)
				must(t, apply(new(int32(6))))
				h.apply(9).stands(9).userMin(6)
			} else {
				h.userMin(8)
				h.release().stands(8)
				h.apply(9).stands(9).userMin(8)
			}

			// Given back, and then the owner's alone: no conflict with a program that is gone, no trace of it.
			h.release()
			if managers := h.managers(); managers["headroom"] {
				t.Errorf("after the release the object's field managers are %v", managers)
			}
			must(t, apply(new(int32(4))))
			h.stands(4)

			// The manifest without a minimum: the API server's default is the owner's then.
			must(t, apply(nil))
			before := h.min()
			h.apply(8).stands(8)
			if !o.conflicts {
				must(t, apply(nil)) // with server-side apply the field is Headroom's alone now, and nothing is pruned
			}
			h.apply(8).stands(8)
			h.release().stands(before)
		})
	}
}

// TestWhoCreatesAnHPAOwnsItsMinimum is why applies are forced: who creates an object by POST owns what it left out, too. Who
// creates it by a server-side apply owns what it wrote alone.
func TestWhoCreatesAnHPAOwnsItsMinimum(t *testing.T) {
	for _, o := range owners() {
		t.Run(o.name, func(t *testing.T) {
			h := newHeld(t, "llm")
			must(t, o.apply(t.Context(), hpaManifest(h.namespace, "llm", nil)))
			h.stands(1)
			patch := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": "llm", "namespace": h.namespace},
				"spec": map[string]any{"minReplicas": int64(2)},
			}}
			err := serverSideApply("somebody", false)(t.Context(), patch)
			if posted := !strings.Contains(o.name, "server-side"); apierrors.IsConflict(err) != posted || !posted && err != nil {
				t.Errorf("an apply without force: %v", err)
			}
			stood := h.min()
			h.apply(stood + 3).stands(stood + 3).userMin(stood)
			h.release().stands(stood)
		})
	}
}
