/* moco train: options -> trainer (new or resumed) -> moco_trainer_run, with progress, plan and
 * results around it. What a run is called and how it is described before it starts lives in
 * train_setup.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "output.h"
#include "progress.h"
#include "train_setup.h"

/* What the step callback needs and leaves behind. */
typedef struct watch {
    const train_options_t *options;
    progress_t progress;
    int32_t log_every, batch_size;
    int64_t first_step, last_step; /* done before this run; done now */
    int64_t epochs;                /* finished                       */
    double step_seconds;           /* of the steps, waiting for data included */
    double loss, epoch_loss;       /* of the last step; the mean of its epoch so far */
    double first_knn, last_knn;    /* percent, -1 = not measured     */
} watch_t;

static void report_knn(watch_t *watch, const moco_step_report_t *r)
{
    const long long epochs = r->step > 0 ? (long long)r->epoch + 1 : 0;

    if (watch->first_knn < 0)
        watch->first_knn = r->knn_top1;
    watch->last_knn = r->knn_top1;
    if (watch->options->json) {
        output_json(json_pack("{s:s, s:I, s:I, s:o}", "event", "knn", "step", (json_int_t)r->step, "epochs",
                              (json_int_t)epochs, "top1", output_real(r->knn_top1, 3)));
        return;
    }
    progress_clear(&watch->progress);
    if (r->step == 0)
        printf("kNN before training: %.2f %%\n", r->knn_top1);
    else
        printf("kNN after epoch %lld: %.2f %%\n", epochs, r->knn_top1);
    fflush(stdout);
}

static void report_step(const moco_step_report_t *r)
{
    output_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "event",
                          "step", "step", (json_int_t)r->step, "steps_total", (json_int_t)r->steps_total, "epoch",
                          (json_int_t)r->epoch, "step_in_epoch", (json_int_t)r->step_in_epoch, "steps_per_epoch",
                          (json_int_t)r->steps_per_epoch, "loss", output_real(r->loss, 6), "epoch_loss",
                          output_real(r->epoch_loss, 6), "chance_loss", output_real(r->chance_loss, 6), "lr",
                          output_real(r->lr, 9), "contrast_top1", output_measured(r->contrast_top1, 3), "contrast_top5",
                          output_measured(r->contrast_top5, 3), "queue_fill", output_real(r->queue_fill, 6),
                          "images_per_second", output_real(r->images_per_second, 2), "eta_seconds",
                          output_real(r->eta_seconds, 1)));
}

static int32_t on_step(void *user, const moco_step_report_t *report)
{
    watch_t *watch = user;
    const int epoch_end = report->steps_per_epoch > 0 && report->step_in_epoch == report->steps_per_epoch;

    /* An evaluation may come in a report of its own, for a step that has been shown. */
    if (report->step > watch->last_step) {
        watch->last_step = report->step;
        if (report->images_per_second > 0)
            watch->step_seconds += watch->batch_size / report->images_per_second;
        watch->loss = report->loss;
        watch->epoch_loss = report->epoch_loss;
        watch->epochs = report->epoch + epoch_end;
        progress_step(&watch->progress, report);
        if (watch->options->json && (epoch_end || report->step % watch->log_every == 0))
            report_step(report);
    }
    if (report->knn_top1 >= 0)
        report_knn(watch, report);
    return output_unread();
}

static int64_t broken_images(const moco_dataset_t *dataset)
{
    moco_status_t status;
    json_t *info;
    int64_t broken = 0;

    FETCH_JSON(status, info, moco_dataset_info, dataset);
    if (status == MOCO_OK)
        broken = json_integer_value(json_object_get(info, "broken"));
    json_decref(info);
    return broken;
}

static void report_end(const watch_t *watch, const moco_trainer_options_t *trainer, const moco_dataset_t *dataset,
                       double seconds, int interrupted)
{
    const train_options_t *options = watch->options;
    const int64_t steps = watch->last_step - watch->first_step;
    const double speed = watch->step_seconds > 0 ? (double)steps * trainer->batch_size / watch->step_seconds : 0;
    const int64_t broken = broken_images(dataset);

    if (options->json) {
        json_t *line = json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:o}", "event",
                                 interrupted ? "interrupted" : "done", "step", (json_int_t)watch->last_step, "steps",
                                 (json_int_t)steps, "epochs", (json_int_t)watch->epochs, "seconds",
                                 output_real(seconds, 3), "images_per_second", output_real(speed, 2), "loss",
                                 steps > 0 ? output_real(watch->loss, 6) : json_null(), "epoch_loss",
                                 steps > 0 ? output_real(watch->epoch_loss, 6) : json_null(), "broken",
                                 (json_int_t)broken, "run", output_text(options->run));
        if (watch->last_knn >= 0)
            line = output_with(line, "knn_top1", output_real(watch->last_knn, 3));
        output_json(line);
        return;
    }
    if (steps == 0 && !interrupted) {
        printf("finished before: step %lld is the last one asked for, nothing to do\n", (long long)watch->last_step);
        return;
    }
    printf("%s after step %lld: %lld steps in %.1f s, %.1f images/s", interrupted ? "stopped" : "done",
           (long long)watch->last_step, (long long)steps, seconds, speed);
    if (steps > 0)
        printf(", last loss %.4f, mean of its epoch %.4f", watch->loss, watch->epoch_loss);
    if (watch->last_knn >= 0)
        printf(", kNN %.2f %% -> %.2f %%", watch->first_knn, watch->last_knn);
    if (broken > 0)
        printf(", %lld broken images left out", (long long)broken);
    putchar('\n');
    if (watch->last_step > 0)
        printf("saved in %s\n", options->run);
}

/* After a signal, or where nobody reads what is told: as good as a signal. */
static int stopped(const train_options_t *options, const moco_trainer_t *trainer)
{
    const char *why = signals_pending() ? "interrupted" : "stopped, because nobody reads the output any more";

    char checkpoint[PATH_SIZE];

    if (path_join(checkpoint, options->run, "checkpoint.safetensors") == 0 && path_exists(checkpoint))
        fail("%s; 'moco train %s -o %s --resume' goes on", why, options->data, options->run);
    else if (moco_trainer_step_number(trainer) == 0)
        fail("%s before the first step: there is nothing to save", why);
    else
        fail("%s", why); /* RUN has moved, and the library has said where to */
    return signals_pending() ? EXIT_INTERRUPTED : EXIT_FAILED;
}

/* Runs the trainer and tells how it went; everything has been opened. */
static int run(const train_options_t *options, moco_trainer_t *trainer, const moco_trainer_options_t *trained,
               moco_dataset_t *dataset, moco_dataset_t *test)
{
    moco_run_options_t run_options;
    moco_status_t status = MOCO_OK;
    const double started = seconds_now();
    watch_t watch = {.options = options, .batch_size = trained->batch_size, .first_knn = -1, .last_knn = -1};

    TRY(moco_run_options_init(&run_options, sizeof run_options));
    if (options->steps != ARG_ABSENT)
        run_options.max_steps = options->steps;
    if (options->save_every != ARG_ABSENT)
        run_options.save_every = options->save_every;
    if (!isnan(options->save_minutes)) /* the library refuses what is out of range */
        run_options.save_minutes = options->save_minutes;
    if (options->eval_every != ARG_ABSENT)
        run_options.eval_every = (int32_t)options->eval_every;
    run_options.cancel = signals_cancel();
    run_options.progress = on_step;
    run_options.user = &watch;
    watch.log_every = run_options.log_every > 0 ? run_options.log_every : 1;
    watch.first_step = watch.last_step = moco_trainer_step_number(trainer);
    progress_start(&watch.progress, "train", trained->epochs);
    signals_begin("moco: stopping: the step in work is dropped, saving\n");
    status = moco_trainer_run(trainer, dataset, test, options->run, &run_options);
    signals_end();
    progress_clear(&watch.progress);
    if (status == MOCO_OK || status == MOCO_ERR_CANCELLED)
        report_end(&watch, trained, dataset, seconds_now() - started, status != MOCO_OK);
    if (status == MOCO_ERR_CANCELLED)
        return stopped(options, trainer);
cleanup:
    return finish(status, NULL);
}

static int train(const train_options_t *options)
{
    moco_trainer_options_t trained;
    moco_device_t *device = NULL;
    moco_dataset_t *dataset = NULL, *test = NULL;
    moco_trainer_t *trainer = NULL;
    moco_status_t status = MOCO_OK;
    int code = EXIT_FAILED;

    TRY(place_open(&options->place, &device));
    TRY(dataset_open(options->data, options->limit != ARG_ABSENT ? options->limit : 0, &dataset));
    if (options->eval != NULL)
        TRY(dataset_open(options->eval, 0, &test));
    if ((code = train_trainer(options, device, dataset, &trained, &trainer)) != EXIT_DONE)
        goto cleanup;
    code = run(options, trainer, &trained, dataset, test);
cleanup:
    if (status != MOCO_OK)
        code = finish(status, NULL);
    moco_trainer_free(trainer);
    moco_dataset_free(test);
    moco_dataset_free(dataset);
    moco_device_free(device);
    return code;
}

int cmd_train(int argc, char **argv)
{
    train_options_t options;
    const int code = train_parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    if (options.print)
        return train_print(&options);
    if (train_folder_check(&options) != 0)
        return EXIT_FAILED;
    return train(&options);
}
