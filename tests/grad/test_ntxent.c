/* NT-Xent by its definition: losses and ranks of all rows against double precision, the gradient
 * against finite differences of the batch's loss, for a batch in one piece and cut into shards that
 * meet. */
#include <math.h>
#include <string.h>

#include "contrast/contrast.h"
#include "engine_fixtures.h"

enum { ROWS = 8, WIDTH = 12, QUEUE = 9 }; /* QUEUE rows hold the ROWS rows and their logarithms */

static int32_t rows_themselves(mo_net_t *net, int32_t input)
{
    (void)net;
    return input;
}

static double likeness(const double *z, int n, int a)
{
    double dot = 0;
    for (int i = 0; i < WIDTH; i++)
        dot += z[n * WIDTH + i] * z[a * WIDTH + i];
    return dot / RIG_TEMPERATURE;
}

/* Of row n: how unlikely its partner is among all others, and how many others come before it. */
static double row_loss(const double *z, int n, int *before)
{
    const int partner = (n + ROWS / 2) % ROWS;
    const double own = likeness(z, n, partner);
    double sum = 0;
    *before = 0;
    for (int a = 0; a < ROWS; a++)
        if (a != n) {
            sum += exp(likeness(z, n, a));
            *before += likeness(z, n, a) > own;
        }
    return log(sum) - own;
}

static double batch_loss(const double *z)
{
    double sum = 0;
    int before;
    for (int n = 0; n < ROWS; n++)
        sum += row_loss(z, n, &before);
    return sum / ROWS;
}

static double slope(double *z, int at)
{
    const double h = 1e-6, middle = z[at];
    z[at] = middle + h;
    const double above = batch_loss(z);
    z[at] = middle - h;
    const double below = batch_loss(z);
    z[at] = middle;
    return (above - below) / (2 * h);
}

static void check(const rig_t *r)
{
    double z[ROWS * WIDTH];
    int before, ranks = 0;
    for (int i = 0; i < ROWS * WIDTH; i++)
        z[i] = r->images[i];
    for (int n = 0; n < ROWS; n++) {
        const float *result = r->results + n * MO_LOSS_WIDTH;
        const double wanted = row_loss(z, n, &before);
        ck_assert_double_eq_tol(result[MO_LOSS_VALUE], wanted, 2e-6 * (1 + fabs(wanted)));
        ck_assert_int_eq((int)result[MO_LOSS_RANK], before);
        ranks += before;
    }
    ck_assert_int_gt(ranks, 0); /* otherwise ranks would not be tested */
    for (int i = 0; i < ROWS * WIDTH; i++)
        ck_assert_double_eq_tol(r->d_images[i], slope(z, i), 3e-6);
}

START_TEST(test_definition)
{
    static const int32_t shards[] = {1, 2, 4, 8};
    const rig_shape_t shape = {.batch = ROWS,
                               .groups = 1,
                               .shards_per_group = shards[_i % 4],
                               .sets = 1,
                               .lanes = 2,
                               .nt_xent = 1,
                               .apart = _i / 4};
    rig_t r;
    rig_open(&r, shape, (mo_shape_t){WIDTH, 1, 1}, QUEUE, rows_themselves);
    rig_units(r.images, ROWS, WIDTH, 21);
    rig_run(&r, 0xff);
    check(&r);
    rig_close(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ntxent");
    TCase *tc = tcase_create("ntxent");
    tcase_add_loop_test(tc, test_definition, 0, 8);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
