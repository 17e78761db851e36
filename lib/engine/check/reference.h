/* What primitives compute, number by number: one number of a result from the operands, by the
 * definition in oneDNN's manual and in double. For the check of implementations (check.h). */
#ifndef MO_ENGINE_CHECK_REFERENCE_H
#define MO_ENGINE_CHECK_REFERENCE_H

#include "engine/onednn/describe.h"

enum { MO_OPERANDS = 4 };

/* A tensor that a primitive is run on. */
typedef struct mo_operand {
    mo_layout_t layout; /* rank 0: the primitive does not have it */
    float *at;
} mo_operand_t;

struct mo_reference;
typedef struct mo_trial {
    mo_formula_t formula;
    const struct mo_reference *reference;
    mo_operand_t operands[MO_OPERANDS]; /* in the order of the reference's ids */
} mo_trial_t;

/* A number by definition, and how far a right implementation may be from it. Operands are small
 * integers, so sums of products are exact in float32 in every order and the slack is 0. Elsewhere
 * the slack is far below what another integer in the place of one operand would make. */
typedef struct mo_answer {
    double value, slack;
} mo_answer_t;
typedef mo_answer_t (*mo_value_fn)(const mo_trial_t *trial, const int64_t *index);

typedef struct mo_reference {
    mo_computes_t computes;
    mo_direction_t direction;
    struct {
        int id;            /* DNNL_ARG_... */
        mo_value_fn value; /* NULL: read */
    } operands[MO_OPERANDS];
    int64_t (*terms)(const mo_trial_t *trial); /* that make one number of the first result */
    int positive;                              /* operands must be above 0 */
} mo_reference_t;

/* NULL: nothing to compare with. */
const mo_reference_t *mo_reference_of(const mo_formula_t *formula);

/* Where number `index` of a tensor lies. */
int64_t mo_layout_at(const mo_layout_t *layout, const int64_t *index);
/* The function of a post-op or of an elementwise primitive; slack < 0: not known here. */
mo_answer_t mo_reference_function(dnnl_alg_kind_t alg, double alpha, double beta, double x);

#endif
