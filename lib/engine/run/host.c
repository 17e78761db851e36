/* What is asked of the machine and of the OpenMP runtime behind oneDNN. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <moco/device.h>

#include "engine/check/check.h"
#include "engine/run/device_internal.h"
#include "engine/run/process.h"
#include "util/border.h"
#include "util/json.h"
#include "util/processors.h"
#include "util/version.h"

/* Processors by cgroup quota (version 2, then 1); 0 = no quota. */
static int quota_processors(void)
{
    long long quota = -1, period = -1;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file != NULL) {
        if (fscanf(file, "%lld %lld", &quota, &period) != 2)
            quota = -1; /* "max" */
        fclose(file);
    } else {
        file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re");
        if (file != NULL) {
            if (fscanf(file, "%lld", &quota) != 1)
                quota = -1;
            fclose(file);
        }
        file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re");
        if (file != NULL) {
            if (fscanf(file, "%lld", &period) != 1)
                period = -1;
            fclose(file);
        }
    }
    if (quota <= 0 || period <= 0)
        return 0;
    long long processors = (quota + period - 1) / period;
    return processors < 1024 ? (int)processors : 1024;
}

static int affinity_processors(void)
{
    cpu_set_t set;
    if (mo_processors(&set))
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int32_t mo_default_lanes(void)
{
    int processors = affinity_processors(), quota = quota_processors();
    if (quota > 0 && quota < processors)
        processors = quota;
    return processors < 1024 ? processors : 1024;
}

/* omp_set_num_threads of the runtimes that oneDNN may mean, found without linking any: through the
 * global scope, and through oneDNN's own dependencies. Lanes of one device read them while another
 * device is made. */
typedef void (*set_threads_fn)(int);
static _Atomic set_threads_fn set_threads[2];

static set_threads_fn find_in(void *library)
{
    union {
        set_threads_fn function;
        void *object;
    } found = {.object = dlsym(library, "omp_set_num_threads")};
    return found.function;
}

void mo_openmp_find(void)
{
    union {
        const dnnl_version_t *(*function)(void);
        void *object;
    } anchor = {.function = dnnl_version};
    Dl_info info;
    atomic_store(&set_threads[0], find_in(RTLD_DEFAULT));
    if (atomic_load(&set_threads[1]) != NULL || dladdr(anchor.object, &info) == 0 || info.dli_fname == NULL)
        return;
    void *handle = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    if (handle != NULL) {
        atomic_store(&set_threads[1], find_in(handle));
        dlclose(handle);
    }
}

/* One OpenMP thread for the calling thread; each distinct runtime is told. */
void mo_openmp_one_thread(void)
{
    const set_threads_fn first = atomic_load(&set_threads[0]), second = atomic_load(&set_threads[1]);
    if (first != NULL)
        first(1);
    if (second != NULL && second != first)
        second(1);
}

/* Below SSE4.1 oneDNN has nothing for some operations and plain loops for the others. */
moco_status_t mo_processor_check(void)
{
#if defined(__x86_64__) || defined(__i386__)
    if (!__builtin_cpu_supports("sse4.1"))
        return mo_fail(MOCO_ERR_UNSUPPORTED, "this processor does not have SSE4.1, which oneDNN needs on x86");
#endif
    return MOCO_OK;
}

static const char *runtime_name(unsigned runtime)
{
    switch (runtime) {
    case DNNL_RUNTIME_NONE: return "none";
    case DNNL_RUNTIME_SEQ: return "sequential";
    case DNNL_RUNTIME_OMP: return "OpenMP";
    case DNNL_RUNTIME_TBB: return "TBB";
    case DNNL_RUNTIME_THREADPOOL: return "threadpool";
    case DNNL_RUNTIME_OCL: return "OpenCL";
    default: return "SYCL";
    }
}

/* Under mo_process_hold. */
static json_t *ask_onednn(void)
{
    const dnnl_version_t *v = dnnl_version();
    char version[64];
    snprintf(version, sizeof version, "%d.%d.%d", v->major, v->minor, v->patch);
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "version", version, "isa", mo_isa_name(), "cpu_runtime",
                     runtime_name(v->cpu_runtime), "gpu_runtime", runtime_name(v->gpu_runtime), "gpu_engines",
                     (int)mo_gpu_count());
}

static json_t *checks_json(void)
{
    mo_checks_t checks;
    const int held = mo_process_hold(); /* the child of a fork must find no lock taken */
    mo_checks_read(&checks);
    if (held)
        mo_process_release();
    return json_pack("{s:I, s:I, s:s, s:f}", "primitives", (json_int_t)checks.made, "left_out",
                     (json_int_t)checks.refused, "first", checks.first, "seconds", checks.seconds);
}

static json_t *gpu_json(int64_t number, const mo_opencl_facts_t *facts)
{
    return json_pack("{s:I, s:o, s:o, s:I, s:I}", "number", (json_int_t)number, "name", mo_json_bytes(facts->name),
                     "driver", mo_json_bytes(facts->driver), "memory_bytes", (json_int_t)facts->bytes,
                     "largest_block_bytes", (json_int_t)facts->largest);
}

static json_t *ask_gpus(void)
{
    json_t *list = json_array();
    const int32_t count = dnnl_version()->gpu_runtime == DNNL_RUNTIME_OCL ? mo_gpu_count() : 0;
    for (int32_t i = 0; i < count && list != NULL; i++) {
        mo_opencl_facts_t facts;
        if (!mo_opencl_describe(i, &facts))
            continue; /* oneDNN cannot use it */
        json_t *one = gpu_json(i, &facts);
        if (one == NULL || json_array_append_new(list, one) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *onednn_json(void)
{
    if (!mo_process_hold())
        return json_null();
    json_t *json = ask_onednn();
    mo_process_release();
    return json;
}

static json_t *gpus_json(void)
{
    if (!mo_process_hold())
        return json_array();
    json_t *json = ask_gpus();
    mo_process_release();
    return json;
}

moco_status_t moco_build_info(char *text, uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    return mo_json_text(json_pack("{s:s, s:o, s:o, s:i, s:s}", "libmoco", MO_VERSION_TEXT, "onednn", onednn_json(),
                                  "gpus", gpus_json(), "processors", mo_default_lanes(), "compiler", __VERSION__),
                        text, capacity, needed);
}

moco_status_t moco_device_info(const moco_device_t *device, char *text, uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    if (device == NULL)
        return mo_fail(MOCO_ERR_ARGUMENT, "device is NULL");
    moco_device_t *of = (moco_device_t *)device; /* its lock alone */
    pthread_mutex_lock(&of->lock);
    const double training = (double)device->turns.spent[MO_TRAINING] * 1e-9;
    const double embedding = (double)device->turns.spent[MO_EMBEDDING] * 1e-9;
    pthread_mutex_unlock(&of->lock);
    json_t *info = json_pack("{s:s, s:i, s:{s:f, s:f}, s:o, s:o}", "kind", device->gpu != NULL ? "gpu" : "cpu", "lanes",
                             device->lane_count, "lane_seconds", "training", training, "embedding", embedding, "onednn",
                             onednn_json(), "checks", checks_json());
    if (info != NULL && device->gpu != NULL) {
        mo_opencl_facts_t facts;
        mo_opencl_facts(device->gpu, &facts);
        json_object_set_new(info, "gpu", gpu_json(device->number, &facts));
    }
    return mo_json_text(info, text, capacity, needed);
}
