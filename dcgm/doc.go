// Package dcgm holds what the node agent and the adapter say to each other about GPUs: which part of a GPU a number is about,
// what the number means, where it came from and how good it is. It knows neither NVML nor Kubernetes.
//
// # Which part of a GPU
//
// A Slice is a whole GPU, a GPU instance (a share of memory and compute) or a compute instance (a share of a GPU instance's
// SMs). A MIG device in a pod is always a compute instance. NVML hands ids out again after a MIG change, so every slice of an
// Inventory also has a generation, and nothing is ever computed from two generations.
//
// # What a number means
//
// An activity is a ratio from 0 to 1 of the slice it is about. dcgm-exporter reads GPU instances, where graphics activity of an
// instance of G slices with one busy compute engine ends at 1/G on Ampere (NVIDIA/DCGM issue 138): a target of 70 % is then
// never reached. Readings here are of compute instances wherever the driver gives them; memory bandwidth belongs to the GPU
// instance and is a ratio of that instance's bandwidth, for each of its compute instances.
//
// A Reading is a number or an absence with its reason, never a number that stands for "unknown". Source says who measured,
// Quality how close that is to the truth. Readings of different quality are different quantities: two to three times apart for a
// slice of several compute slices. So they are never averaged, and a Ladder keeps the best until it is stale.
//
// # Weights
//
// A slice weighs its SMs divided by the SMs that MIG can give out on that GPU, not g/7: on an H100 1g is 16 of 132 SMs (12.1 %,
// not 14.3 %), 3g is 60 (45.5 %, not 42.9 %). Memory weighs by memory slices, which is another number: 3g has 50 % of the
// bandwidth. The sum of activity times weight over all slices is the activity of the GPU.
//
// # Who uses a slice
//
// A Sharing says how a device reaches its pods and so what can be said of one of them (Attribution): its own activity, its
// part of a shared device's, or only the whole device's. A shared device is told twice, as the pod's part and as the device's
// activity: with four pods at 25 % each, the part looks idle and the device is full.
//
// The package takes the present time as a parameter, opens nothing and starts nothing.
package dcgm
