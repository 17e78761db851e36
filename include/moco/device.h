/* A device: where networks run. On a CPU it is a set of lanes: worker threads that each run whole
 * shards, so there is no barrier inside a convolution. Lanes are started when the device is
 * created, never when the library is loaded, and sleep when idle. A GPU is one that oneDNN's OpenCL
 * engine can use, which means one of Intel's; see docs/gpu.md. */
#ifndef MOCO_DEVICE_H
#define MOCO_DEVICE_H

#include <stdint.h>
#include <moco/export.h>
#include <moco/status.h>

MOCO_BEGIN_DECLS

/**
 * A device: where networks run.
 *
 * What work on a device returns, beside the statuses that a call names itself: MOCO_ERR_ENGINE
 * (oneDNN refused or failed), MOCO_ERR_THREAD (a lane could not be started), MOCO_ERR_FORKED (this
 * is the child of a fork that found the device at work, or a GPU's: start over with a new one),
 * MOCO_ERR_STATE (the process is exiting), and where it makes a device of its own
 * MOCO_ERR_UNSUPPORTED (this processor is none that the library computes on). Nothing has changed
 * then.
 */
typedef struct moco_device moco_device_t;

/** Kinds of devices. */
enum moco_device_kind { MOCO_DEVICE_CPU = 0, MOCO_DEVICE_GPU = 1 };

/** Where networks run, and on how many threads. */
typedef struct moco_device_options {
    uint64_t struct_size; /**< set by _init                                                                        */
    int32_t kind;         /**< MOCO_DEVICE_CPU or MOCO_DEVICE_GPU                                                   */
    /** Worker threads, 1..1024; 0 = processors allowed by affinity mask and cgroup quota. Of a GPU:
     * threads that give it work and do what the host has to, each with activations of its own on
     * the GPU; 0 = 1. */
    int32_t lanes;
    /** Percent of lane time that training (and all other work that is no embedding) keeps while
     * embeddings wait as well, 0..100; default 50. Nobody is slowed down where only one of them has
     * work. An embedding waits for one operation of a training step, or for a plan that is in the
     * making. If embeddings have had more than their share, it waits as long as the other work
     * needs to catch up with the embeddings that ran on the lanes before it, and a tenth of a
     * second more. With 0 training gets what embeddings leave, with 100 embeddings get what
     * training leaves. */
    int64_t training_percent;
    int64_t number; /**< which device of the kind, 0..1023; 0 = the first, and of CPUs the only one. Since: 0.1 */
} moco_device_options_t;

/** Write the defaults. @param struct_size  sizeof(moco_device_options_t) as the caller knows it.
 * Since: 0.1. */
MOCO_API moco_status_t moco_device_options_init(moco_device_options_t *options, uint64_t struct_size);

/** Set a field by its name from text; rules as of moco_trainer_options_set. Since: 0.1. */
MOCO_API moco_status_t moco_device_options_set(moco_device_options_t *options, const char *name, const char *value);

/** All fields as one JSON object; rules as of moco_trainer_options_json. Since: 0.1. */
MOCO_API moco_status_t moco_device_options_json(const moco_device_options_t *options, char *text, uint64_t capacity,
                                                uint64_t *needed);

/**
 * Create a device.
 * @param options  NULL for the defaults.
 * @param out      receives the device; free with moco_device_free. Models, trainers and queues made
 * on it keep it alive.
 * @return MOCO_ERR_ARGUMENT, MOCO_ERR_UNSUPPORTED (no GPU of this number; the message says what
 *         was looked for), MOCO_ERR_VERSION (options of a newer header), MOCO_ERR_MEMORY, and what
 *         work on a device returns (moco_device_t). Threads: a device may be shared by any threads.
 *         Since: 0.1.
 */
MOCO_API moco_status_t moco_device_create(const moco_device_options_t *options, moco_device_t **out);

/** Drop the caller's reference; NULL is fine. Since: 0.1. */
MOCO_API void moco_device_free(moco_device_t *device);

/** JSON: kind, lanes, lane_seconds (what the lanes have spent on "training", which counts all work
 * that is no embedding, and on "embedding"), instruction set, oneDNN version; "checks" of oneDNN's
 * implementations in this process so far: how many "primitives", how many of them were wrong and
 * "left_out" for others, the first of those ("first", "" where there is none), "seconds" of one
 * thread; of a GPU its number, name, driver and memory. Text rule as in moco_build_info.
 * Since: 0.1. */
MOCO_API moco_status_t moco_device_info(const moco_device_t *device, char *text, uint64_t capacity, uint64_t *needed);

MOCO_END_DECLS

#endif
