/* Two steps of every recipe on checked memory have the bits of the host's own: nothing is touched
 * outside of a map and of the engine's runs, and nothing depends on a map being more than a
 * copy. */
#include <check.h>
#include <stdlib.h>

#include "checked_memory.h"
#include "fault/trainer_fixtures.h"
#include "nets/encoder.h"
#include "train/options.h"

enum { BATCH = 8 };

/* The recipe's method, views and optimizer on as little as it runs on. */
static moco_trainer_options_t small_options(int32_t recipe)
{
    moco_trainer_options_t o;
    OK(moco_trainer_options_init(&o, sizeof o, recipe, MOCO_ARCH_RECIPE));
    o.image_size = TINY_SIZE;
    o.width = mo_is_vit(o.arch) ? 0.125 : 0.0625;
    o.patch_size = mo_is_vit(o.arch) ? 8 : 0;
    o.vit_depth = mo_is_vit(o.arch) ? 2 : 0;
    o.vit_heads = mo_is_vit(o.arch) ? 4 : 0;
    o.batch_size = BATCH;
    o.bn_groups = o.bn_groups > 2 ? 2 : o.bn_groups;
    o.shard = 2; /* so that shards of a group meet */
    o.queue_length = 16;
    o.dimension = 16;
    o.head_width = o.head_width > 0 ? 32 : 0;
    return o;
}

static state_t after_two_steps(int32_t recipe, int32_t lanes, const char *guard)
{
    const moco_trainer_options_t o = small_options(recipe);
    moco_device_t *device = tiny_device(lanes);
    moco_trainer_t *t = NULL;
    float *views = tiny_views(BATCH, 1);
    checked_memory(guard);
    OK(moco_trainer_create(&o, device, &t));
    for (int i = 0; i < 2; i++) {
        OK(tiny_push(t, views));
        OK(moco_trainer_step(t, NULL, NULL));
    }
    const state_t s = state_of(t);
    moco_trainer_free(t);
    moco_device_free(device);
    free(views);
    return s;
}

START_TEST(test_recipe)
{
    static const char *const kinds[] = {"pages", "copies"};
    state_t plain = after_two_steps(_i, 1, NULL);
    for (int32_t k = 0; k < 2; k++)
        for (int32_t lanes = 1; lanes <= 2; lanes++) {
            state_t s = after_two_steps(_i, lanes, kinds[k]);
            ck_assert_msg(state_equal(&s, &plain), "recipe %d on %s and %d lanes has other bits", _i, kinds[k], lanes);
            state_free(&s);
        }
    state_free(&plain);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checked");
    TCase *tc = tcase_create("checked");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_recipe, 0, mo_recipe_count());
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
