/* A C host that found the library through pkg-config: learn for two steps from noise, embed one
 * picture. */
#include <stdio.h>
#include <moco/moco.h>

enum { SIDE = 16, BATCH = 8 };

static unsigned noise = 1;

static uint8_t next_byte(void)
{
    noise = noise * 1664525u + 1013904223u;
    return (uint8_t)(noise >> 24);
}

int main(void)
{
    moco_status_t status;
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    moco_step_report_t report = {.struct_size = sizeof report};
    static uint8_t pixels[BATCH][SIDE * SIDE * 3];
    moco_image_t images[BATCH] = {{0}};
    moco_embed_options_t how;
    float row[128];
    double square = 0;

    if (moco_version_number() != MOCO_VERSION_MAJOR * 10000 + MOCO_VERSION_MINOR * 100 + MOCO_VERSION_PATCH)
        return 1;
    status = moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE);
    options.width = 0.25;
    options.image_size = SIDE;
    options.batch_size = BATCH;
    options.bn_groups = 2;
    options.queue_length = 64;
    if (status == MOCO_OK)
        status = moco_trainer_create(&options, NULL, &trainer);
    for (int step = 0; step < 2 && status == MOCO_OK; step++) {
        for (int i = 0; i < BATCH; i++) {
            for (int b = 0; b < SIDE * SIDE * 3; b++)
                pixels[i][b] = next_byte();
            images[i].struct_size = sizeof images[i];
            images[i].planes[0] = pixels[i];
            images[i].width = images[i].height = SIDE;
        }
        status = moco_trainer_push_pixels(trainer, BATCH, images);
        if (status == MOCO_OK)
            status = moco_trainer_step(trainer, NULL, &report);
    }
    if (status == MOCO_OK)
        status = moco_trainer_snapshot(trainer, NULL, NULL, &model);
    if (status == MOCO_OK && moco_model_dimension(model, MOCO_TAP_PROJECTION) == 128)
        status = moco_embed_options_init(&how, sizeof how);
    how.tap = MOCO_TAP_PROJECTION;
    if (status == MOCO_OK)
        status = moco_model_embed_pixels(model, 1, images, &how, row);
    if (status != MOCO_OK)
        fprintf(stderr, "%s: %s\n", moco_status_name(status), moco_last_message());
    else
        for (int i = 0; i < 128; i++)
            square += (double)row[i] * row[i];
    moco_model_free(model);
    moco_trainer_free(trainer);
    printf("libmoco %s, step %d, square of the norm %.4f\n", moco_version_string(), (int)report.step, square);
    return status == MOCO_OK && report.step == 2 && square > 0.999 && square < 1.001 ? 0 : 1;
}
