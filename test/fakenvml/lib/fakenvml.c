// A libnvidia-ml that invents its GPUs. It reads what they are and what they do from the text file that HEADROOM_FAKE_NVML names,
// and reads it again whenever the file changes, so that a test can pull a GPU out under a program that is running.
// ../scenario.go writes the file and says what each line means. Misuse that a real driver might answer with a plausible number (a
// pair of samples from two different slices, the newer first, a sample that was freed) is told on stderr as "fakenvml: misuse".
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "nvml.h"

#define API __attribute__((visibility("default"))) nvmlReturn_t
enum { GPUS = 16, SLICES = 8, RULES = 32, PROCS = 256 };

struct activity { double gr, sm, tensor, dram; };
struct gpu {
  char uuid[96], name[96], pci[32];
  int minor, arch, virt, mig, gpm, migsms, maxmig, util;
  double mem, used, reserved; // MiB
  struct activity act;
};
struct gi { int gpu, id, profile, start, size, slices, sms; double dram; };
struct ci {
  int gpu, gi, id, slot, slices, sms, inc;
  char uuid[96];
  double mem, used;
  struct activity act;
};
struct proc { int gpu, gi, ci, pid, sm, mps; double mem; };
struct rule { char call[64]; int gpu, ret, us, hang, then, hits; };
struct metric { int id, ret; };
struct event { int gpu, seq, gi, ci; unsigned long long type, data; };

static struct {
  char driver[64];
  int init, grow, growtimes, gpmmax, breaks;
  int ngpu, ngi, nci, nproc, nrule, nmetric, nevent;
  struct gpu gpu[GPUS];
  struct gi gi[GPUS * SLICES];
  struct ci ci[GPUS * SLICES];
  struct proc proc[PROCS];
  struct rule rule[RULES];
  struct metric metric[RULES];
  struct event event[RULES];
} now;

// A handle is a GPU or a place for a compute instance on it; what is there is looked up at each call, as ids are used again.
struct nvmlDevice_st { int gpu, gi, ci; };
static struct nvmlDevice_st gpu_handle[GPUS], mig_handle[GPUS * SLICES * SLICES];
static int nmig;
struct nvmlGpuInstance_st { int gpu, id; };
static struct nvmlGpuInstance_st gi_handle[GPUS * 16];
struct nvmlGpmSample_st { unsigned alive; int gpu, gi, ci, inc; unsigned long seq; struct activity act; };
enum { ALIVE = 0x5a3b1e };
static unsigned long sequence, samples_alive;
static int grown, delivered, broken;
static struct nvmlEventSet_st { unsigned long long types[GPUS]; } the_set;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stat seen;

static void misuse(const char *what) { fprintf(stderr, "fakenvml: misuse: %s\n", what); }

static const char *field(const char *line, const char *key) {
  size_t n = strlen(key);
  for (const char *p = strchr(line, ' '); p; p = strchr(p + 1, ' '))
    if (!strncmp(p + 1, key, n) && p[1 + n] == '=') return p + 2 + n;
  return NULL;
}
static double num(const char *line, const char *key, double otherwise) {
  const char *v = field(line, key);
  return v ? strtod(v, NULL) : otherwise;
}
static void text(const char *line, const char *key, char *into, size_t size) {
  const char *v = field(line, key);
  size_t i = 0;
  for (; v && v[i] && v[i] != ' ' && i + 1 < size; i++) into[i] = v[i] == '_' ? ' ' : v[i];
  into[i] = 0;
}
static struct activity act(const char *l) {
  return (struct activity){num(l, "gr", 0), num(l, "sm", 0), num(l, "tensor", 0), num(l, "dram", 0)};
}

static void line_of(char *l) {
  l[strcspn(l, "\n")] = 0;
#define ADD(list, count, limit) (now.count < (limit) ? &now.list[now.count++] : (misuse("too many of " #list), &now.list[0]))
  if (!strncmp(l, "driver ", 7)) {
    text(l, "version", now.driver, sizeof now.driver);
    now.init = num(l, "init", 0);
    now.grow = num(l, "grow", 0);
    now.growtimes = num(l, "growtimes", 0);
    now.breaks = num(l, "break", 0);
    now.gpmmax = num(l, "gpmmax", NVML_GPM_METRIC_MAX);
  } else if (!strncmp(l, "gpu ", 4)) {
    struct gpu *g = ADD(gpu, ngpu, GPUS);
    text(l, "uuid", g->uuid, sizeof g->uuid);
    text(l, "name", g->name, sizeof g->name);
    text(l, "pci", g->pci, sizeof g->pci);
    g->minor = num(l, "minor", now.ngpu - 1);
    g->arch = num(l, "arch", NVML_DEVICE_ARCH_HOPPER);
    g->virt = num(l, "virt", 0);
    g->mig = num(l, "mig", 0);
    g->gpm = num(l, "gpm", 1);
    g->migsms = num(l, "migsms", 0);
    g->maxmig = num(l, "maxmig", 7);
    g->util = num(l, "util", 0);
    g->mem = num(l, "mem", 0), g->used = num(l, "used", 0), g->reserved = num(l, "reserved", 0);
    g->act = act(l);
  } else if (!strncmp(l, "gi ", 3)) {
    struct gi *g = ADD(gi, ngi, GPUS * SLICES);
    *g = (struct gi){num(l, "gpu", 0), num(l, "id", 0), num(l, "profile", 0), num(l, "start", 0), num(l, "size", 1), num(l, "slices", 1), num(l, "sms", 0), num(l, "dram", 0)};
  } else if (!strncmp(l, "ci ", 3)) {
    struct ci *c = ADD(ci, nci, GPUS * SLICES);
    *c = (struct ci){num(l, "gpu", 0), num(l, "gi", 0), num(l, "id", 0), num(l, "slot", 0), num(l, "slices", 1), num(l, "sms", 0), num(l, "inc", 1), {0}, 0, 0, {0, 0, 0, 0}};
    text(l, "uuid", c->uuid, sizeof c->uuid);
    c->mem = num(l, "mem", 0), c->used = num(l, "used", 0);
    c->act = act(l);
  } else if (!strncmp(l, "proc ", 5)) {
    struct proc *p = ADD(proc, nproc, PROCS);
    *p = (struct proc){num(l, "gpu", 0), num(l, "gi", -1), num(l, "ci", -1), num(l, "pid", 0), num(l, "sm", -1), num(l, "mps", 0), num(l, "mem", -1)};
  } else if (!strncmp(l, "rule ", 5)) {
    struct rule *r = ADD(rule, nrule, RULES);
    const char *c = field(l, "call");
    snprintf(r->call, sizeof r->call, "%.*s", c ? (int)strcspn(c, " ") : 0, c ? c : "");
    r->gpu = num(l, "gpu", -1), r->ret = num(l, "ret", 0), r->us = num(l, "us", 0), r->hang = num(l, "hang", 0), r->then = num(l, "then", 0);
  } else if (!strncmp(l, "metric ", 7)) {
    struct metric *m = ADD(metric, nmetric, RULES);
    *m = (struct metric){num(l, "id", 0), num(l, "ret", 0)};
  } else if (!strncmp(l, "event ", 6)) {
    struct event *e = ADD(event, nevent, RULES);
    *e = (struct event){num(l, "gpu", 0), num(l, "seq", 0), num(l, "gi", -1), num(l, "ci", -1), num(l, "type", 0), num(l, "data", 0)};
  } else if (*l && *l != '#') {
    fprintf(stderr, "fakenvml: no such line: %s\n", l);
  }
}

static void reload(void) { // with the lock held
  const char *path = getenv("HEADROOM_FAKE_NVML");
  struct stat st;
  if (seen.st_ino && getenv("HEADROOM_FAKE_NVML_STILL")) return;
  if (!path || stat(path, &st)) return;
  if (seen.st_ino == st.st_ino && seen.st_mtim.tv_sec == st.st_mtim.tv_sec && seen.st_mtim.tv_nsec == st.st_mtim.tv_nsec) return;
  FILE *f = fopen(path, "r");
  if (!f) return;
  seen = st;
  memset(&now, 0, sizeof now);
  char line[1024];
  while (fgets(line, sizeof line, f)) line_of(line);
  fclose(f);
}

static struct ci *ci_of(int gpu, int gi, int ci) {
  for (int i = 0; i < now.nci; i++)
    if (now.ci[i].gpu == gpu && now.ci[i].gi == gi && now.ci[i].id == ci) return &now.ci[i];
  return NULL;
}
static struct gi *gi_of(int gpu, int id) {
  for (int i = 0; i < now.ngi; i++)
    if (now.gi[i].gpu == gpu && now.gi[i].id == id) return &now.gi[i];
  return NULL;
}

// enter takes the lock, brings the world up to date, and lets the scenario's rules fail, delay or hang the call.
// On anything but success the lock is free again.
static nvmlReturn_t enter(const char *call, int gpu) {
again:
  pthread_mutex_lock(&lock);
  reload();
  for (int i = 0; i < now.nrule; i++) {
    struct rule r = now.rule[i];
    if (strcmp(r.call, call) && strcmp(r.call, "*")) continue;
    if (r.gpu >= 0 && r.gpu != gpu) continue;
    if (r.us) {
      pthread_mutex_unlock(&lock);
      nanosleep(&(struct timespec){r.us / 1000000, r.us % 1000000 * 1000L}, NULL);
      pthread_mutex_lock(&lock);
    }
    if (r.hang || (r.then && now.rule[i].hits)) {
      pthread_mutex_unlock(&lock);
      nanosleep(&(struct timespec){0, 5000000}, NULL);
      goto again; // for as long as the scenario says so
    }
    if (r.ret) {
      now.rule[i].hits++;
      pthread_mutex_unlock(&lock);
      return r.ret;
    }
  }
  return NVML_SUCCESS;
}
static nvmlReturn_t leave(nvmlReturn_t r) {
  pthread_mutex_unlock(&lock);
  return r;
}
#define ENTER(gpu) do { nvmlReturn_t r_ = enter(__func__, gpu); if (r_ != NVML_SUCCESS) return r_; } while (0)
#define LEAVE(r) return leave(r)
// DEVICE enters with a handle that must still be of something: d, and with it g, its GPU, and c, its compute instance or NULL.
#define DEVICE(h)                                                     \
  struct nvmlDevice_st *d = h.handle;                                 \
  if (!d) return NVML_ERROR_INVALID_ARGUMENT;                         \
  ENTER(d->gpu);                                                      \
  struct gpu *g = &now.gpu[d->gpu];                                   \
  struct ci *c = d->gi < 0 ? NULL : ci_of(d->gpu, d->gi, d->ci);      \
  (void)g;                                                            \
  if (d->gpu >= now.ngpu) LEAVE(NVML_ERROR_GPU_IS_LOST);              \
  if (d->gi >= 0 && !c) LEAVE(NVML_ERROR_NOT_FOUND)

static nvmlReturn_t put(char *into, unsigned length, const char *value) {
  if (strlen(value) + 1 > length) return NVML_ERROR_INSUFFICIENT_SIZE;
  strcpy(into, value);
  return NVML_SUCCESS;
}

API nvmlInit_v2(void) {
  pthread_mutex_lock(&lock);
  memset(&seen, 0, sizeof seen);
  reload();
  for (int i = 0; i < GPUS; i++) gpu_handle[i] = (struct nvmlDevice_st){i, -1, -1};
  LEAVE(now.init);
}
API nvmlShutdown(void) {
  if (samples_alive) misuse("shutdown with samples that were not freed");
  return NVML_SUCCESS;
}
__attribute__((visibility("default"))) const char *nvmlErrorString(nvmlReturn_t r) { (void)r; return "an error of the fake"; }
API nvmlSystemGetDriverVersion(char *v, unsigned n) { ENTER(-1); LEAVE(put(v, n, now.driver)); }
API nvmlDeviceGetCount_v2(unsigned *n) { ENTER(-1); *n = now.ngpu; LEAVE(NVML_SUCCESS); }
API nvmlDeviceGetHandleByIndex_v2(unsigned i, nvmlDevice_t *d) {
  ENTER((int)i);
  if ((int)i >= now.ngpu) LEAVE(NVML_ERROR_INVALID_ARGUMENT);
  d->handle = &gpu_handle[i];
  LEAVE(NVML_SUCCESS);
}
API nvmlDeviceGetUUID(nvmlDevice_t h, char *v, unsigned n) { DEVICE(h); LEAVE(put(v, n, c ? c->uuid : g->uuid)); }
API nvmlDeviceGetName(nvmlDevice_t h, char *v, unsigned n) { DEVICE(h); LEAVE(put(v, n, g->name)); }
API nvmlDeviceGetMinorNumber(nvmlDevice_t h, unsigned *v) { DEVICE(h); *v = g->minor; LEAVE(NVML_SUCCESS); }
API nvmlDeviceGetPciInfo_v3(nvmlDevice_t h, nvmlPciInfo_t *v) {
  DEVICE(h);
  memset(v, 0, sizeof *v);
  LEAVE(put(v->busId, sizeof v->busId, g->pci));
}
API nvmlDeviceGetArchitecture(nvmlDevice_t h, nvmlDeviceArchitecture_t *v) { DEVICE(h); *v = g->arch; LEAVE(NVML_SUCCESS); }
API nvmlDeviceGetVirtualizationMode(nvmlDevice_t h, nvmlGpuVirtualizationMode_t *v) { DEVICE(h); *v = g->virt; LEAVE(NVML_SUCCESS); }
API nvmlDeviceGetMigMode(nvmlDevice_t h, unsigned *current, unsigned *pending) {
  DEVICE(h);
  if (g->mig < 0) LEAVE(NVML_ERROR_NOT_SUPPORTED);
  *current = *pending = g->mig;
  LEAVE(NVML_SUCCESS);
}
API nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t h, unsigned *n) { DEVICE(h); *n = g->maxmig; LEAVE(NVML_SUCCESS); }
API nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t h, unsigned slot, nvmlDevice_t *mig) {
  DEVICE(h);
  for (int i = 0; i < now.nci; i++) {
    struct ci *found = &now.ci[i];
    if (found->gpu != d->gpu || found->slot != (int)slot) continue;
    for (int k = 0; k < nmig; k++)
      if (mig_handle[k].gpu == d->gpu && mig_handle[k].gi == found->gi && mig_handle[k].ci == found->id) {
        mig->handle = &mig_handle[k];
        LEAVE(NVML_SUCCESS);
      }
    mig_handle[nmig] = (struct nvmlDevice_st){d->gpu, found->gi, found->id};
    mig->handle = &mig_handle[nmig++];
    LEAVE(NVML_SUCCESS);
  }
  LEAVE(NVML_ERROR_NOT_FOUND); // holes are normal
}
API nvmlDeviceGetGpuInstanceId(nvmlDevice_t h, unsigned *v) { DEVICE(h); if (!c) LEAVE(NVML_ERROR_NOT_SUPPORTED); *v = c->gi; LEAVE(NVML_SUCCESS); }
API nvmlDeviceGetComputeInstanceId(nvmlDevice_t h, unsigned *v) { DEVICE(h); if (!c) LEAVE(NVML_ERROR_NOT_SUPPORTED); *v = c->id; LEAVE(NVML_SUCCESS); }
API nvmlDeviceGetGpuInstanceById(nvmlDevice_t h, unsigned id, nvmlGpuInstance_t *v) {
  DEVICE(h);
  if (!gi_of(d->gpu, id) || id >= 16) LEAVE(NVML_ERROR_NOT_FOUND);
  v->handle = &gi_handle[d->gpu * 16 + id];
  *v->handle = (struct nvmlGpuInstance_st){d->gpu, id};
  LEAVE(NVML_SUCCESS);
}
API nvmlGpuInstanceGetInfo(nvmlGpuInstance_t instance, nvmlGpuInstanceInfo_t *v) {
  struct nvmlGpuInstance_st *h = instance.handle;
  ENTER(h->gpu);
  struct gi *i = gi_of(h->gpu, h->id);
  if (!i) LEAVE(NVML_ERROR_NOT_FOUND);
  memset(v, 0, sizeof *v);
  v->device.handle = &gpu_handle[h->gpu];
  v->id = i->id, v->profileId = i->profile, v->placement.start = i->start, v->placement.size = i->size;
  LEAVE(NVML_SUCCESS);
}
API nvmlDeviceGetAttributes_v2(nvmlDevice_t h, nvmlDeviceAttributes_t *v) {
  DEVICE(h);
  if (!c) LEAVE(NVML_ERROR_NOT_SUPPORTED);
  struct gi *i = gi_of(c->gpu, c->gi);
  memset(v, 0, sizeof *v);
  v->multiprocessorCount = c->sms, v->computeInstanceSliceCount = c->slices, v->gpuInstanceSliceCount = i ? i->slices : 0, v->memorySizeMB = c->mem;
  LEAVE(NVML_SUCCESS);
}
API nvmlDeviceGetGpuInstanceProfileInfo(nvmlDevice_t h, unsigned profile, nvmlGpuInstanceProfileInfo_t *v) {
  DEVICE(h);
  if (!g->migsms || profile != (g->maxmig == 4 ? NVML_GPU_INSTANCE_PROFILE_4_SLICE : NVML_GPU_INSTANCE_PROFILE_7_SLICE)) LEAVE(NVML_ERROR_NOT_SUPPORTED);
  memset(v, 0, sizeof *v);
  v->sliceCount = g->maxmig, v->multiprocessorCount = g->migsms, v->instanceCount = 1;
  LEAVE(NVML_SUCCESS);
}

#define MIB 1048576.0
API nvmlDeviceGetMemoryInfo(nvmlDevice_t h, nvmlMemory_t *v) {
  DEVICE(h);
  if (c && broken) LEAVE(NVML_ERROR_UNKNOWN);
  double total = c ? c->mem : g->mem, used = c ? c->used : g->used + g->reserved;
  v->total = total * MIB, v->used = used * MIB, v->free = (total - used) * MIB;
  LEAVE(NVML_SUCCESS);
}
API nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t h, nvmlMemory_v2_t *v) {
  DEVICE(h);
  if (v->version != nvmlMemory_v2) LEAVE(NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  if (c && broken) LEAVE(NVML_ERROR_UNKNOWN);
  double total = c ? c->mem : g->mem, used = c ? c->used : g->used, reserved = c ? 0 : g->reserved;
  v->total = total * MIB, v->used = used * MIB, v->reserved = reserved * MIB, v->free = (total - used - reserved) * MIB;
  LEAVE(NVML_SUCCESS);
}
API nvmlDeviceGetUtilizationRates(nvmlDevice_t h, nvmlUtilization_t *v) {
  DEVICE(h);
  if (c || g->mig > 0) LEAVE(NVML_ERROR_NOT_SUPPORTED);
  v->gpu = g->util, v->memory = 0;
  LEAVE(NVML_SUCCESS);
}

static nvmlReturn_t processes(struct nvmlDevice_st *d, struct ci *c, int mps, unsigned *count, nvmlProcessInfo_t *infos) {
  unsigned n = 0, room = *count;
  for (int i = 0; i < now.nproc; i++) {
    struct proc *p = &now.proc[i];
    if (p->gpu != d->gpu || p->mps != mps || (c && (p->gi != c->gi || p->ci != c->id))) continue;
    if (n < room) infos[n] = (nvmlProcessInfo_t){p->pid, p->mem < 0 ? (unsigned long long)NVML_VALUE_NOT_AVAILABLE : (unsigned long long)(p->mem * MIB), p->gi, p->ci};
    n++;
  }
  *count = n;
  return n > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}
API nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t h, unsigned *n, nvmlProcessInfo_t *v) { DEVICE(h); LEAVE(processes(d, c, 0, n, v)); }
API nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t h, unsigned *n, nvmlProcessInfo_t *v) { DEVICE(h); LEAVE(processes(d, c, 1, n, v)); }
API nvmlDeviceGetProcessUtilization(nvmlDevice_t h, nvmlProcessUtilizationSample_t *v, unsigned *count, unsigned long long since) {
  DEVICE(h);
  if (c || g->mig > 0) LEAVE(NVML_ERROR_NOT_SUPPORTED);
  unsigned n = 0, room = v ? *count : 0;
  for (int i = 0; i < now.nproc; i++) {
    if (now.proc[i].gpu != d->gpu || now.proc[i].sm < 0) continue;
    if (n < room) v[n] = (nvmlProcessUtilizationSample_t){now.proc[i].pid, since + 1000000, now.proc[i].sm, 0, 0, 0};
    n++;
  }
  if (!n) LEAVE(NVML_ERROR_NOT_FOUND);
  if (!v && now.grow && grown < now.growtimes) { // more will have come by the second call
    grown++;
    *count = (int)n > now.grow ? n - now.grow : 1;
    LEAVE(NVML_ERROR_INSUFFICIENT_SIZE);
  }
  *count = n;
  LEAVE(n > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS);
}

API nvmlGpmQueryDeviceSupport(nvmlDevice_t h, nvmlGpmSupport_t *v) {
  DEVICE(h);
  if (v->version != NVML_GPM_SUPPORT_VERSION) LEAVE(NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  v->isSupportedDevice = g->gpm;
  LEAVE(NVML_SUCCESS);
}
API nvmlGpmSampleAlloc(nvmlGpmSample_t *s) {
  ENTER(-1);
  s->handle = calloc(1, sizeof *s->handle);
  s->handle->alive = ALIVE;
  samples_alive++;
  LEAVE(NVML_SUCCESS);
}
API nvmlGpmSampleFree(nvmlGpmSample_t sample) {
  struct nvmlGpmSample_st *s = sample.handle;
  pthread_mutex_lock(&lock);
  if (s->alive != ALIVE) misuse("a sample freed twice");
  s->alive = 0; // the memory stays, so that a later use can be told
  samples_alive--;
  LEAVE(NVML_SUCCESS);
}
static nvmlReturn_t sampled(struct nvmlGpmSample_st *s, int gpu, int gi, int ci, int inc, struct activity a) {
  if (!s || s->alive != ALIVE) {
    misuse("a sample taken into freed memory");
    return NVML_ERROR_INVALID_ARGUMENT;
  }
  s->gpu = gpu, s->gi = gi, s->ci = ci, s->inc = inc, s->act = a, s->seq = ++sequence;
  return NVML_SUCCESS;
}
API nvmlGpmSampleGet(nvmlDevice_t h, nvmlGpmSample_t sample) {
  DEVICE(h);
  if (!g->gpm) LEAVE(NVML_ERROR_NOT_SUPPORTED);
  LEAVE(sampled(sample.handle, d->gpu, d->gi, d->ci, c ? c->inc : 0, c ? c->act : g->act));
}
API nvmlGpmMigSampleGet(nvmlDevice_t h, unsigned id, nvmlGpmSample_t sample) {
  DEVICE(h);
  struct gi *i = gi_of(d->gpu, id);
  if (!g->gpm) LEAVE(NVML_ERROR_NOT_SUPPORTED);
  if (!i) LEAVE(NVML_ERROR_NOT_FOUND);
  broken |= now.breaks;
  struct activity a = {0, 0, 0, i->dram}; // a GPU instance's own activity ends at C/G, as DCGM's does
  int inc = 0;
  for (int k = 0; k < now.nci; k++)
    if (now.ci[k].gpu == d->gpu && now.ci[k].gi == (int)id) {
      a.gr += now.ci[k].act.gr / i->slices, a.sm += now.ci[k].act.sm / i->slices, a.tensor += now.ci[k].act.tensor / i->slices;
      inc = now.ci[k].inc;
    }
  LEAVE(sampled(sample.handle, d->gpu, id, -1, inc, a));
}
API nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *m) {
  struct nvmlGpmSample_st *a = m->sample1.handle, *b = m->sample2.handle;
  ENTER(b ? b->gpu : -1);
  if (m->version != NVML_GPM_METRICS_GET_VERSION) LEAVE(NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
  if (!a || !b || a->alive != ALIVE || b->alive != ALIVE || !a->seq || !b->seq) {
    misuse("metrics of a sample that was freed or never taken");
    LEAVE(NVML_ERROR_INVALID_ARGUMENT);
  }
  int wrong = 1;
  if (a->gpu != b->gpu || a->gi != b->gi || a->ci != b->ci) misuse("metrics of samples of two slices");
  else if (a->inc != b->inc) misuse("metrics across a MIG change");
  else if (a->seq >= b->seq) misuse("metrics with the newer sample first");
  else wrong = 0;
  for (unsigned i = 0; i < m->numMetrics; i++) {
    nvmlGpmMetric_t *v = &m->metrics[i];
    int id = v->metricId, known = 1;
    v->nvmlReturn = NVML_SUCCESS;
    switch (id) {
    case NVML_GPM_METRIC_GRAPHICS_UTIL: v->value = b->act.gr; break;
    case NVML_GPM_METRIC_SM_UTIL: v->value = b->act.sm; break;
    case NVML_GPM_METRIC_ANY_TENSOR_UTIL: v->value = b->act.tensor; break;
    case NVML_GPM_METRIC_DRAM_BW_UTIL: v->value = b->act.dram; break;
    default: known = 0;
    }
    if (b->ci >= 0 && id == NVML_GPM_METRIC_DRAM_BW_UTIL) known = 0; // a compute instance has no bandwidth of its own
    if (!known || id >= now.gpmmax) v->nvmlReturn = id >= now.gpmmax ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_NOT_SUPPORTED;
    for (int k = 0; k < now.nmetric; k++)
      if (now.metric[k].id == id) v->nvmlReturn = now.metric[k].ret;
    if (wrong) v->value = 99; // what makes this dangerous is that it looks like a value
  }
  LEAVE(NVML_SUCCESS);
}

API nvmlEventSetCreate(nvmlEventSet_t *s) { ENTER(-1); memset(&the_set, 0, sizeof the_set); s->handle = &the_set; LEAVE(NVML_SUCCESS); }
API nvmlEventSetFree(nvmlEventSet_t s) { (void)s; return NVML_SUCCESS; }
API nvmlDeviceGetSupportedEventTypes(nvmlDevice_t h, unsigned long long *v) {
  DEVICE(h);
  *v = nvmlEventTypeXidCriticalError | nvmlEventMigConfigChange | nvmlEventTypeGpuUnavailableError;
  LEAVE(NVML_SUCCESS);
}
API nvmlDeviceRegisterEvents(nvmlDevice_t h, unsigned long long types, nvmlEventSet_t s) {
  DEVICE(h);
  (void)s;
  if (d->gi >= 0) LEAVE(NVML_ERROR_NOT_SUPPORTED);
  the_set.types[d->gpu] |= types;
  LEAVE(NVML_SUCCESS);
}
API nvmlEventSetWait_v2(nvmlEventSet_t s, nvmlEventData_t *v, unsigned ms) {
  (void)s;
  for (unsigned waited = 0;; waited += 2) {
    ENTER(-1);
    for (int i = 0; i < now.nevent; i++) {
      struct event *e = &now.event[i];
      if (e->seq <= delivered || !(the_set.types[e->gpu] & e->type)) continue;
      delivered = e->seq;
      memset(v, 0, sizeof *v);
      v->device.handle = &gpu_handle[e->gpu];
      v->eventType = e->type, v->eventData = e->data;
      v->gpuInstanceId = e->gi, v->computeInstanceId = e->ci;
      LEAVE(NVML_SUCCESS);
    }
    pthread_mutex_unlock(&lock);
    if (waited >= ms) return NVML_ERROR_TIMEOUT;
    nanosleep(&(struct timespec){0, 2000000}, NULL);
  }
}
