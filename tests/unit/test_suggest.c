/* "Did you mean": which slips find a name, and which words are near to none. */
#include <check.h>
#include <string.h>

#include "util/suggest.h"

typedef struct row {
    int number;
    const char *name;
} row_t;

static const row_t rows[] = {
    {1, "batch_size"}, {2, "base_lr"}, {3, "temperature"}, {4, NULL}, {5, "key_momentum"}, {6, "k"}, {7, "epochs"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static const char *nearest(const char *word)
{
    return mo_nearest(word, &rows[0].name, sizeof rows[0], ROWS);
}

START_TEST(test_slips_are_found)
{
    static const char *const cases[][2] = {
        {"batchsize", "batch_size"},  /* a letter left out       */
        {"batch-size", "batch_size"}, /* as a flag is spelt      */
        {"Batch_Size", "batch_size"}, /* capitals                */
        {"bathc_size", "batch_size"}, /* neighbours exchanged    */
        {"epoch", "epochs"},          /* a letter missing at end */
        {"epoxhs", "epochs"},         /* another letter          */
        {"temprature", "temperature"},
        {"temp", "temperature"}, /* the beginning of it */
        {"lr", "base_lr"},
        {"momentum", "key_momentum"},
        {"K", "k"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *found = nearest(cases[i][0]);
        ck_assert_msg(found != NULL && strcmp(found, cases[i][1]) == 0, "'%s' gives '%s', wanted '%s'", cases[i][0],
                      found != NULL ? found : "(none)", cases[i][1]);
    }
}
END_TEST

START_TEST(test_strangers_are_not)
{
    static const char *const words[] = {
        "",       "x",
        "colour", "struct_size_of_something",
        "zzz",    "a word of more letters than any name can have, and then some more",
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        ck_assert_msg(nearest(words[i]) == NULL, "'%s' gives '%s'", words[i], nearest(words[i]));
    ck_assert_ptr_null(mo_nearest("epoch", &rows[0].name, sizeof rows[0], 0));
}
END_TEST

START_TEST(test_plain_arrays_and_ties)
{
    static const char *const names[] = {"mate", "late", "gate"};
    ck_assert_str_eq(mo_nearest("hate", names, sizeof names[0], 3), "mate"); /* all one away: the first */
    ck_assert_str_eq(mo_nearest("gatee", names, sizeof names[0], 3), "gate");
    /* A word of three letters may have one slip: two neighbours exchanged are one, wherever they
     * stand. */
    static const char *const shorts[] = {"key"};
    ck_assert_str_eq(mo_nearest("kye", shorts, sizeof shorts[0], 1), "key");
    ck_assert_str_eq(mo_nearest("eky", shorts, sizeof shorts[0], 1), "key");
    ck_assert_ptr_null(mo_nearest("yek", shorts, sizeof shorts[0], 1));
}
END_TEST

START_TEST(test_text)
{
    char text[MO_DID_YOU_MEAN];
    mo_did_you_mean("bath_size", &rows[0].name, sizeof rows[0], ROWS, text);
    ck_assert_str_eq(text, "; did you mean 'batch_size'?");
    mo_did_you_mean("colour", &rows[0].name, sizeof rows[0], ROWS, text);
    ck_assert_str_eq(text, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("suggest");
    TCase *tests = tcase_create("suggest");
    tcase_add_test(tests, test_slips_are_found);
    tcase_add_test(tests, test_strangers_are_not);
    tcase_add_test(tests, test_plain_arrays_and_ties);
    tcase_add_test(tests, test_text);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
