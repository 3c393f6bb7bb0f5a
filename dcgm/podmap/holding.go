package podmap

import (
	"cmp"
	"slices"
	"strings"
	"time"

	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/headroom-autoscaler/headroom/dcgm"
)

// Holding is a device in a container's hands.
type Holding struct {
	Pod    dcgm.Pod // without a UID: the kubelet does not tell it here
	ID     string   // as the kubelet has it
	Device dcgm.DeviceID
}

// Refused is a device id of NVIDIA's that could not be read.
type Refused struct {
	Pod dcgm.Pod
	ID  string
	Why string
}

// Map is what all pods of the node hold, as of one answer. It is immutable once made.
type Map struct {
	At      time.Time
	Held    []Holding // by pod, then by id
	Refused []Refused
}

// Fresh says that the map still describes the node.
func (m *Map) Fresh(now time.Time) bool { return m != nil && now.Sub(m.At) <= KeepFor }

const (
	nvidiaPrefix = "nvidia.com/"
	// draDriver is NVIDIA's DRA driver for GPUs. Its other one, compute-domain.nvidia.com, gives out no GPUs.
	draDriver = "gpu.nvidia.com"
)

// add takes what one pod holds. A device plugin may be told to give its resource any name, so ids decide: those that are a GPU's or a MIG
// device's are, whatever the resource is called; of a resource of NVIDIA's those that are not are worth a word.
func (m *Map) add(pod *podresources.PodResources) {
	for _, c := range pod.GetContainers() {
		owner := dcgm.Pod{Namespace: pod.GetNamespace(), Name: pod.GetName(), Container: c.GetName()}
		for _, devices := range c.GetDevices() {
			ours := strings.HasPrefix(devices.GetResourceName(), nvidiaPrefix)
			for _, id := range devices.GetDeviceIds() {
				device, err := dcgm.ParsePluginID(id)
				switch {
				case err == nil && (ours || !device.ByIndex): // "nvidia0" of somebody else's resource is no UUID
					m.Held = append(m.Held, Holding{owner, id, device})
				case err != nil && ours:
					m.Refused = append(m.Refused, Refused{owner, id, err.Error()})
				}
			}
		}
		for _, claim := range c.GetDynamicResources() {
			for _, r := range claim.GetClaimResources() {
				if r.GetDriverName() != draDriver {
					continue
				}
				device, err := dcgm.ParseDRADevice(r.GetDeviceName())
				if err != nil {
					m.Refused = append(m.Refused, Refused{owner, r.GetDeviceName(), err.Error()})
					continue
				}
				device.Shared = device.Shared || r.GetShareId() != "" // a part of the device's capacity; other pods may have the rest
				m.Held = append(m.Held, Holding{owner, r.GetDeviceName(), device})
			}
		}
	}
}

func (m *Map) sort() {
	slices.SortFunc(m.Held, func(a, b Holding) int { return cmp.Or(a.Pod.Compare(b.Pod), cmp.Compare(a.ID, b.ID)) })
}

// pods are those that hold something, each once, without containers.
func (m *Map) pods() []dcgm.Pod {
	if m == nil {
		return nil
	}
	var all []dcgm.Pod
	for _, h := range m.Held {
		all = append(all, dcgm.Pod{Namespace: h.Pod.Namespace, Name: h.Pod.Name})
	}
	slices.SortFunc(all, dcgm.Pod.Compare)
	return slices.Compact(all)
}
