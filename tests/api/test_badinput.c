/* Bad input from outside: images, folders, disks, options and files. Each gives its status and says
 * what was found; the process, the objects and the files that were there before live on. The
 * program says the same with its exit code. */
#include "draw.h"
#include "call_options.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

static scratch_t scratch;

static void set_up(void)
{
    scratch = scratch_make();
}

/* Also when a test failed half way. */
static void tear_down(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    umount2(in_scratch(&scratch, "run"), MNT_DETACH);
    scratch_drop(&scratch);
}

/* ---- images ---- */

typedef struct specimen {
    const char *name;    /* in listing order                        */
    const char *message; /* NULL: a good image                      */
    int path;            /* not the bytes but the path: 1 a link to nowhere, 2 a folder */
} specimen_t;

static const specimen_t specimens[] = {
    {"a-grey.jpg", NULL, 0},
    {"b-cmyk.jpg", NULL, 0},
    {"c-1x1.jpg", NULL, 0},
    {"d-truncated.jpg", "truncated", 0},
    {"e-empty.jpg", "empty", 0},
    {"f-text.jpg", "a GIF file, which this version does not read", 0},
    {"g-huge.jpg", "20000x20000", 0},
    {"h-12bit.jpg", "precision 12", 0},
    {"i-header.jpg", "", 0},
    {"j-dangling.jpg", "unreadable", 1},
    {"k-folder.jpg", "unreadable: a folder", 2},
    {"l-tall.jpg", NULL, 0},
};
#define SPECIMENS ((int)(sizeof specimens / sizeof *specimens))
enum { GOOD = 4, BROKEN = SPECIMENS - GOOD };

static picture_t specimen(int number)
{
    static const int size[SPECIMENS][3] = {{20, 20, 1}, {20, 20, 4}, {1, 1, 3},   {20, 20, 3}, {1, 1, 3}, {1, 1, 3},
                                           {20, 20, 3}, {20, 20, 3}, {20, 20, 3}, {1, 1, 3},   {1, 1, 3}, {3, 200, 3}};
    picture_t jpeg = draw_jpeg(size[number][0], size[number][1], size[number][2], number);
    switch (number) {
    case 3: jpeg.size = jpeg.size * 2 / 3; break;
    case 4: jpeg.size = 0; break;
    case 5: memcpy(jpeg.bytes, "GIF89a, says this file", 22); break;
    case 6: memcpy(draw_frame(&jpeg) + 5, "\x4e\x20\x4e\x20", 4); break;
    case 7: draw_frame(&jpeg)[4] = 12; break;
    case 8: jpeg.size = 30; break;
    }
    return jpeg;
}

/* All of them in a folder of one class. */
static void specimen_folder(const char *folder)
{
    for (int i = 0; i < SPECIMENS; i++) {
        char name[64];
        picture_t jpeg = specimen(i);
        snprintf(name, sizeof name, "c/%s", specimens[i].name);
        if (specimens[i].path == 1)
            ck_assert_int_eq(symlink("nowhere", in_folder(folder, name)), 0);
        else if (specimens[i].path == 2)
            ck_assert_int_eq(mkdir(in_folder(folder, name), 0777), 0);
        else
            write_file(folder, name, jpeg.bytes, jpeg.size);
        free(jpeg.bytes);
    }
}

START_TEST(images_in_a_folder)
{
    char info[8192];
    uint8_t pixels[16 * 16 * 3];
    specimen_folder(in_scratch(&scratch, "images"));
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    ck_assert_int_eq(moco_dataset_count(dataset), SPECIMENS);
    for (int i = 0; i < SPECIMENS; i++) {
        const specimen_t *s = &specimens[i];
        moco_status_t status = moco_dataset_pixels(dataset, i, 16, 16, pixels);
        ck_assert_msg(status == (s->message ? MOCO_ERR_IMAGE : MOCO_OK), "%s: %s (%s)", s->name,
                      moco_status_name(status), status ? moco_last_message() : "");
        if (s->message != NULL) {
            expect_message(s->name);
            expect_message(s->message);
        }
        if (i == 0) /* grey: three equal channels */
            for (int p = 0; p < 16 * 16; p++)
                ck_assert(pixels[3 * p] == pixels[3 * p + 1] && pixels[3 * p] == pixels[3 * p + 2]);
        if (i == 2) /* one pixel everywhere */
            for (int p = 3; p < 16 * 16 * 3; p++)
                ck_assert_int_eq(pixels[p], pixels[p % 3]);
    }
    expect_ok(moco_dataset_info(dataset, info, sizeof info, NULL));
    ck_assert_int_eq((int)json_number(info, "broken"), BROKEN);
    for (int i = 0; i < SPECIMENS; i++)
        ck_assert_int_eq(strstr(info, specimens[i].name) != NULL, specimens[i].message != NULL);
    moco_dataset_free(dataset);
}
END_TEST

static moco_trainer_t *fresh(void)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    return trainer;
}

START_TEST(images_as_bytes)
{
    moco_trainer_t *trainer = fresh();
    moco_model_t *model = NULL;
    picture_t jpegs[SPECIMENS];
    const uint8_t *data[SPECIMENS];
    uint64_t sizes[SPECIMENS];
    float rows[SPECIMENS * 16];
    moco_status_t items[SPECIMENS];
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    for (int i = 0; i < SPECIMENS; i++) {
        jpegs[i] = specimen(i);
        data[i] = jpegs[i].bytes;
        sizes[i] = jpegs[i].size;
        moco_status_t status = moco_trainer_push_encoded(trainer, ONE_FILE(data[i], sizes[i]));
        int broken = specimens[i].message != NULL && !specimens[i].path;
        ck_assert_msg(status == (broken ? MOCO_ERR_IMAGE : MOCO_OK), "%s: %s", specimens[i].name,
                      moco_status_name(status));
        if (broken)
            expect_message(specimens[i].message);
    }
    ck_assert_int_eq(moco_trainer_discard(trainer), GOOD + 2);
    expect_ok(moco_model_embed_encoded(model, SPECIMENS, data, sizes,
                                       EMBED(.tap = MOCO_TAP_PROJECTION, .statuses = items), rows));
    for (int i = 0; i < SPECIMENS; i++)
        ck_assert_int_eq(items[i], specimens[i].message != NULL && !specimens[i].path ? MOCO_ERR_IMAGE : MOCO_OK);
    for (int i = 0; i < SPECIMENS; i++)
        free(jpegs[i].bytes);
    moco_model_free(model);
    moco_trainer_free(trainer);
}
END_TEST

/* ---- too little data ---- */

START_TEST(folders_without_images)
{
    moco_dataset_t *dataset = NULL;
    mkdir(in_scratch(&scratch, "empty"), 0777);
    write_file(scratch.path, "other/readme.txt", "hello", 5);
    write_file(scratch.path, "list.txt", "# nothing\n\n", 11);
    expect_status(MOCO_ERR_NO_DATA, moco_dataset_open(in_scratch(&scratch, "empty"), NULL, &dataset));
    expect_message("empty");
    expect_message(".jpg");
    expect_status(MOCO_ERR_NO_DATA, moco_dataset_open(in_scratch(&scratch, "other"), NULL, &dataset));
    expect_status(MOCO_ERR_NO_DATA, moco_dataset_open(in_scratch(&scratch, "list.txt"), NULL, &dataset));
    expect_status(MOCO_ERR_IO, moco_dataset_open(in_scratch(&scratch, "missing"), NULL, &dataset));
    expect_message("missing");
    ck_assert_ptr_null(dataset);
}
END_TEST

/* Fewer images than a batch, then fewer good ones, then too many broken ones; the trainer still
 * takes a good set. */
START_TEST(fewer_good_images_than_a_batch)
{
    const char *run = in_scratch(&scratch, "run");
    moco_trainer_t *trainer = fresh();
    moco_trainer_options_t options;
    moco_step_report_t report = {.struct_size = sizeof report};
    mkdir(run, 0777);
    draw_tree(in_scratch(&scratch, "seven"), 7, 1, 16);
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "seven"));
    expect_status(MOCO_ERR_NO_DATA, moco_trainer_run(trainer, dataset, NULL, run, NULL));
    expect_message("7");
    expect_message("8");
    moco_dataset_free(dataset);

    draw_tree(in_scratch(&scratch, "nine"), 9, 1, 16);
    break_picture(in_scratch(&scratch, "nine"), 2, 1);
    break_picture(in_scratch(&scratch, "nine"), 5, 1);
    dataset = dataset_of(in_scratch(&scratch, "nine"));
    expect_status(MOCO_ERR_NO_DATA, moco_trainer_run(trainer, dataset, NULL, run, NULL));
    expect_message("7");
    expect_message("8");
    expect_status(MOCO_ERR_NO_DATA, moco_trainer_steps(trainer, dataset, 3, NULL, &report));
    ck_assert(!file_exists(in_folder(run, "checkpoint.safetensors"))); /* nothing was learnt, the folder is unused */
    ck_assert(!file_exists(in_folder(run, "log.jsonl")));

    tiny_options(&options);
    options.max_broken = 1;
    moco_trainer_t *strict = NULL;
    expect_ok(moco_trainer_create(&options, NULL, &strict));
    expect_status(MOCO_ERR_BROKEN_DATA, moco_trainer_run(strict, dataset, NULL, NULL, NULL));
    expect_message("2 of 9");
    expect_message("0002.jpg");
    expect_message("not an image");
    moco_trainer_free(strict);
    moco_dataset_free(dataset);

    draw_tree(in_scratch(&scratch, "ten"), 10, 1, 16);
    dataset = dataset_of(in_scratch(&scratch, "ten"));
    expect_ok(moco_trainer_steps(trainer, dataset, 2, NULL, &report));
    ck_assert_int_eq(report.step, 2);
    moco_dataset_free(dataset);
    moco_trainer_free(trainer);
}
END_TEST

/* ---- no space on the disk ---- */

/* On a full disk: saving fails and names the file; the checkpoint that was there is still whole. */
static void expect_older_checkpoint(moco_trainer_t *trainer, moco_dataset_t *dataset, const char *run)
{
    const char *path = in_folder(run, "checkpoint.safetensors");
    moco_trainer_t *again = NULL;
    moco_model_t *model = NULL;
    expect_status(MOCO_ERR_IO, moco_trainer_run(trainer, dataset, NULL, run, NULL));
    expect_message("run");
    ck_assert(same_checkpoints(path, in_scratch(&scratch, "before")));
    expect_status(MOCO_ERR_IO, moco_trainer_save(trainer, path));
    expect_message("checkpoint.safetensors");
    ck_assert(same_checkpoints(path, in_scratch(&scratch, "before")));
    expect_ok(moco_trainer_load(path, NULL, NULL, &again));
    moco_trainer_free(again);
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    expect_status(MOCO_ERR_IO, moco_model_save(model, in_folder(run, "other.safetensors")));
    ck_assert(!file_exists(in_folder(run, "other.safetensors")));
    moco_model_free(model);
}

static int leftovers(const char *run)
{
    char command[256];
    snprintf(command, sizeof command, "ls '%s' | grep -q part", run);
    return WEXITSTATUS(system(command)) == 0;
}

/* One epoch of a run into `run`, then the disk is full. */
static void full_disk(const char *run, void (*fill)(const char *), void (*relieve)(const char *))
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_run_options_t once;
    draw_tree(in_scratch(&scratch, "images"), 9, 1, 16);
    moco_dataset_t *dataset = dataset_of(in_scratch(&scratch, "images"));
    tiny_options(&options);
    options.epochs = 4;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_run_options_init(&once, sizeof once));
    once.max_steps = 1;
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, &once));
    copy_file(in_folder(run, "checkpoint.safetensors"), scratch.path, "before");
    fill(run);
    expect_older_checkpoint(trainer, dataset, run);
    relieve(run);
    ck_assert(!leftovers(run));
    expect_ok(moco_trainer_run(trainer, dataset, NULL, run, NULL)); /* and on, once there is space */
    ck_assert_int_eq((int)trainer_number(trainer, "epoch"), 4);
    moco_dataset_free(dataset);
    moco_trainer_free(trainer);
}

static void limit_files(const char *run)
{
    struct rlimit limit;
    (void)run;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 1 << 20; /* writing fails past a megabyte, as on a full disk */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void free_files(const char *run)
{
    struct rlimit limit;
    (void)run;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(files_may_not_grow)
{
    const char *run = in_scratch(&scratch, "run");
    mkdir(run, 0777);
    full_disk(run, limit_files, free_files);
}
END_TEST

static void fill_disk(const char *run)
{
    static char block[65536];
    FILE *file = fopen(in_folder(run, "filler"), "wb");
    ck_assert_ptr_nonnull(file);
    while (fwrite(block, sizeof block, 1, file) == 1 && fflush(file) == 0) {
    }
    fclose(file);
}

static void empty_disk(const char *run)
{
    ck_assert_int_eq(remove(in_folder(run, "filler")), 0);
}

START_TEST(a_full_disk)
{
    const char *run = in_scratch(&scratch, "run");
    mkdir(run, 0777);
    if (mount("tmpfs", run, "tmpfs", 0, "size=24m") != 0) {
        printf("skipped: a small file system of its own: %s\n", strerror(errno));
        return;
    }
    full_disk(run, fill_disk, empty_disk);
}
END_TEST

/* ---- options ---- */

/* clang-format off */
#define FIELD(name) {#name, offsetof(moco_trainer_options_t, name)}
/* clang-format on */
typedef struct named {
    const char *name;
    size_t offset;
} named_t;

/* clang-format off */
static const named_t doubles[] = {
    FIELD(width), FIELD(temperature), FIELD(key_momentum), FIELD(base_lr), FIELD(sgd_momentum), FIELD(weight_decay),
    FIELD(lr_factor), FIELD(crop_min_area), FIELD(crop_max_area), FIELD(jitter_brightness), FIELD(jitter_contrast),
    FIELD(jitter_saturation), FIELD(jitter_hue), FIELD(jitter_probability), FIELD(gray_probability),
    FIELD(blur_probability), FIELD(blur_sigma_min), FIELD(blur_sigma_max), FIELD(flip_probability), FIELD(mean_r),
    FIELD(mean_g), FIELD(mean_b), FIELD(std_r), FIELD(std_g), FIELD(std_b), FIELD(adam_beta1), FIELD(adam_beta2),
    FIELD(adam_epsilon), FIELD(lars_trust), FIELD(blur_probability_2), FIELD(solarize_probability),
    FIELD(solarize_probability_2)};
static const named_t numbers[] = {
    FIELD(recipe), FIELD(arch), FIELD(stem), FIELD(head), FIELD(image_size), FIELD(dimension), FIELD(batch_size),
    FIELD(bn_groups), FIELD(membership), FIELD(shuffle), FIELD(shard), FIELD(epochs), FIELD(steps_per_epoch),
    FIELD(schedule), FIELD(first_epoch), FIELD(milestone_1), FIELD(milestone_2), FIELD(views), FIELD(bn_running),
    FIELD(loader_threads), FIELD(zero_init_residual), FIELD(max_broken_percent), FIELD(loss), FIELD(loss_scale),
    FIELD(symmetric), FIELD(predictor), FIELD(head_width), FIELD(head_layers), FIELD(optimizer), FIELD(lr_scaling),
    FIELD(schedule_unit), FIELD(momentum_schedule), FIELD(warmup_epochs), FIELD(freeze_patch), FIELD(execution),
    FIELD(patch_size), FIELD(vit_depth), FIELD(vit_heads), FIELD(vit_norm), FIELD(resize_filter), FIELD(crop_tries),
    FIELD(blur_form), FIELD(precision), FIELD(reserved)};
/* clang-format on */
static const named_t longs[] = {FIELD(queue_length), FIELD(memory_cap), FIELD(max_broken)};
#define LENGTH(list) (sizeof(list) / sizeof *(list))

static void expect_option_refused(const named_t *field, const void *value, size_t size, const char *text)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    char json[8];
    tiny_options(&options);
    memcpy((uint8_t *)&options + field->offset, value, size);
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_create(&options, NULL, &trainer));
    ck_assert_ptr_null(trainer);
    expect_message(field->name);
    expect_message(text);
    expect_message("wanted");
    expect_status(MOCO_ERR_ARGUMENT, moco_trainer_plan(&options, NULL, json, 0, NULL));
}

START_TEST(options_out_of_range)
{
    const double values[] = {-1e9, 1e9, (double)NAN, (double)INFINITY};
    const char *const texts[] = {"-1e+09", "1e+09", "nan", "inf"};
    for (size_t i = 0; i < LENGTH(doubles); i++)
        for (int v = 0; v < 4; v++)
            expect_option_refused(&doubles[i], &values[v], sizeof values[v], texts[v]);
    for (size_t i = 0; i < LENGTH(numbers); i++) {
        const int32_t negative = -7;
        expect_option_refused(&numbers[i], &negative, sizeof negative, "-7");
    }
    for (size_t i = 0; i < LENGTH(longs); i++) {
        const int64_t negative = -12;
        expect_option_refused(&longs[i], &negative, sizeof negative, "-12");
    }
}
END_TEST

/* The same by name, for every field that the library itself lists. */
START_TEST(options_out_of_range_by_name)
{
    moco_trainer_options_t options, untouched;
    char json[8192];
    int fields = 0;
    tiny_options(&options);
    untouched = options;
    expect_ok(moco_trainer_options_json(&options, json, sizeof json, NULL));
    for (char *at = json; (at = strchr(at, '"')) != NULL;) {
        char name[64] = "";
        sscanf(at, "\"%63[^\"]\"", name);
        at += strlen(name) + 2;
        if (*at++ != ':')
            continue; /* a value, not a name */
        if (*at == '"')
            at = strchr(at + 1, '"') + 1;
        if (strcmp(name, "recipe") == 0)
            continue;
        fields++;
        expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_set(&options, name, "what?"));
        expect_message(name);
        expect_message("what?");
        if (strcmp(name, "seed") == 0)
            continue;
        expect_status(MOCO_ERR_ARGUMENT, moco_trainer_options_set(&options, name, "-99999999"));
        expect_message(name);
    }
    ck_assert_int_eq(fields, (int)(LENGTH(doubles) + LENGTH(numbers) + LENGTH(longs))); /* + seed - recipe */
    ck_assert_mem_eq(&options, &untouched, sizeof options);
}
END_TEST

/* ---- safetensors ---- */

static void write_safetensors(const char *name, const char *header, size_t data)
{
    size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    uint8_t *bytes = calloc(1, 8 + padded + data);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)padded >> 8 * i);
    memset(bytes + 8, ' ', padded);
    memcpy(bytes + 8, header, length);
    write_file(scratch.path, name, bytes, 8 + padded + data);
    free(bytes);
}

#define T(name, from, to) "\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" from "," to "]}"
static const char *const headers[] = {
    "",
    "{",
    "[]",
    "null",
    "{}}",
    "{\"a\":1}",
    "{" T("a", "0", "8") "," T("a", "8", "16") "}",  /* duplicate keys        */
    "{" T("a", "0", "8") "," T("b", "4", "12") "}",  /* overlap               */
    "{" T("a", "0", "8") "," T("b", "12", "20") "}", /* a hole                */
    "{" T("a", "8", "0") "}",                        /* backwards             */
    "{" T("a", "0", "12") "}",                       /* not its shape's bytes */
    "{" T("a", "-8", "0") "}",
    "{" T("a", "0", "99999999999999999999999999") "}",
    "{" T("a", "18446744073709551608", "18446744073709551616") "}",
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", /* a product that wraps  */
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}",
    "{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}",
    "{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}",
    "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}",
    "{\"__metadata__\":[]," T("a", "0", "8") "}",
    "{\"__metadata__\":{\"kind\":7}," T("a", "0", "8") "}",
    "{\"__metadata__\":{\"kind\":\"model\",\"kind\":\"checkpoint\"}," T("a", "0", "8") "}",
    "{\"__metadata__\":{\"kind\":\"model\"}," T("a", "0", "8") "}", /* sound, but says nothing of its encoder */
    "{" T("\\ud800", "0", "8") "}",
};

static void expect_no_model(const char *name, const char *what)
{
    moco_model_t *model = NULL;
    moco_trainer_t *trainer = NULL;
    moco_status_t status = moco_model_load(in_scratch(&scratch, name), NULL, NULL, &model);
    ck_assert_msg(status == MOCO_ERR_FORMAT, "%.60s: %s (%s)", what, moco_status_name(status), moco_last_message());
    ck_assert(moco_last_message()[0] != '\0' && model == NULL);
    status = moco_trainer_load(in_scratch(&scratch, name), NULL, NULL, &trainer);
    ck_assert_msg(status == MOCO_ERR_FORMAT, "%.60s: %s (%s)", what, moco_status_name(status), moco_last_message());
    ck_assert_ptr_null(trainer);
}

START_TEST(hostile_headers)
{
    for (size_t i = 0; i < LENGTH(headers); i++) {
        write_safetensors("hostile", headers[i], 20);
        expect_no_model("hostile", headers[i]);
    }
    char *deep = malloc(200001);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    write_safetensors("hostile", deep, 0);
    expect_no_model("hostile", "deep JSON");
    memcpy(deep, "{\"a\":", 5);
    write_safetensors("hostile", deep, 0);
    expect_no_model("hostile", "deep JSON in a tensor");
    free(deep);
}
END_TEST

/* A checkpoint whose header says TEXT for what stands between BEFORE and the next END. */
static void forge_between(const char *before, char end, const char *text)
{
    size_t size;
    uint64_t length;
    uint8_t *bytes = read_file(in_scratch(&scratch, "good"), &size);
    forget_sums(bytes, size);
    memcpy(&length, bytes, 8);
    uint8_t *from = memmem(bytes + 8, length, before, strlen(before));
    ck_assert_msg(from != NULL, "no %s", before);
    from += strlen(before);
    uint8_t *to = memchr(from, end, (size_t)(bytes + 8 + length - from));
    char *header = calloc(1, length + strlen(text) + 1);
    memcpy(header, bytes + 8, (size_t)(from - bytes - 8));
    strcat(header, text);
    strncat(header, (char *)to, (size_t)(bytes + 8 + length - to));
    write_safetensors("hostile", header, size - 8 - length);
    FILE *file = fopen(in_scratch(&scratch, "hostile"), "r+b");
    fseek(file, -(long)(size - 8 - length), SEEK_END);
    ck_assert_uint_eq(fwrite(bytes + 8 + length, 1, size - 8 - length, file), size - 8 - length);
    fclose(file);
    free(header);
    free(bytes);
}

/* The same for the metadata KEY. */
static void forge(const char *key, const char *text)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
    forge_between(quoted, '"', text);
}

/* Counters that no run can have reached: counting on from them must not overflow. */
START_TEST(checkpoints_that_lie)
{
    static const char *const keys[] = {"step",       "epoch",         "step_in_epoch", "position",
                                       "queue_seen", "listing_count", "pushed_number", "shard"};
    static const char *const values[] = {"-1", "9223372036854775807", "99999999999999999999", "1e3", "", "x"};
    moco_trainer_t *trainer = fresh(), *made = NULL;
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "good")));
    moco_trainer_free(trainer);
    for (size_t k = 0; k < LENGTH(keys); k++)
        for (size_t v = 0; v < LENGTH(values); v++) {
            forge(keys[k], values[v]);
            moco_status_t status = moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made);
            ck_assert_msg(status == MOCO_ERR_FORMAT && made == NULL, "%s = %s: %s (%s)", keys[k], values[v],
                          moco_status_name(status), moco_last_message());
            ck_assert_msg(strstr(moco_last_message(), keys[k]) != NULL, "%s: %s", keys[k], moco_last_message());
        }
    static const char *const others[][2] = {{"epoch_loss_sum", "nan"}, {"epoch_loss_sum", "1e999"},
                                            {"listing_hash", "no"},    {"options", "{}"},
                                            {"options", "[[[["},       {"kind", "model"},
                                            {"width", "nan"}};
    for (size_t i = 0; i < LENGTH(others); i++) {
        forge(others[i][0], others[i][1]);
        if (strcmp(others[i][0], "width") == 0) { /* the encoder's own, not the options' */
            moco_model_t *model = NULL;
            expect_status(MOCO_ERR_FORMAT, moco_model_load(in_scratch(&scratch, "hostile"), NULL, NULL, &model));
            continue;
        }
        expect_status(MOCO_ERR_FORMAT, moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
    }
    forge("position", "5"); /* of a listing of 0 */
    expect_status(MOCO_ERR_FORMAT, moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
    static const char *const largest[][3] = {{"listing_count", "2147483647", "2147483648"},
                                             {"epoch", "4294967295", "4294967296"}};
    for (size_t i = 0; i < LENGTH(largest); i++) {
        forge(largest[i][0], largest[i][1]);
        expect_ok(moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
        moco_trainer_free(made);
        made = NULL;
        forge(largest[i][0], largest[i][2]);
        expect_status(MOCO_ERR_FORMAT, moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
    }
    forge("step", "2");
    expect_ok(moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made)); /* the forger's own proof */
    ck_assert_int_eq((int)trainer_number(made, "step"), 2);
    moco_trainer_free(made);
}
END_TEST

/* The numbers of a tensor in the bytes of a file. */
static float *numbers_of(uint8_t *bytes, size_t size, const char *name)
{
    char quoted[96];
    uint64_t length;
    memcpy(&length, bytes, 8);
    snprintf(quoted, sizeof quoted, "\"%s\":{", name);
    const char *at = memmem(bytes, size, quoted, strlen(quoted));
    ck_assert_msg(at != NULL, "no %s", name);
    at = strstr(at, "\"data_offsets\":[") + strlen("\"data_offsets\":[");
    return (float *)(void *)(bytes + 8 + length + strtoull(at, NULL, 10));
}

/* Numbers that no training has left, in a file without checksums as others write it. */
START_TEST(checkpoints_of_bad_numbers)
{
    static const struct {
        const char *name;
        float value;
        moco_status_t status;
    } bad[] = {{"encoder_q.conv1.weight", NAN, MOCO_ERR_NONFINITE},
               {"encoder_k.conv1.weight", INFINITY, MOCO_ERR_NONFINITE},
               {"encoder_q.bn1.running_mean", -INFINITY, MOCO_ERR_NONFINITE},
               {"encoder_k.bn1.running_var", -1e-6f, MOCO_ERR_FORMAT},
               {"optimizer.momentum_buffer.conv1.weight", NAN, MOCO_ERR_NONFINITE},
               {"queue", NAN, MOCO_ERR_NONFINITE},
               {"queue", 3, MOCO_ERR_FORMAT}};
    moco_trainer_t *trainer = fresh(), *made = NULL;
    size_t size;
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "good")));
    moco_trainer_free(trainer);
    uint8_t *bytes = read_file(in_scratch(&scratch, "good"), &size);
    float *number = numbers_of(bytes, size, bad[0].name);
    *number += 0.25f; /* with checksums any other number is damage */
    write_file(scratch.path, "hostile", bytes, size);
    expect_status(MOCO_ERR_FORMAT, moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
    expect_message("damaged");
    forget_sums(bytes, size);
    write_file(scratch.path, "hostile", bytes, size);
    expect_ok(moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
    moco_trainer_free(made);
    for (size_t i = 0; i < LENGTH(bad); i++) {
        number = numbers_of(bytes, size, bad[i].name);
        const float good = *number;
        *number = bad[i].value;
        write_file(scratch.path, "hostile", bytes, size);
        expect_status(bad[i].status, moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
        expect_message(bad[i].name);
        *number = good;
    }
    free(bytes);
}
END_TEST

/* Sizes that only the options claim are refused by the tensors that are there, before memory is
 * taken for them. */
START_TEST(checkpoints_that_boast)
{
    static const struct boast {
        const char *before, *text, *says;
    } boasts[] = {{"\\\"queue_length\\\": ", "16777216", "'queue' is"},
                  {"\\\"width\\\": ", "8.0", "'encoder_q.conv1.weight' is"},
                  {"\\\"dimension\\\": ", "16384", "'encoder_q.fc.weight' is"}};
    moco_trainer_t *trainer = fresh(), *made = NULL;
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "good")));
    moco_trainer_free(trainer);
    for (size_t i = 0; i < LENGTH(boasts); i++) {
        forge_between(boasts[i].before, ',', boasts[i].text);
        expect_status(MOCO_ERR_SHAPE, moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
        ck_assert_msg(strstr(moco_last_message(), boasts[i].says) != NULL, "%s", moco_last_message());
    }
    forge_between("},\"queue", '"', "s"); /* the name of a tensor: queue_ptr is no more */
    expect_status(MOCO_ERR_SHAPE, moco_trainer_load(in_scratch(&scratch, "hostile"), NULL, NULL, &made));
    ck_assert_msg(strstr(moco_last_message(), "'queue_ptr' is missing") != NULL, "%s", moco_last_message());
}
END_TEST

/* ---- the program ---- */

/* Exit code of `moco ARGUMENTS`, what it printed in `output`; -1 where there is no program. */
static int moco(const char *arguments, char output[8192])
{
    const char *build = getenv("MOCO_BINARY_DIR");
    char program[512], command[2048];
    snprintf(program, sizeof program, "%s/moco", build != NULL ? build : "build");
    if (!file_exists(program))
        return -1;
    snprintf(command, sizeof command, "cd '%s' && '%s' %s 2>&1", scratch.path, program, arguments);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t got = fread(output, 1, 8191, pipe);
    output[got] = '\0';
    int code = pclose(pipe);
    return WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
}

typedef struct command_line {
    const char *arguments;
    int code;
    const char *says;
} command_line_t;

#define SMALL "--recipe moco-cifar --width 0.25 --size 16 --batch 8 --bn-groups 2 --queue 32 --epochs 1"
static const command_line_t lines[] = {
    {"train empty -o run " SMALL, 1, "empty"},
    {"train missing -o run " SMALL, 1, "missing"},
    {"train images -o run " SMALL " --batch 16 --max-broken 90%", 1, "16"},
    {"train images -o run2 " SMALL " --batch 4", 1, "broken"},
    {"train images -o run3 " SMALL " --batch 6 --max-broken 90%", 1, "6"},
    {"train images -o run3 --temperature 0", 2, "temperature"},
    {"train images -o run3 --set temperature=0", 2, "0.001 to 1000"},
    {"train images -o run3 --set nonsense=1", 2, "nonsense"},
    {"train images -o run3 " SMALL " --bn-groups 3", 2, "multiple"},
    {"train images -o run3 " SMALL " --memory-cap 1M", 1, "would fit"},
    {"embed missing images -o x.npy", 1, "missing"},
    {"embed hostile images -o x.npy", 1, "hostile"},
    {"embed model images -o x.npy", 0, "4 rows of 128 numbers in x.npy, 8 images skipped"},
    {"embed model empty -o x.npy", 1, "empty"},
    {"info hostile", 1, "hostile"},
};

START_TEST(the_program)
{
    char output[8192];
    moco_trainer_t *trainer = fresh();
    moco_model_t *model = NULL;
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    expect_ok(moco_model_save(model, in_scratch(&scratch, "model")));
    moco_model_free(model);
    moco_trainer_free(trainer);
    mkdir(in_scratch(&scratch, "empty"), 0777);
    specimen_folder(in_scratch(&scratch, "images"));
    write_safetensors("hostile", headers[7], 20);
    for (size_t i = 0; i < LENGTH(lines); i++) {
        int code = moco(lines[i].arguments, output);
        if (code == -1) {
            printf("skipped: the program was not built\n");
            return;
        }
        ck_assert_msg(code == lines[i].code && strstr(output, lines[i].says) != NULL, "moco %s: exit code %d\n%s",
                      lines[i].arguments, code, output);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad input");
    TCase *tcase = tcase_create("bad input");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, images_in_a_folder);
    tcase_add_test(tcase, images_as_bytes);
    tcase_add_test(tcase, folders_without_images);
    tcase_add_test(tcase, fewer_good_images_than_a_batch);
    tcase_add_test(tcase, files_may_not_grow);
    tcase_add_test(tcase, a_full_disk);
    tcase_add_test(tcase, options_out_of_range);
    tcase_add_test(tcase, options_out_of_range_by_name);
    tcase_add_test(tcase, hostile_headers);
    tcase_add_test(tcase, checkpoints_that_lie);
    tcase_add_test(tcase, checkpoints_that_boast);
    tcase_add_test(tcase, checkpoints_of_bad_numbers);
    tcase_add_test(tcase, the_program);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
