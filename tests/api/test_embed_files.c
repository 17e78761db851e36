/* The files of an embedding: they come together or not at all, a call that was cut short is gone on
 * with, rows and names of different calls are told apart, and nothing of the host's is replaced. */
#include "draw.h"
#include "call_options.h"

#include <signal.h>
#include <sys/resource.h>

#define IMAGES 300 /* more than a batch of the loader */
#define BROKEN 290

static scratch_t scratch;
static moco_model_t *model;
static moco_dataset_t *dataset;

static moco_model_t *model_of(uint64_t seed)
{
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_model_t *made = NULL;
    tiny_options(&options);
    options.seed = seed;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &made));
    moco_trainer_free(trainer);
    return made;
}

static void set_up(void)
{
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, 3, 20);
    break_picture(in_scratch(&scratch, "images"), 3, 3);
    break_picture(in_scratch(&scratch, "images"), BROKEN, 3);
    dataset = dataset_of(in_scratch(&scratch, "images"));
    model = model_of(1);
    usleep(20000); /* the images are older than the calls */
}

static void tear_down(void)
{
    moco_model_free(model);
    moco_dataset_free(dataset);
    scratch_drop(&scratch);
}

static const char *const endings[] = {".npy", ".names.txt", ".skipped.txt", ".embed.json"};
#define FILES 4

static const char *path_of(const char *stem, const char *ending, int part)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", stem, ending, part ? ".moco-part" : "");
    return in_scratch(&scratch, name);
}

static int there(const char *stem, int part)
{
    int count = 0;
    for (int i = 0; i < FILES; i++)
        count += file_exists(path_of(stem, endings[i], part));
    return count;
}

static int same_result(const char *a, const char *b)
{
    int same = 1;
    for (int i = 0; i < 3; i++) { /* the record has the time of its call */
        size_t size_a, size_b;
        uint8_t *bytes_a = read_file(path_of(a, endings[i], 0), &size_a), *bytes_b;
        bytes_b = read_file(path_of(b, endings[i], 0), &size_b);
        same = same && size_a == size_b && memcmp(bytes_a, bytes_b, size_a) == 0;
        free(bytes_a);
        free(bytes_b);
    }
    return same;
}

static int32_t stop_at_once(void *user, int64_t done, int64_t total)
{
    (void)user;
    ck_assert(done < total);
    return 1;
}

static int32_t count_calls(void *user, int64_t done, int64_t total)
{
    ck_assert(done <= total);
    ++*(int *)user;
    return 0;
}

static void cut_short(moco_model_t *m, const char *stem)
{
    expect_status(MOCO_ERR_CANCELLED,
                  moco_model_embed_to_npy(m, dataset, path_of(stem, ".npy", 0), EMBED(.progress = stop_at_once), NULL));
    expect_message("go on");
    ck_assert_int_eq(there(stem, 0), 0);
    ck_assert_int_eq(there(stem, 1), FILES);
}

/* Returns how often progress was told: once for a batch. */
static int embed(moco_model_t *m, const char *stem)
{
    int calls = 0;
    moco_embed_result_t result = {.struct_size = sizeof result};
    expect_ok(moco_model_embed_to_npy(m, dataset, path_of(stem, ".npy", 0),
                                      EMBED(.progress = count_calls, .user = &calls), &result));
    ck_assert_int_eq(result.rows, IMAGES - 2);
    ck_assert_int_eq(result.skipped, 2);
    ck_assert_int_eq(there(stem, 0), FILES);
    ck_assert_int_eq(there(stem, 1), 0);
    return calls;
}

START_TEST(goes_on)
{
    ck_assert_int_eq(embed(model, "whole"), 2);
    cut_short(model, "cut");
    ck_assert_int_eq(embed(model, "cut"), 1);
    ck_assert(same_result("whole", "cut"));
    ck_assert_int_eq(embed(model, "cut"), 2); /* an earlier result is replaced */
    ck_assert(same_result("whole", "cut"));
}
END_TEST

static void damage(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    fseek(file, at, SEEK_SET);
    const int byte = getc(file);
    fseek(file, at, SEEK_SET);
    putc(byte ^ 1, file);
    ck_assert_int_eq(fclose(file), 0);
}

/* What is there is not of this call: it begins anew, and nothing of the other gets in. */
START_TEST(begins_anew)
{
    moco_model_t *other = model_of(2);
    ck_assert_int_eq(embed(model, "whole"), 2);
    cut_short(other, "cut");
    ck_assert_int_eq(embed(model, "cut"), 2);
    ck_assert(same_result("whole", "cut"));
    moco_model_free(other);
    for (int i = 0; i < 3; i++) {
        char stem[8] = {'d', (char)('0' + i)};
        cut_short(model, stem);
        damage(path_of(stem, endings[i], 1), i == 0 ? 5000 : 2);
        ck_assert_int_eq(embed(model, stem), 2);
        ck_assert(same_result("whole", stem));
    }
    cut_short(model, "cut2");
    write_file(scratch.path, "cut2.embed.json.moco-part", (const uint8_t *)"{}", 2);
    ck_assert_int_eq(embed(model, "cut2"), 2);
    ck_assert(same_result("whole", "cut2"));
}
END_TEST

START_TEST(images_that_change)
{
    cut_short(model, "cut");
    picture_t jpeg = draw_jpeg(20, 20, 3, 77);
    write_file(in_scratch(&scratch, "images"), "c0/0000.jpg", jpeg.bytes, jpeg.size);
    free(jpeg.bytes);
    ck_assert_int_eq(embed(model, "cut"), 2);
}
END_TEST

static void copy_part(const char *from, const char *to, const char *ending)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", to, ending);
    copy_file(path_of(from, ending, 0), scratch.path, name);
}

/* Rows and names of two calls, as after a power cut or a copy of some of the files. */
START_TEST(mixtures)
{
    moco_model_t *other = model_of(2);
    moco_index_t *index = NULL;
    embed(model, "a");
    expect_ok(moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
    moco_index_free(index);
    embed(other, "b");
    copy_part("b", "a", ".npy");
    expect_status(MOCO_ERR_FORMAT, moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
    expect_message("a.embed.json");
    embed(model, "a");
    damage(path_of("a", ".names.txt", 0), 3);
    expect_status(MOCO_ERR_FORMAT, moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
    expect_message("a.names.txt");
    embed(model, "a");
    damage(path_of("a", ".npy", 0), 1000);
    expect_status(MOCO_ERR_FORMAT, moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
    /* Other rows under that name, saved on purpose, have no record. */
    expect_ok(moco_index_load_npy(path_of("b", ".npy", 0), NULL, NULL, &index));
    expect_ok(moco_index_save_npy(index, path_of("a", ".npy", 0)));
    moco_index_free(index);
    ck_assert(!file_exists(path_of("a", ".embed.json", 0)));
    expect_ok(moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
    moco_index_free(index);
    moco_model_free(other);
}
END_TEST

/* What ends the call is the write that failed, not the stop that follows from it. */
START_TEST(no_room)
{
    struct rlimit before, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    void (*const handler)(int) = signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    const moco_status_t status = moco_model_embed_to_npy(model, dataset, path_of("x", ".npy", 0), NULL, NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    expect_status(MOCO_ERR_IO, status);
    expect_message("x.npy");
    ck_assert_int_eq(there("x", 0), 0);
    embed(model, "x");
}
END_TEST

static void expect_kept(const char *name, const char *text)
{
    size_t size;
    char *now = (char *)read_file(in_scratch(&scratch, name), &size);
    ck_assert_str_eq(now, text);
    free(now);
}

/* A photo, a list, a note: whatever stands where a result would go. */
START_TEST(other_files)
{
    static const char *const names[] = {"x.npy", "x.names.txt", "x.skipped.txt", "x.embed.json"};
    moco_trainer_options_t options;
    moco_trainer_t *trainer = NULL;
    moco_index_t *index = NULL;
    char report[65536];
    for (int i = 0; i < FILES; i++) {
        write_file(scratch.path, names[i], (const uint8_t *)"a text of the host\n", 19);
        expect_status(MOCO_ERR_EXISTS,
                      moco_model_embed_to_npy(model, dataset, in_scratch(&scratch, "x.npy"), NULL, NULL));
        expect_message(names[i]);
        expect_kept(names[i], "a text of the host\n");
        unlink(in_scratch(&scratch, names[i]));
        ck_assert_int_eq(there("x", 0) + there("x", 1), 0);
    }
    write_file(scratch.path, "photo", (const uint8_t *)"\xff\xd8\xff\xe0 a photo", 12);
    const char *photo = in_scratch(&scratch, "photo"), *link = in_scratch(&scratch, "link");
    ck_assert_int_eq(symlink("photo", link), 0);
    expect_ok(moco_model_save(model, in_scratch(&scratch, "model")));
    tiny_options(&options);
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_index_create(4, NULL, NULL, &index));
    const char *const targets[] = {photo, link};
    for (int i = 0; i < 2; i++) {
        expect_status(MOCO_ERR_EXISTS, moco_model_save(model, targets[i]));
        expect_status(MOCO_ERR_EXISTS, moco_trainer_save(trainer, targets[i]));
        expect_status(MOCO_ERR_EXISTS, moco_index_save_npy(index, targets[i]));
        expect_status(MOCO_ERR_EXISTS, moco_model_embed_to_npy(model, dataset, targets[i], NULL, NULL));
        expect_status(MOCO_ERR_EXISTS,
                      moco_convert(in_scratch(&scratch, "model"), targets[i], NULL, report, sizeof report, NULL));
    }
    expect_kept("photo", "\xff\xd8\xff\xe0 a photo");
    moco_trainer_free(trainer);
    moco_index_free(index);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("embed files");
    TCase *cases = tcase_create("embed files");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, goes_on);
    tcase_add_test(cases, begins_anew);
    tcase_add_test(cases, images_that_change);
    tcase_add_test(cases, mixtures);
    tcase_add_test(cases, no_room);
    tcase_add_test(cases, other_files);
    tcase_set_timeout(cases, 200);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
