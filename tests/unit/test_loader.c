/* data/loader: the same batches for any number of threads and after any seek, broken images
 * replaced in order and limited, failures brought to the caller, a clean end at any time. */
#include "data_fixtures.h"

#include <pthread.h>
#include <signal.h>

#include "data/data.h"
#include "train/options.h"
#include "data/decode.h"
#include "util/fault.h"
#include "util/rng.h"
#include "util/status.h"

#include <moco/trainer.h>

enum { IMAGES = 40, BATCH = 8, SIDE = 16, ROW = SIDE * SIDE * 3 };

static fixture_t jpegs[IMAGES];
static char is_broken[IMAGES];
static pthread_t caller;
static int wrong_thread;
static moco_dataset_t *dataset;
static mo_loader_t *loader;

static int32_t deliver(void *user, int64_t index, const uint8_t **data, uint64_t *size)
{
    (void)user;
    wrong_thread |= !pthread_equal(pthread_self(), caller);
    if (is_broken[index] == 2)
        return 1;
    *data = jpegs[index].bytes;
    *size = is_broken[index] ? 30 : jpegs[index].size;
    return 0;
}

static void make_set(void)
{
    moco_dataset_free(dataset);
    ck_assert_int_eq(moco_dataset_create(IMAGES, deliver, NULL, NULL, NULL, &dataset), MOCO_OK);
}

/* The same images as files: workers then read for themselves. */
static void make_folder_set(char folder[64])
{
    fixture_folder(folder);
    for (int i = 0; i < IMAGES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%02d.jpg", i);
        fixture_write(folder, name, jpegs[i].bytes, is_broken[i] ? 30 : jpegs[i].size);
    }
    moco_dataset_free(dataset);
    ck_assert_int_eq(moco_dataset_open(folder, NULL, &dataset), MOCO_OK);
}

static void setup(void)
{
    caller = pthread_self();
    wrong_thread = 0;
    memset(is_broken, 0, sizeof is_broken);
    for (int i = 0; i < IMAGES; i++)
        jpegs[i] = fixture_jpeg(12 + i, 40 - i / 2, i % 7 == 3 ? 1 : 3, 0, (unsigned)i);
    dataset = NULL;
    loader = NULL;
    make_set();
}

static void teardown(void)
{
    ck_assert_int_eq(wrong_thread, 0);
    mo_loader_free(loader);
    moco_dataset_free(dataset);
    for (int i = 0; i < IMAGES; i++)
        free(jpegs[i].bytes);
}

static moco_trainer_options_t options_of(int recipe)
{
    moco_trainer_options_t options;
    ck_assert_int_eq(moco_trainer_options_init(&options, sizeof options, recipe, MOCO_ARCH_RECIPE), MOCO_OK);
    options.seed = 77;
    options.image_size = SIDE;
    return options;
}

static mo_loader_spec_t recipe_spec(int recipe, int threads)
{
    const moco_trainer_options_t options = options_of(recipe);
    mo_loader_spec_t spec = {
        .train = 1, .seed = options.seed, .batch = BATCH, .threads = threads, .depth = 2, .max_broken = -1};
    mo_options_views(&options, &spec.views);
    return spec;
}

static mo_loader_spec_t train_spec(int threads)
{
    return recipe_spec(MOCO_RECIPE_V2, threads);
}

static mo_loader_spec_t eval_spec(int threads)
{
    return (
        mo_loader_spec_t){.resize = 18, .size = SIDE, .batch = BATCH, .threads = threads, .depth = 3, .max_broken = -1};
}

static void create(mo_loader_spec_t spec)
{
    mo_loader_free(loader);
    loader = NULL;
    ck_assert_int_eq(mo_loader_create(&spec, dataset, &loader), MOCO_OK);
}

/* Everything that a run of batches says, as one number. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t hash_batch(const mo_batch_t *batch, int views)
{
    uint64_t hash = mix(1, &batch->count, sizeof batch->count);
    hash = mix(hash, &batch->epoch, sizeof batch->epoch);
    hash = mix(hash, &batch->position, sizeof batch->position);
    hash = mix(hash, batch->index, (size_t)batch->count * sizeof *batch->index);
    for (int view = 0; view < views; view++)
        for (int64_t i = 0; i < batch->count; i++)
            hash = mix(hash, batch->rows[view][i], ROW);
    return hash;
}

/* Two epochs; gives the hash of each batch and where it ended. */
static int two_epochs(uint64_t *hashes, int64_t *positions)
{
    int batches = 0;
    for (int epoch = 0; epoch < 2; epoch++) {
        const mo_batch_t *batch;
        ck_assert_int_eq(mo_loader_seek(loader, epoch, 0), MOCO_OK);
        moco_status_t status;
        while ((status = mo_loader_next(loader, &batch)) == MOCO_OK) {
            ck_assert_int_eq(batch->epoch, epoch);
            hashes[batches] = hash_batch(batch, 2);
            positions[batches++] = batch->position;
            mo_loader_return(loader, batch);
        }
        ck_assert_int_eq(status, MOCO_ERR_NO_DATA);
        ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_ERR_NO_DATA); /* and stays so */
    }
    return batches;
}

static void break_some(void)
{
    is_broken[0] = is_broken[5] = is_broken[6] = is_broken[31] = 1;
    is_broken[17] = is_broken[18] = 2;
}

START_TEST(threads_of_large_machines)
{
    ck_assert_int_eq(mo_loader_threads(0, 2), 2);
    ck_assert_int_eq(mo_loader_threads(0, 1024), 256); /* nobody asked for more than a loader takes */
    ck_assert_int_eq(mo_loader_threads(3, 1024), 3);
    ck_assert_int_eq(mo_loader_threads(300, 2), 300); /* somebody did, and is refused by name */
}
END_TEST

START_TEST(same_batches_for_any_threads)
{
    uint64_t first[16], now[16];
    int64_t positions[16], first_positions[16];
    char folder[64];
    break_some();
    is_broken[17] = is_broken[18] = 1; /* broken in a file too */
    make_set();
    create(train_spec(1));
    const int batches = two_epochs(first, first_positions);
    ck_assert_int_eq(batches, 2 * ((IMAGES - 6) / BATCH));
    ck_assert(first[0] != first[4]); /* epochs differ */
    static const int threads[] = {1, 2, 4, 9};
    make_folder_set(folder);
    for (int t = 0; t < 8; t++) {
        if (t == 4) {
            make_set();
            fixture_remove(folder);
        }
        create(train_spec(threads[t % 4]));
        ck_assert_int_eq(two_epochs(now, positions), batches);
        ck_assert_mem_eq(first, now, (size_t)batches * sizeof first[0]);
        ck_assert_mem_eq(first_positions, positions, (size_t)batches * sizeof positions[0]);
    }
}
END_TEST

/* What a trainer learns from is what moco_dataset_views shows, whatever the pipeline. */
START_TEST(rows_are_the_views_in_order)
{
    const moco_trainer_options_t options = options_of(_i);
    uint8_t want[2][ROW];
    int32_t order[IMAGES];
    const mo_batch_t *batch;
    int64_t position = 0;
    break_some();
    make_set();
    create(recipe_spec(_i, 2));
    ck_assert_int_eq(mo_rng_permutation(77, MO_STREAM_ORDER, 5, IMAGES, order), MOCO_OK);
    ck_assert_int_eq(mo_loader_seek(loader, 5, 0), MOCO_OK);
    for (int b = 0; b < 4; b++) {
        ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
        ck_assert_int_eq(batch->count, BATCH);
        for (int i = 0; i < BATCH; i++, position++) {
            while (is_broken[order[position]])
                position++;
            ck_assert_int_eq(batch->index[i], order[position]);
            ck_assert_int_eq(moco_dataset_views(dataset, &options, 5, order[position], want[0]), MOCO_OK);
            for (int view = 0; view < 2; view++)
                ck_assert_mem_eq(batch->rows[view][i], want[view], ROW);
        }
        ck_assert_int_eq(batch->position, position);
        mo_loader_return(loader, batch);
    }
}
END_TEST

START_TEST(seek_resumes)
{
    uint64_t hashes[16];
    int64_t positions[16];
    const mo_batch_t *batch;
    break_some();
    make_set();
    create(train_spec(3));
    const int batches = two_epochs(hashes, positions);
    for (int from = 0; from < batches; from++) {
        if (from % 3 == 0) { /* a new process: broken images are not known yet */
            make_set();
            create(train_spec(1 + from % 4));
        }
        const int epoch = from / (batches / 2), first = epoch * (batches / 2);
        ck_assert_int_eq(mo_loader_seek(loader, epoch, from == first ? 0 : positions[from - 1]), MOCO_OK);
        for (int b = from; b < first + batches / 2; b++) {
            ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
            ck_assert_uint_eq(hash_batch(batch, 2), hashes[b]);
            mo_loader_return(loader, batch);
            if (b == from + 1) /* leave in the middle */
                break;
        }
    }
}
END_TEST

/* Rows of a batch in hand outlive a seek, however far the workers then read ahead. */
START_TEST(seek_leaves_a_batch_alone)
{
    char folder[64];
    const mo_batch_t *batch, *next;
    make_folder_set(folder);
    create(train_spec(3));
    ck_assert_int_eq(mo_loader_seek(loader, 0, 0), MOCO_OK);
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
    const uint64_t held = hash_batch(batch, 2);
    ck_assert_int_eq(mo_loader_seek(loader, 1, 0), MOCO_OK);
    usleep(50000); /* workers fill all the rows they may have */
    ck_assert_int_eq(mo_loader_next(loader, &next), MOCO_ERR_STATE);
    ck_assert_uint_eq(hash_batch(batch, 2), held);
    mo_loader_return(loader, batch);
    for (int b = 0; b < IMAGES / BATCH; b++) {
        ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
        mo_loader_return(loader, batch);
    }
    fixture_remove(folder);
}
END_TEST

START_TEST(eval_in_listing_order)
{
    mo_view_work_t work = {0};
    mo_pixels_t pixels = {0};
    uint8_t want[ROW];
    const mo_batch_t *batch;
    break_some();
    is_broken[IMAGES - 1] = 1; /* the last position is used up too */
    make_set();
    create(eval_spec(_i));
    ck_assert_int_eq(mo_loader_seek(loader, 0, 0), MOCO_OK);
    int64_t index = 0, seen = 0;
    static const int64_t counts[] = {8, 8, 8, 8, 1};
    for (int b = 0; b < 5; b++) {
        ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
        ck_assert_int_eq(batch->count, counts[b]);
        for (int64_t i = 0; i < batch->count; i++, index++, seen++) {
            while (is_broken[index])
                index++;
            ck_assert_int_eq(batch->index[i], index);
            ck_assert_int_eq(mo_dataset_decode(dataset, index, &pixels), MOCO_OK);
            ck_assert_int_eq(mo_view_eval(&work, &pixels, 18, SIDE, want), MOCO_OK);
            ck_assert_mem_eq(batch->rows[0][i], want, ROW);
        }
        ck_assert_int_eq(batch->position, b == 4 ? IMAGES : index);
        mo_loader_return(loader, batch);
    }
    ck_assert_int_eq(seen, IMAGES - 7);
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_ERR_NO_DATA);
    ck_assert_int_eq(mo_dataset_broken(dataset), 7);
    mo_view_work_free(&work);
    mo_pixels_free(&pixels);
}
END_TEST

/* Images that were ready and fill no batch are given up with their epoch, and their rows are there
 * for the next ones: a loader that lost one of them with each epoch would soon have none, and wait
 * for ever. */
START_TEST(rows_come_back_after_each_epoch)
{
    const mo_batch_t *batch;
    mo_loader_spec_t spec = train_spec(2);
    spec.batch = 16; /* 40 images: two batches, and half of one */
    create(spec);
    for (int epoch = 0; epoch < 60; epoch++) {
        ck_assert_int_eq(mo_loader_seek(loader, epoch, 16), MOCO_OK);
        ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
        mo_loader_return(loader, batch);
        ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_ERR_NO_DATA);
    }
}
END_TEST

START_TEST(fewer_than_a_batch)
{
    const mo_batch_t *batch;
    memset(is_broken, 1, sizeof is_broken);
    for (int i = 0; i < BATCH - 1; i++)
        is_broken[3 * i] = 0;
    make_set();
    create(train_spec(2));
    ck_assert_int_eq(mo_loader_seek(loader, 0, 0), MOCO_OK);
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_ERR_NO_DATA);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "7 good images"));
    is_broken[1] = 0; /* one more would do */
    make_set();
    create(train_spec(2));
    ck_assert_int_eq(mo_loader_seek(loader, 0, 0), MOCO_OK);
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
    mo_loader_return(loader, batch);
    ck_assert_int_eq(mo_loader_seek(loader, 0, IMAGES), MOCO_OK);
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_ERR_NO_DATA);
}
END_TEST

/* The limit falls at the same batch for any number of threads: what is read ahead does not
 * count. */
START_TEST(limit_of_broken_images)
{
    int when[3];
    for (int t = 0; t < 3; t++) {
        mo_loader_spec_t spec = train_spec(1 + 3 * t);
        spec.max_broken = 4;
        const mo_batch_t *batch;
        moco_status_t status = MOCO_OK;
        break_some();
        make_set();
        create(spec);
        when[t] = 0;
        for (int epoch = 0; epoch < 3 && status != MOCO_ERR_BROKEN_DATA; epoch++) {
            ck_assert_int_eq(mo_loader_seek(loader, epoch, 0), MOCO_OK);
            while ((status = mo_loader_next(loader, &batch)) == MOCO_OK) {
                mo_loader_return(loader, batch);
                when[t]++;
            }
        }
        ck_assert_int_eq(status, MOCO_ERR_BROKEN_DATA);
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "5 of 40 images are broken, the limit is 4: '"));
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "truncated"));
        ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_ERR_BROKEN_DATA);
    }
    ck_assert_int_eq(when[0], when[1]);
    ck_assert_int_eq(when[0], when[2]);
    /* exactly at the limit is fine, over any number of epochs */
    mo_loader_spec_t spec = train_spec(2);
    spec.max_broken = 6;
    uint64_t hashes[16];
    int64_t positions[16];
    make_set();
    create(spec);
    ck_assert_int_eq(two_epochs(hashes, positions), 8);
}
END_TEST

START_TEST(no_broken_image_allowed)
{
    mo_loader_spec_t spec = eval_spec(2);
    const mo_batch_t *batch;
    spec.max_broken = 0;
    is_broken[20] = 1;
    make_set();
    create(spec);
    ck_assert_int_eq(mo_loader_seek(loader, 0, 0), MOCO_OK);
    for (int b = 0; b < 2; b++) {
        ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
        mo_loader_return(loader, batch);
    }
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_ERR_BROKEN_DATA);
    ck_assert_ptr_nonnull(strstr(moco_last_message(), "'20' (truncated"));
}
END_TEST

START_TEST(ends_at_any_time)
{
    for (int turn = 0; turn < 30; turn++) {
        const mo_batch_t *batch;
        create(train_spec(1 + turn % 5));
        if (turn % 6 == 0)
            continue;
        ck_assert_int_eq(mo_loader_seek(loader, turn, turn), MOCO_OK);
        if (turn % 6 == 1)
            ck_assert_int_eq(mo_loader_seek(loader, turn + 1, 0), MOCO_OK);
        if (turn % 6 > 2)
            ck_assert_int_eq(mo_loader_next(loader, &batch), turn + BATCH <= IMAGES ? MOCO_OK : MOCO_ERR_NO_DATA);
        if (turn % 6 > 4 && turn + BATCH <= IMAGES)
            mo_loader_return(loader, batch);
    }
}
END_TEST

static volatile sig_atomic_t elsewhere;

static void on_signal(int number)
{
    (void)number;
    if (!pthread_equal(pthread_self(), caller))
        elsewhere = 1;
}

START_TEST(signals_stay_with_the_host)
{
    sigset_t block, before, now;
    struct sigaction action = {.sa_handler = on_signal}, old;
    ck_assert_int_eq(sigaction(SIGUSR1, &action, &old), 0);
    create(train_spec(4));
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    ck_assert(!sigismember(&now, SIGUSR1)); /* the caller's mask is as before */
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &block, &before);
    kill(getpid(), SIGUSR1); /* goes to whichever thread takes it */
    usleep(20000);
    ck_assert_int_eq(elsewhere, 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGUSR1, &old, NULL);
}
END_TEST

/* One view from streams of its own, images without a class passed over, the rest of an epoch as a
 * smaller batch. */
START_TEST(labelled_images_in_one_view)
{
    int32_t labels[IMAGES], order[IMAGES];
    mo_pixels_t pixels = {0};
    mo_view_work_t work = {0};
    uint8_t want[ROW];
    is_broken[9] = 1;
    is_broken[17] = 2; /* has no class: its fault is never noticed */
    for (int i = 0; i < IMAGES; i++)
        labels[i] = i % 4 == 1 && i != 9 ? -1 : i % 3;
    for (int threads = 1; threads <= 3; threads++) {
        const mo_batch_t *batch;
        mo_loader_spec_t spec = train_spec(threads);
        int seen = 0, batches = 0;
        moco_dataset_free(dataset);
        dataset = NULL;
        ck_assert_int_eq(moco_dataset_create(IMAGES, deliver, NULL, labels, NULL, &dataset), MOCO_OK);
        spec.one_view = spec.keep_last = spec.labelled = 1;
        spec.order_stream = 40;
        spec.views.stream = 41;
        ck_assert_uint_eq(mo_loader_bytes(&spec), (uint64_t)spec.depth * BATCH * ROW);
        create(spec);
        ck_assert_int_eq(mo_rng_permutation(77, 40, 6, IMAGES, order), MOCO_OK);
        ck_assert_int_eq(mo_loader_seek(loader, 6, 0), MOCO_OK);
        int64_t position = 0;
        while (mo_loader_next(loader, &batch) == MOCO_OK) {
            for (int64_t i = 0; i < batch->count; i++, position++) {
                while (labels[order[position]] < 0 || order[position] == 9)
                    position++;
                const int32_t entry = order[position];
                mo_view_spec_t view = spec.views;
                ck_assert_int_eq(batch->index[i], entry);
                ck_assert_int_eq(
                    mo_image_decode(jpegs[entry].bytes, jpegs[entry].size, 1 << 20, &pixels, &(int64_t){0}), MOCO_OK);
                ck_assert_int_eq(mo_view_draw(&work, &view, &pixels, 77, 6, entry, 0, want), MOCO_OK);
                ck_assert_mem_eq(batch->rows[0][i], want, ROW);
            }
            seen += (int)batch->count;
            ck_assert(batch->count == BATCH || seen == 30);
            batches++;
            mo_loader_return(loader, batch);
        }
        ck_assert_int_eq(seen, 30); /* 40, 9 without a class, one broken */
        ck_assert_int_eq(batches, 4);
        ck_assert_int_eq(mo_dataset_broken(dataset), 1 + (mo_dataset_broken_reason(dataset, 17) != NULL));
    }
    /* The stream of the views is another than a trainer's. */
    mo_view_spec_t view = train_spec(1).views;
    uint8_t other[ROW];
    ck_assert_int_eq(mo_image_decode(jpegs[0].bytes, jpegs[0].size, 1 << 20, &pixels, &(int64_t){0}), MOCO_OK);
    ck_assert_int_eq(mo_view_draw(&work, &view, &pixels, 77, 6, 0, 0, want), MOCO_OK);
    view.stream = 41;
    ck_assert_int_eq(mo_view_draw(&work, &view, &pixels, 77, 6, 0, 0, other), MOCO_OK);
    ck_assert_mem_ne(want, other, ROW);
    mo_view_work_free(&work);
    mo_pixels_free(&pixels);
}
END_TEST

START_TEST(wrong_use)
{
    const mo_batch_t *batch, *again;
    create(train_spec(1));
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_ERR_STATE);
    ck_assert_int_eq(mo_loader_seek(loader, -1, 0), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_loader_seek(loader, 0, IMAGES + 1), MOCO_ERR_ARGUMENT);
    ck_assert_int_eq(mo_loader_seek(loader, 0, 0), MOCO_OK);
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
    ck_assert_int_eq(mo_loader_next(loader, &again), MOCO_ERR_STATE);
    mo_loader_return(loader, batch);
    mo_loader_return(loader, batch); /* harmless */
    ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
    mo_loader_t *none = NULL;
    mo_loader_spec_t bad[7];
    for (int i = 0; i < 7; i++)
        bad[i] = train_spec(1);
    bad[0].threads = 0;
    bad[1].threads = 257;
    bad[2].batch = 0;
    bad[3].depth = 1;
    bad[4].views.size = 0;
    bad[5] = eval_spec(1);
    bad[5].resize = 0;
    bad[6].batch = 1 << 24;
    bad[6].depth = 1024;
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(mo_loader_create(&bad[i], dataset, &none), MOCO_ERR_ARGUMENT);
    ck_assert_ptr_null(none);
    mo_loader_free(NULL);
    const mo_loader_spec_t spec = train_spec(1);
    ck_assert_uint_eq(mo_loader_bytes(&spec), 2 * BATCH * 2 * ROW);
}
END_TEST

/* Each allocation made to fail, on whichever thread: the call fails or the images come, and a
 * second try goes on to the same batches. */
START_TEST(faults)
{
    uint64_t want[16];
    int64_t positions[16];
    create(train_spec(2));
    two_epochs(want, positions);
    int failures = 0;
    for (long n = 0; n < 60; n++) {
        const mo_loader_spec_t spec = train_spec(2);
        const mo_batch_t *batch = NULL;
        mo_loader_free(loader);
        loader = NULL;
        make_set();
        mo_fault_arm(MO_FAULT_ALLOC, n);
        moco_status_t status = mo_loader_create(&spec, dataset, &loader);
        if (status == MOCO_OK)
            status = mo_loader_seek(loader, 0, 0);
        for (int b = 0; b < 5 && status == MOCO_OK; b++) {
            status = mo_loader_next(loader, &batch);
            if (status == MOCO_OK) {
                ck_assert_uint_eq(hash_batch(batch, 2), want[b]);
                mo_loader_return(loader, batch);
            } else {
                mo_fault_arm(MO_FAULT_ALLOC, -1);
                ck_assert_int_eq(status, MOCO_ERR_MEMORY);
                ck_assert_ptr_nonnull(strstr(moco_last_message(), "no memory"));
                ck_assert_int_eq(mo_loader_next(loader, &batch), MOCO_OK);
                ck_assert_uint_eq(hash_batch(batch, 2), want[b]);
                mo_loader_return(loader, batch);
            }
        }
        mo_fault_arm(MO_FAULT_ALLOC, -1);
        if (status != MOCO_OK) {
            ck_assert(status == MOCO_ERR_MEMORY || status == MOCO_ERR_THREAD);
            failures++;
        }
        ck_assert_int_eq(mo_dataset_broken(dataset), 0);
    }
    ck_assert_int_ge(failures, 20);
}
END_TEST

/* Several loaders over one data set at once, and its broken images found by all of them. */
static void *load_all(void *argument)
{
    moco_dataset_t *set = argument;
    const mo_loader_spec_t spec = eval_spec(2);
    const mo_batch_t *batch;
    mo_loader_t *own = NULL;
    int64_t seen = 0;
    if (mo_loader_create(&spec, set, &own) != MOCO_OK || mo_loader_seek(own, 0, 0) != MOCO_OK)
        return (void *)-1;
    while (mo_loader_next(own, &batch) == MOCO_OK) {
        seen += batch->count;
        mo_loader_return(own, batch);
    }
    mo_loader_free(own);
    return (void *)(intptr_t)seen;
}

START_TEST(loaders_share_a_set)
{
    char folder[64];
    pthread_t threads[3];
    break_some();
    make_folder_set(folder);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, load_all, dataset), 0);
    for (int i = 0; i < 3; i++) {
        void *seen;
        pthread_join(threads[i], &seen);
        ck_assert_int_eq((intptr_t)seen, IMAGES - 6);
    }
    ck_assert_int_eq(mo_dataset_broken(dataset), 6);
    fixture_remove(folder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loader");
    TCase *tcase = tcase_create("loader");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, same_batches_for_any_threads);
    tcase_add_loop_test(tcase, rows_are_the_views_in_order, MOCO_RECIPE_V1, MOCO_RECIPE_SIMCLR_CODE + 1);
    tcase_add_test(tcase, seek_resumes);
    tcase_add_test(tcase, seek_leaves_a_batch_alone);
    tcase_add_loop_test(tcase, eval_in_listing_order, 1, 4);
    tcase_add_test(tcase, rows_come_back_after_each_epoch);
    tcase_add_test(tcase, fewer_than_a_batch);
    tcase_add_test(tcase, limit_of_broken_images);
    tcase_add_test(tcase, no_broken_image_allowed);
    tcase_add_test(tcase, ends_at_any_time);
    tcase_add_test(tcase, signals_stay_with_the_host);
    tcase_add_test(tcase, labelled_images_in_one_view);
    tcase_add_test(tcase, wrong_use);
    tcase_add_test(tcase, faults);
    tcase_add_test(tcase, loaders_share_a_set);
    tcase_add_test(tcase, threads_of_large_machines);
    suite_add_tcase(suite, tcase);
    return fixture_run(suite);
}
