/* moco probe: linear classification on an encoder's frozen features. */
#include <stdio.h>
#include <stdlib.h>

#include "learn.h"

typedef struct probe_options {
    learn_options_t learn;
    const char *lr;
    int protocol, normalize;
} probe_options_t;

static const char notes[] =
    "Images need classes: first sub-folders, or labels in a list; those of TEST are matched by name.\n"
    "  v1      MoCo v1 and v2: random crops, 100 epochs, batch 256, rate 30, times 0.1 after 60 % and 80 %\n"
    "  v3      MoCo v3: random crops, 90 epochs, batch 1024, rate 0.1 (ViT: 3) times batch/256, cosine\n"
    "  cached  each image through the encoder once, then 100 epochs over the features, nine rates at once\n"
    "Several rates learn side by side; the one with the best top-1 on TEST is reported and saved.";

/* "0.1,1,10" */
static int parse_rates(const char *text, moco_probe_options_t *options)
{
    const char *at = text;

    options->rates = 0;
    for (;;) {
        char *end = NULL;
        const double value = strtod(at, &end);
        if (end == at || (*end != ',' && *end != '\0') || !(value > 0 && value <= 1e6)) {
            fprintf(stderr, "moco probe: --lr: '%s' is no number above 0 and up to 1000000, nor several with commas\n",
                    text);
            return EXIT_USAGE;
        }
        if (options->rates == MOCO_PROBE_MAX_RATES) {
            fprintf(stderr, "moco probe: --lr: more than %d learning rates\n", MOCO_PROBE_MAX_RATES);
            return EXIT_USAGE;
        }
        options->base_lr[options->rates++] = value;
        if (*end == '\0')
            return ARG_GO_ON;
        at = end + 1;
    }
}

static int parse(int argc, char **argv, probe_options_t *o)
{
    learn_options_t *learn = &o->learn;
    const arg_option_t table[] = {
        {"protocol", 0, ARG_CHOICE, &o->protocol, "v1|v3|cached", "how the classifier is trained (default cached)", 0,
         0, NULL},
        {"lr", 0, ARG_TEXT, &o->lr, "L[,L…]", "learning rates (default: the protocol's)", 0, 0, NULL},
        {"epochs", 0, ARG_INTEGER, &learn->epochs, "N", "epochs (default: the protocol's)", 1, 1000000, NULL},
        {"batch", 0, ARG_INTEGER, &learn->batch, "N", "images a step (default: the protocol's)", 1, 65536, NULL},
        {"normalize", 0, ARG_FLAG, &o->normalize, NULL, "divide features by their length", 0, 0, NULL},
        {"seed", 0, ARG_INTEGER, &learn->seed, "N", "of weights, order and crops (default 0)", 0, INT64_MAX, NULL},
        {"out", 'o', ARG_TEXT, &learn->out, "FILE.safetensors", "write backbone and classifier (fc.weight, fc.bias)", 0,
         0, NULL},
        LEARN_OPTIONS(*learn),
        PRECISION_OPTION(learn->file),
        {NULL, 0, ARG_FLAG, NULL, NULL, NULL, 0, 0, NULL},
    };
    const arg_command_t command = {
        "probe", "Measure an encoder by a linear classifier on its frozen features.", "MODEL TRAIN TEST", 3, 3, table,
        notes};
    return args_parse(&command, argc, argv, learn->paths);
}

static int fill(const probe_options_t *o, moco_probe_options_t *filled)
{
    const moco_status_t status = moco_probe_options_init(filled, sizeof *filled, o->protocol);

    if (status != MOCO_OK)
        return finish(status, NULL);
    filled->seed = (uint64_t)o->learn.seed;
    filled->normalize = o->normalize;
    filled->loader_threads = (int32_t)o->learn.place.loader_threads;
    learn_put(o->learn.epochs, &filled->epochs);
    learn_put(o->learn.batch, &filled->batch_size);
    learn_put(o->learn.eval_every, &filled->eval_every);
    return o->lr != NULL ? parse_rates(o->lr, filled) : ARG_GO_ON;
}

/* learn_fn */
static moco_status_t train(moco_model_t *model, moco_dataset_t *images, moco_dataset_t *test, const void *options,
                           moco_classifier_t **out)
{
    return moco_probe_train(model, images, test, options, out);
}

int cmd_probe(int argc, char **argv)
{
    probe_options_t options = {.learn = LEARN_ABSENT, .protocol = MOCO_PROBE_CACHED};
    learn_watch_t watch = {.verb = "probe", .phase = -1};
    moco_probe_options_t filled;
    int code = parse(argc, argv, &options);

    if (code != ARG_GO_ON || (code = fill(&options, &filled)) != ARG_GO_ON)
        return code;
    filled.cancel = signals_cancel();
    filled.progress = learn_report;
    filled.user = &watch;
    return learn_run(&options.learn, &watch, train, &filled);
}
