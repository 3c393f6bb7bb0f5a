package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
)

// Series is one row of a range query's answer, oldest point first.
type Series struct {
	Labels map[string]string
	Points []Point
}

// Point is one value at one evaluation time.
type Point struct {
	At    time.Time
	Value float64
}

// envelope is what every endpoint of the API wraps its data in.
type envelope[T any] struct {
	Status    string   `json:"status"`
	Data      T        `json:"data"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	// IsPartial is VictoriaMetrics' word for an answer that lacks some storage nodes.
	IsPartial bool `json:"isPartial"`
}

type result struct {
	Type   string          `json:"resultType"`
	Result json.RawMessage `json:"result"`
}

// point is [seconds, "value"].
type point struct {
	at    time.Time
	value float64
}

func (p *point) UnmarshalJSON(data []byte) error {
	text := strings.TrimSuffix(strings.TrimPrefix(string(data), "["), "]")
	seconds, quoted, ok := strings.Cut(text, ",")
	if !ok {
		return fmt.Errorf("sample %q is not [seconds, \"value\"]", clip(text))
	}
	at, err := strconv.ParseFloat(strings.TrimSpace(seconds), 64)
	if err != nil || math.IsNaN(at) || math.IsInf(at, 0) || math.Abs(at) > 1e12 {
		return fmt.Errorf("sample time %q is not a number of seconds", clip(seconds))
	}
	value, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(quoted), `"`), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range reads as an infinity, which is what it is
		return fmt.Errorf("sample value %q is not a number", clip(quoted))
	}
	p.at, p.value = time.UnixMilli(int64(math.Round(at*1000))), value
	return nil
}

func readVector(body io.Reader) ([]collect.Sample, error) {
	data, err := readEnvelope[result](body)
	if err != nil {
		return nil, err
	}
	switch data.Type {
	case "vector":
		var rows []struct {
			Metric map[string]string `json:"metric"`
			Value  *point            `json:"value"`
		}
		if err := json.Unmarshal(data.Result, &rows); err != nil {
			return nil, fmt.Errorf("read vector: %w", err)
		}
		samples := make([]collect.Sample, 0, len(rows))
		for _, row := range rows {
			if row.Value == nil {
				continue // a native histogram: no number to serve
			}
			samples = append(samples, collect.Sample{Labels: row.Metric, Value: row.Value.value, Evaluated: row.Value.at})
		}
		return samples, nil
	case "scalar":
		var p point
		if err := json.Unmarshal(data.Result, &p); err != nil {
			return nil, fmt.Errorf("read scalar: %w", err)
		}
		return []collect.Sample{{Value: p.value, Evaluated: p.at}}, nil
	default:
		return nil, fmt.Errorf("the query gives a %s; a rule's query must give an instant vector or a scalar", orDefault(data.Type, "result of no type"))
	}
}

func readMatrix(body io.Reader) ([]Series, error) {
	data, err := readEnvelope[result](body)
	if err != nil {
		return nil, err
	}
	if data.Type != "matrix" {
		return nil, fmt.Errorf("a range query gave a %s instead of a matrix", orDefault(data.Type, "result of no type"))
	}
	var rows []struct {
		Metric map[string]string `json:"metric"`
		Values []point           `json:"values"`
	}
	if err := json.Unmarshal(data.Result, &rows); err != nil {
		return nil, fmt.Errorf("read matrix: %w", err)
	}
	series := make([]Series, len(rows))
	for i, row := range rows {
		series[i] = Series{Labels: row.Metric, Points: make([]Point, len(row.Values))}
		for j, p := range row.Values {
			series[i].Points[j] = Point{At: p.at, Value: p.value}
		}
	}
	return series, nil
}

func readStrings(body io.Reader) ([]string, error) { return readEnvelope[[]string](body) }

func readEnvelope[T any](body io.Reader) (T, error) {
	var answer envelope[T]
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return answer.Data, fmt.Errorf("read answer: %w", err)
	}
	if answer.Status != "success" {
		return answer.Data, &refusal{kind: answer.ErrorType, text: answer.Error}
	}
	if answer.IsPartial {
		return answer.Data, &refusal{kind: "partial", text: "the answer lacks some storage nodes"}
	}
	for _, warning := range answer.Warnings {
		// Thanos reports a store that did not answer as a warning when it was not asked, or not able, to refuse.
		if w := strings.ToLower(warning); strings.Contains(w, "partial") || strings.Contains(w, "receive series from") || strings.Contains(w, "no store") {
			return answer.Data, &refusal{kind: "partial", text: clip(warning)}
		}
	}
	return answer.Data, nil
}

// refusal is an error that the server itself gave.
type refusal struct {
	code int // HTTP status, 0 when the refusal came with a 200
	kind string
	text string
}

func (r *refusal) Error() string {
	switch {
	case r.kind != "" && r.text != "":
		return r.kind + ": " + clip(r.text)
	case r.text != "":
		return clip(r.text)
	default:
		return fmt.Sprintf("HTTP %d %s", r.code, http.StatusText(r.code))
	}
}

// tryNext says whether another URL of the backend may do better: a query that is wrong is wrong everywhere.
func (r *refusal) tryNext() bool {
	return r.kind != "bad_data" && r.code != http.StatusUnprocessableEntity
}

func readRefusal(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	r := &refusal{code: response.StatusCode}
	var answer envelope[json.RawMessage]
	if json.Unmarshal(text, &answer) == nil && answer.Error != "" {
		r.kind, r.text = answer.ErrorType, answer.Error
	}
	return r
}

// boundedReader fails, instead of ending early, once more than left bytes were asked for: half an answer must not parse.
type boundedReader struct {
	reader io.Reader
	left   int64
	bound  int64 // what left began with
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w %s: narrow the rule's query", errTooLong, size(b.bound))
	}
	n, err := b.reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

var errTooLong = errors.New("the answer is longer than")

func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// plain takes the request's URL, with its long query, out of net/http's errors, and names a timeout as one.
func plain(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	return err
}

func redact(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	return "(unreadable)"
}

func clip(text string) string {
	const most = 300
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
