/* The values of a pickle: a stack with marks, a memo, containers whose items lie in one pool. See
 * pickle.h. */
#include <string.h>

#include "persist/pickle_internal.h"
#include "util/alloc.h"
#include "util/status.h"

moco_status_t mo_pickle_damaged(const mo_pickle_t *p, const char *what)
{
    return mo_fail(MOCO_ERR_FORMAT, "%s: damaged pickle: %s", p->path, what);
}

/* ---- memory ---- */

moco_status_t mo_pickle_room(const mo_pickle_t *p, void *items, int64_t count, int64_t *capacity, size_t size,
                             int64_t limit, const char *what)
{
    if (count < *capacity)
        return MOCO_OK;
    if (count >= limit)
        return mo_fail(MOCO_ERR_FORMAT, "%s: the pickle has more than %lld %s", p->path, (long long)limit, what);
    return mo_reserve(items, count + 1, capacity, size);
}

moco_status_t mo_pickle_new(mo_pickle_t *p, mo_pickle_value_t value, int32_t *number)
{
    moco_status_t status =
        mo_pickle_room(p, &p->values, p->value_count, &p->value_capacity, sizeof value, MO_PICKLE_MAX_VALUES, "values");
    if (status != MOCO_OK)
        return status;
    *number = (int32_t)p->value_count;
    p->values[p->value_count++] = value;
    return MOCO_OK;
}

moco_status_t mo_pickle_push_number(mo_pickle_t *p, int32_t number)
{
    moco_status_t status = mo_pickle_room(p, &p->stack, p->stack_count, &p->stack_capacity, sizeof number,
                                          MO_PICKLE_MAX_VALUES, "values on its stack");
    if (status == MOCO_OK)
        p->stack[p->stack_count++] = number;
    return status;
}

moco_status_t mo_pickle_push_new(mo_pickle_t *p, mo_pickle_value_t value)
{
    int32_t number;
    moco_status_t status = mo_pickle_new(p, value, &number);
    return status == MOCO_OK ? mo_pickle_push_number(p, number) : status;
}

static int64_t above_mark(const mo_pickle_t *p)
{
    return p->stack_count - (p->mark_count > 0 ? p->marks[p->mark_count - 1] : 0);
}

moco_status_t mo_pickle_pop(mo_pickle_t *p, int32_t count, const int32_t **numbers)
{
    if (above_mark(p) < count)
        return mo_pickle_damaged(p, "its stack is empty");
    p->stack_count -= count;
    *numbers = p->stack + p->stack_count;
    return MOCO_OK;
}

/* All above the last mark, which goes too. */
moco_status_t mo_pickle_pop_mark(mo_pickle_t *p, const int32_t **numbers, int64_t *count)
{
    if (p->mark_count == 0)
        return mo_pickle_damaged(p, "a mark is missing");
    *count = above_mark(p);
    p->stack_count -= *count;
    p->mark_count--;
    *numbers = *count > 0 ? p->stack + p->stack_count : NULL;
    return MOCO_OK;
}

/* Items of a container lie together in the pool; a full list or dictionary moves to a place of
 * twice the size. */
moco_status_t mo_pickle_append(mo_pickle_t *p, int32_t container, const int32_t *numbers, int64_t count)
{
    mo_pickle_value_t *v = &p->values[container];
    if (v->count + count > v->items.capacity) {
        int64_t capacity = v->count + count;
        if (v->kind != MO_PICKLE_TUPLE)
            capacity = v->count > 0 ? 2 * capacity : capacity < 4 ? 4 : capacity;
        if (p->pool_count + capacity > MO_PICKLE_MAX_POOL)
            return mo_pickle_damaged(p, "its containers are too large");
        while (p->pool_count + capacity > p->pool_capacity) {
            moco_status_t status = mo_pickle_room(p, &p->pool, p->pool_capacity, &p->pool_capacity, sizeof *p->pool,
                                                  MO_PICKLE_MAX_POOL, "items");
            if (status != MOCO_OK)
                return status;
        }
        if (v->count > 0)
            memcpy(p->pool + p->pool_count, p->pool + v->items.first, (size_t)v->count * sizeof *p->pool);
        v->items.first = (int32_t)p->pool_count;
        v->items.capacity = (int32_t)capacity;
        p->pool_count += capacity;
    }
    if (count > 0)
        memcpy(p->pool + v->items.first + v->count, numbers, (size_t)count * sizeof *p->pool);
    v->count += (int32_t)count;
    return MOCO_OK;
}

/* ---- memo ---- */

moco_status_t mo_pickle_remember(mo_pickle_t *p, uint64_t place)
{
    if (above_mark(p) < 1)
        return mo_pickle_damaged(p, "there is nothing to remember");
    if (place >= MO_PICKLE_MAX_VALUES)
        return mo_pickle_damaged(p, "a memo number is too large");
    while ((int64_t)place >= p->memo_capacity) {
        int64_t before = p->memo_capacity;
        moco_status_t status = mo_pickle_room(p, &p->memo, p->memo_capacity, &p->memo_capacity, sizeof *p->memo,
                                              MO_PICKLE_MAX_VALUES, "remembered values");
        if (status != MOCO_OK)
            return status;
        for (int64_t i = before; i < p->memo_capacity; i++)
            p->memo[i] = -1;
    }
    p->memo_count += p->memo[place] < 0;
    p->memo[place] = p->stack[p->stack_count - 1];
    return MOCO_OK;
}

moco_status_t mo_pickle_recall(mo_pickle_t *p, uint64_t place)
{
    if (place >= (uint64_t)p->memo_capacity || p->memo[place] < 0)
        return mo_pickle_damaged(p, "it uses a memo number that it has not given");
    return mo_pickle_push_number(p, p->memo[place]);
}

/* ---- containers ---- */

moco_status_t mo_pickle_push_items(mo_pickle_t *p, mo_pickle_kind_t kind, const int32_t *numbers, int64_t count)
{
    moco_status_t status = MOCO_OK;
    int32_t made;
    if (kind == MO_PICKLE_DICT && count % 2 != 0)
        TRY(mo_pickle_damaged(p, "a key has no value"));
    TRY(mo_pickle_new(p, (mo_pickle_value_t){.kind = kind}, &made));
    TRY(mo_pickle_append(p, made, numbers, count));
    TRY(mo_pickle_push_number(p, made));
cleanup:
    return status;
}

moco_status_t mo_pickle_push_tuple(mo_pickle_t *p, int32_t count)
{
    const int32_t *numbers = NULL;
    moco_status_t status = mo_pickle_pop(p, count, &numbers);
    return status == MOCO_OK ? mo_pickle_push_items(p, MO_PICKLE_TUPLE, numbers, count) : status;
}

moco_status_t mo_pickle_push_marked(mo_pickle_t *p, mo_pickle_kind_t kind)
{
    const int32_t *numbers = NULL;
    int64_t count = 0;
    moco_status_t status = mo_pickle_pop_mark(p, &numbers, &count);
    return status == MOCO_OK ? mo_pickle_push_items(p, kind, numbers, count) : status;
}

/* `count` numbers, lately on the stack, go into the list or dictionary below them, which stays
 * there. */
static moco_status_t add(mo_pickle_t *p, mo_pickle_kind_t kind, const int32_t *numbers, int64_t count)
{
    if (above_mark(p) < 1)
        return mo_pickle_damaged(p, "there is nothing to add to");
    int32_t container = p->stack[p->stack_count - 1];
    if (p->values[container].kind == MO_PICKLE_OPAQUE) /* what has items is a container, whatever its class */
        p->values[container] = (mo_pickle_value_t){.kind = kind};
    if (p->values[container].kind != (int32_t)kind)
        return mo_pickle_damaged(p, "items are added to what is no container of theirs");
    if (kind == MO_PICKLE_DICT && count % 2 != 0)
        return mo_pickle_damaged(p, "a key has no value");
    return mo_pickle_append(p, container, numbers, count);
}

moco_status_t mo_pickle_add(mo_pickle_t *p, mo_pickle_kind_t kind, int32_t count)
{
    const int32_t *numbers = NULL;
    moco_status_t status = mo_pickle_pop(p, count, &numbers);
    return status == MOCO_OK ? add(p, kind, numbers, count) : status;
}

moco_status_t mo_pickle_add_marked(mo_pickle_t *p, mo_pickle_kind_t kind)
{
    const int32_t *numbers = NULL;
    int64_t count = 0;
    moco_status_t status = mo_pickle_pop_mark(p, &numbers, &count);
    return status == MOCO_OK ? add(p, kind, numbers, count) : status;
}

moco_status_t mo_pickle_push_mark(mo_pickle_t *p)
{
    moco_status_t status = mo_pickle_room(p, &p->marks, p->mark_count, &p->mark_capacity, sizeof *p->marks,
                                          MO_PICKLE_MAX_MARKS, "open marks");
    if (status == MOCO_OK)
        p->marks[p->mark_count++] = (int32_t)p->stack_count;
    return status;
}

moco_status_t mo_pickle_drop(mo_pickle_t *p)
{
    if (above_mark(p) > 0)
        p->stack_count--;
    else if (p->mark_count > 0)
        p->mark_count--;
    else
        return mo_pickle_damaged(p, "its stack is empty");
    return MOCO_OK;
}

moco_status_t mo_pickle_repeat(mo_pickle_t *p)
{
    return above_mark(p) > 0 ? mo_pickle_push_number(p, p->stack[p->stack_count - 1])
                             : mo_pickle_damaged(p, "its stack is empty");
}

/* ---- from outside ---- */

void mo_pickle_free(mo_pickle_t *p)
{
    if (!p->decoded_is_taken)
        mo_free(p->decoded);
    mo_free(p->classes);
    mo_free(p->values);
    mo_free(p->pool);
    mo_free(p->stack);
    mo_free(p->marks);
    mo_free(p->memo);
    mo_free(p->storages);
    mo_free(p->tensors);
    *p = (mo_pickle_t){0};
}

const mo_pickle_value_t *mo_pickle_root(const mo_pickle_t *p)
{
    return &p->values[p->root];
}

const mo_pickle_value_t *mo_pickle_item(const mo_pickle_t *p, const mo_pickle_value_t *value, int32_t i)
{
    return &p->values[p->pool[value->items.first + i]];
}
