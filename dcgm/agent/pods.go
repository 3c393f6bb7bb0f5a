package agent

import (
	"context"
	"errors"
	"time"

	"github.com/headroom-autoscaler/headroom/dcgm/podmap"
)

// podsEvery is how often the kubelet is asked. A pod that starts takes longer than that to load anything.
const podsEvery = time.Second

// known is what is known of pods.
type known struct {
	*podmap.Map
	uids map[podmap.PodName]string
}

// followPods keeps what pods hold. What was known stands while the kubelet is away: podmap.KeepFor says for how long.
func (a *Agent) followPods(ctx context.Context) {
	opts := podmap.DefaultOptions()
	opts.Socket = a.opts.Pods.Socket
	kubelet, err := podmap.Dial(opts)
	if err != nil {
		a.log.Error("pods are not told", "error", err)
		return
	}
	defer kubelet.Close()
	var trouble, noUIDs bool
	every(ctx, podsEvery, func() bool {
		before := a.pods.Load()
		m, err := kubelet.List(ctx)
		if err != nil && before != nil && podmap.CanConfirm(err) {
			if confirmed, cannot := kubelet.Confirm(ctx, before.Map); cannot == nil {
				m, err = confirmed, nil
			}
		}
		if ctx.Err() != nil {
			return false
		}
		a.metrics.askedKubelet(err)
		switch {
		case err != nil:
			if !trouble {
				a.log.Warn("the kubelet does not say which pods hold what: what it said last stands", "for", podmap.KeepFor, "error", err)
			}
			trouble = !errors.Is(err, podmap.ErrPatience) || trouble
			return true
		case trouble:
			a.log.Info("the kubelet answers again")
		}
		trouble = false
		uids, err := podmap.UIDs(a.opts.Pods.Logs)
		if err != nil && !noUIDs {
			a.log.Warn("pods have no UIDs, and those that share a device cannot be told apart", "error", err)
		}
		noUIDs = err != nil
		a.pods.Store(&known{m, uids})
		return true
	})
}
