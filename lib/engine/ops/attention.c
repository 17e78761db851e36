/* Multi-head self-attention over the tokens of an image (arXiv 1706.03762): the source holds
 * queries, keys and values of every token side by side, [q | k | v], each cut into heads of width d
 * = D/heads; y = softmax(q kᵀ / sqrt(d)) v, the heads side by side.
 *
 * Multi-head attention as batched matrix products on views: queries, keys and values of a head are
 * columns of the [images, tokens, 3D] source, so nothing is copied into heads and back. The scores
 * [images, heads, queries, tokens] become probabilities in place and are kept for backward. A few
 * images go at a time through product, softmax and product, so that their scores stay in the
 * second-level cache. Softmax runs in the loops of kernels/softmax.c, which take the scale along;
 * in plans made with `primitives` it is one, and the scale is a part of the products. Scores are
 * float32 in every precision; the products that read them, or their gradients, take copies in that
 * of the source. */
#include <math.h>
#include <string.h>

#include "engine/kernels/rows.h"
#include "engine/ops.h"
#include "engine/ops/emit_internal.h"

#define CACHED_BYTES 1000000 /* of scores at a time; at least one image */

enum { MEMO_SCORES = 0 };

static int32_t listed(mo_net_t *net, int32_t src, int32_t heads, int only_first)
{
    const mo_attention_form_t form = {.heads = heads};
    mo_op_t *op = mo_net_op(net, &mo_kind_attention, src, &form, sizeof form);
    if (op == NULL)
        return -1;
    const mo_shape_t s = net->shapes[src];
    return mo_net_result(net, op, s.c / 3, only_first ? 1 : s.h, 1);
}

int32_t mo_attention(mo_net_t *net, int32_t src, int32_t heads)
{
    return listed(net, src, heads, 0);
}

int32_t mo_class_attention(mo_net_t *net, int32_t src, int32_t heads)
{
    return listed(net, src, heads, 1);
}

/* Sizes of one attention over `all` images, and which of them are at work: `images` from `first`
 * on. */
typedef struct sizes {
    int64_t all, first, images;
    int64_t heads, queries, tokens; /* `queries` tokens of `tokens` ask                    */
    int64_t head, width;            /* channels of a head; of all heads                    */
    int64_t row;                    /* of scores: tokens, padded for the loops             */
} sizes_t;

static sizes_t sizes_of(const mo_op_t *op, const mo_net_t *net, int64_t images)
{
    const int32_t heads = ((const mo_attention_form_t *)op->form)->heads;
    mo_shape_t src = net->shapes[op->src], dst = net->shapes[op->dst];
    return (sizes_t){.all = images,
                     .images = images,
                     .heads = heads,
                     .queries = dst.h,
                     .tokens = src.h,
                     .head = dst.c / heads,
                     .width = dst.c,
                     .row = MO_SOFTMAX_ROW((int64_t)src.h)};
}

static int64_t image_scores(const sizes_t *s)
{
    return s->heads * s->queries * s->row;
}

/* How many images go together. */
static int64_t most_images(const sizes_t *s)
{
    int64_t fit = CACHED_BYTES / (image_scores(s) * (int64_t)sizeof(float));
    return fit < 1 ? 1 : fit < s->all ? fit : s->all;
}

/* On to the next images: from first = -1 until it returns 0. */
static int next_images(sizes_t *s)
{
    int64_t most = most_images(s);
    s->first = s->first < 0 ? 0 : s->first + s->images;
    s->images = s->all - s->first < most ? s->all - s->first : most;
    return s->images > 0;
}

static float scale_of(const sizes_t *s)
{
    return (float)(1.0 / sqrt((double)s->head));
}

/* Where softmax is a primitive, the scale rides on the product in front of it, and on those behind
 * its gradient. An elementwise primitive in between would cost a pass, and that of GPUs in oneDNN
 * 2.6 takes rows with a gap between them for rows without. */
static float product_scale(const mo_plan_t *plan, const sizes_t *s)
{
    return plan->primitives ? scale_of(s) : 1.0f;
}

/* Columns from `column` on of an [images, tokens, row] matrix as [images, heads, count, head], or
 * with the last two exchanged. */
typedef struct columns {
    int64_t tokens, row, column, count;
    int transposed;
} columns_t;

static moco_status_t heads_view(mo_plan_t *plan, const sizes_t *s, int32_t of, columns_t c, int32_t *view)
{
    dnnl_dims_t dims = {s->images, s->heads, c.transposed ? s->head : c.count, c.transposed ? c.count : s->head};
    dnnl_dims_t strides = {c.tokens * c.row, s->head, c.transposed ? 1 : c.row, c.transposed ? c.row : 1};
    return mo_view(plan, of, s->first * c.tokens * c.row + c.column, 4, dims, strides, view);
}

enum { QUERIES, KEYS, VALUES };

static moco_status_t part_view(mo_plan_t *plan, const sizes_t *s, int32_t of, int part, int transposed, int32_t *view)
{
    columns_t c = {s->tokens, 3 * s->width, part * s->width, part == QUERIES ? s->queries : s->tokens, transposed};
    return heads_view(plan, s, of, c, view);
}

static moco_status_t result_view(mo_plan_t *plan, const sizes_t *s, int32_t of, int32_t *view)
{
    columns_t c = {s->queries, s->width, 0, s->queries, 0};
    return heads_view(plan, s, of, c, view);
}

/* Of scores for the images from `first` on. */
static moco_status_t scores_view(mo_plan_t *plan, const sizes_t *s, int32_t of, int64_t first, int transposed,
                                 int32_t *view)
{
    dnnl_dims_t dims = {s->images, s->heads, transposed ? s->tokens : s->queries, transposed ? s->queries : s->tokens};
    dnnl_dims_t strides = {image_scores(s), s->queries * s->row, transposed ? 1 : s->row, transposed ? s->row : 1};
    return mo_view(plan, of, first * image_scores(s), 4, dims, strides, view);
}

static moco_status_t scores_slot(mo_plan_t *plan, const sizes_t *s, int64_t images, dnnl_data_type_t type,
                                 int32_t *slot)
{
    moco_status_t status = MOCO_OK;
    mo_md_t md = NULL;
    dnnl_dims_t dims = {images * image_scores(s)};
    ENGINE(mo_md_tag(&md, 1, dims, type, dnnl_a), "describe the scores of an attention");
    TRY(mo_plan_slot(plan, MO_IN_ARENA, 0, md, slot));
cleanup:
    mo_md_free(md);
    return status;
}

/* dst = scale * a · b */
static moco_status_t product(mo_plan_t *plan, const mo_op_t *op, float scale, int32_t a, int32_t b, int32_t dst)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    ENGINE(mo_attr_begin(&attr), "make attributes");
    if (scale != 1.0f)
        ENGINE(mo_attr_eltwise(&attr, dnnl_eltwise_linear, scale, 0.0f), "fuse a scale");
    ENGINE(mo_attr_end(&attr), "make attributes");
    ENGINE(mo_pd_matmul(&pd, mo_device_engine(plan->device), MD(plan, a), MD(plan, b), NULL, MD(plan, dst), attr.attr),
           "plan a product of an attention");
    mo_arg_t args[] = {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, dst}};
    TRY(mo_plan_primitive(plan, op, pd, 3, args, "make a product of an attention"));
cleanup:
    mo_attr_free(&attr);
    return status;
}

/* ---- softmax of some images ---- */

/* values: scores. */
static moco_status_t softmax(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    sizes_t s = sizes_of(op, net, rows);
    mo_softmax_forward(v[0], s.images * s.heads * s.queries, s.tokens, scale_of(&s));
    return MOCO_OK;
}

/* values: probabilities, their gradient. */
static moco_status_t softmax_gradient(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    sizes_t s = sizes_of(op, net, rows);
    mo_softmax_backward(v[0], v[1], s.images * s.heads * s.queries, s.tokens, scale_of(&s));
    return MOCO_OK;
}

static moco_status_t emit_softmax(mo_plan_t *plan, const mo_op_t *op, const sizes_t *s, int32_t scores)
{
    moco_status_t status = MOCO_OK;
    dnnl_primitive_desc_t pd = NULL;
    mo_attr_t attr = {0};
    if (!plan->primitives)
        return mo_emit_host_rows(plan, op, softmax, (int32_t)s->images, "u", &scores);
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_softmax_fwd(&pd, mo_device_engine(plan->device), dnnl_forward_training, MD(plan, scores), 3,
                             attr.attr),
           "plan an attention's softmax");
    mo_arg_t args[] = {{DNNL_ARG_SRC, scores}, {DNNL_ARG_DST, scores}};
    TRY(mo_plan_primitive(plan, op, pd, 2, args, "make an attention's softmax"));
cleanup:
    mo_attr_free(&attr);
    return status;
}

static moco_status_t emit_softmax_gradient(mo_plan_t *plan, const mo_op_t *op, const sizes_t *s, int32_t scores,
                                           int32_t d_scores)
{
    moco_status_t status = MOCO_OK;
    dnnl_engine_t engine = mo_device_engine(plan->device);
    dnnl_primitive_desc_t pd = NULL, hint = NULL;
    mo_attr_t attr = {0};
    mo_slot_id_t slots[] = {scores, d_scores};
    if (!plan->primitives)
        return mo_emit_host_rows(plan, op, softmax_gradient, (int32_t)s->images, "ru", slots);
    TRY(mo_attr_plain(&attr));
    ENGINE(mo_pd_softmax_fwd(&hint, engine, dnnl_forward_training, MD(plan, scores), 3, attr.attr),
           "plan an attention's softmax");
    ENGINE(mo_pd_softmax_bwd(&pd, engine, MD(plan, scores), 3, hint, attr.attr),
           "plan an attention's softmax gradient");
    TRY(mo_plan_choose(plan, &pd, hint, NULL, "make an attention's softmax gradient"));
    mo_arg_t args[] = {{DNNL_ARG_DST, scores}, {DNNL_ARG_DIFF_DST, d_scores}, {DNNL_ARG_DIFF_SRC, d_scores}};
    TRY(mo_plan_chosen(plan, op, pd, 3, args, "make an attention's softmax gradient"));
cleanup:
    if (hint != NULL)
        dnnl_primitive_desc_destroy(hint);
    mo_attr_free(&attr);
    return status;
}

/* ---- forward ---- */

/* Scores of these images, kept from image `first` on in `of`, into the place of low precision. The
 * gaps between rows go along: oneDNN 3.7's copy of rows writes over them anyway. */
static moco_status_t low_copy(mo_plan_t *plan, const mo_op_t *op, const sizes_t *s, int32_t of, int64_t first,
                              int32_t low)
{
    moco_status_t status = MOCO_OK;
    const int64_t count = s->images * image_scores(s), stride = 1;
    int32_t from, to;
    TRY(mo_view(plan, of, first * image_scores(s), 1, &count, &stride, &from));
    TRY(mo_view(plan, low, 0, 1, &count, &stride, &to));
    TRY(mo_emit_copy(plan, op, from, to));
cleanup:
    return status;
}

/* slots: source, result, scores, and a place for probabilities in the type of the source, which may
 * be that of the scores. */
static moco_status_t some_images(mo_plan_t *plan, const mo_op_t *op, const sizes_t *s, const int32_t slots[4],
                                 int64_t first_scores)
{
    moco_status_t status = MOCO_OK;
    int32_t queries, keys, values, dst, scores, probabilities, src = slots[0];
    TRY(part_view(plan, s, src, QUERIES, 0, &queries));
    TRY(part_view(plan, s, src, KEYS, 1, &keys));
    TRY(part_view(plan, s, src, VALUES, 0, &values));
    TRY(result_view(plan, s, slots[1], &dst));
    TRY(scores_view(plan, s, slots[2], first_scores, 0, &scores));
    TRY(product(plan, op, product_scale(plan, s), queries, keys, scores));
    TRY(emit_softmax(plan, op, s, scores));
    probabilities = scores;
    if (slots[3] != slots[2]) {
        TRY(low_copy(plan, op, s, slots[2], first_scores, slots[3]));
        TRY(scores_view(plan, s, slots[3], 0, 0, &probabilities));
    }
    TRY(product(plan, op, 1.0f, probabilities, values, dst));
cleanup:
    return status;
}

static moco_status_t forward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    sizes_t s = sizes_of(op, plan->net, plan->shard);
    int keeps = plan->mode == MO_MODE_TRAIN;
    int32_t slots[4];
    TRY(mo_value(plan, op->src, &slots[0]));
    TRY(mo_value(plan, op->dst, &slots[1]));
    /* Where nobody keeps them the scores of the next images take the place of the last ones. */
    TRY(scores_slot(plan, &s, keeps ? plan->shard : most_images(&s), dnnl_f32, &slots[2]));
    slots[3] = slots[2];
    if (TYPE(plan, slots[0]) != dnnl_f32)
        TRY(scores_slot(plan, &s, most_images(&s), TYPE(plan, slots[0]), &slots[3]));
    for (s.first = -1; next_images(&s);)
        TRY(some_images(plan, op, &s, slots, keeps ? s.first : 0));
    *mo_memo(plan, op, MEMO_SCORES) = slots[2];
cleanup:
    return status;
}

/* ---- backward ---- */

/* What backward walks over. `low`: a place for scores in the type of the source, -1 where that is
 * float32. */
typedef struct slots {
    int32_t src, d_dst, d_src, scores, d_scores, low;
} slots_t;

/* Scores of these images, kept from image `first` on in `of`, as the products read them. */
static moco_status_t readable(mo_plan_t *plan, const mo_op_t *op, const sizes_t *s, const slots_t *slots, int32_t of,
                              int64_t first, int32_t *straight, int32_t *turned)
{
    moco_status_t status = MOCO_OK;
    if (slots->low >= 0) {
        TRY(low_copy(plan, op, s, of, first, slots->low));
        of = slots->low;
        first = 0;
    }
    TRY(scores_view(plan, s, of, first, 0, straight));
    TRY(scores_view(plan, s, of, first, 1, turned));
cleanup:
    return status;
}

/* With P the probabilities: dV = Pᵀ dY, dP = dY Vᵀ, dS from softmax, dQ = dS K, dK = dSᵀ Q. */
static moco_status_t some_gradients(mo_plan_t *plan, const mo_op_t *op, const sizes_t *s, const slots_t *slots)
{
    moco_status_t status = MOCO_OK;
    const int32_t src = slots->src, d_src = slots->d_src;
    int32_t d_dst, scores, d_scores, straight, turned, part, d_part;
    TRY(result_view(plan, s, slots->d_dst, &d_dst));
    TRY(scores_view(plan, s, slots->scores, s->first, 0, &scores));
    TRY(scores_view(plan, s, slots->d_scores, 0, 0, &d_scores));

    TRY(part_view(plan, s, src, VALUES, 1, &part));
    TRY(product(plan, op, 1.0f, d_dst, part, d_scores));
    TRY(readable(plan, op, s, slots, slots->scores, s->first, &straight, &turned));
    TRY(part_view(plan, s, d_src, VALUES, 0, &d_part));
    TRY(product(plan, op, 1.0f, turned, d_dst, d_part));

    TRY(emit_softmax_gradient(plan, op, s, scores, d_scores));
    TRY(readable(plan, op, s, slots, slots->d_scores, 0, &straight, &turned));
    TRY(part_view(plan, s, src, KEYS, 0, &part));
    TRY(part_view(plan, s, d_src, QUERIES, 0, &d_part));
    TRY(product(plan, op, product_scale(plan, s), straight, part, d_part));
    TRY(part_view(plan, s, src, QUERIES, 0, &part));
    TRY(part_view(plan, s, d_src, KEYS, 0, &d_part));
    TRY(product(plan, op, product_scale(plan, s), turned, part, d_part));
cleanup:
    return status;
}

/* values: gradient of [q | k | v]: tokens that did not ask leave none in q. */
static moco_status_t no_queries(const mo_op_t *op, const mo_net_t *net, int32_t rows, float *const *v)
{
    sizes_t s = sizes_of(op, net, rows);
    for (int64_t n = 0; n < s.images; n++)
        for (int64_t t = s.queries; t < s.tokens; t++)
            memset(v[0] + (n * s.tokens + t) * 3 * s.width, 0, (size_t)s.width * sizeof(float));
    return MOCO_OK;
}

static moco_status_t emit_no_queries(mo_plan_t *plan, const mo_op_t *op, const sizes_t *s, int32_t d_src)
{
    moco_status_t status = MOCO_OK;
    int32_t keys, queries;
    const int64_t row = 3 * s->width, extents[] = {s->all, s->tokens - s->queries, s->width};
    const int64_t strides[] = {s->tokens * row, row, 1};
    if (!plan->primitives)
        return mo_emit_host(plan, op, no_queries, "u", &d_src);
    TRY(mo_view(plan, d_src, s->queries * row + QUERIES * s->width, 3, extents, strides, &queries));
    TRY(mo_view(plan, d_src, s->queries * row + KEYS * s->width, 3, extents, strides, &keys));
    TRY(mo_emit_zeros(plan, op, keys, queries)); /* their keys have a gradient */
cleanup:
    return status;
}

static moco_status_t backward(mo_plan_t *plan, const mo_op_t *op)
{
    moco_status_t status = MOCO_OK;
    sizes_t s = sizes_of(op, plan->net, plan->shard);
    slots_t slots = {.scores = *mo_memo(plan, op, MEMO_SCORES), .low = -1};
    TRY(mo_value(plan, op->src, &slots.src));
    TRY(mo_gradient(plan, op->dst, &slots.d_dst));
    TRY(mo_plan_low_gradient(plan, op, &slots.d_dst));
    TRY(mo_gradient_slot(plan, op->src, &slots.d_src));
    TRY(scores_slot(plan, &s, most_images(&s), dnnl_f32, &slots.d_scores));
    if (TYPE(plan, slots.src) != dnnl_f32)
        TRY(scores_slot(plan, &s, most_images(&s), TYPE(plan, slots.src), &slots.low));
    for (s.first = -1; next_images(&s);)
        TRY(some_gradients(plan, op, &s, &slots));
    if (s.queries < s.tokens)
        TRY(emit_no_queries(plan, op, &s, slots.d_src));
    TRY(mo_gradient_add(plan, op, op->src, slots.d_src));
cleanup:
    return status;
}

/* Every query with every key, then every weight with every value. */
static int64_t multiply_adds(const mo_net_t *net, const mo_op_t *op)
{
    const mo_shape_t out = net->shapes[op->dst];
    return 2 * (int64_t)out.c * out.h * net->shapes[op->src].h;
}

const mo_op_kind_t mo_kind_attention = {
    .name = "attention", .forward = forward, .backward = backward, .multiply_adds = multiply_adds, .traits = MO_LOW};
