package controller

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// ReleaseOptions say what ReleaseAll gives back.
type ReleaseOptions struct {
	Namespace string // "" for all
	Headroom  string // the name of one in Namespace; "" for all
	// DryRun asks the API server what it would say, and changes nothing.
	DryRun bool
}

// ReleaseAll gives back everything that Headroom holds in a cluster and takes the finalizers away, without a controller: for when
// Headroom was removed before its objects, or is about to be. A controller that runs takes it all again within its period.
//
// What cannot be given back is in the error, and the Headroom that holds it keeps its finalizer; everything else is done. It
// needs the same rights as an Actuator. c must read from the API server.
func ReleaseAll(ctx context.Context, c client.Client, o ReleaseOptions, report func(Released)) error {
	var problems []error
	failed := map[types.NamespacedName]bool{}
	for _, k := range []kind{hpaKind, scaledObjectKind} {
		err := k.each(ctx, c, o.Namespace, func(live autoscaler) {
			by := heldBy(k, live)
			if o.Headroom != "" && by != o.Headroom {
				return
			}
			done, err := giveBack(ctx, c, k, client.ObjectKeyFromObject(live), o.DryRun)
			switch {
			case err != nil:
				problems = append(problems, err)
				failed[types.NamespacedName{Namespace: live.GetNamespace(), Name: by}] = true
			case done != nil:
				report(*done)
			}
		})
		if err != nil {
			// What this kind holds is not known, so no finalizer may go.
			return errors.Join(append(problems, err)...)
		}
	}
	return errors.Join(append(problems, releaseFinalizers(ctx, c, o, failed, report))...)
}

func releaseFinalizers(ctx context.Context, c client.Client, o ReleaseOptions, failed map[types.NamespacedName]bool, report func(Released)) error {
	var list v1alpha1.HeadroomList
	switch err := c.List(ctx, &list, client.InNamespace(o.Namespace)); {
	case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
		return nil // the CustomResourceDefinition is gone, and its objects with it
	case err != nil:
		return fmt.Errorf("list Headrooms: %w", err)
	}
	var problems []error
	for i := range list.Items {
		hr := &list.Items[i]
		if !HasFinalizer(hr) || failed[client.ObjectKeyFromObject(hr)] || o.Headroom != "" && hr.Name != o.Headroom {
			continue
		}
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
			if err := c.Get(ctx, client.ObjectKeyFromObject(hr), hr); err != nil {
				return client.IgnoreNotFound(err)
			}
			return removeFinalizer(ctx, c, hr, o.DryRun)
		})
		if err != nil {
			problems = append(problems, err)
			continue
		}
		note := "the finalizer is taken away"
		if hr.DeletionTimestamp != nil {
			note += "; the object was waiting for that to be deleted"
		}
		report(Released{Kind: "Headroom", Namespace: hr.Namespace, Name: hr.Name, Note: note})
	}
	return errors.Join(problems...)
}
