/* The views that a trainer draws of an image, for those who want to see them. */
#ifndef MO_TRAIN_DRAW_H
#define MO_TRAIN_DRAW_H

#include <moco/trainer.h>

/* Options are checked as far as views go. views: [2, S, S, 3]. */
moco_status_t mo_draw_views(moco_dataset_t *dataset, const moco_trainer_options_t *options, int64_t epoch,
                            int64_t index, uint8_t *views);

#endif
