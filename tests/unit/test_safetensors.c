/* safetensors: what is written reads back, foreign layouts are read, hostile files are refused with
 * their reason. With arguments the program serves tests/parity/test_safetensors.py: `write PATH`
 * makes a known file, `dump PATH` prints what it reads. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "persist/safetensors.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/file.h"
#include "util/status.h"

/* A file from header text and data bytes. */
typedef struct image {
    uint8_t *bytes;
    uint64_t size;
} image_t;

static image_t make(const char *header, uint64_t data)
{
    uint64_t length = strlen(header);
    image_t image = {calloc(1, 8 + length + data), 8 + length + data};
    memcpy(image.bytes, &length, 8);
    memcpy(image.bytes + 8, header, length);
    for (uint64_t i = 0; i < data; i++)
        image.bytes[8 + length + i] = (uint8_t)i;
    return image;
}

/* Read as safetensors, whatever the bytes look like. */
static moco_status_t parse_as_is(mo_tensor_file_t *st, const uint8_t *bytes, uint64_t size)
{
    mo_source_t *source = NULL;
    ck_assert_int_eq(mo_source_lend(bytes, size, "image", &source), MOCO_OK);
    const moco_status_t status = mo_safetensors_parse(st, source);
    if (status == MOCO_OK)
        st->source = source;
    else
        mo_source_close(source);
    return status;
}

static moco_status_t parse(const char *header, uint64_t data)
{
    image_t image = make(header, data);
    mo_tensor_file_t st = {0};
    moco_status_t status = parse_as_is(&st, image.bytes, image.size);
    if (status != MOCO_OK) {
        ck_assert_ptr_null(st.tensors);
        ck_assert_ptr_null(strchr(moco_last_message(), '\n'));
        ck_assert_ptr_eq(strstr(moco_last_message(), "image: "), moco_last_message());
    }
    mo_tensor_file_close(&st);
    free(image.bytes);
    return status;
}

static void assert_refused(const char *header, uint64_t data, const char *reason)
{
    ck_assert_msg(parse(header, data) == MOCO_ERR_FORMAT, "%s was read", header);
    ck_assert_msg(strstr(moco_last_message(), reason) != NULL, "%s: '%s' does not say '%s'", header,
                  moco_last_message(), reason);
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

START_TEST(test_legal)
{
    ck_assert_int_eq(parse("{}", 0), MOCO_OK);
    ck_assert_int_eq(parse("{}      ", 0), MOCO_OK);
    ck_assert_int_eq(parse("{\"__metadata__\":{}}", 0), MOCO_OK);
    ck_assert_int_eq(parse("{\"a\":" T("F32", "[]", "[0,4]") "}", 4), MOCO_OK);
    ck_assert_int_eq(parse("{\"a\":" T("F32", "[3,0,2]", "[0,0]") ",\"b\":" T("U8", "[1]", "[0,1]") "}", 1), MOCO_OK);
    ck_assert_int_eq(parse("{\"b\":" T("U8", "[2]", "[4,6]") ",\"a\":" T("F16", "[1,2]", "[0,4]") "}", 6), MOCO_OK);
    ck_assert_int_eq(parse("{\"a\":" T("F8_E4M3", "[7]", "[0,7]") "}", 7), MOCO_OK);
    ck_assert_int_eq(parse("{\"a\":" T("F4", "[6]", "[0,3]") "}", 3), MOCO_OK);
    ck_assert_int_eq(parse("{\"a\":" T("F128_OF_THE_DISTANT_FUTURE", "[7]", "[0,99]") "}", 99), MOCO_OK);
    ck_assert_int_eq(parse("{\"a\":" T("U8", "[1,1,1,1,1,1,1,1]", "[0,1]") "}", 1), MOCO_OK);
}
END_TEST

START_TEST(test_hostile_shapes_and_offsets)
{
    assert_refused("{\"a\":" T("F32", "[2]", "[0,4]") "}", 4, "shape and dtype F32 want 64 bits");
    assert_refused("{\"a\":" T("F32", "[-1]", "[0,4]") "}", 4, "not a whole number");
    assert_refused("{\"a\":" T("F32", "[1.0]", "[0,4]") "}", 4, "not a whole number");
    assert_refused("{\"a\":" T("F32", "[\"1\"]", "[0,4]") "}", 4, "not a whole number");
    assert_refused("{\"a\":" T("F32", "1", "[0,4]") "}", 4, "no shape list");
    assert_refused("{\"a\":" T("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, "9 dimensions");
    assert_refused("{\"a\":" T("F32", "[4611686018427387904,4]", "[0,0]") "}", 0, "overflows");
    assert_refused("{\"a\":" T("F32", "[4611686018427387904]", "[0,0]") "}", 0, "overflows");
    assert_refused("{\"a\":" T("FX", "[4611686018427387904,4]", "[0,0]") "}", 0, "overflows");
    assert_refused("{\"a\":" T("F32", "[99999999999999999999]", "[0,0]") "}", 0, "damaged header");
    assert_refused("{\"a\":" T("F4", "[3]", "[0,2]") "}", 2, "bits");
    assert_refused("{\"a\":" T("F4", "[3]", "[0,1]") "}", 1, "bits");
    assert_refused("{\"a\":" T("U8", "[4]", "[0,4]") "}", 3, "claims bytes 0 to 4 of 3");
    assert_refused("{\"a\":" T("U8", "[4]", "[0,4]") "}", 5, "tensors end at byte 4 of 5");
    assert_refused("{\"a\":" T("U8", "[4]", "[4,0]") "}", 4, "claims bytes");
    assert_refused("{\"a\":" T("U8", "[4]", "[-4,0]") "}", 4, "claims bytes");
    assert_refused("{\"a\":" T("U8", "[4]", "[0,9223372036854775807]") "}", 4, "claims bytes");
    assert_refused("{\"a\":" T("U8", "[4]", "[0]") "}", 4, "data_offsets pair");
    assert_refused("{\"a\":" T("U8", "[4]", "[0,2,4]") "}", 4, "data_offsets pair");
    assert_refused("{\"a\":" T("U8", "[4]", "[0,4.0]") "}", 4, "data_offsets pair");
    assert_refused("{\"a\":" T("U8", "[4]", "{}") "}", 4, "data_offsets pair");
    assert_refused("{\"a\":" T("U8", "[3]", "[1,4]") "}", 4, "there is a hole");
    assert_refused("{\"a\":" T("U8", "[1]", "[0,1]") ",\"b\":" T("U8", "[2]", "[2,4]") "}", 4, "there is a hole");
    assert_refused("{\"a\":" T("U8", "[3]", "[0,3]") ",\"b\":" T("U8", "[2]", "[2,4]") "}", 4, "tensors overlap");
    assert_refused("{\"a\":" T("U8", "[4]", "[0,4]") ",\"b\":" T("U8", "[4]", "[0,4]") "}", 4, "tensors overlap");
    assert_refused("{}", 1, "tensors end at byte 0 of 1");
}
END_TEST

START_TEST(test_hostile_json)
{
    assert_refused("{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[0,1]") "}", 1, "duplicate");
    assert_refused("{\"a\":" T("U8", "[1]", "[0,1]") ",\"\\u0061\":" T("U8", "[1]", "[1,2]") "}", 2, "duplicate");
    assert_refused("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate");
    assert_refused("{\"__metadata__\":{\"k\":1}}", 0, "metadata 'k' is not text");
    assert_refused("{\"__metadata__\":[]}", 0, "not an object");
    assert_refused("{\"a\\u0000b\":" T("U8", "[1]", "[0,1]") "}", 1, "damaged header");
    assert_refused("{\"\xff\":" T("U8", "[1]", "[0,1]") "}", 1, "damaged header");
    assert_refused("{\"a\":3}", 0, "no dtype text");
    assert_refused("{\"a\":{}}", 0, "no dtype text");
    assert_refused("{\"a\":{\"dtype\":3}}", 0, "no dtype text");
    assert_refused("{\"a\":{\"dtype\":\"F32\"}}", 0, "no shape list");
    assert_refused(" {}", 0, "does not begin with '{'");
    assert_refused("[]", 0, "does not begin with '{'");
    assert_refused("{", 0, "does not begin");
    assert_refused("{} x", 0, "damaged header");
    assert_refused("{\"line\\nbreak\":{}}", 0, "line?break");
    size_t deep = 3000000;
    char *nested = malloc(deep + 6);
    memcpy(nested, "{\"a\":", 5);
    memset(nested + 5, '[', deep);
    nested[deep + 5] = '\0';
    assert_refused(nested, 0, "nested too deeply");
    nested[5 + 6] = '\0'; /* shallow, but never closed */
    assert_refused(nested, 0, "damaged header");
    free(nested);
    size_t many = 2 * 4000001; /* zeros and commas: a parser would take half a gigabyte for them */
    char *list = malloc(many + 16);
    memcpy(list, "{\"a\":[", 6);
    for (size_t i = 0; i < many; i++)
        list[6 + i] = i % 2 ? ',' : '0';
    strcpy(list + 6 + many, "0]}");
    assert_refused(list, 0, "too many values");
    free(list);
    ck_assert_int_eq(parse("{\"a[[[[[[[[[[[[\\\"[[{{[[{{[[{{\":" T("U8", "[1]", "[0,1]") "}", 1),
                     MOCO_OK); /* brackets in a name */
    char name[400];
    memset(name, 'n', sizeof name);
    memcpy(name, "{\"", 2);
    strcpy(name + 300, "\":{}}");
    assert_refused(name, 0, "nnn...'");
}
END_TEST

static moco_status_t parse_bytes(const void *bytes, uint64_t size)
{
    mo_tensor_file_t st = {0};
    uint8_t *exact = malloc(size ? size : 1); /* exact, so that the address sanitizer sees any read past it */
    memcpy(exact, bytes, size);
    moco_status_t status = parse_as_is(&st, exact, size);
    mo_tensor_file_close(&st);
    free(exact);
    return status;
}

START_TEST(test_hostile_length)
{
    const uint64_t lengths[] = {0, 1, 3, 4, 10000000, 10000001, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
    for (uint64_t size = 0; size < 8; size++)
        ck_assert_int_eq(parse_bytes("\2\0\0\0\0\0\0\0", size), MOCO_ERR_FORMAT);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t bytes[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        memcpy(bytes, &lengths[i], 8);
        ck_assert_int_eq(parse_bytes(bytes, sizeof bytes), MOCO_ERR_FORMAT);
    }
    ck_assert_int_eq(parse_bytes("\2\0\0\0\0\0\0\0{}", 10), MOCO_OK);
    uint64_t over = 10000001;
    uint8_t *large = calloc(1, over + 8);
    memcpy(large, &over, 8);
    memset(large + 8, ' ', over);
    memcpy(large + 8, "{}", 2);
    mo_tensor_file_t st = {0};
    ck_assert_int_eq(parse_as_is(&st, large, over + 8), MOCO_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "9.53 MiB (10000000 bytes) are read"));
    free(large);
}
END_TEST

/* Foreign files may place numbers at any byte. */
START_TEST(test_numbers)
{
    image_t image =
        make(
            "{\"pad\":" T("U8", "[1]", "[0,1]") ",\"f\":" T("F32", "[1]", "[1,5]") ",\"h\":" T("F16", "[6]", "[5,17]") ",\"b\":" T(
                "BF16", "[2]",
                "[17,21]") ",\"d\":" T("F64", "[1]",
                                       "[21,29]") ",\"l\":" T("I64", "[1,1]",
                                                              "[29,37]") ",\"i\":" T("I32", "[]",
                                                                                     "[37,41]") ",\"o\":" T("BOOL",
                                                                                                            "[1]",
                                                                                                            "[41,42]") "}",
            42);
    uint8_t *data = image.bytes + image.size - 42;
    const uint16_t halves[6] = {0x3c00, 0xc100, 0x0001, 0x8400, 0x0000, 0x7bff}, brains[2] = {0x3fc0, 0xff7f};
    const float single = -1.25f;
    const double wide = 0.1;
    const int64_t number = INT64_C(-9007199254740993);
    const int32_t narrow = -7;
    memcpy(data + 1, &single, 4);
    memcpy(data + 5, halves, 12);
    memcpy(data + 17, brains, 4);
    memcpy(data + 21, &wide, 8);
    memcpy(data + 29, &number, 8);
    memcpy(data + 37, &narrow, 4);
    mo_tensor_file_t st = {0};
    ck_assert_int_eq(parse_as_is(&st, image.bytes, image.size), MOCO_OK);
    ck_assert_int_eq(st.count, 8);
    float out[6];
    int64_t whole;
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "f"), out, 1), MOCO_OK);
    ck_assert_float_eq(out[0], -1.25f);
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "h"), out, 6), MOCO_OK);
    const float want[6] = {1.0f, -2.5f, 0x1p-24f, -0x1p-14f, 0, 65504.0f};
    ck_assert_mem_eq(out, want, sizeof want);
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "b"), out, 2), MOCO_OK);
    ck_assert(out[0] == 1.5f && out[1] == -0x1.fep127f);
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "d"), out, 1), MOCO_OK);
    ck_assert_float_eq(out[0], 0.1f);
    ck_assert_int_eq(mo_file_ints(mo_tensor_file_find(&st, "l"), &whole, 1), MOCO_OK);
    ck_assert_int_eq(whole, number);
    ck_assert_int_eq(mo_file_ints(mo_tensor_file_find(&st, "i"), &whole, 1), MOCO_OK);
    ck_assert_int_eq(whole, -7);
    ck_assert_int_eq(mo_file_ints(mo_tensor_file_find(&st, "pad"), &whole, 1), MOCO_OK);
    ck_assert_int_eq(whole, 0);
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "h"), out, 5), MOCO_ERR_SHAPE);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "has 6 numbers, wanted 5"));
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "l"), out, 1), MOCO_ERR_FORMAT);
    ck_assert_int_eq(mo_file_ints(mo_tensor_file_find(&st, "o"), &whole, 1), MOCO_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "is BOOL"));
    ck_assert_ptr_null(mo_tensor_file_find(&st, "absent"));
    ck_assert_ptr_null(mo_tensor_file_text(&st, "absent"));
    mo_tensor_file_close(&st);
    mo_tensor_file_close(&st);
    free(image.bytes);
}
END_TEST

/* ---- writing ---- */

static const float weights[6] = {0.0f, -1.5f, 1e-40f, 3.25f, FLT_MAX, 5.0f};
static const int64_t steps[1] = {INT64_C(1234567890123)};
static const uint8_t octets[3] = {1, 2, 255};
static const double wide[2] = {0.1, -2e300};
static const int64_t dims_weights[2] = {2, 3}, dims_octets[1] = {3}, dims_wide[1] = {2}, dims_none[2] = {0, 5};

static moco_status_t list_known(mo_st_writer_t *writer)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_st_add(writer, "octets", MO_U8, 1, dims_octets, octets));
    TRY(mo_st_add(writer, "b.weight", MO_F32, 2, dims_weights, weights));
    TRY(mo_st_add(writer, "step", MO_I64, 0, NULL, steps));
    TRY(mo_st_add(writer, "a.wide", MO_F64, 1, dims_wide, wide));
    TRY(mo_st_add(writer, "none", MO_F32, 2, dims_none, NULL));
    TRY(mo_st_meta(writer, "seed", "18446744073709551615"));
    TRY(mo_st_meta(writer, "note", "quote \" backslash \\ newline \n \xc3\xa9"));
cleanup:
    return status;
}

static moco_status_t write_known(const char *path)
{
    moco_status_t status = MOCO_OK;
    mo_st_writer_t writer = {0};
    TRY(list_known(&writer));
    TRY(mo_st_write(&writer, path));
cleanup:
    mo_st_writer_free(&writer);
    return status;
}

static char folder[64], path[96];

static void setup(void)
{
    strcpy(folder, "/tmp/moco-st-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file.safetensors", folder);
}

static void teardown(void)
{
    mo_fault_arm(MO_FAULT_FILE, -1);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

START_TEST(test_round_trip)
{
    mo_tensor_file_t st = {0};
    float back[6];
    ck_assert_int_eq(write_known(path), MOCO_OK);
    ck_assert_int_eq(mo_tensor_file_open(&st, path), MOCO_OK);
    ck_assert_int_eq(st.count, 5);
    ck_assert_int_eq(st.text_count, 4); /* two of them are checksums */
    const char *const order[] = {"a.wide", "b.weight", "none", "octets", "step"};
    for (int i = 0; i < 5; i++)
        ck_assert_str_eq(st.tensors[i].name, order[i]);
    const mo_file_tensor_t *tensor = mo_tensor_file_find(&st, "b.weight");
    ck_assert_ptr_nonnull(tensor);
    ck_assert(st.container == MO_SAFETENSORS && tensor->strides[0] == 3 && tensor->strides[1] == 1);
    ck_assert_int_eq(tensor->rank, 2);
    ck_assert_int_eq(tensor->dims[1], 3);
    ck_assert_int_eq(mo_file_floats(tensor, back, 6), MOCO_OK);
    ck_assert_mem_eq(back, weights, sizeof weights);
    for (int64_t i = 0; i < st.count; i++) /* natural alignment inside the file */
        ck_assert_uint_eq(st.tensors[i].at % (st.tensors[i].dtype == MO_U8    ? 1
                                              : st.tensors[i].dtype == MO_F32 ? 4
                                                                              : 8),
                          0);
    ck_assert_str_eq(mo_tensor_file_text(&st, "seed"), "18446744073709551615");
    ck_assert_str_eq(mo_tensor_file_text(&st, "note"), "quote \" backslash \\ newline \n \xc3\xa9");
    mo_tensor_file_close(&st);
}
END_TEST

/* Numbers that are not finite are refused with their place, wherever they come from. */
START_TEST(test_nonfinite)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const uint16_t halves[] = {0x7c00, 0xfc00, 0x7e00};
    mo_tensor_file_t st = {0};
    float out[6];
    image_t image = make("{\"h\":" T("F16", "[2,3]", "[0,12]") ",\"f\":" T("F32", "[2,3]", "[12,36]") "}", 36);
    uint8_t *data = image.bytes + image.size - 36;
    ck_assert_int_eq(parse_as_is(&st, image.bytes, image.size), MOCO_OK);
    ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "f"), out, 6), MOCO_OK);
    for (size_t i = 0; i < 3; i++) {
        memcpy(data + 2 * (i + 3), &halves[i], 2);
        memcpy(data + 12 + 4 * (i + 3), &bad[i], 4);
        ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "f"), out, 6), MOCO_ERR_NONFINITE);
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "tensor 'f' holds "));
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "at [1,0]"));
        ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "h"), out, 6), MOCO_ERR_NONFINITE);
    }
    mo_tensor_file_close(&st);
    free(image.bytes);
    float last[5000] = {0};
    const int64_t dims[1] = {5000};
    mo_st_writer_t writer = {0};
    last[4999] = NAN;
    ck_assert_int_eq(write_known(path), MOCO_OK);
    ck_assert_int_eq(mo_st_add(&writer, "late", MO_F32, 1, dims, last), MOCO_OK);
    ck_assert_int_eq(mo_st_write(&writer, path), MOCO_ERR_NONFINITE);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "tensor 'late' holds nan at [4999]"));
    ck_assert_int_eq(mo_tensor_file_open(&st, path), MOCO_OK); /* the older file */
    mo_tensor_file_close(&st);
    mo_st_writer_free(&writer);
}
END_TEST

/* Any bit of a file that turns over is noticed, in the header as in the numbers. */
START_TEST(test_damage)
{
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    mo_tensor_file_t st = {0};
    ck_assert_int_eq(write_known(path), MOCO_OK);
    ck_assert_int_eq(mo_file_read(path, 1 << 20, &bytes, &size), MOCO_OK);
    for (uint64_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const moco_status_t status = mo_tensor_file_open_memory(&st, bytes, size, "damaged");
        ck_assert_msg(status == MOCO_ERR_FORMAT, "bit %d: %s", (int)bit, moco_status_name(status));
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "damaged"));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ck_assert_int_eq(mo_tensor_file_open_memory(&st, bytes, size, "whole"), MOCO_OK);
    mo_tensor_file_close(&st);
    bytes[size - 1] ^= 1; /* as a program leaves it that changes numbers and keeps the metadata */
    ck_assert_int_eq(mo_tensor_file_open_memory(&st, bytes, size, "changed"), MOCO_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "Either the file is damaged"));
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "or a program changed it and kept its checksums: save it there "
                                                      "again without the metadata 'data_xxh3' and 'header_xxh3'"));
    mo_free(bytes);
    /* What the digits are is part of the format. */
    mo_st_writer_t writer = {0};
    ck_assert_int_eq(mo_st_write(&writer, path), MOCO_OK);
    ck_assert_int_eq(mo_tensor_file_open(&st, path), MOCO_OK);
    ck_assert_str_eq(mo_tensor_file_text(&st, "data_xxh3"), "2d06800538d394c2"); /* of no bytes */
    ck_assert_str_eq(mo_tensor_file_text(&st, "header_xxh3"), "0000000000000000");
    mo_tensor_file_close(&st);
}
END_TEST

/* Memory holds the bytes of the file, follows the rule of texts, and reads back, wherever it is
 * aligned. */
START_TEST(test_memory)
{
    mo_st_writer_t writer = {0};
    uint8_t *file = NULL, bytes[1024];
    uint64_t size = 0, needed = 0;
    ck_assert_int_eq(write_known(path), MOCO_OK);
    ck_assert_int_eq(mo_file_read(path, sizeof bytes, &file, &size), MOCO_OK);
    ck_assert_int_eq(list_known(&writer), MOCO_OK);

    ck_assert_int_eq(mo_st_write_memory(&writer, NULL, 0, &needed), MOCO_OK);
    ck_assert_uint_eq(needed, size);
    ck_assert_int_eq(mo_st_write_memory(&writer, NULL, 0, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_st_write_memory(&writer, NULL, size, NULL), MOCO_ERR_ARGUMENT);
    memset(bytes, 0x55, sizeof bytes);
    ck_assert_int_eq(mo_st_write_memory(&writer, bytes, size - 1, &needed), MOCO_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "capacity is "));
    ck_assert_uint_eq(needed, size);
    ck_assert_uint_eq(bytes[0], 0x55);
    for (int shift = 0; shift < 8; shift++) {
        mo_tensor_file_t st = {0};
        float back[6];
        memset(bytes, 0x55, sizeof bytes);
        ck_assert_int_eq(mo_st_write_memory(&writer, bytes + shift, size, NULL), MOCO_OK);
        ck_assert_mem_eq(bytes + shift, file, size);
        ck_assert_uint_eq(bytes[shift + size], 0x55);
        ck_assert_int_eq(mo_tensor_file_open_memory(&st, bytes + shift, size, "memory"), MOCO_OK);
        ck_assert_int_eq(mo_file_floats(mo_tensor_file_find(&st, "b.weight"), back, 6), MOCO_OK);
        ck_assert_mem_eq(back, weights, sizeof weights);
        mo_tensor_file_close(&st);
        ck_assert_mem_eq(bytes + shift, file, size); /* borrowed: the close leaves it alone */
    }
    mo_st_writer_free(&writer);
    mo_free(file);

    ck_assert_int_eq(mo_st_write_memory(&writer, bytes, sizeof bytes, &needed), MOCO_OK); /* nothing listed */
    mo_tensor_file_t empty = {0};
    ck_assert_int_eq(mo_tensor_file_open_memory(&empty, bytes, needed, "memory"), MOCO_OK);
    ck_assert_int_eq(empty.count, 0);
    mo_tensor_file_close(&empty);
    ck_assert_int_eq(mo_tensor_file_open_memory(&empty, NULL, 0, "memory"), MOCO_ERR_FORMAT);
    ck_assert_str_eq(moco_last_message(), "memory: is neither safetensors nor a file of torch.save: it is empty");
}
END_TEST

/* Whatever the length of the header, the data begins at a multiple of 8. */
START_TEST(test_padding)
{
    for (int length = 0; length < 9; length++) {
        mo_st_writer_t writer = {0};
        mo_tensor_file_t st = {0};
        char value[16] = {0};
        memset(value, 'v', (size_t)length);
        ck_assert_int_eq(mo_st_meta(&writer, "k", value), MOCO_OK);
        ck_assert_int_eq(mo_st_add(&writer, "a", MO_F64, 1, dims_wide, wide), MOCO_OK);
        ck_assert_int_eq(mo_st_write(&writer, path), MOCO_OK);
        ck_assert_int_eq(mo_tensor_file_open(&st, path), MOCO_OK);
        ck_assert_uint_eq(st.tensors[0].at % 8, 0);
        ck_assert_str_eq(mo_tensor_file_text(&st, "k"), value);
        mo_tensor_file_close(&st);
        mo_st_writer_free(&writer);
    }
}
END_TEST

START_TEST(test_writer_refusals)
{
    mo_st_writer_t writer = {0};
    const int64_t negative[1] = {-1}, large[2] = {INT64_C(1) << 40, INT64_C(1) << 40};
    ck_assert_int_eq(mo_st_add(&writer, "a", MO_F32, 1, negative, weights), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_st_add(&writer, "a", MO_F32, 2, large, weights), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_st_add(&writer, "a", MO_F32, 9, large, weights), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_st_add(&writer, "a", MO_DTYPE_OTHER, 1, dims_octets, weights), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_st_add(&writer, "a", MO_F32, 1, dims_octets, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(writer.count, 0);
    ck_assert_int_eq(mo_st_add(&writer, "a", MO_F32, 1, dims_octets, weights), MOCO_OK);
    ck_assert_int_eq(mo_st_add(&writer, "a", MO_U8, 1, dims_octets, weights), MOCO_OK);
    ck_assert_int_eq(mo_st_write(&writer, path), MOCO_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "twice"));
    mo_st_writer_free(&writer);
    ck_assert_int_eq(mo_st_add(&writer, "__metadata__", MO_F32, 1, dims_octets, weights), MOCO_OK);
    ck_assert_int_eq(mo_st_write(&writer, path), MOCO_ERR_ARGUMENT);
    mo_st_writer_free(&writer);
    ck_assert_int_eq(mo_st_add(&writer, "\xff", MO_F32, 1, dims_octets, weights), MOCO_OK);
    ck_assert_int_ne(mo_st_write(&writer, path), MOCO_OK);
    mo_st_writer_free(&writer);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_eq(mo_st_write(&writer, path), MOCO_OK); /* nothing listed: a legal empty file */
    mo_tensor_file_t st = {0};
    ck_assert_int_eq(mo_tensor_file_open(&st, path), MOCO_OK);
    ck_assert_int_eq(st.count, 0);
    mo_tensor_file_close(&st);
}
END_TEST

static moco_status_t write_and_read(void)
{
    mo_tensor_file_t st = {0};
    moco_status_t status = write_known(path);
    if (status == MOCO_OK)
        status = mo_tensor_file_open(&st, path);
    mo_tensor_file_close(&st);
    return status;
}

START_TEST(test_faults)
{
    for (int kind = MO_FAULT_ALLOC; kind <= MO_FAULT_FILE; kind += MO_FAULT_FILE - MO_FAULT_ALLOC) {
        int n = 0;
        for (moco_status_t status = MOCO_ERR_IO; status != MOCO_OK; n++) {
            ck_assert_int_lt(n, 200);
            mo_fault_arm(kind, n);
            status = write_and_read();
            mo_fault_arm(kind, -1);
        }
        ck_assert_int_gt(n, 10);
    }
}
END_TEST

/* ---- for the parity script ---- */

static int dump(const char *from)
{
    mo_tensor_file_t st = {0};
    if (mo_tensor_file_open(&st, from) != MOCO_OK) {
        printf("refused %s\n", moco_last_message());
        return 0;
    }
    for (int64_t i = 0; i < st.count; i++) {
        const mo_file_tensor_t *tensor = &st.tensors[i];
        printf("%s %s", tensor->name, tensor->dtype_name);
        for (int32_t d = 0; d < tensor->rank; d++)
            printf(" %lld", (long long)tensor->dims[d]);
        printf(" :");
        int64_t count = 1;
        for (int32_t d = 0; d < tensor->rank; d++)
            count *= tensor->dims[d];
        float *values = calloc((size_t)count + 1, sizeof *values);
        if (mo_file_floats(tensor, values, count) == MOCO_OK)
            for (int64_t n = 0; n < count; n++)
                printf(" %.9g", (double)values[n]);
        printf("\n");
        free(values);
    }
    for (int64_t i = 0; i < st.text_count; i++)
        printf("meta %s=%s\n", st.texts[i].key, st.texts[i].value);
    mo_tensor_file_close(&st);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0)
        return write_known(argv[2]) == MOCO_OK ? EXIT_SUCCESS : EXIT_FAILURE;
    if (argc == 3 && strcmp(argv[1], "dump") == 0)
        return dump(argv[2]);
    Suite *suite = suite_create("safetensors");
    TCase *tc = tcase_create("safetensors");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_legal);
    tcase_add_test(tc, test_hostile_shapes_and_offsets);
    tcase_add_test(tc, test_hostile_json);
    tcase_add_test(tc, test_hostile_length);
    tcase_add_test(tc, test_numbers);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_nonfinite);
    tcase_add_test(tc, test_damage);
    tcase_add_test(tc, test_memory);
    tcase_add_test(tc, test_padding);
    tcase_add_test(tc, test_writer_refusals);
    tcase_add_test(tc, test_faults);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
