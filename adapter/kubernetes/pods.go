package kubernetes

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Pods answers which pods a selector means, from memory.
type Pods struct {
	informer cache.SharedIndexInformer
}

// byLabel indexes pods under every "namespace/label=value" they carry, so that a selector's cost follows the number of
// pods it selects and not the number there are.
const byLabel = "label"

// NewPods prepares the pod informer of the factory; the factory starts it.
func NewPods(factory informers.SharedInformerFactory) (*Pods, error) {
	informer := factory.Core().V1().Pods().Informer()
	if err := informer.SetTransform(stripPod); err != nil {
		return nil, fmt.Errorf("pod informer: %w", err)
	}
	if err := informer.AddIndexers(cache.Indexers{byLabel: labelKeys}); err != nil {
		return nil, fmt.Errorf("pod informer: %w", err)
	}
	return &Pods{informer: informer}, nil
}

// Synced says whether the first list has arrived.
func (p *Pods) Synced() bool { return p.informer.HasSynced() }

// Select returns the pods of a namespace that match, by name. The pods are shared: read only.
func (p *Pods) Select(namespace string, selector labels.Selector) []*corev1.Pod {
	var selected []*corev1.Pod
	for _, object := range p.candidates(namespace, selector) {
		if pod, ok := object.(*corev1.Pod); ok && selector.Matches(labels.Set(pod.Labels)) {
			selected = append(selected, pod)
		}
	}
	slices.SortFunc(selected, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return selected
}

// Named returns one pod.
func (p *Pods) Named(namespace, name string) (*corev1.Pod, bool) {
	object, found, err := p.informer.GetIndexer().GetByKey(namespace + "/" + name)
	pod, ok := object.(*corev1.Pod)
	return pod, found && err == nil && ok
}

// candidates are the pods under the selector's rarest "label=value", or all of the namespace where it demands none.
func (p *Pods) candidates(namespace string, selector labels.Selector) []any {
	indexer := p.informer.GetIndexer()
	var fewest []any
	indexed := false
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		value, ok := demanded(r)
		if !ok {
			continue
		}
		if found, err := indexer.ByIndex(byLabel, labelKey(namespace, r.Key(), value)); err == nil && (!indexed || len(found) < len(fewest)) {
			fewest, indexed = found, true
		}
	}
	if indexed {
		return fewest
	}
	all, err := indexer.ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return nil // only an unknown index fails, and the factory's informers have this one
	}
	return all
}

func demanded(r labels.Requirement) (value string, ok bool) {
	switch r.Operator() {
	case selection.Equals, selection.DoubleEquals, selection.In:
		if values := r.ValuesUnsorted(); len(values) == 1 {
			return values[0], true
		}
	}
	return "", false
}

func labelKey(namespace, label, value string) string { return namespace + "/" + label + "=" + value }

func labelKeys(object any) ([]string, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("%T is no pod", object)
	}
	keys := make([]string, 0, len(pod.Labels))
	for label, value := range pod.Labels {
		keys = append(keys, labelKey(pod.Namespace, label, value))
	}
	return keys, nil
}

// stripPod keeps what someone reads. It must be idempotent: client-go may call it again on its own result.
func stripPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil // a tombstone
	}
	kept := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			Labels: pod.Labels, CreationTimestamp: pod.CreationTimestamp, DeletionTimestamp: pod.DeletionTimestamp,
		},
		Spec:   corev1.PodSpec{NodeName: pod.Spec.NodeName},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, StartTime: pod.Status.StartTime},
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		kept.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	for _, c := range pod.Status.Conditions {
		kept.Status.Conditions = append(kept.Status.Conditions, corev1.PodCondition{
			Type: c.Type, Status: c.Status, LastTransitionTime: c.LastTransitionTime, Reason: c.Reason,
		})
	}
	return kept, nil
}

// Ready says whether a pod counts as serving: its Ready condition is true and it is not being deleted.
func Ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
