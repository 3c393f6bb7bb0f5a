package dcgm

// Sharing is how a device reaches the pods that hold it.
type Sharing int

const (
	Exclusive     Sharing = iota + 1 // a whole GPU for one pod
	MIG                              // a compute instance for one pod
	MIGTimeSliced                    // a compute instance for several pods in turn
	TimeSliced                       // a whole GPU for several pods in turn
	MPS                              // several pods at the same time
	VGPU                             // a guest's part of a GPU, which looks whole from inside
	Hidden                           // lent to guests: the node sees nothing of what runs there
)

var sharings = names[Sharing]{"sharing", []string{"exclusive", "mig", "mig time-sliced", "time-sliced", "mps", "vgpu", "hidden"}}

func (s Sharing) String() string                { return sharings.text(s) }
func (s Sharing) MarshalText() ([]byte, error)  { return sharings.marshal(s) }
func (s *Sharing) UnmarshalText(t []byte) error { return sharings.unmarshal(s, t) }

// Facts are what tells how a device is shared.
type Facts struct {
	Level          Level
	Virtualization Virtualization
	Passed         bool // to a guest, says DRA
	Shared         bool // the ids are replicas, or more than one pod holds the device
	MPS            bool // MPS clients run on it, or its claim says so
}

// SharingOf is how a device is shared. MPS comes before time-slicing: both give replicas, and only MPS runs them at once.
func SharingOf(f Facts) Sharing {
	switch {
	case f.Passed, f.Virtualization == VGPUHost:
		return Hidden
	case f.MPS:
		return MPS
	case f.Level == ComputeInstance && f.Shared:
		return MIGTimeSliced
	case f.Level == ComputeInstance:
		return MIG
	case f.Shared:
		return TimeSliced
	case f.Virtualization == VGPUGuest:
		return VGPU
	}
	return Exclusive
}

// Basis is what a pod's reading is of.
type Basis int

const (
	Own          Basis = iota + 1 // the device, which is the pod's alone
	Part                          // the pod's part of a shared device, as a ratio of the device
	SharedDevice                  // the shared device, whoever uses it
)

var bases = names[Basis]{"basis", []string{"own", "part", "device"}}

func (b Basis) String() string                { return bases.text(b) }
func (b Basis) MarshalText() ([]byte, error)  { return bases.marshal(b) }
func (b *Basis) UnmarshalText(t []byte) error { return bases.unmarshal(b, t) }

// Attribution says what can be told of one pod on a device.
type Attribution struct {
	Activity []Basis
	Memory   []Basis
}

// Attribution of each way of sharing:
//
//	sharing           activity             memory used          why not more
//	exclusive, mig    own                  own
//	vgpu              own                  own                  a ratio of what the guest was given, known as duty at best
//	time-sliced       part and device      part and device      parts from the time each process ran
//	mig time-sliced   device               part and device      the driver gives no process times on MIG
//	mps               device               part and device      per-client times are not usable under MPS (dcgm-exporter issues 388, 478, 568)
//	hidden            nothing              nothing              only the guest knows
func (s Sharing) Attribution() Attribution {
	switch s {
	case Exclusive, MIG, VGPU:
		return Attribution{Activity: []Basis{Own}, Memory: []Basis{Own}}
	case TimeSliced:
		return Attribution{Activity: []Basis{Part, SharedDevice}, Memory: []Basis{Part, SharedDevice}}
	case MIGTimeSliced, MPS:
		return Attribution{Activity: []Basis{SharedDevice}, Memory: []Basis{Part, SharedDevice}}
	}
	return Attribution{}
}
