package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/headroom-autoscaler/headroom/bench/load/ask"
)

// A subject is an adapter under measurement: a process, and a client that asks it as kube-aggregator would.
type subject struct {
	name   string
	pid    int
	port   int
	client *ask.Client
	log    string
	exited chan struct{}
	cmd    *exec.Cmd
}

// Commands of the two adapters. Words in braces are filled in: see Bed.start. Both have the same authorization cache, so
// that neither asks kube-apiserver "may it?" more often than the other.
const (
	HeadroomCommand = "{headroom} serve --config={config} --prometheus-url={prometheus} --kubeconfig={kubeconfig} " +
		"--bind-address=127.0.0.1 --secure-port={port} --tls-cert-file={cert} --tls-private-key-file={key} " +
		"--authentication-kubeconfig={kubeconfig} --authorization-kubeconfig={kubeconfig} " +
		"--authorization-webhook-cache-authorized-ttl=2m --metrics-bind-address=127.0.0.1:0 --log-level=warn"
	emptyCommand = "{empty} --lister-kubeconfig={kubeconfig} --bind-address=127.0.0.1 --secure-port={port} " +
		"--tls-cert-file={cert} --tls-private-key-file={key} --authentication-kubeconfig={kubeconfig} " +
		"--authorization-kubeconfig={kubeconfig} --authorization-webhook-cache-authorized-ttl=2m"
)

// start runs an adapter and returns as soon as the process exists; ready waits for its first answer.
func (b *Bed) start(ctx context.Context, name, command string) (*subject, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("{headroom}", b.Headroom, "{empty}", b.Empty, "{config}", b.Rules, "{prometheus}", b.PrometheusURL,
		"{kubeconfig}", b.AdapterKubeconfig, "{cert}", b.ServingCert, "{key}", b.ServingKey, "{port}", strconv.Itoa(port))
	words := strings.Fields(command)
	for i, w := range words {
		words[i] = fill.Replace(w)
	}
	s := &subject{name: name, port: port, log: filepath.Join(b.Dir, name+"-"+strconv.Itoa(port)+".log"), exited: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.pid = s.cmd.Process.Pid
	go func() { _ = s.cmd.Wait(); close(s.exited) }()
	context.AfterFunc(ctx, s.stop) // an interrupted run leaves nothing behind
	s.client, err = ask.NewClient(ask.Options{
		URL: "https://127.0.0.1:" + strconv.Itoa(port), CAFile: b.CAFile, ServerName: "localhost",
		CertFile: b.FrontProxyCert, KeyFile: b.FrontProxyKey,
		RemoteUser:   "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
		RemoteGroups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
		Timeout:      10 * time.Second,
	})
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// stop ends the process: politely first.
func (s *subject) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

// ready asks one target until the answer is good and returns how long that took from start.
func (s *subject) ready(ctx context.Context, target ask.Target, start time.Time, limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, err := s.client.Ask(ctx, target)
		if err == nil {
			return time.Since(start), nil
		}
		select {
		case <-ticker.C:
		case <-s.exited:
			return 0, fmt.Errorf("%s ended before it answered; the end of its log:\n%s", s.name, s.tail())
		case <-ctx.Done():
			return 0, fmt.Errorf("%s gave no good answer in %s: %w; the end of its log:\n%s", s.name, limit, errors.Join(err, context.Cause(ctx)), s.tail())
		}
	}
}

// allGood asks every target until every answer is good at the same pass.
func (s *subject) allGood(ctx context.Context, targets []ask.Target, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		failures := map[string]int{}
		var example ask.Target
		for _, t := range targets {
			if _, err := s.client.Ask(ctx, t); err != nil {
				failures[err.Error()]++
				example = t
			}
		}
		if len(failures) == 0 {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("%s: after %s not every question has a good answer: %v of %d, for example %s; the end of its log:\n%s",
				s.name, limit, failures, len(targets), example.Path("v1beta2"), s.tail())
		}
	}
}

func (s *subject) tail() string {
	data, _ := os.ReadFile(s.log)
	return string(data[max(0, len(data)-2000):])
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
