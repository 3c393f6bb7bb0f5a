package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/prometheus"
	"github.com/headroom-autoscaler/headroom/adapter/rules"
)

// watchEvery is how often the rules file is read to see whether it changed. Reading it is the one way that works alike
// for files, for ConfigMaps (whose mounts swap symbolic links) and for network file systems.
const watchEvery = 2 * time.Second

// configuration keeps the collector on what the rules file says.
type configuration struct {
	options   *Options
	collector *collect.Collector
	metrics   *metrics
	backend   *prometheus.Metrics
	log       *slog.Logger

	read    []byte // what was read last, good or bad
	clients []*prometheus.Client
}

// load reads the file and, if all of it is good, makes it the one in use. Whatever can fail does so before anything that
// is in use is touched.
func (c *configuration) load() error {
	data, err := os.ReadFile(c.options.ConfigFile)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	c.read = data
	parsed, err := parse(c.options, data)
	if err != nil {
		return err
	}
	backends, clients, err := c.connect(parsed)
	if err != nil {
		return err
	}
	for _, warning := range parsed.Warnings {
		c.log.Warn("configuration", "problem", warning.String())
	}
	for _, overlap := range overlaps(parsed) {
		c.log.Warn("configuration", "overlap", describeOverlap(overlap))
	}
	c.collector.Use(parsed, backends)
	for _, client := range c.clients {
		client.Close()
	}
	c.clients = clients
	return nil
}

// parse reads a rules file as the options say. It is also what check does.
func parse(o *Options, data []byte) (*rules.Config, error) {
	parse := rules.ParseOptions{Strict: o.Strict, Legacy: o.Legacy}
	if b, ok := o.backend(); ok {
		parse.Backends = []string{b.Name}
	}
	parsed, err := rules.Parse(o.ConfigFile, data, parse)
	if err != nil {
		return nil, fmt.Errorf("configuration refused:\n%w", err)
	}
	if _, ok := o.backend(); !ok && len(parsed.Backends) == 0 {
		return nil, errors.New("no backend: give --prometheus-url, or backends: in the rules file")
	}
	return parsed, nil
}

// connect builds a client for every backend. A rule that names none uses the command line's, else the first.
func (c *configuration) connect(parsed *rules.Config) (map[string]collect.Backend, []*prometheus.Client, error) {
	all := parsed.Backends
	if b, ok := c.options.backend(); ok {
		all = append([]rules.Backend{b}, all...)
	}
	backends := make(map[string]collect.Backend, len(all)+1)
	var clients []*prometheus.Client
	var problems []error
	for i, b := range all {
		if _, twice := backends[b.Name]; twice {
			problems = append(problems, fmt.Errorf("backends: %q is the name of the backend that --prometheus-url describes; give another", b.Name))
			continue
		}
		client, err := prometheus.New(b, c.backend)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		clients = append(clients, client)
		backends[b.Name] = collect.Backend{Name: b.Name, Querier: client, MatchLabels: b.MatchLabels}
		if i == 0 {
			backends[""] = backends[b.Name]
		}
	}
	return backends, clients, errors.Join(problems...)
}

// watch reloads the file when it changes, until the context ends.
func (c *configuration) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		data, err := os.ReadFile(c.options.ConfigFile)
		if err != nil || bytes.Equal(data, c.read) {
			continue // a file that is missing for a moment is one that is being replaced
		}
		err = c.load()
		c.metrics.reloaded(err, time.Now())
		if err != nil {
			c.log.Error("the changed configuration is refused, the one in use stays", "file", c.options.ConfigFile, "error", err)
			continue
		}
		c.log.Info("configuration reloaded", "file", c.options.ConfigFile)
	}
}
