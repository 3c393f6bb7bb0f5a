package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// maxScrape bounds what a dcgm-exporter may answer: 50,000 rows of 600 bytes.
const maxScrape = 32 << 20

// rivalEvery is how often a dcgm-exporter is looked for that is not read.
const rivalEvery = 30 * time.Second

// followExporter reads this node's dcgm-exporter while something has no other source, and, where its names are shown here too, notes whether it
// answers: then they would be there twice.
func (a *Agent) followExporter(ctx context.Context) {
	dialect, _ := a.opts.dialect()
	client := &http.Client{Timeout: max(a.opts.Interval, time.Second)}
	var trouble bool
	var asked time.Time
	every(ctx, a.opts.Interval, func() bool {
		if !a.wanted.Load() && (dialect == 0 || time.Since(asked) < rivalEvery) {
			return true
		}
		asked = time.Now()
		rows, err := scrape(ctx, client, a.opts.DCGM.URL)
		if ctx.Err() != nil {
			return false
		}
		a.metrics.scraped(err)
		if err != nil != trouble {
			trouble = err != nil
			a.log.Info("dcgm-exporter", "answers", err == nil, "error", err)
		}
		if is := dialect != 0 && err == nil && len(rows) > 0; a.rival.Swap(is) != is {
			a.log.Warn("metrics in dcgm-exporter's names", "shown", !is, "why", "a dcgm-exporter on this node shows them, or no longer does")
		}
		view, _ := a.hub.newest()
		if err != nil || view == nil || view.Inventory == nil {
			return true
		}
		readings, refused := dcgm.FromExporter(rows, view.Inventory, a.opts.DCGM.CorrectGraphics, time.Now(), a.opts.DCGM.Interval)
		a.metrics.refusedOfExporter(refused)
		a.scraped.Store(&readings)
		return true
	})
}

func scrape(ctx context.Context, client *http.Client, url string) ([]dcgm.Row, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("dcgm-exporter: %w", err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("dcgm-exporter: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("dcgm-exporter: %s", answer.Status)
	}
	return dcgm.ParseExposition(io.LimitReader(answer.Body, maxScrape), func(name string) bool {
		_, ours := dcgm.FieldOf(name)
		return ours || name == dcgm.FieldFree
	})
}
