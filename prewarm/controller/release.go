package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// Finalizer keeps a Headroom until what it holds is given back. It is there only once something was written to an autoscaler, in
// modes MinReplicas and ScaledObject.
const Finalizer = v1alpha1.Group + "/release"

// HasFinalizer says whether an object may hold something.
func HasFinalizer(hr *v1alpha1.Headroom) bool { return controllerutil.ContainsFinalizer(hr, Finalizer) }

func (a *Actuator) addFinalizer(ctx context.Context, hr *v1alpha1.Headroom) error {
	if HasFinalizer(hr) {
		return nil
	}
	if err := patchFinalizers(ctx, a.Client, hr, func(next *v1alpha1.Headroom) { controllerutil.AddFinalizer(next, Finalizer) }, false); err != nil {
		return fmt.Errorf("add the finalizer to Headroom %s/%s: %w", hr.Namespace, hr.Name, err)
	}
	return nil
}

func removeFinalizer(ctx context.Context, c client.Client, hr *v1alpha1.Headroom, dryRun bool) error {
	if !HasFinalizer(hr) {
		return nil
	}
	err := patchFinalizers(ctx, c, hr, func(next *v1alpha1.Headroom) { controllerutil.RemoveFinalizer(next, Finalizer) }, dryRun)
	if err = client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("remove the finalizer from Headroom %s/%s: %w", hr.Namespace, hr.Name, err)
	}
	return nil
}

func patchFinalizers(ctx context.Context, c client.Client, hr *v1alpha1.Headroom, change func(*v1alpha1.Headroom), dryRun bool) error {
	next := hr.DeepCopy()
	change(next)
	options := []client.PatchOption{client.FieldOwner(fieldManager)}
	if dryRun {
		options = append(options, client.DryRunAll)
	}
	if err := c.Patch(ctx, next, client.MergeFromWithOptions(hr, client.MergeFromWithOptimisticLock{}), options...); err != nil {
		return err
	}
	hr.Finalizers, hr.ResourceVersion = next.Finalizers, next.ResourceVersion
	return nil
}

// Release gives back all that an object holds, on its deletion or when its mode holds nothing any more, and then takes the
// finalizer away. The owner's minimum returns by a merge patch: an apply without the field would prune it to the default.
func (a *Actuator) Release(ctx context.Context, hr *v1alpha1.Headroom) error {
	if !HasFinalizer(hr) {
		return nil
	}
	if err := a.giveBackAll(ctx, hr, keep{}); err != nil {
		return err
	}
	return removeFinalizer(ctx, a.Client, hr, false)
}

// keep names what is not given back.
type keep struct{ kind, name string }

// giveBackAll gives back what a Headroom holds. It looks at all autoscalers of the namespace, since a status may have been lost
// and a target changed.
func (a *Actuator) giveBackAll(ctx context.Context, hr *v1alpha1.Headroom, except keep) error {
	var problems []error
	for _, k := range []kind{hpaKind, scaledObjectKind} {
		err := k.each(ctx, a.Client, hr.Namespace, func(live autoscaler) {
			if by := heldBy(k, live); by != hr.Name || (keep{k.Kind, live.GetName()}) == except {
				return
			}
			_, err := giveBack(ctx, a.Client, k, client.ObjectKeyFromObject(live), false)
			problems = append(problems, err)
		})
		if apierrors.IsForbidden(err) && !mayHold(hr, k) {
			continue // a cluster where Headroom was given no rights to KEDA's objects has none of them held
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// mayHold says whether a Headroom's mode, now or before, is the one for a kind.
func mayHold(hr *v1alpha1.Headroom, k kind) bool {
	mode := v1alpha1.ActuateMinReplicas
	if k.Kind == scaledObjectKind.Kind {
		mode = v1alpha1.ActuateScaledObject
	}
	return hr.Spec.Actuation.Mode == mode || hr.Status.Actuation != nil && hr.Status.Actuation.Mode == mode
}

// heldBy is the name of the Headroom in an object's annotation; "" where it has none or one that cannot be read.
func heldBy(k kind, live autoscaler) string {
	if o := k.bounds(live).owner(nil); o.claim != nil {
		return o.claim.By
	}
	return ""
}

// pageOf is how many objects a list asks for at once.
const pageOf = 500

// each looks at all objects of the kind with the annotation; a cluster that does not know the kind has none.
func (k kind) each(ctx context.Context, c client.Client, namespace string, look func(autoscaler)) error {
	token := ""
	for {
		var list unstructured.UnstructuredList
		list.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
		err := c.List(ctx, &list, client.InNamespace(namespace), client.Limit(pageOf), client.Continue(token))
		switch {
		case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return fmt.Errorf("list %ss: %w", k.Kind, err)
		}
		for i := range list.Items {
			if _, there := list.Items[i].GetAnnotations()[UserMinAnnotation]; there {
				look(&list.Items[i])
			}
		}
		if token = list.GetContinue(); token == "" {
			return nil
		}
	}
}

// Released is one thing given back.
type Released struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Headroom held it; "" where the annotation does not say.
	Headroom string `json:"headroom,omitempty"`
	// From and To are the minimum before and after; both nil for a finalizer. To is nil too where the owner had left the field out.
	From *int32 `json:"from,omitempty"`
	To   *int32 `json:"to,omitempty"`
	// Note says what was done in words.
	Note string `json:"note"`
}

// giveBack gives one object back: the annotation goes, and the minimum returns to its owner's value unless the owner has
// already put another there. The object is read anew, and what is written holds for that version of it alone.
func giveBack(ctx context.Context, c client.Client, k kind, key types.NamespacedName, dryRun bool) (*Released, error) {
	var done *Released
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		live, err := k.read(ctx, c, key)
		if err != nil {
			return err
		}
		if b := k.bounds(live); b.annotated {
			if done, err = tryGiveBack(ctx, c, k, live, b, dryRun); err != nil {
				return err
			}
		}
		if dryRun || done != nil && done.To != nil && *done.To == 0 {
			// An HPA whose minimum is 0 again may be scaling to 0 at this moment. A second write could make its status update fail,
			// and without the condition ScaledToZero the workload would stay at 0 for ever. Headroom's name stays on the field.
			return nil
		}
		return disown(ctx, c, live)
	})
	switch {
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("give %s of %s %s back: %w", k.minField, k.Kind, key, err)
	}
	return done, nil
}

func tryGiveBack(ctx context.Context, c client.Client, k kind, live autoscaler, b bounds, dryRun bool) (*Released, error) {
	o := b.owner(nil)
	done := &Released{Kind: k.Kind, Namespace: b.namespace, Name: b.name, From: b.min, To: o.user, Note: "the owner's value is there already; the annotation is taken away"}
	if o.claim != nil {
		done.Headroom = o.claim.By
	}
	patch := map[string]any{"metadata": map[string]any{"resourceVersion": b.version, "annotations": map[string]any{UserMinAnnotation: nil}}}
	changes := o.held && !same(o.user, b.min)
	if changes {
		patch["spec"] = map[string]any{k.minField: o.user}
		done.Note = k.minField + " is the owner's again"
	}
	err := merge(ctx, c, live, patch, dryRun)
	if changes && o.user != nil && apierrors.IsInvalid(err) {
		// A minimum of 0, say, whose metric was taken out since. The object's own default always stands, and a Headroom that could
		// not be deleted would be worse.
		patch["spec"] = map[string]any{k.minField: nil}
		done.To, done.Note = nil, fmt.Sprintf("the owner's %s, %d, is no longer valid: left to its default", k.minField, *o.user)
		err = merge(ctx, c, live, patch, dryRun)
	}
	return done, err
}

func merge(ctx context.Context, c client.Client, live autoscaler, patch map[string]any, dryRun bool) error {
	data, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	options := []client.PatchOption{client.FieldOwner(fieldManager)}
	if dryRun {
		options = append(options, client.DryRunAll)
	}
	return c.Patch(ctx, live, client.RawPatch(types.MergePatchType, data), options...)
}

// disown takes Headroom's name out of the object's managed fields. Without it the merge patch that gave the minimum back would
// own it, and its owner's next server-side apply of another value would meet a conflict with a program that is gone.
func disown(ctx context.Context, c client.Client, live autoscaler) error {
	mine := func(e metav1.ManagedFieldsEntry) bool { return e.Manager == fieldManager }
	entries := live.GetManagedFields()
	if !slices.ContainsFunc(entries, mine) {
		return nil
	}
	entries = slices.DeleteFunc(entries, mine)
	if len(entries) == 0 {
		entries = []metav1.ManagedFieldsEntry{{}} // an empty list would mean "as they are"
	}
	err := merge(ctx, c, live, map[string]any{"metadata": map[string]any{"resourceVersion": live.GetResourceVersion(), "managedFields": entries}}, false)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // what matters was done; the object's owner is at work on it
	}
	return err
}
