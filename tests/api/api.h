/* What the tests of the public interface share. They include nothing of lib/ and link to the real
 * libmoco.so. */
#ifndef TESTS_API_H
#define TESTS_API_H

#include <stdlib.h>
#include <string.h>
#include <check.h>
#include <moco/moco.h>

/* A call must give exactly this status; a failure must also have said why, in one line. */
#define expect_status(want, call)                                                                                \
    do {                                                                                                         \
        moco_status_t expect_got = (call);                                                                       \
        ck_assert_msg(expect_got == (want), "%s gave %s (%s), expected %s", #call, moco_status_name(expect_got), \
                      expect_got ? moco_last_message() : "", moco_status_name(want));                            \
        if (expect_got != MOCO_OK) {                                                                             \
            ck_assert_msg(moco_last_message()[0] != '\0', "%s left no message", #call);                          \
            ck_assert_msg(strchr(moco_last_message(), '\n') == NULL, "%s: message of several lines", #call);     \
        }                                                                                                        \
    } while (0)
#define expect_ok(call) expect_status(MOCO_OK, call)
/* The message of the last failure names something. */
#define expect_message(part) \
    ck_assert_msg(strstr(moco_last_message(), part) != NULL, "'%s' does not name '%s'", moco_last_message(), part)

/* Options of a trainer that steps in milliseconds: 8 images of 16 pixels in two groups. */
static inline void tiny_options(moco_trainer_options_t *options)
{
    ck_assert_int_eq(moco_trainer_options_init(options, sizeof *options, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE), MOCO_OK);
    options->arch = MOCO_ARCH_RESNET18;
    options->width = 0.25;
    options->image_size = 16;
    options->batch_size = 8;
    options->bn_groups = 2;
    options->queue_length = 32;
    options->dimension = 16;
    options->loader_threads = 1;
}

static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
