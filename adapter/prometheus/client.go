package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/config"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

const (
	// defaultMaxGetLength is how long a request's query string may be before POST is used. Proxies in front of
	// Prometheus commonly refuse request lines over 8 KiB (nginx, HAProxy) and some over 2 KiB.
	defaultMaxGetLength = 2000
	// defaultTimeout bounds one query. It is below the HPA's period of 15 s, so that a lost query costs one round.
	defaultTimeout = 10 * time.Second
	// firstAgainAfter is how long a backend that failed over stays with the later URL before the first is tried again.
	firstAgainAfter = 30 * time.Second
	// maxAnswerBytes bounds what one answer may take in memory: about 250,000 samples of 256 bytes.
	maxAnswerBytes = 64 << 20
)

// Client asks one backend. It is safe for concurrent use.
type Client struct {
	name         string
	urls         []*url.URL
	http         *http.Client
	timeout      time.Duration
	maxGetLength int
	metrics      *Metrics

	// preferred is the index of the URL that answered last, and since when it is not the first.
	preferred atomic.Pointer[preference]
}

type preference struct {
	index int
	since time.Time
}

// New builds a client for one backend of the configuration. Files are read when used, so a token or certificate that
// appears or changes later needs no restart; what cannot be right now (a malformed URL) is an error.
func New(backend rules.Backend, metrics *Metrics) (*Client, error) {
	if len(backend.URLs) == 0 {
		return nil, fmt.Errorf("backend %s: no URL", backend.Name)
	}
	urls := make([]*url.URL, 0, len(backend.URLs))
	for _, raw := range backend.URLs {
		parsed, err := url.Parse(raw)
		if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
			return nil, fmt.Errorf("backend %s: %q is no URL of the form http(s)://host[:port][/path]", backend.Name, redact(raw))
		}
		urls = append(urls, parsed)
	}
	transport, err := roundTripper(backend)
	if err != nil {
		return nil, fmt.Errorf("backend %s: %w", backend.Name, err)
	}
	c := &Client{
		name:         backend.Name,
		urls:         urls,
		http:         &http.Client{Transport: transport},
		timeout:      orDefault(backend.Timeout, defaultTimeout),
		maxGetLength: orDefault(backend.MaxGetLength, defaultMaxGetLength),
		metrics:      metrics,
	}
	c.preferred.Store(&preference{})
	return c, nil
}

// roundTripper leaves credentials and TLS to prometheus/common, whose transports read token, password, key, certificate
// and CA files again when they change.
func roundTripper(backend rules.Backend) (http.RoundTripper, error) {
	cfg := config.DefaultHTTPClientConfig
	if backend.BearerTokenFile != "" {
		cfg.Authorization = &config.Authorization{Type: "Bearer", CredentialsFile: backend.BearerTokenFile}
	}
	if basic := backend.BasicAuth; basic != nil {
		cfg.BasicAuth = &config.BasicAuth{Username: basic.Username, PasswordFile: basic.PasswordFile}
	}
	cfg.TLSConfig = config.TLSConfig{
		CAFile: backend.TLS.CAFile, CertFile: backend.TLS.CertFile, KeyFile: backend.TLS.KeyFile, ServerName: backend.TLS.ServerName,
	}
	if len(backend.Headers) > 0 {
		cfg.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{}}
		for name, values := range backend.Headers {
			cfg.HTTPHeaders.Headers[name] = config.Header{Values: values}
		}
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return config.NewRoundTripperFromConfig(cfg, "headroom", config.WithUserAgent("headroom"))
}

// Name is the backend's name in the configuration.
func (c *Client) Name() string { return c.name }

// Timeout bounds one request.
func (c *Client) Timeout() time.Duration { return c.timeout }

// Query evaluates an instant query at the server's own present time. The samples carry the evaluation's time, not the
// scrape's: age needs a query of its own.
func (c *Client) Query(ctx context.Context, expr string) ([]collect.Sample, error) {
	return c.queryWithin(ctx, expr, maxAnswerBytes)
}

// queryWithin refuses an answer of more than some bytes.
func (c *Client) queryWithin(ctx context.Context, expr string, most int64) ([]collect.Sample, error) {
	var samples []collect.Sample
	err := c.ask(ctx, "query", url.Values{"query": {expr}}, func(body io.Reader) (err error) {
		samples, err = readVector(&boundedReader{reader: body, left: most, bound: most})
		return err
	})
	return samples, err
}

// SeriesNames lists the names of the series that match and had a sample within the last lookback.
func (c *Client) SeriesNames(ctx context.Context, match string, lookback time.Duration) ([]string, error) {
	return c.strings(ctx, "label/__name__/values", match, lookback)
}

// LabelNames lists the label names that the matching series carry.
func (c *Client) LabelNames(ctx context.Context, match string, lookback time.Duration) ([]string, error) {
	return c.strings(ctx, "labels", match, lookback)
}

func (c *Client) strings(ctx context.Context, endpoint, match string, lookback time.Duration) ([]string, error) {
	form := url.Values{"match[]": {match}}
	if lookback > 0 {
		form.Set("start", strconv.FormatInt(time.Now().Add(-lookback).Unix(), 10))
	}
	var values []string
	err := c.ask(ctx, endpoint, form, func(body io.Reader) (err error) {
		values, err = readStrings(body)
		return err
	})
	return values, err
}

// Range evaluates a query over [from, to] every step. Bounding the number of points is the caller's business: Prometheus
// refuses more than 11,000 for each series.
func (c *Client) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Series, error) {
	return c.rangeWithin(ctx, expr, from, to, step, maxAnswerBytes)
}

// rangeWithin refuses an answer of more than some bytes.
func (c *Client) rangeWithin(ctx context.Context, expr string, from, to time.Time, step time.Duration, most int64) ([]Series, error) {
	form := url.Values{
		"query": {expr},
		"start": {formatTime(from)},
		"end":   {formatTime(to)},
		"step":  {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	}
	var series []Series
	err := c.ask(ctx, "query_range", form, func(body io.Reader) (err error) {
		series, err = readMatrix(&boundedReader{reader: body, left: most, bound: most})
		return err
	})
	return series, err
}

// ask tries the URLs in order, beginning with the one that answered last, until one answers or the deadline is over.
func (c *Client) ask(ctx context.Context, endpoint string, form url.Values, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	first := c.firstURL(time.Now())
	var failures []error
	for i := range c.urls {
		index := (first + i) % len(c.urls)
		err := c.askOne(ctx, c.urls[index], endpoint, form, len(c.urls)-i, read)
		if err == nil {
			c.remember(index, time.Now())
			return nil
		}
		failures = append(failures, err)
		var refused *refusal
		if (errors.As(err, &refused) && !refused.tryNext()) || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

// askOne sends one request. untried counts this URL and those after it: the time left is shared among them, so that a
// hung first URL does not eat the others' chance.
func (c *Client) askOne(ctx context.Context, base *url.URL, endpoint string, form url.Values, untried int, read func(io.Reader) error) error {
	start := time.Now()
	if deadline, ok := ctx.Deadline(); ok && untried > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(untried))
		defer cancel()
	}
	err := c.send(ctx, base, endpoint, form, read)
	if err != nil {
		err = fmt.Errorf("%s of backend %s (%s): %w", endpoint, c.name, base.Redacted(), plain(err))
	}
	c.metrics.observe(c.name, endpoint, time.Since(start), err)
	return err
}

func (c *Client) send(ctx context.Context, base *url.URL, endpoint string, form url.Values, read func(io.Reader) error) error {
	request, err := c.request(ctx, base, endpoint, form)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() {
		// Reading the rest lets the connection be used again; the bound keeps a babbling server from holding us.
		_, _ = io.CopyN(io.Discard, response.Body, 4096)
		_ = response.Body.Close()
	}()
	if response.StatusCode/100 != 2 {
		return readRefusal(response)
	}
	return read(&boundedReader{reader: response.Body, left: maxAnswerBytes, bound: maxAnswerBytes})
}

func (c *Client) request(ctx context.Context, base *url.URL, endpoint string, form url.Values) (*http.Request, error) {
	target := base.JoinPath("api/v1", endpoint)
	params := base.Query() // such as ?tenant=a in the backend's URL
	maps.Copy(params, form)
	if deadline, ok := ctx.Deadline(); ok {
		// Seconds without a unit: Prometheus refuses "1.5s" (its durations have whole numbers), and takes a plain number.
		params.Set("timeout", strconv.FormatFloat(max(time.Until(deadline).Seconds(), 0.001), 'f', 3, 64))
	}
	// Both spellings ask for an error instead of half an answer: Thanos, then VictoriaMetrics. Others ignore them.
	params.Set("partial_response", "false")
	params.Set("deny_partial_response", "1")

	encoded := params.Encode()
	if len(encoded) <= c.maxGetLength || endpoint == "label/__name__/values" { // the last one has no POST form
		target.RawQuery = encoded
		return http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	}
	target.RawQuery = ""
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(encoded))
	if err == nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return request, err
}

func (c *Client) firstURL(now time.Time) int {
	p := c.preferred.Load()
	if p.index != 0 && now.Sub(p.since) > firstAgainAfter {
		return 0
	}
	return p.index
}

func (c *Client) remember(index int, now time.Time) {
	if p := c.preferred.Load(); p.index != index || index != 0 && now.Sub(p.since) > firstAgainAfter {
		c.preferred.Store(&preference{index: index, since: now})
	}
}

// Close ends idle connections; requests under way finish by themselves.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func formatTime(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
