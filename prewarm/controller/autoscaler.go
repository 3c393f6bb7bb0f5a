package controller

import (
	"context"
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// autoscaler is a HorizontalPodAutoscaler or a ScaledObject as the API server gives it. It stays unstructured so that what this
// program does not know of is not lost, KEDA's types need not be linked, and reads do not come from a cache.
type autoscaler = *unstructured.Unstructured

// kind is what differs between the two kinds of autoscalers.
type kind struct {
	schema.GroupVersionKind
	minField, maxField string
	// defaultMin and defaultMax count where the object leaves the field out.
	defaultMin, defaultMax int32
	// obstacle is what is in a floor's way on this very object, and whether nothing should be written because of it.
	obstacle func(live autoscaler, p plan) (*Problem, bool)
	// absent is the problem behind a failed read; nil where it is none.
	absent func(name string, err error) *Problem
}

func (k kind) effective(min *int32) int32 {
	if min == nil {
		return k.defaultMin
	}
	return *min
}

func (k kind) read(ctx context.Context, c client.Client, key types.NamespacedName) (autoscaler, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(k.GroupVersionKind)
	return live, c.Get(ctx, key, live)
}

// lastApplied is where kubectl's client-side apply keeps the manifest.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// bounds reads an object.
func (k kind) bounds(live autoscaler) bounds {
	b := bounds{
		namespace: live.GetNamespace(), name: live.GetName(), uid: live.GetUID(), version: live.GetResourceVersion(),
		min: count32(live.Object, "spec", k.minField), max: k.defaultMax,
	}
	if max := count32(live.Object, "spec", k.maxField); max != nil {
		b.max = *max
	}
	annotations := live.GetAnnotations()
	b.annotation, b.annotated = annotations[UserMinAnnotation]
	if text := annotations[lastApplied]; text != "" {
		var manifest map[string]any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&manifest) == nil {
			b.manifest = count32(manifest, "spec", k.minField)
		}
	}
	for _, entry := range live.GetManagedFields() {
		switch {
		case entry.FieldsV1 == nil || !owns(entry.FieldsV1, k.minField):
		case entry.Manager == fieldManager:
			b.ours = true
		default:
			b.others = entry.Manager
		}
	}
	return b
}

// owns says whether a set of managed fields has the field of the spec.
func owns(fields *metav1.FieldsV1, field string) bool {
	var set struct {
		Spec map[string]json.RawMessage `json:"f:spec"`
	}
	if json.Unmarshal(fields.GetRawBytes(), &set) != nil {
		return false
	}
	_, owned := set.Spec["f:"+field]
	return owned
}

// count32 is a whole number of an unstructured object; nil where there is none.
func count32(object map[string]any, path ...string) *int32 {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	var n int64
	switch v := value.(type) {
	case int64:
		n = v
	case float64:
		n = int64(v)
	case json.Number:
		var err error
		if n, err = v.Int64(); err != nil {
			return nil
		}
	default:
		return nil
	}
	small := int32(n)
	return &small
}

// apply writes the minimum and the annotation in one request. Force takes the field from whoever owns it: the owner's value is in
// the annotation. The UID keeps an apply from creating an object, the resource version from undoing what was just changed.
func (k kind) apply(ctx context.Context, c client.Client, b bounds, p plan) error {
	patch := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{
			"namespace": b.namespace, "name": b.name, "uid": string(b.uid), "resourceVersion": b.version,
			"annotations": map[string]any{UserMinAnnotation: p.claim.String()},
		},
		"spec": map[string]any{k.minField: int64(p.claim.Held)},
	}}
	patch.SetGroupVersionKind(k.GroupVersionKind)
	return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(patch), client.FieldOwner(fieldManager), client.ForceOwnership)
}
