package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/headroom-autoscaler/headroom/api/v1alpha1"
)

// apiServer is as much of kube-apiserver as lists and watches Headroom objects.
type apiServer struct {
	*httptest.Server
	address string

	mu        sync.Mutex
	installed bool
	forbidden bool
	version   int
	objects   map[string]*v1alpha1.Headroom
	changed   chan struct{} // closed at each change
	down      chan struct{} // closed when the server stops
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{objects: map[string]*v1alpha1.Headroom{}, changed: make(chan struct{}), version: 100}
	s.start(t)
	s.address = s.Listener.Addr().String()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *apiServer) start(t *testing.T) {
	t.Helper()
	down := make(chan struct{})
	s.down = down
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, down) }))
	if s.address != "" {
		listener, err := net.Listen("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Listener.Close()
		s.Listener = listener
	}
	s.Start()
}

// stop ends watches first: one that began between closing the connections and the server would keep Close from returning.
func (s *apiServer) stop() {
	select {
	case <-s.down:
		return
	default:
		close(s.down)
	}
	_ = s.Listener.Close()
	s.CloseClientConnections()
	s.Close()
}

// set makes the one object of a name say a floor; 0 deletes it.
func (s *apiServer) set(name string, floor int32) {
	s.change(func() {
		if floor == 0 {
			delete(s.objects, name)
			return
		}
		s.objects[name] = &v1alpha1.Headroom{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Headroom"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "inference", Name: name, ResourceVersion: strconv.Itoa(s.version), ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}},
			Status:     v1alpha1.HeadroomStatus{Decision: &v1alpha1.Decision{Floor: floor}},
		}
	})
}

func (s *apiServer) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request, down <-chan struct{}) {
	s.mu.Lock()
	installed, forbidden := s.installed, s.forbidden
	s.mu.Unlock()
	code, reason := 0, metav1.StatusReason("")
	switch {
	case r.URL.Path != "/apis/headroom.dev/v1alpha1/headrooms" || !installed:
		code, reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case forbidden:
		code, reason = http.StatusForbidden, metav1.StatusReasonForbidden
	case r.URL.Query().Get("sendInitialEvents") != "": // an API server from before streaming lists
		code, reason = http.StatusUnprocessableEntity, metav1.StatusReasonInvalid
	}
	w.Header().Set("Content-Type", "application/json")
	if code != 0 {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(code), Message: string(reason),
		})
		return
	}
	if r.URL.Query().Get("watch") == "" {
		s.list(w)
		return
	}
	s.watch(w, r, down)
}

func (s *apiServer) list(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := v1alpha1.HeadroomList{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "HeadroomList"},
		ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)},
	}
	for _, hr := range s.objects {
		list.Items = append(list.Items, *hr)
	}
	_ = json.NewEncoder(w).Encode(list)
}

// watch sends what differs from what it sent last; it ends with the resource.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, down <-chan struct{}) {
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	sent := map[string]*v1alpha1.Headroom{}
	for first := true; ; first = false {
		s.mu.Lock()
		changed, installed := s.changed, s.installed
		var events []map[string]any
		for name, hr := range s.objects {
			if version, _ := strconv.Atoi(hr.ResourceVersion); sent[name] != hr && (!first || version > since) {
				events = append(events, map[string]any{"type": map[bool]string{true: "MODIFIED", false: "ADDED"}[sent[name] != nil], "object": hr})
			}
		}
		for name, hr := range sent {
			if s.objects[name] == nil {
				gone := hr.DeepCopy()
				gone.ResourceVersion = strconv.Itoa(s.version)
				events = append(events, map[string]any{"type": "DELETED", "object": gone})
			}
		}
		sent = map[string]*v1alpha1.Headroom{}
		maps.Copy(sent, s.objects)
		s.mu.Unlock()
		for _, event := range events {
			_ = json.NewEncoder(w).Encode(event)
		}
		w.(http.Flusher).Flush()
		if !installed {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-down:
			return
		}
	}
}

// mirrored runs a mirror of the server until the test ends.
func mirrored(t *testing.T, s *apiServer) *Mirror {
	t.Helper()
	m, err := NewMirror(&rest.Config{Host: "http://" + s.address}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m.again, m.soon = 10*time.Millisecond, time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return m
}

// until looks at the mirror until it shows what it should.
func until(t *testing.T, what string, m *Mirror, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("waited for: %s; known: %v, objects: %v", what, m.Known(), m.objects.ListKeys())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// refuseTwice hangs up on whoever connects to an address, and stops listening after the second time.
func refuseTwice(t *testing.T, address string) (done func() bool) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 2 {
			if connection, err := listener.Accept(); err == nil {
				_ = connection.Close()
			}
		}
		_ = listener.Close()
	}()
	return func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
}

func floorIn(m *Mirror, name string) int32 {
	if hr, ok := m.Get("inference", name); ok {
		return hr.Status.Decision.Floor
	}
	return 0
}

func TestAMirrorLivesThroughWhatMayHappenToAnAPIServer(t *testing.T) {
	s := newAPIServer(t)
	m := mirrored(t, s)
	until(t, "the resource is not there", m, func() bool { return m.Tried() && errors.Is(m.Known(), ErrNotInstalled) })

	s.set("llama", 7)
	s.change(func() { s.installed = true })
	until(t, "it is installed", m, func() bool { return m.Known() == nil && floorIn(m, "llama") == 7 })
	if hr, _ := m.Get("inference", "llama"); len(hr.ManagedFields) != 0 {
		t.Error("managed fields are kept")
	}
	s.set("llama", 8)
	s.set("mistral", 3)
	until(t, "a changed and a new object", m, func() bool { return floorIn(m, "llama") == 8 && floorIn(m, "mistral") == 3 })
	if len(m.List("inference")) != 2 || len(m.List("other")) != 0 || len(m.All()) != 2 {
		t.Error(m.List("inference"), m.List("other"), m.All())
	}
	s.set("mistral", 0)
	until(t, "a deleted object", m, func() bool { return floorIn(m, "mistral") == 0 })

	s.stop()
	hung := refuseTwice(t, s.address)
	until(t, "it has tried to connect twice", m, func() bool { return hung() || floorIn(m, "llama") != 8 })
	if floorIn(m, "llama") != 8 {
		t.Fatal("forgotten while the API server is away")
	}
	s.start(t)
	s.set("llama", 9)
	until(t, "the API server is back", m, func() bool { return floorIn(m, "llama") == 9 })

	s.change(func() { s.forbidden = true })
	s.stop()
	s.start(t)
	until(t, "a right that was taken away", m, func() bool { return m.Known() != nil })
	if floorIn(m, "llama") != 9 || !strings.Contains(m.Known().Error(), "cannot be listed") {
		t.Error(floorIn(m, "llama"), m.Known())
	}
	s.change(func() { s.forbidden = false })
	until(t, "the right is given back", m, func() bool { return m.Known() == nil })

	s.change(func() { s.installed, s.objects = false, map[string]*v1alpha1.Headroom{} })
	until(t, "the resource is removed", m, func() bool { return errors.Is(m.Known(), ErrNotInstalled) && len(m.All()) == 0 })
	s.set("llama", 4)
	s.change(func() { s.installed = true })
	until(t, "it is installed again", m, func() bool { return floorIn(m, "llama") == 4 })
}

func TestNothingIsKnownBeforeTheFirstList(t *testing.T) {
	m, err := NewMirror(&rest.Config{Host: "http://127.0.0.1:1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if m.Tried() || !errors.Is(m.Known(), errNotListed) {
		t.Error(m.Tried(), m.Known())
	}
	if _, ok := m.Get("inference", "llama"); ok {
		t.Error(fmt.Sprint("an object from nowhere: ", m.All()))
	}
}
