/* What the probe and fine-tuning give, as a host sees it: the same questions and the same files for
 * both, old files, and files that are none. */
#include "labelled.h"

#include <stddef.h>

enum { SIDE = 20, TRAIN = 30, TEST = 13 };

static moco_classifier_t *probe_of(const world_t *w)
{
    moco_probe_options_t o = probe_options(MOCO_PROBE_CACHED);
    moco_classifier_t *made = NULL;
    o.normalize = 1;
    expect_ok(moco_probe_train(w->model, w->train, w->test, &o, &made));
    return made;
}

static moco_classifier_t *tuned_of(const world_t *w)
{
    const moco_finetune_options_t o = finetune_options(MOCO_OPTIMIZER_SGD);
    moco_classifier_t *made = NULL;
    expect_ok(moco_finetune_train(w->model, w->train, w->test, &o, &made));
    return made;
}

static moco_classifier_t *made_of(const world_t *w, int tuned)
{
    return tuned ? tuned_of(w) : probe_of(w);
}

static void numbers_of(const moco_classifier_t *classifier, float *numbers)
{
    expect_ok(moco_classifier_weights(classifier, numbers, numbers + CLASSES * FEATURES));
}

/* [TEST, FEATURES] features of the test set, rows normalised if the classifier wants them so. */
typedef struct features {
    float rows[TEST * FEATURES];
    int64_t count;
} features_t;

static int32_t take_rows(void *user, int64_t count, const int64_t *indices, const float *rows)
{
    features_t *f = user;
    (void)indices;
    memcpy(f->rows + f->count * FEATURES, rows, (size_t)count * FEATURES * sizeof *rows);
    f->count += count;
    return 0;
}

/* Answers of the classifier on the test set by its own model, weights and names: percent right. */
static double right_of(const moco_classifier_t *classifier, moco_dataset_t *test)
{
    static features_t f;
    float numbers[NUMBERS];
    moco_model_t *model = NULL;
    int64_t right = 0;
    f.count = 0;
    numbers_of(classifier, numbers);
    expect_ok(moco_classifier_model(classifier, &model));
    expect_ok(moco_model_embed_dataset(model, test, NULL, take_rows, &f));
    ck_assert_int_eq(f.count, TEST);
    for (int64_t i = 0; i < f.count; i++) {
        double z[CLASSES], norm = 0;
        int32_t best = 0;
        for (int k = 0; k < FEATURES; k++)
            norm += (double)f.rows[i * FEATURES + k] * f.rows[i * FEATURES + k];
        norm = result_of(classifier).normalize ? sqrt(norm) : 1;
        for (int32_t c = 0; c < CLASSES; c++) {
            z[c] = numbers[CLASSES * FEATURES + c];
            for (int k = 0; k < FEATURES; k++)
                z[c] += numbers[c * FEATURES + k] * f.rows[i * FEATURES + k] / norm;
            best = z[c] > z[best] ? c : best;
        }
        right += strcmp(moco_classifier_class_name(classifier, best),
                        moco_dataset_class_name(test, moco_dataset_label(test, i))) == 0;
    }
    moco_model_free(model);
    return 100.0 * (double)right / (double)f.count;
}

/* What is saved and loaded answers like what was measured, also when the model that it came from is
 * gone. */
START_TEST(round_trip)
{
    world_t w = world_of(1, TRAIN, TEST, SIDE);
    moco_classifier_t *made = made_of(&w, _i), *loaded = NULL;
    const char *path = in_scratch(&w.scratch, "classifier.safetensors");
    float first[NUMBERS], second[NUMBERS];
    moco_classifier_rate_t rate = {.struct_size = sizeof rate};
    moco_model_free(w.model);
    w.model = NULL;
    ck_assert_double_eq_tol(right_of(made, w.test), result_of(made).top1, 1e-9);
    expect_ok(moco_classifier_save(made, path));
    expect_ok(moco_classifier_load(path, NULL, w.device, &loaded));
    numbers_of(made, first);
    numbers_of(loaded, second);
    ck_assert_mem_eq(first, second, sizeof first);
    for (int32_t c = 0; c < CLASSES; c++)
        ck_assert_str_eq(moco_classifier_class_name(made, c), moco_classifier_class_name(loaded, c));
    ck_assert_ptr_null(moco_classifier_class_name(loaded, CLASSES));

    moco_classifier_result_t a = result_of(made), b = result_of(loaded);
    ck_assert_int_eq(a.finetuned, _i);
    ck_assert_int_eq(a.normalize, !_i);
    ck_assert_int_eq(a.rates, _i ? 1 : 9);
    ck_assert(a.steps > 0 && a.train_images > 0 && a.test_images == TEST && a.effective_lr > 0);
    expect_ok(moco_classifier_rate(loaded, 0, &rate));
    ck_assert(rate.base_lr == a.base_lr && rate.top1 == a.top1 && rate.test_loss == a.test_loss);
    a.rates = 1; /* of the others a file tells nothing */
    a.best = 0;
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_double_eq_tol(right_of(loaded, w.test), b.top1, 1e-9);

    /* Written again it is the same file. */
    size_t sizes[2];
    expect_ok(moco_classifier_save(loaded, in_scratch(&w.scratch, "again")));
    uint8_t *was = read_file(path, &sizes[0]), *is = read_file(in_scratch(&w.scratch, "again"), &sizes[1]);
    ck_assert_uint_eq(sizes[0], sizes[1]);
    ck_assert_mem_eq(was, is, sizes[0]);
    free(was);
    free(is);
    moco_classifier_free(made);
    moco_classifier_free(loaded);
    world_close(&w);
}
END_TEST

static char *info_of(const moco_classifier_t *classifier)
{
    uint64_t needed = 0;
    expect_ok(moco_classifier_info(classifier, NULL, 0, &needed));
    char *text = malloc(needed);
    ck_assert_ptr_nonnull(text);
    expect_ok(moco_classifier_info(classifier, text, needed, NULL));
    return text;
}

static void expect_text(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "'%s' has no '%s'", text, part);
}

START_TEST(info)
{
    world_t w = world_of(1, TRAIN, TEST, SIDE);
    moco_classifier_t *made = made_of(&w, _i);
    char *text = info_of(made);
    expect_text(text, _i ? "\"method\":\"finetune\"" : "\"method\":\"probe\"");
    expect_text(text, "\"classes\":3");
    expect_text(text, "\"class_names\":[\"c0\",\"c1\",\"c2\"]");
    expect_text(text, "\"features\":128");
    expect_text(text, "\"test_images\":13");
    expect_text(text, "\"effective_lr\":");
    expect_text(text, "\"model\":{\"arch\":\"resnet18\"");
    free(text);
    moco_classifier_free(made);
    world_close(&w);
}
END_TEST

/* ---- files ---- */

/* Another file with a piece of the header replaced. Tensors are addressed from its end, so they
 * stay as they are. */
static void edit_header(const char *from, const char *to, const char *piece, const char *by)
{
    size_t size;
    uint8_t *bytes = read_file(from, &size);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    forget_sums(bytes, size);
    char *found = memmem(bytes + 8, header, piece, strlen(piece));
    ck_assert_msg(found != NULL, "no '%s' in the header", piece);
    const size_t before = (size_t)(found - (char *)bytes), after = before + strlen(piece);
    FILE *out = fopen(to, "wb");
    ck_assert_ptr_nonnull(out);
    header += strlen(by) - strlen(piece);
    fwrite(&header, sizeof header, 1, out);
    fwrite(bytes + 8, 1, before - 8, out);
    fputs(by, out);
    fwrite(bytes + after, 1, size - after, out);
    ck_assert_int_eq(fclose(out), 0);
    free(bytes);
}

/* Files of before the numbers were kept: a probe's had its rate, that of fine-tuning the top-1. */
START_TEST(old_files)
{
    world_t w = world_of(1, TRAIN, TEST, SIDE);
    moco_classifier_t *made = made_of(&w, _i), *loaded = NULL;
    const char *path = in_scratch(&w.scratch, "new"), *old = in_scratch(&w.scratch, "old");
    float first[NUMBERS], second[NUMBERS];
    expect_ok(moco_classifier_save(made, path));
    edit_header(path, old, "\"result\":", _i ? "\"top1\":\"62.5\",\"unknown\":" : "\"lr\":\"0.3\",\"unknown\":");
    expect_ok(moco_classifier_load(old, NULL, w.device, &loaded));
    numbers_of(made, first);
    numbers_of(loaded, second);
    ck_assert_mem_eq(first, second, sizeof first);
    const moco_classifier_result_t r = result_of(loaded);
    ck_assert_double_eq(r.base_lr, _i ? -1 : 0.3);
    ck_assert_double_eq(r.top1, _i ? 62.5 : -1);
    ck_assert(r.steps == -1 && r.train_images == -1 && r.test_images == -1 && r.test_loss == -1 && r.top5 == -1);
    ck_assert(r.finetuned == _i && r.normalize == !_i && r.classes == CLASSES && r.features == FEATURES);
    ck_assert_uint_eq(r.backbone_hash, result_of(made).backbone_hash);
    char *text = info_of(loaded);
    expect_text(text, "\"test_loss\":null");
    free(text);
    moco_classifier_free(made);
    moco_classifier_free(loaded);
    world_close(&w);
}
END_TEST

START_TEST(bad_files)
{
    static const struct {
        const char *piece, *by;
        moco_status_t status;
        const char *names;
    } edits[] = {
        {"[\\\"c0\\\",", "[", MOCO_ERR_SHAPE, "fc.weight"},
        {"[\\\"c0\\\",", "[7,", MOCO_ERR_FORMAT, "entry 0"},
        {"[\\\"c0\\\",", "[[\\\"c0\\\",", MOCO_ERR_FORMAT, "classes"},
        {"\"classes\":", "\"glasses\":", MOCO_ERR_FORMAT, "'classes'"},
        {"[\\\"c0\\\",\\\"c1\\\",\\\"c2\\\"]", "{}", MOCO_ERR_FORMAT, "no array of names"},
        {"\"normalize\":\"1\"", "\"normalize\":\"2\"", MOCO_ERR_FORMAT, "normalize"},
        {"\\\"test_images\\\":13", "\\\"test_images\\\":-3", MOCO_ERR_FORMAT, "test_images"},
        {"\\\"test_images\\\":13", "\\\"test_images\\\":1.5", MOCO_ERR_FORMAT, "whole"},
        {"\\\"top5\\\":100.0", "\\\"top5\\\":100.5", MOCO_ERR_FORMAT, "100"},
        {"\\\"top5\\\":100.0", "\\\"top5\\\":\\\"all\\\"", MOCO_ERR_FORMAT, "top5"},
        {"\"fc.bias\":", "\"fc.bins\":", MOCO_ERR_SHAPE, "fc.bias"},
        {"\"classifier\"", "\"model\"", MOCO_ERR_FORMAT, "is a model, wanted a classifier"},
        {"\"libmoco\":", "\"another\":", MOCO_ERR_FORMAT, "no file of libmoco"},
        {"\"format_version\":\"1\"", "\"format_version\":\"99\"", MOCO_ERR_VERSION, "99"},
    };
    world_t w = world_of(1, TRAIN, TEST, SIDE);
    moco_classifier_t *made = probe_of(&w), *loaded = made;
    const char *path = in_scratch(&w.scratch, "good"), *bad = in_scratch(&w.scratch, "bad");
    expect_ok(moco_classifier_save(made, path));
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        edit_header(path, bad, edits[i].piece, edits[i].by);
        loaded = made;
        expect_status(edits[i].status, moco_classifier_load(bad, NULL, w.device, &loaded));
        expect_message(edits[i].names);
        expect_message("bad");
        ck_assert_ptr_null(loaded);
    }
    expect_status(MOCO_ERR_IO, moco_classifier_load(in_scratch(&w.scratch, "none"), NULL, w.device, &loaded));
    moco_classifier_free(made);
    world_close(&w);
}
END_TEST

/* ---- stopping ---- */

typedef struct stop {
    moco_cancel_t *cancel;
    int32_t phase;
    int64_t calls; /* after the request */
} stop_t;

/* Another thread's request, in the middle of a phase. */
static int32_t ask(void *user, const moco_classifier_report_t *report)
{
    stop_t *stop = user;
    stop->calls += moco_cancel_requested(stop->cancel);
    if (report->phase == stop->phase)
        moco_cancel_request(stop->cancel);
    return 0;
}

START_TEST(cancelled)
{
    world_t w = world_of(1, TRAIN, TEST, SIDE);
    moco_probe_options_t probe = probe_options(MOCO_PROBE_CACHED);
    moco_finetune_options_t tune = finetune_options(MOCO_OPTIMIZER_SGD);
    stop_t stop = {0};
    expect_ok(moco_cancel_create(&stop.cancel));
    probe.cancel = tune.cancel = stop.cancel;
    probe.progress = tune.progress = ask;
    probe.user = tune.user = &stop;
    for (stop.phase = MOCO_CLASSIFIER_TEST_FEATURES; stop.phase <= MOCO_CLASSIFIER_TRAINING; stop.phase++)
        for (int tuned = 0; tuned < 2; tuned++) {
            moco_classifier_t *made = (moco_classifier_t *)&w;
            if (tuned && stop.phase == MOCO_CLASSIFIER_TRAIN_FEATURES)
                continue;
            moco_cancel_reset(stop.cancel);
            expect_status(MOCO_ERR_CANCELLED, tuned ? moco_finetune_train(w.model, w.train, w.test, &tune, &made)
                                                    : moco_probe_train(w.model, w.train, w.test, &probe, &made));
            expect_message("moco_cancel_request");
            ck_assert_ptr_null(made);
            ck_assert_int_eq(stop.calls, 0);
        }
    moco_cancel_free(stop.cancel);
    world_close(&w);
}
END_TEST

/* ---- wrong use ---- */

START_TEST(wrong_use)
{
    world_t w = world_of(1, TRAIN, TEST, SIDE);
    moco_classifier_t *made = probe_of(&w), *loaded = NULL;
    moco_classifier_result_t result = {.struct_size = sizeof result};
    moco_classifier_rate_t rate = {.struct_size = sizeof rate};
    moco_model_t *model = NULL;
    int64_t table[CLASSES * CLASSES];
    uint64_t needed;
    const char *path = in_scratch(&w.scratch, "classifier.safetensors");
    const moco_status_t bad = MOCO_ERR_ARGUMENT;
    expect_status(bad, moco_classifier_result(NULL, &result));
    expect_status(bad, moco_classifier_rate(NULL, 0, &rate));
    expect_status(bad, moco_classifier_confusion(NULL, table));
    expect_status(bad, moco_classifier_weights(NULL, NULL, NULL));
    expect_status(bad, moco_classifier_model(NULL, &model));
    expect_status(bad, moco_classifier_model(made, NULL));
    expect_status(bad, moco_classifier_info(NULL, NULL, 0, &needed));
    expect_status(bad, moco_classifier_save(NULL, "x"));
    expect_status(bad, moco_classifier_save(made, NULL));
    expect_status(bad, moco_classifier_load(NULL, NULL, w.device, &loaded));
    expect_status(bad, moco_classifier_load(path, NULL, w.device, NULL));
    ck_assert_ptr_null(moco_classifier_class_name(NULL, 0));
    moco_classifier_free(NULL);

    expect_status(bad, moco_classifier_result(made, NULL));
    expect_status(bad, moco_classifier_rate(made, 0, NULL));
    expect_status(bad, moco_classifier_rate(made, -1, &rate));
    expect_status(bad, moco_classifier_rate(made, 9, &rate));
    expect_message("0 to 8");
    expect_status(bad, moco_classifier_confusion(made, NULL));
    expect_ok(moco_classifier_weights(made, NULL, NULL));
    result.struct_size = 4;
    expect_status(bad, moco_classifier_result(made, &result));
    result.struct_size = offsetof(moco_classifier_result_t, top5); /* an older host */
    result.top5 = -7;
    expect_ok(moco_classifier_result(made, &result));
    ck_assert(result.test_images == TEST && result.top5 == -7);

    expect_status(MOCO_ERR_IO, moco_classifier_save(made, in_scratch(&w.scratch, "no/such/folder/x")));
    expect_ok(moco_classifier_save(made, path));
    expect_ok(moco_classifier_load(path, NULL, NULL, &loaded));
    expect_status(MOCO_ERR_NO_DATA, moco_classifier_confusion(loaded, table));
    expect_message("read from a file, which has no confusion table");
    moco_classifier_free(loaded);
    moco_classifier_free(made);
    world_close(&w);
}
END_TEST

/* The file is also a model without a head, which can be probed to the same bits. */
START_TEST(file_is_a_model)
{
    world_t w = world_of(1, TRAIN, TEST, SIDE);
    moco_classifier_t *made = probe_of(&w);
    const char *path = in_scratch(&w.scratch, "classifier.safetensors");
    float first[NUMBERS], second[NUMBERS];
    expect_ok(moco_classifier_save(made, path));
    moco_model_free(w.model);
    expect_ok(moco_model_load(path, NULL, w.device, &w.model));
    ck_assert_int_eq(moco_model_dimension(w.model, MOCO_TAP_PROJECTION), 0);
    moco_classifier_t *again = probe_of(&w);
    numbers_of(made, first);
    numbers_of(again, second);
    ck_assert_mem_eq(first, second, sizeof first);
    ck_assert_uint_eq(result_of(made).backbone_hash, result_of(again).backbone_hash);
    moco_classifier_free(again);
    moco_classifier_free(made);
    world_close(&w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("classifier");
    TCase *tc = tcase_create("classifier");
    tcase_set_timeout(tc, 240);
    tcase_add_loop_test(tc, round_trip, 0, 2);
    tcase_add_loop_test(tc, info, 0, 2);
    tcase_add_loop_test(tc, old_files, 0, 2);
    tcase_add_test(tc, bad_files);
    tcase_add_test(tc, cancelled);
    tcase_add_test(tc, wrong_use);
    tcase_add_test(tc, file_is_a_model);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
