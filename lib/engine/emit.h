/* What operations say to a plan: engine primitives on slots. No oneDNN type here. Each call appends
 * instructions; the order of the calls is the order of execution. */
#ifndef MO_ENGINE_EMIT_H
#define MO_ENGINE_EMIT_H

#include "engine/plan.h"

typedef int32_t mo_slot_id_t;

int mo_plan_syncs(const mo_plan_t *plan);      /* a group has several shards */
int32_t mo_plan_shards(const mo_plan_t *plan); /* of a group */

/* ---- tensors ---- */
int32_t mo_tensor_channels(const mo_plan_t *plan, int32_t tensor);
int32_t mo_tensor_tokens(const mo_plan_t *plan, int32_t tensor);                /* of [channels, tokens, 1] */
moco_status_t mo_value(mo_plan_t *plan, int32_t tensor, mo_slot_id_t *slot);    /* made at first use        */
moco_status_t mo_gradient(mo_plan_t *plan, int32_t tensor, mo_slot_id_t *slot); /* must exist: of an output */
int mo_has_gradient(const mo_plan_t *plan, int32_t tensor);                     /* so far */
int mo_wants_gradient(const mo_plan_t *plan, int32_t tensor);
/* Where an operation writes the gradient of an input: a slot of its own; `mo_gradient_add` then
 * makes it, or its sum with what other consumers gave, the gradient of the tensor. */
moco_status_t mo_gradient_slot(mo_plan_t *plan, int32_t tensor, mo_slot_id_t *slot);
moco_status_t mo_gradient_add(mo_plan_t *plan, const mo_op_t *op, int32_t tensor, mo_slot_id_t slot);
/* Both tensors take this gradient as theirs; nobody may then write over it. */
moco_status_t mo_gradient_share(mo_plan_t *plan, const mo_op_t *op, int32_t tensor, mo_slot_id_t slot);
/* May an operation write over the gradient slot of `tensor`? */
int mo_gradient_owned(const mo_plan_t *plan, int32_t tensor);
moco_status_t mo_temporary(mo_plan_t *plan, int32_t rows, int32_t columns, mo_slot_id_t *slot); /* [rows, columns] */
/* View [rows*h*w, c] of a slot that holds `tensor` or its gradient. */
moco_status_t mo_positions(mo_plan_t *plan, int32_t tensor, mo_slot_id_t of, mo_slot_id_t *slot);
/* A parameter in its plain layout, in every mode; its place in the gradient block. */
moco_status_t mo_parameter(mo_plan_t *plan, int32_t parameter, mo_slot_id_t *slot);
moco_status_t mo_parameter_gradient(mo_plan_t *plan, int32_t parameter, mo_slot_id_t *slot);

/* Numbers of a slot from number `from` on, as an array of `rank` extents whose neighbours along
 * each lie `strides` numbers apart. */
moco_status_t mo_view(mo_plan_t *plan, mo_slot_id_t of, int64_t from, int rank, const int64_t *extents,
                      const int64_t *strides, mo_slot_id_t *view);
/* A matrix of numbers that never change, copied from `values`. */
moco_status_t mo_constant(mo_plan_t *plan, int64_t rows, int64_t columns, const float *values, mo_slot_id_t *slot);
int mo_takes_primitives(const mo_plan_t *plan); /* alone, where there is a choice */

/* Zeros where the gradient of the operation's frozen weights and bias would be. */
moco_status_t mo_emit_frozen(mo_plan_t *plan, const mo_op_t *op);
int mo_parameter_frozen(const mo_plan_t *plan, int32_t parameter);

/* ---- primitives ---- */
/* The operation's own activation. `kept`: what its backward reads again, of ReLU the result, of
 * GELU the source. Backward in place where the gradient slots are one. */
moco_status_t mo_emit_activation(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst);
moco_status_t mo_emit_activation_backward(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t kept, mo_slot_id_t d_dst,
                                          mo_slot_id_t d_src);
/* Elementwise on slots of equal shape; b may have extents of 1, which stand for all of a's:
 * [rows,1] or [1,columns] against [rows,columns]. dst may be a. MO_EQUAL and MO_GREATER (a > b)
 * give 1 or 0. */
typedef enum mo_binary { MO_ADD, MO_SUB, MO_MUL, MO_EQUAL, MO_GREATER } mo_binary_t;
moco_status_t mo_emit_binary(mo_plan_t *plan, const mo_op_t *op, mo_binary_t kind, mo_slot_id_t a, mo_slot_id_t b,
                             mo_slot_id_t dst, int relu);
/* MO_POWER: alpha x^beta. MO_CLIP: x kept within alpha..beta. MO_LINEAR: alpha x + beta.
 * MO_LOGISTIC: 1 / (1 + e^-x). MO_SOFTPLUS: log(1 + e^x). Slots without gaps between rows. */
typedef enum mo_function { MO_POWER, MO_CLIP, MO_LINEAR, MO_EXP, MO_LOG, MO_LOGISTIC, MO_SOFTPLUS } mo_function_t;
moco_status_t mo_emit_function(mo_plan_t *plan, const mo_op_t *op, mo_function_t kind, float alpha, float beta,
                               mo_slot_id_t src, mo_slot_id_t dst);
/* [rows, columns] -> [rows, 1]; sums also along any other extents that are 1 in dst. */
moco_status_t mo_emit_row_sums(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst);
moco_status_t mo_emit_row_maxima(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst);
/* log(sum(exp(row))) of rows whose softmax is there: [rows, columns] twice -> [rows, 1]. */
moco_status_t mo_emit_log_sums(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t softmax,
                               mo_slot_id_t dst);
/* Between slots of the same extents, whatever their strides. */
moco_status_t mo_emit_copy(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst);
/* Zeros into a slot; `like`: finite numbers of the same extents. */
moco_status_t mo_emit_zeros(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t like, mo_slot_id_t dst);
moco_status_t mo_emit_softmax(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t dst);
/* A matrix [rows, columns] of the block bound with MO_IN_DICTIONARY, `from` floats after its
 * begin. */
moco_status_t mo_dictionary_slot(mo_plan_t *plan, int64_t from, int64_t rows, int32_t columns, mo_slot_id_t *slot);
/* dst = scale * a · b, or a · b transposed; b is [b_rows, b_columns] as it lies. */
moco_status_t mo_emit_matmul(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t a, mo_slot_id_t b, int64_t b_rows,
                             int64_t b_columns, int transpose_b, float scale, mo_slot_id_t dst);
/* View [rows, columns]. */
moco_status_t mo_matrix(mo_plan_t *plan, mo_slot_id_t of, int32_t columns, mo_slot_id_t *slot);

/* Slots that backward needs again, 0..3 per operation. */
void mo_remember(mo_plan_t *plan, const mo_op_t *op, int cell, mo_slot_id_t slot);
mo_slot_id_t mo_recall(const mo_plan_t *plan, const mo_op_t *op, int cell);

/* A host function on mapped slots: values[i] is slots[i]. `access` has a letter for each: r where
 * it is read, w where all of it is written, u where it is updated. A slot may stand there twice. */
typedef moco_status_t (*mo_host_fn)(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *values);
moco_status_t mo_emit_host(mo_plan_t *plan, const mo_op_t *op, mo_host_fn fn, const char *access,
                           const mo_slot_id_t *slots);
/* The same for slots of some of the shard's images only: fn is told `rows`. */
moco_status_t mo_emit_host_rows(mo_plan_t *plan, const mo_op_t *op, mo_host_fn fn, int32_t rows, const char *access,
                                const mo_slot_id_t *slots);

/* A host function, and what does the same where no host code reaches the slots: it queues kernels
 * and copies, with slots[i] in the place of values[i] (`shards` is 1), or of a synchronisation
 * slots[i * shards + s]. Nothing waits. */
typedef moco_status_t (*mo_queue_fn)(moco_device_t *device, const mo_op_t *op, const mo_net_t *net, int32_t rows,
                                     int32_t shards, const mo_buffer_t *slots);
moco_status_t mo_emit_either(mo_plan_t *plan, const mo_op_t *op, mo_host_fn fn, mo_queue_fn queue, const char *access,
                             const mo_slot_id_t *slots);

/* For an operation of two sources of which the first alone has a gradient: fn on (source, other
 * source, result). */
moco_status_t mo_emit_host_pair(mo_plan_t *plan, const mo_op_t *op, mo_host_fn fn);
/* Its backward: fn on (`first`, other source, gradient of the source); `first` is what the formula
 * needs. */
moco_status_t mo_emit_host_pair_backward(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t first, mo_host_fn fn);

/* A synchronisation point: runs once when all shards of the group are here; values[i * shards + s]
 * is slots[i] of shard s. What all shards are to have is written for each of them: their slots may
 * lie in one place or in as many as there are shards. `queue`: as above; NULL, where the plan is
 * never a GPU's. */
typedef moco_status_t (*mo_sync_fn)(const mo_op_t *op, const mo_net_t *net, int32_t rows, int32_t shards,
                                    float *const *values);
moco_status_t mo_emit_sync(mo_plan_t *plan, const mo_op_t *op, mo_sync_fn fn, mo_queue_fn queue, const char *access,
                           const mo_slot_id_t *slots);

#endif
