/* Which implementation of oneDNN's list a plan takes: the first one whose primitive can be made and
 * is right. The lists end with plain loops, so there is something to fall back on. */
#include <stdio.h>
#include <string.h>

#include "engine/check/check.h"
#include "engine/plan/plan_internal.h"
#include "util/alloc.h"

typedef struct candidate {
    dnnl_primitive_desc_t pd;
    int number; /* in the list, from 0 on */
} candidate_t;

typedef struct search {
    mo_plan_t *plan;
    const_dnnl_primitive_desc_t hint;
    const char *what;
    candidate_t *passed; /* those that are not preferred, in the order of the list */
    int passed_count;
    char tried[512]; /* names of those that were left out */
} search_t;

static moco_status_t look_at(search_t *s, const_dnnl_primitive_desc_t pd, int number, int *taken)
{
    mo_verdict_t verdict;
    moco_status_t status = mo_check(s->plan->lane, pd, number, s->what, &verdict);
    const size_t length = strlen(s->tried);
    *taken = status == MOCO_OK && verdict == MO_RIGHT;
    if (status == MOCO_OK && verdict != MO_RIGHT)
        snprintf(s->tried + length, sizeof s->tried - length, "%s%s %s", length > 0 ? ", " : "", mo_pd_name(pd),
                 verdict == MO_WRONG ? "is wrong" : "cannot be made");
    return status;
}

static moco_status_t pass_over(search_t *s, const_dnnl_primitive_desc_t pd, int number)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_grow_by_one(&s->passed, s->passed_count, sizeof *s->passed));
    candidate_t *candidate = &s->passed[s->passed_count];
    *candidate = (candidate_t){.number = number};
    TRY(mo_engine_make(dnnl_primitive_desc_clone(&candidate->pd, pd), s->what));
    s->passed_count++;
cleanup:
    return status;
}

/* Through the list from *pd, its first, on. What is not preferred is passed over, as a clone: in
 * oneDNN 3 the descriptor that the list began with is the only one that knows where it stands in
 * it. *taken = 0: none; *pd is then the last. */
static moco_status_t through_list(search_t *s, dnnl_primitive_desc_t *pd, const char *prefer, int *taken)
{
    moco_status_t status = MOCO_OK;
    mo_walk_t walk = {0};
    for (;;) {
        if (prefer == NULL || strstr(mo_pd_name(*pd), prefer) != NULL)
            TRY(look_at(s, *pd, walk.number, taken));
        else
            TRY(pass_over(s, *pd, walk.number));
        if (*taken)
            break;
        const dnnl_status_t next = mo_walk_next(&walk, pd, mo_device_engine(s->plan->device), s->hint);
        if (next == MO_NO_MORE)
            break;
        TRY(mo_engine_status(next, s->what));
    }
cleanup:
    mo_walk_end(&walk);
    return status;
}

static moco_status_t through_passed(search_t *s, dnnl_primitive_desc_t *pd, int *taken)
{
    moco_status_t status = MOCO_OK;
    for (int i = 0; i < s->passed_count && !*taken; i++) {
        TRY(look_at(s, s->passed[i].pd, s->passed[i].number, taken));
        if (*taken) {
            dnnl_primitive_desc_destroy(*pd);
            *pd = s->passed[i].pd;
            s->passed[i].pd = NULL;
        }
    }
cleanup:
    return status;
}

static moco_status_t none_is_right(const search_t *s, const_dnnl_primitive_desc_t pd)
{
    const dnnl_version_t *v = dnnl_version();
    char text[320];
    mo_check_text(pd, text, sizeof text);
    return mo_fail(MOCO_ERR_ENGINE,
                   "oneDNN %d.%d.%d could not %s: no implementation of it computes what it should: %s; %s", v->major,
                   v->minor, v->patch, s->what, s->tried, text);
}

moco_status_t mo_plan_choose(mo_plan_t *plan, dnnl_primitive_desc_t *pd, const_dnnl_primitive_desc_t hint,
                             const char *prefer, const char *what)
{
    moco_status_t status = MOCO_OK;
    search_t search = {.plan = plan, .hint = hint, .what = what};
    int taken = 0;
    TRY(through_list(&search, pd, prefer, &taken));
    if (!taken)
        TRY(through_passed(&search, pd, &taken));
    if (!taken)
        TRY(none_is_right(&search, *pd));
cleanup:
    for (int i = 0; i < search.passed_count; i++)
        if (search.passed[i].pd != NULL)
            dnnl_primitive_desc_destroy(search.passed[i].pd);
    mo_free(search.passed);
    if (status != MOCO_OK) {
        dnnl_primitive_desc_destroy(*pd);
        *pd = NULL;
    }
    return status;
}
