package podmap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

const (
	// DefaultSocket is where a kubelet listens.
	DefaultSocket = "/var/lib/kubelet/pod-resources/kubelet.sock"
	// KeepFor is how long what the kubelet said last is believed while it does not answer. Its restart takes seconds, its upgrade minutes.
	KeepFor = 5 * time.Minute
	// maxMessage bounds an answer: 500 pods that hold every CPU and device of a large node are below 8 MiB.
	maxMessage = 16 << 20
	// gap spaces questions: 20 a second, a fifth of what the kubelet answers to all its clients.
	gap = 50 * time.Millisecond
	// maxConfirmed bounds one Confirm, so that it ends within seconds: no node has more GPU pods than a large one has slices.
	maxConfirmed = 128
	// patience is how long nothing is asked after the kubelet has refused for the rate of questions, doubled each time up to maxPatience.
	patience    = 2 * time.Second
	maxPatience = 30 * time.Second
)

// Options say how to ask.
type Options struct {
	Socket  string
	Timeout time.Duration // of one question
	Now     func() time.Time
}

// DefaultOptions are what an agent uses.
func DefaultOptions() Options {
	return Options{Socket: DefaultSocket, Timeout: 2 * time.Second, Now: time.Now}
}

// ErrPatience says that nothing was asked, since the kubelet has just refused for the rate of questions.
var ErrPatience = errors.New("the kubelet has refused for the rate of questions: waiting")

// Kubelet is a connection to one. It connects when it is asked, and again when the kubelet comes back.
type Kubelet struct {
	opts   Options
	conn   *grpc.ClientConn
	client podresources.PodResourcesListerClient

	mu      sync.Mutex
	next    time.Time // before which nothing is asked
	refused int       // in a row, for the rate
}

// Dial prepares a connection; there need not be a kubelet yet.
func Dial(opts Options) (*Kubelet, error) {
	if opts.Socket == "" || opts.Timeout <= 0 || opts.Now == nil {
		return nil, fmt.Errorf("pod map options: want a socket, a timeout above 0 and a clock")
	}
	again := backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}
	conn, err := grpc.NewClient("unix://"+opts.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()), // a socket of the node, by its file's rights
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: opts.Timeout}), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", opts.Socket, err)
	}
	return &Kubelet{opts: opts, conn: conn, client: podresources.NewPodResourcesListerClient(conn)}, nil
}

// Close ends the connection.
func (k *Kubelet) Close() error { return k.conn.Close() }

// List is all that all pods hold.
func (k *Kubelet) List(ctx context.Context) (*Map, error) {
	if err := k.turn(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, k.opts.Timeout)
	defer cancel()
	answer, err := k.client.List(ctx, &podresources.ListPodResourcesRequest{})
	if k.judge(err); err != nil {
		return nil, fmt.Errorf("ask the kubelet for all pods: %w", err)
	}
	m := &Map{At: k.opts.Now()}
	for _, pod := range answer.GetPodResources() {
		m.add(pod)
	}
	m.sort()
	return m, nil
}

// Confirm asks for each pod that held something in what was known before, for when List fails though the kubelet is there. Pods that are gone
// are left out; new ones are not found.
func (k *Kubelet) Confirm(ctx context.Context, before *Map) (*Map, error) {
	pods := before.pods()
	if len(pods) > maxConfirmed {
		return nil, fmt.Errorf("%d pods hold GPUs: more than %d are not asked for one at a time", len(pods), maxConfirmed)
	}
	m := &Map{At: k.opts.Now()}
	for _, pod := range pods {
		if err := k.turn(ctx); err != nil {
			return nil, err
		}
		answer, err := k.get(ctx, pod.Namespace, pod.Name)
		switch {
		case gone(err):
		case err != nil:
			return nil, fmt.Errorf("ask the kubelet for pod %s/%s: %w", pod.Namespace, pod.Name, err)
		default:
			m.add(answer)
		}
	}
	m.sort()
	return m, nil
}

func (k *Kubelet) get(ctx context.Context, namespace, name string) (*podresources.PodResources, error) {
	ctx, cancel := context.WithTimeout(ctx, k.opts.Timeout)
	defer cancel()
	answer, err := k.client.Get(ctx, &podresources.GetPodResourcesRequest{PodNamespace: namespace, PodName: name})
	k.judge(err)
	return answer.GetPodResources(), err
}

// gone says that the kubelet does not have the pod: an error without a code, as its server makes it (pkg/kubelet/apis/podresources/server_v1.go).
func gone(err error) bool {
	code := status.Code(err)
	return code == codes.NotFound || code == codes.Unknown
}

// CanConfirm says that a failed List is one after which Confirm may succeed: the kubelet is there, and its whole answer is too slow or too
// large.
func CanConfirm(err error) bool {
	return status.Code(err) == codes.DeadlineExceeded || tooLarge(err)
}

// tooLarge says that the answer was refused on our side; gRPC has the same code for it as for a refused rate.
func tooLarge(err error) bool {
	return status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}

// turn waits until a question may be asked.
func (k *Kubelet) turn(ctx context.Context) error {
	k.mu.Lock()
	now := k.opts.Now()
	wait := k.next.Sub(now)
	if wait > time.Second {
		k.mu.Unlock()
		return ErrPatience
	}
	k.next = now.Add(max(0, wait) + gap)
	k.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// judge notes whether the kubelet refused for the rate.
func (k *Kubelet) judge(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if status.Code(err) != codes.ResourceExhausted || tooLarge(err) {
		k.refused = 0
		return
	}
	k.next = k.opts.Now().Add(min(maxPatience, patience<<min(k.refused, 4)))
	k.refused++
}
