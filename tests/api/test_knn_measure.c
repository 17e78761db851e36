/* moco_knn_measure: its numbers are those of embedding both sets, filling an index and classifying
 * by it, one call after the other; classes are matched by name, broken images left out, images
 * without a class are misses. */
#include "labelled.h"
#include "call_options.h"

enum { BANK = 30, TESTED = 14, MOST = 40 };

static world_t world;
static moco_dataset_t *bank, *test;

static void set_up(void)
{
    world = world_of(1, BANK, 3, 20);
    break_picture(in_scratch(&world.scratch, "train"), 4, CLASSES);
    for (int i = 0; i < TESTED; i++) { /* of the bank's second and third class, and two without any */
        char name[64];
        picture_t jpeg = draw_jpeg(20, 20, 3, 100 + i);
        snprintf(name, sizeof name, i < 2 ? "%s%d.jpg" : "c%s/%d.jpg", i < 2 ? "" : i % 2 ? "1" : "2", i);
        write_file(in_scratch(&world.scratch, "asked"), name, jpeg.bytes, jpeg.size);
        free(jpeg.bytes);
    }
    bank = dataset_of(in_scratch(&world.scratch, "train"));
    test = dataset_of(in_scratch(&world.scratch, "asked"));
}

static void tear_down(void)
{
    moco_dataset_free(bank);
    moco_dataset_free(test);
    world_close(&world);
}

/* What a data set's images become: rows and numbers of classes of the bank. */
typedef struct set {
    moco_dataset_t *dataset;
    int32_t width;
    int64_t count;
    float rows[MOST * FEATURES];
    int32_t labels[MOST];
} set_t;

static int32_t bank_class(const moco_dataset_t *dataset, int64_t image)
{
    const char *name = moco_dataset_class_name(dataset, moco_dataset_label(dataset, image));
    for (int32_t c = 0; name != NULL && c < moco_dataset_classes(bank); c++)
        if (strcmp(moco_dataset_class_name(bank, c), name) == 0)
            return c;
    return -1;
}

static int32_t take_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    set_t *set = user;
    ck_assert_int_le(set->count + count, MOST);
    memcpy(set->rows + set->count * set->width, rows, (size_t)(count * set->width) * sizeof *rows);
    for (int64_t i = 0; i < count; i++)
        set->labels[set->count++] = bank_class(set->dataset, indices[i]);
    return 0;
}

static void embed(moco_dataset_t *dataset, int32_t tap, set_t *set)
{
    *set = (set_t){.dataset = dataset, .width = moco_model_dimension(world.model, tap)};
    expect_ok(moco_model_embed_dataset(world.model, dataset, EMBED(.tap = tap), take_rows, set));
}

START_TEST(numbers)
{
    static set_t filled, asked;
    static const int64_t ks[] = {1, 5, 200};
    const int32_t tap = _i == 0 ? MOCO_TAP_PROJECTION : MOCO_TAP_BACKBONE;
    moco_index_t *index = NULL;
    moco_knn_options_t options;
    expect_ok(moco_knn_options_init(&options, sizeof options));
    options.temperature = 0.2;
    options.tap = _i == 0 ? MOCO_KNN_TAP_AUTO : MOCO_KNN_TAP_BACKBONE;
    embed(bank, tap, &filled);
    embed(test, tap, &asked);
    ck_assert(filled.count == BANK - 1 && asked.count == TESTED);
    expect_ok(moco_index_create(filled.width, NULL, NULL, &index));
    expect_ok(moco_index_add(index, filled.count, filled.rows, filled.labels));
    for (int n = 0; n < 3; n++) {
        moco_knn_result_t result = {.struct_size = sizeof result};
        int32_t top[MOST * CLASSES];
        int first = 0, any = 0;
        expect_ok(moco_index_classify(index, asked.count, asked.rows, CLASSIFY(ks[n], 0.2, CLASSES), top));
        for (int64_t i = 0; i < asked.count; i++)
            for (int j = 0; j < CLASSES; j++) {
                first += j == 0 && top[i * CLASSES] == asked.labels[i];
                any += top[i * CLASSES + j] == asked.labels[i];
            }
        ck_assert_int_eq(any, TESTED - 2); /* there are fewer than five classes */
        options.k = ks[n];
        expect_ok(moco_knn_measure(world.model, bank, test, &options, &result));
        ck_assert_double_eq(result.top1, 100.0 * first / TESTED);
        ck_assert_double_eq(result.top5, 100.0 * any / TESTED);
        ck_assert(result.bank == BANK - 1 && result.queries == TESTED);
        ck_assert_int_eq(result.k, ks[n] < BANK - 1 ? ks[n] : BANK - 1);
        ck_assert_double_eq(result.chance, 100.0 / CLASSES);
    }
    moco_index_free(index);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("knn measure");
    TCase *cases = tcase_create("knn measure");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, numbers, 0, 2);
    tcase_set_timeout(cases, 120);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
