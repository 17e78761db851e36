/* Finished encoders: the same rows whichever way an image comes in and whoever else asks, in files
 * and out of hostile ones. */
#include "draw.h"
#include "call_options.h"

#include <pthread.h>

#define SIDE 16
#define D 16
#define IMAGES 11
#define BROKEN 4 /* the picture that is broken where one is */

static scratch_t scratch;
static moco_model_t *model;
static picture_t jpegs[IMAGES];
static const uint8_t *data[IMAGES];
static uint64_t sizes[IMAGES];

/* An encoder after three steps, so that its batch norm has statistics. */
static void set_up(void)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, 3, 28);
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    tiny_options(&options);
    options.base_lr = 1;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_steps(trainer, dataset, 3, NULL, NULL));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "checkpoint")));
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
    for (int i = 0; i < IMAGES; i++) {
        jpegs[i] = draw_jpeg(28, 28, 3, i);
        data[i] = jpegs[i].bytes;
        sizes[i] = jpegs[i].size;
    }
}

static void tear_down(void)
{
    for (int i = 0; i < IMAGES; i++)
        free(jpegs[i].bytes);
    moco_model_free(model);
    model = NULL;
    scratch_drop(&scratch);
}

static void rows_of(moco_model_t *m, int32_t tap, int64_t count, float *rows)
{
    expect_ok(moco_model_embed_encoded(m, count, data, sizes, EMBED(.tap = tap), rows));
}

START_TEST(files)
{
    float rows[5][IMAGES * D];
    moco_model_t *other = NULL;
    size_t size[2];
    rows_of(model, MOCO_TAP_PROJECTION, IMAGES, rows[0]);
    expect_ok(moco_model_save(model, in_scratch(&scratch, "a")));
    expect_ok(moco_model_load(in_scratch(&scratch, "a"), NULL, NULL, &other));
    rows_of(other, MOCO_TAP_PROJECTION, IMAGES, rows[1]);
    expect_ok(moco_model_save(other, in_scratch(&scratch, "b")));
    moco_model_free(other);
    expect_ok(moco_model_load(in_scratch(&scratch, "checkpoint"), NULL, NULL, &other)); /* its query encoder */
    rows_of(other, MOCO_TAP_PROJECTION, IMAGES, rows[2]);
    expect_ok(moco_model_save(other, in_scratch(&scratch, "c")));
    moco_model_free(other);
    moco_device_t *device = device_of(3);
    expect_ok(moco_model_load(in_scratch(&scratch, "a"), NULL, device, &other));
    moco_device_free(device);
    rows_of(other, MOCO_TAP_PROJECTION, IMAGES, rows[3]);
    moco_model_free(other);
    for (int i = 1; i < 4; i++)
        ck_assert_mem_eq(rows[0], rows[i], sizeof rows[0]);
    uint8_t *a = read_file(in_scratch(&scratch, "a"), &size[0]);
    for (int i = 0; i < 2; i++) {
        uint8_t *b = read_file(in_scratch(&scratch, i ? "c" : "b"), &size[1]);
        ck_assert_uint_eq(size[0], size[1]);
        ck_assert_mem_eq(a, b, size[0]);
        free(b);
    }
    free(a);
}
END_TEST

START_TEST(every_way_in)
{
    uint8_t pixels[IMAGES][SIDE * SIDE * 3], *whole[IMAGES], bgr[28 * 30 * 3], rgba[28 * 28 * 4];
    float tensor[IMAGES * SIDE * SIDE * 3], planes[IMAGES * SIDE * SIDE * 3], rows[5][IMAGES * D];
    moco_image_t images[IMAGES];
    moco_trainer_options_t o;
    tiny_options(&o);
    const double mean[3] = {o.mean_r, o.mean_g, o.mean_b}, std[3] = {o.std_r, o.std_g, o.std_b};
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    for (int i = 0; i < IMAGES; i++) {
        int entry = -1;
        char name[32];
        snprintf(name, sizeof name, "c%d/%04d.jpg", i % 3, i);
        for (int e = 0; e < IMAGES; e++)
            if (strcmp(moco_dataset_name(dataset, e), name) == 0)
                entry = e;
        ck_assert_int_ge(entry, 0);
        expect_ok(moco_dataset_pixels(dataset, entry, SIDE, SIDE, pixels[i]));
        for (int p = 0; p < SIDE * SIDE; p++)
            for (int c = 0; c < 3; c++) {
                float value = ((float)pixels[i][3 * p + c] / 255.0f - (float)mean[c]) / (float)std[c];
                tensor[(i * SIDE * SIDE + p) * 3 + c] = value;
                planes[(i * 3 + c) * SIDE * SIDE + p] = value;
            }
        whole[i] = malloc(28 * 28 * 3);
        expect_ok(moco_dataset_pixels(dataset, entry, 28, 28, whole[i])); /* the decoded image itself */
        images[i] =
            (moco_image_t){.struct_size = sizeof(moco_image_t), .planes = {whole[i]}, .width = 28, .height = 28};
    }
    rows_of(model, MOCO_TAP_PROJECTION, IMAGES, rows[0]);
    expect_ok(moco_model_embed_pixels(model, IMAGES, images, EMBED(.tap = MOCO_TAP_PROJECTION), rows[1]));
    expect_ok(moco_model_embed_tensor(model, IMAGES, tensor,
                                      EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC), rows[2]));
    expect_ok(moco_model_embed_tensor(model, IMAGES, planes,
                                      EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NCHW), rows[3]));
    for (int p = 0; p < 28 * 28; p++)
        for (int c = 0; c < 3; c++) {
            bgr[p / 28 * 90 + p % 28 * 3 + 2 - c] = whole[1][3 * p + c]; /* rows 90 bytes apart */
            rgba[4 * p + c] = whole[2][3 * p + c];
            rgba[4 * p + 3] = (uint8_t)p;
        }
    images[1] = (moco_image_t){.struct_size = sizeof(moco_image_t),
                               .planes = {bgr},
                               .width = 28,
                               .height = 28,
                               .strides = {90},
                               .format = MOCO_PIXELS_BGR};
    images[2] = (moco_image_t){
        .struct_size = sizeof(moco_image_t), .planes = {rgba}, .width = 28, .height = 28, .format = MOCO_PIXELS_RGBA};
    expect_ok(moco_model_embed_pixels(model, IMAGES, images, EMBED(.tap = MOCO_TAP_PROJECTION), rows[4]));
    for (int i = 1; i < 5; i++)
        ck_assert_msg(memcmp(rows[0], rows[i], sizeof rows[0]) == 0, "way %d gives other bits", i);
    for (int i = 0; i < IMAGES; i++)
        free(whole[i]);
    moco_dataset_free(dataset);
}
END_TEST

/* Rows have the same bits whatever their neighbours; alone, on the plan for one image, they agree
 * to rounding. */
START_TEST(neighbours)
{
    for (int32_t tap = 0; tap < 2; tap++) {
        const int32_t width = moco_model_dimension(model, tap);
        float *rows = malloc((size_t)(60 + 1) * (size_t)width * sizeof *rows), *one = rows + 60 * width;
        const uint8_t *mixed[60];
        uint64_t mixed_sizes[60];
        for (int i = 0; i < 60; i++) {
            mixed[i] = data[i * 7 % IMAGES];
            mixed_sizes[i] = sizes[i * 7 % IMAGES];
        }
        expect_ok(moco_model_embed_encoded(model, 60, mixed, mixed_sizes, EMBED(.tap = tap), rows));
        for (int i = IMAGES; i < 60; i++)
            ck_assert_mem_eq(rows + i * width, rows + (i - IMAGES) * width, (size_t)width * sizeof *rows);
        float pair[2 * 256];
        ck_assert_int_le(width, 256);
        expect_ok(moco_model_embed_encoded(model, 2, mixed, mixed_sizes, EMBED(.tap = tap), pair));
        ck_assert_mem_eq(pair, rows, 2 * (size_t)width * sizeof *rows);
        for (int i = 0; i < IMAGES; i++) {
            double norm = 0;
            expect_ok(moco_model_embed_encoded(model, 1, mixed + i, mixed_sizes + i, EMBED(.tap = tap), one));
            for (int j = 0; j < width; j++) {
                ck_assert_double_eq_tol(one[j], rows[i * width + j], 2e-5 * (1 + fabs((double)one[j])));
                norm += (double)rows[i * width + j] * rows[i * width + j];
            }
            if (tap == MOCO_TAP_PROJECTION)
                ck_assert_double_eq_tol(norm, 1, 1e-5);
        }
        ck_assert_mem_ne(rows, rows + width, (size_t)width * sizeof *rows);
        free(rows);
    }
}
END_TEST

typedef struct caller {
    pthread_t thread;
    int count, wrong;
    const float *want;
} caller_t;

static void *call_often(void *user)
{
    caller_t *c = user;
    float rows[IMAGES * D];
    for (int i = 0; i < 8; i++) {
        moco_status_t status =
            moco_model_embed_encoded(model, c->count, data, sizes, EMBED(.tap = MOCO_TAP_PROJECTION), rows);
        c->wrong += status != MOCO_OK || memcmp(rows, c->want, (size_t)c->count * D * sizeof *rows) != 0;
        status = moco_model_embed_encoded(model, 1, data + 3, sizes + 3, EMBED(.tap = MOCO_TAP_PROJECTION), rows);
        c->wrong += status != MOCO_OK || memcmp(rows, c->want + IMAGES * D, D * sizeof *rows) != 0;
    }
    return NULL;
}

START_TEST(several_threads)
{
    float want[(IMAGES + 1) * D];
    caller_t callers[4];
    rows_of(model, MOCO_TAP_PROJECTION, IMAGES, want);
    expect_ok(
        moco_model_embed_encoded(model, 1, data + 3, sizes + 3, EMBED(.tap = MOCO_TAP_PROJECTION), want + IMAGES * D));
    for (int i = 0; i < 4; i++) {
        callers[i] = (caller_t){.count = 2 + 3 * i, .want = want};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(callers[i].thread, NULL);
        ck_assert_int_eq(callers[i].wrong, 0);
    }
}
END_TEST

/* ---- one image on all lanes ---- */

/* A network whose products are large enough to be cut. */
static moco_model_t *large_model(int32_t lanes)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *made = NULL;
    moco_device_t *device = device_of(lanes);
    tiny_options(&options);
    options.width = 1;
    options.image_size = 48;
    expect_ok(moco_trainer_create(&options, device, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, device, &made));
    moco_trainer_free(trainer);
    moco_device_free(device);
    return made;
}

typedef struct single {
    pthread_t thread;
    moco_model_t *model;
    const float *want;
    int wrong;
} single_t;

static void *embed_one_often(void *user)
{
    single_t *s = user;
    float row[D];
    for (int i = 0; i < 20; i++)
        s->wrong += moco_model_embed_encoded(s->model, 1, data, sizes, EMBED(.tap = MOCO_TAP_PROJECTION), row) !=
                        MOCO_OK ||
                    memcmp(row, s->want, sizeof row) != 0;
    return NULL;
}

START_TEST(one_image_on_all_lanes)
{
    float want[D], row[D];
    single_t callers[4];
    moco_cancel_t *cancel = NULL;
    moco_status_t status = MOCO_OK;
    const uint8_t *const broken[] = {(const uint8_t *)"nothing"};
    const uint64_t length = 7;
    moco_model_t *m = large_model(1);
    expect_ok(moco_model_embed_encoded(m, 1, data, sizes, EMBED(.tap = MOCO_TAP_PROJECTION), want));
    moco_model_free(m);
    m = large_model(3);
    for (int i = 0; i < 4; i++) {
        callers[i] = (single_t){.model = m, .want = want};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, embed_one_often, &callers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(callers[i].thread, NULL);
        ck_assert_int_eq(callers[i].wrong, 0);
    }
    expect_ok(moco_cancel_create(&cancel));
    moco_cancel_request(cancel);
    expect_status(MOCO_ERR_CANCELLED,
                  moco_model_embed_encoded(m, 1, data, sizes, EMBED(.tap = MOCO_TAP_PROJECTION, .cancel = cancel),
                                           row));
    moco_cancel_free(cancel);
    expect_status(MOCO_ERR_IMAGE,
                  moco_model_embed_encoded(m, 1, broken, &length, EMBED(.tap = MOCO_TAP_PROJECTION), row));
    expect_message("data[0]");
    expect_ok(
        moco_model_embed_encoded(m, 1, broken, &length, EMBED(.tap = MOCO_TAP_PROJECTION, .statuses = &status), row));
    ck_assert_int_eq(status, MOCO_ERR_IMAGE);
    for (int i = 0; i < D; i++)
        ck_assert(row[i] == 0);
    expect_ok(moco_model_embed_encoded(m, 1, data, sizes, EMBED(.tap = MOCO_TAP_PROJECTION), row));
    ck_assert_mem_eq(row, want, sizeof row);
    moco_model_free(m);
}
END_TEST

START_TEST(a_broken_image_among_good_ones)
{
    float rows[2][IMAGES * D], zero[D] = {0};
    moco_status_t items[IMAGES];
    rows_of(model, MOCO_TAP_PROJECTION, IMAGES, rows[0]);
    sizes[BROKEN] /= 2;
    expect_ok(moco_model_embed_encoded(model, IMAGES, data, sizes, EMBED(.tap = MOCO_TAP_PROJECTION, .statuses = items),
                                       rows[1]));
    for (int i = 0; i < IMAGES; i++) {
        ck_assert_int_eq(items[i], i == BROKEN ? MOCO_ERR_IMAGE : MOCO_OK);
        ck_assert_mem_eq(rows[1] + i * D, i == BROKEN ? zero : rows[0] + i * D, sizeof zero);
    }
    data[7] = (const uint8_t *)"no JPEG at all";
    sizes[7] = 14;
    expect_status(MOCO_ERR_IMAGE,
                  moco_model_embed_encoded(model, IMAGES, data, sizes, EMBED(.tap = MOCO_TAP_PROJECTION), rows[1]));
    expect_message("truncated"); /* the first one */
}
END_TEST

/* ---- a data set into files ---- */

START_TEST(into_files)
{
    size_t size;
    moco_embed_result_t result = {.struct_size = sizeof result, .rows = -1, .skipped = -1};
    float rows[IMAGES * D];
    break_picture(in_scratch(&scratch, "images"), BROKEN, 3);
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    expect_ok(moco_model_embed_to_npy(model, dataset, in_scratch(&scratch, "X.npy"),
                                      EMBED(.tap = MOCO_TAP_PROJECTION, .loader_threads = 2), &result));
    ck_assert_int_eq(result.rows, IMAGES - 1);
    ck_assert_int_eq(result.skipped, 1);
    uint8_t *npy = read_file(in_scratch(&scratch, "X.npy"), &size);
    ck_assert_mem_eq(npy, "\x93NUMPY\x01\x00", 8);
    size_t header = 10 + npy[8] + 256u * npy[9];
    ck_assert_uint_eq(header % 64, 0);
    char dict[256] = {0}, shape[32];
    memcpy(dict, npy + 10, header - 10 < 255 ? header - 10 : 255);
    ck_assert_ptr_nonnull(strstr(dict, "'descr': '<f4'"));
    ck_assert_ptr_nonnull(strstr(dict, "'fortran_order': False"));
    snprintf(shape, sizeof shape, "(%d, %d)", IMAGES - 1, D);
    ck_assert_msg(strstr(dict, shape) != NULL, "%s", dict);
    ck_assert_uint_eq(size, header + (IMAGES - 1) * D * sizeof(float));

    /* A name a row, in the same order; each row that of its image. */
    char *names = (char *)read_file(in_scratch(&scratch, "X.names.txt"), &size), *line = strtok(names, "\n");
    rows_of(model, MOCO_TAP_PROJECTION, IMAGES, rows);
    for (int i = 0; i < IMAGES - 1; i++, line = strtok(NULL, "\n")) {
        ck_assert_ptr_nonnull(line);
        int number = atoi(line + 3);
        ck_assert_int_ne(number, BROKEN);
        ck_assert_mem_eq(npy + header + i * D * sizeof(float), rows + number * D, D * sizeof(float));
    }
    ck_assert_ptr_null(line);
    free(names);
    free(npy);
    names = (char *)read_file(in_scratch(&scratch, "X.skipped.txt"), &size);
    ck_assert_int_eq(strncmp(names, "c1/0004.jpg\ta text that begins", 30), 0);
    free(names);
    moco_dataset_free(dataset);
}
END_TEST

static int32_t stop_at_once(void *user, int64_t done, int64_t total)
{
    *(int64_t *)user = total - done;
    return 1;
}

START_TEST(npy_that_does_not_come_about)
{
    int64_t left = -1;
    moco_embed_result_t result = {.struct_size = sizeof result, .rows = -1};
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    const char *path = in_scratch(&scratch, "X.npy");
    expect_status(MOCO_ERR_CANCELLED, moco_model_embed_to_npy(model, dataset, path,
                                                              EMBED(.progress = stop_at_once, .user = &left), &result));
    ck_assert_int_eq(left, 0);
    ck_assert_int_eq(result.rows, -1);
    ck_assert(!file_exists(path) && !file_exists(in_scratch(&scratch, "X.names.txt")));
    moco_dataset_free(dataset);
    for (int i = 0; i < IMAGES; i++)
        break_picture(in_scratch(&scratch, "images"), i, 3);
    dataset = dataset_of(in_scratch(&scratch, "images"));
    expect_status(MOCO_ERR_NO_DATA, moco_model_embed_to_npy(model, dataset, path, NULL, NULL));
    expect_message("11");
    ck_assert(!file_exists(path));
    moco_dataset_free(dataset);
}
END_TEST

START_TEST(info)
{
    char text[2048];
    expect_ok(moco_model_info(model, text, sizeof text, NULL));
    ck_assert_ptr_nonnull(strstr(text, "\"arch\":\"resnet18\""));
    ck_assert_ptr_nonnull(strstr(text, "\"stem\":\"cifar\""));
    ck_assert_ptr_nonnull(strstr(text, "\"head\":\"linear\""));
    ck_assert(json_number(text, "width") == 0.25);
    ck_assert_int_eq((int)json_number(text, "size"), SIDE);
    ck_assert_int_eq((int)json_number(text, "backbone_dimension"), 128);
    ck_assert_int_eq((int)json_number(text, "projection_dimension"), D);
    ck_assert_int_eq((int)json_number(text, "eval_resize"), SIDE);
    ck_assert_int_eq((int)json_number(text, "eval_crop"), SIDE);
    ck_assert_int_eq((int)json_number(text, "steps"), 3);
    ck_assert(json_number(text, "parameters") > 600000 && json_number(text, "parameters") < 800000);
    ck_assert_ptr_nonnull(strstr(text, "\"mean\":["));
    ck_assert_ptr_nonnull(strstr(text, "\"std\":["));
}
END_TEST

/* ---- hostile files ---- */

/* Text in the header replaced by as many bytes; what it says then. */
typedef struct lie {
    const char *from, *to;
    moco_status_t status;
    const char *message;
} lie_t;

static const lie_t lies[] = {
    {"\"fc.weight\"", "\"fx.weight\"", MOCO_ERR_SHAPE, "fc.weight"},
    {"\"conv1.weight\"", "\"conv9.weight\"", MOCO_ERR_SHAPE, "conv1.weight"},
    {"[16,128]", "[128,16]", MOCO_ERR_SHAPE, "fc.weight"},
    {"[16,128]", "[16,129]", MOCO_ERR_FORMAT, ""},
    {"\"format_version\":\"1\"", "\"format_version\":\"9\"", MOCO_ERR_VERSION, "9"},
    {"\"format_version\"", "\"format_varsion\"", MOCO_ERR_FORMAT, "format_version"},
    {"\"kind\"", "\"kine\"", MOCO_ERR_FORMAT, "kind"},
    {"\"arch\":", "\"arck\":", MOCO_ERR_FORMAT, "arch"},
    {"\"resnet18\"", "\"resnet19\"", MOCO_ERR_UNSUPPORTED, "resnet19"},
    {"\"resnet18\"", "\"resnet34\"", MOCO_ERR_SHAPE, ""},
    {"\"size\":\"16\"", "\"size\":\"-6\"", MOCO_ERR_FORMAT, "size"},
    {"\"size\":\"16\"", "\"size\":\"zz\"", MOCO_ERR_FORMAT, "size"},
    {"\"F32\"", "\"X32\"", MOCO_ERR_FORMAT, "X32"},
    {"__metadata__", "__metadaca__", MOCO_ERR_FORMAT, ""},
};
#define LIES ((int)(sizeof lies / sizeof *lies))

static void expect_refused(const char *what, moco_status_t status, const char *message)
{
    moco_model_t *made = NULL;
    moco_status_t got = moco_model_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made);
    ck_assert_msg(got == status, "%s: %s (%s)", what, moco_status_name(got), moco_last_message());
    ck_assert_ptr_null(made);
    ck_assert_msg(strstr(moco_last_message(), message) != NULL, "%s: %s", what, moco_last_message());
}

START_TEST(files_that_lie)
{
    size_t size;
    expect_ok(moco_model_save(model, in_scratch(&scratch, "good")));
    uint8_t *bytes = read_file(in_scratch(&scratch, "good"), &size);
    const lie_t *lie = &lies[_i];
    forget_sums(bytes, size);
    uint8_t *at = memmem(bytes, size, lie->from, strlen(lie->from));
    ck_assert_msg(at != NULL, "the header has no %s", lie->from);
    ck_assert_uint_eq(strlen(lie->from), strlen(lie->to));
    memcpy(at, lie->to, strlen(lie->to));
    write_file(scratch.path, "hostile", bytes, size);
    expect_refused(lie->to, lie->status, lie->message);
    free(bytes);
}
END_TEST

START_TEST(files_cut_or_with_a_wrong_header_length)
{
    static const size_t cuts[] = {0, 1, 7, 8, 9, 100, 5000};
    static const uint64_t lengths[] = {0, 1, 7, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63, 1 << 30};
    size_t size;
    expect_ok(moco_model_save(model, in_scratch(&scratch, "good")));
    uint8_t *bytes = read_file(in_scratch(&scratch, "good"), &size);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        write_file(scratch.path, "hostile", bytes, cuts[i]);
        expect_refused("cut", MOCO_ERR_FORMAT, "");
    }
    write_file(scratch.path, "hostile", bytes, size - 1);
    expect_refused("one byte short", MOCO_ERR_FORMAT, "");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memcpy(bytes, &lengths[i], 8);
        write_file(scratch.path, "hostile", bytes, size);
        expect_refused("header length", MOCO_ERR_FORMAT, "");
    }
    free(bytes);
    moco_trainer_t *trainer = NULL; /* a model is no checkpoint */
    expect_status(MOCO_ERR_FORMAT, moco_trainer_load(in_scratch(&scratch, "good"), NULL, NULL, &trainer));
    ck_assert_ptr_null(trainer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model");
    TCase *tcase = tcase_create("model");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, files);
    tcase_add_test(tcase, every_way_in);
    tcase_add_test(tcase, neighbours);
    tcase_add_test(tcase, several_threads);
    tcase_add_test(tcase, one_image_on_all_lanes);
    tcase_add_test(tcase, a_broken_image_among_good_ones);
    tcase_add_test(tcase, into_files);
    tcase_add_test(tcase, npy_that_does_not_come_about);
    tcase_add_test(tcase, info);
    tcase_add_loop_test(tcase, files_that_lie, 0, LIES);
    tcase_add_test(tcase, files_cut_or_with_a_wrong_header_length);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
