/* The files of an embedding: they come together or not at all, a call that was cut short is gone on
 * with, rows and names of different calls are told apart, and nothing of the host's is replaced. */
#include "draw.h"
#include "call_options.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

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

static char lines[8][400];
static int line_count;

static void keep_line(void *user, int32_t level, const char *line)
{
    (void)user;
    if (level == MOCO_LOG_WARNING && strstr(line, "gone on with") != NULL && line_count < 8)
        snprintf(lines[line_count++], sizeof lines[0], "%s", line);
}

/* The library calls this instead of the system's: what stands beside a list of names that gets its
 * name. */
static int journals_seen;

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    char journal[300];
    const size_t length = strlen(to);
    if (length > 10 && strcmp(to + length - 10, ".names.txt") == 0) {
        snprintf(journal, sizeof journal, "%.*s.embed.json.moco-part", (int)length - 10, to);
        journals_seen += faccessat(to_at, journal, F_OK, 0) == 0;
    }
    return (int)syscall(SYS_renameat2, from_at, from, to_at, to, 0);
}

static void set_up(void)
{
    line_count = journals_seen = 0;
    moco_set_log(keep_line, NULL, MOCO_LOG_WARNING);
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
    moco_set_log(NULL, NULL, 0);
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

/* Replaces `from` by a text of the same length in a small file of text. */
static void replace_text(const char *name, const char *from, const char *to)
{
    size_t size;
    char *text = (char *)read_file(in_scratch(&scratch, name), &size), *at = strstr(text, from);
    ck_assert_ptr_nonnull(at);
    memcpy(at, to, strlen(from));
    write_file(scratch.path, name, text, size);
    free(text);
}

/* What is there is not of this call: it begins anew, and nothing of the other gets in. */
START_TEST(begins_anew)
{
    moco_model_t *other = model_of(2);
    ck_assert_int_eq(embed(model, "whole"), 2);
    cut_short(other, "cut");
    ck_assert_int_eq(embed(model, "cut"), 2);
    ck_assert_int_eq(line_count, 1);
    ck_assert_ptr_nonnull(strstr(lines[0], "another model"));
    line_count = 0;
    cut_short(model, "older"); /* the first version of the journal did not say what its images were */
    replace_text("older.embed.json.moco-part", "\"version\": 2", "\"versiox\": 2");
    replace_text("older.embed.json.moco-part", "\"in_doubt\"", "\"in_douxx\"");
    ck_assert_int_eq(embed(model, "older"), 2);
    ck_assert_ptr_nonnull(strstr(lines[0], "older version"));
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

/* Times in the future, and times of the call's own moment, tell nothing of whether an image has
 * changed since. */
START_TEST(times_that_tell_nothing)
{
    char images[300];
    snprintf(images, sizeof images, "%s", in_scratch(&scratch, "images"));
    const struct timespec future[2] = {{.tv_sec = time(NULL) + 400000}, {.tv_sec = time(NULL) + 400000}};
    picture_t jpeg = draw_jpeg(20, 20, 3, 77);
    ck_assert_int_eq(utimensat(AT_FDCWD, in_folder(images, "c0/0000.jpg"), future, 0), 0);
    write_file(images, "c1/0001.jpg", jpeg.bytes, jpeg.size); /* just now */
    ck_assert_int_eq(embed(model, "whole"), 2);
    cut_short(model, "cut");
    ck_assert_int_eq(embed(model, "cut"), 1);
    ck_assert(same_result("whole", "cut"));
    cut_short(model, "later");
    write_file(images, "c0/0000.jpg", jpeg.bytes, jpeg.size);
    ck_assert_int_eq(utimensat(AT_FDCWD, in_folder(images, "c0/0000.jpg"), future, 0), 0);
    line_count = 0;
    ck_assert_int_eq(embed(model, "later"), 2);
    ck_assert_int_eq(line_count, 1);
    ck_assert_ptr_nonnull(strstr(lines[0], "written since"));
    free(jpeg.bytes);
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
    /* Damaged, or changed by hand: who embeds again must say that it may go. */
    expect_status(MOCO_ERR_EXISTS, moco_model_embed_to_npy(model, dataset, path_of("a", ".npy", 0), NULL, NULL));
    expect_message("a.names.txt");
    unlink(path_of("a", ".names.txt", 0));
    embed(model, "a");
    damage(path_of("a", ".npy", 0), 1000);
    expect_status(MOCO_ERR_FORMAT, moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
    /* Other rows under that name, saved on purpose, have no record. */
    expect_ok(moco_index_load_npy(path_of("b", ".npy", 0), NULL, NULL, &index));
    expect_ok(moco_index_save_npy(index, path_of("a", ".npy", 0)));
    moco_index_free(index);
    for (int i = 1; i < FILES; i++) /* nor names of the older rows */
        ck_assert(!file_exists(path_of("a", endings[i], 0)));
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

static int32_t give_image(void *user, int64_t index, const uint8_t **data, uint64_t *size)
{
    const picture_t *jpeg = user;
    (void)index;
    *data = jpeg->bytes;
    *size = jpeg->size;
    return 0;
}

/* A kill between two of the names leaves files that the next call knows by the journal; another
 * file under such a name is the host's. */
START_TEST(cut_short_between_names)
{
    picture_t jpeg = draw_jpeg(20, 20, 3, 77);
    moco_dataset_t *given = NULL;
    embed(model, "whole");
    ck_assert_int_eq(journals_seen, 1);
    expect_ok(moco_dataset_create(3, give_image, &jpeg, NULL, NULL, &given));
    expect_ok(moco_model_embed_to_npy(model, given, path_of("given", ".npy", 0), NULL, NULL));
    ck_assert_int_eq(journals_seen, 2);
    ck_assert_int_eq(there("given", 1), 0);
    moco_dataset_free(given);
    free(jpeg.bytes);
    for (int i = 1; i < 3; i++) {
        char stem[8] = {'n', (char)('0' + i)}, from[300];
        cut_short(model, stem);
        snprintf(from, sizeof from, "%s", path_of(stem, endings[i], 1));
        ck_assert_int_eq(rename(from, path_of(stem, endings[i], 0)), 0);
        cut_short(model, stem); /* what was in place is gone with the journal that knew it */
        snprintf(from, sizeof from, "%s", path_of(stem, endings[i], 1));
        ck_assert_int_eq(rename(from, path_of(stem, endings[i], 0)), 0);
        embed(model, stem);
        ck_assert(same_result("whole", stem));
    }
    for (int i = 1; i < 3; i++) {
        char stem[8] = {'h', (char)('0' + i)};
        cut_short(model, stem);
        write_file(scratch.path, strrchr(path_of(stem, endings[i], 0), '/') + 1, "mine\n", 5);
        expect_status(MOCO_ERR_EXISTS, moco_model_embed_to_npy(model, dataset, path_of(stem, ".npy", 0), NULL, NULL));
        expect_message(strrchr(path_of(stem, endings[i], 0), '/') + 1);
        ck_assert_int_eq(there(stem, 1), FILES); /* and what was done is not lost */
        unlink(path_of(stem, endings[i], 0));
        ck_assert_int_eq(embed(model, stem), 1);
    }
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

/* Names of a user beside rows of a user: what no record ties is nobody's to replace. */
START_TEST(names_of_the_host)
{
    moco_index_t *index = NULL;
    embed(model, "x");
    expect_ok(moco_index_load_npy(path_of("x", ".npy", 0), NULL, NULL, &index));
    expect_ok(moco_index_save_npy(index, path_of("y", ".npy", 0)));
    moco_index_free(index);
    write_file(scratch.path, "y.names.txt", "mine\n", 5);
    expect_status(MOCO_ERR_EXISTS, moco_model_embed_to_npy(model, dataset, path_of("y", ".npy", 0), NULL, NULL));
    expect_message("y.names.txt");
    expect_kept("y.names.txt", "mine\n");
}
END_TEST

/* Every name is one line, no two are alike, and each can be turned back. */
START_TEST(names_with_any_bytes)
{
    static const char *const names[] = {"a\tb.jpg",  "a\nb.jpg",     "a?b.jpg",           "a\\x0ab.jpg",
                                        "a\xff.jpg", "\xc3\xa9.jpg", "a\xe2\x80\xa8z.jpg"};
    const char *folder = in_scratch(&scratch, "odd");
    moco_dataset_t *odd;
    size_t size;
    for (int i = 0; i < 7; i++) {
        picture_t jpeg = draw_jpeg(20, 20, 3, i);
        write_file(folder, names[i], jpeg.bytes, jpeg.size);
        free(jpeg.bytes);
    }
    write_file(folder, "b\n\\.jpg", "no JPEG", 7);
    odd = dataset_of(folder);
    expect_ok(moco_model_embed_to_npy(model, odd, path_of("odd", ".npy", 0), NULL, NULL));
    char *text = (char *)read_file(path_of("odd", ".names.txt", 0), &size);
    ck_assert_str_eq(text, "a\\x09b.jpg\na\\x0ab.jpg\na?b.jpg\na\\x5cx0ab.jpg\na\\xe2\\x80\\xa8z.jpg\n"
                           "a\\xff.jpg\n\xc3\xa9.jpg\n");
    free(text);
    text = (char *)read_file(path_of("odd", ".skipped.txt", 0), &size);
    ck_assert_int_eq(strncmp(text, "b\\x0a\\x5c.jpg\t", 14), 0);
    free(text);
    moco_dataset_free(odd);
}
END_TEST

START_TEST(records_of_other_versions)
{
    moco_index_t *index = NULL;
    embed(model, "a");
    replace_text("a.embed.json", "\"version\": 2", "\"version\": 9");
    expect_status(MOCO_ERR_VERSION, moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
    expect_message("newer");
    embed(model, "a");                                                /* ours all the same */
    replace_text("a.embed.json", "\"version\": 2", "\"versiox\": 2"); /* the first version had none, nor what follows */
    replace_text("a.embed.json", "\"in_doubt\"", "\"in_douxx\"");
    expect_ok(moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
    moco_index_free(index);
    damage(path_of("a", ".npy", 0), 1000);
    expect_status(MOCO_ERR_FORMAT, moco_index_load_npy(path_of("a", ".npy", 0), NULL, NULL, &index));
}
END_TEST

/* Part files and journals of names that are as long as names get. */
START_TEST(long_names)
{
    char stem[256] = "", path[1024], name[300];
    memset(stem, 'n', 243);
    snprintf(name, sizeof name, "%s.npy", stem);
    snprintf(path, sizeof path, "%s", in_scratch(&scratch, name));
    expect_status(MOCO_ERR_CANCELLED,
                  moco_model_embed_to_npy(model, dataset, path, EMBED(.progress = stop_at_once), NULL));
    expect_message("go on");
    int calls = 0;
    expect_ok(moco_model_embed_to_npy(model, dataset, path, EMBED(.progress = count_calls, .user = &calls), NULL));
    ck_assert_int_eq(calls, 1);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%s%s", stem, endings[i]);
        ck_assert(file_exists(in_scratch(&scratch, name)));
    }
}
END_TEST

/* Each number becomes factor * number + more. */
static void change_tensor(char *bytes, const char *header, uint64_t length, const char *name, float factor, float more)
{
    long begin, end;
    const char *at = strstr(header, name);
    ck_assert_ptr_nonnull(at);
    at = strstr(at, "\"data_offsets\":[");
    ck_assert_int_eq(sscanf(at, "\"data_offsets\":[%ld,%ld]", &begin, &end), 2);
    for (; begin < end; begin += 4) {
        float number;
        memcpy(&number, bytes + 8 + length + begin, 4);
        number = factor * number + more;
        memcpy(bytes + 8 + length + begin, &number, 4);
    }
}

/* The last convolution and its batch norm with weights whose product no float holds: the file stays
 * one of finite numbers. */
static void blow_up(const char *name, float weight)
{
    static const char *const keys[] = {"\"data_xxh3\"", "\"header_xxh3\""};
    size_t size;
    char *bytes = (char *)read_file(in_scratch(&scratch, name), &size);
    uint64_t length;
    memcpy(&length, bytes, 8);
    char *header = strndup(bytes + 8, length);
    for (int i = 0; i < 2; i++)
        bytes[8 + (strstr(header, keys[i]) - header) + 1] = 'x';
    change_tensor(bytes, header, length, "layer4.1.conv2.weight\":", 1e10f, 0);
    change_tensor(bytes, header, length, "layer4.1.bn2.weight\":", 0, weight);
    write_file(scratch.path, name, bytes, size);
    free(header);
    free(bytes);
}

START_TEST(numbers_that_grow_too_large)
{
    moco_model_t *large = NULL;
    moco_probe_options_t probe;
    moco_classifier_t *classifier = NULL;
    float row[1024];
    uint8_t *pixels = draw_pixels(20, 20, 3, 1);
    const moco_image_t image = {
        .struct_size = sizeof image, .planes = {pixels}, .width = 20, .height = 20, .format = MOCO_PIXELS_RGB};
    expect_ok(moco_model_save(model, in_scratch(&scratch, "large")));
    blow_up("large", 1e38f); /* too large for the product of convolution and batch norm */
    expect_status(MOCO_ERR_NONFINITE, moco_model_load(in_scratch(&scratch, "large"), NULL, NULL, &large));
    expect_message("layer4.1.conv2.weight");
    expect_ok(moco_model_save(model, in_scratch(&scratch, "large")));
    blow_up("large", 6e28f); /* only for the sum over its inputs */
    expect_ok(moco_model_load(in_scratch(&scratch, "large"), NULL, NULL, &large));
    expect_status(MOCO_ERR_NONFINITE, moco_model_embed_to_npy(large, dataset, path_of("l", ".npy", 0), NULL, NULL));
    expect_message(".jpg'");
    expect_message("finite");
    expect_status(MOCO_ERR_NONFINITE, moco_model_embed_pixels(large, 1, &image, NULL, row));
    expect_message("image 0");
    expect_ok(moco_probe_options_init(&probe, sizeof probe, MOCO_PROBE_V1));
    probe.batch_size = 8;
    expect_status(MOCO_ERR_NONFINITE, moco_probe_train(large, dataset, dataset, &probe, &classifier));
    expect_message(".jpg'");
    free(pixels);
    moco_model_free(large);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("embed files");
    TCase *cases = tcase_create("embed files");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, goes_on);
    tcase_add_test(cases, begins_anew);
    tcase_add_test(cases, times_that_tell_nothing);
    tcase_add_test(cases, images_that_change);
    tcase_add_test(cases, mixtures);
    tcase_add_test(cases, no_room);
    tcase_add_test(cases, cut_short_between_names);
    tcase_add_test(cases, other_files);
    tcase_add_test(cases, names_of_the_host);
    tcase_add_test(cases, names_with_any_bytes);
    tcase_add_test(cases, records_of_other_versions);
    tcase_add_test(cases, long_names);
    tcase_add_test(cases, numbers_that_grow_too_large);
    tcase_set_timeout(cases, 200);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
