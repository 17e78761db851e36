/* The contact sheet of `moco demo`: queries with their nearest images, before and after
 * training. */
#ifndef PROGRAM_DEMO_SHEET_H
#define PROGRAM_DEMO_SHEET_H

#include "common.h"

/* Nearest bank images of a few queries, as one model sees them. */
typedef struct demo_hits {
    int64_t queries, per_query;
    int64_t *query;   /* [queries] entries of the test set             */
    int64_t *nearest; /* [queries, per_query] entries of the bank      */
} demo_hits_t;

/* Searches the bank for `queries` images spread evenly over the test set, `per_query` for each. */
moco_status_t demo_hits_find(demo_hits_t *hits, moco_model_t *model, moco_dataset_t *bank, moco_dataset_t *test,
                             int64_t queries, int64_t per_query, moco_device_t *device, int32_t loader_threads);
void demo_hits_free(demo_hits_t *hits);

/* Share of the shown neighbours that have their query's class, in percent. */
double demo_hits_right(const demo_hits_t *hits, const moco_dataset_t *bank, const moco_dataset_t *test);

/* Draws and writes the sheet. Returns an exit code. */
int demo_sheet_write(const char *path, moco_dataset_t *bank, moco_dataset_t *test, const demo_hits_t *before,
                     const demo_hits_t *after, double knn_before, double knn_after);

#endif
