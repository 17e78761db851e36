/* moco_cancel_*: the border. */
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/need.h"

moco_status_t moco_cancel_create(moco_cancel_t **out)
{
    moco_cancel_t *cancel = NULL;
    MO_NEED(out);
    *out = NULL;
    moco_status_t status = mo_calloc(1, sizeof *cancel, &cancel);
    if (status != MOCO_OK)
        return status;
    atomic_init(&cancel->requested, 0);
    *out = cancel;
    return MOCO_OK;
}

void moco_cancel_request(moco_cancel_t *cancel)
{
    if (cancel != NULL)
        atomic_store_explicit(&cancel->requested, 1, memory_order_relaxed);
}

int32_t moco_cancel_requested(const moco_cancel_t *cancel)
{
    return mo_cancelled(cancel);
}

void moco_cancel_reset(moco_cancel_t *cancel)
{
    if (cancel != NULL)
        atomic_store_explicit(&cancel->requested, 0, memory_order_relaxed);
}

void moco_cancel_free(moco_cancel_t *cancel)
{
    mo_free(cancel);
}
