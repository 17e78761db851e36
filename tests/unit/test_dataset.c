/* data/dataset, listing, folder, tar and the border of <moco/dataset.h>: what is listed and in
 * which order, classes, limits, broken images and their reasons, hostile archives. */
#include "data_fixtures.h"

#include <jansson.h>

#include "data/data.h"
#include "train/options.h"
#include "util/fault.h"

#include <moco/trainer.h>

static char folder[64];
static moco_dataset_t *dataset;
static fixture_t jpeg;

static void setup(void)
{
    fixture_folder(folder);
    jpeg = fixture_jpeg(20, 10, 3, 0, 1);
    dataset = NULL;
}

static void teardown(void)
{
    moco_dataset_free(dataset);
    free(jpeg.bytes);
    fixture_remove(folder);
}

static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static moco_status_t open_path(const char *name, int64_t limit)
{
    moco_dataset_options_t options;
    ck_assert_int_eq(moco_dataset_options_init(&options, sizeof options), MOCO_OK);
    options.limit = limit;
    moco_dataset_free(dataset);
    dataset = NULL;
    return moco_dataset_open(in_folder(name), &options, &dataset);
}

static void add(const char *name)
{
    fixture_write(folder, name, jpeg.bytes, jpeg.size);
}

static void expect_names(const char *const *names, int64_t count)
{
    ck_assert_int_eq(moco_dataset_count(dataset), count);
    for (int64_t i = 0; i < count; i++)
        ck_assert_str_eq(moco_dataset_name(dataset, i), names[i]);
    ck_assert_ptr_null(moco_dataset_name(dataset, count));
    ck_assert_ptr_null(moco_dataset_name(dataset, -1));
}

static void expect_message(const char *part)
{
    ck_assert_msg(strstr(moco_last_message(), part) != NULL, "'%s' lacks '%s'", moco_last_message(), part);
}

static json_t *info(void)
{
    uint64_t needed;
    ck_assert_int_eq(moco_dataset_info(dataset, NULL, 0, &needed), MOCO_OK);
    char *text = malloc(needed);
    ck_assert_int_eq(moco_dataset_info(dataset, text, needed, NULL), MOCO_OK);
    json_t *parsed = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(parsed);
    free(text);
    return parsed;
}

/* ---- folders ---- */

START_TEST(folder_listing)
{
    static const char *const names[] = {"a-b/x.jpg", "a/deep/er/z.JPG", "a/y.jpeg", "b/1.jPeG", "top.jpg"};
    static const int32_t labels[] = {1, 0, 0, 2, -1};
    for (int i = 4; i >= 0; i--)
        add(names[i]);
    add("a/readme.txt");
    add("a/.hidden.jpg");
    add(".git/x.jpg");
    add("a/jpg");
    add("empty/none.png");
    ck_assert_int_eq(open_path("", 0), MOCO_OK);
    expect_names(names, 5);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(moco_dataset_label(dataset, i), labels[i]);
    ck_assert_int_eq(moco_dataset_classes(dataset), 3); /* a folder without images is no class */
    ck_assert_str_eq(moco_dataset_class_name(dataset, 0), "a");
    ck_assert_str_eq(moco_dataset_class_name(dataset, 1), "a-b");
    ck_assert_str_eq(moco_dataset_class_name(dataset, 2), "b");
    ck_assert_ptr_null(moco_dataset_class_name(dataset, 3));
    ck_assert_int_eq(moco_dataset_label(dataset, 5), -1);
}
END_TEST

START_TEST(folder_links)
{
    static const char *const names[] = {"c/1.jpg", "c/dangling.jpg", "c/folder.jpg", "c/link.jpg",
                                        "d/1.jpg", "d/dangling.jpg", "d/folder.jpg", "d/link.jpg"};
    add("c/1.jpg");
    add("c/folder.jpg/inside.jpg");
    ck_assert_int_eq(symlink("nowhere", in_folder("c/dangling.jpg")), 0);
    ck_assert_int_eq(symlink("1.jpg", in_folder("c/link.jpg")), 0);
    ck_assert_int_eq(symlink("..", in_folder("c/loop")), 0);
    ck_assert_int_eq(symlink(".", in_folder("c/self")), 0);
    ck_assert_int_eq(symlink("c", in_folder("d")), 0);
    ck_assert_int_eq(symlink("gone", in_folder("e")), 0);
    ck_assert_int_eq(open_path("", 0), MOCO_OK);
    expect_names(names, 8);
    uint8_t out[8 * 8 * 3];
    static const char *const reasons[] = {NULL, "unreadable: No such file", "unreadable: a folder", NULL};
    for (int i = 0; i < 8; i++) {
        const char *reason = reasons[i % 4];
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 8, 8, out), reason ? MOCO_ERR_IMAGE : MOCO_OK);
        if (reason != NULL) {
            expect_message(reason);
            expect_message(names[i]);
            ck_assert_ptr_nonnull(strstr(mo_dataset_broken_reason(dataset, i), reason));
        } else {
            ck_assert_ptr_null(mo_dataset_broken_reason(dataset, i));
        }
    }
    ck_assert_int_eq(mo_dataset_broken(dataset), 4);
}
END_TEST

START_TEST(special_files_do_not_block)
{
    add("1.jpg");
    ck_assert_int_eq(mkfifo(in_folder("2.jpg"), 0600), 0);
    ck_assert_int_eq(mkfifo(in_folder("pipe"), 0600), 0);
    ck_assert_int_eq(open_path("", 0), MOCO_OK);
    uint8_t out[3];
    ck_assert_int_eq(moco_dataset_pixels(dataset, 1, 1, 1, out), MOCO_ERR_IMAGE);
    expect_message("not a regular file");
    ck_assert_int_eq(open_path("pipe", 0), MOCO_ERR_IO);
    expect_message("neither a folder nor a regular file");
}
END_TEST

START_TEST(nothing_there)
{
    ck_assert_int_eq(open_path("", 0), MOCO_ERR_NO_DATA);
    ck_assert_ptr_null(dataset);
    ck_assert_int_eq(open_path("missing", 0), MOCO_ERR_IO);
    expect_message("missing");
    add("a/b.txt");
    ck_assert_int_eq(open_path("", 0), MOCO_ERR_NO_DATA);
    expect_message(".jpg");
}
END_TEST

START_TEST(limit_spreads)
{
    char name[32];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "%d/%d.jpg", i / 5, i);
        add(name);
    }
    static const char *const three[] = {"0/0.jpg", "0/3.jpg", "1/6.jpg"};
    ck_assert_int_eq(open_path("", 3), MOCO_OK);
    expect_names(three, 3);
    ck_assert_int_eq(moco_dataset_classes(dataset), 2);
    ck_assert_int_eq(moco_dataset_label(dataset, 2), 1);
    static const char *const one[] = {"0/0.jpg"};
    ck_assert_int_eq(open_path("", 1), MOCO_OK);
    expect_names(one, 1);
    ck_assert_int_eq(open_path("", 11), MOCO_OK);
    ck_assert_int_eq(moco_dataset_count(dataset), 10);
}
END_TEST

/* ---- lists ---- */

START_TEST(list_file)
{
    add("img/1.jpg");
    add("img/2.bin");
    char absolute[600], text[2000];
    snprintf(absolute, sizeof absolute, "%s/img/1.jpg", folder);
    snprintf(text, sizeof text,
             "# a comment\n\nimg/2.bin\tzebra\r\nimg/1.jpg\n%s\tant\nmissing.jpg\tzebra\n../no\t\nimg/1.jpg\tant",
             absolute);
    fixture_write(folder, "sub.list", text, strlen(text));
    const char *const names[] = {"img/2.bin", "img/1.jpg", absolute, "missing.jpg", "../no", "img/1.jpg"};
    static const int32_t labels[] = {1, -1, 0, 1, -1, 0};
    ck_assert_int_eq(open_path("sub.list", 0), MOCO_OK);
    expect_names(names, 6);
    ck_assert_int_eq(moco_dataset_classes(dataset), 2);
    ck_assert_str_eq(moco_dataset_class_name(dataset, 0), "ant");
    uint8_t out[3];
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(moco_dataset_label(dataset, i), labels[i]);
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), i == 3 || i == 4 ? MOCO_ERR_IMAGE : MOCO_OK);
    }
}
END_TEST

START_TEST(list_stays_valid_after_chdir)
{
    char before[1024];
    add("1.jpg");
    fixture_write(folder, "list", "1.jpg\n", 6);
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(folder), 0);
    const moco_status_t status = moco_dataset_open("list", NULL, &dataset);
    ck_assert_int_eq(chdir(before), 0);
    ck_assert_int_eq(status, MOCO_OK);
    uint8_t out[3];
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_OK);
}
END_TEST

START_TEST(list_refused)
{
    fixture_write(folder, "a.tar.gz", "\x1f\x8b\x08 and so on", 13);
    ck_assert_int_eq(open_path("a.tar.gz", 0), MOCO_ERR_FORMAT);
    expect_message("gzip");
    fixture_write(folder, "binary", "one.jpg\0two.jpg", 15);
    ck_assert_int_eq(open_path("binary", 0), MOCO_ERR_FORMAT);
    fixture_write(folder, "tab", "\tclass\n", 7);
    ck_assert_int_eq(open_path("tab", 0), MOCO_ERR_FORMAT);
    fixture_write(folder, "none", "# nothing\n\n", 11);
    ck_assert_int_eq(open_path("none", 0), MOCO_ERR_NO_DATA);
    fixture_write(folder, "empty", "", 0);
    ck_assert_int_eq(open_path("empty", 0), MOCO_ERR_NO_DATA);
}
END_TEST

/* ---- archives ---- */

static fixture_tar_t tar;

static void tar_file(const char *name, char type, const char *link)
{
    const int data = type == '0' || type == '\0' || type == '7';
    fixture_tar_add(&tar, name, type, jpeg.bytes, data ? jpeg.size : 0, link);
}

static moco_status_t open_tar(void)
{
    fixture_write(folder, "x.tar", tar.bytes, tar.size);
    free(tar.bytes);
    tar = (fixture_tar_t){0};
    return open_path("x.tar", 0);
}

START_TEST(tar_listing)
{
    static const char *const names[] = {"a/1.jpg", "a/2.JPEG", "b/3.jpg", "top.jpg"};
    tar_file("./", '5', NULL);
    tar_file("./b/", '5', NULL);
    tar_file("./b/3.jpg", '0', NULL);
    tar_file("top.jpg", '\0', NULL);
    tar_file("././a/2.JPEG", '7', NULL);
    tar_file("/a/1.jpg", '0', NULL);
    tar_file("a/.1.jpg", '0', NULL);
    tar_file("a/note.txt", '0', NULL);
    tar_file("../a/4.jpg", '0', NULL); /* parts that start with a dot are hidden */
    fixture_tar_end(&tar);
    ck_assert_int_eq(open_tar(), MOCO_OK);
    expect_names(names, 4);
    ck_assert_int_eq(moco_dataset_classes(dataset), 2);
    static const int32_t labels[] = {0, 0, 1, -1};
    uint8_t out[10 * 10 * 3], want[10 * 10 * 3];
    add("alone/1.jpg");
    moco_dataset_t *alone;
    ck_assert_int_eq(moco_dataset_open(in_folder("alone"), NULL, &alone), MOCO_OK);
    ck_assert_int_eq(moco_dataset_pixels(alone, 0, 10, 10, want), MOCO_OK);
    moco_dataset_free(alone);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(moco_dataset_label(dataset, i), labels[i]);
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 10, 10, out), MOCO_OK);
        ck_assert_mem_eq(out, want, sizeof out);
    }
}
END_TEST

START_TEST(tar_long_names)
{
    char deep[400], gnu[300], record[700];
    memset(gnu, 'g', sizeof gnu);
    strcpy(gnu + 290, ".jpg");
    memset(deep, 'p', sizeof deep);
    strcpy(deep + 390, ".jpg");
    fixture_tar_add(&tar, "././@LongLink", 'L', gnu, strlen(gnu) + 1, NULL);
    tar_file("gggg", '0', NULL);
    snprintf(record, sizeof record, "404 path=%s\n30 mtime=1600000000.123456789\n", deep);
    fixture_tar_add(&tar, "PaxHeaders/x", 'x', record, strlen(record), NULL);
    tar_file("pppp", '0', NULL);
    const size_t prefixed = tar.size; /* ustar prefix */
    tar_file("z.jpg", '0', NULL);
    memcpy(tar.bytes + prefixed + 345, "pre/fix", 7);
    fixture_tar_sum(tar.bytes + prefixed);
    const size_t huge = tar.size; /* base-256 size */
    tar_file("y.jpg", '0', NULL);
    memset(tar.bytes + huge + 124, 0, 12);
    tar.bytes[huge + 124] = 0x80;
    tar.bytes[huge + 134] = (uint8_t)(jpeg.size >> 8);
    tar.bytes[huge + 135] = (uint8_t)jpeg.size;
    fixture_tar_sum(tar.bytes + huge);
    fixture_tar_end(&tar);
    ck_assert_int_eq(open_tar(), MOCO_OK);
    const char *const names[] = {gnu, deep, "pre/fix/z.jpg", "y.jpg"};
    ck_assert_int_eq(moco_dataset_count(dataset), 4);
    ck_assert_str_eq(moco_dataset_name(dataset, 0), names[0]);
    ck_assert_str_eq(moco_dataset_name(dataset, 1), names[1]);
    ck_assert_str_eq(moco_dataset_name(dataset, 2), names[2]);
    ck_assert_str_eq(moco_dataset_name(dataset, 3), names[3]);
    uint8_t out[3];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), MOCO_OK);
}
END_TEST

START_TEST(tar_links_and_repeats)
{
    static const char *const names[] = {"a/dangling.jpg", "a/device.jpg", "a/folder.jpg", "a/hard.jpg", "a/loop1.jpg",
                                        "a/loop2.jpg",    "a/soft.jpg",   "b/1.jpg",      "b/twice.jpg"};
    static const int broken[] = {1, 1, 1, 0, 1, 1, 0, 0, 0};
    fixture_tar_add(&tar, "b/twice.jpg", '0', "not a jpeg", 10, NULL); /* replaced by the later one */
    tar_file("b/1.jpg", '0', NULL);
    tar_file("a/hard.jpg", '1', "./b/1.jpg");
    tar_file("a/soft.jpg", '2', ".././a/../a/hard.jpg");
    tar_file("a/dangling.jpg", '2', "../../../none.jpg");
    tar_file("a/loop1.jpg", '2', "loop2.jpg");
    tar_file("a/loop2.jpg", '2', "loop1.jpg");
    tar_file("a/folder.jpg/", '5', NULL);
    tar_file("a/device.jpg", '3', NULL);
    tar_file("b/twice.jpg", '0', NULL);
    fixture_tar_end(&tar);
    ck_assert_int_eq(open_tar(), MOCO_OK);
    expect_names(names, 9);
    uint8_t out[3];
    for (int i = 0; i < 9; i++)
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), broken[i] ? MOCO_ERR_IMAGE : MOCO_OK);
}
END_TEST

static void good_tar(void)
{
    tar_file("a/1.jpg", '0', NULL);
    tar_file("a/2.jpg", '0', NULL);
    fixture_tar_end(&tar);
}

START_TEST(tar_truncated_anywhere)
{
    good_tar();
    const size_t whole = tar.size, each = (whole - 1024) / 2;
    uint8_t *bytes = malloc(whole);
    memcpy(bytes, tar.bytes, whole);
    for (size_t size = 0; size <= whole; size += 128) {
        free(tar.bytes);
        tar.bytes = malloc(size + 1);
        tar.size = size;
        memcpy(tar.bytes, bytes, size);
        const moco_status_t status = open_tar();
        /* Behind a member, or its data, it may end: the writer was not closed. */
        const int between = size > 512 && (size % each == 0 || size % each >= 512 + jpeg.size);
        if (size + 1024 >= whole || between) {
            ck_assert_int_eq(status, MOCO_OK);
        } else {
            ck_assert_int_eq(status, MOCO_ERR_FORMAT);
            expect_message("is damaged at byte");
        }
    }
    free(bytes);
}
END_TEST

START_TEST(tar_hostile_numbers)
{
    /* clang-format off */
    static const char *const sizes[] = {"77777777777", "00000099999", "hello world", "-0000000001", "\xff\xff\xff\xff",
                                        "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                                        "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                                        "\x80\x01\0\0\0\0\0\0\0\0\0\0"}; /* 2^80 */
    /* clang-format on */
    good_tar();
    memcpy(tar.bytes + 124, sizes[_i], _i >= 5 ? 12 : strlen(sizes[_i]));
    fixture_tar_sum(tar.bytes);
    ck_assert_int_eq(open_tar(), MOCO_ERR_FORMAT);
    expect_message("damaged at byte 0");
}
END_TEST

START_TEST(tar_bad_extensions)
{
    /* clang-format off */
    static const char *const records[] = {"", "5 a=b", "99 path=x\n", "0 path=x\n", "path=x\n", "8 pathx\n",
                                          "11 path=x\nz", "99999999999999999999999 path=x\n", "8 path=\n",
                                          "12 size=12x\n", "28 size=9999999999999999999\n"};
    /* clang-format on */
    if (records[_i][0] != '\0')
        fixture_tar_add(&tar, "pax", 'x', records[_i], strlen(records[_i]), NULL);
    else
        fixture_tar_add(&tar, "long", 'L', "", 0, NULL);
    good_tar();
    ck_assert_int_eq(open_tar(), MOCO_ERR_FORMAT);
    expect_message("damaged at byte");
}
END_TEST

/* What pax records say that is of no use here: among it a word as long as "size". */
START_TEST(tar_other_records)
{
    static const char records[] = "12 sizes=99\n11 sizf=99\n12 path=a/1\n16 GNU.volume=1\n20 path=a/named.jpg\n";
    uint8_t out[3];
    fixture_tar_add(&tar, "pax", 'x', records, sizeof records - 1, NULL);
    good_tar();
    ck_assert_int_eq(open_tar(), MOCO_OK);
    static const char *const names[] = {"a/2.jpg", "a/named.jpg"};
    expect_names(names, 2);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), MOCO_OK);
}
END_TEST

START_TEST(tar_refused)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
        /* clang-format off */
    } files[] = {{"\x1f\x8b\x08\0\0\0\0\0\0", 9, "gzip"},   {"\xfd" "7zXZ\0\0\0\0", 9, "xz"},
                 {"\x28\xb5\x2f\xfd....", 8, "zstd"},       {"BZh91AY&SY", 10, "bzip2"},
                 {"", 0, "empty"},                          {"short", 5, "is a text"},
                 {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", 56, "git-lfs pointer"},
                 {"<html><body>404</body></html>", 29, "a web page"}, {"\1\2\3\4", 4, "within a header"}};
    /* clang-format on */
    fixture_write(folder, "x.tar", files[_i].bytes, files[_i].size);
    ck_assert_int_eq(open_path("x.tar", 0), MOCO_ERR_FORMAT);
    expect_message(files[_i].message);
}
END_TEST

START_TEST(tar_damaged_header)
{
    good_tar();
    tar.bytes[0] ^= 1;
    ck_assert_int_eq(open_tar(), MOCO_ERR_FORMAT);
    expect_message("not a tar");
    good_tar();
    tar.bytes[512 + (jpeg.size + 511) / 512 * 512 + 1] ^= 1;
    ck_assert_int_eq(open_tar(), MOCO_ERR_FORMAT);
    expect_message("checksum");
    tar = (fixture_tar_t){0};
    fixture_tar_end(&tar);
    ck_assert_int_eq(open_tar(), MOCO_ERR_NO_DATA);
}
END_TEST

/* ---- callbacks ---- */

static int64_t asked[100];
static int asked_count;

static int32_t deliver(void *user, int64_t index, const uint8_t **data, uint64_t *size)
{
    asked[asked_count++ % 100] = index;
    if (index == 1)
        return 5;
    *data = index == 2 ? NULL : ((fixture_t *)user)->bytes;
    *size = index == 3 ? (uint64_t)1 << 40 : ((fixture_t *)user)->size;
    return 0;
}

START_TEST(callback_set)
{
    static const int32_t labels[] = {3, -1, 0, 0, 1, 0};
    uint8_t out[3];
    ck_assert_int_eq(moco_dataset_create(6, deliver, &jpeg, labels, NULL, &dataset), MOCO_OK);
    ck_assert_int_eq(moco_dataset_count(dataset), 6);
    ck_assert_int_eq(moco_dataset_classes(dataset), 4);
    ck_assert_str_eq(moco_dataset_class_name(dataset, 3), "3");
    ck_assert_str_eq(moco_dataset_name(dataset, 5), "5");
    ck_assert_int_eq(moco_dataset_label(dataset, 1), -1);
    asked_count = 0;
    static const moco_status_t want[] = {MOCO_OK, MOCO_ERR_IMAGE, MOCO_ERR_IMAGE, MOCO_ERR_IMAGE, MOCO_OK, MOCO_OK};
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), want[i]);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 1, 1, 1, out), MOCO_ERR_IMAGE);
    expect_message("returned 5");
    ck_assert_int_eq(asked_count, 6); /* a broken one is not asked for again */
    moco_dataset_free(dataset);
    moco_dataset_options_t options;
    ck_assert_int_eq(moco_dataset_options_init(&options, sizeof options), MOCO_OK);
    options.limit = 2;
    ck_assert_int_eq(moco_dataset_create(10, deliver, &jpeg, NULL, &options, &dataset), MOCO_OK);
    ck_assert_int_eq(moco_dataset_classes(dataset), 0);
    ck_assert_str_eq(moco_dataset_name(dataset, 1), "5");
    asked_count = 0;
    ck_assert_int_eq(moco_dataset_pixels(dataset, 1, 1, 1, out), MOCO_OK);
    ck_assert_int_eq(asked[0], 5);
}
END_TEST

START_TEST(callback_refused)
{
    static const int32_t low[] = {-2}, high[] = {1000000};
    ck_assert_int_eq(moco_dataset_create(0, deliver, NULL, NULL, NULL, &dataset), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_create(1, NULL, NULL, NULL, NULL, &dataset), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_create(1, deliver, NULL, NULL, NULL, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_create(1, deliver, NULL, low, NULL, &dataset), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_create(1, deliver, NULL, high, NULL, &dataset), MOCO_ERR_ARGUMENT);
    ck_assert_ptr_null(dataset);
}
END_TEST

/* ---- the handle ---- */

START_TEST(info_counts_broken_and_warnings)
{
    static const uint8_t garbage[] = "garbage";
    add("ok.jpg");
    fixture_write(folder, "bad\xff.jpg", garbage, 7);
    fixture_t noisy = {malloc(jpeg.size + 4), jpeg.size + 4};
    memcpy(noisy.bytes, jpeg.bytes, jpeg.size - 2);
    memcpy(noisy.bytes + jpeg.size - 2, "\x12\x34\x56\x78\xff\xd9", 6);
    fixture_write(folder, "noisy.jpg", noisy.bytes, noisy.size);
    free(noisy.bytes);
    ck_assert_int_eq(open_path("", 0), MOCO_OK);
    uint8_t out[3];
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), i == 0 ? MOCO_ERR_IMAGE : MOCO_OK);
    json_t *json = info();
    ck_assert_str_eq(json_string_value(json_object_get(json, "kind")), "folder");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "count")), 3);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "classes")), 0);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "broken")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "warnings")), 1); /* not once a reading */
    ck_assert_uint_eq(strlen(json_string_value(json_object_get(json, "name_hash"))), 16);
    const json_t *first = json_array_get(json_object_get(json, "broken_names"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(first, "name")), "bad\\xff.jpg");
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(first, "reason")), "a text"));
    json_decref(json);
}
END_TEST

START_TEST(name_hash)
{
    uint64_t want = 0xcbf29ce484222325u;
    for (const char *c = "a/1.jpg\nb.jpg\n"; *c; c++)
        want = (want ^ (uint8_t)*c) * 0x100000001b3u;
    add("b.jpg");
    add("a/1.jpg");
    ck_assert_int_eq(open_path("", 0), MOCO_OK);
    ck_assert_uint_eq(mo_dataset_name_hash(dataset), want);
}
END_TEST

START_TEST(limits_of_size)
{
    moco_dataset_options_t options;
    uint8_t out[3];
    add("1.jpg");
    ck_assert_int_eq(moco_dataset_options_init(&options, sizeof options), MOCO_OK);
    options.max_pixels = 199; /* it has 20 x 10 */
    ck_assert_int_eq(moco_dataset_open(folder, &options, &dataset), MOCO_OK);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_ERR_IMAGE);
    moco_dataset_free(dataset);
    options.max_pixels = 200;
    options.max_bytes = (int64_t)jpeg.size - 1;
    ck_assert_int_eq(moco_dataset_open(folder, &options, &dataset), MOCO_OK);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_ERR_IMAGE);
    moco_dataset_free(dataset);
    options.max_bytes++;
    ck_assert_int_eq(moco_dataset_open(folder, &options, &dataset), MOCO_OK);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_OK);
}
END_TEST

START_TEST(wrong_use)
{
    moco_dataset_options_t options;
    uint8_t out[3];
    add("1.jpg");
    ck_assert_int_eq(moco_dataset_options_init(NULL, sizeof options), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_options_init(&options, 4), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_options_init(&options, sizeof options), MOCO_OK);
    ck_assert_int_eq(moco_dataset_open(NULL, &options, &dataset), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_open(folder, &options, NULL), MOCO_ERR_ARGUMENT);
    int64_t *const fields[] = {&options.limit, &options.max_pixels, &options.max_bytes};
    for (int i = 0; i < 3; i++) {
        const int64_t kept = *fields[i];
        *fields[i] = -1;
        ck_assert_int_eq(moco_dataset_open(folder, &options, &dataset), MOCO_ERR_ARGUMENT);
        *fields[i] = kept;
    }
    options.struct_size = 16; /* an older host: only `limit` is there */
    options.max_pixels = -5;
    ck_assert_int_eq(moco_dataset_open(folder, &options, &dataset), MOCO_OK);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 1, 1, 1, out), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_pixels(dataset, -1, 1, 1, out), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 0, 1, out), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 0, out), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_pixels(NULL, 0, 1, 1, out), MOCO_ERR_ARGUMENT);
    struct {
        moco_dataset_options_t known;
        uint64_t later;
    } newer;
    ck_assert_int_eq(moco_dataset_options_init(&newer.known, sizeof newer), MOCO_OK);
    ck_assert_uint_eq(newer.later, 0);
    moco_dataset_t *other;
    ck_assert_int_eq(moco_dataset_open(folder, &newer.known, &other), MOCO_OK);
    moco_dataset_free(other);
    newer.later = 1;
    ck_assert_int_eq(moco_dataset_open(folder, &newer.known, &other), MOCO_ERR_VERSION);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(moco_dataset_count(NULL), 0);
    ck_assert_int_eq(moco_dataset_classes(NULL), 0);
    ck_assert_int_eq(moco_dataset_info(NULL, NULL, 0, NULL), MOCO_ERR_ARGUMENT);
    moco_dataset_free(NULL);
}
END_TEST

/* Every allocation and file call made to fail in turn: an error each time, no leak under
 * sanitizers, then success. */
START_TEST(faults)
{
    static const moco_status_t want[] = {[MO_FAULT_ALLOC] = MOCO_ERR_MEMORY, [MO_FAULT_FILE] = MOCO_ERR_IO};
    const int kind = _i == 0 ? MO_FAULT_ALLOC : MO_FAULT_FILE;
    static const char *const sources[] = {"set", "x.tar", "list"};
    add("set/a/1.jpg");
    add("set/b/2.jpg");
    fixture_write(folder, "list", "set/a/1.jpg\tone\n", 16);
    good_tar();
    ck_assert_int_eq(open_tar(), MOCO_OK);
    moco_dataset_free(dataset);
    dataset = NULL;
    for (int s = 0; s < 3; s++)
        for (long n = 0;; n++) {
            uint8_t out[3];
            mo_fault_arm(kind, n);
            moco_status_t status = moco_dataset_open(in_folder(sources[s]), NULL, &dataset);
            if (status == MOCO_OK)
                status = moco_dataset_pixels(dataset, 0, 1, 1, out);
            mo_fault_arm(kind, -1);
            if (status != MOCO_OK)
                ck_assert_int_eq(status, want[kind]);
            if (dataset != NULL) { /* nothing is remembered against the image */
                ck_assert_int_eq(mo_dataset_broken(dataset), 0);
                ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_OK);
            }
            moco_dataset_free(dataset);
            dataset = NULL;
            if (status == MOCO_OK) {
                ck_assert_int_ge(n, kind == MO_FAULT_ALLOC ? 8 : 2);
                break;
            }
        }
}
END_TEST

/* ---- draws ---- */

START_TEST(public_shuffle)
{
    int32_t first[300], second[300], seen[300] = {0};
    ck_assert_int_eq(moco_shuffle_permutation(4, 9, 300, first), MOCO_OK);
    ck_assert_int_eq(moco_shuffle_permutation(4, 10, 300, second), MOCO_OK);
    ck_assert(memcmp(first, second, sizeof first) != 0);
    for (int i = 0; i < 300; i++)
        seen[first[i]]++;
    for (int i = 0; i < 300; i++)
        ck_assert_int_eq(seen[i], 1);
    ck_assert_int_eq(moco_shuffle_permutation(4, -1, 300, first), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_shuffle_permutation(4, 0, 0, first), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_shuffle_permutation(4, 0, 1, NULL), MOCO_ERR_ARGUMENT);
}
END_TEST

START_TEST(public_views)
{
    moco_trainer_options_t options;
    ck_assert_int_eq(moco_trainer_options_init(&options, sizeof options, MOCO_RECIPE_V2, MOCO_ARCH_RECIPE), MOCO_OK);
    options.seed = 11;
    options.image_size = 16;
    uint8_t views[2][16 * 16 * 3], want[16 * 16 * 3];
    add("1.jpg");
    add("2.jpg");
    ck_assert_int_eq(open_path("", 0), MOCO_OK);
    ck_assert_int_eq(moco_dataset_views(dataset, &options, 2, 1, views[0]), MOCO_OK);
    mo_view_work_t work = {0};
    mo_pixels_t pixels = {0};
    mo_view_spec_t spec;
    mo_options_views(&options, &spec);
    ck_assert_int_eq(mo_dataset_decode(dataset, 1, &pixels), MOCO_OK);
    for (int view = 0; view < 2; view++) {
        ck_assert_int_eq(mo_view_draw(&work, &spec, &pixels, 11, 2, 1, view, want), MOCO_OK);
        ck_assert_mem_eq(views[view], want, sizeof want);
    }
    mo_view_work_free(&work);
    mo_pixels_free(&pixels);
    ck_assert_int_eq(moco_dataset_views(dataset, &options, 2, 2, views[0]), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_views(dataset, &options, -1, 0, views[0]), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_views(dataset, NULL, 0, 0, views[0]), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_views(NULL, &options, 0, 0, views[0]), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(moco_dataset_views(dataset, &options, 0, 0, NULL), MOCO_ERR_ARGUMENT);
    options.crop_min_area = 0;
    ck_assert_int_eq(moco_dataset_views(dataset, &options, 0, 0, views[0]), MOCO_ERR_ARGUMENT);
    expect_message("crop_min_area");
    options.struct_size = 0;
    ck_assert_int_eq(moco_dataset_views(dataset, &options, 0, 0, views[0]), MOCO_ERR_ARGUMENT);
}
END_TEST

START_TEST(shared_archive)
{
    const char *images = getenv("MOCO_TEST_DATA");
    char path[1024];
    snprintf(path, sizeof path, "%s/cifar10-test.tar", images ? images : "");
    if (images == NULL || access(path, R_OK) != 0) {
        printf("skipped: no MOCO_TEST_DATA/cifar10-test.tar\n");
        return;
    }
    ck_assert_int_eq(moco_dataset_open(path, NULL, &dataset), MOCO_OK);
    ck_assert_int_eq(moco_dataset_count(dataset), 10000);
    ck_assert_int_eq(moco_dataset_classes(dataset), 10);
    ck_assert_str_eq(moco_dataset_name(dataset, 0), "airplane/0000.jpg");
    ck_assert_str_eq(moco_dataset_class_name(dataset, 9), "truck");
    uint8_t out[32 * 32 * 3];
    for (int64_t i = 0; i < 10000; i += 500)
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 32, 32, out), MOCO_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dataset");
    TCase *tcase = tcase_create("dataset");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, folder_listing);
    tcase_add_test(tcase, folder_links);
    tcase_add_test(tcase, special_files_do_not_block);
    tcase_add_test(tcase, nothing_there);
    tcase_add_test(tcase, limit_spreads);
    tcase_add_test(tcase, list_file);
    tcase_add_test(tcase, list_stays_valid_after_chdir);
    tcase_add_test(tcase, list_refused);
    tcase_add_test(tcase, tar_listing);
    tcase_add_test(tcase, tar_long_names);
    tcase_add_test(tcase, tar_links_and_repeats);
    tcase_add_test(tcase, tar_truncated_anywhere);
    tcase_add_loop_test(tcase, tar_hostile_numbers, 0, 8);
    tcase_add_loop_test(tcase, tar_bad_extensions, 0, 11);
    tcase_add_test(tcase, tar_other_records);
    tcase_add_loop_test(tcase, tar_refused, 0, 9);
    tcase_add_test(tcase, tar_damaged_header);
    tcase_add_test(tcase, callback_set);
    tcase_add_test(tcase, callback_refused);
    tcase_add_test(tcase, info_counts_broken_and_warnings);
    tcase_add_test(tcase, name_hash);
    tcase_add_test(tcase, limits_of_size);
    tcase_add_test(tcase, wrong_use);
    tcase_add_loop_test(tcase, faults, 0, 2);
    tcase_add_test(tcase, public_shuffle);
    tcase_add_test(tcase, public_views);
    tcase_add_test(tcase, shared_archive);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
