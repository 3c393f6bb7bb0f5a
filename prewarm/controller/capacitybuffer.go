package controller

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var capacityBufferKind = schema.GroupVersionKind{Group: "autoscaling.x-k8s.io", Version: "v1beta1", Kind: "CapacityBuffer"}

// buffer sets spec.replicas of a CapacityBuffer that the user made, and nothing else of it, so that a node autoscaler keeps that
// many pods' worth of nodes free. It returns what stands there now; nil where that is not known. The number stays when the
// Headroom goes: the buffer is the user's, and has no other owner who could have written one.
func (a *Actuator) buffer(ctx context.Context, key types.NamespacedName, replicas int32) (*int32, *Problem, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(capacityBufferKind)
	if err := a.Client.Get(ctx, key, live); err != nil {
		why := bufferAbsent(key.Name, err)
		if why == nil {
			err = fmt.Errorf("read CapacityBuffer %s: %w", key, err)
			return nil, nil, err
		}
		return nil, why, nil
	}
	stands := count32(live.Object, "spec", "replicas")
	if stands == nil || *stands != replicas {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": replicas}})
		if err != nil {
			return stands, nil, err
		}
		switch err := a.Client.Patch(ctx, live, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldManager)); {
		case apierrors.IsNotFound(err):
			return nil, bufferAbsent(key.Name, err), nil
		case isFinal(err):
			return stands, problem(RefusedByServer, "kube-apiserver refuses to set spec.replicas of CapacityBuffer %s: %s", key.Name, err), nil
		case err != nil:
			return stands, nil, fmt.Errorf("set spec.replicas of CapacityBuffer %s: %w", key, err)
		}
	}
	if count32(live.Object, "spec", "percentage") != nil {
		return &replicas, problem(CapacityBufferHasPercentage, "CapacityBuffer %s has a percentage beside replicas: the larger of them counts (in early versions the smaller). Take the percentage out.", key.Name), nil
	}
	return &replicas, nil, nil
}

func bufferAbsent(name string, err error) *Problem {
	switch {
	case meta.IsNoMatchError(err):
		return problem(CapacityBufferNotServed, "The cluster knows no CapacityBuffer (autoscaling.x-k8s.io/v1beta1), which cluster-autoscaler 1.35 and Karpenter 1.15 bring behind a switch: turn it on there, or take spec.capacityBuffer out.")
	case apierrors.IsNotFound(err):
		return problem(CapacityBufferNotFound, "There is no CapacityBuffer %s in this namespace. Create it, with a scalableRef to the workload; Headroom sets its replicas alone.", name)
	case isFinal(err):
		return problem(RefusedByServer, "kube-apiserver refuses to show CapacityBuffer %s: %s", name, err)
	}
	return nil
}
