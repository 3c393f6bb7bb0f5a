package metricsapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/kubernetes"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	requests = provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: "requests_per_second"}
)

// memory answers every want from one store, under the want's namespace and metric.
type memory struct {
	*store.Store
	err error
}

func (m memory) Lookup(_ context.Context, want collect.Want) (*store.View, error) {
	want.Key.Objects = ""
	return m.View(want.Key), m.err
}

type nothing struct{}

func (nothing) Listed() []rules.Entry { return nil }

// serving is a provider over pods of a fake clientset: deployments of ten pods each, all Ready.
func serving(tb testing.TB, pods int) (*Provider, *store.Store, *prometheus.Registry) {
	tb.Helper()
	var objects []runtime.Object
	for i := range pods {
		objects = append(objects, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "inference", Name: fmt.Sprintf("model-%d-%d", i/10, i%10),
				Labels: map[string]string{"app": fmt.Sprintf("model-%d", i/10), "tier": "gpu"},
			},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
	}
	client := fake.NewClientset(objects...)
	client.Discovery().(*fakediscovery.FakeDiscovery).Resources = []*metav1.APIResourceList{{
		GroupVersion: "v1",
		APIResources: []metav1.APIResource{
			{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true, Verbs: metav1.Verbs{"get", "list"}},
			{Name: "namespaces", SingularName: "namespace", Kind: "Namespace", Verbs: metav1.Verbs{"get", "list"}},
		},
	}}
	resources, err := kubernetes.NewResources(client.Discovery())
	if err != nil {
		tb.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	known, err := kubernetes.NewPods(factory)
	if err != nil {
		tb.Fatal(err)
	}
	factory.Start(tb.Context().Done())
	factory.WaitForCacheSync(tb.Context().Done())
	values, registry := store.New(), prometheus.NewRegistry()
	now := func() time.Time { return noon }
	return &Provider{
		Values: memory{Store: values}, Resources: resources, Objects: &kubernetes.Objects{Pods: known, Resources: resources},
		Lister: nothing{}, Missing: NewMissing(registry, now), Now: now,
	}, values, registry
}

func podsKey() store.Key {
	return store.Key{Kind: rules.Custom, Namespace: "inference", Resource: rules.Resource{Name: "pods"}, Metric: requests.Metric}
}

// record puts values for pods into the store, sampled three seconds ago.
func record(s *store.Store, terms store.Terms, values map[string]float64) {
	readings := map[string]store.Reading{}
	for pod, value := range values {
		readings[pod] = store.NewReading(value, noon.Add(-3*time.Second), 3*time.Second, noon)
	}
	s.Record(podsKey(), store.Source{Name: "vllm"}, readings, terms, noon)
}

var oneMinute = store.Terms{MaxStaleness: time.Minute, Window: 2 * time.Minute}

func selector(tb testing.TB, text string) labels.Selector {
	tb.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestAPodsAnswerHoldsTheSelectedPodsAndTheirSamplesTimes(t *testing.T) {
	p, values, _ := serving(t, 30)
	record(values, oneMinute, map[string]float64{"model-1-0": 1.5, "model-1-1": 0.25, "model-2-0": 7, "gone": 9})
	list, err := p.GetMetricBySelector(t.Context(), "inference", selector(t, "app=model-1,tier=gpu"), requests, labels.Everything())
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 2 {
		t.Fatalf("%d items, want the two of model-1 that have a value", len(list.Items))
	}
	item := list.Items[0]
	if item.DescribedObject.Name != "model-1-0" || item.DescribedObject.Kind != "Pod" || item.DescribedObject.APIVersion != "/v1" || item.Value.String() != "1500m" {
		t.Errorf("%+v", item)
	}
	if !item.Timestamp.Time.Equal(noon.Add(-3*time.Second)) || item.WindowSeconds == nil || *item.WindowSeconds != 120 {
		t.Errorf("timestamp %v, window %v: want the raw sample's and the query's", item.Timestamp, item.WindowSeconds)
	}
}

func TestPodsWithoutAValueAreCountedOrFailTheAnswer(t *testing.T) {
	p, values, registry := serving(t, 10)
	record(values, oneMinute, map[string]float64{"model-0-0": 1})
	if _, err := p.GetMetricBySelector(t.Context(), "inference", selector(t, "app=model-0"), requests, labels.Everything()); err != nil {
		t.Error(err)
	}
	want := `
# HELP headroom_adapter_pods_without_sample Ready pods that the last answers left out because they had no valid sample, summed over the selectors asked for.
# TYPE headroom_adapter_pods_without_sample gauge
headroom_adapter_pods_without_sample{metric="requests_per_second",namespace="inference"} 9
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "headroom_adapter_pods_without_sample"); err != nil {
		t.Error(err)
	}
	strict := oneMinute
	strict.FailPartial = true
	record(values, strict, map[string]float64{"model-0-0": 1})
	_, err := p.GetMetricBySelector(t.Context(), "inference", selector(t, "app=model-0"), requests, labels.Everything())
	if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "9 of 10 pods are Ready and have no value, such as model-0-1") {
		t.Errorf("with partial: Fail: %v", err)
	}
}

func TestAbsencesAreNotFoundAndSayWhy(t *testing.T) {
	p, values, _ := serving(t, 10)
	byName := func(pod string) error {
		_, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "inference", Name: pod}, requests, labels.Everything())
		return err
	}
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"nothing was collected", func() {}, "the server could not find the metric requests_per_second for pods model-0-0: not collected yet"},
		{"the backend fails", func() { values.Fail(podsKey(), store.Source{Name: "vllm"}, errors.New("connection refused"), noon) }, "backend failed: connection refused"},
		{"it is in no answer", func() { record(values, oneMinute, map[string]float64{"other": 1}) }, "no sample, never seen"},
		{"it is stale", func() {
			values.Record(podsKey(), store.Source{Name: "vllm"}, map[string]store.Reading{"model-0-0": store.NewReading(1, noon.Add(-61*time.Second), 61*time.Second, noon)}, oneMinute, noon)
		}, "stale, last seen at 11:58:59Z"},
	} {
		step.do()
		if err := byName("model-0-0"); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), step.want) {
			t.Errorf("%s: %v, want it to say %q", step.name, err, step.want)
		}
	}
	if _, err := p.GetMetricBySelector(t.Context(), "inference", selector(t, "app=none"), requests, labels.Everything()); err == nil || !strings.Contains(err.Error(), "no pod matches the selector") {
		t.Errorf("a selector that matches nothing: %v", err)
	}
	unknown := requests
	unknown.GroupResource.Resource = "unicorns"
	if _, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "inference", Name: "u"}, unknown, labels.Everything()); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "the cluster knows no such resource") {
		t.Errorf("a resource that is none: %v", err)
	}
}

func TestTooManyWantedMetricsAreRefusedWithAReason(t *testing.T) {
	p, _, _ := serving(t, 0)
	p.Values = memory{Store: store.New(), err: &collect.TooManyError{Limit: 2000}}
	_, err := p.GetExternalMetric(t.Context(), "inference", labels.Everything(), provider.ExternalMetricInfo{Metric: "lag"})
	if !apierrors.IsTooManyRequests(err) || !strings.Contains(err.Error(), "--max-wanted") {
		t.Error(err)
	}
}

func TestABadMetricSelectorIsTheCallersFault(t *testing.T) {
	served := httptest.NewRecorder()
	Handler(http.NotFoundHandler()).ServeHTTP(served, httptest.NewRequest(http.MethodGet, "/x?metricLabelSelector=%3D%3D", nil))
	if served.Code != http.StatusBadRequest || !strings.Contains(served.Body.String(), `"reason":"BadRequest"`) {
		t.Errorf("%d %s", served.Code, served.Body)
	}
	served = httptest.NewRecorder()
	Handler(http.NotFoundHandler()).ServeHTTP(served, httptest.NewRequest(http.MethodGet, "/x?metricLabelSelector=a%3Db", nil))
	if served.Code != http.StatusNotFound {
		t.Errorf("a good one is stopped: %d", served.Code)
	}
}

// BenchmarkPodsAnswer is the whole of an answer for ten pods but for HTTP: selecting, looking up and encoding.
func BenchmarkPodsAnswer(b *testing.B) {
	info, ok := runtime.SerializerInfoForMediaType(apiserver.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		b.Fatal("no protobuf")
	}
	protobuf := apiserver.Codecs.EncoderForVersion(info.Serializer, v1beta2.SchemeGroupVersion)
	info, _ = runtime.SerializerInfoForMediaType(apiserver.Codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	json := apiserver.Codecs.EncoderForVersion(info.Serializer, v1beta2.SchemeGroupVersion)
	for _, pods := range []int{100, 1000, 5000} {
		p, values, _ := serving(b, pods)
		numbers := map[string]float64{}
		for i := range pods {
			numbers[fmt.Sprintf("model-%d-%d", i/10, i%10)] = float64(i)
		}
		record(values, oneMinute, numbers)
		var selectors []labels.Selector
		for i := range pods / 10 {
			selectors = append(selectors, selector(b, fmt.Sprintf("app=model-%d", i)))
		}
		for name, encoder := range map[string]runtime.Encoder{"protobuf": protobuf, "JSON": json} {
			b.Run(fmt.Sprintf("10 of %d pods, %s", pods, name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					list, err := p.GetMetricBySelector(b.Context(), "inference", selectors[i%len(selectors)], requests, labels.Everything())
					if err != nil || len(list.Items) != 10 {
						b.Fatal(len(list.Items), err)
					}
					if _, err := runtime.Encode(encoder, list); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
