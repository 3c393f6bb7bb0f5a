package testbed

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is how often WaitFor looks.
const pollEvery = 100 * time.Millisecond

// WaitFor looks until it is done. The error says what was waited for and what was seen last.
func WaitFor(ctx context.Context, within time.Duration, what string, look func(ctx context.Context) (done bool, seen string)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	start := time.Now()
	last := "nothing"
	for {
		done, seen := look(ctx)
		if done {
			return nil
		}
		if ctx.Err() == nil {
			last = seen
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s; last seen: %s", time.Since(start).Round(time.Second), what, last)
		case <-time.After(pollEvery):
		}
	}
}
