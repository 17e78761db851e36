/* persist/roots: which encoders a file has, and which of them is meant, by the names of its
 * tensors alone. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/roots.h"
#include "util/status.h"

enum { MOST = 40 };

static char names[MOST][80];
static mo_file_tensor_t tensors[MOST];
static mo_tensor_file_t file;
static mo_roots_t roots;

static void add(const char *prefix, const char *name, uint64_t at)
{
    ck_assert_int_lt(file.count, MOST);
    snprintf(names[file.count], sizeof names[0], "%s%s", prefix, name);
    tensors[file.count] = (mo_file_tensor_t){.name = names[file.count], .at = at, .bytes = 4};
    file.count++;
}

/* What shows a ResNet under a prefix; its numbers begin at byte `at`. */
static void add_encoder(const char *prefix, uint64_t at)
{
    add(prefix, "conv1.weight", at);
    add(prefix, "layer1.0.conv1.weight", at + 100);
}

static void begin(void)
{
    mo_roots_free(&roots);
    file = (mo_tensor_file_t){.tensors = tensors};
}

static void find(const char *wanted)
{
    mo_roots_free(&roots);
    ck_assert_int_eq(mo_tensor_file_sort(&file, "file"), MOCO_OK);
    ck_assert_int_eq(mo_roots_find(&file, wanted, &roots), MOCO_OK);
}

static void expect_prefix(const char *wanted, const char *prefix)
{
    find(wanted);
    ck_assert_msg(roots.query.scheme != NULL, "none: %s", roots.choice != NULL ? roots.choice : "no word");
    ck_assert_str_eq(roots.query.prefix, prefix);
    ck_assert_ptr_null(roots.choice);
}

static void expect_none(const char *wanted, const char *choice)
{
    find(wanted);
    ck_assert_ptr_null(roots.query.scheme);
    ck_assert_ptr_null(roots.role);
    if (choice == NULL)
        ck_assert_ptr_null(roots.choice);
    else
        ck_assert_str_eq(roots.choice, choice);
}

START_TEST(none)
{
    begin();
    expect_none(NULL, NULL);
    add("", "weight", 1);
    add("", "conv1.weight", 2); /* with nothing of an encoder beside it */
    add("x", "conv1.weight", 3);
    add("x", "layer1.0.conv1.weight", 4); /* "xconv1" is no whole part */
    expect_none(NULL, NULL);
    expect_none("a", "has no encoder of a known name, and none under the prefix 'a'");
}
END_TEST

START_TEST(one)
{
    static const char *const prefixes[] = {"", "a.", "state_dict.module.a_b."};
    for (int i = 0; i < 3; i++) {
        begin();
        add_encoder(prefixes[i], 1);
        expect_prefix(NULL, prefixes[i]);
        expect_prefix(prefixes[i], prefixes[i]);
        ck_assert_str_eq(roots.query.scheme->name, "torchvision");
        ck_assert_str_eq(roots.role->layout, "plain");
        ck_assert_str_eq(roots.base, prefixes[i]);
    }
    expect_prefix("state_dict.module.a_b", prefixes[2]);
    expect_prefix("module", prefixes[2]);
    expect_prefix("a_b.", prefixes[2]);
    expect_none("a", "the prefix 'a' does not say which encoder: there are some under 'state_dict.module.a_b.'");
    expect_none("", "the prefix '' does not say which encoder: there are some under 'state_dict.module.a_b.'");
}
END_TEST

START_TEST(several)
{
    begin();
    add_encoder("a.x.", 1);
    add_encoder("b.x.", 2);
    expect_none(NULL, "has several encoders, under 'a.x.', 'b.x.': name one by the prefix (--prefix)");
    expect_prefix("b", "b.x.");
    expect_none("x", "the prefix 'x' does not say which encoder: there are some under 'a.x.', 'b.x.'");
    for (char letter = 'c'; letter <= 'f'; letter++)
        add_encoder((char[]){letter, '.', '\0'}, (uint64_t)letter);
    expect_none(NULL, "has several encoders, under 'a.x.', 'b.x.', 'c.', 'd.', 'e.', 'f.': name one by the prefix "
                      "(--prefix)");
    add_encoder("g.", 7);
    expect_none(NULL, "has several encoders, under 'a.x.', 'b.x.', 'c.', 'd.', 'e.', 'f.' and more: name one by the "
                      "prefix (--prefix)");
}
END_TEST

/* A module that is saved under two names is one encoder: its numbers are the same bytes of the
 * file. */
START_TEST(one_under_two_names)
{
    begin();
    add_encoder("a.", 1);
    add_encoder("b.", 1);
    expect_prefix(NULL, "a.");
    begin();
    for (int i = 0; i < 2; i++) { /* shown by the second of its naming's markers */
        add(i == 0 ? "a." : "b.", "patch_embed.proj.0.weight", 5);
        add(i == 0 ? "a." : "b.", "blocks.0.norm1.weight", 6);
    }
    expect_prefix(NULL, "a.");
    ck_assert_str_eq(roots.query.scheme->name, "timm");
    add("c.", "patch_embed.proj.weight", 7);
    add("c.", "blocks.0.norm1.weight", 8);
    expect_none(NULL, "has several encoders, under 'c.', 'a.', 'b.': name one by the prefix (--prefix)");
}
END_TEST

/* Of a pair the one that learns is meant, but for programs that evaluate the average. */
START_TEST(pairs)
{
    static const struct {
        const char *learned, *average, *query, *key, *other, *layout;
        int from_average;
    } cases[] = {
        {"m.encoder_q.", "m.encoder_k.", "m.encoder_q.", "m.encoder_k.", "m.encoder_k.", "moco", 0},
        {"m.encoder_q.module.", "m.encoder_k.module.", "m.encoder_q.module.", "m.encoder_k.module.",
         "m.encoder_k.module.", "moco", 0},
        {"base_encoder.", "momentum_encoder.", "base_encoder.", "momentum_encoder.", "momentum_encoder.", "moco-v3", 0},
        {"online.", "target.", "online.", "target.", "target.", "plain", 0},
        {"student.backbone.", "teacher.backbone.", "teacher.backbone.", "", "student.backbone.", "backbone", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        add_encoder(cases[i].learned, 1);
        add_encoder(cases[i].average, 2);
        expect_prefix(NULL, cases[i].query);
        ck_assert_str_eq(roots.other, cases[i].other);
        ck_assert_int_eq(roots.from_average, cases[i].from_average);
        ck_assert_str_eq(roots.role->layout, cases[i].layout);
        if (!cases[i].from_average)
            ck_assert_str_eq(roots.key.prefix, cases[i].key);
    }
    begin();
    add_encoder("x.momentum.", 1); /* an average alone is what there is */
    expect_prefix(NULL, "x.momentum.");
    add_encoder("y.target.", 2);
    expect_none(NULL, "has several encoders, under 'x.momentum.', 'y.target.': name one by the prefix (--prefix)");
    begin();
    add_encoder("monkey.", 1); /* "key" is no word of it */
    expect_prefix(NULL, "monkey.");
    ck_assert_ptr_null(roots.other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("roots");
    TCase *tcase = tcase_create("roots");
    tcase_add_checked_fixture(tcase, NULL, begin);
    tcase_add_test(tcase, none);
    tcase_add_test(tcase, one);
    tcase_add_test(tcase, several);
    tcase_add_test(tcase, one_under_two_names);
    tcase_add_test(tcase, pairs);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
