// Package nvml reads a node's GPUs through the NVIDIA driver's management library, by go-nvml, for linux with cgo; elsewhere Open says
// that it cannot.
//
// # A missing symbol must not end the process
//
// go-nvml binds lazily: calling a function that the installed driver does not have ends the process with exit code 127, which
// nothing can catch. So the library is opened and searched for every symbol before go-nvml is let near it, and all calls go through
// Library.call, which refuses what is not there as the driver's own "function not found". go-nvml's error texts are not used: they
// come from a symbol too. Two of its functions panic when a list grows between their two inner calls; those are
// caught and asked again.
//
// # Looking and sampling
//
// Inventory walks GPUs and MIG devices, which takes seconds on a busy node. It runs at the start, when a MIG event or a failing
// sample says that the layout changed, and as an audit; it never runs within Sample and never blocks it, as NVML is safe for threads.
// Sample reads every slice once and is called once a second. Neither may run twice at once. The walk publishes an immutable layout;
// samples are kept by the sampler and are thrown away when a slice's generation is not the layout's, since ids are used again.
//
// # What is read
//
// Activity comes from GPM: for a whole GPU from its handle, for a compute instance from the MIG device's handle. Memory bandwidth
// belongs to the GPU instance and is read from the parent with the instance's id. A ratio needs two samples at least
// 100 ms apart; the newest that is at least 900 ms old is taken as the first, as DCGM does. Where a driver gives no GPM for compute
// instances, the GPU instance's stands in and says so in its quality. Without GPM a GPU that is not cut has its duty cycle, and a
// slice has nothing: a dcgm-exporter on the node may know, the agent asks it.
//
// GPM on MIG is left alone on drivers before 550: with 535.129.03 it has been reported to break memory information for good. After the first
// samples of a MIG GPU, memory that could be read before is read again; if it no longer can be, GPM is off for that GPU
// and the process should start afresh without it (Restart).
//
// # When the driver is lost
//
// Codes and events each have one answer (Action). A call that hangs cannot be cancelled: after 10 s its readings are absent, after
// 60 s the process should end (Verdict). The package decides nothing about the process itself: the agent does.
//
// # What an agent does with it
//
// One goroutine calls Sample once an interval, one Processes every second or two, one Next in a loop with a few seconds' wait, and one that
// never touches the driver looks at Verdict once a second. It runs Inventory when that asks to look, at most once a second, and every 30 s
// as an audit. Before it ends it calls Close, and ends anyway when that says that a call is under way.
//
// # What has not been measured
//
// All that is known of this code is known from the invented driver of test/fakenvml, from nvml.h and from reports. Not measured on hardware:
//
//   - any reading of a MIG device: whether GPM of a compute instance is a ratio of that instance on each driver, whether GPU
//     instances' graphics activity ends at 1/G on Hopper as on Ampere, and what a MIG device's reserved memory is;
//   - whole-GPU GPM against known loads, and against the cumulative cycle counters (metrics 248 to 250), which are not read;
//   - what calls cost: nvmlDeviceGetUUID of a MIG device in each tick, GPM samples, memory; their CPU in the kernel above all;
//   - which calls need root or CAP_SYS_ADMIN;
//   - whether drivers deliver the MIG change event, and whether a MIG device that is made anew keeps its UUID: if it does and no
//     event comes and no tick finds it missing, one reading may span both;
//   - whether holding NVML open keeps MIG instances from being made or destroyed, or only the mode from being changed;
//   - what a vGPU guest's utilization is a share of;
//   - hung calls and lost GPUs as they are, not as they are imagined;
//   - Ampere and Blackwell, and GPUs of four slices.
package nvml
