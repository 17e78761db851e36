/* Every allocation, engine call and file request of the large calls fails once, the first, the
 * second and so on: each failure is an error with a message, changes nothing, and the call then
 * succeeds with the bits of an undisturbed one. Where a call makes thousands of requests, the first
 * and last and every so-manieth of them. Run under the address sanitizer this also shows that
 * nothing leaks. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "fault/trainer_fixtures.h"
#include "util/fault.h"
#include "call_options.h"

#include <moco/index.h>
#include <moco/queue.h>

enum { BATCH = 4, FIRST = 40, SPREAD = 60, LAST = 6 };

static const char *const kind_names[] = {"allocation", "engine call", "file request"};

/* One call under test. It must leave nothing behind when it fails, and drop what it made when it
 * succeeds. */
typedef moco_status_t (*attempt_t)(void *ctx);
typedef void (*check_t)(void *ctx);

static int is_fault_status(moco_status_t status)
{
    return status == MOCO_ERR_MEMORY || status == MOCO_ERR_ENGINE || status == MOCO_ERR_IO || status == MOCO_ERR_THREAD;
}

/* Requests of `kind` in an undisturbed call. */
static long counted(int kind, attempt_t attempt, void *ctx)
{
    mo_fault_arm(kind, -1);
    OK(attempt(ctx));
    return mo_fault_arm(kind, -1);
}

/* Fails the requests one after the other; returns how many attempts were made. `unchanged` looks
 * after each. */
static long fail_each(int kind, const char *what, attempt_t attempt, check_t unchanged, void *ctx)
{
    counted(kind, attempt, ctx); /* the first call may make what later ones find */
    long total = counted(kind, attempt, ctx), tries = 0;
    long stride = total > FIRST + LAST ? (total - FIRST - LAST) / SPREAD + 1 : 1;
    for (long n = 0; n < total; n += n < FIRST || n >= total - LAST ? 1 : stride) {
        mo_fault_arm(kind, n);
        moco_status_t status = attempt(ctx);
        mo_fault_arm(kind, -1);
        ck_assert_msg(status != MOCO_OK, "%s: %s %ld of %ld failed, the call did not", what, kind_names[kind], n,
                      total);
        ck_assert_msg(status == MOCO_OK || is_fault_status(status), "%s: %s %ld of %ld gave status %d (%s)", what,
                      kind_names[kind], n, total, status, moco_last_message());
        ck_assert_msg(status == MOCO_OK || moco_last_message()[0] != '\0', "%s: no message", what);
        if (unchanged != NULL)
            unchanged(ctx);
        tries++;
    }
    OK(attempt(ctx));
    return tries;
}

/* ---- making things ---- */

static moco_status_t make_device(void *ctx)
{
    moco_device_options_t o;
    moco_device_t *device = NULL;
    (void)ctx;
    OK(moco_device_options_init(&o, sizeof o));
    o.lanes = 2;
    moco_status_t status = moco_device_create(&o, &device);
    ck_assert((device != NULL) == (status == MOCO_OK));
    moco_device_free(device);
    return status;
}

START_TEST(test_device)
{
    ck_assert_int_ge(fail_each(MO_FAULT_ALLOC, "device", make_device, NULL, NULL), 2);
    ck_assert_int_ge(fail_each(MO_FAULT_ENGINE, "device", make_device, NULL, NULL), 3); /* threads, engine, streams */
}
END_TEST

static moco_status_t make_trainer(void *ctx)
{
    moco_trainer_options_t o = tiny_options(BATCH, 2);
    moco_trainer_t *t = NULL;
    moco_status_t status = moco_trainer_create(&o, ctx, &t);
    ck_assert((t != NULL) == (status == MOCO_OK));
    moco_trainer_free(t);
    return status;
}

static moco_status_t make_split_trainer(void *ctx)
{
    moco_trainer_options_t o = tiny_options(BATCH, 1);
    moco_trainer_t *t = NULL;
    o.shard = 2;
    moco_status_t status = moco_trainer_create(&o, ctx, &t);
    moco_trainer_free(t);
    return status;
}

START_TEST(test_create)
{
    moco_device_t *device = tiny_device(2);
    ck_assert_int_ge(fail_each(MO_FAULT_ALLOC, "create", make_trainer, NULL, device), 50);
    ck_assert_int_ge(fail_each(MO_FAULT_ENGINE, "create", make_trainer, NULL, device), 50);
    ck_assert_int_ge(fail_each(MO_FAULT_ENGINE, "create with shards that meet", make_split_trainer, NULL, device), 50);
    moco_device_free(device);
}
END_TEST

/* ---- steps ---- */

typedef struct stepping {
    moco_trainer_t *trainer;
    const float *views;
    state_t before;
} stepping_t;

static void assert_as_before(void *ctx)
{
    stepping_t *s = ctx;
    state_t now = state_of(s->trainer);
    ck_assert_msg(state_equal(&now, &s->before), "a failed step changed the trainer");
    state_free(&now);
}

/* A trainer's step fails at every request; then it steps as a trainer that never failed. On several
 * lanes the last few requests are left out: a lane makes a request or two more when it runs its
 * first operation. */
static void fail_steps(int kind, int32_t lanes, moco_trainer_options_t o)
{
    moco_device_t *device = tiny_device(lanes);
    moco_trainer_t *calm = NULL, *t = NULL;
    OK(moco_trainer_create(&o, device, &calm));
    OK(moco_trainer_create(&o, device, &t));
    for (uint32_t step = 0; step < 3; step++) {
        float *views = tiny_views(BATCH, step);
        OK(tiny_push(calm, views));
        OK(tiny_push(t, views));
        stepping_t s = {.trainer = t, .views = views, .before = state_of(t)};
        mo_fault_arm(kind, -1);
        OK(moco_trainer_step(calm, NULL, NULL));
        long total = mo_fault_arm(kind, -1) - (lanes > 1 ? 4 * lanes : 0), stride = total / SPREAD + 1;
        if (step == 0) /* has woken the lanes */
            total = 0;
        for (long n = 0; n < total; n += n < FIRST || n >= total - LAST ? 1 : stride) {
            mo_fault_arm(kind, n);
            moco_status_t status = moco_trainer_step(t, NULL, NULL);
            mo_fault_arm(kind, -1);
            ck_assert_msg(is_fault_status(status), "step: request %ld of %ld gave status %d", n, total, status);
            assert_as_before(&s);
        }
        OK(moco_trainer_step(t, NULL, NULL));
        state_t wanted = state_of(calm), got = state_of(t);
        ck_assert_msg(state_equal(&wanted, &got), "a step after failures has other bits");
        ck_assert(!state_equal(&wanted, &s.before));
        state_free(&wanted);
        state_free(&got);
        state_free(&s.before);
        free(views);
    }
    moco_trainer_free(calm);
    moco_trainer_free(t);
    moco_device_free(device);
}

START_TEST(test_step)
{
    moco_trainer_options_t o = tiny_options(BATCH, 2), split = tiny_options(BATCH, 1);
    split.shard = 2; /* one group, two shards that meet */
    fail_steps(MO_FAULT_ENGINE, 1, o);
    fail_steps(MO_FAULT_ENGINE, 3, o);
    fail_steps(MO_FAULT_ENGINE, 2, split);
    fail_steps(MO_FAULT_ALLOC, 1, o);
}
END_TEST

START_TEST(test_step_of_other_methods)
{
    moco_trainer_options_t o = tiny_method_options((tiny_method_t)_i, BATCH);
    fail_steps(MO_FAULT_ENGINE, 1, o);
    fail_steps(MO_FAULT_ENGINE, 2, o);
    fail_steps(MO_FAULT_ALLOC, 1, o);
}
END_TEST

/* A loss that is no number is refused after all passes, and still nothing has changed. */
static void refuse_nonfinite(moco_trainer_options_t o)
{
    float *bad = tiny_views(BATCH, 1), *good = tiny_views(BATCH, 2);
    moco_trainer_t *calm = NULL;
    stepping_t s = {.views = bad};
    OK(moco_trainer_create(&o, NULL, &calm));
    OK(moco_trainer_create(&o, NULL, &s.trainer));
    s.before = state_of(s.trainer);
    for (int i = 0; i < 2; i++) {
        OK(tiny_push(s.trainer, bad));
        s.trainer->pushed.floats[TINY_FLOATS + 5] = NAN; /* pushing refuses it */
        ck_assert_int_eq(moco_trainer_step(s.trainer, NULL, NULL), MOCO_ERR_NONFINITE);
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "step 1"));
        ck_assert_int_eq(moco_trainer_discard(s.trainer), BATCH);
        s.trainer->state.pushed = 0;
        assert_as_before(&s);
    }
    OK(tiny_push(calm, good));
    OK(tiny_push(s.trainer, good));
    OK(moco_trainer_step(calm, NULL, NULL));
    OK(moco_trainer_step(s.trainer, NULL, NULL));
    state_t wanted = state_of(calm), got = state_of(s.trainer);
    ck_assert(state_equal(&wanted, &got));
    state_free(&wanted);
    state_free(&got);
    state_free(&s.before);
    moco_trainer_free(calm);
    moco_trainer_free(s.trainer);
    free(bad);
    free(good);
}

START_TEST(test_nonfinite)
{
    refuse_nonfinite(tiny_options(BATCH, 2));
    for (int method = 0; method < TINY_METHODS; method++)
        refuse_nonfinite(tiny_method_options((tiny_method_t)method, BATCH));
}
END_TEST

static moco_status_t push(void *ctx)
{
    stepping_t *s = ctx;
    moco_status_t status = tiny_push(s->trainer, s->views);
    moco_trainer_discard(s->trainer);
    s->trainer->state.pushed = 0;
    return status;
}

START_TEST(test_push)
{
    float *views = tiny_views(BATCH, 1);
    for (int kind = 0; kind < 2; kind++) {
        moco_trainer_options_t o = tiny_options(BATCH, 2);
        stepping_t s = {.views = views};
        OK(moco_trainer_create(&o, NULL, &s.trainer));
        s.before = state_of(s.trainer);
        if (kind == MO_FAULT_ALLOC) { /* the first push makes the store */
            mo_fault_arm(MO_FAULT_ALLOC, 0);
            ck_assert_int_eq(tiny_push(s.trainer, views), MOCO_ERR_MEMORY);
            mo_fault_arm(MO_FAULT_ALLOC, -1);
            assert_as_before(&s);
        }
        fail_each(kind, "push", push, assert_as_before, &s);
        state_free(&s.before);
        moco_trainer_free(s.trainer);
    }
    free(views);
}
END_TEST

/* ---- files ---- */

typedef struct filing {
    moco_device_t *device;
    moco_trainer_t *trainer;
    char folder[64], path[96];
    uint8_t *bytes; /* of the file, as it must stay */
    size_t size;
    state_t state;
} filing_t;

static uint8_t *file_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size);
    ck_assert_uint_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* The file is whole and as it was, and no other file is in its folder. */
static void assert_file_kept(void *ctx)
{
    filing_t *f = ctx;
    size_t size;
    uint8_t *now = file_bytes(f->path, &size);
    ck_assert_uint_eq(size, f->size);
    ck_assert_mem_eq(now, f->bytes, size);
    free(now);
    DIR *folder = opendir(f->folder);
    int entries = 0;
    while (readdir(folder) != NULL)
        entries++;
    closedir(folder);
    ck_assert_int_eq(entries, 3); /* ".", "..", the file */
}

static moco_status_t save(void *ctx)
{
    filing_t *f = ctx;
    return moco_trainer_save(f->trainer, f->path);
}

static moco_status_t load(void *ctx)
{
    filing_t *f = ctx;
    moco_trainer_t *t = NULL;
    moco_status_t status = moco_trainer_load(f->path, NULL, f->device, &t);
    ck_assert((t != NULL) == (status == MOCO_OK));
    if (status == MOCO_OK) {
        state_t now = state_of(t);
        ck_assert(state_equal(&now, &f->state));
        state_free(&now);
    }
    moco_trainer_free(t);
    return status;
}

static void filing_open(filing_t *f)
{
    moco_trainer_options_t o = tiny_options(BATCH, 2);
    float *views = tiny_views(BATCH, 5);
    *f = (filing_t){.device = tiny_device(1), .folder = "/tmp/moco-faults-XXXXXX"};
    OK(moco_trainer_create(&o, f->device, &f->trainer));
    OK(tiny_push(f->trainer, views));
    OK(moco_trainer_step(f->trainer, NULL, NULL));
    ck_assert_ptr_nonnull(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/checkpoint.safetensors", f->folder);
    OK(save(f));
    f->bytes = file_bytes(f->path, &f->size);
    f->state = state_of(f->trainer);
    free(views);
}

static void filing_close(filing_t *f)
{
    unlink(f->path);
    ck_assert_int_eq(rmdir(f->folder), 0);
    free(f->bytes);
    state_free(&f->state);
    moco_trainer_free(f->trainer);
    moco_device_free(f->device);
}

START_TEST(test_save)
{
    filing_t f;
    filing_open(&f);
    fail_each(MO_FAULT_ALLOC, "save", save, assert_file_kept, &f);
    /* Behind the rename a failing sync of the folder reports, with the new file in place: the same
     * bytes here. */
    ck_assert_int_ge(fail_each(MO_FAULT_FILE, "save", save, assert_file_kept, &f), 8);
    filing_close(&f);
}
END_TEST

START_TEST(test_load)
{
    filing_t f;
    filing_open(&f);
    fail_each(MO_FAULT_ALLOC, "load", load, assert_file_kept, &f);
    fail_each(MO_FAULT_FILE, "load", load, assert_file_kept, &f);
    fail_each(MO_FAULT_ENGINE, "load", load, assert_file_kept, &f);
    filing_close(&f);
}
END_TEST

/* ---- models; on one lane, so that every call makes the same requests ---- */

static moco_status_t snapshot(void *ctx)
{
    filing_t *f = ctx;
    moco_model_t *model = NULL;
    moco_status_t status = moco_trainer_snapshot(f->trainer, NULL, f->device, &model);
    ck_assert((model != NULL) == (status == MOCO_OK));
    moco_model_free(model);
    return status;
}

static moco_status_t load_model(void *ctx)
{
    filing_t *f = ctx;
    moco_model_t *model = NULL;
    moco_status_t status = moco_model_load(f->path, NULL, f->device, &model);
    ck_assert((model != NULL) == (status == MOCO_OK));
    moco_model_free(model);
    return status;
}

typedef struct embedding {
    moco_model_t *model;
    float *images, wanted[3 * 16];
} embedding_t;

static moco_status_t embed(void *ctx)
{
    embedding_t *e = ctx;
    float rows[3 * 16] = {0};
    moco_status_t status = moco_model_embed_tensor(e->model, 3, e->images,
                                                   EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC), rows);
    if (status == MOCO_OK)
        ck_assert_mem_eq(rows, e->wanted, sizeof rows);
    return status;
}

static moco_status_t embed_pixels(void *ctx)
{
    filing_t *f = ctx;
    static const uint8_t pixels[20 * 24 * 3] = {9, 8, 7};
    moco_image_t image = {
        .struct_size = sizeof(moco_image_t), .planes = {pixels}, .width = 24, .height = 20, .format = MOCO_PIXELS_RGB};
    moco_model_t *model = NULL; /* a fresh one: it makes its buffers for pixels at first use */
    float row[16];
    moco_status_t status = moco_trainer_snapshot(f->trainer, NULL, f->device, &model);
    if (status == MOCO_OK)
        status = moco_model_embed_pixels(model, 1, &image, EMBED(.tap = MOCO_TAP_PROJECTION), row);
    moco_model_free(model);
    return status;
}

START_TEST(test_models)
{
    filing_t f;
    embedding_t e = {.images = tiny_views(BATCH, 8)};
    filing_open(&f);
    for (int kind = 0; kind < MO_FAULT_KINDS; kind++) {
        fail_each(kind, "snapshot", snapshot, NULL, &f);
        fail_each(kind, "load a model", load_model, assert_file_kept, &f);
    }
    OK(moco_trainer_snapshot(f.trainer, NULL, f.device, &e.model));
    OK(moco_model_embed_tensor(e.model, 3, e.images, EMBED(.tap = MOCO_TAP_PROJECTION, .layout = MOCO_LAYOUT_NHWC),
                               e.wanted));
    for (int kind = 0; kind < 2; kind++) {
        fail_each(kind, "embed", embed, NULL, &e);
        fail_each(kind, "embed pixels", embed_pixels, NULL, &f);
    }
    moco_model_free(e.model);
    free(e.images);
    filing_close(&f);
}
END_TEST

/* ---- queue and index ---- */

typedef struct contrasting {
    moco_device_t *device;
    moco_queue_t *queue;
    float keys[40 * 8], wanted[40 * 8];
    int second; /* alternates the temperature, so that the plan is remade */
    double loss;
} contrasting_t;

static moco_status_t contrast(void *ctx)
{
    contrasting_t *c = ctx;
    moco_contrast_result_t result = {.struct_size = sizeof result, .loss = -1};
    float d[40 * 8];
    moco_status_t status = moco_queue_contrast(c->queue, 40, c->keys, c->keys, CONTRAST(0.2, d), &result);
    double loss = result.loss;
    if (status == MOCO_OK && c->loss != 0) {
        ck_assert(loss == c->loss);
        ck_assert_mem_eq(d, c->wanted, sizeof d);
    } else if (status == MOCO_OK) {
        c->loss = loss;
        memcpy(c->wanted, d, sizeof d);
    }
    if (status == MOCO_OK && c->second) /* with another temperature in between: the plan goes and comes back */
        status = moco_queue_contrast(c->queue, 40, c->keys, c->keys, CONTRAST(0.3, d), &result);
    return status;
}

static moco_status_t make_queue(void *ctx)
{
    moco_queue_t *queue = NULL;
    moco_status_t status = moco_queue_create(QUEUE(32, 8, 1), ctx, &queue);
    moco_queue_free(queue);
    return status;
}

START_TEST(test_queue)
{
    contrasting_t c = {.device = tiny_device(1)};
    fail_each(MO_FAULT_ALLOC, "queue", make_queue, NULL, c.device);
    OK(moco_queue_create(QUEUE(64, 8, 1), c.device, &c.queue));
    for (int n = 0; n < 40; n++)
        c.keys[n * 8 + n % 8] = 1;
    for (c.second = 0; c.second < 2; c.second++)
        for (int kind = 0; kind < 2; kind++)
            fail_each(kind, "contrast", contrast, NULL, &c);
    moco_queue_free(c.queue);
    moco_device_free(c.device);
}
END_TEST

static moco_status_t search(void *ctx)
{
    const float query[4] = {1, 2, 3, 4};
    int64_t ids[2];
    float similarities[2];
    moco_status_t status = moco_index_search(ctx, 1, query, SEARCH(2), ids, similarities);
    if (status == MOCO_OK)
        ck_assert(ids[0] == 3 && ids[1] == 2);
    return status;
}

START_TEST(test_index)
{
    const float vectors[4][4] = {{1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 1}};
    moco_device_t *device = tiny_device(1);
    moco_index_t *index = NULL;
    OK(moco_index_create(4, NULL, device, &index));
    OK(moco_index_add(index, 4, vectors[0], NULL));
    for (int kind = 0; kind < 2; kind++)
        fail_each(kind, "search", search, NULL, index);
    moco_index_free(index);
    moco_device_free(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faults");
    TCase *tc = tcase_create("faults");
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, test_device);
    tcase_add_test(tc, test_create);
    tcase_add_test(tc, test_step);
    tcase_add_loop_test(tc, test_step_of_other_methods, 0, TINY_METHODS);
    tcase_add_test(tc, test_nonfinite);
    tcase_add_test(tc, test_push);
    tcase_add_test(tc, test_save);
    tcase_add_test(tc, test_load);
    tcase_add_test(tc, test_models);
    tcase_add_test(tc, test_queue);
    tcase_add_test(tc, test_index);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
