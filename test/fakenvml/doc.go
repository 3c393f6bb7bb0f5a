// Package fakenvml builds a libnvidia-ml whose GPUs are invented, for tests of everything that stands on the driver: a program that
// loads it by path (or by LD_LIBRARY_PATH, since its name is the driver's) takes the cgo path that it takes on a GPU node.
//
// A Scenario says what the GPUs are and do; it is written to a file that the environment variable Env names and can be written anew
// while the program runs. The C source is compiled against the nvml.h of the go-nvml that the module requires, so that the compiler
// checks the ABI. What a real driver does is known from NVIDIA's header and from reports, not from this library: it proves the
// code, not the hardware.
package fakenvml
