/* A file that says it is a JPEG: its header, all of it, a window of it at a scale, and views of
 * what came out by every pipeline. */
#include "fuzz.h"

#include "data/augment.h"
#include "data/data.h"
#include "data/decode.h"
#include "util/rng.h"

#define LIMIT (1 << 17) /* pixels */
#define VIEW 48

static mo_pixels_t pixels;
static mo_view_work_t work;

static void draw_window(const uint8_t *file, size_t size, fuzz_input_t *choice)
{
    mo_image_header_t header = {0};
    mo_drawn_t drawn = {0};
    mo_draw_t draw = {.max_pixels = LIMIT, .reduction = 1 << fuzz_byte(choice) % 4};
    moco_status_t status = mo_image_read_header(file, size, &header);
    EXPECT(status == MOCO_OK || status == MOCO_ERR_IMAGE);
    if (status == MOCO_OK) {
        const int32_t width = header.width, height = header.height;
        draw.window.left = (int32_t)(fuzz_word(choice) % (uint32_t)width);
        draw.window.top = (int32_t)(fuzz_word(choice) % (uint32_t)height);
        draw.window.width = 1 + (int32_t)(fuzz_word(choice) % (uint32_t)(width - draw.window.left));
        draw.window.height = 1 + (int32_t)(fuzz_word(choice) % (uint32_t)(height - draw.window.top));
    }
    status = mo_image_draw(file, size, &draw, &pixels, &drawn);
    EXPECT(status == MOCO_OK || status == MOCO_ERR_IMAGE);
    if (status == MOCO_OK) {
        EXPECT(pixels.width == drawn.window.width && pixels.height == drawn.window.height);
        EXPECT(drawn.window.left >= 0 && drawn.window.left + drawn.window.width <= drawn.full_width);
        EXPECT(drawn.window.top >= 0 && drawn.window.top + drawn.window.height <= drawn.full_height);
    }
}

static void draw_views(uint32_t choice, uint32_t seed)
{
    static uint8_t out[VIEW * VIEW * 3];
    const mo_view_spec_t spec = {.order = (int32_t)(choice % 5),
                                 .size = 16 + (int32_t)(choice / 5 % 33),
                                 .resize_filter = (int32_t)(choice >> 8 & 1),
                                 .crop_tries = 3,
                                 .blur_form = (int32_t)(choice >> 9 & 1),
                                 .crop_min_area = 0.01,
                                 .crop_max_area = 1,
                                 .brightness = 0.8,
                                 .contrast = 0.8,
                                 .saturation = 0.8,
                                 .hue = 0.5,
                                 .jitter_probability = 0.9,
                                 .gray_probability = 0.2,
                                 .blur_sigma_min = 0.1,
                                 .blur_sigma_max = choice >> 10 & 1 ? 100 : 2,
                                 .flip_probability = 0.5,
                                 .blur_probability = {0.9, 0.5},
                                 .solarize_probability = {0.5, 0.5}};
    for (int view = 0; view < 2; view++)
        OK(mo_view_draw(&work, &spec, &pixels, seed, 3, 4, view, out));
    OK(mo_view_eval(&work, &pixels, 1 + (int32_t)(choice >> 11 & 31) * 3, VIEW, out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    fuzz_input_t choice = {data, size < 12 ? size : 12};
    for (int i = 0; i < 12; i++)
        fuzz_byte(&input);
    uint8_t *file = fuzz_copy(input.bytes, input.size);
    int64_t warnings = 0;
    const uint32_t kind = fuzz_word(&choice);
    const int32_t turned = mo_image_orientation(file, input.size);
    EXPECT(turned >= 0 && turned <= 8);
    const moco_status_t status = mo_image_decode(file, input.size, LIMIT, &pixels, &warnings);
    EXPECT(status == MOCO_OK || status == MOCO_ERR_IMAGE);
    if (status == MOCO_OK) {
        EXPECT((int64_t)pixels.width * pixels.height <= LIMIT);
        draw_views(kind, fuzz_word(&choice));
    }
    draw_window(file, input.size, &choice);
    free(file);
    return 0;
}
