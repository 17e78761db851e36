/* Training a classifier, from options to the report: see learn.h. */
#include <stdio.h>
#include <string.h>

#include "confusion.h"
#include "learn.h"
#include "output.h"
#include "outputs.h"
#include "progress.h"

void learn_put(int64_t given, int32_t *field)
{
    if (given != ARG_ABSENT)
        *field = (int32_t)given;
}

/* ---- while it learns ---- */

static void clear(learn_watch_t *watch)
{
    progress_clear(&watch->embedding);
    progress_clear(&watch->training);
}

/* A phase of embedding has a bar of its own; training goes on with its one after a measurement. */
static void begin_phase(learn_watch_t *watch, const moco_classifier_report_t *r)
{
    clear(watch);
    if (r->phase != MOCO_CLASSIFIER_TRAINING)
        progress_start(&watch->embedding, r->phase == MOCO_CLASSIFIER_TEST_FEATURES ? "test set:" : "training set:", 0);
    else if (!watch->training_started)
        progress_start(&watch->training, watch->verb, r->epochs);
    watch->training_started |= r->phase == MOCO_CLASSIFIER_TRAINING;
    watch->phase = r->phase;
}

static void epoch_json(const moco_classifier_report_t *r)
{
    json_t *line = json_pack("{s:s, s:i, s:i, s:I, s:o, s:o}", "event", "epoch", "epoch", r->epoch + 1, "epochs",
                             r->epochs, "step", (json_int_t)r->step, "loss", output_real(r->loss, 6), "lr",
                             output_real(r->lr, 9));

    if (r->top1 >= 0)
        line = output_with(output_with(line, "top1", output_real(r->top1, 4)), "top5", output_real(r->top5, 4));
    output_json(line);
}

int32_t learn_report(void *user, const moco_classifier_report_t *r)
{
    learn_watch_t *watch = user;

    if (r->phase != watch->phase)
        begin_phase(watch, r);
    if (r->phase == MOCO_CLASSIFIER_TRAINING)
        progress_learning(&watch->training, r);
    else
        progress_images(&watch->embedding, r->done, r->total);
    if (watch->json && r->epoch_end)
        epoch_json(r);
    return 0;
}

/* ---- what came of it ---- */

static json_t *rates_json(const moco_classifier_t *classifier, int32_t count)
{
    json_t *list = json_array();

    for (int32_t i = 0; i < count; i++) {
        moco_classifier_rate_t r = {.struct_size = sizeof r};
        if (moco_classifier_rate(classifier, i, &r) == MOCO_OK)
            list = output_item(list, json_pack("{s:f, s:f, s:o, s:o, s:o, s:o}", "base_lr", r.base_lr, "effective_lr",
                                               r.effective_lr, "top1", output_real(r.top1, 4), "top5",
                                               output_real(r.top5, 4), "train_loss", output_real(r.train_loss, 6),
                                               "test_loss", output_real(r.test_loss, 6)));
    }
    return list;
}

static void report_json(const learn_options_t *o, const moco_classifier_t *classifier,
                        const moco_classifier_result_t *r, double seconds)
{
    json_t *line = json_pack("{s:s, s:o, s:o, s:f, s:f, s:o, s:o, s:o, s:i, s:i, s:I, s:I, s:I, s:o, s:o}", "event",
                             "done", "top1", output_real(r->top1, 4), "top5", output_real(r->top5, 4), "base_lr",
                             r->base_lr, "effective_lr", r->effective_lr, "train_loss", output_real(r->train_loss, 6),
                             "test_loss", output_real(r->test_loss, 6), "chance", output_real(r->chance, 4), "classes",
                             r->classes, "features", r->features, "steps", (json_int_t)r->steps, "train_images",
                             (json_int_t)r->train_images, "test_images", (json_int_t)r->test_images, "seconds",
                             output_real(seconds, 3), "rates", rates_json(classifier, r->rates));

    if (o->out != NULL)
        line = output_with(line, "file", output_text(o->out));
    output_json(line);
}

static void report_text(const learn_options_t *o, const moco_classifier_t *classifier,
                        const moco_classifier_result_t *r, double seconds)
{
    for (int32_t i = 0; r->rates > 1 && i < r->rates; i++) {
        moco_classifier_rate_t rate = {.struct_size = sizeof rate};
        if (moco_classifier_rate(classifier, i, &rate) == MOCO_OK)
            printf("lr %-8.4g top-1 %6.2f %%  top-5 %6.2f %%  loss %.4f  test loss %.4f%s\n", rate.base_lr, rate.top1,
                   rate.top5, rate.train_loss, rate.test_loss, i == r->best ? "  best" : "");
    }
    printf("top-1 %.2f %%, top-5 %.2f %% (chance %.2f %%) at learning rate %g after %lld steps: %lld test images, "
           "%lld training images an epoch, %.1f s\n",
           r->top1, r->top5, r->chance, r->base_lr, (long long)r->steps, (long long)r->test_images,
           (long long)r->train_images, seconds);
    if (o->out != NULL)
        printf("backbone and classifier in %s\n", o->out);
}

static const char *class_name(const void *classifier, int32_t label)
{
    return moco_classifier_class_name(classifier, label);
}

static int write_confusion(const moco_classifier_t *classifier, int32_t classes, const char *path)
{
    int64_t *table = calloc((size_t)classes * (size_t)classes, sizeof *table);
    int code;

    if (table == NULL)
        return fail("no memory for a table of %d classes", (int)classes);
    if (moco_classifier_confusion(classifier, table) == MOCO_OK)
        code = confusion_write(path, classes, class_name, classifier, table);
    else
        code = fail("'%s' is not written: %s", path, moco_last_message());
    free(table);
    return code;
}

static int report(const learn_options_t *o, const moco_classifier_t *classifier, double seconds)
{
    moco_classifier_result_t r = {.struct_size = sizeof r};
    moco_status_t status = moco_classifier_result(classifier, &r);
    int code = EXIT_DONE;

    if (status == MOCO_OK && o->out != NULL)
        status = moco_classifier_save(classifier, o->out);
    if (status != MOCO_OK)
        code = finish(status, NULL);
    if (o->confusion != NULL && write_confusion(classifier, r.classes, o->confusion) != EXIT_DONE)
        code = EXIT_FAILED;
    if (code != EXIT_DONE) /* what was measured is worth showing all the same */
        fprintf(stderr, "moco: top-1 %.2f %%, top-5 %.2f %%, not all of it saved\n", r.top1, r.top5);
    else if (o->json)
        report_json(o, classifier, &r, seconds);
    else
        report_text(o, classifier, &r, seconds);
    return code;
}

/* ---- all of it ---- */

int learn_run(const learn_options_t *o, learn_watch_t *watch, learn_fn train_fn, const void *options)
{
    moco_device_t *device = NULL;
    moco_model_t *model = NULL;
    moco_dataset_t *train = NULL, *test = NULL;
    moco_classifier_t *classifier = NULL;
    moco_status_t status = MOCO_OK;
    const double started = seconds_now();
    const char *const inputs[] = {o->paths[0], o->paths[1], o->paths[2], NULL};
    int code;

    if ((code = output_check(o->out, OUTPUT_TENSORS, inputs)) != EXIT_DONE ||
        (code = output_check(o->confusion, OUTPUT_TABLE, inputs)) != EXIT_DONE)
        return code;
    code = EXIT_FAILED;
    if (o->out != NULL && o->confusion != NULL && strcmp(o->out, o->confusion) == 0) {
        fail("'%s' would be both the classifier and the table of --confusion", o->out);
        return EXIT_USAGE;
    }
    if (!path_writable(o->out) || !path_writable(o->confusion))
        return code;
    watch->json = o->json;
    TRY(place_open(&o->place, &device));
    TRY(model_open(o->paths[0], &o->file, device, &model));
    TRY(dataset_open(o->paths[1], o->limit, &train));
    TRY(dataset_open(o->paths[2], 0, &test));
    status = train_fn(model, train, test, options, &classifier);
    clear(watch);
    if (status == MOCO_OK) {
        signals_begin("moco: stopping; what was learnt is saved first\n");
        code = report(o, classifier, seconds_now() - started);
        signals_end();
    }
cleanup:
    if (status != MOCO_OK)
        code = finish(status, NULL);
    moco_classifier_free(classifier);
    moco_dataset_free(test);
    moco_dataset_free(train);
    moco_model_free(model);
    moco_device_free(device);
    return code;
}
