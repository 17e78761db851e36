/* Where the slots of an arena lie: largest first, each at the lowest offset that is free during its
 * life. */
#define _GNU_SOURCE /* qsort_r */
#include <stdlib.h>
#include <string.h>

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

/* ---- the slots that have a place, by offset ---- */

/* They stand in runs of at most RUN slots, each with what its slots have in common. The search for
 * a free place passes over a run at once where none of its slots live at the time, or where all do
 * and leave no gap between them that is large enough. Both is usual: what lives together was placed
 * together. So a plan of n slots takes about n * n / RUN short steps, not n * n with a sort
 * each. */
enum { RUN = 256 };

typedef struct run {
    int32_t count, slots[RUN]; /* by offset, then by number */
    int32_t first_min, first_max, last_min, last_max;
    int64_t from, end; /* bytes: the lowest offset, the highest end */
    int64_t gap;       /* the largest one between its own slots     */
} run_t;

typedef struct placed {
    const mo_slot_t *all;
    run_t **runs; /* by offset */
    int32_t count;
} placed_t;

static int comes_before(const mo_slot_t *all, int32_t a, int32_t b)
{
    return all[a].offset != all[b].offset ? all[a].offset < all[b].offset : a < b;
}

static void sum_up(run_t *run, const mo_slot_t *all)
{
    run->first_min = run->last_min = INT32_MAX;
    run->first_max = run->last_max = INT32_MIN;
    run->from = all[run->slots[0]].offset;
    run->end = run->from;
    run->gap = 0;
    for (int32_t i = 0; i < run->count; i++) {
        const mo_slot_t *slot = &all[run->slots[i]];
        const int64_t end = slot->offset + (int64_t)PLACED(slot->bytes), gap = slot->offset - run->end;
        run->first_min = slot->first < run->first_min ? slot->first : run->first_min;
        run->first_max = slot->first > run->first_max ? slot->first : run->first_max;
        run->last_min = slot->last < run->last_min ? slot->last : run->last_min;
        run->last_max = slot->last > run->last_max ? slot->last : run->last_max;
        run->gap = gap > run->gap ? gap : run->gap;
        run->end = end > run->end ? end : run->end;
    }
}

/* Cuts a full run in two. */
static moco_status_t split(placed_t *p, int32_t at)
{
    run_t *low = p->runs[at], *high = NULL;
    moco_status_t status = mo_grow_by_one(&p->runs, p->count, sizeof *p->runs);
    if (status == MOCO_OK)
        status = mo_calloc(1, sizeof *high, &high);
    if (status != MOCO_OK)
        return status;
    memmove(p->runs + at + 2, p->runs + at + 1, (size_t)(p->count - at - 1) * sizeof *p->runs);
    p->runs[at + 1] = high;
    p->count++;
    high->count = low->count = RUN / 2;
    memcpy(high->slots, low->slots + RUN / 2, sizeof *high->slots * (RUN / 2));
    sum_up(low, p->all);
    sum_up(high, p->all);
    return MOCO_OK;
}

static moco_status_t insert(placed_t *p, int32_t slot)
{
    moco_status_t status = MOCO_OK;
    int32_t at = 0;
    if (p->count == 0) {
        TRY(mo_grow_by_one(&p->runs, 0, sizeof *p->runs));
        TRY(mo_calloc(1, sizeof **p->runs, &p->runs[0]));
        p->count = 1;
    }
    while (at + 1 < p->count && comes_before(p->all, p->runs[at + 1]->slots[0], slot))
        at++;
    if (p->runs[at]->count == RUN) {
        TRY(split(p, at));
        at += comes_before(p->all, p->runs[at + 1]->slots[0], slot);
    }
    run_t *run = p->runs[at];
    int32_t place = run->count;
    while (place > 0 && comes_before(p->all, slot, run->slots[place - 1])) {
        run->slots[place] = run->slots[place - 1];
        place--;
    }
    run->slots[place] = slot;
    run->count++;
    sum_up(run, p->all);
cleanup:
    return status;
}

/* The lowest offset that is free for `slot`. */
static int64_t free_place(const placed_t *p, const mo_slot_t *slot)
{
    const int64_t bytes = (int64_t)PLACED(slot->bytes);
    int64_t at = 0;
    for (int32_t r = 0; r < p->count; r++) {
        const run_t *run = p->runs[r];
        if (run->first_min > slot->last || run->last_max < slot->first)
            continue;
        if (run->first_max <= slot->last && run->last_min >= slot->first && run->gap < bytes &&
            run->from < at + bytes) {
            at = run->end > at ? run->end : at;
            continue;
        }
        for (int32_t i = 0; i < run->count; i++) {
            const mo_slot_t *other = &p->all[run->slots[i]];
            if (other->first > slot->last || slot->first > other->last)
                continue;
            if (other->offset >= at + bytes)
                return at;
            const int64_t end = other->offset + (int64_t)PLACED(other->bytes);
            at = end > at ? end : at;
        }
    }
    return at;
}

moco_status_t mo_plan_place(mo_plan_t *plan)
{
    int32_t *order = NULL, count = 0;
    placed_t placed = {.all = plan->slots};
    moco_status_t status = MOCO_OK;
    TRY(mo_calloc((size_t)plan->slot_count, sizeof *order, &order));
    for (int32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].space == MO_IN_ARENA && plan->slots[i].root == i && plan->slots[i].last >= 0)
            order[count++] = i;
    qsort_r(order, (size_t)count, sizeof *order, by_size, plan->slots);
    for (int32_t i = 0; i < count; i++) {
        mo_slot_t *slot = &plan->slots[order[i]];
        slot->offset = free_place(&placed, slot);
        TRY(insert(&placed, order[i]));
        const size_t end = (size_t)slot->offset + PLACED(slot->bytes);
        plan->arena_bytes = end > plan->arena_bytes ? end : plan->arena_bytes;
    }
    for (int32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].space == MO_IN_ARENA)
            plan->slots[i].offset = plan->slots[plan->slots[i].root].offset + plan->slots[i].within;
cleanup:
    for (int32_t r = 0; r < placed.count; r++)
        mo_free(placed.runs[r]);
    mo_free(placed.runs);
    mo_free(order);
    return status;
}
