package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/headroom-autoscaler/headroom/forecaster"
)

// ErrAnswer means that the service did answer, but with nothing that can be offered.
var ErrAnswer = errors.New("unusable answer of the outside forecast")

// maxAnswer bounds an answer, in bytes: a few leads need a few hundred.
const maxAnswer = 64 << 10

// Question is what is posted: demand up to From, oldest bin first. A bin about which nothing is known is null.
type Question struct {
	Series      string     `json:"series"`
	From        int64      `json:"from"` // Unix seconds: the end of the last bin, where the horizon starts
	StepSeconds int64      `json:"stepSeconds"`
	Demand      []*float64 `json:"demand"`
	LeadSeconds []int64    `json:"leadSeconds"`
}

// Answer repeats From and gives the expected maximum of demand over (From, From+lead] for some or all of the leads.
type Answer struct {
	From  int64     `json:"from"`
	Leads []Maximum `json:"leads"`
}

// Maximum is the forecast for one lead: a middle value, not a high quantile. The engine finds the spread itself.
type Maximum struct {
	LeadSeconds int64   `json:"leadSeconds"`
	Maximum     float64 `json:"maximum"`
}

// Client asks one service. It may be used by many goroutines.
type Client struct {
	url     string
	timeout time.Duration
	http    *http.Client
}

// New returns a client for the service at address. timeout bounds a question with everything that belongs to it; keep it well
// below the step. transport is for TLS and credentials; nil is http.DefaultTransport.
func New(address string, timeout time.Duration, transport http.RoundTripper) (*Client, error) {
	var all []error
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		all = append(all, fmt.Errorf("url: %q: must be an http or https URL", address))
	}
	if timeout <= 0 || timeout > time.Minute {
		all = append(all, fmt.Errorf("timeout: %v: must be above 0 and at most 1m", timeout))
	}
	if err := errors.Join(all...); err != nil {
		return nil, err
	}
	return &Client{url: address, timeout: timeout, http: &http.Client{
		Transport: transport,
		// A redirected POST may lose its body and ends where nobody configured it to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// NewQuestion asks for the leads after the series' last bin.
func NewQuestion(name string, s forecaster.Series, leads []time.Duration) Question {
	q := Question{Series: name, From: s.At(len(s.Bins)).Unix(), StepSeconds: int64(s.Step / time.Second)}
	for _, o := range s.Bins {
		if v, ok := o.Number(); ok {
			q.Demand = append(q.Demand, &v)
		} else {
			q.Demand = append(q.Demand, nil)
		}
	}
	for _, l := range leads {
		q.LeadSeconds = append(q.LeadSeconds, int64(l/time.Second))
	}
	return q
}

// Ask posts q and returns an answer that is sound: for q's moment and leads, each once, finite and not negative.
func (c *Client) Ask(ctx context.Context, q Question) (Answer, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return Answer{}, fmt.Errorf("outside forecast: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("outside forecast: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("outside forecast: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("%w: status %s", ErrAnswer, response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return Answer{}, fmt.Errorf("outside forecast: %w", err)
	}
	if len(text) > maxAnswer {
		return Answer{}, fmt.Errorf("%w: longer than %d bytes", ErrAnswer, maxAnswer)
	}
	return parse(text, q)
}

func parse(text []byte, q Question) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(text, &a); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	var all []error
	if a.From != q.From {
		all = append(all, fmt.Errorf("from: %d: must be %d, as asked", a.From, q.From))
	}
	if len(a.Leads) == 0 {
		all = append(all, errors.New("leads: none: must be at least one"))
	}
	seen := map[int64]bool{}
	for i, l := range a.Leads {
		if !slices.Contains(q.LeadSeconds, l.LeadSeconds) || seen[l.LeadSeconds] {
			all = append(all, fmt.Errorf("leads[%d].leadSeconds: %d: must be one of %v, once", i, l.LeadSeconds, q.LeadSeconds))
		}
		seen[l.LeadSeconds] = true
		if !(l.Maximum >= 0) || math.IsInf(l.Maximum, 0) {
			all = append(all, fmt.Errorf("leads[%d].maximum: %v: must be finite and not negative", i, l.Maximum))
		}
	}
	if err := errors.Join(all...); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return a, nil
}

// Offer hands a to the engine and returns how many leads it took.
func (a Answer) Offer(e *forecaster.Engine) int {
	n := 0
	for _, l := range a.Leads {
		if e.Offer(time.Unix(a.From, 0), time.Duration(l.LeadSeconds)*time.Second, l.Maximum) {
			n++
		}
	}
	return n
}
