/* Long calls stopped from another thread: each ends with MOCO_ERR_CANCELLED in good time, leaves no
 * unfinished file, and its objects go on as if nothing had happened. */
#include "draw.h"
#include "call_options.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

enum { IMAGES = 24, D = 16 };

static scratch_t scratch;
static moco_dataset_t *dataset;
static moco_trainer_t *trainer;
static moco_cancel_t *cancel;

static void set_up(void)
{
    moco_trainer_options_t options;
    scratch = scratch_make();
    draw_tree(in_scratch(&scratch, "images"), IMAGES, 3, 28);
    dataset = dataset_of(in_scratch(&scratch, "images"));
    tiny_options(&options);
    options.epochs = 100000;
    expect_ok(moco_trainer_create(&options, NULL, &trainer));
    expect_ok(moco_cancel_create(&cancel));
}

static void tear_down(void)
{
    moco_trainer_free(trainer);
    moco_dataset_free(dataset);
    moco_cancel_free(cancel);
    scratch_drop(&scratch);
}

/* ---- a thread that asks to stop while the call is at work ---- */

/* Runs are asked once they have made a step: a busy machine may take its time for that. */
static atomic_int steps_made;

static int32_t count_step(void *user, const moco_step_report_t *report)
{
    (void)user;
    atomic_store(&steps_made, (int)report->step);
    return 0;
}

static void *ask_after_a_step(void *unused)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    while (atomic_load(&steps_made) < 3)
        nanosleep(&moment, NULL);
    moco_cancel_request(cancel);
    return unused;
}

static void *ask_later(void *milliseconds)
{
    const struct timespec wait = {.tv_nsec = *(long *)milliseconds * 1000000};
    nanosleep(&wait, NULL);
    moco_cancel_request(cancel);
    return NULL;
}

static pthread_t asking;
static long delay;

static void ask_in(long milliseconds)
{
    delay = milliseconds;
    ck_assert_int_eq(pthread_create(&asking, NULL, ask_later, &delay), 0);
}

static void asked(void)
{
    pthread_join(asking, NULL);
    ck_assert_int_eq(moco_cancel_requested(cancel), 1);
    moco_cancel_reset(cancel);
    ck_assert_int_eq(moco_cancel_requested(cancel), 0);
}

static int files_in(const char *folder)
{
    DIR *open = opendir(folder);
    int count = 0;
    ck_assert_ptr_nonnull(open);
    for (struct dirent *entry; (entry = readdir(open)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(open);
    return count;
}

START_TEST(the_object)
{
    expect_status(MOCO_ERR_ARGUMENT, moco_cancel_create(NULL));
    ck_assert_int_eq(moco_cancel_requested(cancel), 0);
    moco_cancel_reset(cancel);
    moco_cancel_request(cancel);
    moco_cancel_request(cancel);
    ck_assert_int_eq(moco_cancel_requested(cancel), 1);
    moco_cancel_reset(cancel);
    ck_assert_int_eq(moco_cancel_requested(cancel), 0);
    moco_cancel_request(NULL);
    moco_cancel_reset(NULL);
    ck_assert_int_eq(moco_cancel_requested(NULL), 0);
}
END_TEST

/* A run of 100,000 epochs: what was learnt until the request is in its files, and the run goes on
 * from there. */
START_TEST(a_run)
{
    const char *run = in_scratch(&scratch, "run");
    moco_trainer_t *again = NULL;
    atomic_store(&steps_made, 0);
    ck_assert_int_eq(pthread_create(&asking, NULL, ask_after_a_step, NULL), 0);
    expect_status(MOCO_ERR_CANCELLED,
                  moco_trainer_run(trainer, dataset, NULL, run, RUN(.cancel = cancel, .progress = count_step)));
    asked();
    const int64_t steps = moco_trainer_step_number(trainer);
    ck_assert(steps > 0);
    ck_assert_int_eq(files_in(run), 3);
    expect_ok(moco_trainer_load(in_scratch(&scratch, "run/checkpoint.safetensors"), NULL, NULL, &again));
    ck_assert_int_eq(moco_trainer_step_number(again), steps);
    expect_ok(moco_trainer_steps(again, dataset, 2, NULL, NULL));
    expect_ok(moco_trainer_steps(trainer, dataset, 2, RUN(.cancel = cancel), NULL));
    expect_ok(moco_trainer_save(again, in_scratch(&scratch, "a")));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "b")));
    size_t size[2];
    uint8_t *files[2] = {read_file(in_scratch(&scratch, "a"), &size[0]),
                         read_file(in_scratch(&scratch, "b"), &size[1])};
    ck_assert(size[0] == size[1] && memcmp(files[0], files[1], size[0]) == 0);
    free(files[0]);
    free(files[1]);
    moco_trainer_free(again);
}
END_TEST

START_TEST(steps)
{
    ask_in(200);
    expect_status(MOCO_ERR_CANCELLED, moco_trainer_steps(trainer, dataset, 1 << 30, RUN(.cancel = cancel), NULL));
    asked();
    const int64_t done = moco_trainer_step_number(trainer);
    expect_ok(moco_trainer_steps(trainer, dataset, 1, RUN(.cancel = cancel), NULL));
    ck_assert_int_eq(moco_trainer_step_number(trainer), done + 1);
}
END_TEST

START_TEST(a_pushed_batch)
{
    moco_trainer_options_t o;
    expect_ok(moco_trainer_options_get(trainer, &o, sizeof o));
    for (int i = 0; i < o.batch_size; i++) {
        uint8_t *pixels = draw_pixels(20, 18, 3, i);
        moco_image_t image = {
            .struct_size = sizeof image, .planes = {pixels}, .width = 20, .height = 18, .format = MOCO_PIXELS_RGB};
        expect_ok(moco_trainer_push_pixels(trainer, 1, &image));
        free(pixels);
    }
    moco_cancel_request(cancel);
    expect_status(MOCO_ERR_CANCELLED, moco_trainer_step(trainer, RUN(.cancel = cancel), NULL));
    ck_assert_int_eq(moco_trainer_step_number(trainer), 0);
    moco_cancel_reset(cancel);
    expect_ok(moco_trainer_step(trainer, RUN(.cancel = cancel), NULL)); /* the batch still waits */
    ck_assert_int_eq(moco_trainer_step_number(trainer), 1);
    ck_assert_int_eq(moco_trainer_discard(trainer), 0);
}
END_TEST

/* A request that is there before the call: nothing is written, not even begun. */
static int32_t no_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    (void)user, (void)count, (void)indices, (void)rows;
    ck_abort_msg("rows came out of a cancelled call");
    return 1;
}

START_TEST(calls_that_begin_cancelled)
{
    moco_model_t *model = NULL;
    moco_knn_result_t knn = {.struct_size = sizeof knn, .top1 = -7};
    moco_convert_options_t how;
    float row[D], rows[IMAGES * D] = {1};
    int64_t id = -5;
    int32_t top[5] = {-5}, labels[IMAGES] = {0};
    moco_index_t *index = NULL;
    picture_t jpeg = draw_jpeg(28, 28, 3, 1);
    const char *out = in_scratch(&scratch, "out");
    mkdir(out, 0777);
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    expect_ok(moco_trainer_save(trainer, in_scratch(&scratch, "checkpoint")));
    expect_ok(moco_index_create(D, NULL, NULL, &index));
    expect_ok(moco_index_add(index, IMAGES, rows, labels));
    moco_cancel_request(cancel);
    const moco_status_t stopped = MOCO_ERR_CANCELLED;
    expect_status(stopped, moco_model_embed_encoded(model, ONE_FILE(jpeg.bytes, jpeg.size),
                                                    EMBED(.tap = MOCO_TAP_PROJECTION, .cancel = cancel), row));
    expect_status(stopped, moco_model_embed_dataset(model, dataset, EMBED(.cancel = cancel), no_rows, NULL));
    expect_status(stopped, moco_model_embed_to_npy(model, dataset, in_scratch(&scratch, "out/x.npy"),
                                                   EMBED(.cancel = cancel), NULL));
    expect_status(stopped, moco_knn_measure(model, dataset, dataset, KNN(.cancel = cancel), &knn));
    expect_status(stopped, moco_trainer_run(trainer, dataset, NULL, out, RUN(.cancel = cancel)));
    expect_status(stopped, moco_trainer_run(trainer, dataset, dataset, out, RUN(.cancel = cancel)));
    expect_ok(moco_convert_options_init(&how, sizeof how));
    how.cancel = cancel;
    expect_status(stopped, moco_convert(in_scratch(&scratch, "checkpoint"), in_scratch(&scratch, "out/model"), &how,
                                        NULL, 0, NULL));
    moco_search_options_t search = *SEARCH(1);
    moco_classify_options_t classify = *CLASSIFY(1, 0.1, 1);
    search.cancel = classify.cancel = cancel;
    expect_status(stopped, moco_index_search(index, 1, rows, &search, &id, NULL));
    expect_status(stopped, moco_index_classify(index, 1, rows, &classify, top));
    ck_assert_int_eq(files_in(out), 0);
    ck_assert(knn.top1 == -7 && id == -5 && top[0] == -5);
    ck_assert_int_eq(moco_trainer_step_number(trainer), 0);

    moco_cancel_reset(cancel); /* the same objects do their work afterwards */
    expect_ok(moco_index_search(index, 1, rows, &search, &id, NULL));
    ck_assert_int_eq(id, 0);
    expect_ok(moco_knn_measure(model, dataset, dataset, KNN(.cancel = cancel), &knn));
    expect_ok(
        moco_model_embed_to_npy(model, dataset, in_scratch(&scratch, "out/x.npy"), EMBED(.cancel = cancel), NULL));
    ck_assert_int_eq(files_in(out), 4);
    expect_ok(moco_convert(in_scratch(&scratch, "checkpoint"), in_scratch(&scratch, "out/model"), &how, NULL, 0, NULL));
    free(jpeg.bytes);
    moco_index_free(index);
    moco_model_free(model);
}
END_TEST

/* Embedding one image very often. */
START_TEST(embedding)
{
    enum { MANY = 200000 };
    moco_model_t *model = NULL;
    uint8_t pixels[16 * 16 * 3] = {7};
    moco_image_t *images = calloc(MANY, sizeof *images);
    float *rows = calloc(MANY, D * sizeof *rows);
    for (int i = 0; i < MANY; i++)
        images[i] = (moco_image_t){.struct_size = sizeof *images, .planes = {pixels}, .width = 16, .height = 16};
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    ask_in(100);
    expect_status(MOCO_ERR_CANCELLED,
                  moco_model_embed_pixels(model, MANY, images, EMBED(.tap = MOCO_TAP_PROJECTION, .cancel = cancel),
                                          rows));
    asked();
    expect_ok(moco_model_embed_pixels(model, 20, images, EMBED(.tap = MOCO_TAP_PROJECTION, .cancel = cancel), rows));
    free(images);
    free(rows);
    moco_model_free(model);
}
END_TEST

/* One search whose chunks are all large: the store is looked through in pieces. */
START_TEST(searching)
{
    enum { VECTORS = 300000, QUERIES = 4000 };
    moco_index_t *index = NULL;
    float *vectors = malloc(VECTORS * D * sizeof *vectors);
    int64_t *ids = malloc(QUERIES * 10 * sizeof *ids);
    uint32_t state = 1;
    for (int i = 0; i < VECTORS * D; i++) {
        state = state * 1664525u + 1013904223u;
        vectors[i] = (float)(state >> 8) / 16777216.f - 0.5f;
    }
    expect_ok(moco_index_create(
        D, &(moco_index_options_t){.struct_size = sizeof(moco_index_options_t), .capacity = VECTORS}, NULL, &index));
    expect_ok(moco_index_add(index, VECTORS, vectors, NULL));
    moco_search_options_t search = *SEARCH(10);
    search.cancel = cancel;
    ask_in(30);
    expect_status(MOCO_ERR_CANCELLED, moco_index_search(index, QUERIES, vectors, &search, ids, NULL));
    asked();
    expect_ok(moco_index_search(index, 2, vectors, &search, ids, NULL));
    ck_assert(ids[0] == 0 && ids[10] == 1);
    free(ids);
    free(vectors);
    moco_index_free(index);
}
END_TEST

/* Ctrl-C as a host does it: the handler asks, the call ends. */
static void on_signal(int number)
{
    (void)number;
    moco_cancel_request(cancel);
}

START_TEST(from_a_signal_handler)
{
    struct sigaction action = {.sa_handler = on_signal}, before;
    struct itimerspec soon = {.it_value = {.tv_nsec = 200000000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;
    sigaction(SIGUSR1, &action, &before);
    expect_ok(moco_trainer_steps(trainer, dataset, 1, RUN(.cancel = cancel), NULL));
    ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    timer_settime(timer, 0, &soon, NULL);
    expect_status(MOCO_ERR_CANCELLED, moco_trainer_steps(trainer, dataset, 1 << 30, RUN(.cancel = cancel), NULL));
    timer_delete(timer);
    sigaction(SIGUSR1, &before, NULL);
    ck_assert(moco_trainer_step_number(trainer) > 0);
}
END_TEST

/* ---- by the callback of a data set ---- */

typedef struct store {
    picture_t jpeg;
    int stops;
} store_t;

static int32_t fetch(void *user, int64_t index, const uint8_t **data, uint64_t *size)
{
    const store_t *store = user;
    if (index == 5 && store->stops)
        return MOCO_ERR_CANCELLED;
    *data = store->jpeg.bytes;
    *size = store->jpeg.size;
    return 0;
}

/* A host that cannot deliver just now stops the call; it says nothing about the image. */
START_TEST(by_the_host_of_the_images)
{
    moco_dataset_t *mine = NULL;
    moco_model_t *model = NULL;
    uint8_t pixels[16 * 16 * 3];
    store_t store = {.jpeg = draw_jpeg(28, 28, 3, 1), .stops = 1};
    expect_ok(moco_dataset_create(IMAGES, fetch, &store, NULL, NULL, &mine));
    expect_ok(moco_trainer_snapshot(trainer, NULL, NULL, &model));
    expect_status(MOCO_ERR_CANCELLED, moco_dataset_pixels(mine, 5, 16, 16, pixels));
    expect_status(MOCO_ERR_CANCELLED, moco_trainer_steps(trainer, mine, 10, NULL, NULL));
    expect_status(MOCO_ERR_CANCELLED, moco_model_embed_dataset(model, mine, NULL, no_rows, NULL));
    ck_assert_int_eq(moco_dataset_broken_count(mine), 0);
    store.stops = 0;
    expect_ok(moco_dataset_pixels(mine, 5, 16, 16, pixels));
    expect_ok(moco_trainer_steps(trainer, mine, 10, NULL, NULL));
    moco_model_free(model);
    moco_dataset_free(mine);
    free(store.jpeg.bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cancel");
    TCase *tcase = tcase_create("cancel");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, the_object);
    tcase_add_test(tcase, a_run);
    tcase_add_test(tcase, steps);
    tcase_add_test(tcase, a_pushed_batch);
    tcase_add_test(tcase, calls_that_begin_cancelled);
    tcase_add_test(tcase, embedding);
    tcase_add_test(tcase, searching);
    tcase_add_test(tcase, from_a_signal_handler);
    tcase_add_test(tcase, by_the_host_of_the_images);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
