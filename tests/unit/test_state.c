/* Lists of blocks, and states: made, saved and read back with no device near. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer_fixtures.h"
#include "train/options.h"
#include "train/trainer.h"
#include "util/alloc.h"
#include "util/fault.h"

#define OK(call) ck_assert_msg((call) == MOCO_OK, "%s: %s", #call, moco_last_message())

START_TEST(test_blocks)
{
    mo_blocks_t blocks = {0};
    float *a = NULL;
    void *b = NULL;
    mo_blocks_add(&blocks, "weights", 400, &a);
    mo_blocks_count(&blocks, "packed", 1000);
    mo_blocks_add(&blocks, "weights", 24, &b);
    ck_assert_uint_eq(mo_blocks_bytes(&blocks, "weights"), 424);
    ck_assert_uint_eq(mo_blocks_bytes(&blocks, "packed"), 1000);
    ck_assert_uint_eq(mo_blocks_bytes(&blocks, "queue"), 0);
    ck_assert_uint_eq(mo_blocks_bytes(&blocks, NULL), 1424);
    mo_fault_arm(MO_FAULT_ALLOC, 1); /* the second block is refused: the first goes back */
    ck_assert_int_eq(mo_blocks_take(&blocks, NULL), MOCO_ERR_MEMORY);
    mo_fault_arm(MO_FAULT_ALLOC, -1);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_null(b);
    OK(mo_blocks_take(&(mo_blocks_t){.list = {{.name = "weights", .bytes = 24, .pointer = &b}}, .count = 1}, NULL));
    ck_assert(a[0] == 0 && a[99] == 0);
    mo_blocks_free(&blocks);
    ck_assert(a == NULL && b == NULL && blocks.count == 0);
    for (int i = 0; i <= MO_BLOCKS; i++)
        mo_blocks_count(&blocks, "packed", 1);
    ck_assert_int_eq(mo_blocks_take(&blocks, NULL), MOCO_ERR_ENGINE);
    mo_blocks_free(&blocks);
}
END_TEST

static moco_trainer_options_t small_options(int32_t recipe)
{
    moco_trainer_options_t o;
    OK(mo_options_defaults(recipe, &o));
    o.arch = MOCO_ARCH_RESNET18;
    o.width = 0.0625;
    o.image_size = 32;
    o.batch_size = 8;
    o.bn_groups = 1;
    o.queue_length = 32;
    o.dimension = 16;
    o.head_width = 32;
    o.seed = 11;
    return o;
}

/* A state without a device is a whole checkpoint; a trainer that reads it has its numbers and not
 * random ones. */
START_TEST(test_state)
{
    static const int32_t recipes[] = {MOCO_RECIPE_V2, MOCO_RECIPE_V3, MOCO_RECIPE_SIMCLR};
    const moco_trainer_options_t o = small_options(recipes[_i]);
    moco_trainer_options_t read;
    char path[] = "/tmp/moco-state-XXXXXX";
    mo_state_t s = {0};
    moco_trainer_t *t = NULL;
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    close(file);
    OK(mo_state_build(&s, &o));
    ck_assert_ptr_null(s.query.params.memory);
    OK(mo_state_take(&s, NULL));
    OK(mo_state_start(&s));
    for (int64_t i = 0; i < s.query.net.bn_count; i++)
        s.query.running[s.query.net.bns[i].offset] = 0.25f;
    s.step = 7;
    OK(mo_state_save(&s, NULL, path));
    OK(mo_checkpoint_options(path, &read));
    ck_assert_mem_eq(&read, &o, sizeof o);
    OK(moco_trainer_load(path, NULL, NULL, &t));
    ck_assert_int_eq(t->state.step, 7);
    float *params = floats_of(s.query.params);
    assert_buffer(t->state.query.params, params, s.query.net.params);
    free(params);
    ck_assert_mem_eq(t->state.query.running, s.query.running, (size_t)s.query.net.stats * sizeof(float));
    if (s.queue.rows.memory != NULL) {
        float *rows = floats_of(s.queue.rows);
        assert_buffer(t->state.queue.rows, rows, 32 * 16);
        free(rows);
    }
    moco_trainer_free(t);
    mo_state_free(&s);
    remove(path);
    ck_assert_int_eq(mo_checkpoint_options(path, &read), MOCO_ERR_IO);
}
END_TEST

/* The plan is the sum of what is then taken, and planning takes nothing. */
START_TEST(test_plan)
{
    static const int32_t recipes[] = {MOCO_RECIPE_V2, MOCO_RECIPE_V3, MOCO_RECIPE_SIMCLR};
    const moco_trainer_options_t o = small_options(recipes[_i]);
    moco_trainer_t *t = NULL;
    OK(mo_trainer_plan(&o, NULL, &t));
    const uint64_t planned = mo_trainer_bytes(t, NULL);
    ck_assert_uint_gt(planned, 0);
    const mo_blocks_t *lists[] = {&t->state.blocks, &t->blocks};
    for (int i = 0; i < 2; i++)
        for (int32_t k = 0; k < lists[i]->count; k++)
            ck_assert(lists[i]->list[k].pointer == NULL || *lists[i]->list[k].pointer == NULL);
    OK(mo_trainer_take(t));
    ck_assert_uint_eq(mo_trainer_bytes(t, NULL), planned);
    uint64_t gradients = 0;
    for (int i = 0; i < 2; i++)
        gradients += (uint64_t)t->gradients[i].blocks * (uint64_t)t->gradients[i].floats * sizeof(float);
    ck_assert_uint_eq(mo_trainer_bytes(t, "gradients"), gradients);
    mo_trainer_delete(t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("state");
    TCase *tc = tcase_create("state");
    tcase_add_test(tc, test_blocks);
    tcase_add_loop_test(tc, test_state, 0, 3);
    tcase_add_loop_test(tc, test_plan, 0, 3);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
