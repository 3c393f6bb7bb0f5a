package nodeagent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/stream"
	"github.com/headroom-autoscaler/headroom/test/pki"
)

// speaker is an agent's server that says one thing every 20 ms.
type speaker struct {
	stream.UnimplementedReadingsServer
	node    string
	began   time.Time
	mu      sync.Mutex
	value   float64
	watched int
}

func (s *speaker) Watch(_ *stream.WatchRequest, to grpc.ServerStreamingServer[stream.Update]) error {
	s.mu.Lock()
	s.watched++
	s.mu.Unlock()
	encoder := stream.NewEncoder(s.node, 200*time.Millisecond, s.began)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		s.mu.Lock()
		value := s.value
		s.mu.Unlock()
		now := time.Now()
		r := dcgm.PodReading{
			Pod: dcgm.Pod{Namespace: "ns", Name: "a"}, Sharing: dcgm.MIG, Basis: dcgm.Own,
			Reading: dcgm.Reading{Slice: one, Signal: dcgm.SMActive, Value: value, At: now, Source: dcgm.GPM, Quality: dcgm.Exact},
		}
		if err := to.Send(encoder.Update(stream.State{Readings: []dcgm.PodReading{r}}, now)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-to.Context().Done():
			return nil
		}
	}
}

func (s *speaker) say(value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = value
}

// listen serves on an address, ":0" for a new one, with a certificate of these names by this authority, for clients of another.
func (s *speaker) listen(t *testing.T, address string, own, clients *pki.Authority, names ...string) (string, *grpc.Server) {
	t.Helper()
	cert, key := own.Issue("server", x509.ExtKeyUsageServerAuth, names...)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(clients.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})))
	stream.RegisterReadingsServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String(), server
}

// network is a client that runs, with what it logged.
type network struct {
	*Client
	store *store.Store
	log   *lines
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func runClient(t *testing.T, ca, own *pki.Authority, use x509.ExtKeyUsage) *network {
	t.Helper()
	cert, certKey := own.Issue("adapter", use)
	n := &network{store: store.New(), log: &lines{}}
	client, err := New(Options{
		Store: n.store, Wanted: func() []collect.Want { return []collect.Want{{Key: key(sm)}} }, TLS: TLSOptions{CAFile: ca.File, CertFile: cert, KeyFile: certKey},
		Subscriber: "adapter-0", Registerer: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(n.log, nil)), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Client = client
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { client.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return n
}

// until waits for what the store says of pod a, or the log.
func (n *network) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ticker, timeout := time.NewTicker(10*time.Millisecond), time.After(30*time.Second)
	defer ticker.Stop()
	for !is() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("%s never came; the log:\n%s", what, n.log.text.String())
		}
	}
}

func (n *network) value() (float64, bool) {
	view := n.store.View(key(sm))
	if view == nil {
		return 0, false
	}
	v, absence := view.Value("a", time.Now())
	return v.Number, absence == nil
}

func TestAStreamIsFollowedThroughARestart(t *testing.T) {
	ca, clients := pki.New(t, "agents"), pki.New(t, "adapters")
	s := &speaker{node: "n1", began: time.Now().Add(-time.Hour), value: 0.5}
	address, server := s.listen(t, "127.0.0.1:0", ca, clients, ServerName)
	n := runClient(t, ca, clients, x509.ExtKeyUsageClientAuth)
	n.SetAddresses([]string{address})
	n.until(t, "the first value", func() bool { v, is := n.value(); return is && v == 0.5 })
	s.say(0.9)
	n.until(t, "a step", func() bool { v, is := n.value(); return is && v == 0.9 })
	server.Stop()
	n.until(t, "its end", func() bool { _, is := n.value(); return !is })
	s = &speaker{node: "n1", began: time.Now(), value: 0.1} // another process, another clock
	s.listen(t, address, ca, clients, ServerName)
	n.until(t, "the new process's value", func() bool { v, is := n.value(); return is && v == 0.1 })
	n.SetAddresses(nil)
	n.until(t, "its end by the address", func() bool { _, is := n.value(); return !is })
}

func TestWhoIsRefused(t *testing.T) {
	ca, clients, stranger := pki.New(t, "agents"), pki.New(t, "adapters"), pki.New(t, "strangers")
	for _, test := range []struct {
		name        string
		server, own *pki.Authority
		serverName  string
		use         x509.ExtKeyUsage
		why         string
	}{
		{"an agent of another authority", stranger, clients, ServerName, x509.ExtKeyUsageClientAuth, "certificate signed by unknown authority"},
		{"a server that is no agent", ca, clients, "prometheus", x509.ExtKeyUsageClientAuth, "certificate is valid for prometheus, not headroom-agent"},
		{"an adapter of another authority", ca, stranger, ServerName, x509.ExtKeyUsageClientAuth, "has ended"}, // the server says why, unless it has hung up before it could,
		{"a server's certificate in an adapter's place", ca, clients, ServerName, x509.ExtKeyUsageServerAuth, "has ended"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &speaker{node: "n1", began: time.Now(), value: 0.5}
			address, _ := s.listen(t, "127.0.0.1:0", test.server, clients, test.serverName)
			n := runClient(t, ca, test.own, test.use)
			n.SetAddresses([]string{address})
			n.until(t, "a refusal", func() bool { return n.log.has(test.why) })
			if _, is := n.value(); is || s.watched > 0 {
				t.Errorf("heard %v, watched %d times", is, s.watched)
			}
		})
	}
}

func TestWrongFilesAreToldAtTheStart(t *testing.T) {
	ca := pki.New(t, "agents")
	cert, certKey := ca.Issue("adapter", x509.ExtKeyUsageClientAuth)
	for name, files := range map[string]TLSOptions{
		"no certificate": {CAFile: ca.File, CertFile: cert + "x", KeyFile: certKey},
		"no CA":          {CAFile: ca.File + "x", CertFile: cert, KeyFile: certKey},
		"a key for a CA": {CAFile: certKey, CertFile: cert, KeyFile: certKey},
	} {
		if _, err := New(Options{Store: store.New(), Wanted: func() []collect.Want { return nil }, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Now: time.Now, TLS: files}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
