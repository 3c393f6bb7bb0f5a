package scenario

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
)

func TestAnAdapterThatDiesSaysWhy(t *testing.T) {
	bed := &Bed{Dir: t.TempDir(), Headroom: "ls"}
	s, err := bed.start(t.Context(), "adapter", "{headroom} /no-such-flag-{port}")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.ready(t.Context(), ask.Target{Kind: ask.Pods}, time.Now(), 10*time.Second)
	if err == nil || !strings.Contains(err.Error(), "ended before it answered") || !strings.Contains(err.Error(), "/no-such-flag-") {
		t.Errorf("error = %v, want one with the end of the log", err)
	}
	s.stop() // of one that has ended already
	if _, err := bed.start(t.Context(), "adapter", "/absent/adapter"); err == nil {
		t.Error("a program that is not there was started")
	}
}

func TestAnInterruptedRunLeavesNoAdapter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	bed := &Bed{Dir: t.TempDir(), Headroom: "sleep"}
	s, err := bed.start(ctx, "adapter", "{headroom} 60")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-s.exited:
	case <-time.After(5 * time.Second):
		t.Error("the process outlives its run")
		s.stop()
	}
}

func TestNotEveryAnswerGoodIsAnErrorWithAnExample(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "d-0003") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"items":[{},{},{},{},{},{},{},{},{},{}]}`))
	}))
	defer server.Close()
	client, err := ask.NewClient(ask.Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{name: "adapter", client: client}
	err = s.allGood(t.Context(), shapeOf(50).Targets(ask.Pods, "m"), 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "d-0003") || !strings.Contains(err.Error(), "HTTP 404:1") {
		t.Errorf("error = %v, want one that counts the 404 and shows the question", err)
	}
	if err := s.allGood(t.Context(), shapeOf(20).Targets(ask.Pods, "m"), time.Second); err != nil {
		t.Error(err)
	}
}
