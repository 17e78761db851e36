/* A trial of a primitive: what its descriptor says, before it is run. */
#ifndef MO_ENGINE_CHECK_TRIAL_H
#define MO_ENGINE_CHECK_TRIAL_H

#include <stddef.h>

#include "engine/check/reference.h"

/* 0 where there is nothing to compare it with. */
int mo_trial_begin(const_dnnl_primitive_desc_t pd, mo_trial_t *trial);
/* A number for descriptor and implementation, which is number `number` of oneDNN's list. */
uint64_t mo_trial_key(const mo_trial_t *t, const char *implementation, int number);
/* Whether the primitive is run: the unusual ones, and all that are small. */
int mo_trial_is_worth(const mo_trial_t *t);

/* ---- layouts ---- */
int64_t mo_layout_count(const mo_layout_t *l);  /* of numbers */
int64_t mo_layout_extent(const mo_layout_t *l); /* numbers from the first to the last one, pads among them */
int mo_layout_is_padded(const mo_layout_t *l);
void mo_layout_step(const mo_layout_t *l, int64_t *index); /* to the next number; after the last, the first */

#endif
