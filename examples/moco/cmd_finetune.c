/* moco finetune: train all of an encoder and a classifier on labelled images. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "confusion.h"
#include "output.h"
#include "progress.h"

typedef struct finetune_options {
    const char *paths[3]; /* MODEL, TRAIN, TEST */
    const char *out, *confusion;
    int optimizer, json; /* position in "adamw|sgd" */
    int64_t epochs, batch, devices, limit, eval_every, seed, warmup;
    double lr, weight_decay, label_smoothing, mixup, drop_path; /* not a number = the optimizer's own */
    run_place_t place;
} finetune_options_t;

static const char notes[] =
    "Images need classes: first sub-folders, or labels in a list; those of TEST are matched by name. TEST only "
    "measures:\n"
    "the weights of the last epoch are kept. Rates are for a batch of 256 and follow the batch.\n"
    "  adamw  rate 2.5e-4, decay 0.05, 100 epochs, 5 of warm-up, mixup 0.8, drop path 0.1\n"
    "  sgd    rate 0.01, momentum 0.9, decay 1e-4, 100 epochs\n"
    "Both: batch 128, a cosine, label smoothing 0.1, crops of 8 to 100 % of the area, flips.";

static int parse(int argc, char **argv, finetune_options_t *o)
{
    const arg_option_t table[] = {
        {"out", 'o', ARG_TEXT, &o->out, "FILE.safetensors", "where encoder and classifier go", 0, 0, NULL},
        {"optimizer", 0, ARG_CHOICE, &o->optimizer, "adamw|sgd", "and its values below (default adamw)", 0, 0, NULL},
        {"epochs", 0, ARG_INTEGER, &o->epochs, "N", "epochs", 1, 1000000, NULL},
        {"batch", 0, ARG_INTEGER, &o->batch, "N", "images a step", 2, 65536, NULL},
        {"bn-groups", 0, ARG_INTEGER, &o->devices, "V", "batch-norm groups of a batch (default 1)", 1, 65536,
         NULL},
        {"lr", 0, ARG_NUMBER, &o->lr, "L", "learning rate at batch 256", 0, 0, NULL},
        {"weight-decay", 0, ARG_NUMBER, &o->weight_decay, "W", "weight decay", 0, 0, NULL},
        {"warmup", 0, ARG_INTEGER, &o->warmup, "N", "epochs in which the rate rises from 0", 0, 1000000, NULL},
        {"label-smoothing", 0, ARG_NUMBER, &o->label_smoothing, "S", "share of a target spread over all classes", 0, 0,
         NULL},
        {"mixup", 0, ARG_NUMBER, &o->mixup, "A", "alpha of mixup, 0 = none", 0, 0, NULL},
        {"drop-path", 0, ARG_NUMBER, &o->drop_path, "P", "probability of leaving out the last residual branch", 0, 0,
         NULL},
        {"limit", 0, ARG_INTEGER, &o->limit, "N", "use N training images, spread evenly over the listing", 1,
         INT64_MAX, NULL},
        {"eval-every", 0, ARG_INTEGER, &o->eval_every, "N", "measure on TEST every N epochs (default: at the end)", 1,
         1000000, NULL},
        {"seed", 0, ARG_INTEGER, &o->seed, "N", "of first weights, order, crops, mixes, dropped paths (default 0)", 0,
         INT64_MAX, NULL},
        {"confusion", 0, ARG_TEXT, &o->confusion, "FILE.tsv", "write counts: rows true classes, columns answers", 0, 0,
         NULL},
        PLACE_OPTIONS(o->place),
        {"json", 0, ARG_FLAG, &o->json, NULL, "epochs and result as JSON lines on stdout", 0, 0, NULL},
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {"finetune", "Train all of an encoder and a classifier on labelled images.",
                                   "MODEL TRAIN TEST", 3, 3, table, notes};
    const int code = args_parse(&command, argc, argv, o->paths);

    if (code != ARG_GO_ON || o->out != NULL)
        return code;
    fputs("moco finetune: -o is missing: a file for encoder and classifier\ntry: moco finetune --help\n", stderr);
    return EXIT_USAGE;
}

static void put_number(double given, double *field)
{
    if (!isnan(given))
        *field = given;
}

static void put_whole(int64_t given, int32_t *field)
{
    if (given != ARG_ABSENT)
        *field = (int32_t)given;
}

static moco_status_t fill(const finetune_options_t *o, moco_finetune_options_t *filled)
{
    const moco_status_t status = moco_finetune_options_init(
        filled, sizeof *filled, o->optimizer == 0 ? MOCO_OPTIMIZER_ADAMW : MOCO_OPTIMIZER_SGD);

    if (status != MOCO_OK)
        return status;
    filled->seed = (uint64_t)o->seed;
    filled->loader_threads = (int32_t)o->place.loader_threads;
    put_whole(o->epochs, &filled->epochs);
    put_whole(o->batch, &filled->batch_size);
    put_whole(o->devices, &filled->bn_groups);
    put_whole(o->eval_every, &filled->eval_every);
    put_number(o->lr, &filled->lr);
    put_number(o->weight_decay, &filled->weight_decay);
    put_number(o->label_smoothing, &filled->label_smoothing);
    put_number(o->mixup, &filled->mixup);
    put_number(o->drop_path, &filled->drop_path);
    if (o->warmup == ARG_ABSENT && filled->warmup_epochs > filled->epochs / 2)
        filled->warmup_epochs = filled->epochs / 2; /* a run shorter than the published one */
    put_whole(o->warmup, &filled->warmup_epochs);
    return MOCO_OK;
}

typedef struct watch {
    progress_t progress;
    int json;
    int32_t phase;
} watch_t;

static int32_t on_report(void *user, const moco_finetune_report_t *r)
{
    watch_t *watch = user;

    if (r->phase != watch->phase) {
        progress_clear(&watch->progress);
        if (watch->phase < 0)
            progress_start(&watch->progress, "finetune", r->epochs);
        watch->phase = r->phase;
    }
    if (r->phase == MOCO_FINETUNE_TRAINING)
        progress_finetune(&watch->progress, r);
    if (watch->json && r->epoch_end) {
        json_t *line = json_pack("{s:s, s:i, s:i, s:I, s:o, s:o}", "event", "epoch", "epoch", r->epoch + 1, "epochs",
                                 r->epochs, "step", (json_int_t)r->step, "loss", output_real(r->loss, 6), "lr",
                                 output_real(r->lr, 9));
        if (line != NULL && r->top1 >= 0) {
            json_object_set_new(line, "top1", output_real(r->top1, 4));
            json_object_set_new(line, "top5", output_real(r->top5, 4));
        }
        output_json(line);
    }
    return signals_pending();
}

static void report_json(const finetune_options_t *o, const moco_finetune_result_t *r, double seconds)
{
    json_t *line = json_pack(
        "{s:s, s:o, s:o, s:f, s:o, s:o, s:o, s:i, s:i, s:I, s:I, s:I, s:o}", "event", "done", "top1",
        output_real(r->top1, 4), "top5", output_real(r->top5, 4), "lr", r->lr, "train_loss",
        output_real(r->train_loss, 6), "test_loss", output_real(r->test_loss, 6), "chance", output_real(r->chance, 4),
        "classes", r->classes, "features", r->features, "steps", (json_int_t)r->steps, "train_images",
        (json_int_t)r->train_images, "test_images", (json_int_t)r->test_images, "seconds", output_real(seconds, 3));

    if (line != NULL)
        json_object_set_new(line, "file", output_text(o->out));
    output_json(line);
}

static const char *class_name(const void *finetune, int32_t label)
{
    return moco_finetune_class_name(finetune, label);
}

static int write_confusion(const moco_finetune_t *finetune, int32_t classes, const char *path)
{
    int64_t *table = calloc((size_t)classes * (size_t)classes, sizeof *table);
    int code;

    if (table == NULL)
        return fail("no memory for a table of %d classes", (int)classes);
    if (moco_finetune_confusion(finetune, table) == MOCO_OK)
        code = confusion_write(path, classes, class_name, finetune, table);
    else
        code = fail("'%s' is not written: %s", path, moco_last_message());
    free(table);
    return code;
}

static int report(const finetune_options_t *o, const moco_finetune_t *finetune, double seconds)
{
    moco_finetune_result_t r = {.struct_size = sizeof r};
    moco_status_t status = moco_finetune_result(finetune, &r);
    int code = EXIT_DONE;

    if (status == MOCO_OK)
        status = moco_finetune_save(finetune, o->out);
    if (status != MOCO_OK)
        code = finish(status, NULL);
    if (o->confusion != NULL && write_confusion(finetune, r.classes, o->confusion) != EXIT_DONE)
        code = EXIT_FAILED;
    if (code != EXIT_DONE) /* what was measured is worth showing all the same */
        fprintf(stderr, "moco: top-1 %.2f %%, top-5 %.2f %%, not all of it saved\n", r.top1, r.top5);
    else if (o->json)
        report_json(o, &r, seconds);
    else
        printf("top-1 %.2f %%, top-5 %.2f %% (chance %.2f %%) after %lld steps: %lld test images, %lld training images "
               "an epoch, %.1f s\nencoder and classifier in %s\n",
               r.top1, r.top5, r.chance, (long long)r.steps, (long long)r.test_images, (long long)r.train_images,
               seconds, o->out);
    return code;
}

int cmd_finetune(int argc, char **argv)
{
    finetune_options_t options = {.epochs = ARG_ABSENT, .batch = ARG_ABSENT, .devices = ARG_ABSENT,
                                  .eval_every = ARG_ABSENT, .warmup = ARG_ABSENT, .lr = NAN, .weight_decay = NAN,
                                  .label_smoothing = NAN, .mixup = NAN, .drop_path = NAN};
    moco_finetune_options_t filled;
    moco_device_t *device = NULL;
    moco_model_t *model = NULL;
    moco_dataset_t *train = NULL, *test = NULL;
    moco_finetune_t *finetune = NULL;
    moco_status_t status = MOCO_OK;
    const double started = seconds_now();
    watch_t watch = {.phase = -1};
    int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    if (!path_writable(options.out) || !path_writable(options.confusion))
        return EXIT_FAILED;
    watch.json = options.json;
    TRY(fill(&options, &filled));
    TRY(place_open(&options.place, &device));
    TRY(moco_model_load(options.paths[0], NULL, device, &model));
    TRY(dataset_open(options.paths[1], options.limit, &train));
    TRY(dataset_open(options.paths[2], 0, &test));
    status = moco_finetune(model, train, test, &filled, on_report, &watch, &finetune);
    progress_clear(&watch.progress);
    if (status == MOCO_OK)
        code = report(&options, finetune, seconds_now() - started);
cleanup:
    if (status != MOCO_OK)
        code = finish(status, NULL);
    moco_finetune_free(finetune);
    moco_dataset_free(test);
    moco_dataset_free(train);
    moco_model_free(model);
    moco_device_free(device);
    return code;
}
