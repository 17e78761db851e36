/* Models in bf16 and f16, and training in bf16: numbers beside those of float32, equal bits for any
 * number of lanes and after going on, and refusals where oneDNN has no such products. */
#include "draw.h"
#include "call_options.h"

#include <math.h>

enum { IMAGES = 19 }; /* a full plan and a part of one */

typedef struct network {
    const char *settings;
    int side, products; /* products one behind the other, those of attentions among them */
} network_t;

static const network_t networks[] = {
    {"arch=resnet18 width=0.25 stem=cifar image_size=33", 33, 18},
    {"arch=resnet50 width=0.25 image_size=65", 65, 50},
    {"arch=vit_small width=0.25 vit_depth=4 vit_heads=3 patch_size=8 image_size=40", 40, 1 + 4 * 6},
    {"arch=vit_small width=0.25 vit_depth=2 vit_norm=batch patch_size=8 image_size=24", 24, 1 + 2 * 6},
    {"arch=vit_conv_small width=0.25 vit_depth=2 image_size=48", 48, 5 + 2 * 6}};
enum { NETWORKS = sizeof networks / sizeof networks[0] };

static uint8_t *file;
static uint64_t file_bytes;
static float *images, *rows[4];
static int32_t width;

static void set_options(moco_trainer_options_t *options, const char *settings)
{
    char text[256], *rest = text;
    snprintf(text, sizeof text, "%s", settings);
    for (char *one; (one = strtok_r(rest, " ", &rest)) != NULL;) {
        char *value = strchr(one, '=');
        *value++ = '\0';
        expect_ok(moco_trainer_options_set(options, one, value));
    }
}

/* A file of the network as it begins. */
static void make_file(const network_t *network)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    tiny_options(&options);
    set_options(&options, network->settings);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    expect_ok(moco_model_save_memory(model, NULL, 0, &file_bytes));
    file = malloc(file_bytes);
    expect_ok(moco_model_save_memory(model, file, file_bytes, NULL));
    moco_model_free(model);
    moco_trainer_free(trainer);
}

static void make_images(int side)
{
    const size_t numbers = (size_t)(3 * side * side);
    images = malloc(IMAGES * numbers * sizeof *images);
    for (int i = 0; i < IMAGES; i++) {
        uint8_t *pixels = draw_pixels(side, side, 3, i);
        for (size_t n = 0; n < numbers; n++)
            images[(size_t)i * numbers + n] = (float)pixels[n] / 64.0f - 2;
        free(pixels);
    }
}

static moco_status_t load(int32_t precision, int32_t lanes, moco_model_t **out)
{
    moco_model_options_t options;
    moco_device_t *device = device_of(lanes);
    expect_ok(moco_model_options_init(&options, sizeof options));
    options.precision = precision;
    const moco_status_t status = moco_model_load_memory(file, file_bytes, &options, device, out);
    moco_device_free(device);
    return status;
}

/* The rows of all images, or 0 where the precision is not to be had, with a reason. */
static int rows_of(int32_t precision, const char *name, int32_t lanes, float **out)
{
    moco_model_t *model = NULL;
    char text[4096], says[32];
    if (precision != MOCO_PRECISION_FLOAT32 && load(precision, lanes, &model) == MOCO_ERR_UNSUPPORTED) {
        expect_message(name);
        expect_message("float32");
        return 0;
    }
    if (model == NULL)
        expect_ok(load(precision, lanes, &model));
    expect_ok(moco_model_info(model, text, sizeof text, NULL));
    snprintf(says, sizeof says, "\"precision\":\"%s\"", name);
    ck_assert_msg(strstr(text, says) != NULL, "'%s' is not in %s", says, text);
    width = moco_model_dimension(model, MOCO_TAP_BACKBONE);
    *out = malloc(sizeof **out * (size_t)width * IMAGES);
    expect_ok(moco_model_embed_tensor(model, IMAGES, images, EMBED(.layout = MOCO_LAYOUT_NHWC), *out));
    moco_model_free(model);
    return 1;
}

static double distance(const float *a, const float *b) /* 1 - cosine */
{
    double ab = 0, aa = 0, bb = 0;
    for (int32_t i = 0; i < width; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return 1 - ab / sqrt(aa * bb);
}

static void drop(void)
{
    free(file);
    free(images);
    file = NULL;
    images = NULL;
    for (int i = 0; i < 4; i++) {
        free(rows[i]);
        rows[i] = NULL;
    }
}

/* One rounding to b significant bits is off by 0.42 * 2^-b of a number, root mean square. A product
 * of rounded numbers with rounded weights adds two such errors to the square of the relative error
 * of a row, and half of that square is the distance of the row from the one of float32: 0.18 *
 * 2^(-2b) for each product that the numbers go through. Less is seen, since shortcuts go around
 * products and means run over places; the bound is 0.25 * 2^(-2b) for each. */
static void compare(const network_t *network, int32_t precision, const char *name, int bits)
{
    const double bound = 0.25 * pow(2, -2 * bits) * network->products;
    double most = 0;
    if (!rows_of(precision, name, 1, &rows[1]))
        return;
    ck_assert_int_eq(rows_of(precision, name, 3, &rows[2]), 1);
    ck_assert_mem_eq(rows[1], rows[2], sizeof **rows * (size_t)width * IMAGES);
    ck_assert_mem_ne(rows[0], rows[1], sizeof **rows * (size_t)width * IMAGES); /* it is another precision */
    for (int i = 0; i < IMAGES; i++)
        most = fmax(most, distance(rows[0] + i * width, rows[1] + i * width));
    printf("%s: %s 1 - cosine at most %.2g, bound %.2g\n", network->settings, name, most, bound);
    ck_assert_double_le(most, bound);
    for (int i = 1; i < 3; i++) {
        free(rows[i]);
        rows[i] = NULL;
    }
}

START_TEST(beside_float32)
{
    const network_t *network = &networks[_i];
    make_file(network);
    make_images(network->side);
    ck_assert_int_eq(rows_of(MOCO_PRECISION_FLOAT32, "float32", 1, &rows[0]), 1);
    compare(network, MOCO_PRECISION_BF16, "bf16", 8);
    compare(network, MOCO_PRECISION_F16, "f16", 11);
    drop();
}
END_TEST

/* What a 16-bit model is made from and saves is the float32 file. */
START_TEST(files_stay_float32)
{
    moco_model_t *model = NULL;
    uint64_t bytes = 0;
    make_file(&networks[0]);
    if (load(MOCO_PRECISION_BF16, 1, &model) == MOCO_OK) {
        uint8_t *again = malloc(file_bytes);
        expect_ok(moco_model_save_memory(model, again, file_bytes, &bytes));
        ck_assert_uint_eq(bytes, file_bytes);
        ck_assert_mem_eq(again, file, file_bytes);
        free(again);
        moco_model_free(model);
    }
    drop();
}
END_TEST

/* ---- training ---- */

typedef struct training {
    int32_t recipe;
    const char *settings;
} training_t;

static const training_t trainings[] = {
    {MOCO_RECIPE_V2, "arch=resnet18 width=0.25 stem=cifar image_size=32"},
    {MOCO_RECIPE_V3, "arch=resnet50 width=0.25 head_width=64"},
    {MOCO_RECIPE_V3_VIT, "arch=vit_small width=0.25 vit_depth=2 vit_heads=3 patch_size=8 head_width=64"},
    {MOCO_RECIPE_SIMCLR, "arch=vit_conv_small width=0.25 vit_depth=2 vit_norm=batch image_size=48"},
};
enum { TRAININGS = sizeof trainings / sizeof trainings[0], STEPS = 3 };

static void training_options(const training_t *training, moco_trainer_options_t *options)
{
    expect_ok(moco_trainer_options_init(options, sizeof *options, training->recipe, MOCO_ARCH_RECIPE));
    options->batch_size = 8;
    options->bn_groups = 2;
    options->image_size = 32;
    options->queue_length = 32;
    options->dimension = 16;
    set_options(options, training->settings);
}

static void train_steps(moco_trainer_t *trainer, const moco_trainer_options_t *options, int from, int to, double *loss)
{
    const int side = options->image_size;
    for (int step = from; step < to; step++) {
        moco_step_report_t report = {.struct_size = sizeof report};
        for (int i = 0; i < options->batch_size; i++) {
            uint8_t *pixels = draw_pixels(side, side, 3, options->batch_size * step + i);
            const moco_image_t image = {.struct_size = sizeof image, .planes = {pixels}, .width = side, .height = side};
            expect_ok(moco_trainer_push_pixels(trainer, 1, &image));
            free(pixels);
        }
        expect_ok(moco_trainer_step(trainer, NULL, &report));
        loss[step] = report.loss;
    }
}

/* The bytes of the checkpoint after some steps; with `again` it is loaded after the first one. */
static uint8_t *trained(const moco_trainer_options_t *options, int32_t lanes, int again, double *loss, size_t *size)
{
    const scratch_t folder = scratch_make();
    const char *path = in_scratch(&folder, "checkpoint.safetensors");
    moco_device_t *device = device_of(lanes);
    moco_trainer_t *trainer = NULL;
    expect_ok(moco_trainer_create(options, device, &trainer));
    train_steps(trainer, options, 0, 1, loss);
    if (again) {
        expect_ok(moco_trainer_save(trainer, path));
        moco_trainer_free(trainer);
        expect_ok(moco_trainer_load(path, NULL, device, &trainer));
    }
    train_steps(trainer, options, 1, STEPS, loss);
    expect_ok(moco_trainer_save(trainer, path));
    moco_trainer_free(trainer);
    moco_device_free(device);
    uint8_t *bytes = read_file(path, size);
    scratch_drop(&folder);
    return bytes;
}

/* The first loss is off by what the embeddings are: their distance, divided by the temperature of
 * at least 0.1. A dozen products in a row make a vector that is off by 0.02 of its length. */
START_TEST(training_beside_float32)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    double loss[4][STEPS];
    size_t size[4];
    uint8_t *bytes[4] = {NULL};
    training_options(&trainings[_i], &options);
    bytes[0] = trained(&options, 1, 0, loss[0], &size[0]);
    options.precision = MOCO_PRECISION_BF16;
    if (moco_trainer_create(&options, NULL, &trainer) == MOCO_ERR_UNSUPPORTED) {
        expect_message("bf16");
        expect_message("float32");
    } else {
        moco_trainer_free(trainer);
        for (int i = 1; i < 4; i++)
            bytes[i] = trained(&options, i == 2 ? 3 : 1, i == 3, loss[i], &size[i]);
        printf("%s: losses %.5f %.5f %.5f, float32 %.5f %.5f %.5f\n", trainings[_i].settings, loss[1][0], loss[1][1],
               loss[1][2], loss[0][0], loss[0][1], loss[0][2]);
        ck_assert_double_le(fabs(loss[1][0] - loss[0][0]), 0.2);
        ck_assert_double_ne(loss[1][0], loss[0][0]);
        for (int i = 2; i < 4; i++) {
            ck_assert_uint_eq(size[1], size[i]);
            ck_assert_mem_eq(bytes[1], bytes[i], size[1]);
        }
    }
    for (int i = 0; i < 4; i++)
        free(bytes[i]);
}
END_TEST

/* A run goes on in the other precision, as where bf16 is not to be had, and says so from then on. A
 * caller whose header is older than the option changes nothing. */
START_TEST(go_on_in_another)
{
    static const int32_t precisions[] = {MOCO_PRECISION_BF16, MOCO_PRECISION_FLOAT32};
    const int32_t from = precisions[_i], to = precisions[1 - _i];
    const scratch_t folder = scratch_make();
    const char *path = in_scratch(&folder, "checkpoint.safetensors");
    moco_trainer_options_t options, kept;
    moco_trainer_t *trainer = NULL;
    moco_device_t *device = device_of(1);
    double loss[STEPS], same[STEPS];
    training_options(&trainings[0], &options);
    options.precision = MOCO_PRECISION_BF16;
    if (moco_trainer_create(&options, device, &trainer) == MOCO_OK) {
        moco_trainer_free(trainer);
        options.precision = from;
        expect_ok(moco_trainer_create(&options, device, &trainer));
        train_steps(trainer, &options, 0, 1, loss);
        expect_ok(moco_trainer_save(trainer, path));
        moco_trainer_free(trainer);

        options.precision = to;
        expect_ok(moco_trainer_load(path, &options, device, &trainer));
        train_steps(trainer, &options, 1, 2, loss);
        moco_trainer_free(trainer);
        options.struct_size = offsetof(moco_trainer_options_t, precision);
        expect_ok(moco_trainer_load(path, &options, device, &trainer));
        options.struct_size = sizeof options;
        train_steps(trainer, &options, 1, 2, same);
        ck_assert_double_ne(loss[1], same[1]);
        ck_assert_double_le(fabs(loss[1] - same[1]), 0.2);
        expect_ok(moco_trainer_save(trainer, path));
        expect_ok(moco_trainer_options_load(path, &kept, sizeof kept));
        ck_assert_int_eq(kept.precision, from);
        moco_trainer_free(trainer);
        expect_ok(moco_trainer_load(path, &options, device, &trainer));
        expect_ok(moco_trainer_save(trainer, path));
        expect_ok(moco_trainer_options_load(path, &kept, sizeof kept));
        ck_assert_int_eq(kept.precision, to);
        moco_trainer_free(trainer);
    } else
        printf("skipped: %s\n", moco_last_message());
    moco_device_free(device);
    scratch_drop(&folder);
}
END_TEST

START_TEST(no_training_in_f16)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    training_options(&trainings[0], &options);
    options.precision = MOCO_PRECISION_F16;
    ck_assert_int_eq(moco_trainer_create(&options, NULL, &trainer), MOCO_ERR_ARGUMENT);
    expect_message("f16");
    expect_message("bf16");
    ck_assert_ptr_null(trainer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("precision");
    TCase *test_case = tcase_create("precision");
    suite_add_tcase(suite, test_case);
    tcase_add_loop_test(test_case, beside_float32, 0, NETWORKS);
    tcase_add_test(test_case, files_stay_float32);
    tcase_add_loop_test(test_case, training_beside_float32, 0, TRAININGS);
    tcase_add_loop_test(test_case, go_on_in_another, 0, 2);
    tcase_add_test(test_case, no_training_in_f16);
    return run_suite(suite);
}
