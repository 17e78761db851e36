/* What data sets are made of in the world: common first folders, other formats beside the images,
 * lists from spreadsheets and from other systems, pictures that ask to be turned, JPEGs that cost
 * more than they are worth, test sets that repeat their bank. */
#define _GNU_SOURCE /* memmem */
#include "data_fixtures.h"
#include "log_lines.h"

#include <jansson.h>

#include "data/dataset.h"
#include "data/decode.h"
#include "data/exif.h"
#include "eval/class_match.h"
#include "util/status.h"

static char folder[64];
static moco_dataset_t *dataset;
static fixture_t jpeg;

static void setup(void)
{
    fixture_folder(folder);
    jpeg = fixture_jpeg(20, 10, 3, 0, 1);
    dataset = NULL;
    log_line_count = 0;
    moco_set_log(keep_line, NULL, MOCO_LOG_WARNING);
}

static void teardown(void)
{
    moco_set_log(NULL, NULL, 0);
    moco_dataset_free(dataset);
    free(jpeg.bytes);
    fixture_remove(folder);
}

static void add(const char *name)
{
    fixture_write(folder, name, jpeg.bytes, jpeg.size);
}

static void add_text(const char *name, const char *text)
{
    fixture_write(folder, name, text, strlen(text));
}

static moco_status_t open_at(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    moco_dataset_free(dataset);
    dataset = NULL;
    log_line_count = 0;
    return moco_dataset_open(path, NULL, &dataset);
}

static void expect_message(const char *part)
{
    ck_assert_msg(strstr(moco_last_message(), part) != NULL, "'%s' lacks '%s'", moco_last_message(), part);
}

static json_t *info(void)
{
    char text[8192];
    ck_assert_int_eq(moco_dataset_info(dataset, text, sizeof text, NULL), MOCO_OK);
    json_t *parsed = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(parsed);
    return parsed;
}

/* ---- classes ---- */

typedef struct tree {
    const char *names[6];
    const char *classes[4];
    const char *shared; /* NULL = no folder is left out */
    int32_t labels[6];
} tree_t;

static const tree_t trees[] = {
    {{"cat/1.jpg", "dog/1.jpg"}, {"cat", "dog"}, NULL, {0, 1}},
    {{"train/cat/1.jpg", "train/dog/1.jpg"}, {"cat", "dog"}, "train", {0, 1}},
    {{"data/x/train/cat/1.jpg", "data/x/train/dog/a/1.jpg"}, {"cat", "dog"}, "data/x/train", {0, 1}},
    {{"cat/1.jpg", "cat/2.jpg"}, {"cat"}, NULL, {0, 0}},
    {{"test/cat/1.jpg", "test/cat/2.jpg"}, {"cat"}, "test", {0, 0}},
    {{"cat/1.jpg", "cat/more/2.jpg"}, {"cat"}, NULL, {0, 0}},
    {{"1.jpg", "2.jpg"}, {NULL}, NULL, {-1, -1}},
    {{"1.jpg", "cat/1.jpg"}, {"cat"}, NULL, {-1, 0}},
    {{"all/1.jpg", "all/cat/1.jpg", "all/dog/1.jpg"}, {"cat", "dog"}, "all", {-1, 0, 1}},
    {{"a/b/1.jpg", "ab/1.jpg"}, {"a", "ab"}, NULL, {0, 1}},
    {{"x/1.jpg"}, {"x"}, NULL, {0}},
    {{"x/y/1.jpg"}, {"y"}, "x", {0}},
};
enum { TREES = sizeof trees / sizeof trees[0] };

static void check_tree(const tree_t *tree)
{
    int32_t classes = 0;
    for (; classes < 4 && tree->classes[classes] != NULL; classes++)
        ck_assert_str_eq(moco_dataset_class_name(dataset, classes), tree->classes[classes]);
    ck_assert_int_eq(moco_dataset_classes(dataset), classes);
    for (int i = 0; i < 6 && tree->names[i] != NULL; i++) {
        ck_assert_str_eq(moco_dataset_name(dataset, i), tree->names[i]);
        ck_assert_int_eq(moco_dataset_label(dataset, i), tree->labels[i]);
    }
    json_t *json = info();
    const char *shared = json_string_value(json_object_get(json, "shared_folder"));
    if (tree->shared == NULL)
        ck_assert_ptr_null(shared);
    else
        ck_assert_str_eq(shared, tree->shared);
    json_decref(json);
    ck_assert_int_eq(logged("all images lie in"), tree->shared != NULL && classes > 1);
}

START_TEST(shared_folders_are_no_class)
{
    const tree_t *tree = &trees[_i];
    fixture_tar_t tar = {0};
    for (int i = 0; i < 6 && tree->names[i] != NULL; i++) {
        char name[100], absolute[100];
        snprintf(name, sizeof name, "set/%s", tree->names[i]);
        snprintf(absolute, sizeof absolute, "%s%s", _i % 2 ? "/" : "./", tree->names[i]);
        add(name);
        fixture_tar_add(&tar, absolute, '0', jpeg.bytes, jpeg.size, NULL);
    }
    fixture_tar_end(&tar);
    fixture_write(folder, "x.tar", tar.bytes, tar.size);
    free(tar.bytes);
    ck_assert_int_eq(open_at("set"), MOCO_OK);
    check_tree(tree);
    ck_assert_int_eq(open_at("x.tar"), MOCO_OK);
    check_tree(tree);
}
END_TEST

START_TEST(parts_of_a_data_set_are_warned_of)
{
    add("set/train/cat/1.jpg");
    add("set/val/cat/1.jpg");
    ck_assert_int_eq(open_at("set"), MOCO_OK);
    ck_assert_int_eq(logged("'train' and 'val'"), 1);
    add("set/cat/1.jpg");
    ck_assert_int_eq(open_at("set"), MOCO_OK);
    ck_assert_int_eq(log_line_count, 0);
}
END_TEST

/* ---- files that are left out ---- */

static void check_left_out(int64_t png, int64_t webp, int64_t plain)
{
    json_t *json = info();
    const json_t *left = json_object_get(json, "left_out");
    ck_assert_int_eq(json_integer_value(json_object_get(left, ".png")), png);
    ck_assert_int_eq(json_integer_value(json_object_get(left, ".webp")), webp);
    ck_assert_int_eq(json_integer_value(json_object_get(left, "no ending (a JPEG file)")), plain);
    ck_assert_int_eq(json_integer_value(json_object_get(left, ".txt")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "left_out_images")), png + webp + plain);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "examined")), 0);
    json_decref(json);
    ck_assert_int_eq(
        logged("10 pictures are left out (no ending (a JPEG file) 6, .png 3, .webp 1), more than are read"), 1);
    ck_assert_int_eq(logged(".txt"), 0);
}

START_TEST(other_files_are_counted)
{
    static const char *const names[] = {"cat/1.jpg",  "cat/1.PNG",  "dog/2.png",  "dog/3.png",
                                        "dog/x.WebP", "a.txt",      "dog/.x.png", "cat/00001",
                                        "cat/00002",  "cat/00003",  "cat/00004",  "cat/00005",
                                        "cat/00006",  ".git/1.png", "cat/2.jpeg", "dog/1.jpg"};
    fixture_tar_t tar = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[100];
        snprintf(name, sizeof name, "set/%s", names[i]);
        add(name);
        fixture_tar_add(&tar, names[i], '0', jpeg.bytes, jpeg.size, NULL);
    }
    fixture_tar_end(&tar);
    fixture_write(folder, "x.tar", tar.bytes, tar.size);
    free(tar.bytes);
    ck_assert_int_eq(open_at("set"), MOCO_OK);
    ck_assert_int_eq(moco_dataset_count(dataset), 3);
    check_left_out(3, 1, 6);
    ck_assert_int_eq(open_at("x.tar"), MOCO_OK);
    check_left_out(3, 1, 6);
}
END_TEST

START_TEST(nothing_but_other_files)
{
    add("set/1.png");
    add("set/2.png");
    add_text("set/readme.md", "x");
    ck_assert_int_eq(open_at("set"), MOCO_ERR_NO_DATA);
    expect_message("names no image; wanted files ending in .jpg or .jpeg, found .png 2, .md 1");
}
END_TEST

/* ---- lists ---- */

START_TEST(lists_as_they_are_written)
{
    static const char *const texts[] = {
        "img/1.jpg\tcat\nimg/2.jpg\tdog\n",
        "\xef\xbb\xbfimg/1.jpg\tcat\r\nimg/2.jpg\tdog\r\n",
        "img/1.jpg\tcat\rimg/2.jpg\tdog\r",
        "  img/1.jpg  \t cat \n img/2.jpg\tdog   \r\n   \n  # no image\n",
    };
    uint8_t out[3];
    add("img/1.jpg");
    add("img/2.jpg");
    add_text("list", texts[_i]);
    ck_assert_int_eq(open_at("list"), MOCO_OK);
    ck_assert_int_eq(moco_dataset_count(dataset), 2);
    ck_assert_str_eq(moco_dataset_name(dataset, 1), "img/2.jpg");
    ck_assert_int_eq(moco_dataset_classes(dataset), 2);
    ck_assert_str_eq(moco_dataset_class_name(dataset, 0), "cat");
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), MOCO_OK);
    ck_assert_int_eq(log_line_count, 0);
}
END_TEST

START_TEST(lines_that_lead_nowhere)
{
    static const struct {
        const char *line, *hint;
    } cases[] = {
        {"img/1.jpg 0", "'img/1.jpg' is there: a tab stands before the class, not ' '"},
        {"img/1.jpg,cat", "'img/1.jpg' is there: a tab stands before the class, not ','"},
        {"img/1.jpg;cat;dog", "'img/1.jpg' is there: a tab stands before the class, not ';'"},
        {"img/a b.jpg 7", "'img/a b.jpg' is there: a tab stands before the class, not ' '"},
        {"0 img/1.jpg", "'img/1.jpg' is there: the path stands first"},
        {"img\\1.jpg", "'img/1.jpg' is there: write paths with '/'"},
        {"\"img/1.jpg\"", "'img/1.jpg' is there: write paths with '/' and without quotes"},
        {"img\\1.jpg 3", "'img/1.jpg' is there: a tab"},
        {"https://a.b/1.jpg", "not an address"},
        {"img/none.jpg", "No such file or directory"},
        {"img/none.jpg 0", "No such file or directory"},
    };
    uint8_t out[3];
    add("img/1.jpg");
    add("img/a b.jpg");
    add_text("list", cases[_i].line);
    ck_assert_int_eq(open_at("list"), MOCO_OK);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_ERR_IMAGE);
    expect_message(cases[_i].hint);
    expect_message(cases[_i].line);
}
END_TEST

START_TEST(files_that_are_no_lists)
{
    static const struct {
        const char *text;
        size_t size;
        const char *what;
    } cases[] = {
        {"\xff\xd8\xff\xe0\0\x10JFIF", 10, "a JPEG file"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "a git-lfs pointer"},
        {"<!DOCTYPE html>\n<html>", 22, "a web page"},
        {"{\"images\": []}", 14, "a JSON file"},
        {"\x93NUMPY\1\0", 8, "a NumPy file"},
        {"\x08\0\0\0\0\0\0\0{\"a\":{}}", 16, "a safetensors file"},
        {"\xff\xfei\0m\0g\0", 8, "a text in UTF-16"},
        {"PK\3\4\0\0\0\0", 8, "a zip file, which is packed"},
    };
    fixture_write(folder, "list", cases[_i].text, cases[_i].size);
    ck_assert_int_eq(open_at("list"), MOCO_ERR_FORMAT);
    expect_message(cases[_i].what);
    expect_message("wanted a folder, an uncompressed .tar or a list of paths");
}
END_TEST

START_TEST(an_archive_by_another_name)
{
    fixture_tar_t tar = {0};
    fixture_tar_add(&tar, "a/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_end(&tar);
    fixture_write(folder, "x.dat", tar.bytes, tar.size);
    free(tar.bytes);
    ck_assert_int_eq(open_at("x.dat"), MOCO_ERR_FORMAT);
    expect_message("a tar archive, but its name does not end in .tar");
}
END_TEST

/* ---- archives ---- */

static void write_tar(const char *name, fixture_tar_t *tar)
{
    fixture_write(folder, name, tar->bytes, tar->size);
    free(tar->bytes);
    *tar = (fixture_tar_t){0};
}

START_TEST(ends_of_archives)
{
    fixture_tar_t tar = {0};
    fixture_tar_add(&tar, "cat/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    write_tar("open.tar", &tar);
    ck_assert_int_eq(open_at("open.tar"), MOCO_OK);
    ck_assert_int_eq(logged("has no end-of-archive block"), 1);

    fixture_tar_add(&tar, "cat/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_end(&tar);
    fixture_tar_end(&tar); /* padding */
    fixture_tar_add(&tar, "dog/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_end(&tar);
    write_tar("joined.tar", &tar);
    ck_assert_int_eq(open_at("joined.tar"), MOCO_OK);
    ck_assert_int_eq(moco_dataset_count(dataset), 2);
    ck_assert_int_eq(log_line_count, 1);
    ck_assert_int_eq(logged("goes on behind its end-of-archive block"), 1);

    fixture_tar_add(&tar, "cat/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_end(&tar);
    const size_t end = tar.size;
    fixture_tar_end(&tar);
    memset(tar.bytes + end, 'x', 1024); /* no header: padding of some writers */
    write_tar("padded.tar", &tar);
    ck_assert_int_eq(open_at("padded.tar"), MOCO_OK);
    ck_assert_int_eq(moco_dataset_count(dataset), 1);
    ck_assert_int_eq(log_line_count, 0);

    fixture_tar_add(&tar, "cat/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_add(&tar, "pax", 'x', "16 path=dog.jpg\n", 16, NULL);
    write_tar("cut.tar", &tar); /* the member that the header announces is missing */
    ck_assert_int_eq(open_at("cut.tar"), MOCO_ERR_FORMAT);
    expect_message("extension header");
}
END_TEST

START_TEST(sparse_members_are_named)
{
    static const char record[] = "22 GNU.sparse.major=1\n32 GNU.sparse.name=cat/real.jpg\n";
    fixture_tar_t tar = {0};
    uint8_t out[3];
    const size_t old = fixture_tar_add(&tar, "cat/old.jpg", 'S', jpeg.bytes, jpeg.size, NULL);
    tar.bytes[old + 482] = 1; /* one more block of its map, before the data */
    fixture_tar_sum(tar.bytes + old);
    const size_t data = tar.size - old - 512;
    tar.bytes = realloc(tar.bytes, tar.size + 512);
    memmove(tar.bytes + old + 1024, tar.bytes + old + 512, data);
    memset(tar.bytes + old + 512, 0, 512);
    tar.size += 512;
    fixture_tar_add(&tar, "pax", 'x', record, sizeof record - 1, NULL);
    fixture_tar_add(&tar, "GNUSparseFile.1/real.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_add(&tar, "dog/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_end(&tar);
    write_tar("x.tar", &tar);
    ck_assert_msg(open_at("x.tar") == MOCO_OK, "%s", moco_last_message());
    ck_assert_int_eq(moco_dataset_count(dataset), 3);
    ck_assert_str_eq(moco_dataset_name(dataset, 0), "cat/old.jpg");
    ck_assert_str_eq(moco_dataset_name(dataset, 1), "cat/real.jpg");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), i < 2 ? MOCO_ERR_IMAGE : MOCO_OK);
    ck_assert_ptr_nonnull(strstr(moco_dataset_broken_reason(dataset, 0), "sparse"));
    ck_assert_ptr_nonnull(strstr(moco_dataset_broken_reason(dataset, 1), "sparse"));
}
END_TEST

/* ---- pictures that ask to be turned ---- */

/* The JPEG with an EXIF block of one entry. */
static fixture_t with_orientation(const fixture_t *from, int orientation, int little)
{
    static const uint8_t big_endian[] = {'M', 'M', 0, '*', 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0};
    static const uint8_t little_endian[] = {'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    const size_t extra = 4 + 6 + sizeof big_endian;
    fixture_t made = {malloc(from->size + extra), from->size + extra};
    uint8_t *at = made.bytes;
    memcpy(at, from->bytes, 2);
    memcpy(at + 2, "\xff\xe1\0", 3);
    at[5] = (uint8_t)(extra - 2);
    memcpy(at + 6, "Exif\0\0", 6);
    memcpy(at + 12, little ? little_endian : big_endian, sizeof big_endian);
    at[12 + (little ? 18 : 19)] = (uint8_t)orientation;
    memcpy(at + 2 + extra, from->bytes + 2, from->size - 2);
    return made;
}

START_TEST(orientations)
{
    ck_assert_int_eq(mo_exif_orientation(jpeg.bytes, jpeg.size), 0);
    for (int little = 0; little < 2; little++)
        for (int wanted = 0; wanted <= 9; wanted++) {
            fixture_t turned = with_orientation(&jpeg, wanted, little);
            ck_assert_int_eq(mo_exif_orientation(turned.bytes, turned.size), wanted <= 8 ? wanted : 0);
            for (size_t size = 0; size < 60 && size < turned.size; size++) { /* cut anywhere: no read beyond */
                uint8_t *cut = malloc(size > 0 ? size : 1);
                memcpy(cut, turned.bytes, size);
                mo_exif_orientation(cut, size);
                free(cut);
            }
            free(turned.bytes);
        }
}
END_TEST

START_TEST(turned_pictures_are_told_of)
{
    uint8_t out[3];
    fixture_t turned = with_orientation(&jpeg, 6, 1), upright = with_orientation(&jpeg, 1, 0);
    fixture_write(folder, "set/1.jpg", turned.bytes, turned.size);
    fixture_write(folder, "set/2.jpg", upright.bytes, upright.size);
    fixture_write(folder, "set/3.jpg", turned.bytes, turned.size);
    add("set/4.jpg");
    ck_assert_int_eq(open_at("set"), MOCO_OK);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 4; i++)
            ck_assert_int_eq(moco_dataset_pixels(dataset, i, 1, 1, out), MOCO_OK);
    json_t *json = info();
    ck_assert_int_eq(json_integer_value(json_object_get(json, "examined")), 4);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "turned")), 2);
    json_decref(json);
    const mo_loader_spec_t spec = {.resize = 8, .size = 8, .batch = 2, .threads = 2, .depth = 2, .max_broken = -1};
    for (int round = 0; round < 2; round++) {
        mo_loader_t *loader = NULL;
        const mo_batch_t *batch = NULL;
        ck_assert_int_eq(mo_loader_create(&spec, dataset, &loader), MOCO_OK);
        ck_assert_int_eq(mo_loader_seek(loader, 0, 0), MOCO_OK);
        while (mo_loader_next(loader, &batch) == MOCO_OK)
            mo_loader_return(loader, batch);
        mo_loader_free(loader);
    }
    ck_assert_int_eq(logged("EXIF orientation"), 1);
    ck_assert_int_eq(logged("'1.jpg'"), 1);
    free(turned.bytes);
    free(upright.bytes);
}
END_TEST

/* ---- JPEGs that cost more than they are worth ---- */

typedef struct bytes {
    uint8_t at[200000];
    size_t size;
} bytes_t;

static void put(bytes_t *out, const void *from, size_t size)
{
    ck_assert_uint_le(out->size + size, sizeof out->at);
    memcpy(out->at + out->size, from, size);
    out->size += size;
}

/* A gray progressive JPEG of `scans` scans, which refine coefficients of blocks that are all zero.
 * With `empty` the scans have no data. */
static void many_scans(bytes_t *out, int side, int scans, int empty)
{
    static const uint8_t scan[] = {0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0x10};
    const int64_t blocks = (int64_t)((side + 7) / 8) * ((side + 7) / 8);
    uint8_t table[69] = {0xff, 0xdb, 0, 67, 0};
    uint8_t frame[] = {0xff,          0xc2, 0, 11,   8, (uint8_t)(side >> 8), (uint8_t)side, (uint8_t)(side >> 8),
                       (uint8_t)side, 1,    1, 0x11, 0};
    /* One code of one bit, a run of 2^14 blocks and as many more as the 14 bits behind it say. */
    static const uint8_t codes[] = {0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe0};
    memset(table + 5, 1, 64);
    out->size = 0;
    put(out, "\xff\xd8", 2);
    put(out, table, sizeof table);
    put(out, frame, sizeof frame);
    put(out, codes, sizeof codes);
    for (int s = 0; s < scans; s++) {
        put(out, scan, sizeof scan);
        int filled = 0;
        uint32_t bits = 0;
        for (int64_t left = empty ? 0 : blocks; left > 0;) {
            const int64_t more = left - 16384 < 0 ? 0 : left - 16384 > 16383 ? 16383 : left - 16384;
            bits = bits << 15 | (uint32_t)more;
            left -= 16384 + more;
            for (filled += 15; filled >= 8; filled -= 8) {
                const uint8_t byte = (uint8_t)(bits >> (filled - 8));
                put(out, &byte, 1);
                if (byte == 0xff)
                    put(out, "", 1);
            }
        }
        if (filled > 0) {
            const uint8_t byte = (uint8_t)(bits << (8 - filled) | (0xffu >> filled));
            put(out, &byte, 1);
        }
    }
    put(out, "\xff\xd9", 2);
}

static moco_status_t decode(const bytes_t *bytes)
{
    mo_pixels_t pixels = {0};
    int64_t warnings = 0;
    const moco_status_t status = mo_image_decode(bytes->at, bytes->size, MO_MAX_PIXELS, &pixels, &warnings);
    mo_pixels_free(&pixels);
    return status;
}

START_TEST(scans_are_bounded)
{
    static bytes_t bytes;
    many_scans(&bytes, 128, 100, 0);
    ck_assert_msg(decode(&bytes) == MOCO_OK, "%s", moco_last_message());
    many_scans(&bytes, 128, 101, 0);
    ck_assert_int_eq(decode(&bytes), MOCO_ERR_IMAGE);
    expect_message("more than 100 scans");
    many_scans(&bytes, 6000, 60, 0); /* 60 times 36 million */
    ck_assert_int_eq(decode(&bytes), MOCO_ERR_IMAGE);
    expect_message("60 scans of 6000x6000 pixels");
}
END_TEST

START_TEST(an_image_of_filling_is_none)
{
    static bytes_t bytes;
    many_scans(&bytes, 128, 10, 1);
    ck_assert_int_eq(decode(&bytes), MOCO_ERR_IMAGE);
    expect_message("most of the image's data are missing");
    fixture_t whole = fixture_jpeg(160, 160, 3, 0, 5);
    const uint8_t *data = memmem(whole.bytes, whole.size, "\xff\xda", 2);
    const size_t head = (size_t)(data - whole.bytes) + 14, body = whole.size - head - 2;
    for (int percent = 10; percent <= 90; percent += 20) { /* an end mark amid the data: others decode it as well */
        memcpy(bytes.at, whole.bytes, head + body * (size_t)percent / 100);
        bytes.size = head + body * (size_t)percent / 100;
        if (bytes.at[bytes.size - 1] == 0xff)
            bytes.size--;
        put(&bytes, "\xff\xd9", 2);
        const moco_status_t status = decode(&bytes);
        if (percent != 50)
            ck_assert_msg(status == (percent < 50 ? MOCO_ERR_IMAGE : MOCO_OK), "%d percent: %s", percent,
                          moco_last_message());
    }
    free(whole.bytes);
}
END_TEST

/* ---- broken images in the log ---- */

START_TEST(broken_images_are_named_once)
{
    for (int i = 0; i < 30; i++) {
        char name[32];
        snprintf(name, sizeof name, "set/%02d.jpg", i);
        add(name);
        if (i % 2 == 0)
            add_text(name, "version https://git-lfs.github.com/spec/v1\n");
    }
    ck_assert_int_eq(open_at("set"), MOCO_OK);
    mo_loader_spec_t spec = {.resize = 8, .size = 8, .batch = 4, .threads = 3, .depth = 2, .max_broken = -1};
    for (int round = 0; round < 3; round++) {
        mo_loader_t *loader = NULL;
        const mo_batch_t *batch = NULL;
        spec.quiet = round == 0; /* the caller tells of them */
        ck_assert_int_eq(mo_loader_create(&spec, dataset, &loader), MOCO_OK);
        ck_assert_int_eq(mo_loader_seek(loader, 0, 0), MOCO_OK);
        while (mo_loader_next(loader, &batch) == MOCO_OK)
            mo_loader_return(loader, batch);
        mo_loader_free(loader);
        ck_assert_int_eq(log_line_count, round == 0 ? 0 : 11);
    }
    ck_assert_str_eq(log_lines[0],
                     "image '00.jpg' is left out: a git-lfs pointer to the file, not the file itself (git lfs pull "
                     "fetches it)");
    ck_assert_int_eq(logged("more images are left out; only the first 10 are named"), 1);
}
END_TEST

START_TEST(names_are_printable_in_messages)
{
    uint8_t out[3];
    add_text("set/a\x1b]0;owned\x07.jpg", "x");
    ck_assert_int_eq(open_at("set"), MOCO_OK);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_ERR_IMAGE);
    expect_message("'a\\x1b]0;owned\\x07.jpg'");
    ck_assert_str_eq(moco_dataset_name(dataset, 0), "a\x1b]0;owned\x07.jpg");
}
END_TEST

/* ---- what is taken away ---- */

START_TEST(data_that_go_away_are_not_broken_images)
{
    uint8_t out[3];
    char command[256];
    add("set/1.jpg");
    ck_assert_int_eq(open_at("set"), MOCO_OK);
    snprintf(command, sizeof command, "rm -r '%s/set'", folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_ERR_IO);
    expect_message("was removed");
    ck_assert_int_eq(moco_dataset_broken_count(dataset), 0);

    fixture_tar_t tar = {0};
    fixture_tar_add(&tar, "cat/1.jpg", '0', jpeg.bytes, jpeg.size, NULL);
    fixture_tar_end(&tar);
    write_tar("x.tar", &tar);
    ck_assert_int_eq(open_at("x.tar"), MOCO_OK);
    snprintf(command, sizeof command, "%s/x.tar", folder);
    ck_assert_int_eq(truncate(command, 600), 0);
    ck_assert_int_eq(moco_dataset_pixels(dataset, 0, 1, 1, out), MOCO_ERR_IO);
    expect_message("shorter");
    ck_assert_int_eq(moco_dataset_broken_count(dataset), 0);
}
END_TEST

/* ---- two data sets ---- */

static moco_dataset_t *other_at(const char *name)
{
    char path[512];
    moco_dataset_t *made = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_int_eq(moco_dataset_open(path, NULL, &made), MOCO_OK);
    return made;
}

START_TEST(classes_that_cannot_be_compared)
{
    add("two/cat/1.jpg");
    add("two/dog/1.jpg");
    add("one/cat/1.jpg");
    add("more/cat/1.jpg");
    add("more/eel/1.jpg");
    add("more/fox/1.jpg");
    add("more/gnu/1.jpg");
    add("more/hen/1.jpg");
    add("none/1.jpg");
    moco_dataset_t *two = other_at("two"), *one = other_at("one"), *more = other_at("more"), *none = other_at("none");
    int32_t map[5];
    ck_assert_int_eq(mo_classes_match("bank", two, one, map), MOCO_OK);
    ck_assert_int_eq(map[0], 0);
    ck_assert_int_eq(mo_classes_match("bank", one, two, map), MOCO_ERR_ARGUMENT);
    expect_message("the bank has 1 classes ('cat'), wanted at least 2");
    ck_assert_int_eq(mo_classes_match("bank", none, two, map), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_classes_match("bank", two, none, map), MOCO_ERR_ARGUMENT);
    expect_message("the test set has 0 classes");
    ck_assert_int_eq(mo_classes_check("bank", two, more), MOCO_ERR_MISMATCH);
    expect_message("4 classes that are none of the 2 of the bank: 'eel', 'fox', 'gnu', …");
    moco_dataset_free(two);
    moco_dataset_free(one);
    moco_dataset_free(more);
    moco_dataset_free(none);
}
END_TEST

/* Classes of a callback are numbers, which are not in order of their names. */
static int32_t never(void *user, int64_t index, const uint8_t **data, uint64_t *size)
{
    (void)user;
    (void)index;
    (void)data;
    (void)size;
    return 1;
}

START_TEST(many_classes_are_matched_in_one_walk)
{
    enum { MANY = 200000 };
    int32_t *labels = malloc(MANY * sizeof *labels), *map = malloc(MANY * sizeof *map);
    moco_dataset_t *from = NULL, *to = NULL;
    for (int32_t i = 0; i < MANY; i++)
        labels[i] = i;
    ck_assert_int_eq(moco_dataset_create(MANY, never, NULL, labels, NULL, &from), MOCO_OK);
    ck_assert_int_eq(moco_dataset_create(MANY - 5, never, NULL, labels, NULL, &to), MOCO_OK);
    ck_assert_int_eq(mo_classes_match("bank", from, to, map), MOCO_OK);
    for (int32_t i = 0; i < MANY - 5; i++)
        ck_assert_int_eq(map[i], i);
    ck_assert_int_eq(mo_classes_match("bank", to, from, map), MOCO_ERR_MISMATCH);
    expect_message("5 classes");
    moco_dataset_free(from);
    moco_dataset_free(to);
    free(labels);
    free(map);
}
END_TEST

START_TEST(a_test_set_that_repeats_the_bank)
{
    static const char *const classes[] = {"cat", "dog"};
    fixture_tar_t tar = {0};
    for (int i = 0; i < 20; i++) {
        char name[120];
        fixture_t other = fixture_jpeg(20, 10, 3, 0, 100 + (unsigned)i), own = fixture_jpeg(20, 10, 3, 0, (unsigned)i);
        snprintf(name, sizeof name, "bank/%s/%d.jpg", classes[i % 2], i);
        fixture_write(folder, name, own.bytes, own.size);
        fixture_tar_add(&tar, name + 1, '0', own.bytes, own.size, NULL);
        snprintf(name, sizeof name, "other/%s/%d.jpg", classes[i % 2], i); /* the same names */
        fixture_write(folder, name, other.bytes, other.size);
        free(own.bytes);
        free(other.bytes);
    }
    fixture_tar_end(&tar);
    write_tar("bank.tar", &tar);
    moco_dataset_t *bank = other_at("bank"), *again = other_at("bank"), *packed = other_at("bank.tar"),
                   *other = other_at("other");
    log_line_count = 0;
    mo_overlap_warn("bank", bank, other);
    ck_assert_int_eq(log_line_count, 0);
    mo_overlap_warn("bank", bank, bank);
    ck_assert_int_eq(logged("the test set is the bank itself"), 1);
    mo_overlap_warn("bank", bank, again);
    mo_overlap_warn("bank", bank, packed);
    ck_assert_int_eq(logged("the test set repeats the bank: 20 of 20 images"), 2);
    ck_assert_int_eq(mo_dataset_broken(bank), 0);
    moco_dataset_free(bank);
    moco_dataset_free(again);
    moco_dataset_free(packed);
    moco_dataset_free(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sources");
    TCase *tcase = tcase_create("sources");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, shared_folders_are_no_class, 0, TREES);
    tcase_add_test(tcase, parts_of_a_data_set_are_warned_of);
    tcase_add_test(tcase, other_files_are_counted);
    tcase_add_test(tcase, nothing_but_other_files);
    tcase_add_loop_test(tcase, lists_as_they_are_written, 0, 4);
    tcase_add_loop_test(tcase, lines_that_lead_nowhere, 0, 11);
    tcase_add_loop_test(tcase, files_that_are_no_lists, 0, 8);
    tcase_add_test(tcase, an_archive_by_another_name);
    tcase_add_test(tcase, ends_of_archives);
    tcase_add_test(tcase, sparse_members_are_named);
    tcase_add_test(tcase, orientations);
    tcase_add_test(tcase, turned_pictures_are_told_of);
    tcase_add_test(tcase, scans_are_bounded);
    tcase_add_test(tcase, an_image_of_filling_is_none);
    tcase_add_test(tcase, broken_images_are_named_once);
    tcase_add_test(tcase, names_are_printable_in_messages);
    tcase_add_test(tcase, data_that_go_away_are_not_broken_images);
    tcase_add_test(tcase, classes_that_cannot_be_compared);
    tcase_add_test(tcase, many_classes_are_matched_in_one_walk);
    tcase_add_test(tcase, a_test_set_that_repeats_the_bank);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
