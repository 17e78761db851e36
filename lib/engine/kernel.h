/* Kernels: what a CPU does in plain loops over buffers, for a device whose buffers no host code
 * reaches (a GPU). Each has the formula of its loop, float32 in the same order where the loop has
 * one. They run one after the other, behind everything that the device was given before; nothing
 * waits for them but mo_device_wait and maps. */
#ifndef MO_ENGINE_KERNEL_H
#define MO_ENGINE_KERNEL_H

#include "engine/buffer.h"

/* Their arguments, after the number of work-items, stand in kernels/gpu_source.c. */
typedef enum mo_kernel {
    MO_KERNEL_ADD,     /* the sum of two blocks                                      */
    MO_KERNEL_SQUARES, /* partial sums of squares, and their sums                    */
    MO_KERNEL_TOTALS,
    MO_KERNEL_SGD, /* the optimizers                                             */
    MO_KERNEL_LARS,
    MO_KERNEL_ADAMW,
    MO_KERNEL_FOLLOW, /* the momentum update                                        */
    MO_KERNEL_IMAGES, /* 8-bit images as network input; floats of another layout    */
    MO_KERNEL_PLANES,
    MO_KERNEL_MIXED,     /* two 8-bit images each                                      */
    MO_KERNEL_TAKE_ROWS, /* rows by their numbers, from there or to there              */
    MO_KERNEL_PUT_ROWS,
    MO_KERNEL_ROW_NUMBERS, /* the numbers themselves, as floats                          */
    MO_KERNEL_PUT_PLACES,  /* rows to places that are floats                             */
    MO_KERNEL_STATISTICS,  /* what batch norms of several shards agree on                */
    MO_KERNEL_MEAN_TERMS,
    MO_KERNEL_DENOMINATORS, /* NT-Xent                                                    */
    MO_KERNEL_WEIGHTS,
    MO_KERNEL_DISTANCES, /* the regression loss                                        */
    MO_KERNEL_PULL,
    MO_KERNEL_NEAREST, /* the best of a tile of similarities                         */
    MO_KERNELS
} mo_kernel_t;

/* Work-items that share a part of a block in the kernels that walk over parts. */
#define MO_KERNEL_ITEMS 64

/* A buffer, where `memory` is not NULL, or a number. */
typedef struct mo_kernel_arg {
    mo_buffer_t buffer;
    char kind; /* 'b', or of the number: 'f'loat or 'l'ong */
    float real;
    int64_t whole;
} mo_kernel_arg_t;

static inline mo_kernel_arg_t mo_arg_buffer(mo_buffer_t buffer)
{
    return (mo_kernel_arg_t){.buffer = buffer, .kind = 'b'};
}
static inline mo_kernel_arg_t mo_arg_float(float value)
{
    return (mo_kernel_arg_t){.kind = 'f', .real = value};
}
static inline mo_kernel_arg_t mo_arg_whole(int64_t value)
{
    return (mo_kernel_arg_t){.kind = 'l', .whole = value};
}

enum { MO_KERNEL_ARGS = 16 };
moco_status_t mo_kernel_start(moco_device_t *device, mo_kernel_t kernel, int64_t items, int32_t count,
                              const mo_kernel_arg_t *args);
/* Queues `items` work-items of a kernel on a GPU; the first call compiles all kernels. */
#define mo_kernel_run(device, kernel, items, ...)                                     \
    mo_kernel_start(device, kernel, items, (int32_t)MO_KERNEL_ARG_COUNT(__VA_ARGS__), \
                    (const mo_kernel_arg_t[]){__VA_ARGS__})
/* Too many are an array of a negative length. */
#define MO_KERNEL_ARG_COUNT(...)                                                                                 \
    (sizeof((const mo_kernel_arg_t[]){__VA_ARGS__}) / sizeof(mo_kernel_arg_t) +                                  \
     0 * sizeof(                                                                                                 \
             char[sizeof((const mo_kernel_arg_t[]){__VA_ARGS__}) / sizeof(mo_kernel_arg_t) <= MO_KERNEL_ARGS ? 1 \
                                                                                                             : -1]))

#endif
