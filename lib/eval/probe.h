/* The linear probe inside the library: options, and the work. Called by the border. */
#ifndef MO_EVAL_PROBE_H
#define MO_EVAL_PROBE_H

#include <moco/probe.h>

#include "util/options.h"

/* probe_options.c. Fields and protocols; rates that the protocol chooses for a backbone. */
extern const mo_option_table_t mo_probe_options; /* of moco_probe_options_t */
void mo_probe_choose_rates(moco_probe_options_t *options, int32_t arch);
/* What a rate is multiplied by in `epoch`. */
double mo_probe_rate_factor(const moco_probe_options_t *options, int64_t epoch);

/* Options are full and checked. */
moco_status_t mo_probe_train(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                             const moco_probe_options_t *options, moco_classifier_t **out);

#endif
