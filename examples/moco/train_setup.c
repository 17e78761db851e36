/* Before the first step of `moco train`: see train_setup.h. Called by cmd_train.c only. */
#include "train_setup.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "output.h"
#include "settings.h"

static const char notes[] =
    "Values that are not given come from the recipe (default moco-v2): architecture, image size, batch, batch-norm\n"
    "groups, queue and all the rest; --print shows them. Batch-norm groups are part of the algorithm: their number\n"
    "stays the recipe's whatever the batch is, and the batch must be a multiple of it. moco-v3 with a ViT is\n"
    "moco-v3-vit.\n\n"
    "RUN receives checkpoint.safetensors, model.safetensors and log.jsonl after every epoch, every --save-every\n"
    "steps, every --save-minutes and at any stop. Ctrl-C, SIGTERM and SIGHUP drop the step in work and save; a second\n"
    "one cuts nothing short. --resume takes the options from the checkpoint and needs the same DATA and --limit;\n"
    "threads, loader-threads, memory-cap, max-broken, steps, eval, eval-every, save-every and save-minutes may differ.";

int train_parse(int argc, char **argv, train_options_t *options)
{
    const arg_option_t table[] = {
        {"out", 'o', ARG_TEXT, &options->run, "RUN", "folder of this run", 0, 0, NULL},
        {"recipe", 0, ARG_TEXT, &options->recipe, "NAME", SETTINGS_RECIPES, 0, 0, NULL},
        {"print", 0, ARG_FLAG, &options->print, NULL, "show all option values and end", 0, 0, NULL},
        SETTINGS_FIELDS(options->settings),
        SETTINGS_PRECISION(options->settings),
        SETTINGS_FIELD(options->settings, "epochs", "N", "passes over the data", "epochs"),
        SETTINGS_FIELD(options->settings, "lr", "L", "base_lr: the learning rate before it is scaled to the batch",
                       "base_lr"),
        {"steps", 0, ARG_INTEGER, &options->steps, "N", "stop at step N of the run, schedule unchanged", 1, INT64_MAX,
         NULL},
        {"limit", 0, ARG_INTEGER, &options->limit, "N", "use N images, spread evenly over the listing", 1, INT64_MAX,
         NULL},
        {"eval", 0, ARG_TEXT, &options->eval, "TEST", "labelled images for kNN, before step 1 and later", 0, 0, NULL},
        {"eval-every", 0, ARG_INTEGER, &options->eval_every, "EPOCHS", "epochs between kNN evaluations", 1, 1000000,
         NULL},
        {"save-every", 0, ARG_INTEGER, &options->save_every, "STEPS", "also save inside an epoch", 1, INT64_MAX, NULL},
        {"save-minutes", 0, ARG_NUMBER, &options->save_minutes, "M",
         "and when so long has passed (default 10, 0 = never)", 0, 0, NULL},
        {"resume", 0, ARG_FLAG, &options->resume, NULL, "go on from RUN/checkpoint.safetensors", 0, 0, NULL},
        PLACE_OPTIONS(options->place),
        {"memory-cap", 0, ARG_BYTES, &options->memory_cap, "BYTES", "refuse to plan more, such as 2G or 512M", 0, 0,
         NULL},
        {"max-broken", 0, ARG_TEXT, &options->max_broken, "N|P%", "broken images allowed (default 50%)", 0, 0, NULL},
        {"set", 0, ARG_SETTING, &options->settings, "name=value", "any trainer option, repeatable", 0, 0, NULL},
        {"json", 0, ARG_FLAG, &options->json, NULL, "one JSON object per line on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {"train", "Learn an encoder from unlabelled JPEG images.", "DATA -o RUN", 0, 1, table,
                                   notes};
    int code;

    memset(options, 0, sizeof *options);
    options->steps = options->limit = options->eval_every = options->save_every = options->memory_cap = ARG_ABSENT;
    options->save_minutes = NAN;
    if ((code = args_parse(&command, argc, argv, &options->data)) != ARG_GO_ON)
        return code;
    if (options->print && !options->resume)
        return ARG_GO_ON;
    if (options->run == NULL || (options->data == NULL && !options->print)) {
        fprintf(stderr, "moco train: %s is missing\ntry: moco train --help\n",
                options->run == NULL ? "-o RUN" : "DATA");
        return EXIT_USAGE;
    }
    if (options->eval_every != ARG_ABSENT && options->eval == NULL) {
        fputs("moco train: --eval-every needs --eval TEST\n", stderr);
        return EXIT_USAGE;
    }
    return ARG_GO_ON;
}

/* "25" or "10%": a number replaces the share, and 0 of either allows no broken image at all. */
static int apply_max_broken(const char *text, moco_trainer_options_t *trainer)
{
    char *end = NULL;
    const long long value = strtoll(text, &end, 10);
    const int percent = end != text && strcmp(end, "%") == 0;

    if (end == text || value < 0 || (!percent && *end != '\0') || (percent && value > 100)) {
        fprintf(stderr, "moco train: --max-broken: '%s' is not a number of images or a share such as 10%%\n", text);
        return EXIT_USAGE;
    }
    trainer->max_broken = percent ? 0 : value;
    trainer->max_broken_percent = percent ? (int32_t)value : value > 0 ? 100 : 0;
    return EXIT_DONE;
}

/* What the command line says that is no recipe's value. */
static int apply_rest(const train_options_t *options, moco_trainer_options_t *trainer)
{
    if (options->memory_cap != ARG_ABSENT)
        trainer->memory_cap = options->memory_cap;
    if (options->place.loader_threads > 0)
        trainer->loader_threads = (int32_t)options->place.loader_threads;
    return options->max_broken != NULL ? apply_max_broken(options->max_broken, trainer) : EXIT_DONE;
}

static int new_options(const train_options_t *options, moco_trainer_options_t *trained)
{
    const int code = settings_options("train", options->recipe, &options->settings, trained);

    return code == EXIT_DONE ? apply_rest(options, trained) : code;
}

/* The checkpoint's trainer, with the options that may differ; the library refuses the others and
 * names both values. */
static int resumed_trainer(const train_options_t *options, moco_device_t *device, moco_trainer_options_t *trained,
                           moco_trainer_t **trainer)
{
    moco_trainer_options_t saved, asked;
    moco_status_t status = MOCO_OK;
    char path[PATH_SIZE];
    int32_t recipe;
    int code;

    if (path_join(path, options->run, "checkpoint.safetensors") != 0)
        return EXIT_FAILED;
    TRY(moco_trainer_options_load(path, &saved, sizeof saved));
    *trained = saved;
    if ((code = settings_apply("train", &options->settings, trained)) != EXIT_DONE ||
        (code = apply_rest(options, trained)) != EXIT_DONE)
        return code;
    if (options->recipe != NULL) {
        if ((code = settings_recipe("train", options->recipe, &recipe)) != EXIT_DONE)
            return code;
        TRY(moco_trainer_options_init(&asked, sizeof asked, recipe, saved.arch));
        trained->recipe = asked.recipe;
    }
    TRY(moco_trainer_load(path, trained, device, trainer));
cleanup:
    return finish(status, options->run);
}

int train_print(const train_options_t *options)
{
    moco_trainer_options_t trained;
    moco_trainer_t *trainer = NULL;
    moco_status_t status = MOCO_OK;
    json_t *values = NULL;
    const int code = options->resume ? resumed_trainer(options, NULL, &trained, &trainer)
                                     : new_options(options, &trained);

    moco_trainer_free(trainer);
    if (code != EXIT_DONE)
        return code;
    FETCH_JSON(status, values, moco_trainer_options_json, &trained);
    if (status != MOCO_OK)
        return finish(status, NULL);
    if (options->json) {
        output_json(values);
        return EXIT_DONE;
    }
    output_table(values, 0);
    json_decref(values);
    return EXIT_DONE;
}

static int file_empty(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == 0;
}

int train_folder_check(const train_options_t *options)
{
    static const char *const traces[] = {"checkpoint.safetensors", "model.safetensors", "log.jsonl"};
    char path[PATH_SIZE];

    for (int i = 0; i < 3; i++) {
        if (path_join(path, options->run, traces[i]) != 0)
            return -1;
        /* An empty log is of a run that was killed before its first step. */
        if (!options->resume && path_exists(path) && !(i == 2 && file_empty(path))) {
            fail(i < 2 ? "'%s' holds a run already (%s): choose another folder, or go on with --resume"
                       : "'%s' holds the log of a run that never saved (%s): choose another folder, or remove it",
                 options->run, traces[i]);
            return -1;
        }
        if (options->resume && i == 0 && !path_exists(path)) {
            fail("nothing to resume: '%s' has no %s", options->run, traces[i]);
            return -1;
        }
    }
    return 0;
}

/* Memory and rates before they are taken. */
static moco_status_t show_plan(const train_options_t *options, const moco_trainer_options_t *trained,
                               moco_device_t *device, const moco_dataset_t *dataset)
{
    const int64_t images = moco_dataset_count(dataset);
    const int64_t steps = images / trained->batch_size;
    moco_status_t status = MOCO_OK;
    json_t *plan = NULL, *values = NULL;

    FETCH_JSON(status, plan, moco_trainer_plan, trained, device);
    if (status == MOCO_OK)
        FETCH_JSON(status, values, moco_trainer_options_json, trained);
    if (status != MOCO_OK)
        goto cleanup;
    if (options->json) {
        output_json(json_pack("{s:s, s:o, s:I, s:i, s:I, s:f, s:O, s:O}", "event", "plan", "data",
                              output_text(options->data), "images", (json_int_t)images, "classes",
                              (int)moco_dataset_classes(dataset), "steps_per_epoch", (json_int_t)steps, "effective_lr",
                              json_number_value(json_object_get(plan, "effective_lr")), "memory", plan, "options",
                              values));
    } else {
        printf("%s, %s at width %g, %d pixels: %lld images, batch %d on %d batch-norm groups",
               json_string_value(json_object_get(values, "recipe")), json_string_value(json_object_get(values, "arch")),
               trained->width, (int)trained->image_size, (long long)images, (int)trained->batch_size,
               (int)trained->bn_groups);
        if (trained->loss == MOCO_LOSS_QUEUE)
            printf(", queue %lld", (long long)trained->queue_length);
        printf("\n%d epochs of %lld steps, learning rate %.6g\nplan\n", (int)trained->epochs, (long long)steps,
               json_number_value(json_object_get(plan, "effective_lr")));
        output_table(plan, 2);
        fflush(stdout);
    }
cleanup:
    json_decref(plan);
    json_decref(values);
    return status;
}

/* The greatest power of two that fits as a batch, on as many of the groups as it can have. */
static int too_few(const train_options_t *options, const moco_trainer_options_t *trained, int64_t images)
{
    int batch = 2, groups = trained->bn_groups;

    while (batch * 2 <= images)
        batch *= 2;
    while (groups > 1 && (batch % groups != 0 || batch / groups < 2))
        groups--;
    if (images < 2)
        return fail("'%s' has %lld image%s, a batch needs at least 2", options->data, (long long)images,
                    images == 1 ? "" : "s");
    if (groups == trained->bn_groups)
        return fail("'%s' has %lld images, a batch needs %d: --batch %d would fit", options->data, (long long)images,
                    (int)trained->batch_size, batch);
    return fail("'%s' has %lld images, a batch needs %d: --batch %d --bn-groups %d would fit", options->data,
                (long long)images, (int)trained->batch_size, batch, groups);
}

int train_trainer(const train_options_t *options, moco_device_t *device, const moco_dataset_t *dataset,
                  moco_trainer_options_t *trained, moco_trainer_t **trainer)
{
    moco_status_t status = MOCO_OK;
    int code = options->resume ? resumed_trainer(options, device, trained, trainer) : new_options(options, trained);

    if (code != EXIT_DONE)
        return code;
    if (*trainer == NULL && moco_dataset_count(dataset) < trained->batch_size)
        return too_few(options, trained, moco_dataset_count(dataset));
    TRY(show_plan(options, trained, device, dataset));
    if (*trainer == NULL)
        TRY(moco_trainer_create(trained, device, trainer));
    TRY(signals_check());
cleanup:
    code = finish(status, NULL);
    return status == MOCO_ERR_ARGUMENT ? EXIT_USAGE : code; /* options that disagree with each other */
}
