package agent

import (
	"slices"

	"github.com/headroom-autoscaler/headroom/dcgm"
	"github.com/headroom-autoscaler/headroom/dcgm/podmap"
)

// scene is what is known at one tick of devices and of those who use them.
type scene struct {
	inventory *dcgm.Inventory
	best      map[dcgm.Slice][]dcgm.Reading
	held      []podmap.Holding
	uids      map[podmap.PodName]string
	processes []dcgm.Process // nil: not known; none is a list of none
	owner     func(pid int) (dcgm.CgroupOwner, bool)
}

// told is what a scene says of pods.
type told struct {
	pods     []dcgm.PodReading
	holders  map[dcgm.Slice][]dcgm.Pod
	unplaced []podmap.Holding // of devices that this node does not have, as far as is known
}

// attribute tells what each device's readings say of each pod that holds it.
func (s *scene) attribute() told {
	t := told{holders: map[dcgm.Slice][]dcgm.Pod{}}
	shared := map[dcgm.Slice]bool{}
	for _, h := range s.held {
		if h.Device.Passed {
			continue // seen by its guest alone
		}
		slice, found := s.inventory.Find(h.Device)
		if !found {
			t.unplaced = append(t.unplaced, h)
			continue
		}
		pod := h.Pod
		pod.UID = s.uids[podmap.PodName{Namespace: pod.Namespace, Name: pod.Name}]
		if !slices.Contains(t.holders[slice], pod) { // a container may hold several replicas of one device
			t.holders[slice] = append(t.holders[slice], pod)
		}
		shared[slice] = shared[slice] || h.Device.Shared
	}
	for slice, holders := range t.holders {
		facts := dcgm.Facts{Level: slice.Level, Shared: shared[slice] || !onePod(holders)}
		if gpu, found := s.inventory.GPU(slice.GPU); found {
			facts.Virtualization = gpu.Virtualization
		}
		var here []dcgm.Process
		for _, p := range s.processes {
			if p.Slice == slice {
				here = append(here, p)
				facts.MPS = facts.MPS || p.MPS
			}
		}
		if !facts.Shared && holders[0].UID == "" {
			s.identify(holders, here)
		}
		sharing := dcgm.SharingOf(facts)
		t.pods = append(t.pods, dcgm.Attribute(sharing, s.best[slice], holders, s.owned(slice, sharing, holders, here))...)
	}
	return t
}

// onePod says that all holders are containers of one pod. Whoever of them works, it is the pod's.
func onePod(holders []dcgm.Pod) bool {
	return !slices.ContainsFunc(holders, func(p dcgm.Pod) bool { return p.Namespace != holders[0].Namespace || p.Name != holders[0].Name })
}

// identify gives a pod that has a device for itself the UID that all processes on the device have.
func (s *scene) identify(holders []dcgm.Pod, here []dcgm.Process) {
	uid := ""
	for _, p := range here {
		owner, known := s.owner(p.PID)
		if !known || owner.PodUID == "" || uid != "" && owner.PodUID != uid {
			return
		}
		uid = owner.PodUID
	}
	for i := range holders {
		holders[i].UID = uid
	}
}

// owned says whose the processes on a device are, where that is needed: where pods have parts.
func (s *scene) owned(slice dcgm.Slice, sharing dcgm.Sharing, holders []dcgm.Pod, here []dcgm.Process) []dcgm.Owned {
	what := sharing.Attribution()
	if !slices.Contains(what.Activity, dcgm.Part) && !slices.Contains(what.Memory, dcgm.Part) {
		return nil
	}
	if s.processes == nil {
		return []dcgm.Owned{{Process: dcgm.Process{Slice: slice}}} // somebody unknown, so that no part is taken for nothing
	}
	all := make([]dcgm.Owned, 0, len(here))
	for _, p := range here {
		o := dcgm.Owned{Process: p}
		if owner, known := s.owner(p.PID); known && owner.PodUID != "" {
			o.Pod, o.Matched = holderOf(holders, owner.PodUID)
		}
		all = append(all, o)
	}
	return all
}

// holderOf is the holder with that UID. A pod with several containers on one device cannot be told apart by UID; a pod that holds nothing
// of the device, such as one that watches it, is somebody, and none of the holders.
func holderOf(holders []dcgm.Pod, uid string) (dcgm.Pod, bool) {
	var found []dcgm.Pod
	nameless := false
	for _, h := range holders {
		nameless = nameless || h.UID == ""
		if h.UID == uid {
			found = append(found, h)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], true
	case len(found) == 0 && !nameless:
		return dcgm.Pod{UID: uid}, true
	}
	return dcgm.Pod{}, false
}
