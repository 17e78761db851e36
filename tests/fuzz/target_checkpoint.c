/* A training checkpoint of this library: its options, the trainer from it, one step, and saving. */
#include "fuzz.h"

static void use_trainer(moco_trainer_t *trainer)
{
    moco_trainer_options_t options;
    enum { FLOATS = 4 * 3 * 16 * 16 };
    static float views[2 * FLOATS];
    char text[4096];
    uint64_t needed;
    OK(moco_trainer_options_get(trainer, &options, sizeof options));
    moco_trainer_state(trainer, text, sizeof text, &needed);
    if (options.batch_size == 4 && options.image_size == 16) {
        for (uint32_t i = 0; i < 2 * FLOATS; i++)
            views[i] = (float)(i * 2654435761u >> 16 & 255) / 128 - 1;
        OK(moco_trainer_push_views(trainer, 4, views, views + FLOATS, MOCO_LAYOUT_NHWC));
        fuzz_taken(moco_trainer_step(trainer, NULL, NULL));
    }
    /* A step from huge numbers may leave statistics that are not finite: those are not saved. */
    const moco_status_t saved = moco_trainer_save(trainer, fuzz_path("again.safetensors"));
    EXPECT(saved == MOCO_OK || saved == MOCO_ERR_NONFINITE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    const char *path = fuzz_file("x.safetensors", data, size);
    fuzz_taken(moco_trainer_options_load(path, &options, sizeof options));
    if (fuzz_taken(moco_trainer_load(path, NULL, fuzz_device(), &trainer)))
        use_trainer(trainer);
    moco_trainer_free(trainer);
    return 0;
}
