package testbed

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Exporter is a scrape target whose text a test decides.
type Exporter struct {
	listener net.Listener
	server   *http.Server

	mu   sync.Mutex
	text func(now time.Time) string
	down bool
}

// NewExporter listens on a free port of loopback and exports nothing yet.
func NewExporter() (*Exporter, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &Exporter{listener: listener, text: func(time.Time) string { return "" }}
	e.server = &http.Server{Handler: http.HandlerFunc(e.serve), ReadHeaderTimeout: time.Second}
	go func() { _ = e.server.Serve(listener) }() // ends with Close
	return e, nil
}

// Address is host:port, as Prometheus takes it.
func (e *Exporter) Address() string { return e.listener.Addr().String() }

// Export replaces the text, in the text exposition format.
func (e *Exporter) Export(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	e.ExportFunc(func(time.Time) string { return text })
}

// ExportFunc replaces the text by what the function says at each scrape.
func (e *Exporter) ExportFunc(text func(now time.Time) string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text = text
}

// Fail makes scrapes fail, or succeed again.
func (e *Exporter) Fail(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
}

// Close stops listening.
func (e *Exporter) Close() { _ = e.server.Close() }

func (e *Exporter) serve(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	text, down := e.text, e.down
	e.mu.Unlock()
	if down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = io.WriteString(w, text(time.Now())) // the scraper is gone if this fails
}
