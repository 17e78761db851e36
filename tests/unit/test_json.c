/* Reading JSON: what is refused and with which reason, the same verdict as jansson's own parser on
 * damaged texts, and each allocation that fails in turn is told as that and never as damage. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "util/fault.h"
#include "util/json.h"
#include "util/rng.h"

/* ---- allocations of jansson that fail ---- */

static long left = -1; /* allocations that succeed; -1 = all */

static void *may_fail(size_t size)
{
    if (left == 0)
        return NULL;
    left -= left > 0;
    return malloc(size);
}

static const char text[] = "{\"name\":\"a text of more than thirty-two bytes, \\u00e9\\ud83d\\ude00\\n\",\"numbers\":"
                           "[1,-2,3.5,-4e-3,9223372036854775807,-9223372036854775808,0,-0],\"deep\":{\"deeper\":[{}]},"
                           "\"true\":true,\"false\":false,\"null\":null,\"empty\":\"\",\"list\":[ ] }\n";

START_TEST(memory_is_not_damage)
{
    char reason[MO_JSON_REASON];
    json_t *made = NULL;
    moco_status_t status = MOCO_ERR_MEMORY;
    json_set_alloc_funcs(may_fail, free);
    long count = 0;
    for (; status != MOCO_OK; count++) {
        left = count;
        status = mo_json_load(text, sizeof text - 1, 8, &made, reason);
        ck_assert_msg(status == MOCO_OK || status == MOCO_ERR_MEMORY, "allocation %ld: %s", count, reason);
        ck_assert_int_lt(count, 1000);
    }
    left = -1;
    ck_assert_int_gt(count, 20);
    json_decref(made);
    json_set_alloc_funcs(malloc, free);
    /* Those of the library. */
    for (count = 0, status = MOCO_ERR_MEMORY; status != MOCO_OK; count++) {
        mo_fault_arm(MO_FAULT_ALLOC, count);
        status = mo_json_load(text, sizeof text - 1, 8, &made, reason);
        ck_assert(status == MOCO_OK || status == MOCO_ERR_MEMORY);
    }
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    ck_assert_int_gt(count, 5);
    json_decref(made);
}
END_TEST

/* ---- texts ---- */

static void expect_verdict(const char *bytes, size_t size)
{
    char reason[MO_JSON_REASON] = "";
    json_t *ours = NULL, *theirs = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL);
    const moco_status_t status = mo_json_load(bytes, size, 64, &ours, reason);
    ck_assert_msg((status == MOCO_OK) == (theirs != NULL), "%.*s: %s", (int)size, bytes, reason);
    ck_assert(status == MOCO_OK || status == MOCO_ERR_FORMAT);
    if (status == MOCO_OK)
        ck_assert_msg(json_equal(ours, theirs), "%.*s", (int)size, bytes);
    json_decref(ours);
    json_decref(theirs);
}

START_TEST(the_same_as_jansson)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "{",
                                        "[",
                                        "{}",
                                        "[]",
                                        "1",
                                        "\"a\"",
                                        "[1,]",
                                        "[,1]",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "{\"a\":1,\"a\":2}",
                                        "[1 2]",
                                        "[1]]",
                                        "[1] x",
                                        "{}{}",
                                        "[01]",
                                        "[-]",
                                        "[+1]",
                                        "[.5]",
                                        "[1.]",
                                        "[1e]",
                                        "[1e+]",
                                        "[1e5]",
                                        "[1E-5]",
                                        "[-0]",
                                        "[-0.0]",
                                        "[1e400]",
                                        "[1e-400]",
                                        "[9223372036854775808]",
                                        "[-9223372036854775809]",
                                        "[\"\\u0000\"]",
                                        "[\"\\ud800\"]",
                                        "[\"\\udc00\"]",
                                        "[\"\\ud800\\u0041\"]",
                                        "[\"\\ud83d\\ude00\"]",
                                        "[\"\\u00zz\"]",
                                        "[\"\\q\"]",
                                        "[\"\\",
                                        "[\"\\u12",
                                        "[\"a",
                                        "[\"\t\"]",
                                        "[\"\xff\"]",
                                        "[\"\xc3\xa9\"]",
                                        "[\"\xed\xa0\x80\"]",
                                        "[tru]",
                                        "[true]",
                                        "[nulll]",
                                        "[True]",
                                        "[NaN]",
                                        "{\"a\\u0000b\":1}",
                                        "[[[[[[]]]]]]",
                                        "[}",
                                        "{]",
                                        "\t\r\n[ \t\r\n]\n",
                                        "\v[]",
                                        "{\"\":1}",
                                        "[\"/\\/\"]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_verdict(texts[i], strlen(texts[i]));
    expect_verdict(text, sizeof text - 1);
    expect_verdict("[0,\0]", 5);
}
END_TEST

START_TEST(damaged_texts)
{
    static const char put[] = "\"\\{}[]:,0123456789eE+-.tfnu \n\x80\xff";
    mo_rng_t rng;
    mo_rng_start(&rng, 7, 1, 0, 0);
    for (int i = 0; i < 20000; i++) {
        char changed[sizeof text];
        size_t size = sizeof text - 1;
        memcpy(changed, text, sizeof text);
        for (int k = 0; k < 1 + i % 3; k++)
            changed[mo_rng_u32(&rng) % size] = put[mo_rng_u32(&rng) % (sizeof put - 1)];
        if (i % 5 == 0)
            size = mo_rng_u32(&rng) % size;
        expect_verdict(changed, size);
    }
}
END_TEST

START_TEST(limits)
{
    char reason[MO_JSON_REASON];
    json_t *made = NULL;
    ck_assert_int_eq(mo_json_load("[[[]]]", 6, 2, &made, reason), MOCO_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(reason, "nested too deeply"));
    ck_assert_int_eq(mo_json_load("[[]]", 4, 2, &made, reason), MOCO_OK);
    json_decref(made);
    char *many = malloc(2 * MO_JSON_MAX_ITEMS + 4);
    size_t size = 0;
    many[size++] = '[';
    for (int i = 0; i <= MO_JSON_MAX_ITEMS; i++, size += 2)
        memcpy(many + size, "0,", 2);
    many[size - 1] = ']';
    ck_assert_int_eq(mo_json_load(many, size, 2, &made, reason), MOCO_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(reason, "too many"));
    free(many);
}
END_TEST

/* Names that are no UTF-8 stay apart, and long ones stay whole. */
START_TEST(names)
{
    char name[1000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    name[0] = (char)0xff;
    json_t *a = mo_json_bytes(name), *b;
    name[0] = (char)0xfe;
    b = mo_json_bytes(name);
    ck_assert(!json_equal(a, b));
    ck_assert_uint_eq(json_string_length(a), sizeof name - 1 + 3);
    ck_assert_int_eq(memcmp(json_string_value(b), "\\xfenn", 6), 0);
    json_decref(a);
    json_decref(b);
    a = mo_json_bytes("a\tb\\c \xc3\xa9");
    ck_assert_str_eq(json_string_value(a), "a\tb\\c \xc3\xa9");
    json_decref(a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *cases = tcase_create("json");
    tcase_add_test(cases, memory_is_not_damage);
    tcase_add_test(cases, the_same_as_jansson);
    tcase_add_test(cases, damaged_texts);
    tcase_add_test(cases, limits);
    tcase_add_test(cases, names);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
