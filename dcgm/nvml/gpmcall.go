//go:build linux && cgo

package nvml

/*
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

// As in nvml.h; the version that go-nvml has is checked against below.
enum { headroom_gpm_metrics = 477 };
typedef struct {
  unsigned int id, result;
  double value;
  char *names[3];
} headroom_metric;
typedef struct {
  unsigned int version, count;
  void *first, *second;
  headroom_metric metrics[headroom_gpm_metrics];
} headroom_metrics_get;

// One sample to take: of a device, or of a GPU instance of it.
typedef struct {
  void *device, *sample;
  int instance; // -1: of the device itself
  int result;
} headroom_shot;

static void *headroom_find(const char *name) { return dlsym(RTLD_DEFAULT, name); }
static int headroom_get(void *function, headroom_metrics_get *get) { return ((int (*)(headroom_metrics_get *))function)(get); }

// Stops at the first that says the GPU is gone (lost 15, reset required 16, not found 28): the next call to it may hang.
static void headroom_shoot(void *whole, void *instance, headroom_shot *shots, int n) {
  int gone = 0;
  for (int i = 0; i < n; i++) {
    headroom_shot *s = &shots[i];
    void *function = s->instance < 0 ? whole : instance;
    if (gone)
      s->result = gone;
    else if (!function)
      s->result = 13; // function not found
    else if (s->instance < 0)
      s->result = ((int (*)(void *, void *))whole)(s->device, s->sample);
    else
      s->result = ((int (*)(void *, unsigned int, void *))instance)(s->device, s->instance, s->sample);
    if (s->result == 15 || s->result == 16 || s->result == 28) gone = s->result;
  }
}
*/
import "C"

import (
	"reflect"
	"unsafe"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
)

// gpmCall is GPM's calls that are made for each slice each second, without go-nvml. Its wrapper of nvmlGpmMetricsGet copies the 19 KiB of
// the argument three times and allocates it twice, which was most of what the agent cost; here it is made once. And samples are taken for
// all of a GPU in one step into C: a call that waits for the driver wakes Go's scheduler, which was most of the rest.
type gpmCall struct {
	whole, instance, metrics unsafe.Pointer // the driver's functions; nil where it has none
	argument                 *C.headroom_metrics_get
	shots                    *[maxShots]C.headroom_shot
}

// maxShots is more than a GPU can have: seven GPU instances, and a compute instance for each of seven slices.
const maxShots = 32

// The array's length is part of the driver's interface: this does not compile when go-nvml's nvml.h has another.
var _ [len(gonvml.GpmMetricsGetType{}.Metrics)]struct{} = [C.headroom_gpm_metrics]struct{}{}

// find looks the functions up in the library that Open has loaded.
func (g *gpmCall) find() {
	lookUp := func(name string) unsafe.Pointer {
		text := C.CString(name)
		defer C.free(unsafe.Pointer(text))
		return C.headroom_find(text)
	}
	g.whole, g.instance, g.metrics = lookUp("nvmlGpmSampleGet"), lookUp("nvmlGpmMigSampleGet"), lookUp("nvmlGpmMetricsGet")
	g.argument = (*C.headroom_metrics_get)(C.calloc(1, C.sizeof_headroom_metrics_get))
	g.shots = (*[maxShots]C.headroom_shot)(C.calloc(maxShots, C.sizeof_headroom_shot))
}

func (g *gpmCall) free() {
	C.free(unsafe.Pointer(g.argument))
	C.free(unsafe.Pointer(g.shots))
	g.argument, g.shots = nil, nil
}

// shot is a sample to take.
type shot struct {
	device   gonvml.Device
	instance int // of the device, or -1 for the device itself
	sample   gonvml.GpmSample
	code     Code // what the driver said
}

// shoot takes the samples one after the other.
func (g *gpmCall) shoot(shots []*shot) {
	for len(shots) > 0 {
		some := shots[:min(len(shots), maxShots)]
		shots = shots[len(some):]
		for i, s := range some {
			g.shots[i] = C.headroom_shot{device: handleOf(s.device), sample: handleOf(s.sample), instance: C.int(s.instance)}
		}
		C.headroom_shoot(g.whole, g.instance, &g.shots[0], C.int(len(some)))
		for i, s := range some {
			s.code = Code(g.shots[i].result)
		}
	}
}

// ask gives each of gpmMetrics between two samples: the value in percent, and the metric's own code.
func (g *gpmCall) ask(first, second unsafe.Pointer, each func(i int, percent float64, code Code)) gonvml.Return {
	a := g.argument
	a.version, a.count = gonvml.GPM_METRICS_GET_VERSION, C.uint(len(gpmMetrics))
	a.first, a.second = first, second
	for i, wanted := range gpmMetrics {
		a.metrics[i] = C.headroom_metric{id: C.uint(wanted.id)}
	}
	ret := gonvml.Return(C.headroom_get(g.metrics, a))
	if ret == gonvml.SUCCESS {
		for i := range gpmMetrics {
			each(i, float64(a.metrics[i].value), Code(a.metrics[i].result))
		}
	}
	return ret
}

// handleOf is the driver's pointer in go-nvml's device or sample, each a struct of that one field.
func handleOf(of any) unsafe.Pointer {
	return reflect.ValueOf(of).Field(0).UnsafePointer()
}
