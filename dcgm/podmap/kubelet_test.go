package podmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// kubelet imitates one: its answers, its limits, its faults.
type kubelet struct {
	podresources.UnimplementedPodResourcesListerServer
	t      *testing.T
	socket string
	server *grpc.Server

	mu       sync.Mutex
	pods     []*podresources.PodResources
	listErr  error
	hangList bool
	refuse   int // so many questions, for the rate
	asked    []string
}

func startKubelet(t *testing.T, pods ...*podresources.PodResources) *kubelet {
	t.Helper()
	dir, err := os.MkdirTemp("", "k") // a socket's path is at most 107 bytes, less than some temporary directories of tests
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := &kubelet{t: t, socket: filepath.Join(dir, "s"), pods: pods}
	k.start()
	t.Cleanup(k.stop)
	return k
}

func (k *kubelet) start() {
	k.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(k.t.Context(), "unix", k.socket)
	if err != nil {
		k.t.Fatal(err)
	}
	k.server = grpc.NewServer(grpc.UnaryInterceptor(k.limit))
	podresources.RegisterPodResourcesListerServer(k.server, k)
	go func(s *grpc.Server) { _ = s.Serve(listener) }(k.server)
}

func (k *kubelet) stop() { k.server.Stop() }

// limit refuses as the kubelet does.
func (k *kubelet) limit(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	k.mu.Lock()
	refuse := k.refuse > 0
	if refuse {
		k.refuse--
	}
	k.mu.Unlock()
	if refuse {
		return nil, status.Error(codes.ResourceExhausted, "rejected by rate limit")
	}
	return handle(ctx, request)
}

func (k *kubelet) List(ctx context.Context, _ *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	k.mu.Lock()
	pods, err, hang := k.pods, k.listErr, k.hangList
	k.asked = append(k.asked, "list")
	k.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &podresources.ListPodResourcesResponse{PodResources: pods}, err
}

func (k *kubelet) Get(_ context.Context, request *podresources.GetPodResourcesRequest) (*podresources.GetPodResourcesResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, "get "+request.GetPodName())
	for _, pod := range k.pods {
		if pod.GetName() == request.GetPodName() && pod.GetNamespace() == request.GetPodNamespace() {
			return &podresources.GetPodResourcesResponse{PodResources: pod}, nil
		}
	}
	return nil, fmt.Errorf("pod %s in namespace %s not found", request.GetPodName(), request.GetPodNamespace())
}

func (k *kubelet) show(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

const (
	gpu0 = "GPU-11111111-2222-3333-4444-555555555555"
	mig0 = "MIG-66666666-7777-8888-9999-000000000000"
)

// pod has one container, main, with the ids of a device plugin's resource.
func pod(name, resource string, ids ...string) *podresources.PodResources {
	return &podresources.PodResources{Namespace: "inference", Name: name, Containers: []*podresources.ContainerResources{
		{Name: "main", Devices: []*podresources.ContainerDevices{{ResourceName: resource, DeviceIds: ids}}},
	}}
}

func claiming(name, driver, device, share string) *podresources.PodResources {
	r := &podresources.ClaimResource{DriverName: driver, PoolName: "node-1", DeviceName: device, CdiDevices: []*podresources.CDIDevice{{Name: "k8s.gpu.nvidia.com/claim=1"}}}
	if share != "" {
		r.ShareId = &share
	}
	return &podresources.PodResources{Namespace: "inference", Name: name, Containers: []*podresources.ContainerResources{
		{Name: "main", DynamicResources: []*podresources.DynamicResource{{ClaimName: name + "-gpu", ClaimNamespace: "inference", ClaimResources: []*podresources.ClaimResource{r}}}},
	}}
}

func dial(t *testing.T, socket string) *Kubelet {
	t.Helper()
	opts := DefaultOptions()
	opts.Socket, opts.Timeout = socket, 500*time.Millisecond
	k, err := Dial(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func lines(m *Map) []string {
	var all []string
	for _, h := range m.Held {
		all = append(all, h.Pod.Name+"/"+h.Pod.Container+" "+h.ID)
	}
	for _, r := range m.Refused {
		all = append(all, r.Pod.Name+" refused "+r.ID)
	}
	return all
}

func TestWhoHoldsWhat(t *testing.T) {
	minor := func(n int) dcgm.DeviceID { return dcgm.DeviceID{ByPlace: true, Minor: n} }
	place := minor(0)
	place.Place = &dcgm.Place{Profile: "1g18gb", ProfileID: 19, Start: 4}
	part := minor(1)
	part.Shared = true
	for _, test := range []struct {
		name    string
		pod     *podresources.PodResources
		want    []dcgm.DeviceID
		refused int
	}{
		{"a whole GPU", pod("a", "nvidia.com/gpu", gpu0), []dcgm.DeviceID{{UUID: gpu0}}, 0},
		{"a MIG device", pod("a", "nvidia.com/mig-1g.18gb", mig0), []dcgm.DeviceID{{UUID: mig0}}, 0},
		{"a replica", pod("a", "nvidia.com/gpu.shared", gpu0+"::3"), []dcgm.DeviceID{{UUID: gpu0, Shared: true, Replica: 3}}, 0},
		{"a replica of a MIG device", pod("a", "nvidia.com/mig-1g.18gb", mig0+"::0"), []dcgm.DeviceID{{UUID: mig0, Shared: true}}, 0},
		{"a MIG device of an old driver", pod("a", "nvidia.com/gpu", "MIG-"+gpu0+"/3/0"), []dcgm.DeviceID{{Legacy: dcgm.Compute(gpu0, 3, 0)}}, 0},
		{"GKE's", pod("a", "nvidia.com/gpu", "nvidia0/gi3"), []dcgm.DeviceID{{ByIndex: true, GI: 3}}, 0},
		{"a resource with a name of its own", pod("a", "example.com/h200", gpu0), []dcgm.DeviceID{{UUID: gpu0}}, 0},
		{"not a GPU", pod("a", "rdma/hca", "mlx5_0"), nil, 0},
		{"something of NVIDIA's that is not known", pod("a", "nvidia.com/gpu", "GPU-1"), nil, 1},
		{"a claim for a GPU", claiming("a", "gpu.nvidia.com", "gpu-1", ""), []dcgm.DeviceID{minor(1)}, 0},
		{"a claim for a MIG device made on demand", claiming("a", "gpu.nvidia.com", "gpu-0-mig-1g18gb-19-4", ""), []dcgm.DeviceID{place}, 0},
		{"a claim for a part", claiming("a", "gpu.nvidia.com", "gpu-1", "0e2b"), []dcgm.DeviceID{part}, 0},
		{"a claim for a passed-through GPU", claiming("a", "gpu.nvidia.com", "gpu-vfio-0", ""), []dcgm.DeviceID{{Passed: true}}, 0},
		{"a claim of another driver", claiming("a", "compute-domain.nvidia.com", "channel-0", ""), nil, 0},
		{"a claim that cannot be read", claiming("a", "gpu.nvidia.com", "gpu-x", ""), nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := dial(t, startKubelet(t, test.pod).socket).List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []dcgm.DeviceID
			for _, h := range m.Held {
				got = append(got, h.Device)
				if want := (dcgm.Pod{Namespace: "inference", Name: "a", Container: "main"}); h.Pod != want {
					t.Errorf("held by %+v, want %+v", h.Pod, want)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || len(m.Refused) != test.refused {
				t.Errorf("%d refused, want %d; devices (-want +got):\n%s", len(m.Refused), test.refused, diff)
			}
		})
	}
}

func TestKubeletComesBack(t *testing.T) {
	fake := startKubelet(t, pod("a", "nvidia.com/gpu", gpu0))
	fake.stop()
	k := dial(t, fake.socket)
	if _, err := k.List(t.Context()); status.Code(err) != codes.Unavailable && status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("without a kubelet: %v", err)
	}
	fake.start()
	for {
		m, err := k.List(t.Context())
		if err == nil {
			if diff := cmp.Diff([]string{"a/main " + gpu0}, lines(m)); diff != "" {
				t.Error(diff)
			}
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusedForTheRate(t *testing.T) {
	fake := startKubelet(t, pod("a", "nvidia.com/gpu", gpu0))
	now := time.Now()
	opts := DefaultOptions()
	opts.Socket, opts.Now = fake.socket, func() time.Time { return now }
	k, err := Dial(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	fake.show(func() { fake.refuse = 2 })
	for _, step := range []struct {
		after time.Duration
		want  string
	}{
		{0, "rejected by rate limit"},
		{900 * time.Millisecond, "waiting"}, // 2 s of patience
		{1200 * time.Millisecond, "rejected by rate limit"},
		{2100 * time.Millisecond, "waiting"}, // 4 s by now
		{2 * time.Second, ""},
		{time.Second, ""},
	} {
		now = now.Add(step.after)
		_, err := k.List(t.Context())
		if step.want == "" && err != nil || step.want != "" && (err == nil || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("after %s: %v, want %q", step.after, err, step.want)
		}
		if errors.Is(err, ErrPatience) && CanConfirm(err) {
			t.Error("patience is to be had by Confirm too")
		}
	}
}

func TestListHangsAndPodsAreConfirmed(t *testing.T) {
	fake := startKubelet(t, pod("a", "nvidia.com/gpu", gpu0), pod("b", "nvidia.com/mig-1g.18gb", mig0), pod("c", "rdma/hca", "mlx5_0"))
	k := dial(t, fake.socket)
	before, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fake.show(func() { fake.hangList, fake.pods, fake.asked = true, fake.pods[1:], nil })
	_, err = k.List(t.Context())
	if !CanConfirm(err) {
		t.Fatalf("%v: want an error after which pods can be confirmed", err)
	}
	after, err := k.Confirm(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b/main " + mig0}, lines(after)); diff != "" {
		t.Errorf("held after a is gone (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"list", "get a", "get b"}, fake.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAnswerTooLarge(t *testing.T) {
	fake := startKubelet(t, pod("a", "nvidia.com/gpu", gpu0), pod("b", "example.com/x", strings.Repeat("x", maxMessage)))
	k := dial(t, fake.socket)
	k.opts.Timeout = 30 * time.Second // 16 MiB under the race detector
	if _, err := k.List(t.Context()); !CanConfirm(err) {
		t.Fatalf("%v: want an error after which pods can be confirmed", err)
	}
	m, err := k.Confirm(t.Context(), &Map{Held: []Holding{{Pod: dcgm.Pod{Namespace: "inference", Name: "a", Container: "main"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/main " + gpu0}, lines(m)); diff != "" {
		t.Error(diff)
	}
}

func TestListFailsInTheKubelet(t *testing.T) {
	fake := startKubelet(t, pod("a", "nvidia.com/gpu", gpu0))
	fake.show(func() { fake.listErr = status.Error(codes.Internal, "no claim info") })
	if _, err := dial(t, fake.socket).List(t.Context()); err == nil || CanConfirm(err) {
		t.Errorf("%v: want an error after which the last map is kept as it is", err)
	}
}

func TestMapEnds(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m := &Map{At: at}
	if !m.Fresh(at.Add(KeepFor)) || m.Fresh(at.Add(KeepFor+1)) || (*Map)(nil).Fresh(at) {
		t.Error("a map is to be believed for KeepFor, and none not at all")
	}
}
