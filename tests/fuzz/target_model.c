/* A file that may hold an encoder, ours or another program's: what is said about it, the model from
 * it, a classifier from it, and a model and a checkpoint made of it. */
#include "fuzz.h"

static void use_model(moco_model_t *model)
{
    static uint8_t rgb[20 * 20 * 3];
    const moco_image_t image = {.struct_size = sizeof image, .planes = {rgb}, .width = 20, .height = 20};
    char text[4096];
    uint64_t needed = 0;
    const int32_t width = moco_model_dimension(model, MOCO_TAP_BACKBONE);
    EXPECT(width > 0);
    moco_model_info(model, text, sizeof text, &needed);
    if (moco_model_image_size(model) > 64)
        return;
    float *row = malloc((size_t)width * sizeof *row);
    EXPECT(row != NULL);
    fuzz_taken(moco_model_embed_pixels(model, 1, &image, NULL, row));
    free(row);
    OK(moco_model_save(model, fuzz_path("again.safetensors")));
}

static void use_classifier(moco_classifier_t *classifier)
{
    char text[8192];
    uint64_t needed;
    moco_classifier_info(classifier, text, sizeof text, &needed);
    EXPECT(moco_classifier_class_name(classifier, 0) != NULL);
    OK(moco_classifier_save(classifier, fuzz_path("again.safetensors")));
}

static void load(const uint8_t *bytes, size_t size, uint32_t choice)
{
    moco_model_options_t options;
    moco_model_t *model = NULL;
    OK(moco_model_options_init(&options, sizeof options));
    options.image_size = choice & 1 ? 32 : 0;
    if (fuzz_taken(moco_model_load_memory(bytes, size, &options, fuzz_device(), &model)))
        use_model(model);
    moco_model_free(model);
}

static void convert(const char *path, uint32_t choice)
{
    static const char *const settings[][2] = {{"to", "encoder"}, {"to", "checkpoint"}, {"encoder", "key"}};
    moco_convert_options_t options;
    char text[8192], out[256];
    uint64_t needed;
    OK(moco_convert_options_init(&options, sizeof options));
    const char *const *setting = settings[choice % 3];
    EXPECT(moco_convert_options_set(&options, setting[0], setting[1]) == MOCO_OK || setting[0][0] == 't');
    snprintf(out, sizeof out, "%s/made.safetensors", fuzz_folder());
    unlink(out);
    const moco_status_t status = moco_convert(path, out, &options, text, sizeof text, &needed);
    EXPECT((status == MOCO_OK) == (access(out, F_OK) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    const uint32_t choice = fuzz_byte(&input);
    moco_classifier_t *classifier = NULL;
    char text[8192];
    uint64_t needed;
    const char *path = fuzz_file("x.safetensors", input.bytes, input.size);
    moco_file_info(path, text, sizeof text, &needed);
    moco_model_file_info(path, NULL, text, sizeof text, &needed);
    if (choice & 4)
        convert(path, choice >> 3);
    else if (choice & 2 && fuzz_taken(moco_classifier_load(path, NULL, fuzz_device(), &classifier)))
        use_classifier(classifier);
    else
        load(input.bytes, input.size, choice);
    moco_classifier_free(classifier);
    return 0;
}
