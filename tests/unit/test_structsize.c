/* The struct_size rule with hosts older, equal and newer than the library. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "util/status.h"
#include "util/structsize.h"

typedef struct grown {
    uint64_t struct_size;
    int64_t old_field;
    int32_t new_a, new_b;
} grown_t;

static const grown_t defaults = {sizeof(grown_t), 7, 8, 9};

START_TEST(test_init_equal)
{
    grown_t got;
    memset(&got, 0xff, sizeof got);
    ck_assert_int_eq(mo_struct_init(&got, sizeof got, &defaults, sizeof defaults), MOCO_OK);
    ck_assert_mem_eq(&got, &defaults, sizeof got);
}
END_TEST

START_TEST(test_init_older_host)
{
    uint8_t bytes[sizeof(grown_t)];
    memset(bytes, 0xee, sizeof bytes);
    ck_assert_int_eq(mo_struct_init(bytes, 16, &defaults, sizeof defaults), MOCO_OK);
    uint64_t size;
    int64_t field;
    memcpy(&size, bytes, 8);
    memcpy(&field, bytes + 8, 8);
    ck_assert_uint_eq(size, 16);
    ck_assert_int_eq(field, 7);
    for (size_t i = 16; i < sizeof bytes; i++)
        ck_assert_uint_eq(bytes[i], 0xee); /* nothing past what the host has */
}
END_TEST

START_TEST(test_init_newer_host)
{
    uint8_t bytes[sizeof(grown_t) + 8];
    memset(bytes, 0xee, sizeof bytes);
    ck_assert_int_eq(mo_struct_init(bytes, sizeof bytes, &defaults, sizeof defaults), MOCO_OK);
    for (size_t i = sizeof(grown_t); i < sizeof bytes; i++)
        ck_assert_uint_eq(bytes[i], 0);
    grown_t full;
    ck_assert_int_eq(mo_struct_overlay(bytes, &full, &defaults, sizeof defaults), MOCO_OK);
    ck_assert_mem_eq(&full, &defaults, sizeof full);
    bytes[sizeof bytes - 1] = 1;
    full.new_b = 55;
    ck_assert_int_eq(mo_struct_overlay(bytes, &full, &defaults, sizeof defaults), MOCO_ERR_VERSION);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "this libmoco is older than your header"));
    ck_assert_int_eq(full.new_b, 55);
}
END_TEST

START_TEST(test_overlay_older_host)
{
    struct {
        uint64_t struct_size;
        int64_t old_field;
    } old = {16, -3};
    grown_t full;
    ck_assert_int_eq(mo_struct_overlay(&old, &full, &defaults, sizeof defaults), MOCO_OK);
    ck_assert_uint_eq(full.struct_size, sizeof full);
    ck_assert_int_eq(full.old_field, -3);
    ck_assert_int_eq(full.new_a, 8);
    ck_assert_int_eq(full.new_b, 9);
    ck_assert_int_eq(mo_struct_overlay(NULL, &full, &defaults, sizeof defaults), MOCO_OK);
    ck_assert_mem_eq(&full, &defaults, sizeof full);
}
END_TEST

START_TEST(test_bad_sizes)
{
    grown_t got = {0};
    ck_assert_int_eq(mo_struct_init(NULL, 16, &defaults, sizeof defaults), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_struct_init(&got, 0, &defaults, sizeof defaults), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_struct_init(&got, 7, &defaults, sizeof defaults), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_struct_init(&got, UINT64_MAX, &defaults, sizeof defaults), MOCO_ERR_ARGUMENT);
    grown_t full;
    ck_assert_int_eq(mo_struct_overlay(&got, &full, &defaults, sizeof defaults), MOCO_ERR_ARGUMENT);
    got.struct_size = 0xdeadbeef;
    ck_assert_int_eq(mo_struct_overlay(&got, &full, &defaults, sizeof defaults), MOCO_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "3735928559"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("structsize");
    TCase *tc = tcase_create("structsize");
    tcase_add_test(tc, test_init_equal);
    tcase_add_test(tc, test_init_older_host);
    tcase_add_test(tc, test_init_newer_host);
    tcase_add_test(tc, test_overlay_older_host);
    tcase_add_test(tc, test_bad_sizes);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
