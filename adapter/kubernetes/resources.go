package kubernetes

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/restmapper"

	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

const (
	// refreshEvery is how old the cluster's resource names may get. A name that is not known asks for a refresh at once.
	refreshEvery = 5 * time.Minute
	// refreshAtMost keeps unknown names from turning into a discovery storm.
	refreshAtMost = 10 * time.Second
)

// Resources knows how the cluster names its resources, custom ones that are installed later included. It implements
// rules.Resources.
type Resources struct {
	client discovery.DiscoveryInterface
	known  atomic.Pointer[naming]
	miss   chan struct{}
}

// naming is one immutable answer of discovery with the look-ups already made from it.
type naming struct {
	mapper   meta.RESTMapper
	resolved sync.Map // rules.Resource → resolution
	kinds    sync.Map // schema.GroupKind → rules.Resource
}

type resolution struct {
	info rules.ResourceInfo
	kind schema.GroupVersionKind
	ok   bool
}

// NewResources asks the cluster once, so that it is useful from the start.
func NewResources(client discovery.DiscoveryInterface) (*Resources, error) {
	r := &Resources{client: client, miss: make(chan struct{}, 1)}
	if err := r.refresh(); err != nil {
		return nil, err
	}
	return r, nil
}

// Run keeps the names fresh until the context ends. Failures are given to report and tried again.
func (r *Resources) Run(ctx context.Context, report func(error)) {
	timer := time.NewTimer(refreshEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.miss:
		}
		if err := r.refresh(); err != nil {
			report(err)
		}
		select { // whatever asked, the next refresh is refreshAtMost away
		case <-ctx.Done():
			return
		case <-time.After(refreshAtMost):
		}
		timer.Reset(refreshEvery)
	}
}

func (r *Resources) refresh() error {
	groups, err := restmapper.GetAPIGroupResources(r.client)
	if err != nil {
		return fmt.Errorf("discover the cluster's resources: %w", err)
	}
	r.known.Store(&naming{mapper: restmapper.NewDiscoveryRESTMapper(groups)})
	return nil
}

// Resolve gives a resource's canonical plural from whatever form it is known by.
func (r *Resources) Resolve(resource rules.Resource) (rules.ResourceInfo, bool) {
	found := r.resolve(resource)
	return found.info, found.ok
}

// Kind is the group, version and kind of a resource, for describing its objects.
func (r *Resources) Kind(resource rules.Resource) (schema.GroupVersionKind, bool) {
	found := r.resolve(resource)
	return found.kind, found.ok
}

// ForKind is the resource that a reference's apiVersion and kind mean.
func (r *Resources) ForKind(apiVersion, kind string) (rules.Resource, bool) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return rules.Resource{}, false
	}
	names := r.known.Load()
	gk := schema.GroupKind{Group: gv.Group, Kind: kind}
	if hit, ok := names.kinds.Load(gk); ok {
		return hit.(rules.Resource), true
	}
	mapping, err := names.mapper.RESTMapping(gk)
	if err != nil {
		r.missed()
		return rules.Resource{}, false
	}
	resource := rules.Resource{Group: mapping.Resource.Group, Name: mapping.Resource.Resource}
	names.kinds.Store(gk, resource)
	return resource, true
}

func (r *Resources) resolve(resource rules.Resource) resolution {
	names := r.known.Load()
	if hit, ok := names.resolved.Load(resource); ok {
		found := hit.(resolution)
		if !found.ok {
			r.missed()
		}
		return found
	}
	found := names.look(resource)
	if !found.ok {
		r.missed() // the refresh that follows forgets unknown names, so they cannot pile up
	}
	names.resolved.Store(resource, found)
	return found
}

func (n *naming) look(resource rules.Resource) resolution {
	partial := schema.GroupVersionResource{Group: resource.Group, Resource: strings.ToLower(resource.Name)}
	full, err := n.mapper.ResourceFor(partial)
	if err != nil {
		return resolution{}
	}
	kind, err := n.mapper.KindFor(full)
	if err != nil {
		return resolution{}
	}
	mapping, err := n.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return resolution{}
	}
	singular, err := n.mapper.ResourceSingularizer(full.Resource)
	if err != nil || singular == "" {
		singular = strings.ToLower(kind.Kind)
	}
	return resolution{
		info: rules.ResourceInfo{
			Resource:   rules.Resource{Group: full.Group, Name: full.Resource},
			Singular:   singular,
			Namespaced: mapping.Scope.Name() == meta.RESTScopeNameNamespace,
		},
		kind: kind,
		ok:   true,
	}
}

func (r *Resources) missed() {
	select {
	case r.miss <- struct{}{}:
	default:
	}
}

// Mapper is the RESTMapper behind the names as they are now, for clients of Kubernetes' own that need one.
func (r *Resources) Mapper() meta.RESTMapper { return r.known.Load().mapper }
