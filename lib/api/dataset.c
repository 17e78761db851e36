/* Border of <moco/dataset.h>: checks arguments, calls the data module. */
#include <moco/dataset.h>

#include "data/dataset.h"
#include "util/border.h"
#include "util/need.h"

#define MAX_SIDE 16384 /* pixels of an evaluation image's side */

moco_status_t moco_dataset_open(const char *path, const moco_dataset_options_t *options, moco_dataset_t **out)
{
    MO_BORDER;
    moco_dataset_options_t resolved;
    MO_NEED(path);
    MO_NEED(out);
    *out = NULL;
    const moco_status_t status = mo_option_resolve(&mo_dataset_options, options, &resolved);
    return status == MOCO_OK ? mo_dataset_open(path, &resolved, out) : status;
}

moco_status_t moco_dataset_create(int64_t count, moco_read_fn read, void *user, const int32_t *labels,
                                  const moco_dataset_options_t *options, moco_dataset_t **out)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    moco_dataset_options_t resolved;
    MO_NEED(read);
    MO_NEED(out);
    *out = NULL;
    TRY(mo_need_whole("count", count, 1, INT32_MAX));
    TRY(mo_option_resolve(&mo_dataset_options, options, &resolved));
    TRY(mo_dataset_from_callback(count, read, user, labels, &resolved, out));
cleanup:
    return status;
}

void moco_dataset_free(moco_dataset_t *dataset)
{
    MO_BORDER;
    mo_dataset_release(dataset);
}

int64_t moco_dataset_count(const moco_dataset_t *dataset)
{
    return mo_dataset_count(dataset);
}

int32_t moco_dataset_classes(const moco_dataset_t *dataset)
{
    return mo_dataset_classes(dataset);
}

const char *moco_dataset_name(const moco_dataset_t *dataset, int64_t index)
{
    return mo_dataset_name(dataset, index);
}

int32_t moco_dataset_label(const moco_dataset_t *dataset, int64_t index)
{
    return mo_dataset_label(dataset, index);
}

const char *moco_dataset_class_name(const moco_dataset_t *dataset, int32_t label)
{
    return mo_dataset_class_name(dataset, label);
}

int64_t moco_dataset_broken_count(const moco_dataset_t *dataset)
{
    return mo_dataset_broken(dataset);
}

const char *moco_dataset_broken_reason(const moco_dataset_t *dataset, int64_t index)
{
    MO_BORDER;
    return mo_dataset_broken_reason(dataset, index);
}

moco_status_t moco_dataset_pixels(moco_dataset_t *dataset, int64_t index, int32_t resize, int32_t size, uint8_t *pixels)
{
    MO_BORDER;
    moco_status_t status = MOCO_OK;
    mo_pixels_t decoded = {0};
    mo_view_work_t work = {0};
    MO_NEED(dataset);
    MO_NEED(pixels);
    TRY(mo_need_whole("index", index, 0, dataset->listing.count - 1));
    TRY(mo_need_whole("resize", resize, 1, MAX_SIDE));
    TRY(mo_need_whole("size", size, 1, MAX_SIDE));
    TRY(mo_dataset_decode(dataset, index, &decoded));
    TRY(mo_view_eval(&work, &decoded, resize, size, pixels));
cleanup:
    mo_view_work_free(&work);
    mo_pixels_free(&decoded);
    return status;
}

moco_status_t moco_dataset_info(const moco_dataset_t *dataset, char *text, uint64_t capacity, uint64_t *needed)
{
    MO_BORDER;
    MO_NEED(dataset);
    return mo_dataset_json(dataset, text, capacity, needed);
}
