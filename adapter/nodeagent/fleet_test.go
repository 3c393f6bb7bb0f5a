package nodeagent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/headroom-autoscaler/headroom/adapter/collect"
	"github.com/headroom-autoscaler/headroom/adapter/store"
	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/stream"
	"github.com/headroom-autoscaler/headroom/test/pki"
)

const (
	fleetNodes  = 1000
	fleetSlices = 56
	fleetRuns   = 20 * time.Second
	childEnv    = "HEADROOM_TEST_FLEET"
)

// orders are what the child that runs the client is told.
type orders struct {
	TLS       TLSOptions
	Addresses []string
}

// found is what it reports.
type found struct {
	CPUSeconds, Seconds, ResidentMiB float64
	Values                           int
	StalenessP50, StalenessP99       time.Duration
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		runFleetClient(text)
		return
	}
	os.Exit(m.Run())
}

// BenchmarkFleet is one replica's client, in a process of its own, with a thousand agents of 56 slices each, a pod's each, half of which move
// by more than the tolerance each second; one metric is wanted. It reports the client's CPU in percent of a core, its memory, and how old the values in the
// store are whenever they may be asked for. The agents' side is in this process, on the same machine.
//
//	go test -run '^$' -bench Fleet -benchtime 1x ./adapter/nodeagent
func BenchmarkFleet(b *testing.B) {
	ca, clients := pki.New(b, "agents"), pki.New(b, "adapters")
	addresses := serveFleet(b, ca, clients)
	cert, key := clients.Issue("adapter", x509.ExtKeyUsageClientAuth)
	text, err := json.Marshal(orders{TLS: TLSOptions{CAFile: ca.File, CertFile: cert, KeyFile: key}, Addresses: addresses})
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	var f found
	for b.Loop() {
		command := exec.Command(self)
		command.Env = append(os.Environ(), childEnv+"=-")
		command.Stdin = bytes.NewReader(text)
		command.Stderr = os.Stderr
		out, err := command.Output()
		if err != nil {
			b.Fatalf("the client: %v\n%s", err, out)
		}
		if err := json.Unmarshal(out, &f); err != nil {
			b.Fatalf("%v in %q", err, out)
		}
		if f.Values != fleetNodes*fleetSlices {
			b.Errorf("%d values are fresh of %d", f.Values, fleetNodes*fleetSlices)
		}
	}
	b.ReportMetric(100*f.CPUSeconds/f.Seconds, "%core")
	b.ReportMetric(f.ResidentMiB, "MiB-resident")
	b.ReportMetric(f.StalenessP50.Seconds(), "s-stale-p50")
	b.ReportMetric(f.StalenessP99.Seconds(), "s-stale-p99")
}

// fleet is a thousand agents that share a server, each at an address of its own in 127.0.0.0/8, by which it knows who it is.
type fleet struct {
	stream.UnimplementedReadingsServer
	began time.Time
}

func serveFleet(b *testing.B, ca, clients *pki.Authority) (addresses []string) {
	b.Helper()
	cert, key := ca.Issue("agent", x509.ExtKeyUsageServerAuth, ServerName)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		b.Fatal(err)
	}
	pem, err := os.ReadFile(clients.File)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})),
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10))
	stream.RegisterReadingsServer(server, &fleet{began: time.Now()})
	b.Cleanup(server.Stop)
	for i := range fleetNodes {
		listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", fmt.Sprintf("127.0.%d.%d:0", 1+i/250, 1+i%250))
		if err != nil {
			b.Fatal(err)
		}
		go func() { _ = server.Serve(listener) }()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses
}

func (f *fleet) Watch(_ *stream.WatchRequest, to grpc.ServerStreamingServer[stream.Update]) error {
	p, _ := peer.FromContext(to.Context())
	node := p.LocalAddr.String()
	encoder := stream.NewEncoder(node, time.Second, f.began)
	var s stream.State
	for i := range fleetSlices {
		for _, signal := range dcgm.Signals {
			r := dcgm.PodReading{Pod: dcgm.Pod{Namespace: "ns", Name: fmt.Sprint("pod-", i, "-", node)}, Sharing: dcgm.MIG, Basis: dcgm.Own}
			r.Reading = dcgm.Reading{Slice: dcgm.Compute(fmt.Sprint("GPU-", i/7), i%7, 0), Signal: signal, Value: 0.5, Source: dcgm.GPM, Quality: dcgm.Exact}
			if signal.Bytes() {
				r.Value = 16 << 30
			}
			s.Readings = append(s.Readings, r)
		}
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		now := time.Now()
		for i := range s.Readings {
			r := &s.Readings[i]
			r.At = now
			if !r.Signal.Bytes() && rand.IntN(2) == 0 {
				r.Value = rand.Float64()
			}
		}
		if err := to.Send(encoder.Update(s, now)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-to.Context().Done():
			return nil
		}
	}
}

// runFleetClient is the child.
func runFleetClient(string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	text, err := io.ReadAll(os.Stdin)
	fail(err)
	var o orders
	fail(json.Unmarshal(text, &o))
	kept := store.New()
	client, err := New(Options{Store: kept, Wanted: func() []collect.Want { return []collect.Want{{Key: key(sm)}} }, TLS: o.TLS,
		Registerer: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Now: time.Now})
	fail(err)
	client.SetAddresses(o.Addresses)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { client.Run(ctx) })
	var names []string
	for _, address := range o.Addresses {
		for i := range fleetSlices {
			names = append(names, fmt.Sprint("pod-", i, "-", address))
		}
	}
	fresh := func() (ages []time.Duration) {
		view, now := kept.View(key(sm)), time.Now()
		if view == nil {
			return nil
		}
		for _, name := range names {
			if v, absence := view.Value(name, now); absence == nil {
				ages = append(ages, v.Age(now))
			}
		}
		return ages
	}
	for deadline := time.Now().Add(time.Minute); len(fresh()) < len(names) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	var f found
	began, before := time.Now(), cpuTime()
	asking := time.Duration(0) // is the measurement's own
	var ages []time.Duration
	for time.Since(began) < fleetRuns {
		time.Sleep(970 * time.Millisecond) // not in step with anything
		asked := cpuTime()
		now := fresh()
		f.Values = len(now)
		for i := 0; i < len(now); i += 10 {
			ages = append(ages, now[i])
		}
		asking += cpuTime() - asked
	}
	f.CPUSeconds, f.Seconds, f.ResidentMiB = (cpuTime() - before - asking).Seconds(), time.Since(began).Seconds(), residentMiB()
	if len(ages) > 0 {
		slices.Sort(ages)
		f.StalenessP50, f.StalenessP99 = ages[len(ages)/2], ages[len(ages)*99/100]
	}
	cancel()
	running.Wait()
	fail(json.NewEncoder(os.Stdout).Encode(f))
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

func residentMiB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	kb, err := strconv.ParseFloat(string(resident.FindSubmatch(status)[1]), 64)
	if err != nil {
		return 0
	}
	return kb / 1024
}
