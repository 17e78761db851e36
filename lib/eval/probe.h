/* The linear probe inside the library: options, the work, its result in files. Called by the border. */
#ifndef MO_EVAL_PROBE_H
#define MO_EVAL_PROBE_H

#include <moco/probe.h>

#include "util/options.h"

struct moco_probe {
    moco_probe_options_t options; /* resolved */
    moco_probe_result_t result;
    moco_probe_rate_t rates[MOCO_PROBE_MAX_RATES];
    int32_t classes, features;
    int32_t arch;
    char **names;           /* [C] classes of the training set          */
    float *weights, *bias;  /* [C,F], [C] of the best classifier        */
    int64_t *confusion;     /* [C,C]                                    */
};

/* probe_options.c. Fields and protocols; rates that the protocol chooses for a backbone. */
extern const mo_option_table_t mo_probe_options; /* of moco_probe_options_t */
void mo_probe_choose_rates(moco_probe_options_t *options, int32_t arch);
/* What a rate is multiplied by in `epoch`. */
double mo_probe_rate_factor(const moco_probe_options_t *options, int64_t epoch);

/* Options are full and checked. */
moco_status_t mo_probe_run(moco_model_t *model, moco_dataset_t *train, moco_dataset_t *test,
                           const moco_probe_options_t *options, moco_probe_fn progress, void *user,
                           moco_probe_t **out);
void mo_probe_delete(moco_probe_t *probe);
moco_status_t mo_probe_write(const moco_probe_t *probe, const moco_model_t *model, const char *path); /* probe_file.c */

/* FNV-1a over the bits of a model's parameters and statistics. */
uint64_t mo_model_hash(const moco_model_t *model);

#endif
