package conformance

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	prometheusclient "github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericapiserver "k8s.io/apiserver/pkg/server"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	fakemetadata "k8s.io/client-go/metadata/fake"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/kubernetes"
	"github.com/headroom-autoscaler/headroom/adapter/metricsapi"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// adapter is the served APIs over a fake Prometheus. Its loop turns only when a test or a request makes it.
type adapter struct {
	t          *testing.T
	prometheus *fakePrometheus
	collector  *collect.Collector
	wanted     *collect.Wanted
	discovery  *fakediscovery.FakeDiscovery
	resources  *kubernetes.Resources // nothing refreshes them unless a test runs them
	publish    func()                // shows in aggregated discovery what is wanted now; the app's loop does it
	url        string
	start      sync.Once
	turn       sync.Mutex // held for a tick, and for waiting until its work is done: the app's loop is one goroutine
}

// quiet is an Observer that keeps the errors.
type quiet struct{ t *testing.T }

func (q quiet) Collected(_, rule string, _ time.Duration, _ int, _ map[store.Cause]int, err error) {
	if err != nil {
		q.t.Logf("%s: %v", rule, err)
	}
}
func (quiet) Discovered(string, error) {}

const (
	// maxStaleness is that of the tests which wait for a value to go stale; the others shall not depend on how fast they run.
	maxStaleness = 2 * time.Second
	queryTimeout = time.Second
)

// serve starts an adapter with these rules over pods web-0 to web-2 (app=web) in namespace default, of a cluster that has
// more resources than the usual ones.
func serve(t *testing.T, rulesText string, more ...*metav1.APIResourceList) *adapter {
	t.Helper()
	return serveFor(t, time.Minute, rulesText, more...)
}

// serveFor is serve with another time after which values are stale.
func serveFor(t *testing.T, staleness time.Duration, rulesText string, more ...*metav1.APIResourceList) *adapter {
	t.Helper()
	a := &adapter{t: t, prometheus: newPrometheus(t), wanted: collect.NewWanted(50)}
	var pods []runtime.Object
	for _, name := range []string{"web-0", "web-1", "web-2"} {
		pods = append(pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "web"}},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
	}
	client := fake.NewClientset(pods...)
	a.discovery = client.Discovery().(*fakediscovery.FakeDiscovery)
	a.discovery.Resources = []*metav1.APIResourceList{
		{GroupVersion: "v1", APIResources: []metav1.APIResource{
			{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true}, {Name: "services", SingularName: "service", Kind: "Service", Namespaced: true},
			{Name: "namespaces", SingularName: "namespace", Kind: "Namespace"}, {Name: "nodes", SingularName: "node", Kind: "Node"},
			{Name: "persistentvolumes", SingularName: "persistentvolume", Kind: "PersistentVolume"},
		}},
		{GroupVersion: "apps/v1", APIResources: []metav1.APIResource{{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true}}},
	}
	a.discovery.Resources = append(a.discovery.Resources, more...)
	resources, err := kubernetes.NewResources(a.discovery)
	if err != nil {
		t.Fatal(err)
	}
	a.resources = resources
	factory := informers.NewSharedInformerFactory(client, 0)
	known, err := kubernetes.NewPods(factory)
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	objects := &kubernetes.Objects{Pods: known, Resources: resources, Client: fakemetadata.NewSimpleMetadataClient(fakemetadata.NewTestScheme())}
	a.collector = collect.New(collect.Options{
		Store: store.New(), Wanted: a.wanted, Resources: resources, Objects: objects, Observer: quiet{t},
		DefaultStaleness: staleness, RelistInterval: time.Minute, MaxAge: time.Minute,
	})
	a.use(rulesText)
	registry := prometheusclient.NewRegistry()
	provider := &metricsapi.Provider{
		Values: a.collector, Resources: resources, Objects: objects, Now: time.Now, Missing: metricsapi.NewMissing(registry, time.Now),
		Lister: listed{a.collector, resources},
	}
	a.listen(provider)
	t.Cleanup(a.wait)
	return a
}

// listed is what discovery shows, as in adapter/app.
type listed struct {
	collector *collect.Collector
	resources *kubernetes.Resources
}

func (l listed) Listed() []rules.Entry {
	return metricsapi.ListWanted(l.collector.Listed(), l.resources)
}

// use replaces the rules.
func (a *adapter) use(text string) {
	a.t.Helper()
	config, err := rules.Parse("rules.yaml", []byte(text), rules.ParseOptions{Backends: []string{"default"}})
	if err != nil {
		a.t.Fatal(err)
	}
	client, err := prometheus.New(rules.Backend{Name: "default", URLs: []string{a.prometheus.URL}, Timeout: queryTimeout}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	b := collect.Backend{Name: "default", Querier: client}
	a.collector.Use(config, map[string]collect.Backend{"": b, "default": b})
}

// kicked is the part of the app's loop that collects what is new.
func (a *adapter) kicked(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.collector.Kicked():
			a.tick(ctx, true)
		}
	}
}

// round collects everything once, and waits for it. What is still under way ends first: a unit is not started twice.
func (a *adapter) round() {
	a.wait()
	a.tick(a.t.Context(), false)
	a.wait()
}

func (a *adapter) tick(ctx context.Context, onlyNew bool) {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.collector.Tick(ctx, onlyNew)
}

// asked is what the fake Prometheus was asked since the last call, what is still under way included.
func (a *adapter) asked() (values []string, all int) {
	a.wait()
	return a.prometheus.asked()
}

func (a *adapter) wait() {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.collector.Wait()
}

// listen puts the library's API server in front of the provider, without authentication and authorization.
func (a *adapter) listen(provider *metricsapi.Provider) {
	a.t.Helper()
	config := genericapiserver.NewConfig(apiserver.Codecs)
	config.ExternalAddress = "localhost:443"
	config.PublicAddress = net.IPv4(127, 0, 0, 1)
	config.LoopbackClientConfig = &rest.Config{}
	config.BuildHandlerChainFunc = func(handler http.Handler, c *genericapiserver.Config) http.Handler {
		return genericapiserver.DefaultBuildHandlerChain(metricsapi.Handler(handler), c)
	}
	server, err := (&apiserver.Config{GenericConfig: config}).Complete(nil).New("conformance", provider, provider)
	if err != nil {
		a.t.Fatal(err)
	}
	published := &metricsapi.Discovery{Manager: server.GenericAPIServer.AggregatedDiscoveryGroupManager, Custom: true, External: true}
	a.publish = func() { published.Publish(provider.Lister.Listed()) }
	a.publish()
	front := httptest.NewServer(server.GenericAPIServer.Handler)
	a.t.Cleanup(front.Close)
	a.url = front.URL
}

// begin starts what collects new wants, unless it runs. Before it, a test says what the backend has.
func (a *adapter) begin() { a.start.Do(func() { go a.kicked(a.t.Context()) }) }

// get asks and returns status and body.
func (a *adapter) get(path string) (int, string) {
	a.t.Helper()
	a.begin()
	request, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.url+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
