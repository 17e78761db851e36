/* Which implementation of oneDNN's list a plan takes: the first one whose primitive can be made and
 * is right. The lists end with plain loops, so there is something to fall back on. */
#include <stdio.h>
#include <string.h>

#include "engine/check/check.h"
#include "engine/plan/plan_internal.h"

typedef struct search {
    mo_plan_t *plan;
    const_dnnl_primitive_desc_t hint;
    const char *what;
    char tried[512]; /* names of those that were left out */
} search_t;

static moco_status_t look_at(search_t *s, dnnl_primitive_desc_t pd, int *taken)
{
    mo_verdict_t verdict;
    moco_status_t status = mo_check(s->plan->lane, pd, s->what, &verdict);
    const size_t length = strlen(s->tried);
    *taken = status == MOCO_OK && verdict == MO_RIGHT;
    if (status == MOCO_OK && verdict != MO_RIGHT)
        snprintf(s->tried + length, sizeof s->tried - length, "%s%s %s", length > 0 ? ", " : "", mo_pd_name(pd),
                 verdict == MO_WRONG ? "is wrong" : "cannot be made");
    return status;
}

/* Through the list from *pd, its first, on, past those whose name has `named` in it or not.
 * *taken = 0: none; *pd is then the last. */
static moco_status_t through_list(search_t *s, dnnl_primitive_desc_t *pd, const char *named, int wanted, int *taken)
{
    moco_status_t status = MOCO_OK;
    *taken = 0;
    for (int number = 0;; number++) {
        if (named == NULL || (strstr(mo_pd_name(*pd), named) != NULL) == wanted)
            TRY(look_at(s, *pd, taken));
        if (*taken)
            break;
        const dnnl_status_t next = mo_pd_next(pd, number, mo_device_engine(s->plan->device), s->hint);
        if (next == MO_NO_MORE)
            break;
        TRY(mo_engine_status(next, s->what));
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
    dnnl_primitive_desc_t preferred = NULL;
    int taken = 0;
    if (prefer != NULL) {
        TRY(mo_engine_make(dnnl_primitive_desc_clone(&preferred, *pd), what));
        TRY(through_list(&search, &preferred, prefer, 1, &taken));
        if (taken) {
            dnnl_primitive_desc_destroy(*pd);
            *pd = preferred;
            preferred = NULL;
        }
    }
    if (!taken)
        TRY(through_list(&search, pd, prefer, 0, &taken));
    if (!taken)
        TRY(none_is_right(&search, *pd));
cleanup:
    if (preferred != NULL)
        dnnl_primitive_desc_destroy(preferred);
    if (status != MOCO_OK) {
        dnnl_primitive_desc_destroy(*pd);
        *pd = NULL;
    }
    return status;
}
