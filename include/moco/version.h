/* Version of the library and what it was built with. */
#ifndef MOCO_VERSION_H
#define MOCO_VERSION_H

#include <stdint.h>
#include <moco/export.h>
#include <moco/status.h>

/** Of the headers compiled against; moco_version_number() has that of the library. */
#define MOCO_VERSION_MAJOR 0
/** As above. */
#define MOCO_VERSION_MINOR 1
/** As above. */
#define MOCO_VERSION_PATCH 0

MOCO_BEGIN_DECLS

/** @return the version of the library that is running: major·10000 + minor·100 + patch (0.1.0 is
 * 100). Since: 0.1. */
MOCO_API int32_t moco_version_number(void);

/** @return the same as text, such as "0.1.0"; static storage. Since: 0.1. */
MOCO_API const char *moco_version_string(void);

/**
 * Describe the build and the machine as one JSON object: versions of libmoco and of oneDNN, the
 * instruction set that oneDNN chose, its CPU and GPU runtimes, the GPUs it can use (which loads the
 * system's OpenCL drivers), the processors this process may use.
 *
 * @param text      receives the NUL-terminated text; may be NULL when `capacity` is 0.
 * @param capacity  bytes at `text`.
 * @param needed    receives the bytes that the whole text needs, its NUL included; may be NULL.
 * @return MOCO_OK; MOCO_ERR_ARGUMENT if `capacity` is too small (then `text` holds an empty
 *         string); MOCO_ERR_MEMORY.
 *
 * Every function of this library that returns text follows this rule: call once with capacity 0 and
 * `needed` to learn the size (that call returns MOCO_OK). Threads: any. Since: 0.1.
 */
MOCO_API moco_status_t moco_build_info(char *text, uint64_t capacity, uint64_t *needed);

/**
 * How much memory this process may still take: the least that its control groups (versions 1 and 2,
 * with all groups around them), RLIMIT_AS, RLIMIT_DATA, the commit limit and the free memory of the
 * machine leave, free swap included and file caches counted as free. The environment variable
 * MOCO_MEMORY_LIMIT ("6G", "none") stands in place of all of it. Trainers, models and fine-tuning
 * compare what they need with it before they take it (MOCO_ERR_MEMORY_CAP), as does every single
 * allocation of 16 MiB or more (MOCO_ERR_MEMORY).
 *
 * @param source    receives what sets the limit, such as "/sys/fs/cgroup/job/memory.max", cut to
 *                  `capacity`; empty where nothing limits. May be NULL when `capacity` is 0.
 * @param capacity  bytes at `source`.
 * @return bytes; UINT64_MAX where nothing that could be read limits it. The number is of this
 * moment. Threads: any. Since: 0.1.
 */
MOCO_API uint64_t moco_memory_left(char *source, uint64_t capacity);

MOCO_END_DECLS

#endif
