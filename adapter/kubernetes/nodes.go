package kubernetes

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Nodes knows since when each node exists: a pod that had to wait for its node took longer to start than others will.
type Nodes struct {
	informer cache.SharedIndexInformer
}

// NewNodes prepares the node informer of the factory; the factory starts it.
func NewNodes(factory informers.SharedInformerFactory) (*Nodes, error) {
	informer := factory.Core().V1().Nodes().Informer()
	if err := informer.SetTransform(stripNode); err != nil {
		return nil, fmt.Errorf("node informer: %w", err)
	}
	return &Nodes{informer: informer}, nil
}

// Created is when a node was made, by its name.
func (n *Nodes) Created(name string) (time.Time, bool) {
	if name == "" {
		return time.Time{}, false
	}
	object, found, err := n.informer.GetIndexer().GetByKey(name)
	node, ok := object.(*corev1.Node)
	if !found || err != nil || !ok {
		return time.Time{}, false
	}
	return node.CreationTimestamp.Time, true
}

func stripNode(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil // a tombstone
	}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, CreationTimestamp: node.CreationTimestamp,
	}}, nil
}
