package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/headroom-autoscaler/headroom/dcgm/stream"
)

// maxSubscribers bounds who may watch at once: adapters are a handful, and one that comes back may be there twice for as long as a
// keep-alive.
const maxSubscribers = 32

// serve starts what is to be served. stop ends it.
func (a *Agent) serve(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for i := range stops {
			stops[len(stops)-1-i]()
		}
	}
	for _, endpoint := range []struct {
		flag, address string
		start         func(net.Listener) (func(), error)
	}{
		{"--metrics-bind-address", a.opts.MetricsAddress, a.serveMetrics},
		{"--stream-bind-address", a.opts.StreamAddress, a.serveStream},
	} {
		if !serves(endpoint.address) {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", endpoint.address)
		if err != nil {
			stop()
			return nil, fmt.Errorf("%s: %w", endpoint.flag, err)
		}
		end, err := endpoint.start(listener)
		if err != nil {
			listener.Close()
			stop()
			return nil, err
		}
		stops = append(stops, end)
		a.log.Info("serving", "what", endpoint.flag, "address", listener.Addr().String())
	}
	return stop, nil
}

// Handler answers /metrics, and /healthz while the process runs: it ends by itself when it cannot go on.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	alone := promhttp.HandlerFor(prometheus.Gatherers{a.process, a.ours}, promhttp.HandlerOpts{})
	twice := promhttp.HandlerFor(prometheus.Gatherers{a.process, a.both}, promhttp.HandlerOpts{})
	dialect, _ := a.opts.dialect()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if dialect == 0 || a.rival.Load() {
			alone.ServeHTTP(w, r)
			return
		}
		twice.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}

func (a *Agent) serveMetrics(listener net.Listener) (stop func(), err error) {
	server := &http.Server{Handler: a.Handler(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("metrics endpoint stopped", "error", err)
		}
	}()
	return func() { _ = server.Close() }, nil
}

func (a *Agent) serveStream(listener net.Listener) (stop func(), err error) {
	if _, err := a.opts.TLS.load(); err != nil { // wrong files are told at the start, not by the first adapter
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return a.opts.TLS.load() }}
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)), grpc.MaxConcurrentStreams(4), grpc.MaxRecvMsgSize(4<<10),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(10*time.Second),
	)
	stream.RegisterReadingsServer(server, &watchers{agent: a, free: make(chan struct{}, maxSubscribers)})
	go func() {
		if err := server.Serve(listener); err != nil {
			a.log.Error("stream stopped", "error", err)
		}
	}()
	return server.Stop, nil
}

// load reads the files.
func (o *TLSOptions) load() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert-file, --tls-private-key-file: %w", err)
	}
	pem, err := os.ReadFile(o.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("--client-ca-file: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--client-ca-file: %s: no certificate in it", o.ClientCAFile)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, NextProtos: []string{"h2"},
	}, nil
}

// watchers answers Watch.
type watchers struct {
	stream.UnimplementedReadingsServer
	agent *Agent
	free  chan struct{}
}

// Watch sends each new view, or the newest of those that came while the last was under way.
func (w *watchers) Watch(request *stream.WatchRequest, to grpc.ServerStreamingServer[stream.Update]) error {
	select {
	case w.free <- struct{}{}:
		defer func() { <-w.free }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d watch already", maxSubscribers)
	}
	a := w.agent
	a.metrics.subscribers.Inc()
	defer a.metrics.subscribers.Dec()
	from := ""
	if p, ok := peer.FromContext(to.Context()); ok {
		from = p.Addr.String()
	}
	a.log.Info("an adapter watches", "subscriber", request.GetSubscriber(), "from", from)
	defer a.log.Info("an adapter has gone", "subscriber", request.GetSubscriber(), "from", from)
	encoder := stream.NewEncoder(a.opts.Node, a.opts.Interval, a.began)
	for {
		view, next := a.hub.newest()
		if view != nil {
			u := encoder.Update(stream.State{Readings: view.Snapshot.Pods}, time.Now())
			if err := to.Send(u); err != nil {
				return err
			}
			a.metrics.messages.Inc()
			a.metrics.bytes.Add(float64(proto.Size(u)))
		}
		select {
		case <-next:
		case <-to.Context().Done():
			return nil
		}
	}
}
