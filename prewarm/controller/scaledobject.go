package controller

import (
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// scaledObjectKind is mode ScaledObject. KEDA hands minReplicaCount on to the HPA it makes and puts back whatever else is written
// there, so that this is the place to raise. Defaults are KEDA's (apis/keda/v1alpha1 of v2.20).
var scaledObjectKind = kind{
	GroupVersionKind: schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: "ScaledObject"},
	minField:         "minReplicaCount", maxField: "maxReplicaCount", defaultMin: 0, defaultMax: 100,
	obstacle: scaledObjectObstacle,
	absent:   scaledObjectAbsent,
}

const (
	kedaPaused         = "autoscaling.keda.sh/paused"
	kedaPausedReplicas = "autoscaling.keda.sh/paused-replicas"
)

func scaledObjectObstacle(live autoscaler, p plan) (*Problem, bool) {
	if paused(live.GetAnnotations()) {
		return problem(ScaledObjectPaused, "ScaledObject %s is paused: KEDA has taken its HPA away and scales nothing. The floor is brought when it goes on.", live.GetName()), true
	}
	if idle := count32(live.Object, "spec", "idleReplicaCount"); idle != nil && *idle < p.claim.Held {
		return problem(ScaledObjectIdles, "ScaledObject %s has idleReplicaCount %d: KEDA goes there whenever no trigger is active, below any floor. Take the field out.", live.GetName(), *idle), false
	}
	return nil, false
}

// paused is KEDA's own reading of its annotations. Those that pause one direction alone leave the HPA its minimum.
func paused(annotations map[string]string) bool {
	if _, there := annotations[kedaPausedReplicas]; there {
		return true
	}
	value, there := annotations[kedaPaused]
	is, err := strconv.ParseBool(value)
	return there && (is || err != nil)
}

func scaledObjectAbsent(name string, err error) *Problem {
	switch {
	case meta.IsNoMatchError(err):
		return problem(KEDANotInstalled, "The cluster knows no ScaledObject (keda.sh/v1alpha1): install KEDA, or use actuation mode MinReplicas.")
	case apierrors.IsNotFound(err):
		return problem(ScaledObjectNotFound, "There is no ScaledObject %s in this namespace.", name)
	case isFinal(err):
		return problem(RefusedByServer, "kube-apiserver refuses to show ScaledObject %s: %s", name, err)
	}
	return nil
}
