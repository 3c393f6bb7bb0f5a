package prometheus

import (
	"context"
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
		series, err := h.client.Range(ctx, query, start, end, step)
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
