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
 * instruction set that oneDNN chose, its CPU and GPU runtimes, the processors this process may use.
 *
 * @param text      receives the NUL-terminated text; may be NULL when `capacity` is 0.
 * @param capacity  bytes at `text`.
 * @param needed    receives the bytes that the whole text needs, its NUL included; may be NULL.
 * @return MOCO_OK, or MOCO_ERR_ARGUMENT if `capacity` is too small (then `text` holds an empty
 * string).
 *
 * Every function of this library that returns text follows this rule: call once with capacity 0 and
 * `needed` to learn the size (that call returns MOCO_OK). Threads: any. Since: 0.1.
 */
MOCO_API moco_status_t moco_build_info(char *text, uint64_t capacity, uint64_t *needed);

MOCO_END_DECLS

#endif
