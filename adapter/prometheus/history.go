package prometheus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// History is a backend asked for a long past. It implements forecaster/app's interface of the same name by shape: the
// sample type is the caller's.
type History struct{ client *Client }

// NewHistory is for a URL that a person gave on a command line.
func NewHistory(client *Client) *History { return &History{client: client} }

// pointsEach bounds one request: Prometheus refuses more than 11,000 points for a series.
const pointsEach = 10_000

// answerBytes bounds an answer of one series: a point is written in 50 bytes at most, and labels and warnings fit the rest.
func answerBytes(points int) int64 { return int64(64<<10 + 64*points) }

// Points reads the one series that a query gives over [from, to], every step, in as many requests as it takes. Several
// series are an error: which of them is meant?
func (h *History) Points(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]Point, error) {
	if step <= 0 || !from.Before(to) {
		return nil, fmt.Errorf("a history from %s to %s every %s", from, to, step)
	}
	var points []Point
	for start := from; !start.After(to); {
		end := start.Add(step * (pointsEach - 1))
		if end.After(to) {
			end = to
		}
		series, err := h.client.rangeWithin(ctx, query, start, end, step, answerBytes(int(end.Sub(start)/step)+1))
		if errors.Is(err, errTooLong) {
			return nil, fmt.Errorf("%w, or aggregate it to one series", err)
		}
		if err != nil {
			return nil, err
		}
		if len(series) > 1 {
			return nil, fmt.Errorf("the query gives %d series (such as %v and %v); aggregate it to one", len(series), series[0].Labels, series[1].Labels)
		}
		if len(series) == 1 {
			points = append(points, series[0].Points...)
		}
		start = end.Add(step)
	}
	return points, nil
}

// Now is the one sample that a query gives at the server's present time; false when it gives none. Several are an error.
func (h *History) Now(ctx context.Context, query string) (Point, bool, error) {
	samples, err := h.client.queryWithin(ctx, query, answerBytes(1))
	if err != nil || len(samples) == 0 {
		return Point{}, false, err
	}
	if len(samples) > 1 {
		return Point{}, false, fmt.Errorf("the query gives %d samples (such as %v and %v); aggregate it to one", len(samples), samples[0].Labels, samples[1].Labels)
	}
	return Point{At: samples[0].Evaluated, Value: samples[0].Value}, true, nil
}
