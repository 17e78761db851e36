/* Where the slots of an arena lie: largest first, each at the lowest offset that is free during its
 * life. */
#define _GNU_SOURCE /* qsort_r */
#include <stdlib.h>

#include "engine/plan/plan_internal.h"

/* Large tensors do not follow each other at once: where their sizes are multiples of a page (often
 * so for tokens), the same element of all of them would share the address bits by which processors
 * tell loads from earlier stores, and a loop from one to another would take twice its time. */
#define PLACED(bytes) (MO_ALIGNED(bytes) + ((bytes) >= 65536 ? 1088 : 0))

static int by_size(const void *a, const void *b, void *slots)
{
    const mo_slot_t *x = (const mo_slot_t *)slots + *(const int32_t *)a;
    const mo_slot_t *y = (const mo_slot_t *)slots + *(const int32_t *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return *(const int32_t *)a - *(const int32_t *)b;
}

static int by_offset(const void *a, const void *b, void *slots)
{
    const mo_slot_t *x = (const mo_slot_t *)slots + *(const int32_t *)a;
    const mo_slot_t *y = (const mo_slot_t *)slots + *(const int32_t *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return *(const int32_t *)a - *(const int32_t *)b;
}

moco_status_t mo_plan_place(mo_plan_t *plan)
{
    int32_t *order = NULL, *live = NULL, count = 0;
    moco_status_t status = MOCO_OK;
    TRY(mo_calloc((size_t)plan->slot_count, sizeof *order, &order));
    TRY(mo_calloc((size_t)plan->slot_count, sizeof *live, &live));
    for (int32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].space == MO_IN_ARENA && plan->slots[i].root == i && plan->slots[i].last >= 0)
            order[count++] = i;
    qsort_r(order, (size_t)count, sizeof *order, by_size, plan->slots);
    for (int32_t i = 0; i < count; i++) {
        mo_slot_t *slot = &plan->slots[order[i]];
        int32_t neighbours = 0;
        for (int32_t j = 0; j < i; j++) {
            const mo_slot_t *other = &plan->slots[order[j]];
            if (other->first <= slot->last && slot->first <= other->last)
                live[neighbours++] = order[j];
        }
        qsort_r(live, (size_t)neighbours, sizeof *live, by_offset, plan->slots);
        int64_t at = 0;
        for (int32_t j = 0; j < neighbours; j++) {
            const mo_slot_t *other = &plan->slots[live[j]];
            if (other->offset >= at + (int64_t)PLACED(slot->bytes))
                break;
            int64_t end = other->offset + (int64_t)PLACED(other->bytes);
            at = end > at ? end : at;
        }
        slot->offset = at;
        size_t end = (size_t)at + PLACED(slot->bytes);
        plan->arena_bytes = end > plan->arena_bytes ? end : plan->arena_bytes;
    }
    for (int32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].space == MO_IN_ARENA)
            plan->slots[i].offset = plan->slots[plan->slots[i].root].offset + plan->slots[i].within;
cleanup:
    mo_free(order);
    mo_free(live);
    return status;
}
