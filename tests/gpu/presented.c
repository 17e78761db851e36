/* Presents a CPU's OpenCL device to oneDNN 2.6 as a GPU of Intel's, for tests: the library's GPU
 * path then runs on any machine. To be preloaded (LD_PRELOAD) into a program; never installed. It
 * stands between oneDNN and the OpenCL loader:
 *
 * - A question for GPUs is a question for CPUs, and what answers says that it is a GPU of Intel's.
 * - oneDNN finds out an Intel GPU's generation from a compiled empty program. It gets the outline
 *   of one of a generation that it does not know, and so takes only kernels written in OpenCL C.
 * - Those are written for sub-groups, lanes of a work-group that exchange numbers. Debian 12's PoCL
 *   has none, so a sub-group is made of one work-item: its reductions and broadcasts are the number
 *   itself, and the number of lanes that a kernel was compiled and started for becomes one. Kernels
 *   whose lanes only read and write side by side are run as they are, and layer norm takes the form
 *   in which each lane walks over the whole row. A kernel that would be wrong
 *   either way is refused as one that does not compile, and oneDNN takes its next implementation.
 * - Memory with addresses (cl_intel_unified_shared_memory) is shared virtual memory below. The
 *   addresses that are handed out are not those of the memory: host code that follows one ends.
 *
 * MOCO_PRESENTED=log prints what is compiled, refused and run; =sources writes programs to the
 * folder MOCO_PRESENTED_SOURCES. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sub_groups.h"

#define REAL(function) ((__typeof__(&(function)))dlsym(RTLD_NEXT, #function))

static int wants(const char *word)
{
    const char *asked = getenv("MOCO_PRESENTED");
    return asked != NULL && strstr(asked, word) != NULL;
}

#define LOG(...) (wants("log") ? (void)fprintf(stderr, "presented: " __VA_ARGS__) : (void)0)

/* ---- programs: what is known of each ---- */

typedef struct program {
    cl_program handle;
    const char *refused; /* why; NULL: it is built */
    int empty;           /* the one by which oneDNN finds out the generation */
    int as_written;      /* its lanes only read and write side by side: as many as it wants */
    int lanes_of_groups; /* the whole work-group exchanges numbers: it becomes one work-item */
    int lanes_of_rows;   /* lanes share a row, unless the options say that each walks over all of it */
} program_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static program_t *programs;
static size_t program_count;

static void note_program(program_t program)
{
    pthread_mutex_lock(&lock);
    size_t at = 0;
    while (at < program_count && programs[at].handle != program.handle) /* an address may come again */
        at++;
    if (at == program_count) {
        programs = realloc(programs, (program_count + 1) * sizeof *programs);
        program_count += programs != NULL;
    }
    if (programs == NULL)
        abort();
    programs[at] = program;
    pthread_mutex_unlock(&lock);
}

static program_t known(cl_program handle)
{
    program_t found = {.handle = NULL};
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < program_count; i++)
        if (programs[i].handle == handle)
            found = programs[i];
    pthread_mutex_unlock(&lock);
    return found;
}

/* ---- the device ---- */

cl_int clGetDeviceIDs(cl_platform_id platform, cl_device_type type, cl_uint room, cl_device_id *devices, cl_uint *count)
{
    return REAL(clGetDeviceIDs)(platform, type == CL_DEVICE_TYPE_GPU ? CL_DEVICE_TYPE_CPU : type, room, devices, count);
}

static cl_int answer(const void *value, size_t bytes, size_t room, void *out, size_t *needed)
{
    if (needed != NULL)
        *needed = bytes;
    if (out != NULL && room < bytes)
        return CL_INVALID_VALUE;
    if (out != NULL)
        memcpy(out, value, bytes);
    return CL_SUCCESS;
}

cl_int clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t room, void *out, size_t *needed)
{
    const cl_device_type type = CL_DEVICE_TYPE_GPU;
    const cl_uint intel = 0x8086;
    char text[16384];
    if (what == CL_DEVICE_TYPE)
        return answer(&type, sizeof type, room, out, needed);
    if (what == CL_DEVICE_VENDOR_ID)
        return answer(&intel, sizeof intel, room, out, needed);
    if (what != CL_DEVICE_EXTENSIONS)
        return REAL(clGetDeviceInfo)(device, what, room, out, needed);
    const char more[] = " cl_intel_subgroups cl_intel_unified_shared_memory";
    const cl_int status = REAL(clGetDeviceInfo)(device, what, sizeof text - sizeof more, text, NULL);
    if (status != CL_SUCCESS)
        return status;
    strcat(text, more);
    return answer(text, strlen(text) + 1, room, out, needed);
}

/* oneDNN looks for the functions below at platforms of this name. */
cl_int clGetPlatformInfo(cl_platform_id platform, cl_platform_info what, size_t room, void *out, size_t *needed)
{
    const char name[] = "Intel(R) OpenCL, presented", vendor[] = "Intel(R) Corporation";
    if (what == CL_PLATFORM_NAME)
        return answer(name, sizeof name, room, out, needed);
    if (what == CL_PLATFORM_VENDOR)
        return answer(vendor, sizeof vendor, room, out, needed);
    return REAL(clGetPlatformInfo)(platform, what, room, out, needed);
}

/* ---- memory with addresses ---- */

/* No address of x86-64 or aarch64 has this bit alone among its upper ones. */
static const uintptr_t hidden = (uintptr_t)1 << 61;

static void *inside(const void *address)
{
    const uintptr_t at = (uintptr_t)address;
    return (void *)(at & hidden ? at ^ hidden : at);
}

static void *memory_alloc(cl_context context, cl_device_id device, const void *properties, size_t bytes,
                          cl_uint alignment, cl_int *error)
{
    (void)device;
    (void)properties;
    void *at = REAL(clSVMAlloc)(context, CL_MEM_READ_WRITE, bytes, alignment);
    if (error != NULL)
        *error = at != NULL ? CL_SUCCESS : CL_OUT_OF_RESOURCES;
    if (at == NULL)
        return NULL;
    memset(at, 0xff, bytes); /* a new memory of a GPU holds anything: here NaNs */
    return (void *)((uintptr_t)at | hidden);
}

static cl_int memory_free(cl_context context, void *address)
{
    REAL(clSVMFree)(context, inside(address));
    return CL_SUCCESS;
}

static cl_int memory_copy(cl_command_queue queue, cl_bool wait, void *to, const void *from, size_t bytes, cl_uint count,
                          const cl_event *after, cl_event *event)
{
    return REAL(clEnqueueSVMMemcpy)(queue, wait, inside(to), inside(from), bytes, count, after, event);
}

static cl_int memory_fill(cl_command_queue queue, void *at, const void *pattern, size_t pattern_bytes, size_t bytes,
                          cl_uint count, const cl_event *after, cl_event *event)
{
    return REAL(clEnqueueSVMMemFill)(queue, inside(at), pattern, pattern_bytes, bytes, count, after, event);
}

static cl_int set_argument(cl_kernel kernel, cl_uint number, const void *address)
{
    return REAL(clSetKernelArgSVMPointer)(kernel, number, inside(address));
}

/* oneDNN asks of what kind a memory is: on the host, on the device, or both by turns. */
static cl_int memory_info(cl_context context, const void *address, cl_uint what, size_t room, void *out, size_t *needed)
{
    enum { MEMORY_KIND = 0x419A, UNKNOWN = 0x4196, OF_DEVICE = 0x4198 };
    const cl_uint kind = (uintptr_t)address & hidden ? OF_DEVICE : UNKNOWN;
    (void)context;
    return what == MEMORY_KIND ? answer(&kind, sizeof kind, room, out, needed) : CL_INVALID_VALUE;
}

void *clGetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } own[] = {{"clDeviceMemAllocINTEL", (void (*)(void))memory_alloc},
               {"clSharedMemAllocINTEL", NULL},
               {"clHostMemAllocINTEL", NULL},
               {"clMemFreeINTEL", (void (*)(void))memory_free},
               {"clEnqueueMemcpyINTEL", (void (*)(void))memory_copy},
               {"clEnqueueMemFillINTEL", (void (*)(void))memory_fill},
               {"clSetKernelArgMemPointerINTEL", (void (*)(void))set_argument},
               {"clGetMemAllocInfoINTEL", (void (*)(void))memory_info}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(own[i].name, name) == 0)
            return *(void *const *)&own[i].function;
    return REAL(clGetExtensionFunctionAddressForPlatform)(platform, name);
}

/* ---- programs ---- */

/* Words of a source whose kernels count on the lanes of a sub-group in ways that one lane cannot
 * stand for. */
static const char *why_refused(const char *source)
{
    static const char *const words[] = {"gen9_", "xe_", "generic_reorder"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(source, words[i]) != NULL)
            return words[i];
    return NULL;
}

/* What clang refuses in oneDNN's sources, as long as what is there: in the size of an array, an
 * expression that is no constant by the letter of the language. */
static void amend(char *source)
{
    static const char *const pairs[][2] = {
        {"({ x / SUB_GROUP_SIZE; })", "((x) / SUB_GROUP_SIZE   )"},
        {"float bin_arg[bin_arg_size];", "float bin_arg[64];          "},
        {"({ false; })", "(  false   )"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (char *at; (at = strstr(source, pairs[i][0])) != NULL;)
            memcpy(at, pairs[i][1], strlen(pairs[i][1]));
}

static void write_source(const char *source)
{
    static int number;
    const char *folder = getenv("MOCO_PRESENTED_SOURCES");
    char path[4096];
    if (!wants("sources") || folder == NULL)
        return;
    snprintf(path, sizeof path, "%s/%04d.cl", folder, __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED));
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        fputs(source, file);
        fclose(file);
    }
}

cl_program clCreateProgramWithSource(cl_context context, cl_uint count, const char **strings, const size_t *lengths,
                                     cl_int *error)
{
    program_t program = {.empty = count == 1 && strcmp(strings[0], "kernel void _(){}") == 0};
    if (program.empty || count != 1) {
        program.handle = REAL(clCreateProgramWithSource)(context, count, strings, lengths, error);
        note_program(program);
        return program.handle;
    }
    char *source = strdup(strings[0]);
    if (source == NULL)
        abort();
    program.refused = why_refused(source);
    program.as_written = strstr(source, "custom_reorder") != NULL;
    program.lanes_of_groups = strstr(source, "ref_softmax") != NULL;
    program.lanes_of_rows = strstr(source, "ref_lnorm") != NULL;
    amend(source);
    write_source(source);
    const char *both[] = {sub_groups, source};
    program.handle = REAL(clCreateProgramWithSource)(context, 2, both, NULL, error);
    free(source);
    note_program(program);
    return program.handle;
}

/* "-DNAME=123" becomes "-DNAME=1  ", or another digit. */
static void become(char *options, const char *define, char digit)
{
    for (char *at = options; (at = strstr(at, define)) != NULL;) {
        at += strlen(define);
        for (*at++ = digit; *at >= '0' && *at <= '9';)
            *at++ = ' ';
    }
}

cl_int clBuildProgram(cl_program handle, cl_uint count, const cl_device_id *devices, const char *options,
                      void(CL_CALLBACK *then)(cl_program, void *), void *data)
{
    const program_t program = known(handle);
    if (program.handle == NULL || program.empty || options == NULL)
        return REAL(clBuildProgram)(handle, count, devices, options, then, data);
    if (program.refused != NULL) {
        LOG("refused: %s\n", program.refused);
        return CL_BUILD_PROGRAM_FAILURE;
    }
    char *text = NULL;
    const int own_lanes = program.as_written && strstr(options, "-DGWS_SGS_DEFAULT=") != NULL;
    const char *lanes = program.lanes_of_rows ? "SUB_GROUP_SIZE" : own_lanes ? "GWS_SGS_DEFAULT" : "1";
    const char *size = strstr(options, "-DSUB_GROUP_SIZE=") != NULL ? "" : " -DSUB_GROUP_SIZE=LANES";
    if (asprintf(&text, "%s -w -cl-kernel-arg-info -DLANES=%s%s", options, lanes, size) < 0)
        abort();
    for (char *at; (at = strstr(text, "-cl-std=CL2.0")) != NULL;)
        memcpy(at, "-cl-std=CL1.2", strlen("-cl-std=CL1.2"));
    if (program.lanes_of_groups) {
        become(text, "-DGROUP_SIZE=", '1');
        become(text, "-DSUB_GROUP_SIZE=", '1');
    }
    if (program.lanes_of_rows) { /* the lanes of one row then write the same numbers */
        become(text, "-DVECTORIZE_CALC_STATS=", '0');
        become(text, "-DVECTORIZE_BWD=", '0');
    }
    const cl_int status = REAL(clBuildProgram)(handle, count, devices, text, then, data);
    LOG("built: %d %s\n", status, text);
    if (status != CL_SUCCESS && wants("log")) {
        static char said[1 << 20];
        REAL(clGetProgramBuildInfo)(handle, devices[0], CL_PROGRAM_BUILD_LOG, sizeof said, said, NULL);
        fprintf(stderr, "%.2000s\n", said);
    }
    free(text);
    return status;
}

/* The outline of a compiled program: an ELF file with one section, ".ze_info" by its type, which
 * says nothing of a generation. */
static void outline(unsigned char *bytes, size_t size)
{
    enum { SECTIONS_AT = 40, HEADER_BYTES = 52, SECTION_BYTES = 58, SECTIONS = 60, HEADER = 64 };
    memset(bytes, 0, size);
    memcpy(bytes, "\177ELF\2\1\1", 7);
    bytes[16] = 1; /* relocatable */
    bytes[SECTIONS_AT] = bytes[HEADER_BYTES] = bytes[SECTION_BYTES] = HEADER;
    bytes[SECTIONS] = 1;
    bytes[HEADER + 4] = 0x11; /* type 0xff000011 */
    bytes[HEADER + 7] = 0xff;
}

cl_int clGetProgramInfo(cl_program handle, cl_program_info what, size_t room, void *out, size_t *needed)
{
    const size_t bytes = 256;
    if (!known(handle).empty || (what != CL_PROGRAM_BINARY_SIZES && what != CL_PROGRAM_BINARIES))
        return REAL(clGetProgramInfo)(handle, what, room, out, needed);
    if (what == CL_PROGRAM_BINARY_SIZES)
        return answer(&bytes, sizeof bytes, room, out, needed);
    outline(((unsigned char **)out)[0], bytes);
    return CL_SUCCESS;
}

/* ---- runs ---- */

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint rank, const size_t *from,
                              const size_t *all, const size_t *group, cl_uint count, const cl_event *after,
                              cl_event *event)
{
    char name[128] = "";
    size_t fewer[3] = {1, 1, 1}, one[3] = {1, 1, 1};
    REAL(clGetKernelInfo)(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
    if (strncmp(name, "ref_softmax", strlen("ref_softmax")) == 0 && group != NULL && rank <= 3) {
        memcpy(fewer, all, rank * sizeof *all);
        memcpy(one, group, rank * sizeof *group);
        fewer[0] /= one[0];
        one[0] = 1;
        all = fewer;
        group = one;
    }
    const cl_int status = REAL(clEnqueueNDRangeKernel)(queue, kernel, rank, from, all, group, count, after, event);
    LOG("run: %d %s %zu %zu %zu by %zu\n", status, name, all[0], rank > 1 ? all[1] : 1, rank > 2 ? all[2] : 1,
        group != NULL ? group[0] : 0);
    return status;
}
