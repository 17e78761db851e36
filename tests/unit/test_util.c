/* util: numbers as text, growing arrays, rows of unit length, the sentences of checks, the hash of
 * names. */
#include <check.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <moco/cancel.h>

#include "util/alloc.h"
#include "util/fault.h"
#include "util/hash.h"
#include "util/need.h"
#include "util/number.h"
#include "util/printable.h"
#include "util/rate.h"
#include "util/rows.h"
#include "util/status.h"

/* ---- numbers ---- */

START_TEST(numbers_come_back)
{
    static const double values[] = {0.0, -0.0, 0.1, 1.0 / 3, 1e300, -5e-324, DBL_MAX, 4.0, 0.999, 1e22, INFINITY};
    char text[MO_NUMBER_TEXT];
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        double back = 7;
        mo_text_double(values[i], 0, text);
        ck_assert_ptr_null(strchr(text, ','));
        ck_assert_int_eq(mo_read_double(text, &back), 1);
        ck_assert_mem_eq(&back, &values[i], sizeof back);
    }
    mo_text_double(0.1, 0, text);
    ck_assert_str_eq(text, "0.1");
    mo_text_double(0.1, 17, text);
    ck_assert_str_eq(text, "0.10000000000000001");
    mo_text_double((double)0.485f, 9, text);
    ck_assert_str_eq(text, "0.485000014");
    mo_text_double(NAN, 0, text);
    ck_assert_ptr_nonnull(strstr(text, "nan"));
}
END_TEST

START_TEST(numbers_refused)
{
    static const char *const bad[] = {"", "x", "1x", "1,5", "1 ", "--1"};
    double value = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!mo_read_double(bad[i], &value) && value == 7, "'%s' was read as %g", bad[i], value);
    ck_assert_int_eq(mo_parse_double("nan", -INFINITY, INFINITY, &value), MOCO_ERR_FORMAT);
    ck_assert_int_eq(mo_parse_double("2.5", 0, 2, &value), MOCO_ERR_FORMAT);
    ck_assert(value == 7);
    ck_assert_int_eq(mo_parse_double("2.0", 0, 2, &value), MOCO_OK);
    ck_assert(value == 2);
    char zeros[100]; /* however long: a number is read to its end */
    memset(zeros, '0', sizeof zeros);
    strcpy(zeros + 90, "1.5");
    ck_assert_int_eq(mo_parse_double(zeros, 0, 2, &value), MOCO_OK);
    ck_assert(value == 1.5);
}
END_TEST

/* Where the machine has a locale with a decimal comma: it is not used, and it is not changed. */
START_TEST(numbers_in_a_locale_with_commas)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "nl_NL.UTF-8", "de_DE", "fr_FR"};
    char text[MO_NUMBER_TEXT], native[MO_NUMBER_TEXT];
    double value = 0;
    size_t i = 0;
    while (i < sizeof names / sizeof names[0] && setlocale(LC_ALL, names[i]) == NULL)
        i++;
    mo_text_double(1234.5, 0, text);
    ck_assert_str_eq(text, "1234.5");
    ck_assert_int_eq(mo_read_double("1234.5", &value), 1);
    ck_assert(value == 1234.5);
    snprintf(native, sizeof native, "%.1f", 0.5);
    ck_assert_str_eq(native, i < sizeof names / sizeof names[0] ? "0,5" : "0.5");
    setlocale(LC_ALL, "C");
}
END_TEST

/* ---- checks ---- */

static moco_status_t takes(const void *out)
{
    MO_NEED(out);
    return MOCO_OK;
}

START_TEST(checks_name_what_they_found)
{
    ck_assert_int_eq(takes(""), MOCO_OK);
    ck_assert_int_eq(takes(NULL), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "'out' is NULL");
    ck_assert_int_eq(mo_need_whole("k", 5, 1, 5), MOCO_OK);
    ck_assert_int_eq(mo_need_whole("k", 6, 1, 5), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "k is 6, wanted 1 to 5");
    ck_assert_int_eq(mo_need_whole("k", INT64_MIN, 1, INT64_MAX), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "k is -9223372036854775808, wanted 1 or more");
}
END_TEST

START_TEST(a_message_names_its_file)
{
    static const char *const messages[][2] = {
        {"the checkpoint was made with shards of 4", "checkpoint: the checkpoint was made with shards of 4"},
        {"'checkpoint' is a model", "'checkpoint' is a model"},
        {"checkpoint: damaged", "checkpoint: damaged"},
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        mo_fail(MOCO_ERR_FORMAT, "%s", messages[i][0]);
        mo_message_of_file("checkpoint");
        ck_assert_str_eq(moco_last_message(), messages[i][1]);
    }
}
END_TEST

/* ---- arrays ---- */

START_TEST(arrays_grow)
{
    int32_t *items = NULL;
    int64_t capacity = 0;
    int moves = 0;
    for (int64_t count = 0; count < 1000; count++) {
        const int64_t before = capacity;
        ck_assert_int_eq(mo_reserve(&items, count + 1, &capacity, sizeof *items), MOCO_OK);
        ck_assert_int_gt(capacity, count);
        moves += capacity != before;
        items[count] = (int32_t)count;
    }
    ck_assert_int_eq(moves, 5); /* 64, 128, 256, 512, 1024 */
    for (int32_t i = 0; i < 1000; i++)
        ck_assert_int_eq(items[i], i);
    ck_assert_int_eq(mo_reserve(&items, 1000000, &capacity, sizeof *items), MOCO_OK);
    ck_assert_int_eq(capacity, 1000000);
    mo_fault_arm(MO_FAULT_ALLOC, 0);
    ck_assert_int_eq(mo_reserve(&items, 1000001, &capacity, sizeof *items), MOCO_ERR_MEMORY);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    ck_assert_int_eq(mo_reserve(&items, INT64_MAX, &capacity, sizeof *items), MOCO_ERR_MEMORY);
    ck_assert_int_eq(capacity, 1000000);
    ck_assert_int_eq(items[999], 999);
    mo_free(items);
}
END_TEST

/* ---- rows ---- */

START_TEST(rows_of_unit_length)
{
    float rows[3][2] = {{3, 4}, {0, 0}, {-1e30f, 0}};
    ck_assert_int_eq(mo_rows_normalise(rows[0], 3, 2, rows[0]), MOCO_OK);
    ck_assert(rows[0][0] == 0.6f && rows[0][1] == 0.8f && rows[1][0] == 0 && rows[2][0] == -1);
    ck_assert_int_eq(mo_rows_check_unit("keys", rows[0], 1, 2), MOCO_OK);
    ck_assert_int_eq(mo_rows_check_unit("keys", rows[0], 2, 2), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "row 1 of 'keys' has norm 0, wanted 1 to within 0.001");
    rows[2][1] = NAN;
    ck_assert_int_eq(mo_rows_check_unit("keys", rows[2], 1, 2), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_rows_normalise(rows[0], 3, 2, rows[0]), MOCO_ERR_ARGUMENT);
    ck_assert_str_eq(moco_last_message(), "row 2 holds a number that is not finite");
    rows[0][0] = 1.0009f, rows[0][1] = 0;
    ck_assert_int_eq(mo_rows_check_unit("keys", rows[0], 1, 2), MOCO_OK);
    rows[0][0] = 1.0011f;
    ck_assert_int_eq(mo_rows_check_unit("keys", rows[0], 1, 2), MOCO_ERR_ARGUMENT);
}
END_TEST

/* ---- rates and hashes ---- */

START_TEST(half_a_cosine)
{
    ck_assert(mo_half_cosine(0, 10) == 1);
    ck_assert_double_eq_tol(mo_half_cosine(5, 10), 0.5, 1e-15);
    ck_assert_double_eq_tol(mo_half_cosine(10, 10), 0, 1e-15);
}
END_TEST

START_TEST(the_published_hash)
{
    uint64_t hash = MO_HASH_START;
    for (const char *c = "foobar"; *c != '\0'; c++)
        hash = mo_hash_add(hash, (uint8_t)*c);
    ck_assert_uint_eq(hash, UINT64_C(0x85944171f73967e8)); /* FNV-1a of "foobar" */
}
END_TEST

/* ---- text for people ---- */

START_TEST(only_printable_text_is_shown)
{
    static const struct {
        const char *from, *out;
    } cases[] = {
        {"plain.jpg", "plain.jpg"},
        {"\xd0\xb8\xd0\xbc\xd1\x8f \xe5\x86\x99\xf0\x9f\x90\x88",
         "\xd0\xb8\xd0\xbc\xd1\x8f \xe5\x86\x99\xf0\x9f\x90\x88"},
        {"a\x1b]0;owned\x07", "a\\x1b]0;owned\\x07"},
        {"two\nlines\r\t\x7f", "two\\x0alines\\x0d\\x09\\x7f"},
        {"c1 \xc2\x9b[31m", "c1 \\xc2\\x9b[31m"},
        {"ends \xc2\x80\xc2\x9f\xc2\xa0", "ends \\xc2\\x80\\xc2\\x9f\xc2\xa0"},
        {"8-bit \x9b", "8-bit \\x9b"},
        {"latin caf\xe9", "latin caf\\xe9"},
        {"turned \xe2\x80\xaegpj.exe", "turned \\xe2\\x80\\xaegpj.exe"},
        {"too long \xc0\xaf", "too long \\xc0\\xaf"},
        {"half \xed\xa0\x80", "half \\xed\\xa0\\x80"},
    };
    char out[80], again[80];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_uint_eq(mo_printable(cases[i].from, out, sizeof out), strlen(cases[i].out));
        ck_assert_str_eq(out, cases[i].out);
        mo_printable(out, again, sizeof again);
        ck_assert_str_eq(again, out);
    }
    for (int before = 0; before < 4; before++) { /* messages are cut between characters, too */
        char name[2 * MO_MESSAGE_SIZE] = "abc";
        for (size_t at = (size_t)before; at + 4 < sizeof name; at += 4)
            memcpy(name + at, "\xf0\x9f\x90\x88", 5);
        mo_fail(MOCO_ERR_IO, "%s", name);
        ck_assert_ptr_null(strchr(moco_last_message(), '\\'));
        ck_assert_uint_ge(strlen(moco_last_message()), MO_MESSAGE_SIZE - 4);
    }
    mo_printable("ab\xd0\xb8", out, 4); /* cut between characters */
    ck_assert_str_eq(out, "ab");
    mo_printable("ab\x1b", out, 6);
    ck_assert_str_eq(out, "ab");
    mo_printable("abc", out, 1);
    ck_assert_str_eq(out, "");
}
END_TEST

static char logged[200];

static void keep_line(void *user, int32_t level, const char *line)
{
    (void)user;
    (void)level;
    snprintf(logged, sizeof logged, "%s", line);
}

START_TEST(messages_and_log_lines_are_printable)
{
    mo_fail(MOCO_ERR_IO, "'%s': broken", "red\x1b[31m\n.jpg");
    ck_assert_str_eq(moco_last_message(), "'red\\x1b[31m\\x0a.jpg': broken");
    mo_message_of_file("red\x1b[31m\n.jpg"); /* it is named already */
    ck_assert_str_eq(moco_last_message(), "'red\\x1b[31m\\x0a.jpg': broken");
    moco_set_log(keep_line, NULL, MOCO_LOG_WARNING);
    mo_log(MOCO_LOG_WARNING, "%s",
           "a\x1b"
           "b");
    moco_set_log(NULL, NULL, 0);
    ck_assert_str_eq(logged, "a\\x1b"
                             "b");
}
END_TEST

/* ---- requests to stop ---- */

START_TEST(a_request_is_made_whole_or_not)
{
    moco_cancel_t *cancel = (moco_cancel_t *)&cancel; /* whatever stands there: a failed call leaves NULL */
    mo_fault_arm(MO_FAULT_ALLOC, 0);
    ck_assert_int_eq(moco_cancel_create(&cancel), MOCO_ERR_MEMORY);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    ck_assert_ptr_null(cancel);
    ck_assert_int_eq(moco_cancel_create(&cancel), MOCO_OK);
    ck_assert_int_eq(moco_cancel_requested(cancel), 0);
    moco_cancel_request(cancel);
    ck_assert_int_eq(moco_cancel_requested(cancel), 1);
    moco_cancel_reset(cancel);
    ck_assert_int_eq(moco_cancel_requested(cancel), 0);
    moco_cancel_free(cancel);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("util");
    TCase *tcase = tcase_create("util");
    tcase_add_test(tcase, numbers_come_back);
    tcase_add_test(tcase, numbers_refused);
    tcase_add_test(tcase, numbers_in_a_locale_with_commas);
    tcase_add_test(tcase, checks_name_what_they_found);
    tcase_add_test(tcase, a_message_names_its_file);
    tcase_add_test(tcase, arrays_grow);
    tcase_add_test(tcase, rows_of_unit_length);
    tcase_add_test(tcase, half_a_cosine);
    tcase_add_test(tcase, the_published_hash);
    tcase_add_test(tcase, only_printable_text_is_shown);
    tcase_add_test(tcase, messages_and_log_lines_are_printable);
    tcase_add_test(tcase, a_request_is_made_whole_or_not);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
