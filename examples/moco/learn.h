/* What `moco probe` and `moco finetune` share: both train a classifier on labelled images, show how
 * it goes, and report what came of it. */
#ifndef PROGRAM_LEARN_H
#define PROGRAM_LEARN_H

#include "common.h"
#include "progress.h"

/* Options of both commands; integers that are not given are ARG_ABSENT. */
typedef struct learn_options {
    const char *paths[3]; /* MODEL, TRAIN, TEST */
    const char *out, *confusion;
    int64_t epochs, batch, limit, eval_every, seed;
    int json;
    model_file_t file;
    run_place_t place;
} learn_options_t;

#define LEARN_ABSENT                                                                               \
    {                                                                                              \
        .epochs = ARG_ABSENT, .batch = ARG_ABSENT, .limit = 0, .eval_every = ARG_ABSENT, .seed = 0 \
    }

/* clang-format off */
#define LEARN_OPTIONS(o)                                                                                              \
    {"limit", 0, ARG_INTEGER, &(o).limit, "N", "use N training images, spread evenly over the listing", 1, INT64_MAX, \
     NULL},                                                                                                           \
    {"eval-every", 0, ARG_INTEGER, &(o).eval_every, "N", "measure on TEST every N epochs (default: at the end)", 1,   \
     1000000, NULL},                                                                                                  \
    {"confusion", 0, ARG_TEXT, &(o).confusion, "FILE.tsv", "write counts: rows true classes, columns answers", 0, 0,  \
     NULL},                                                                                                           \
    MODEL_FILE_OPTIONS((o).file), PLACE_OPTIONS((o).place),                                                                                       \
    {"json", 0, ARG_FLAG, &(o).json, NULL, "epochs and result as JSON lines on stdout", 0, 0, NULL}
/* clang-format on */

/* Leaves the field as it is if the option was not given. */
void learn_put(int64_t given, int32_t *field);

/* What stands in the options of the library's call: */
int32_t learn_report(void *user, const moco_classifier_report_t *report); /* moco_classifier_fn: progress … */
typedef struct learn_watch {                                              /* … and its user              */
    progress_t embedding, training;
    const char *verb; /* in front of the training's progress, "probe" */
    int json, training_started;
    int32_t phase; /* -1 at first */
} learn_watch_t;

/* The library's call with the options that the command has filled for it. */
typedef moco_status_t (*learn_fn)(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test, const void *options,
                                  moco_classifier_t **out);

/* Opens what the options name, trains, saves and reports. Returns the exit code. */
int learn_run(const learn_options_t *o, learn_watch_t *watch, learn_fn train, const void *options);

#endif
