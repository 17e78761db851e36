/* What the forms of products with weights share. */
#ifndef MO_ENGINE_EMIT_PRODUCT_H
#define MO_ENGINE_EMIT_PRODUCT_H

#include "engine/ops/emit_internal.h"

/* Attributes with what the operation has taken over in infer mode. */
moco_status_t mo_product_attr(const mo_plan_t *plan, const mo_op_t *op, mo_attr_t *attr);
/* Where the result goes: the shortcut's memory if the operation has taken over a sum. */
moco_status_t mo_product_dst(mo_plan_t *plan, const mo_op_t *op, int32_t *dst);

/* emit_linear.c */
moco_status_t mo_emit_linear(mo_plan_t *plan, const mo_op_t *op);
moco_status_t mo_emit_linear_backward(mo_plan_t *plan, const mo_op_t *op);

#endif
