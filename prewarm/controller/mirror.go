package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// Mirror keeps a copy of the cluster's Headroom objects on every replica, whoever leads. It depends on nothing: while
// kube-apiserver is away it shows what it last saw, and where the resource is not installed there are no objects, and it looks
// again from time to time. It needs the right to list and watch headrooms in all namespaces.
type Mirror struct {
	client  rest.Interface
	objects cache.Indexer
	log     *slog.Logger
	state   atomic.Pointer[mirrorState]

	again, soon time.Duration // pauses after a failure and after a watch that ended; lookAgain and a second, shorter in tests
}

// mirrorState is nil before the first attempt has ended.
type mirrorState struct{ unknown error }

// ErrNotInstalled says that the cluster has no Headroom resource.
var ErrNotInstalled = errors.New("this cluster has no Headroom objects, since their CustomResourceDefinition (headrooms." + v1alpha1.Group + ") is not installed")

var errNotListed = errors.New("the cluster's Headroom objects have not been listed yet")

// NewMirror prepares a mirror; Run fills it.
func NewMirror(config *rest.Config, log *slog.Logger) (*Mirror, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, "" // custom resources have no other form
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client for Headroom objects: %w", err)
	}
	return &Mirror{
		client: client, log: log, again: lookAgain, soon: time.Second,
		objects: cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
	}, nil
}

// Run lists and watches until the context ends. It is client-go's reflector in a loop of its own, since the reflector's never
// forgets what it saw, even when the resource itself has been removed.
func (m *Mirror) Run(ctx context.Context) {
	source := cache.NewListWatchFromClient(m.client, headrooms.Resource, metav1.NamespaceAll, fields.Everything())
	reflector := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(source, m.client), &v1alpha1.Headroom{}, (*mirrorStore)(m),
		cache.ReflectorOptions{Name: "headrooms"})
	for ctx.Err() == nil {
		err := reflector.ListAndWatchWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case apierrors.IsNotFound(err):
			_ = m.objects.Replace(nil, "") // a memory cannot fail
			m.became(ErrNotInstalled)
			pause(ctx, m.again)
		case err != nil:
			m.became(fmt.Errorf("the cluster's Headroom objects cannot be listed: %w", err))
			pause(ctx, m.again)
		default: // kube-apiserver has forgotten how far the watch was
			pause(ctx, m.soon)
		}
	}
}

// became notes what is known, and logs a change.
func (m *Mirror) became(unknown error) {
	before := m.state.Swap(&mirrorState{unknown})
	if before != nil && text(before.unknown) == text(unknown) {
		return
	}
	switch {
	case unknown == nil:
		m.log.Info("Headroom objects are known", "objects", len(m.objects.ListKeys()))
	case errors.Is(unknown, ErrNotInstalled):
		m.log.Info("no Headroom objects: their CustomResourceDefinition is not installed; looking again", "every", m.again)
	default:
		m.log.Warn("Headroom objects are not fresh; what was seen last is served", "error", unknown, "objects", len(m.objects.ListKeys()))
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Tried says whether the objects have been asked for, successfully or not.
func (m *Mirror) Tried() bool { return m.state.Load() != nil }

// Known implements Headrooms.
func (m *Mirror) Known() error {
	if state := m.state.Load(); state != nil {
		return state.unknown
	}
	return errNotListed
}

// Get implements Headrooms.
func (m *Mirror) Get(namespace, name string) (*v1alpha1.Headroom, bool) {
	object, ok, err := m.objects.GetByKey(namespace + "/" + name)
	if err != nil || !ok {
		return nil, false
	}
	hr, ok := object.(*v1alpha1.Headroom)
	return hr, ok
}

// List implements Headrooms; in no particular order.
func (m *Mirror) List(namespace string) []*v1alpha1.Headroom {
	found, err := m.objects.ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return nil
	}
	return headroomsOf(found)
}

// All are the objects of all namespaces, in no particular order.
func (m *Mirror) All() []*v1alpha1.Headroom { return headroomsOf(m.objects.List()) }

func headroomsOf(found []any) []*v1alpha1.Headroom {
	list := make([]*v1alpha1.Headroom, 0, len(found))
	for _, object := range found {
		if hr, ok := object.(*v1alpha1.Headroom); ok {
			list = append(list, hr)
		}
	}
	return list
}

// mirrorStore is the side of a Mirror that the reflector writes to.
type mirrorStore Mirror

// Add implements cache.ReflectorStore.
func (s *mirrorStore) Add(object any) error { return s.objects.Add(stripped(object)) }

// Update implements cache.ReflectorStore.
func (s *mirrorStore) Update(object any) error { return s.objects.Update(stripped(object)) }

// Delete implements cache.ReflectorStore.
func (s *mirrorStore) Delete(object any) error { return s.objects.Delete(object) }

// Resync implements cache.ReflectorStore.
func (s *mirrorStore) Resync() error { return nil }

// Replace implements cache.ReflectorStore: a list has arrived.
func (s *mirrorStore) Replace(objects []any, version string) error {
	for i := range objects {
		objects[i] = stripped(objects[i])
	}
	err := s.objects.Replace(objects, version)
	(*Mirror)(s).became(nil)
	return err
}

// stripped leaves out what nobody reads here: it is half of an object's size.
func stripped(object any) any {
	if hr, ok := object.(*v1alpha1.Headroom); ok {
		hr.ManagedFields = nil
	}
	return object
}
