/* Conversion under failing allocations and file requests: each failure is an error with a message,
 * leaves the output as it was and leaks nothing; an undisturbed call then gives the bytes of one
 * that was never disturbed. The reference checkpoint is put together from a trainer's own
 * numbers. */
#include <stdio.h>
#include <unistd.h>

#include <moco/convert.h>

#include "buffer_fixtures.h"
#include "fault/trainer_fixtures.h"
#include "torch_fixtures.h"
#include "util/fault.h"

enum { MAX_TENSORS = 1024, SPREAD = 40, FIRST = 25 };

/* ---- a checkpoint of the reference program ---- */

typedef struct archive {
    buffer_t pickle;
    fixture_member_t members[MAX_TENSORS];
    char names[MAX_TENSORS][32];
    int count;
    float *copies[3]; /* of buffers: both encoders' and the queue */
    int copy_count;
} archive_t;

static const float *copy_in(archive_t *a, mo_buffer_t buffer)
{
    return a->copies[a->copy_count++] = floats_of(buffer);
}

/* Files have the keys as columns. */
static const float *columns_in(archive_t *a, const mo_keys_t *keys)
{
    float *rows = floats_of(keys->rows), *columns = calloc((size_t)(keys->length * keys->dimension), sizeof *columns);
    mo_transpose(rows, keys->length, keys->dimension, columns);
    free(rows);
    return a->copies[a->copy_count++] = columns;
}

static void add_tensor(archive_t *a, const char *prefix, const char *name, const char *class, int rank,
                       const int64_t *dims, const void *data, int width)
{
    char full[200], key[16];
    fixture_tensor_t t = {full, class, key, 1, 0, rank, {0}, {0}};
    snprintf(full, sizeof full, "%s%s", prefix, name);
    snprintf(key, sizeof key, "%d", a->count);
    for (int i = rank - 1; i >= 0; i--) {
        t.dims[i] = dims[i];
        t.strides[i] = t.numbers;
        t.numbers *= dims[i];
    }
    put_text(&a->pickle, full);
    put_tensor(&a->pickle, &t, 0);
    snprintf(a->names[a->count], sizeof a->names[0], "r/data/%s", key);
    a->members[a->count] = (fixture_member_t){a->names[a->count], data, (uint64_t)t.numbers * (uint64_t)width};
    a->count++;
}

/* A predictor stands beside the encoders. */
static const char *place(const char *prefix, const char *name)
{
    return strncmp(name, "predictor.", 10) == 0 ? "module." : prefix;
}

static void add_encoder(archive_t *a, const char *prefix, const mo_encoder_t *e)
{
    const float *params = copy_in(a, e->params);
    for (int32_t i = 0; i < e->net.parameter_count; i++) {
        const mo_parameter_t *s = &e->net.parameters[i];
        if (s->hidden)
            continue;
        add_tensor(a, place(prefix, s->name), s->name, "FloatStorage", s->rank, s->dims, params + s->offset, 4);
    }
    for (int32_t i = 0; i < e->net.bn_count; i++) {
        const mo_bn_t *bn = &e->net.bns[i];
        const int64_t dims[1] = {bn->channels};
        char name[128];
        snprintf(name, sizeof name, "%s.running_mean", bn->name);
        add_tensor(a, place(prefix, name), name, "FloatStorage", 1, dims, e->running + bn->offset, 4);
        snprintf(name, sizeof name, "%s.running_var", bn->name);
        add_tensor(a, place(prefix, name), name, "FloatStorage", 1, dims, e->running + bn->offset + bn->channels, 4);
    }
}

static buffer_t reference_file(const moco_trainer_t *t)
{
    static const int64_t pointer[1] = {4};
    const int64_t queue[2] = {t->state.queue.dimension, t->state.queue.length}, one[1] = {1};
    const int has_queue = t->state.method.loss->keeps_queue;
    archive_t *a = calloc(1, sizeof *a);
    put(&a->pickle, "\x80\x02}(", 4);
    put_text(&a->pickle, "epoch");
    put_whole(&a->pickle, 2);
    put_text(&a->pickle, "state_dict");
    put_global(&a->pickle, "collections", "OrderedDict");
    put(&a->pickle, ")R(", 3);
    if (has_queue) {
        add_tensor(a, "module.", "queue", "FloatStorage", 2, queue, columns_in(a, &t->state.queue), 4);
        add_tensor(a, "module.", "queue_ptr", "LongStorage", 1, one, pointer, 8);
    }
    add_encoder(a, has_queue ? "module.encoder_q." : "module.base_encoder.", &t->state.query);
    add_encoder(a, has_queue ? "module.encoder_k." : "module.momentum_encoder.", &t->state.key);
    put(&a->pickle, "uu.", 3);
    a->members[a->count++] = (fixture_member_t){"r/data.pkl", a->pickle.bytes, a->pickle.size};
    buffer_t file = make_zip(a->members, a->count, 0);
    for (int i = 0; i < a->copy_count; i++)
        free(a->copies[i]);
    free(a->pickle.bytes);
    free(a);
    return file;
}

/* ---- failing calls ---- */

typedef struct filing {
    char folder[64], in[96], out[96];
    int32_t to;
    moco_trainer_options_t options;
    buffer_t kept; /* what stands at `out` */
} filing_t;

static buffer_t contents(const char *path)
{
    buffer_t b = {0};
    uint8_t block[65536];
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;)
        put(&b, block, got);
    fclose(file);
    return b;
}

static moco_status_t attempt(filing_t *f)
{
    static char report[65536];
    moco_convert_options_t o;
    OK(moco_convert_options_init(&o, sizeof o));
    o.to = f->to;
    o.training = f->to == MOCO_FILE_TRAINING ? &f->options : NULL;
    return moco_convert(f->in, f->out, &o, report, sizeof report, NULL);
}

static void assert_kept(const filing_t *f)
{
    buffer_t now = contents(f->out);
    ck_assert(now.size == f->kept.size && memcmp(now.bytes, f->kept.bytes, now.size) == 0);
    free(now.bytes);
}

static void fail_each(int kind, filing_t *f)
{
    mo_fault_arm(kind, -1);
    OK(attempt(f));
    const long total = mo_fault_arm(kind, -1), stride = total / SPREAD + 1;
    ck_assert_int_gt(total, 5);
    free(f->kept.bytes);
    f->kept = contents(f->out);
    for (long n = 0; n < total; n += n < FIRST || n >= total - 5 ? 1 : stride) {
        mo_fault_arm(kind, n);
        moco_status_t status = attempt(f);
        mo_fault_arm(kind, -1);
        ck_assert_msg(status == MOCO_ERR_MEMORY || status == MOCO_ERR_IO, "request %ld of %ld: status %d", n, total,
                      status);
        ck_assert(moco_last_message()[0] != '\0');
        assert_kept(f);
    }
    OK(attempt(f));
    assert_kept(f);
}

/* A conversion makes no device and no plan. */
static void assert_no_engine(filing_t *f)
{
    mo_fault_arm(MO_FAULT_ENGINE, -1);
    OK(attempt(f));
    ck_assert_int_eq(mo_fault_arm(MO_FAULT_ENGINE, -1), 0);
}

static moco_trainer_options_t tiny_v3(void)
{
    moco_trainer_options_t o;
    OK(moco_trainer_options_init(&o, sizeof o, MOCO_RECIPE_V3, MOCO_ARCH_RECIPE));
    o.arch = MOCO_ARCH_RESNET18;
    o.stem = MOCO_STEM_CIFAR;
    o.width = 0.0625;
    o.image_size = TINY_SIZE;
    o.batch_size = 4;
    o.head_width = o.dimension = 16;
    return o;
}

static filing_t open_filing(moco_trainer_options_t options)
{
    filing_t f = {.folder = "/tmp/moco-convert-XXXXXX", .options = options};
    moco_trainer_t *t = NULL;
    ck_assert_ptr_nonnull(mkdtemp(f.folder));
    snprintf(f.in, sizeof f.in, "%s/reference.pth.tar", f.folder);
    snprintf(f.out, sizeof f.out, "%s/out.safetensors", f.folder);
    OK(moco_trainer_create(&f.options, NULL, &t));
    buffer_t made = reference_file(t);
    moco_trainer_free(t);
    FILE *file = fopen(f.in, "wb");
    ck_assert_uint_eq(fwrite(made.bytes, 1, made.size, file), made.size);
    ck_assert_int_eq(fclose(file), 0);
    free(made.bytes);
    return f;
}

static void close_filing(filing_t *f)
{
    unlink(f->in);
    unlink(f->out);
    ck_assert_int_eq(rmdir(f->folder), 0); /* no temporary file was left behind */
    free(f->kept.bytes);
}

START_TEST(test_layouts)
{
    filing_t f = open_filing(tiny_options(4, 2));
    f.to = _i;
    fail_each(MO_FAULT_ALLOC, &f);
    fail_each(MO_FAULT_FILE, &f);
    assert_no_engine(&f);
    close_filing(&f);
}
END_TEST

START_TEST(test_training_v3)
{
    filing_t f = open_filing(tiny_v3());
    f.to = MOCO_FILE_TRAINING;
    fail_each(MO_FAULT_ALLOC, &f);
    fail_each(MO_FAULT_FILE, &f);
    assert_no_engine(&f);
    close_filing(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("convert_faults");
    TCase *tc = tcase_create("convert_faults");
    tcase_set_timeout(tc, 200);
    tcase_add_loop_test(tc, test_layouts, MOCO_FILE_ENCODER, MOCO_FILE_DETECTRON2 + 1);
    tcase_add_test(tc, test_training_v3);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
