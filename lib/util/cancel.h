/* The flag behind moco_cancel_t, which another thread or a signal handler sets. Looked at by every
 * loop over batches, shards or chunks of a long call. */
#ifndef MO_UTIL_CANCEL_H
#define MO_UTIL_CANCEL_H

#include <stdatomic.h>
#include <moco/cancel.h>

#include "util/status.h"

#if ATOMIC_INT_LOCK_FREE != 2
#error "a signal handler may set the flag only where an atomic int takes no lock"
#endif

struct moco_cancel {
    atomic_int requested;
};

/* NULL is fine: a call that nobody can cancel. */
static inline int mo_cancelled(const moco_cancel_t *cancel)
{
    return cancel != NULL && atomic_load_explicit(&cancel->requested, memory_order_relaxed) != 0;
}

static inline moco_status_t mo_cancel_fail(void)
{
    return mo_fail(MOCO_ERR_CANCELLED, "stopped by moco_cancel_request");
}

static inline moco_status_t mo_cancel_check(const moco_cancel_t *cancel)
{
    return mo_cancelled(cancel) ? mo_cancel_fail() : MOCO_OK;
}

#endif
