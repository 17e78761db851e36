/* What a user should be told of a run that is probably not meant so, once each, as warnings of the
 * log. Nothing here changes a number. */
#ifndef MO_TRAIN_WARNINGS_H
#define MO_TRAIN_WARNINGS_H

#include <stdint.h>

struct moco_trainer;
struct moco_trainer_options;
struct mo_outcome;

typedef struct mo_warnings {
    int32_t at_chance, too_easy, collapsed; /* steps in a row that looked so */
    int told_chance, told_easy, told_collapse, told_setup, told_queue;
} mo_warnings_t;

/* Of options alone, for a trainer that is made: values of one recipe for another's networks. */
void mo_warn_options(const struct moco_trainer_options *options);
/* Of the options beside the size of the data set (0 = unknown): with every step, told once. */
void mo_warn_setup(struct moco_trainer *trainer);
/* Of a step that was done. */
void mo_warn_step(struct moco_trainer *trainer, const struct mo_outcome *outcome);
/* Mean over the dimensions of the standard deviation of unit rows, times the root of their width:
 * about 1 for rows spread over the sphere, 0 when all are the same. */
double mo_spread(const float *rows, int64_t count, int64_t width);

#endif
