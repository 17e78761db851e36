/* moco finetune: train all of an encoder and a classifier on labelled images. */
#include <math.h>
#include <stdio.h>

#include "learn.h"

typedef struct finetune_options {
    learn_options_t learn;
    int optimizer; /* position in "adamw|sgd" */
    int64_t bn_groups, warmup;
    double lr, weight_decay, label_smoothing, mixup, drop_path; /* not a number = the optimizer's own */
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
    learn_options_t *learn = &o->learn;
    const arg_option_t table[] = {
        {"out", 'o', ARG_TEXT, &learn->out, "FILE.safetensors", "where encoder and classifier go", 0, 0, NULL},
        {"optimizer", 0, ARG_CHOICE, &o->optimizer, "adamw|sgd", "and its values below (default adamw)", 0, 0, NULL},
        {"epochs", 0, ARG_INTEGER, &learn->epochs, "N", "epochs", 1, 1000000, NULL},
        {"batch", 0, ARG_INTEGER, &learn->batch, "N", "images a step", 2, 65536, NULL},
        {"bn-groups", 0, ARG_INTEGER, &o->bn_groups, "V", "batch-norm groups of a batch (default 1)", 1, 65536, NULL},
        {"lr", 0, ARG_NUMBER, &o->lr, "L", "learning rate at batch 256", 0, 0, NULL},
        {"weight-decay", 0, ARG_NUMBER, &o->weight_decay, "W", "weight decay", 0, 0, NULL},
        {"warmup", 0, ARG_INTEGER, &o->warmup, "N", "epochs in which the rate rises from 0", 0, 1000000, NULL},
        {"label-smoothing", 0, ARG_NUMBER, &o->label_smoothing, "S", "share of a target spread over all classes", 0, 0,
         NULL},
        {"mixup", 0, ARG_NUMBER, &o->mixup, "A", "alpha of mixup, 0 = none", 0, 0, NULL},
        {"drop-path", 0, ARG_NUMBER, &o->drop_path, "P", "probability of leaving out the last residual branch", 0, 0,
         NULL},
        {"seed", 0, ARG_INTEGER, &learn->seed, "N", "of first weights, order, crops, mixes, dropped paths (default 0)",
         0, INT64_MAX, NULL},
        LEARN_OPTIONS(*learn),
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {
        "finetune", "Train all of an encoder and a classifier on labelled images.", "MODEL TRAIN TEST", 3, 3, table,
        notes};
    const int code = args_parse(&command, argc, argv, learn->paths);

    if (code != ARG_GO_ON || learn->out != NULL)
        return code;
    fputs("moco finetune: -o is missing: a file for encoder and classifier\ntry: moco finetune --help\n", stderr);
    return EXIT_USAGE;
}

static void put_number(double given, double *field)
{
    if (!isnan(given))
        *field = given;
}

static moco_status_t fill(const finetune_options_t *o, moco_finetune_options_t *filled)
{
    const moco_status_t status =
        moco_finetune_options_init(filled, sizeof *filled,
                                   o->optimizer == 0 ? MOCO_OPTIMIZER_ADAMW : MOCO_OPTIMIZER_SGD);

    if (status != MOCO_OK)
        return status;
    filled->seed = (uint64_t)o->learn.seed;
    filled->loader_threads = (int32_t)o->learn.place.loader_threads;
    learn_put(o->learn.epochs, &filled->epochs);
    learn_put(o->learn.batch, &filled->batch_size);
    learn_put(o->learn.eval_every, &filled->eval_every);
    learn_put(o->bn_groups, &filled->bn_groups);
    put_number(o->lr, &filled->base_lr);
    put_number(o->weight_decay, &filled->weight_decay);
    put_number(o->label_smoothing, &filled->label_smoothing);
    put_number(o->mixup, &filled->mixup);
    put_number(o->drop_path, &filled->drop_path);
    if (o->warmup == ARG_ABSENT && filled->warmup_epochs > filled->epochs / 2)
        filled->warmup_epochs = filled->epochs / 2; /* a run shorter than the published one */
    learn_put(o->warmup, &filled->warmup_epochs);
    return MOCO_OK;
}

/* learn_fn */
static moco_status_t train(moco_model_t *model, moco_dataset_t *images, moco_dataset_t *test, const void *options,
                           moco_classifier_t **out)
{
    return moco_finetune_train(model, images, test, options, out);
}

int cmd_finetune(int argc, char **argv)
{
    finetune_options_t options = {.learn = LEARN_ABSENT,
                                  .bn_groups = ARG_ABSENT,
                                  .warmup = ARG_ABSENT,
                                  .lr = NAN,
                                  .weight_decay = NAN,
                                  .label_smoothing = NAN,
                                  .mixup = NAN,
                                  .drop_path = NAN};
    learn_watch_t watch = {.verb = "finetune", .phase = -1};
    moco_finetune_options_t filled;
    const int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON)
        return code;
    const moco_status_t status = fill(&options, &filled);
    if (status != MOCO_OK)
        return finish(status, NULL);
    filled.cancel = signals_cancel();
    filled.progress = learn_report;
    filled.user = &watch;
    return learn_run(&options.learn, &watch, train, &filled);
}
