/* Small files that claim to be huge: a model of a huge ViT, a checkpoint with a huge queue or
 * batch. They are refused before the memory that they ask for is taken, and described without
 * it. */
#include "draw.h"
#include "call_options.h"

#include <stdio.h>
#include <unistd.h>

#include "../process_numbers.h"

enum { SIDE = 16, MIB_ALLOWED = 256, DESCRIBED = 16 /* MiB, of a call that only describes */ };

static scratch_t scratch;
static char model_path[512], resnet_path[512], checkpoint_path[512], bomb_path[512];

/* Address space that the process has had at most, MiB. */
static long peak(void)
{
    return of_status("VmPeak:") / 1024;
}

static void setup(void)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *model = NULL;
    moco_device_t *device = device_of(1);
    scratch = scratch_make();
    snprintf(model_path, sizeof model_path, "%s", in_scratch(&scratch, "model.safetensors"));
    snprintf(resnet_path, sizeof resnet_path, "%s", in_scratch(&scratch, "resnet.safetensors"));
    snprintf(checkpoint_path, sizeof checkpoint_path, "%s", in_scratch(&scratch, "checkpoint.safetensors"));
    snprintf(bomb_path, sizeof bomb_path, "%s", in_scratch(&scratch, "bomb.safetensors"));
    tiny_options(&options);
    options.width = 0.0625;
    expect_ok(moco_trainer_create(&options, device, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, device, &model));
    expect_ok(moco_model_save(model, resnet_path));
    moco_model_free(model);
    moco_trainer_free(trainer);
    tiny_options(&options);
    options.arch = MOCO_ARCH_VIT_SMALL;
    options.width = 0.0625;
    options.patch_size = 4;
    options.vit_depth = 2;
    expect_ok(moco_trainer_create(&options, device, &trainer));
    expect_ok(moco_trainer_save(trainer, checkpoint_path));
    expect_ok(moco_trainer_snapshot(trainer, NULL, device, &model));
    expect_ok(moco_model_save(model, model_path));
    moco_model_free(model);
    moco_trainer_free(trainer);
    moco_device_free(device);
}

static void teardown(void)
{
    scratch_drop(&scratch);
}

/* `from` in the header of the file becomes `to`, wherever it stands; it must be there. */
static void change(char *header, size_t capacity, const char *from, const char *to)
{
    char *at = strstr(header, from);
    ck_assert_msg(at != NULL, "no %s in the header", from);
    for (; at != NULL; at = strstr(at + strlen(to), from)) {
        ck_assert(strlen(header) + strlen(to) < capacity);
        memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
        memcpy(at, to, strlen(to));
    }
}

/* The file with changes in pairs of texts, and without its checksums, which anyone can compute. */
static void make_bomb(const char *path, const char *const *changes)
{
    static char header[1 << 20];
    uint64_t length = 0;
    int byte;
    FILE *in = fopen(path, "rb"), *out = fopen(bomb_path, "wb");
    ck_assert(in != NULL && out != NULL);
    ck_assert_int_eq(fread(&length, sizeof length, 1, in), 1);
    ck_assert(length < sizeof header);
    ck_assert_int_eq(fread(header, 1, length, in), length);
    header[length] = '\0';
    change(header, sizeof header, "_xxh3", "_none");
    for (; changes[0] != NULL; changes += 2)
        change(header, sizeof header, changes[0], changes[1]);
    while (strlen(header) % 8 != 0)
        strcat(header, " ");
    length = strlen(header);
    fwrite(&length, sizeof length, 1, out);
    fwrite(header, 1, length, out);
    while ((byte = fgetc(in)) != EOF)
        fputc(byte, out);
    fclose(in);
    ck_assert_int_eq(fclose(out), 0);
}

typedef struct claim {
    const char *what, *changes[13];
} claim_t;

static void refuse(const claim_t *claim, const char *path, moco_status_t (*load)(moco_device_t *device))
{
    moco_device_t *device = device_of(1);
    make_bomb(path, claim->changes);
    const long before = peak();
    const moco_status_t status = load(device);
    ck_assert_msg(status != MOCO_OK, "%s was taken", claim->what);
    ck_assert_msg(moco_last_message()[0] != '\0', "%s: no message", claim->what);
    ck_assert_msg(peak() - before < MIB_ALLOWED, "%s: %ld MiB more were taken before %s (%s)", claim->what,
                  peak() - before, moco_status_name(status), moco_last_message());
    moco_device_free(device);
}

static moco_status_t load_model(moco_device_t *device)
{
    moco_model_t *model = NULL;
    const moco_status_t status = moco_model_load(bomb_path, NULL, device, &model);
    moco_model_free(model);
    return status;
}

/* A model's metadata alone, and that of a file whose encoder is told from its shapes. */
static const claim_t models[] = {
    {"a huge ViT", {"vit_small", "vit_huge", "\"width\":\"0.0625\"", "\"width\":\"8\"", NULL}},
    {"a deep ViT", {"\"vit_depth\":\"2\"", "\"vit_depth\":\"1000\"", NULL}},
    {"a huge deep ViT",
     {"vit_small", "vit_huge", "\"width\":\"0.0625\"", "\"width\":\"8\"", "\"vit_depth\":\"2\"",
      "\"vit_depth\":\"1000\"", NULL}},
    {"a ViT of huge images", {"\"size\":\"16\"", "\"size\":\"1024\"", NULL}},
    {"a ViT with a huge head", {"\"dimension\":\"16\"", "\"dimension\":\"65536\"", NULL}},
    {"a ResNet-152 of eight times the width",
     {"vit_small", "resnet152", "\"width\":\"0.0625\"", "\"width\":\"8\"", NULL}},
};

START_TEST(a_model)
{
    refuse(&models[_i], model_path, load_model);
}
END_TEST

static moco_status_t load_trainer(moco_device_t *device)
{
    moco_trainer_t *trainer = NULL;
    const moco_status_t status = moco_trainer_load(bomb_path, NULL, device, &trainer);
    moco_trainer_free(trainer);
    return status;
}

#define OPTION(name, from, to) "\\\"" name "\\\": " from, "\\\"" name "\\\": " to

/* Neither describing nor converting takes what the tensors belie, and describing takes nothing that
 * they do not belie: a ResNet has the same tensors for images of any size. */
START_TEST(a_description)
{
    static const claim_t large = {"a ResNet of huge images",
                                  {"\"size\":\"16\"", "\"size\":\"1024\"", "\"eval_crop\":\"16\"",
                                   "\"eval_crop\":\"1024\"", NULL}};
    static char text[1 << 16];
    make_bomb(resnet_path, large.changes);
    long before = peak();
    expect_ok(moco_file_info(bomb_path, text, sizeof text, NULL));
    expect_ok(moco_model_file_info(bomb_path, NULL, text, sizeof text, NULL));
    ck_assert_int_eq((int)json_number(text, "size"), 1024);
    ck_assert_double_gt(json_number(text, "multiply_adds"), 1e9);
    ck_assert_int_lt(peak() - before, DESCRIBED);
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        make_bomb(model_path, models[i].changes);
        before = peak();
        ck_assert_int_ne(moco_model_file_info(bomb_path, NULL, text, sizeof text, NULL), MOCO_OK);
        ck_assert_int_ne(moco_convert(bomb_path, in_scratch(&scratch, "out"), NULL, NULL, 0, NULL), MOCO_OK);
        ck_assert_msg(peak() - before < DESCRIBED, "%s: %ld MiB", models[i].what, peak() - before);
    }
}
END_TEST

/* The description of a file is that of the model which it gives. */
START_TEST(the_same_description)
{
    const char *paths[] = {model_path, resnet_path, checkpoint_path};
    static char told[1 << 16], wanted[1 << 16];
    moco_model_options_t options;
    moco_model_t *model = NULL;
    expect_ok(moco_model_options_init(&options, sizeof options));
    options.drop_head = _i % 2;
    options.encoder = paths[_i / 2] == checkpoint_path ? MOCO_ENCODER_KEY : MOCO_ENCODER_QUERY;
    expect_ok(moco_model_load(paths[_i / 2], &options, NULL, &model));
    expect_ok(moco_model_info(model, wanted, sizeof wanted, NULL));
    expect_ok(moco_model_file_info(paths[_i / 2], &options, told, sizeof told, NULL));
    ck_assert_str_eq(told, wanted);
    moco_model_free(model);
}
END_TEST

/* A matrix in a sparse file, 64 MiB long. */
START_TEST(a_matrix)
{
    static const char header[] =
        "\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 16), }";
    static char text[1024];
    const char *path = in_scratch(&scratch, "x.npy");
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fwrite(header, 1, sizeof header - 1, file);
    for (size_t at = sizeof header - 1; at < 128; at++)
        fputc(' ', file);
    fclose(file);
    ck_assert_int_eq(truncate(path, 128 + (INT64_C(64) << 20)), 0);
    const long before = peak();
    expect_ok(moco_file_info(path, text, sizeof text, NULL));
    ck_assert_str_eq(text, "{\"container\":\"npy\",\"rows\":1048576,\"dimension\":16}");
    ck_assert_int_lt(peak() - before, DESCRIBED);
    ck_assert_int_eq(truncate(path, INT64_C(64) << 20), 0);
    expect_status(MOCO_ERR_FORMAT, moco_file_info(path, text, sizeof text, NULL));
    expect_message("1048576 rows of 16 numbers claimed");
}
END_TEST

static const claim_t checkpoints[] = {
    {"a huge queue", {OPTION("queue_length", "32", "16777216"), NULL}},
    {"a huge queue of wide keys",
     {OPTION("queue_length", "32", "16777216"), OPTION("dimension", "16", "65536"), "\"dimension\":\"16\"",
      "\"dimension\":\"65536\"", NULL}},
    {"a huge head", {OPTION("head", "\\\"linear\\\"", "\\\"mlp\\\""), OPTION("head_width", "0", "65536"), NULL}},
    {"a deep ViT", {OPTION("vit_depth", "2", "1000"), "\"vit_depth\":\"2\"", "\"vit_depth\":\"1000\"", NULL}},
    {"huge images", {OPTION("image_size", "16", "1024"), "\"size\":\"16\"", "\"size\":\"1024\"", NULL}},
};

START_TEST(a_checkpoint)
{
    refuse(&checkpoints[_i], checkpoint_path, load_trainer);
}
END_TEST

/* What no tensor in the file belies is refused by the plan: the batch. */
START_TEST(a_batch)
{
    static const claim_t batch = {"a huge batch",
                                  {OPTION("batch_size", "8", "65536"), OPTION("bn_groups", "2", "1"),
                                   OPTION("head", "\\\"linear\\\"", "\\\"linear\\\""), NULL}};
    setenv("MOCO_MEMORY_LIMIT", "128M", 1);
    refuse(&batch, checkpoint_path, load_trainer);
    unsetenv("MOCO_MEMORY_LIMIT");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("claims");
    TCase *tc = tcase_create("claims");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_model, 0, sizeof models / sizeof models[0]);
    tcase_add_test(tc, a_description);
    tcase_add_loop_test(tc, the_same_description, 0, 6);
    tcase_add_test(tc, a_matrix);
    tcase_add_loop_test(tc, a_checkpoint, 0, sizeof checkpoints / sizeof checkpoints[0]);
    tcase_add_test(tc, a_batch);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
