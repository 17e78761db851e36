/* Train inside a program on its own pixels: push 8-bit images until the batch is full, step, and
 * take a model at any moment while training goes on. The images here are drawn; a real host would
 * push camera frames or decoded files.
 *
 *   push_pixels OUT.safetensors [STEPS]
 */
#include <math.h>
#include <stdlib.h>
#include "check.h"

enum { SIDE = 40, BATCH = 16 };

/* Stripes: their direction and width depend on the number of the image. [SIDE, SIDE, 3] RGB. */
static void draw(int64_t number, uint8_t *pixels)
{
    double angle = (double)(number % 7), frequency = 0.2 + 0.1 * (double)(number % 5);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double position = frequency * (x * cos(angle) + y * sin(angle));
            for (int c = 0; c < 3; c++)
                *pixels++ = (uint8_t)(128 + 100 * sin(position + c * (double)number));
        }
}

/* One batch, drawn and pushed image by image. The library draws both views of each inside the
 * call. */
static moco_status_t push_batch(moco_trainer_t *trainer, int64_t first)
{
    moco_status_t status = MOCO_OK;
    uint8_t pixels[SIDE * SIDE * 3];
    moco_image_t image = {.struct_size = sizeof image, .planes = {pixels}, .width = SIDE, .height = SIDE};
    for (int64_t i = 0; i < BATCH; i++) {
        draw(first + i, pixels);
        CHECK(moco_trainer_push_pixels(trainer, 1, &image));
    }
cleanup:
    return status;
}

int main(int argc, char **argv)
{
    moco_status_t status = MOCO_OK;
    moco_trainer_options_t options;
    moco_step_report_t report = {.struct_size = sizeof report};
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    float *row = NULL;
    uint8_t pixels[SIDE * SIDE * 3];
    moco_image_t image = {.struct_size = sizeof image, .planes = {pixels}, .width = SIDE, .height = SIDE};
    const int64_t steps = argc == 3 ? atoll(argv[2]) : 20;

    if (argc < 2 || steps < 1) {
        fprintf(stderr, "usage: %s OUT.safetensors [STEPS]\n", argv[0]);
        return 2;
    }
    CHECK(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_CIFAR,
                                    MOCO_ARCH_RECIPE)); /* small pixels, light views */
    options.width = 0.25;                               /* 16-32-64-128 channels */
    options.batch_size = BATCH;
    options.bn_groups = 2; /* two batch-norm groups of eight */
    options.queue_length = 256;
    CHECK(moco_trainer_create(&options, NULL, &trainer));

    for (int64_t step = 0; step < steps; step++) {
        if ((status = push_batch(trainer, step * BATCH)) != MOCO_OK)
            goto cleanup;
        CHECK(moco_trainer_step(trainer, NULL, &report));
        printf("step %lld  loss %.3f  chance %.3f\n", (long long)report.step, report.loss, report.chance_loss);
    }

    CHECK(moco_trainer_snapshot(trainer, NULL, NULL, &model)); /* independent of the trainer from here on */
    row = calloc((size_t)moco_model_dimension(model, MOCO_TAP_BACKBONE), sizeof *row);
    if (row == NULL) {
        fputs("no memory\n", stderr);
        status = MOCO_ERR_MEMORY;
        goto cleanup;
    }
    draw(3, pixels);
    CHECK(moco_model_embed_pixels(model, 1, &image, NULL, row));
    printf("embedding of image 3 starts with %g %g %g\n", row[0], row[1], row[2]);
    CHECK(moco_model_save(model, argv[1]));

cleanup:
    free(row);
    moco_model_free(model);
    moco_trainer_free(trainer);
    return status == MOCO_OK ? 0 : 1;
}
