package nodeagent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/headroom-autoscaler/headroom/dcgm/stream"
)

// ServerName is the name that every agent's certificate has.
const ServerName = "headroom-agent"

// TLSOptions are files, read again for each connection.
type TLSOptions struct {
	CAFile            string // of the agents' certificate
	CertFile, KeyFile string // shown to agents
}

func (o *TLSOptions) load() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("CA of agents: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA of agents: %s: no certificate in it", o.CAFile)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, ServerName: ServerName, RootCAs: roots, Certificates: []tls.Certificate{own}}, nil
}

// watched is one agent's address.
type watched struct {
	client  *Client
	address string
	reader  atomic.Pointer[reader] // of the present stream, or of the last: its numbers age
}

// A thousand agents, restarted with a new version of the chart, are not to be dialled at once, nor is one that is down every second.
const (
	firstWait  = time.Second          // at most, and as much more for each agent: a handshake takes both sides some
	eachWait   = 2 * time.Millisecond // milliseconds of a core
	minWait    = 500 * time.Millisecond
	maxWait    = 15 * time.Second
	wellAfter  = 10 * time.Second // a stream that lasted so long was a good one
	dialWithin = 5 * time.Second
)

// run watches until the context ends, from some time within first.
func (w *watched) run(ctx context.Context, first time.Duration) {
	log := w.client.opts.Log.With("agent", w.address)
	wait, trouble := minWait, false
	if !sleep(ctx, rand.N(first)) {
		return
	}
	for ctx.Err() == nil {
		began := w.client.opts.Now()
		err := w.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		w.client.own.failures.Inc()
		if !trouble {
			log.Warn("the stream of a node agent has ended: its pods' numbers go stale", "error", err)
		}
		if w.client.opts.Now().Sub(began) >= wellAfter {
			wait, trouble = minWait, false
		} else {
			trouble = true
		}
		if !sleep(ctx, wait/2+rand.N(wait)) {
			return
		}
		wait = min(2*wait, maxWait)
	}
}

// watch opens one stream and reads it to its end.
func (w *watched) watch(ctx context.Context) error {
	config, err := w.client.opts.TLS.load()
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///"+w.address, grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: dialWithin}),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10), // a stream carries 2 KiB a second, and there may be a thousand
		grpc.WithDisableServiceConfig(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, err := stream.NewReadingsClient(conn).Watch(ctx, &stream.WatchRequest{Subscriber: w.client.opts.Subscriber})
	if err != nil {
		return err
	}
	w.client.own.connected.Inc()
	defer w.client.own.connected.Dec()
	return w.read(messages.Recv)
}

// maxMessage bounds a message: MaxSeries descriptions of some 250 bytes.
const maxMessage = 16 << 20

// read takes messages until there are no more.
func (w *watched) read(next func() (*stream.Update, error)) error {
	r := newReader(w.client.began)
	for begun := false; ; begun = true {
		u, err := next()
		if err != nil {
			return err
		}
		delay, err := r.take(u, w.client.opts.Now())
		if err != nil {
			return fmt.Errorf("message: %w", err)
		}
		w.client.own.messages.Inc()
		w.client.own.delay.Observe(delay.Seconds())
		if !begun { // with something to say
			w.reader.Store(r)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
