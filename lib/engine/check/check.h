/* Whether an implementation of oneDNN computes what its descriptor says. oneDNN has lists of
 * implementations for everything, and versions of it have been released with wrong ones for unusual
 * strides and sizes: gradients are then numbers, but not the right ones. So before a plan takes an
 * implementation it is run once, on small random integers, and compared with reference.h. What was
 * found is remembered for the process. */
#ifndef MO_ENGINE_CHECK_H
#define MO_ENGINE_CHECK_H

#include "engine/run/lane.h"

typedef enum mo_verdict { MO_WRONG, MO_RIGHT, MO_UNABLE /* the primitive could not be made or run */ } mo_verdict_t;

/* On a lane, inside the gate. `number`: place in oneDNN's list, from 0 on, where several
 * implementations may have one name. `what` it is for, in messages: "make a product". Fails where
 * memory does. */
moco_status_t mo_check(mo_lane_t *lane, const_dnnl_primitive_desc_t pd, int number, const char *what,
                       mo_verdict_t *verdict);

/* Text for messages: what a descriptor computes, with dims and strides. */
void mo_check_text(const_dnnl_primitive_desc_t pd, char *text, size_t capacity);

/* What was done in this process so far. */
typedef struct mo_checks {
    int64_t asked;         /* calls of mo_check                                          */
    int64_t made, refused; /* comparisons; implementations that were left out after one */
    double seconds;
    char first[160]; /* implementation that was left out first, and what of */
} mo_checks_t;
void mo_checks_read(mo_checks_t *checks);

#ifdef MOCO_FAULTS
/* Tests put wrong results here: called after a primitive ran for its check. And the process forgets
 * what it has found. */
extern void (*mo_check_spoil)(const char *implementation, float *result, int64_t count);
/* From 0 on: every trial seems to have written beyond its scratchpad and its workspace; becomes
 * their number. */
extern int64_t mo_check_overrun;
void mo_checks_forget(void);
#endif

#endif
