/* From an image to what an encoder sees: the random views of training and the fixed transform of
 * evaluation.
 *
 * A view depends on (seed, view, index, epoch) alone. Its draws come from one stream in this order,
 * and a decision that is drawn as "no" skips the draws that belong to it; u is a uniform number in
 * [0,1):
 *   crop      up to crop_tries tries: u area share, u log of the aspect (simclr-code: u aspect, a
 *             whole number for the height); the accepted try then draws top, left (whole numbers)
 *   then in the order of the pipeline
 *   jitter    u; if u < p: three whole numbers for the order of its four operations, then u for
 *             brightness, contrast, saturation and hue, always all four
 *   gray      u
 *   blur      u; if u < p of this view: u sigma
 *   solarize  u, compared with p of this view
 *   flip      u
 * Pipelines that have an operation draw for it even where its p is 0. They are those of MoCo v1, v2
 * and v3 as published, of the CIFAR-10 demonstration, and of SimCLR; operations are Pillow's in all
 * of them, but for the blur of SimCLR (gaussian.c), whose sigma is drawn for each view. The
 * trainer, the loader and moco_dataset_views call this file. */
#include "data/augment.h"

#include <math.h>
#include <string.h>

#include <moco/trainer.h> /* MOCO_VIEWS_…, MOCO_BLUR_… */

#include "util/alloc.h"
#include "util/options.h"
#include "util/rng.h"
#include "util/status.h"

#define ASPECT_MIN (3.0 / 4.0)
#define ASPECT_MAX (4.0 / 3.0)
#define COVERED 0.1 /* of the image, at least, by a crop of SimCLR's published code */

enum { END, JITTER, GRAY, BLUR, SOLARIZE, FLIP, STEPS = 6 };

/* What follows the crop. */
static const uint8_t pipelines[][STEPS] = {
    [MOCO_VIEWS_V1] = {GRAY, JITTER, FLIP},           [MOCO_VIEWS_V2] = {JITTER, GRAY, BLUR, FLIP},
    [MOCO_VIEWS_CIFAR] = {FLIP, JITTER, GRAY},        [MOCO_VIEWS_V3] = {JITTER, GRAY, BLUR, SOLARIZE, FLIP},
    [MOCO_VIEWS_SIMCLR] = {FLIP, JITTER, GRAY, BLUR}, [MOCO_VIEWS_SIMCLR_CODE] = {FLIP, JITTER, GRAY, BLUR},
};

void mo_view_work_free(mo_view_work_t *work)
{
    for (int i = 0; i < 3; i++)
        mo_free(work->bytes[i]);
    mo_free(work->weights);
    *work = (mo_view_work_t){0};
}

/* ---- specifications ---- */

/* The probabilities of an operation that not every pipeline has; `who` says which have it. */
static moco_status_t check_step(const mo_view_spec_t *spec, int step, const char *who, const char *const names[2],
                                const double probability[2])
{
    const int has = memchr(pipelines[spec->order], step, STEPS) != NULL;
    for (int view = 0; view < 2; view++)
        if (!has && probability[view] > 0)
            return mo_fail(MOCO_ERR_ARGUMENT, "%s is %g, wanted 0: %s", names[view], probability[view], who);
    return MOCO_OK;
}

void mo_view_spec_warn(const mo_view_spec_t *spec)
{
    const int radius = mo_gaussian_radius(spec->size);
    if (spec->blur_form == MOCO_BLUR_GAUSSIAN && (spec->blur_probability[0] > 0 || spec->blur_probability[1] > 0) &&
        radius < spec->blur_sigma_max)
        mo_log(MOCO_LOG_WARNING, "the Gaussian blur of views of %d pixels has a kernel of side %d, which %s",
               spec->size, 2 * radius + 1, radius == 0 ? "changes nothing" : "is cut off inside blur_sigma_max");
}

moco_status_t mo_view_spec_check(const mo_view_spec_t *spec)
{
    static const char *const blur_names[] = {"blur_probability", "blur_probability_2"};
    static const char *const solarize_names[] = {"solarize_probability", "solarize_probability_2"};
    moco_status_t status = MOCO_OK;
    TRY(mo_option_at_least("crop_max_area", spec->crop_max_area, "crop_min_area", spec->crop_min_area));
    TRY(mo_option_at_least("blur_sigma_max", spec->blur_sigma_max, "blur_sigma_min", spec->blur_sigma_min));
    TRY(check_step(spec, BLUR, "views v2, v3, simclr and simclr-code have a blur", blur_names, spec->blur_probability));
    TRY(check_step(spec, SOLARIZE, "only views v3 solarize", solarize_names, spec->solarize_probability));
cleanup:
    return status;
}

/* ---- training ---- */

typedef struct box {
    int32_t left, top, width, height;
} box_t;

/* The largest box of an allowed aspect, in the middle. */
static box_t central_box(int32_t width, int32_t height)
{
    const double aspect = (double)width / height;
    box_t box = {.width = width, .height = height};
    if (aspect < ASPECT_MIN)
        box.height = (int32_t)rint(width / ASPECT_MIN);
    else if (aspect > ASPECT_MAX)
        box.width = (int32_t)rint(height * ASPECT_MAX);
    box.left = (width - box.width) / 2;
    box.top = (height - box.height) / 2;
    return box;
}

/* One try of the crop that SimCLR's published code asks TensorFlow for (tf.image's
 * sample_distorted_bounding_box): the aspect is uniform, and so is the height, among the whole
 * numbers that the areas and the image leave room for. Rounding may miss an end of the range by a
 * row, which is put right. The last column and row are never reached where the box is smaller. 0
 * where the box does not fit or covers less of the image than the code asks for. */
static int try_side(mo_rng_t *rng, const mo_view_spec_t *spec, int32_t width, int32_t height, box_t *box)
{
    const double area = (double)width * height, least = spec->crop_min_area * area, most = spec->crop_max_area * area;
    const double aspect = mo_rng_range(rng, ASPECT_MIN, ASPECT_MAX);
    double low = rint(sqrt(least / aspect)), high = rint(sqrt(most / aspect));
    if (rint(high * aspect) > width) {
        high = floor((width + 0.5 - 1e-7) / aspect);
        high -= rint(high * aspect) > width;
    }
    high = high < height ? high : height;
    low = low < high ? low : high;
    double h = low + mo_rng_below(rng, (uint32_t)(high - low) + 1), w = rint(h * aspect);
    if (w * h < least)
        w = rint(++h * aspect);
    if (w * h > most)
        w = rint(--h * aspect);
    if (w * h < least || w * h > most || w > width || h > height || w < 1 || h < 1 || w * h < COVERED * area)
        return 0;
    *box = (box_t){.width = (int32_t)w, .height = (int32_t)h};
    box->top = h < height ? (int32_t)mo_rng_below(rng, (uint32_t)(height - box->height)) : 0;
    box->left = w < width ? (int32_t)mo_rng_below(rng, (uint32_t)(width - box->width)) : 0;
    return 1;
}

static box_t draw_box_by_side(mo_rng_t *rng, const mo_view_spec_t *spec, int32_t width, int32_t height)
{
    box_t box;
    for (int32_t i = 0; i < spec->crop_tries; i++) {
        if (try_side(rng, spec, width, height, &box))
            return box;
    }
    return (box_t){.width = width, .height = height};
}

static box_t draw_box(mo_rng_t *rng, const mo_view_spec_t *spec, int32_t width, int32_t height)
{
    if (spec->order == MOCO_VIEWS_SIMCLR_CODE)
        return draw_box_by_side(rng, spec, width, height);
    const double area = (double)width * height;
    for (int32_t i = 0; i < spec->crop_tries; i++) {
        const double target = area * mo_rng_range(rng, spec->crop_min_area, spec->crop_max_area);
        const double aspect = exp(mo_rng_range(rng, log(ASPECT_MIN), log(ASPECT_MAX)));
        const double w = rint(sqrt(target * aspect)), h = rint(sqrt(target / aspect)); /* half to even */
        if (w < 1 || w > width || h < 1 || h > height)
            continue;
        box_t box = {.width = (int32_t)w, .height = (int32_t)h};
        box.top = (int32_t)mo_rng_below(rng, (uint32_t)(height - box.height) + 1);
        box.left = (int32_t)mo_rng_below(rng, (uint32_t)(width - box.width) + 1);
        return box;
    }
    return central_box(width, height);
}

static moco_status_t crop(mo_view_work_t *work, mo_rng_t *rng, const mo_view_spec_t *spec, const mo_pixels_t *pixels,
                          uint8_t *out)
{
    const box_t box = draw_box(rng, spec, pixels->width, pixels->height);
    const size_t stride = (size_t)pixels->width * 3;
    const mo_resize_t resize = {.src = pixels->rgb + (size_t)box.top * stride + (size_t)box.left * 3,
                                .stride = stride,
                                .width = box.width,
                                .height = box.height,
                                .full_width = spec->size,
                                .full_height = spec->size,
                                .window_width = spec->size,
                                .window_height = spec->size,
                                .filter = spec->resize_filter};
    return mo_resize(work, &resize, out, (size_t)spec->size * 3);
}

static double draw_factor(mo_rng_t *rng, double strength)
{
    return mo_rng_range(rng, strength > 1.0 ? 0.0 : 1.0 - strength, 1.0 + strength);
}

static void jitter(mo_rng_t *rng, const mo_view_spec_t *spec, uint8_t *rgb, size_t count)
{
    if (mo_rng_unit(rng) >= spec->jitter_probability)
        return;
    int order[4] = {0, 1, 2, 3};
    for (uint32_t i = 3; i > 0; i--) {
        const uint32_t j = mo_rng_below(rng, i + 1);
        const int moved = order[i];
        order[i] = order[j];
        order[j] = moved;
    }
    const float brightness = (float)draw_factor(rng, spec->brightness);
    const float contrast = (float)draw_factor(rng, spec->contrast);
    const float saturation = (float)draw_factor(rng, spec->saturation);
    const double hue = mo_rng_range(rng, -spec->hue, spec->hue);
    for (int i = 0; i < 4; i++) {
        if (order[i] == 0)
            mo_brightness(rgb, count, brightness);
        else if (order[i] == 1)
            mo_contrast(rgb, count, contrast);
        else if (order[i] == 2)
            mo_saturation(rgb, count, saturation);
        else if (spec->hue > 0) /* strength 0 means no hue operation; a shift of 0 would still lose bits */
            mo_hue(rgb, count, hue);
    }
}

static void gray(mo_rng_t *rng, const mo_view_spec_t *spec, uint8_t *rgb, size_t count)
{
    if (mo_rng_unit(rng) < spec->gray_probability)
        mo_gray(rgb, count);
}

static moco_status_t blur(mo_view_work_t *work, mo_rng_t *rng, const mo_view_spec_t *spec, int view, uint8_t *rgb)
{
    if (mo_rng_unit(rng) >= spec->blur_probability[view])
        return MOCO_OK;
    const double sigma = mo_rng_range(rng, spec->blur_sigma_min, spec->blur_sigma_max);
    if (spec->blur_form == MOCO_BLUR_GAUSSIAN)
        return mo_blur_gaussian(work, rgb, spec->size, spec->size, mo_gaussian_radius(spec->size), sigma);
    return mo_blur(work, rgb, spec->size, spec->size, sigma);
}

static void solarize(mo_rng_t *rng, const mo_view_spec_t *spec, int view, uint8_t *rgb, size_t count)
{
    if (mo_rng_unit(rng) < spec->solarize_probability[view])
        mo_solarize(rgb, count);
}

static void flip(mo_rng_t *rng, const mo_view_spec_t *spec, uint8_t *rgb)
{
    if (mo_rng_unit(rng) < spec->flip_probability)
        mo_flip(rgb, spec->size, spec->size);
}

moco_status_t mo_view_draw(mo_view_work_t *work, const mo_view_spec_t *spec, const mo_pixels_t *pixels, uint64_t seed,
                           int64_t epoch, int64_t index, int view, uint8_t *out)
{
    moco_status_t status = MOCO_OK;
    const size_t count = (size_t)spec->size * (size_t)spec->size;
    mo_rng_t rng;
    const uint32_t first = spec->stream != 0 ? spec->stream : MO_STREAM_VIEW0;
    mo_rng_start(&rng, seed, first + (uint32_t)view, (uint32_t)index, (uint32_t)epoch);
    TRY(crop(work, &rng, spec, pixels, out));
    for (const uint8_t *step = pipelines[spec->order]; *step != END; step++) {
        if (*step == JITTER)
            jitter(&rng, spec, out, count);
        else if (*step == GRAY)
            gray(&rng, spec, out, count);
        else if (*step == BLUR)
            TRY(blur(work, &rng, spec, view, out));
        else if (*step == SOLARIZE)
            solarize(&rng, spec, view, out, count);
        else
            flip(&rng, spec, out);
    }
cleanup:
    return status;
}

/* ---- evaluation ---- */

/* Where a window of `size` lies on an axis of `full` pixels: from `first`, `count` of them, at
 * `pad` in the output. */
static void centre(int32_t full, int32_t size, int32_t *first, int32_t *count, int32_t *pad)
{
    const int smaller = full < size;
    *first = smaller ? 0 : (int32_t)rint((full - size) / 2.0); /* half to even */
    *count = smaller ? full : size;
    *pad = smaller ? (size - full) / 2 : 0;
}

moco_status_t mo_view_eval(mo_view_work_t *work, const mo_pixels_t *pixels, int32_t resize, int32_t size, uint8_t *out)
{
    const int32_t width = pixels->width, height = pixels->height;
    const int32_t shorter = width < height ? width : height, longer = width < height ? height : width;
    const int64_t long_side = (int64_t)resize * longer / shorter;
    if (resize < 1 || size < 1 || long_side > INT32_MAX)
        return mo_fail(MOCO_ERR_ARGUMENT, "cannot resize %dx%d to a short side of %d and crop %d", width, height,
                       resize, size);
    const int wide = width >= height;
    mo_resize_t r = {.src = pixels->rgb,
                     .stride = (size_t)width * 3,
                     .width = width,
                     .height = height,
                     .full_width = wide ? (int32_t)long_side : resize,
                     .full_height = wide ? resize : (int32_t)long_side};
    int32_t pad_left, pad_top;
    centre(r.full_width, size, &r.left, &r.window_width, &pad_left);
    centre(r.full_height, size, &r.top, &r.window_height, &pad_top);
    const size_t out_stride = (size_t)size * 3;
    if (r.window_width < size || r.window_height < size)
        memset(out, 0, (size_t)size * out_stride);
    return mo_resize(work, &r, out + (size_t)pad_top * out_stride + (size_t)pad_left * 3, out_stride);
}
