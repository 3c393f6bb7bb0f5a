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

static void *headroom_find(void) { return dlsym(RTLD_DEFAULT, "nvmlGpmMetricsGet"); }
static int headroom_get(void *function, headroom_metrics_get *get) { return ((int (*)(headroom_metrics_get *))function)(get); }
*/
import "C"

import (
	"reflect"
	"unsafe"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
)

// metricsGet is nvmlGpmMetricsGet without go-nvml, whose wrapper copies the 19 KiB of its argument three times and allocates it twice:
// at two calls a slice a second that was most of the agent's cost. The argument here is made once.
type metricsGet struct {
	function unsafe.Pointer
	argument *C.headroom_metrics_get
}

// The array's length is part of the driver's interface: this does not compile when go-nvml's nvml.h has another.
var _ [len(gonvml.GpmMetricsGetType{}.Metrics)]struct{} = [C.headroom_gpm_metrics]struct{}{}

// find looks the function up in the library that Open has loaded.
func (m *metricsGet) find() {
	m.function = C.headroom_find()
	m.argument = (*C.headroom_metrics_get)(C.calloc(1, C.sizeof_headroom_metrics_get))
}

func (m *metricsGet) free() {
	C.free(unsafe.Pointer(m.argument))
	m.argument = nil
}

// ask gives each of gpmMetrics between two samples: the value in percent, and the metric's own code.
func (m *metricsGet) ask(first, second unsafe.Pointer, each func(i int, percent float64, code Code)) gonvml.Return {
	a := m.argument
	a.version, a.count = gonvml.GPM_METRICS_GET_VERSION, C.uint(len(gpmMetrics))
	a.first, a.second = first, second
	for i, wanted := range gpmMetrics {
		a.metrics[i] = C.headroom_metric{id: C.uint(wanted.id)}
	}
	ret := gonvml.Return(C.headroom_get(m.function, a))
	if ret == gonvml.SUCCESS {
		for i := range gpmMetrics {
			each(i, float64(a.metrics[i].value), Code(a.metrics[i].result))
		}
	}
	return ret
}

// handleOf is the driver's pointer in go-nvml's sample, a struct of that one field.
func handleOf(sample gonvml.GpmSample) unsafe.Pointer {
	return reflect.ValueOf(sample).Field(0).UnsafePointer()
}
