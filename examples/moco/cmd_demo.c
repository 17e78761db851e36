/* moco demo: draws an image set, measures an untrained encoder on it, trains, measures again, and
 * shows both. Everything goes the way of any other data: JPEG files in folders, the loader, the
 * trainer, snapshots. */
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "demo_images.h"
#include "demo_sheet.h"
#include "output.h"
#include "progress.h"

/* The run; chosen so that two cores are done within 90 seconds, drawing and measuring included. */
#define TRAIN_PER_CLASS 200
#define TEST_PER_CLASS 40
#define NEIGHBOURS 50 /* that vote in kNN */
#define SHEET_ROWS 16
#define SHEET_NEIGHBOURS 5
#define DEFAULT_SECONDS 75

/* moco-cifar with a small network, queue and batch (what counts is the number of steps), crops that
 * keep the pattern in view, and colour changes as strong as those of the images. Keys are at most
 * eight steps old: with faster changes or an older queue, telling old keys from new ones is easier
 * than telling images apart, and nothing else is learnt. */
static const char *const settings[][2] = {
    {"arch", "resnet18"},        {"width", "0.125"},     {"image_size", "24"},     {"batch_size", "32"},
    {"bn_groups", "2"},          {"epochs", "36"},       {"queue_length", "256"},  {"base_lr", "0.16"},
    {"key_momentum", "0.97"},    {"temperature", "0.2"}, {"crop_min_area", "0.3"}, {"jitter_hue", "0.5"},
    {"gray_probability", "0.4"},
};

typedef struct demo_options {
    const char *folder;
    int64_t seconds, seed;
    int json;
    run_place_t place;
} demo_options_t;

/* All that a demo opens. */
typedef struct demo {
    const demo_options_t *options;
    moco_device_t *device;
    moco_dataset_t *train, *test;
    moco_trainer_t *trainer;
    moco_trainer_options_t trained;
    progress_t progress;
    double started; /* of training                    */
    int out_of_time;
    moco_step_report_t last; /* of the last step               */
} demo_t;

/* What one model is worth. */
typedef struct demo_measure {
    moco_knn_result_t knn;
    demo_hits_t hits;
} demo_measure_t;

static int parse(int argc, char **argv, demo_options_t *options)
{
    const arg_option_t table[] = {
        {"out", 'o', ARG_TEXT, &options->folder, "DIR", "folder for everything (default moco-demo)", 0, 0, NULL},
        {"seconds", 0, ARG_INTEGER, &options->seconds, "N", "stop training after so long, done or not (default 75)", 1,
         86400, NULL},
        {"seed", 0, ARG_INTEGER, &options->seed, "S", "of the images and of the training (default 1)", 0, INT64_MAX,
         NULL},
        PLACE_OPTIONS(options->place),
        {"json", 0, ARG_FLAG, &options->json, NULL, "one JSON object per line on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    /* clang-format off */
    const arg_command_t command = {
        "demo", "Draw a small image set, train on it, show what was learnt.", "", 0, 0, table,
        "DIR receives images/train and images/test, the run's checkpoint.safetensors, model.safetensors and\n"
        "log.jsonl, and neighbours.jpg: queries with their nearest images before and after training."};
    /* clang-format on */

    return args_parse(&command, argc, argv, NULL);
}

/* images/train and images/test below the folder. */
static int draw_images(demo_t *demo)
{
    char images[PATH_SIZE], train[PATH_SIZE], test[PATH_SIZE];
    const uint64_t seed = (uint64_t)demo->options->seed;
    const double started = seconds_now();
    moco_status_t status;

    if (folder_make(demo->options->folder) != 0 || path_join(images, demo->options->folder, "images") != 0 ||
        path_join(train, images, "train") != 0 || path_join(test, images, "test") != 0 || folder_make(images) != 0)
        return EXIT_FAILED;
    /* Numbers never meet, so no test image is a training image. */
    if (demo_write_images(train, seed, 0, TRAIN_PER_CLASS) != 0 ||
        demo_write_images(test, seed, TRAIN_PER_CLASS, TEST_PER_CLASS) != 0)
        return EXIT_FAILED;
    if ((status = dataset_open(train, 0, &demo->train)) != MOCO_OK ||
        (status = dataset_open(test, 0, &demo->test)) != MOCO_OK)
        return finish(status, NULL);
    if (demo->options->json)
        output_json(json_pack("{s:s, s:i, s:i, s:i, s:i, s:o, s:o}", "event", "images", "train",
                              (int)moco_dataset_count(demo->train), "test", (int)moco_dataset_count(demo->test),
                              "classes", DEMO_CLASSES, "side", DEMO_SIDE, "seconds",
                              output_real(seconds_now() - started, 3), "folder", output_text(images)));
    else
        printf("drew %d training and %d held-out images of %d patterns in %s (%.1f s)\n",
               (int)moco_dataset_count(demo->train), (int)moco_dataset_count(demo->test), DEMO_CLASSES, images,
               seconds_now() - started);
    fflush(stdout);
    return EXIT_DONE;
}

static int create_trainer(demo_t *demo)
{
    moco_status_t status = MOCO_OK;

    TRY(moco_trainer_options_init(&demo->trained, sizeof demo->trained, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE));
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        TRY(moco_trainer_options_set(&demo->trained, settings[i][0], settings[i][1]));
    demo->trained.seed = (uint64_t)demo->options->seed;
    demo->trained.loader_threads = (int32_t)demo->options->place.loader_threads;
    TRY(moco_trainer_create(&demo->trained, demo->device, &demo->trainer));
cleanup:
    return finish(status, NULL);
}

static int32_t on_wait(void *user, int64_t done, int64_t total)
{
    progress_images(user, done, total);
    return 0;
}

/* kNN accuracy of the trainer as it is now, and the neighbours for the sheet. */
static int measure(demo_t *demo, const char *when, demo_measure_t *measure)
{
    const int32_t loaders = (int32_t)demo->options->place.loader_threads;
    moco_model_t *model = NULL;
    moco_knn_options_t how;
    moco_status_t status = MOCO_OK;

    measure->knn.struct_size = sizeof measure->knn;
    progress_start(&demo->progress, "measure", 0);
    TRY(moco_trainer_snapshot(demo->trainer, NULL, NULL, &model));
    TRY(moco_knn_options_init(&how, sizeof how));
    how.k = NEIGHBOURS;
    how.loader_threads = loaders;
    how.cancel = signals_cancel();
    how.progress = on_wait;
    how.user = &demo->progress;
    TRY(moco_knn_measure(model, demo->train, demo->test, &how, &measure->knn));
    TRY(demo_hits_find(&measure->hits, model, demo->train, demo->test, SHEET_ROWS, SHEET_NEIGHBOURS, demo->device,
                       loaders));
    progress_clear(&demo->progress);
    if (demo->options->json)
        output_json(json_pack("{s:s, s:s, s:o, s:o, s:o}", "event", "knn", "when", when, "top1",
                              output_real(measure->knn.top1, 3), "chance", output_real(measure->knn.chance, 3),
                              "neighbours_right",
                              output_real(demo_hits_right(&measure->hits, demo->train, demo->test), 3)));
    else
        printf("kNN accuracy on held-out images %s training: %.1f %% (chance %.1f %%)\n", when, measure->knn.top1,
               measure->knn.chance);
    fflush(stdout);
cleanup:
    progress_clear(&demo->progress);
    moco_model_free(model);
    return finish(status, NULL);
}

static int32_t on_step(void *user, const moco_step_report_t *report)
{
    demo_t *demo = user;

    demo->last = *report;
    progress_step(&demo->progress, report);
    demo->out_of_time = seconds_now() - demo->started > (double)demo->options->seconds;
    return demo->out_of_time;
}

static int train(demo_t *demo)
{
    moco_run_options_t how;
    moco_status_t status = moco_run_options_init(&how, sizeof how);
    double seconds;

    if (status != MOCO_OK)
        return finish(status, NULL);
    progress_start(&demo->progress, "train", demo->trained.epochs);
    demo->started = seconds_now();
    how.cancel = signals_cancel();
    how.progress = on_step;
    how.user = demo;
    signals_begin("moco: stopping: the step in work is dropped, saving\n");
    status = moco_trainer_run(demo->trainer, demo->train, NULL, demo->options->folder, &how);
    signals_end();
    seconds = seconds_now() - demo->started;
    progress_clear(&demo->progress);
    if (status == MOCO_ERR_CANCELLED && demo->out_of_time && !signals_pending())
        status = MOCO_OK; /* the time was up: saved, and good enough to look at */
    if (status != MOCO_OK)
        return finish(status, NULL);
    if (demo->options->json)
        output_json(json_pack("{s:s, s:I, s:o, s:o, s:o, s:b}", "event", "trained", "steps",
                              (json_int_t)demo->last.step, "seconds", output_real(seconds, 3), "loss",
                              output_real(demo->last.epoch_loss, 4), "chance_loss",
                              output_real(demo->last.chance_loss, 4), "stopped_early", demo->out_of_time));
    else
        printf("trained %lld steps of %d images without labels in %.1f s%s: loss %.3f (chance %.3f)\n",
               (long long)demo->last.step, (int)demo->trained.batch_size, seconds,
               demo->out_of_time ? " (stopped by --seconds)" : "", demo->last.epoch_loss, demo->last.chance_loss);
    fflush(stdout);
    return EXIT_DONE;
}

static int conclude(demo_t *demo, const demo_measure_t *before, const demo_measure_t *after)
{
    char sheet[PATH_SIZE], model[PATH_SIZE];
    int code;

    if (path_join(sheet, demo->options->folder, "neighbours.jpg") != 0 ||
        path_join(model, demo->options->folder, "model.safetensors") != 0)
        return EXIT_FAILED;
    code = demo_sheet_write(sheet, demo->train, demo->test, &before->hits, &after->hits, before->knn.top1,
                            after->knn.top1);
    if (code != EXIT_DONE)
        return code;
    if (demo->options->json) {
        output_json(json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "event", "done", "untrained",
                              output_real(before->knn.top1, 3), "trained", output_real(after->knn.top1, 3), "chance",
                              output_real(after->knn.chance, 3), "sheet", output_text(sheet), "model",
                              output_text(model)));
        return EXIT_DONE;
    }
    printf("\nkNN %.1f %% -> %.1f %%, chance %.1f %%", before->knn.top1, after->knn.top1, after->knn.chance);
    if (after->knn.top1 > before->knn.top1)
        printf(": the same network, images and measure, so the %.1f points come from training",
               after->knn.top1 - before->knn.top1);
    printf("\n%s: green frames have the query's class\n"
           "%s: try  moco near %s %s/images/train %s/images/test/%s/0000.jpg\n",
           sheet, model, model, demo->options->folder, demo->options->folder, demo_class_names[0]);
    return EXIT_DONE;
}

int cmd_demo(int argc, char **argv)
{
    demo_options_t options = {.folder = "moco-demo", .seconds = DEFAULT_SECONDS, .seed = 1};
    demo_t demo = {.options = &options};
    demo_measure_t before = {0}, after = {0};
    moco_status_t status;
    int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    if ((status = place_open(&options.place, &demo.device)) != MOCO_OK)
        return finish(status, NULL);
    if ((code = draw_images(&demo)) == EXIT_DONE && (code = create_trainer(&demo)) == EXIT_DONE &&
        (code = measure(&demo, "before", &before)) == EXIT_DONE && (code = train(&demo)) == EXIT_DONE &&
        (code = measure(&demo, "after", &after)) == EXIT_DONE)
        code = conclude(&demo, &before, &after);
    demo_hits_free(&after.hits);
    demo_hits_free(&before.hits);
    moco_trainer_free(demo.trainer);
    moco_dataset_free(demo.test);
    moco_dataset_free(demo.train);
    moco_device_free(demo.device);
    return code;
}
