/* What the forms of products with weights share. */
#ifndef MO_ENGINE_PRODUCT_H
#define MO_ENGINE_PRODUCT_H

#include "engine/ops/emit_internal.h"

/* Attributes with what the operation has taken over in infer mode. */
moco_status_t mo_product_attr(const mo_plan_t *plan, const mo_op_t *op, mo_attr_t *attr);
/* Where the result goes: the memory of what is added to it, if the operation has taken over a
 * sum. */
moco_status_t mo_product_dst(mo_plan_t *plan, const mo_op_t *op, int32_t *dst);
/* Every weight once for every position. */
int64_t mo_product_multiply_adds(const mo_net_t *net, const mo_op_t *op);

/* Some rows of a result, and what they are made from. */
typedef struct mo_product_part {
    mo_slot_id_t src, dst;
    int64_t inside_above, inside_below; /* of a convolution, see mo_window_t */
} mo_product_part_t;

/* The primitives of one kind of product, by the descriptors of their arguments; bias may be
 * NULL. */
typedef struct mo_product_calls {
    /* Into how many parts the forward product is cut, and part `number` of them, of the whole that
     * is there; NULL: never. */
    int32_t (*parts)(const mo_plan_t *plan, const mo_op_t *op);
    moco_status_t (*part)(mo_plan_t *plan, const mo_op_t *op, int32_t number, int32_t parts, mo_product_part_t *part);
    dnnl_status_t (*forward)(mo_plan_t *plan, const mo_op_t *op, const mo_product_part_t *part, mo_cmd_t weights,
                             mo_cmd_t bias, mo_cattr_t attr, dnnl_primitive_desc_t *pd);
    dnnl_status_t (*d_weights)(mo_plan_t *plan, const mo_op_t *op, mo_cmd_t src, mo_cmd_t d_weights, mo_cmd_t d_bias,
                               mo_cmd_t d_dst, mo_cattr_t attr, dnnl_primitive_desc_t *pd);
    dnnl_status_t (*d_source)(mo_plan_t *plan, const mo_op_t *op, mo_cmd_t d_src, mo_cmd_t weights, mo_cmd_t d_dst,
                              mo_cattr_t attr, dnnl_primitive_desc_t *pd);
    int matrices; /* operands are seen as [positions, channels] */
} mo_product_calls_t;
moco_status_t mo_product_forward(mo_plan_t *plan, const mo_op_t *op, const mo_product_calls_t *calls);
moco_status_t mo_product_backward(mo_plan_t *plan, const mo_op_t *op, const mo_product_calls_t *calls);

/* Backward of a product of each position alone, as matrix products over all positions. */
moco_status_t mo_matrices_backward(mo_plan_t *plan, const mo_op_t *op);

static inline dnnl_prop_kind_t mo_forward_kind(const mo_plan_t *plan)
{
    return plan->mode == MO_MODE_TRAIN ? dnnl_forward_training : dnnl_forward_inference;
}

#endif
