/* safetensors bytes damaged at random, thousands of times from a fixed seed. Whatever the reader
 * accepts must be coherent: tensors inside the file, sizes that multiply, every number readable.
 * Run it under the address sanitizer too. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "coherent.h"
#include "persist/safetensors.h"
#include "util/alloc.h"
#include "util/status.h"

#define ROUNDS 20000

static const char *const headers[] = {
    "{\"__metadata__\":{\"format\":\"pt\",\"step\":\"12\"},\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_"
    "offsets\":[0,24]},"
    "\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},\"c\":{\"dtype\":\"F16\",\"shape\":[4],\"data_"
    "offsets\":[32,40]}}   ",
    "{\"x\":{\"dtype\":\"BF16\",\"shape\":[1,2,2],\"data_offsets\":[16,24]},\"y\":{\"dtype\":\"F64\",\"shape\":[2],"
    "\"data_offsets\":[0,16]},"
    "\"z\":{\"dtype\":\"U8\",\"shape\":[16],\"data_offsets\":[24,40]},\"e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_"
    "offsets\":[40,40]}}",
};
static const char *const scraps[] = {
    "[",          "{", "\"", "9223372036854775807",  "-1",     "0",         "1e9", "\\u0000", ",", "null",
    "4294967296", "]", "}",  "18446744073709551616", "\"F4\"", "\"dtype\"", ":",   "\xff"};

static uint64_t state = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

/* A valid file, then a few edits; the result is exactly as large as its allocation. */
static uint8_t *mutant(uint64_t *size)
{
    const char *header = headers[draw(2)];
    uint64_t length = strlen(header), total = 8 + length + 40, capacity = total + 512;
    uint8_t *bytes = calloc(1, capacity);
    memcpy(bytes + 8, header, length);
    for (uint64_t edits = 1 + draw(4); edits > 0; edits--) {
        uint64_t at = 8 + draw(length);
        const char *scrap = scraps[draw(sizeof scraps / sizeof scraps[0])];
        uint64_t extra = strlen(scrap);
        switch (draw(5)) {
        case 0: /* flip a bit */ bytes[at] ^= (uint8_t)(1u << draw(8)); break;
        case 1: /* another digit */ bytes[at] = (uint8_t)('0' + draw(10)); break;
        case 2: /* insert a scrap */
            memmove(bytes + at + extra, bytes + at, total - at);
            memcpy(bytes + at, scrap, extra);
            length += extra;
            total += extra;
            break;
        case 3: /* overwrite with a scrap */ memcpy(bytes + at, scrap, extra); break;
        default: /* cut the tail, keep what the header still needs */ total -= draw(3) == 0 ? draw(40) : 0; break;
        }
    }
    uint64_t claimed = draw(12) == 0 ? draw(UINT64_MAX) : draw(12) == 0 ? draw(400) : length;
    memcpy(bytes, &claimed, 8);
    bytes = realloc(bytes, total);
    *size = total;
    return bytes;
}

/* No byte of the file is left out, and none belongs to two tensors. */
static uint64_t bytes_accounted_for(const mo_tensor_file_t *st, const uint8_t *bytes)
{
    uint64_t sum;
    memcpy(&sum, bytes, 8);
    for (int64_t i = 0; i < st->count; i++)
        sum += st->tensors[i].bytes;
    return 8 + sum;
}

START_TEST(test_mutants)
{
    int accepted = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t size;
        uint8_t *bytes = mutant(&size);
        mo_tensor_file_t st = {0};
        mo_source_t *source = NULL;
        ck_assert_int_eq(mo_source_lend(bytes, size, "mutant", &source), MOCO_OK);
        moco_status_t status = mo_safetensors_parse(&st, source);
        ck_assert(status == MOCO_OK || status == MOCO_ERR_FORMAT);
        if (status == MOCO_OK) {
            accepted++;
            ck_assert_ptr_null(incoherent(&st, size));
            ck_assert_uint_eq(bytes_accounted_for(&st, bytes), size);
        }
        mo_tensor_file_close(&st);
        mo_source_close(source);
        free(bytes);
    }
    ck_assert_int_gt(accepted, ROUNDS / 100); /* the mutants stay near enough to be interesting */
    ck_assert_int_lt(accepted, ROUNDS / 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors_fuzz");
    TCase *tc = tcase_create("mutants");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_mutants);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
