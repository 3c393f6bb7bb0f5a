package dcgm

import (
	"fmt"
	"strings"
)

// DeviceID is what a kubelet says a container holds: the id of a device plugin or the name of a DRA device, taken apart. Exactly
// one way of naming a slice is set; Inventory.Find tells which slice it is.
type DeviceID struct {
	UUID string // "GPU-…" or "MIG-…"

	Legacy Slice // from "MIG-GPU-…/gi/ci", drivers before R470

	ByPlace bool // from DRA: the GPU's minor number and, for a slice, profile and place; there is no UUID before it is made
	Minor   int
	Place   *Place

	ByIndex bool // from GKE's plugin: "nvidia0", "nvidia0/gi3"
	Index   int
	GI      int // -1 for the whole GPU

	// Shared says that the id is one of several for the same device: time-slicing, MPS, or GKE's virtual GPUs.
	Shared  bool
	Replica int
	// Passed says that the device is given to a guest whole and cannot be seen from the node.
	Passed bool
}

// Place is where a GPU instance of some profile sits on its GPU.
type Place struct {
	Profile   string // as DRA writes it, without dots: "1g10gb", "1g10gb-me"; for people only
	ProfileID int
	Start     int // first memory slice
}

// ParsePluginID reads the device id of a device plugin: NVIDIA's "GPU-…", "MIG-…", either with "::n" for a replica,
// "MIG-GPU-…/3/0" of old drivers, and GKE's "nvidia0", "nvidia0/gi3", "nvidia0/vgpu1", "nvidia0/gi3/vgpu0".
func ParsePluginID(id string) (DeviceID, error) {
	fail := func(why string) (DeviceID, error) { return DeviceID{}, fmt.Errorf("device id %q: %s", id, why) }
	var d DeviceID
	name, replica, shared := strings.Cut(id, "::")
	if shared {
		n, ok := number(replica)
		if !ok {
			return fail(`after "::" want a replica's number`)
		}
		d.Shared, d.Replica = true, n
	}
	switch {
	case strings.HasPrefix(name, "MIG-GPU-"):
		slice, err := ParseSlice(strings.TrimPrefix(name, "MIG-"))
		if err != nil || slice.Level != ComputeInstance || !validUUID(slice.GPU, "GPU-") {
			return fail("want MIG-GPU-uuid/gi/ci")
		}
		d.Legacy = slice
	case validUUID(name, "GPU-"), validUUID(name, "MIG-"):
		d.UUID = name
	case strings.HasPrefix(name, "nvidia") && !shared:
		return parseGKE(id)
	default:
		return fail("neither a GPU's nor a MIG device's")
	}
	return d, nil
}

func parseGKE(id string) (DeviceID, error) {
	d := DeviceID{ByIndex: true, GI: -1}
	parts := strings.Split(strings.TrimPrefix(id, "nvidia"), "/")
	var ok bool
	if d.Index, ok = number(parts[0]); !ok {
		return DeviceID{}, fmt.Errorf(`device id %q: after "nvidia" want an index`, id)
	}
	for _, part := range parts[1:] {
		if gi, is := strings.CutPrefix(part, "gi"); is && d.GI < 0 && !d.Shared {
			d.GI, ok = number(gi)
		} else if n, is := strings.CutPrefix(part, "vgpu"); is && !d.Shared {
			d.Shared = true
			d.Replica, ok = number(n)
		} else {
			ok = false
		}
		if !ok {
			return DeviceID{}, fmt.Errorf("device id %q: want nvidia<n>, then /gi<n> and /vgpu<n> if any", id)
		}
	}
	return d, nil
}

// ParseDRADevice reads the name of a device of the DRA driver gpu.nvidia.com: "gpu-0", "gpu-0-mig-1g10gb-19-4" (minor number,
// profile, profile id, first memory slice), "gpu-vfio-0". A MIG device that is made on demand has no UUID in its ResourceSlice, so
// this name is all there is.
func ParseDRADevice(name string) (DeviceID, error) {
	fail := func() (DeviceID, error) {
		return DeviceID{}, fmt.Errorf("DRA device %q: want gpu-<minor>, gpu-<minor>-mig-<profile>-<profile id>-<start> or gpu-vfio-<n>", name)
	}
	rest, ok := strings.CutPrefix(name, "gpu-")
	if !ok {
		return fail()
	}
	if n, passed := strings.CutPrefix(rest, "vfio-"); passed {
		if _, ok := number(n); !ok {
			return fail()
		}
		return DeviceID{Passed: true}, nil
	}
	minor, mig, isMIG := strings.Cut(rest, "-mig-")
	d := DeviceID{ByPlace: true}
	if d.Minor, ok = number(minor); !ok {
		return fail()
	}
	if !isMIG {
		return d, nil
	}
	parts := strings.Split(mig, "-")
	if len(parts) < 3 || parts[0] == "" {
		return fail()
	}
	id, ok1 := number(parts[len(parts)-2])
	start, ok2 := number(parts[len(parts)-1])
	if !ok1 || !ok2 || start > 7 {
		return fail()
	}
	d.Place = &Place{Profile: strings.Join(parts[:len(parts)-2], "-"), ProfileID: id, Start: start}
	return d, nil
}

// validUUID checks prefix-8-4-4-4-12 of hexadecimal digits.
func validUUID(text, prefix string) bool {
	text, ok := strings.CutPrefix(text, prefix)
	return ok && isUUID(text)
}

func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i, c := range []byte(text) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !hexadecimal(c) {
			return false
		}
	}
	return true
}

func hexadecimal(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

func (id DeviceID) wantsGPU(gpu GPU) bool {
	switch {
	case id.UUID != "":
		return id.UUID == gpu.UUID
	case id.ByPlace:
		return id.Place == nil && gpu.Minor >= 0 && id.Minor == gpu.Minor
	case id.ByIndex:
		return id.GI < 0 && id.Index == gpu.Index
	}
	return false
}

func (id DeviceID) wantsDevice(gpu GPU, d Device) bool {
	switch {
	case id.UUID != "":
		return id.UUID == d.UUID
	case id.Legacy != Slice{}:
		return id.Legacy == d.Slice
	case id.ByPlace:
		return id.Place != nil && id.Minor == gpu.Minor && id.Place.ProfileID == d.ProfileID && id.Place.Start == d.Start
	case id.ByIndex:
		return id.GI >= 0 && id.Index == gpu.Index && id.GI == d.Slice.GI
	}
	return false
}
