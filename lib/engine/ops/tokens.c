/* Patches to tokens and back: the class token goes in front of the patches (row by row, left to
 * right) and every token gets its position; at the end the class token alone is taken out again. In
 * plans made with `primitives` as sums and copies of parts of the tensors. */
#include <string.h>

#include "engine/emit.h"
#include "engine/ops.h"
#include "util/clones.h"
#include "util/status.h"

/* ---- assembly: y[0] = class + position[0], y[1+i] = x[i] + position[1+i] ---- */

int32_t mo_token_parameters(mo_net_t *net, int32_t tokens, int32_t channels, int freeze_positions)
{
    int64_t one[3] = {1, 1, channels}, all[3] = {1, tokens, channels};
    int32_t class_token = mo_net_parameter(net, NULL, "cls_token", 3, one, MO_INIT_TINY, 0);
    int32_t positions = mo_net_parameter(net, NULL, "pos_embed", 3, all, MO_INIT_SINCOS, 0);
    if (freeze_positions)
        mo_net_freeze(net, positions);
    return class_token;
}

int32_t mo_tokens(mo_net_t *net, int32_t src, int32_t class_token)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_tokens, src, NULL, 0);
    if (op == NULL)
        return -1;
    const mo_shape_t s = net->shapes[src];
    op->weights = class_token;
    op->bias = class_token + 1;
    return mo_net_result(net, op, s.c, 1 + s.h * s.w, 1);
}

static MO_CLONES(void, add, (const float *a, const float *b, int64_t count, float *sum), (a, b, count, sum))
{
    for (int64_t i = 0; i < count; i++)
        sum[i] = a[i] + b[i];
}

/* values: patches, tokens, class token, positions. */
static moco_status_t assemble(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_shape_t s = net->shapes[op->dst];
    int64_t width = s.c, patches = (int64_t)(s.h - 1) * width;
    for (int64_t n = 0; n < rows; n++) {
        float *to = v[1] + n * (width + patches);
        add(v[2], v[3], width, to);
        add(v[0] + n * patches, v[3] + width, patches, to + width);
    }
    return MOCO_OK;
}

/* Sum over the images of the first `count` numbers of each. */
static void sum_images(const float *images, int64_t image, int32_t rows, int64_t count, float *sums)
{
    for (int64_t c = 0; c < count; c++) {
        double sum = 0;
        for (int64_t n = 0; n < rows; n++)
            sum += images[n * image + c];
        sums[c] = (float)sum;
    }
}

/* values: gradient of the tokens, of the patches, of the class token; of the positions, if those
 * are trained. */
static moco_status_t take_apart(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_shape_t s = net->shapes[op->dst];
    int64_t width = s.c, patches = (int64_t)(s.h - 1) * width;
    sum_images(v[0], width + patches, rows, width, v[2]);
    if (!net->parameters[op->bias].frozen)
        sum_images(v[0], width + patches, rows, width + patches, v[3]);
    for (int64_t n = 0; n < rows; n++)
        memcpy(v[1] + n * patches, v[0] + n * (width + patches) + width, (size_t)patches * sizeof(float));
    return MOCO_OK;
}

/* Tokens [first, first + count) of every image in a slot of [images, all, width]. */
static moco_status_t tokens_view(mo_plan_t *plan, mo_slot_id_t of, int64_t images, int64_t all, int64_t first,
                                 int64_t count, int64_t width, mo_slot_id_t *view)
{
    const int64_t extents[] = {images, count, width}, strides[] = {all * width, width, 1};
    return mo_view(plan, of, first * width, 3, extents, strides, view);
}

/* slots as of assemble. A class token is the same for all images, but what is copied to all of them
 * must be the second operand of a sum. The first one is zero: the first patch less itself. */
static moco_status_t assemble_primitives(mo_plan_t *plan, const mo_op_t *op, const mo_slot_id_t *slots)
{
    moco_status_t status = MOCO_OK;
    const int64_t images = mo_plan_shard(plan), width = mo_tensor_channels(plan, op->dst);
    const int64_t all = mo_tensor_tokens(plan, op->dst);
    mo_slot_id_t patches, first, to, to_first, token, position, positions;
    TRY(tokens_view(plan, slots[0], images, all - 1, 0, all - 1, width, &patches));
    TRY(tokens_view(plan, slots[0], images, all - 1, 0, 1, width, &first));
    TRY(tokens_view(plan, slots[1], images, all, 1, all - 1, width, &to));
    TRY(tokens_view(plan, slots[1], images, all, 0, 1, width, &to_first));
    TRY(tokens_view(plan, slots[2], 1, 1, 0, 1, width, &token));
    TRY(tokens_view(plan, slots[3], 1, all, 0, 1, width, &position));
    TRY(tokens_view(plan, slots[3], 1, all, 1, all - 1, width, &positions));
    TRY(mo_emit_binary(plan, op, MO_ADD, patches, positions, to, 0));
    TRY(mo_emit_zeros(plan, op, first, to_first));
    TRY(mo_emit_binary(plan, op, MO_ADD, to_first, token, to_first, 0));
    TRY(mo_emit_binary(plan, op, MO_ADD, to_first, position, to_first, 0));
cleanup:
    return status;
}

static moco_status_t sum_over_images(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t src, mo_slot_id_t sums)
{
    return mo_plan_shard(plan) > 1 ? mo_emit_row_sums(plan, op, src, sums) : mo_emit_copy(plan, op, src, sums);
}

/* slots as of take_apart. */
static moco_status_t take_apart_primitives(mo_plan_t *plan, const mo_op_t *op, const mo_slot_id_t *slots)
{
    moco_status_t status = MOCO_OK;
    const int64_t images = mo_plan_shard(plan), width = mo_tensor_channels(plan, op->dst);
    const int64_t all = mo_tensor_tokens(plan, op->dst);
    mo_slot_id_t tokens, first, rest, patches, d_token, d_positions;
    TRY(tokens_view(plan, slots[0], images, all, 0, all, width, &tokens));
    TRY(tokens_view(plan, slots[0], images, all, 0, 1, width, &first));
    TRY(tokens_view(plan, slots[0], images, all, 1, all - 1, width, &rest));
    TRY(tokens_view(plan, slots[1], images, all - 1, 0, all - 1, width, &patches));
    TRY(tokens_view(plan, slots[2], 1, 1, 0, 1, width, &d_token));
    TRY(sum_over_images(plan, op, first, d_token));
    if (!mo_parameter_frozen(plan, op->bias)) {
        TRY(tokens_view(plan, slots[3], 1, all, 0, all, width, &d_positions));
        TRY(sum_over_images(plan, op, tokens, d_positions));
    }
    TRY(mo_emit_copy(plan, op, rest, patches));
cleanup:
    return status;
}

static moco_status_t assembly_forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[4];
    TRY(mo_value(plan, op->src, &slots[0]));
    TRY(mo_value(plan, op->dst, &slots[1]));
    TRY(mo_parameter(plan, op->weights, &slots[2]));
    TRY(mo_parameter(plan, op->bias, &slots[3]));
    TRY(mo_takes_primitives(plan) ? assemble_primitives(plan, op, slots)
                                  : mo_emit_host(plan, op, assemble, "rwrr", slots));
cleanup:
    return status;
}

static moco_status_t assembly_backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    const int frozen = mo_parameter_frozen(plan, op->bias);
    mo_slot_id_t slots[4];
    TRY(mo_gradient(plan, op->dst, &slots[0]));
    TRY(mo_gradient_slot(plan, op->src, &slots[1]));
    TRY(mo_parameter_gradient(plan, op->weights, &slots[2]));
    if (!frozen)
        TRY(mo_parameter_gradient(plan, op->bias, &slots[3]));
    TRY(mo_takes_primitives(plan) ? take_apart_primitives(plan, op, slots)
                                  : mo_emit_host(plan, op, take_apart, frozen ? "rww" : "rwww", slots));
    if (frozen)
        TRY(mo_emit_frozen(plan, op));
    TRY(mo_gradient_add(plan, op, op->src, slots[1]));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_tokens = {.name = "tokens", .forward = assembly_forward, .backward = assembly_backward};

/* ---- the class token ---- */

int32_t mo_class_token(mo_net_t *net, int32_t src)
{
    mo_op_t *op = mo_net_op(net, &mo_kind_class_token, src, NULL, 0);
    return op != NULL ? mo_net_result(net, op, net->shapes[src].c, 1, 1) : -1;
}

/* values: tokens, class token. */
static moco_status_t take(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_shape_t s = net->shapes[op->src];
    for (int64_t n = 0; n < rows; n++)
        memcpy(v[1] + n * s.c, v[0] + n * s.h * s.c, (size_t)s.c * sizeof(float));
    return MOCO_OK;
}

/* values: gradient of the tokens, which others have part in; of the class token. */
static moco_status_t add_back(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_shape_t s = net->shapes[op->src];
    for (int64_t n = 0; n < rows; n++)
        add(v[0] + n * s.h * s.c, v[1] + n * s.c, s.c, v[0] + n * s.h * s.c);
    return MOCO_OK;
}

/* The same where this is the first part. */
static moco_status_t put_back(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    mo_shape_t s = net->shapes[op->src];
    int64_t image = (int64_t)s.h * s.c;
    for (int64_t n = 0; n < rows; n++) {
        memcpy(v[0] + n * image, v[1] + n * s.c, (size_t)s.c * sizeof(float));
        memset(v[0] + n * image + s.c, 0, (size_t)(image - s.c) * sizeof(float));
    }
    return MOCO_OK;
}

/* Views of the class tokens among all of `tokens`, and of those alone in `alone`. */
static moco_status_t class_views(mo_plan_t *plan, const mo_op_t *op, mo_slot_id_t tokens, mo_slot_id_t alone,
                                 mo_slot_id_t *among, mo_slot_id_t *one)
{
    const int64_t images = mo_plan_shard(plan), width = mo_tensor_channels(plan, op->src);
    const moco_status_t status = tokens_view(plan, tokens, images, mo_tensor_tokens(plan, op->src), 0, 1, width, among);
    return status == MOCO_OK ? tokens_view(plan, alone, images, 1, 0, 1, width, one) : status;
}

static moco_status_t class_forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[2], among, one;
    TRY(mo_value(plan, op->src, &slots[0]));
    TRY(mo_value(plan, op->dst, &slots[1]));
    if (!mo_takes_primitives(plan))
        return mo_emit_host(plan, op, take, "rw", slots);
    TRY(class_views(plan, op, slots[0], slots[1], &among, &one));
    TRY(mo_emit_copy(plan, op, among, one));
cleanup:
    return status;
}

/* slots as of put_back. */
static moco_status_t put_back_primitives(mo_plan_t *plan, const mo_op_t *op, const mo_slot_id_t *slots)
{
    moco_status_t status = MOCO_OK;
    const int64_t images = mo_plan_shard(plan), width = mo_tensor_channels(plan, op->src);
    const int64_t all = mo_tensor_tokens(plan, op->src);
    mo_slot_id_t among, one, src, like, rest;
    TRY(class_views(plan, op, slots[0], slots[1], &among, &one));
    TRY(mo_emit_copy(plan, op, one, among));
    if (all > 1) {
        TRY(mo_value(plan, op->src, &src));
        TRY(tokens_view(plan, src, images, all, 1, all - 1, width, &like));
        TRY(tokens_view(plan, slots[0], images, all, 1, all - 1, width, &rest));
        TRY(mo_emit_zeros(plan, op, like, rest));
    }
cleanup:
    return status;
}

static moco_status_t class_backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    mo_slot_id_t slots[2], among, one;
    TRY(mo_gradient(plan, op->dst, &slots[1]));
    if (mo_has_gradient(plan, op->src)) {
        TRY(mo_gradient(plan, op->src, &slots[0]));
        if (!mo_takes_primitives(plan))
            return mo_emit_host(plan, op, add_back, "ur", slots);
        TRY(class_views(plan, op, slots[0], slots[1], &among, &one));
        return mo_emit_binary(plan, op, MO_ADD, among, one, among, 0);
    }
    TRY(mo_gradient_slot(plan, op->src, &slots[0]));
    TRY(mo_takes_primitives(plan) ? put_back_primitives(plan, op, slots)
                                  : mo_emit_host(plan, op, put_back, "wr", slots));
    TRY(mo_gradient_add(plan, op, op->src, slots[0]));
cleanup:
    return status;
}

const mo_op_kind_t mo_kind_class_token = {
    .name = "class token", .forward = class_forward, .backward = class_backward, .traits = MO_SELECTS};
