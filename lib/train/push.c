/* Images pushed by the host: views drawn (or copied) into the batch that the next step takes. */
#include <string.h>

#include "data/decode.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/finite.h"
#include "util/headroom.h"
#include "util/size.h"
#include "util/status.h"

static void drop_bytes(mo_pushed_t *p)
{
    mo_free(p->bytes);
    mo_free(p->rows);
    p->bytes = NULL;
    p->rows = NULL;
}

static void drop_floats(mo_pushed_t *p)
{
    mo_free(p->floats);
    p->floats = NULL;
}

void mo_pushed_free(mo_pushed_t *p)
{
    drop_bytes(p);
    drop_floats(p);
    mo_view_work_free(&p->work);
    mo_pixels_free(&p->pixels);
    *p = (mo_pushed_t){0};
}

/* Whether the batch takes `count` more images of this kind. */
static moco_status_t check_room(const moco_trainer_t *t, int64_t count, int is_float)
{
    const mo_pushed_t *p = &t->pushed;
    if (count < 1)
        return mo_fail(MOCO_ERR_ARGUMENT, "count is %lld, wanted at least 1", (long long)count);
    if (p->count > 0 && p->is_float != is_float)
        return mo_fail(MOCO_ERR_STATE, "the batch holds %s, so %s cannot join it",
                       p->is_float ? "float views" : "8-bit views", is_float ? "float views" : "8-bit images");
    if (count > t->state.options.batch_size - p->count)
        return mo_fail(MOCO_ERR_FULL, "%lld images wait and %lld were pushed, but a batch holds %d",
                       (long long)p->count, (long long)count, t->state.options.batch_size);
    return MOCO_OK;
}

/* The plan has a loader's store of 8-bit views, which pushing does without. 8-bit views need less
 * than it, float views more. The store of the other kind is empty by now, and goes. */
static moco_status_t float_store(moco_trainer_t *t)
{
    mo_pushed_t *p = &t->pushed;
    drop_bytes(p);
    const uint64_t places = mo_device_is_gpu(t->device) ? 2 : 1, /* a GPU has them as well, see gpu_step.c */
        bytes = places * 2 * (uint64_t)t->state.options.batch_size * (uint64_t)t->feature * sizeof(float),
                   without = mo_trainer_bytes(t, NULL) - mo_trainer_bytes(t, "views"), total = without + bytes,
                   cap = (uint64_t)t->state.options.memory_cap;
    if (p->floats != NULL)
        return MOCO_OK;
    if (cap > 0 && total > cap)
        return mo_fail(MOCO_ERR_MEMORY_CAP,
                       "with a batch of float views of %s the trainer needs %s, the memory cap is %s; pushed pixels "
                       "need %s",
                       mo_size(bytes).text, mo_size(total).text, mo_size(cap).text, mo_size(without + bytes / 4).text);
    moco_status_t status = MOCO_OK;
    mo_trainer_planned_begin(t);
    if (cap == 0)
        TRY(mo_headroom_check(MOCO_ERR_MEMORY_CAP, "a batch of float views needs", bytes,
                              "; pushed pixels need a quarter"));
    TRY(mo_calloc((size_t)(bytes / places) / sizeof(float), sizeof *p->floats, &p->floats));
cleanup:
    mo_trainer_planned_end(t);
    return status;
}

static moco_status_t byte_store(moco_trainer_t *t)
{
    mo_pushed_t *p = &t->pushed;
    drop_floats(p);
    moco_status_t status = MOCO_OK;
    size_t batch = (size_t)t->state.options.batch_size, size = (size_t)t->feature;
    mo_trainer_planned_begin(t);
    if (p->rows == NULL)
        TRY(mo_calloc(2 * batch, sizeof *p->rows, &p->rows));
    if (p->bytes == NULL) {
        TRY(mo_calloc(2 * batch, size, &p->bytes));
        for (size_t i = 0; i < 2 * batch; i++)
            p->rows[i] = p->bytes + i * size;
    }
cleanup:
    mo_trainer_planned_end(t);
    return status;
}

/* Both views of the decoded image into place `count` + `offset` of the batch. */
static moco_status_t draw(moco_trainer_t *t, int64_t offset)
{
    mo_pushed_t *p = &t->pushed;
    moco_status_t status = MOCO_OK;
    const int64_t at = p->count + offset, batch = t->state.options.batch_size;
    for (int view = 0; view < 2; view++)
        TRY(mo_view_draw(&p->work, &t->view_spec, &p->pixels, t->state.options.seed, 0, t->state.pushed + at, view,
                         p->bytes + (view * batch + at) * t->feature));
cleanup:
    return status;
}

static void accept(moco_trainer_t *t, int64_t count, int is_float)
{
    t->pushed.count += count;
    t->pushed.is_float = is_float;
}

moco_status_t mo_push_pixels(moco_trainer_t *t, int64_t count, const moco_image_t *images)
{
    moco_status_t status = MOCO_OK;
    TRY(check_room(t, count, 0));
    TRY(byte_store(t));
    for (int64_t i = 0; i < count; i++) {
        TRY(mo_pixels_from_images(images, i, &t->pushed.pixels));
        TRY(draw(t, i));
    }
    accept(t, count, 0);
cleanup:
    return status;
}

moco_status_t mo_push_encoded(moco_trainer_t *t, int64_t count, const uint8_t *const *data, const uint64_t *sizes)
{
    moco_status_t status = MOCO_OK;
    int64_t warnings = 0;
    TRY(check_room(t, count, 0));
    TRY(byte_store(t));
    for (int64_t i = 0; i < count; i++) {
        if (data[i] == NULL)
            TRY(mo_fail(MOCO_ERR_ARGUMENT, "data[%lld] is NULL", (long long)i));
        status = mo_image_decode(data[i], sizes[i], MO_MAX_PIXELS, &t->pushed.pixels, &warnings);
        if (status != MOCO_OK)
            TRY(mo_fail(status, "data[%lld]: %s", (long long)i, moco_last_message()));
        TRY(draw(t, i));
    }
    accept(t, count, 0);
cleanup:
    return status;
}

static moco_status_t check_views(const char *name, const float *views, int64_t count, int64_t feature)
{
    const int64_t at = mo_find_nonfinite(views, count * feature);
    return at < 0 ? MOCO_OK
                  : mo_fail(MOCO_ERR_NONFINITE, "%s: number %lld of view %lld is %g: wanted finite numbers", name,
                            (long long)(at % feature), (long long)(at / feature), (double)views[at]);
}

moco_status_t mo_push_views(moco_trainer_t *t, int64_t count, const float *queries, const float *keys, int32_t layout)
{
    mo_pushed_t *p = &t->pushed;
    moco_status_t status = MOCO_OK;
    size_t batch = (size_t)t->state.options.batch_size, size = (size_t)t->feature;
    if (layout != MOCO_LAYOUT_NCHW && layout != MOCO_LAYOUT_NHWC)
        return mo_fail(MOCO_ERR_ARGUMENT, "layout is %d, wanted %d (NCHW) or %d (NHWC)", layout, MOCO_LAYOUT_NCHW,
                       MOCO_LAYOUT_NHWC);
    TRY(check_room(t, count, 1));
    if (p->count > 0 && p->layout != layout)
        return mo_fail(MOCO_ERR_STATE, "the batch holds float views in layout %d, pushed were views in layout %d",
                       p->layout, layout);
    TRY(check_views("queries", queries, count, t->feature));
    TRY(check_views("keys", keys, count, t->feature));
    TRY(float_store(t));
    memcpy(p->floats + (size_t)p->count * size, queries, (size_t)count * size * sizeof(float));
    memcpy(p->floats + (batch + (size_t)p->count) * size, keys, (size_t)count * size * sizeof(float));
    p->layout = layout;
    accept(t, count, 1);
cleanup:
    return status;
}

moco_status_t mo_push_yield(moco_trainer_t *t)
{
    const mo_pushed_t *p = &t->pushed;
    if (p->count == 0) {
        mo_pushed_free(&t->pushed);
        return MOCO_OK;
    }
    const uint64_t bytes = 2 * (uint64_t)t->state.options.batch_size * (uint64_t)t->feature *
                           (p->is_float ? sizeof *p->floats : sizeof *p->bytes),
                   total = mo_trainer_bytes(t, NULL) + bytes, cap = (uint64_t)t->state.options.memory_cap;
    if (cap > 0 && total > cap)
        return mo_fail(MOCO_ERR_MEMORY_CAP,
                       "%lld pushed images wait in %s, with which reading a data set needs %s, the memory cap is %s; "
                       "discard them, or push until a step takes them",
                       (long long)p->count, mo_size(bytes).text, mo_size(total).text, mo_size(cap).text);
    return MOCO_OK;
}

int64_t mo_push_done(moco_trainer_t *t)
{
    const int64_t count = t->pushed.count;
    t->state.pushed += count;
    t->pushed.count = 0;
    return count;
}

moco_status_t mo_step_pushed(moco_trainer_t *t, mo_outcome_t *outcome)
{
    mo_pushed_t *p = &t->pushed;
    int64_t batch = t->state.options.batch_size;
    mo_views_t views = {.layout = p->layout, .pushed = 1};
    if (p->count < batch)
        return mo_fail(MOCO_ERR_NO_DATA, "%lld images wait, a step needs %lld", (long long)p->count, (long long)batch);
    if (p->is_float) {
        views.floats[0] = p->floats;
        views.floats[1] = p->floats + batch * t->feature;
    } else {
        views.bytes[0] = p->rows;
        views.bytes[1] = p->rows + batch;
    }
    return mo_trainer_step(t, &views, outcome);
}
