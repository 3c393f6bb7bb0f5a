package ask

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/rest"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	external "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	customclient "k8s.io/metrics/pkg/client/custom_metrics"
	externalclient "k8s.io/metrics/pkg/client/external_metrics"
)

var at = metav1.NewTime(time.Unix(1_800_000_000, 0))

func customList(n int) *custom.MetricValueList {
	list := &custom.MetricValueList{TypeMeta: metav1.TypeMeta{Kind: "MetricValueList", APIVersion: "custom.metrics.k8s.io/v1beta2"}}
	window := int64(60)
	for range n {
		list.Items = append(list.Items, custom.MetricValue{
			Metric:    custom.MetricIdentifier{Name: "requests", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
			Timestamp: at, WindowSeconds: &window, Value: resource.MustParse("1500m"),
		})
	}
	return list
}

// encode uses the serializers that an API server uses.
func encode(t *testing.T, object runtime.Object) []byte {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := custom.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := external.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	data, err := runtime.Encode(protobuf.NewSerializer(scheme, scheme), object)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadAnswer(t *testing.T) {
	externalList := &external.ExternalMetricValueList{
		TypeMeta: metav1.TypeMeta{Kind: "ExternalMetricValueList", APIVersion: "external.metrics.k8s.io/v1beta1"},
		Items: []external.ExternalMetricValue{{
			MetricName: "lag", MetricLabels: map[string]string{"topic": "t"}, Timestamp: at, Value: resource.MustParse("42"),
		}},
	}
	const proto = "application/vnd.kubernetes.protobuf"
	tests := []struct {
		name, contentType string
		body              []byte
		want              Answer
		wantErr           bool
	}{
		{"protobuf, ten pods", proto, encode(t, customList(10)), Answer{10, "1500m", at.Time}, false},
		{"protobuf, none", proto, encode(t, customList(0)), Answer{}, false},
		{"protobuf, external", proto, encode(t, externalList), Answer{1, "42", at.Time}, false},
		{"protobuf, cut short", proto, encode(t, customList(3))[:60], Answer{}, true},
		{"JSON under protobuf's name", proto, []byte(`{"items":[]}`), Answer{}, true},
		{"JSON", "application/json", []byte(`{"items":[{"value":"7","timestamp":"2027-01-15T08:00:00Z"},{}]}`),
			Answer{2, "7", at.Time}, false},
		{"not JSON", "text/html", []byte("<html>"), Answer{}, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Read(tc.contentType, tc.body)
			if (err != nil) != tc.wantErr {
				t.Fatalf("error = %v, want one: %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzReadProtobufNeverPanics(f *testing.F) {
	f.Add([]byte("k8s\x00\x12\x02\x12\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := Read("application/vnd.kubernetes.protobuf", body)
		if err != nil && answer.Items != 0 || answer.Items > len(body) {
			t.Fatalf("%d items from %d bytes, error %v", answer.Items, len(body), err)
		}
	})
}

// The oracle is the HPA controller's own client: what it sends is what Path must render.
func TestPathsAreThoseOfTheHPAsClient(t *testing.T) {
	var uri, accept string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		uri, accept = r.RequestURI, r.Header.Get("Accept")
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{
		AcceptContentTypes: "application/vnd.kubernetes.protobuf, */*", ContentType: "application/vnd.kubernetes.protobuf"}}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "apps", Version: "v1"}, {Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, meta.RESTScopeRoot)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, meta.RESTScopeNamespace)
	customMetrics := customclient.NewForConfig(config, mapper, fixedVersion{})
	externalMetrics, err := externalclient.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	podKind := schema.GroupKind{Kind: "Pod"}
	deployment := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	selector := func(text string) labels.Selector {
		s, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	tests := []struct {
		name   string
		target Target
		send   func()
	}{
		{"Pods", Target{Kind: Pods, Namespace: "ns", Metric: "requests_per_second", Selector: "app=d-1,tier in (a,b)"}, func() {
			_, _ = customMetrics.NamespacedMetrics("ns").GetForObjects(podKind, selector("app=d-1,tier in (a,b)"), "requests_per_second", labels.Everything())
		}},
		{"Pods with a metric selector", Target{Kind: Pods, Namespace: "ns", Metric: "m", Selector: "app=d-1", MetricSelector: "code!=500"}, func() {
			_, _ = customMetrics.NamespacedMetrics("ns").GetForObjects(podKind, selector("app=d-1"), "m", selector("code!=500"))
		}},
		{"Object", Target{Kind: Object, Namespace: "ns", Resource: "deployments.apps", Name: "d-1", Metric: "m", MetricSelector: "a=b"}, func() {
			_, _ = customMetrics.NamespacedMetrics("ns").GetForObject(deployment, "d-1", "m", selector("a=b"))
		}},
		{"Object, the namespace", Target{Kind: Object, Namespace: "ns", Resource: "namespaces", Name: "other", Metric: "m"}, func() {
			_, _ = customMetrics.RootScopedMetrics().GetForObject(schema.GroupKind{Kind: "Namespace"}, "ns", "m", labels.Everything())
		}},
		{"External", Target{Kind: External, Namespace: "ns", Metric: "lag", Selector: "queue=q-1"}, func() {
			_, _ = externalMetrics.NamespacedMetrics("ns").List("lag", selector("queue=q-1"))
		}},
		{"External without a selector", Target{Kind: External, Namespace: "ns", Metric: "lag"}, func() {
			_, _ = externalMetrics.NamespacedMetrics("ns").List("lag", labels.Everything())
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			uri, accept = "", ""
			tc.send()
			if got := tc.target.Path("v1beta2"); got != uri {
				t.Errorf("path\n got %s\nwant %s", got, uri)
			}
			client, err := NewClient(Options{URL: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			if got := client.header.Get("Accept"); got != accept {
				t.Errorf("Accept = %q, the HPA's client sends %q", got, accept)
			}
		})
	}
}

type fixedVersion struct{}

func (fixedVersion) Invalidate() {}

func (fixedVersion) PreferredVersion() (schema.GroupVersion, error) {
	return schema.GroupVersion{Group: "custom.metrics.k8s.io", Version: "v1beta2"}, nil
}

func TestFailuresHaveReasons(t *testing.T) {
	ten := encode(t, customList(10))
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("asked over %s, want HTTP/2", r.Proto)
		}
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		switch r.URL.Path {
		case "/ten":
			_, _ = w.Write(ten)
		case "/none":
			_, _ = w.Write(encode(t, customList(0)))
		case "/gone":
			w.WriteHeader(http.StatusNotFound)
		case "/garbage":
			_, _ = w.Write([]byte("garbage"))
		case "/silent":
			<-release
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	defer close(release)
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := Options{URL: server.URL, CAFile: caFile, Timeout: 200 * time.Millisecond}
	closed := httptest.NewServer(nil)
	closed.Close()
	tests := []struct {
		name    string
		options Options
		path    string
		items   int
		want    error
	}{
		{"good", trusting, "/ten", 10, nil},
		{"any number is good", trusting, "/ten", 0, nil},
		{"too many items", trusting, "/ten", 9, Failure("10 items, want 9")},
		{"no items", trusting, "/none", 0, Failure("no items")},
		{"not found", trusting, "/gone", 0, Failure("HTTP 404")},
		{"garbage", trusting, "/garbage", 0, Failure("unreadable answer")},
		{"silent", trusting, "/silent", 0, Failure("no answer in 200ms")},
		{"untrusted", Options{URL: server.URL}, "/ten", 0, Failure("server certificate not trusted")},
		{"nobody there", Options{URL: closed.URL}, "/ten", 0, Failure("connection refused")},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			client, err := NewClient(tc.options)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := client.AskPath(context.Background(), tc.path, tc.items); !errors.Is(err, tc.want) {
				t.Errorf("error = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestOptionsAreRefusedWithTheReason(t *testing.T) {
	noCA := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(noCA, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{URL: "127.0.0.1:6443"}, {URL: "ftp://x"}, {URL: "https://x", CAFile: "absent"},
		{URL: "https://x", CAFile: noCA}, {URL: "https://x", CertFile: "absent", KeyFile: "absent"}} {
		if _, err := NewClient(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
