/* Stopping a long call from outside: another thread, or a signal handler, sets a flag that the call
 * looks at. */
#ifndef MOCO_CANCEL_H
#define MOCO_CANCEL_H

#include <stdint.h>
#include <moco/export.h>
#include <moco/status.h>

MOCO_BEGIN_DECLS

/**
 * A request to stop. The options of every long call have a field for one; the same object may serve
 * any number of calls at once. A call that sees the request stops at its next batch or shard of
 * images (training: between two operations of a step), leaves no unfinished file behind
 * (but for the part files of moco_model_embed_to_npy, which goes on from them), and returns
 * MOCO_ERR_CANCELLED. It must be kept until the calls that it was given to have returned.
 */
typedef struct moco_cancel moco_cancel_t;

/** Create an object without a request. @param out  receives it; free with moco_cancel_free.
 * @return MOCO_ERR_ARGUMENT (`out` is NULL), MOCO_ERR_MEMORY. Since: 0.1. */
MOCO_API moco_status_t moco_cancel_create(moco_cancel_t **out);

/** Ask to stop; the request stays until moco_cancel_reset. NULL is fine. Threads: any, at any time,
 * also in a signal handler. Since: 0.1. */
MOCO_API void moco_cancel_request(moco_cancel_t *cancel);

/** @return 1 after a request, else 0; 0 for NULL. Threads: as moco_cancel_request. Since: 0.1. */
MOCO_API int32_t moco_cancel_requested(const moco_cancel_t *cancel);

/** Take the request back, for the next call. NULL is fine. Threads: as moco_cancel_request.
 * Since: 0.1. */
MOCO_API void moco_cancel_reset(moco_cancel_t *cancel);

/** NULL is fine. No call may be at work with it. Since: 0.1. */
MOCO_API void moco_cancel_free(moco_cancel_t *cancel);

MOCO_END_DECLS

#endif
