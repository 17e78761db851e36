/* An encoder of any file as a model of this library or under other programs' names. */
#ifndef MO_EVAL_CONVERT_H
#define MO_EVAL_CONVERT_H

#include <moco/convert.h>

#include "util/json.h"
#include "util/options.h"

extern const mo_option_table_t mo_convert_options; /* model_options.c */

/* Options are checked; to is not MOCO_FILE_TRAINING. The answer is given before the file is
 * written. */
moco_status_t mo_convert_encoder(const char *source, const char *target, const moco_convert_options_t *options,
                                 const mo_answer_t *answer);

#endif
