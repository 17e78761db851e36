/* Progress on stderr: a bar on a terminal, plain lines elsewhere. */
#ifndef PROGRAM_PROGRESS_H
#define PROGRAM_PROGRESS_H

#include <stdint.h>
#include <moco/moco.h>

typedef struct progress {
    const char *verb; /* what is being done, "train"       */
    int terminal;     /* stderr is one                     */
    int bar_shown;    /* a bar stands on the current line  */
    int32_t epochs;   /* planned; 0 if unknown             */
    double started, last_shown;
    double speed; /* images/s, smoothed                */
} progress_t;

void progress_start(progress_t *progress, const char *verb, int32_t epochs);

/* After each training step. Epoch ends always get a line of their own. */
void progress_step(progress_t *progress, const moco_step_report_t *report);

/* During an embedding: `done` of `total` images. */
void progress_images(progress_t *progress, int64_t done, int64_t total);

/* While a classifier is trained. A measurement on the test set gets a line of its own. */
void progress_learning(progress_t *progress, const moco_classifier_report_t *report);

/* Takes the bar away, so that other text can be written. */
void progress_clear(progress_t *progress);

#endif
