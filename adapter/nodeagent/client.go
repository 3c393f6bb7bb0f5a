package nodeagent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/store"
)

// Options are what a Client stands on.
type Options struct {
	Store *store.Store
	// Wanted are the keys worth delivering.
	Wanted func() []collect.Want
	// Bound says whether a pod is on a node, as far as the cluster says; nil for believing every agent.
	Bound      func(node, namespace, pod string) bool
	TLS        TLSOptions
	Subscriber string // this replica's name, for the agents' logs
	Registerer prometheus.Registerer
	Log        *slog.Logger
	Now        func() time.Time // as time.Now: monotonic
}

// Client watches agents. Run it once; addresses may be set before and meanwhile.
type Client struct {
	opts    Options
	began   time.Time // the zero of the receiver's clock
	own     *own
	changed chan struct{}

	mu        sync.Mutex
	addresses []string
	watched   map[string]*watched // by address
}

// New makes a client that watches nobody.
func New(o Options) (*Client, error) {
	if o.Store == nil || o.Wanted == nil || o.Registerer == nil || o.Log == nil || o.Now == nil {
		return nil, fmt.Errorf("node agents: a store, what is wanted, a registry, a logger and a clock are needed")
	}
	if _, err := o.TLS.load(); err != nil { // told at the start, not once for each agent
		return nil, fmt.Errorf("node agents: %w", err)
	}
	c := &Client{opts: o, began: o.Now(), changed: make(chan struct{}, 1), watched: map[string]*watched{}}
	c.own = newOwn(o.Registerer)
	return c, nil
}

// SetAddresses says where the agents are, as host:port. Those that were there before and are not now are left.
func (c *Client) SetAddresses(addresses []string) {
	c.mu.Lock()
	c.addresses = slices.Clone(addresses)
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

const (
	// deliverEvery is half an agent's interval, so that a reading waits for no more than that. Where delivering takes long, as with 50,000 pods,
	// it is done less often, so that it takes deliverShare of a core at most.
	deliverEvery   = 500 * time.Millisecond
	deliverAtLeast = time.Second
	deliverShare   = 0.1
	resolveEvery   = 10 * time.Second
)

// Follow keeps the addresses that a headless Service's name has, until the context ends. While the name cannot be looked up the last ones
// stand.
func (c *Client) Follow(ctx context.Context, hostport string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		c.opts.Log.Error("node agents", "address", hostport, "error", err)
		return
	}
	ticker := time.NewTicker(resolveEvery)
	defer ticker.Stop()
	trouble := false
	for {
		hosts, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil != trouble && ctx.Err() == nil {
			trouble = err != nil
			c.opts.Log.Info("addresses of node agents", "name", host, "found", len(hosts), "error", err)
		}
		if err == nil {
			var addresses []string
			for _, h := range hosts {
				addresses = append(addresses, net.JoinHostPort(h, port))
			}
			c.SetAddresses(addresses)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Run watches the agents and delivers what they say, until the context ends.
func (c *Client) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	next := time.NewTimer(deliverEvery)
	defer next.Stop()
	ends := map[string]context.CancelFunc{}
	defer func() {
		for _, end := range ends {
			end()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			began := time.Now()
			c.Deliver(c.opts.Now())
			took := time.Since(began)
			next.Reset(max(deliverEvery, min(deliverAtLeast, time.Duration(float64(took)/deliverShare))) - took)
		case <-c.changed:
			c.reconcile(ctx, ends, &work)
		}
	}
}

// reconcile starts watching new addresses and leaves those that are gone.
func (c *Client) reconcile(ctx context.Context, ends map[string]context.CancelFunc, work *sync.WaitGroup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for address, end := range ends {
		if !slices.Contains(c.addresses, address) {
			end()
			delete(ends, address)
			delete(c.watched, address)
		}
	}
	first := firstWait + time.Duration(len(c.addresses))*eachWait
	for _, address := range c.addresses {
		if _, known := ends[address]; known {
			continue
		}
		w := &watched{client: c, address: address}
		c.watched[address] = w
		mine, end := context.WithCancel(ctx)
		ends[address] = end
		work.Go(func() { w.run(mine, first) })
	}
	c.own.known.Set(float64(len(ends)))
}

// readers are those of all agents, one for each node.
func (c *Client) readers() []*reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	byNode, heard := map[string]*reader{}, map[string]time.Time{}
	for _, w := range c.watched {
		r := w.reader.Load()
		if r == nil {
			continue
		}
		node, received := r.who()
		if received.After(heard[node]) { // an agent with two addresses counts once
			byNode[node], heard[node] = r, received
		}
	}
	return slices.Collect(maps.Values(byNode))
}
