/* The tree of gradient blocks: same bits in any order of finishing, the documented tree, and never
 * more blocks than were planned for. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "train/gradients.h"
#include "util/fault.h"
#include "util/rng.h"

enum { FLOATS = 37 };

static void draw(float *block, int32_t leaf)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 4, 100, (uint32_t)leaf, 0);
    for (int i = 0; i < FLOATS; i++)
        block[i] = (float)(mo_rng_normal(&rng) * (i % 3 == 0 ? 1e4 : 1.0)); /* so that order shows */
}

static void fill(mo_buffer_t block, int32_t leaf)
{
    float drawn[FLOATS];
    draw(drawn, leaf);
    ck_assert_int_eq(mo_buffer_write(block, drawn), MOCO_OK);
}

static const float *total_of(const mo_gradients_t *g)
{
    static float total[FLOATS];
    ck_assert_int_eq(mo_buffer_read(g->total, total), MOCO_OK);
    return total;
}

/* The tree as documented: neighbours in pairs, level after level; one that has no neighbour goes up
 * as it is. */
static void pairwise(float (*level)[FLOATS], int32_t size)
{
    while (size > 1) {
        for (int32_t i = 0; i < size / 2; i++)
            for (int j = 0; j < FLOATS; j++)
                level[i][j] = level[2 * i][j] + level[2 * i + 1][j];
        if (size % 2 == 1)
            memcpy(level[size / 2], level[size - 1], sizeof level[0]);
        size = (size + 1) / 2;
    }
}

/* Up to `in_flight` leaves at work, started in order and finished in random order. */
static void random_run(mo_gradients_t *g, int32_t leaves, int32_t in_flight, mo_rng_t *rng)
{
    int32_t working[64], count = 0, next = 0;
    mo_buffer_t block[64];
    mo_gradients_recycle(g);
    while (next < leaves || count > 0) {
        if (next < leaves && count < in_flight && (count == 0 || mo_rng_below(rng, 2) == 0)) {
            ck_assert_int_eq(mo_gradients_take(g, &block[count]), MOCO_OK);
            fill(block[count], next);
            working[count++] = next++;
        } else {
            int32_t at = (int32_t)mo_rng_below(rng, (uint32_t)count);
            ck_assert_int_eq(mo_gradients_finish(g, working[at], block[at]), MOCO_OK);
            count--;
            working[at] = working[count];
            block[at] = block[count];
        }
    }
}

START_TEST(test_same_bits)
{
    static float level[64][FLOATS];
    mo_rng_t rng;
    mo_rng_start(&rng, 8, 100, 0, 0);
    for (int32_t leaves = 1; leaves <= 33; leaves += leaves < 9 ? 1 : 4) {
        for (int32_t leaf = 0; leaf < leaves; leaf++)
            draw(level[leaf], leaf);
        pairwise(level, leaves);
        for (int32_t in_flight = 1; in_flight <= 5; in_flight++) {
            mo_gradients_t g;
            ck_assert_int_eq(mo_gradients_create(&g, FLOATS, leaves, in_flight, 1, NULL), MOCO_OK);
            ck_assert_int_eq(g.blocks, mo_gradient_blocks(leaves, in_flight, 1));
            for (int run = 0; run < 20; run++) {
                random_run(&g, leaves, in_flight, &rng);
                ck_assert_ptr_nonnull(g.total.memory);
                ck_assert_mem_eq(total_of(&g), level[0], sizeof level[0]);
                ck_assert_int_eq(g.free_count, g.blocks - 1);
            }
            mo_gradients_free(&g);
        }
    }
}
END_TEST

/* As a pass does it with shards that meet: a group takes all its blocks at once, `sets` groups are
 * in flight, and any of them may be slow for any time. */
static void group_run(mo_gradients_t *g, int32_t groups, int32_t together, int32_t sets, mo_rng_t *rng)
{
    int32_t working[8], count = 0, next = 0, slow = (int32_t)mo_rng_below(rng, 3);
    mo_buffer_t block[256];
    mo_gradients_recycle(g);
    while (next < groups || count > 0) {
        for (; next < groups && count < sets; working[count++] = next++)
            for (int32_t s = next * together; s < (next + 1) * together; s++) {
                ck_assert_int_eq(mo_gradients_take(g, &block[s]), MOCO_OK);
                fill(block[s], s);
            }
        /* The oldest go last most of the time: then most subtrees wait. */
        int32_t at = slow > 0 || next == groups ? (int32_t)mo_rng_below(rng, (uint32_t)count) : count - 1;
        if (slow == 2 && count > 1 && mo_rng_below(rng, 16) != 0)
            at = count - 1;
        for (int32_t s = working[at] * together; s < (working[at] + 1) * together; s++)
            ck_assert_int_eq(mo_gradients_finish(g, s, block[s]), MOCO_OK);
        count--;
        for (; at < count; at++)
            working[at] = working[at + 1];
    }
}

START_TEST(test_groups)
{
    mo_rng_t rng;
    mo_rng_start(&rng, 9, 100, 0, 0);
    for (int32_t groups = 1; groups <= 32; groups += groups < 4 ? 1 : 7)
        for (int32_t together = 1; together <= 8; together++)
            for (int32_t sets = 1; sets <= 4; sets++) {
                mo_gradients_t g;
                ck_assert_int_eq(mo_gradients_create(&g, FLOATS, groups * together, sets, together, NULL), MOCO_OK);
                for (int run = 0; run < 12; run++) {
                    group_run(&g, groups, together, sets, &rng);
                    ck_assert_ptr_nonnull(g.total.memory);
                }
                mo_gradients_free(&g);
            }
}
END_TEST

/* One slow leaf after the other, and everything else done: the worst that two in flight can meet;
 * no block is spare. */
START_TEST(test_worst)
{
    static const int32_t wanted[][3] = {/* leaves, in flight, blocks */
                                        {1, 1, 1},   {2, 1, 2},   {8, 1, 4}, {8, 2, 6},   {16, 2, 8},
                                        {64, 2, 12}, {16, 4, 12}, {8, 8, 8}, {16, 8, 16}, {64, 4, 20}};
    int32_t most = 0;
    mo_gradients_t g;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        ck_assert_int_eq(mo_gradient_blocks(wanted[i][0], wanted[i][1], 1), wanted[i][2]);
    ck_assert_int_eq(mo_gradient_blocks(64, 1, 8), 11); /* eight groups, one after the other */
    ck_assert_int_eq(mo_gradients_create(&g, FLOATS, 16, 2, 1, NULL), MOCO_OK);
    for (int32_t slow = 0; slow < 16; slow++) {
        mo_buffer_t held = {0}, block;
        mo_gradients_recycle(&g);
        for (int32_t leaf = 0; leaf < 16; leaf++) {
            ck_assert_int_eq(mo_gradients_take(&g, leaf == slow ? &held : &block), MOCO_OK);
            most = g.blocks - g.free_count > most ? g.blocks - g.free_count : most;
            if (leaf != slow)
                ck_assert_int_eq(mo_gradients_finish(&g, leaf, block), MOCO_OK);
        }
        ck_assert_int_eq(mo_gradients_finish(&g, slow, held), MOCO_OK);
        ck_assert_ptr_nonnull(g.total.memory);
    }
    ck_assert_int_eq(most, g.blocks);
    mo_gradients_free(&g);
}
END_TEST

/* A step that failed half way leaves blocks behind; the next one starts with all of them. */
START_TEST(test_recycle)
{
    mo_gradients_t g;
    mo_buffer_t block;
    ck_assert_int_eq(mo_gradients_create(&g, FLOATS, 8, 2, 1, NULL), MOCO_OK);
    for (int32_t leaf = 0; leaf < 3; leaf++) {
        ck_assert_int_eq(mo_gradients_take(&g, &block), MOCO_OK);
        if (leaf < 2)
            ck_assert_int_eq(mo_gradients_finish(&g, leaf, block), MOCO_OK);
    }
    mo_gradients_recycle(&g);
    ck_assert_int_eq(g.free_count, g.blocks);
    ck_assert_ptr_null(g.total.memory);
    for (int32_t i = 0; i < g.blocks; i++)
        ck_assert_int_eq(mo_gradients_take(&g, &block), MOCO_OK);
    ck_assert_int_eq(mo_gradients_take(&g, &block), MOCO_ERR_ENGINE);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "gradient blocks"));
    mo_gradients_free(&g);
    mo_gradients_free(&g); /* twice is fine */
}
END_TEST

typedef struct worker {
    mo_gradients_t *g;
    int32_t first, step, leaves;
} worker_t;

static void *work(void *argument)
{
    worker_t *w = argument;
    for (int32_t leaf = w->first; leaf < w->leaves; leaf += w->step) {
        mo_buffer_t block;
        if (mo_gradients_take(w->g, &block) != MOCO_OK)
            return w;
        fill(block, leaf);
        ck_assert_int_eq(mo_gradients_finish(w->g, leaf, block), MOCO_OK);
    }
    return NULL;
}

/* Real threads; each takes every fourth leaf, so the pool must hold what they can keep waiting: all
 * leaves. */
START_TEST(test_threads)
{
    static float level[32][FLOATS];
    mo_gradients_t g;
    for (int32_t leaf = 0; leaf < 32; leaf++)
        draw(level[leaf], leaf);
    pairwise(level, 32);
    ck_assert_int_eq(mo_gradients_create(&g, FLOATS, 32, 32, 1, NULL), MOCO_OK);
    for (int run = 0; run < 20; run++) {
        pthread_t threads[4];
        worker_t workers[4];
        mo_gradients_recycle(&g);
        for (int i = 0; i < 4; i++) {
            workers[i] = (worker_t){&g, i, 4, 32};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            void *failed;
            pthread_join(threads[i], &failed);
            ck_assert_ptr_null(failed);
        }
        ck_assert_mem_eq(total_of(&g), level[0], sizeof level[0]);
    }
    mo_gradients_free(&g);
}
END_TEST

START_TEST(test_faults)
{
    moco_status_t status = MOCO_ERR_MEMORY;
    for (int n = 0; status != MOCO_OK; n++) {
        mo_gradients_t g;
        ck_assert_int_lt(n, 50);
        mo_fault_arm(MO_FAULT_ALLOC, n);
        status = mo_gradients_create(&g, FLOATS, 8, 3, 1, NULL);
        mo_fault_arm(MO_FAULT_ALLOC, -1);
        ck_assert(status == MOCO_OK || status == MOCO_ERR_MEMORY);
        mo_gradients_free(&g);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gradients");
    TCase *tc = tcase_create("gradients");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, test_same_bits);
    tcase_add_test(tc, test_groups);
    tcase_add_test(tc, test_worst);
    tcase_add_test(tc, test_recycle);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_faults);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
