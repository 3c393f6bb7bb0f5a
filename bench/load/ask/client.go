package ask

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Options say where an adapter is and who asks. Files are PEM.
type Options struct {
	URL    string      // https://host:port of an adapter, or of a kube-apiserver whose aggregator forwards
	TLS    *tls.Config // replaces the five fields below
	CAFile string      // trusted for the server; empty: the system's roots
	// ServerName replaces the URL's host in the check of the server's certificate; needed where a certificate is
	// issued for a Service's name and the request goes to its address.
	ServerName string
	// InsecureSkipVerify accepts any certificate: for adapters that sign their own, as most manifests in use do.
	InsecureSkipVerify bool
	// CertFile and KeyFile identify the client. Direct to an adapter this is the aggregator's front-proxy certificate,
	// with RemoteUser and RemoteGroups in the headers, exactly as kube-aggregator forwards a request.
	CertFile, KeyFile string
	RemoteUser        string
	RemoteGroups      []string
	Token             string        // bearer token, for kube-apiserver
	CustomVersion     string        // of custom.metrics.k8s.io; empty: v1beta2
	Connections       int           // HTTP/2 connections; 0: one, as kube-aggregator and the HPA controller hold
	Timeout           time.Duration // of one request; 0: one minute, kube-apiserver's own limit
}

// Client asks one adapter. It is safe for concurrent use; Close it to drop its connections.
type Client struct {
	base       string
	version    string
	header     http.Header
	timeout    time.Duration
	transports []*http.Transport
	next       atomic.Uint64
}

// NewClient reads the files of the options; it does not connect.
func NewClient(o Options) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("adapter URL %q: want https://host:port", o.URL)
	}
	tlsConfig := o.TLS
	if tlsConfig == nil {
		if tlsConfig, err = o.tls(); err != nil {
			return nil, err
		}
	}
	c := &Client{
		base:    strings.TrimSuffix(o.URL, "/"),
		version: o.CustomVersion,
		timeout: o.Timeout,
		header: http.Header{
			"Accept":     {"application/vnd.kubernetes.protobuf, */*"},
			"User-Agent": {"headroom-load"},
		},
	}
	if c.version == "" {
		c.version = "v1beta2"
	}
	if c.timeout == 0 {
		c.timeout = time.Minute
	}
	if o.Token != "" {
		c.header.Set("Authorization", "Bearer "+o.Token)
	}
	if o.RemoteUser != "" {
		c.header.Set("X-Remote-User", o.RemoteUser)
		c.header["X-Remote-Group"] = o.RemoteGroups
	}
	for range max(o.Connections, 1) {
		c.transports = append(c.transports, &http.Transport{
			TLSClientConfig:   tlsConfig.Clone(),
			ForceAttemptHTTP2: true,
			DialContext:       (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			// Go asks for gzip by itself, and so does client-go: kept.
			MaxIdleConnsPerHost: 64,
		})
	}
	return c, nil
}

func (o Options) tls() (*tls.Config, error) {
	config := &tls.Config{ServerName: o.ServerName, InsecureSkipVerify: o.InsecureSkipVerify} //nolint:gosec // opt-in, named so
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA %s: no certificate in it", o.CAFile)
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// Failure is why a request got no usable answer, in few words: the key under which a load counts it.
type Failure string

func (f Failure) Error() string { return string(f) }

// Ask sends one request and reads its answer to the end. The error is a Failure, or the context's own.
func (c *Client) Ask(ctx context.Context, t Target) (Answer, error) {
	return c.AskPath(ctx, t.Path(c.version), t.Items)
}

// AskPath is Ask for a path that was built before, so that a load does not build it again for every request.
func (c *Client) AskPath(ctx context.Context, path string, wantItems int) (Answer, error) {
	requestCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(requestCtx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return Answer{}, Failure("request cannot be built: " + err.Error())
	}
	request.Header = c.header
	transport := c.transports[c.next.Add(1)%uint64(len(c.transports))]
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Answer{}, c.transportFailure(ctx, err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		return Answer{}, c.transportFailure(ctx, err)
	}
	if response.StatusCode != http.StatusOK {
		return Answer{}, Failure(fmt.Sprintf("HTTP %d", response.StatusCode))
	}
	answer, err := Read(response.Header.Get("Content-Type"), body)
	switch {
	case err != nil:
		return Answer{}, Failure("unreadable answer")
	case answer.Items == 0:
		return answer, Failure("no items")
	case wantItems != 0 && answer.Items != wantItems:
		return answer, Failure(fmt.Sprintf("%d items, want %d", answer.Items, wantItems))
	}
	return answer, nil
}

// Paths renders the targets' paths once.
func (c *Client) Paths(targets []Target) []string {
	paths := make([]string, len(targets))
	for i, t := range targets {
		paths[i] = t.Path(c.version)
	}
	return paths
}

func (c *Client) transportFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var netError net.Error
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netError) && netError.Timeout():
		return Failure(fmt.Sprintf("no answer in %s", c.timeout))
	case errors.As(err, &op) && op.Op == "dial":
		return Failure("connection refused")
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return Failure("server certificate not trusted")
	}
	return Failure("connection lost")
}
