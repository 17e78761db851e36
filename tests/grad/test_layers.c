/* Every kind of layer, forward and backward, against the same network in double precision: losses,
 * batch statistics, and the gradients of all parameters and of the input along random directions.
 * Each net ends in the loss the library has; behind the layer under test stands a ReLU, so that the
 * gradient that reaches it differs from place to place. */
#include <stdio.h>

#include "engine_fixtures.h"

/* ---- ends of nets ---- */

static int32_t head(mo_net_t *net, int32_t t)
{
    return mo_linear(net, mo_mean_pool(net, mo_relu(net, t)), "fc", 16);
}

static int32_t conv_head(mo_net_t *net, int32_t t, int32_t channels, int32_t kernel, int32_t stride, int32_t pad)
{
    return head(net, mo_conv(net, t, "conv", channels, kernel, stride, pad, MO_INIT_KAIMING));
}

/* ---- nets ---- */

/* clang-format off */
static int32_t conv1(mo_net_t *net, int32_t t) { return conv_head(net, t, 32, 1, 1, 0); }
static int32_t conv1_2(mo_net_t *net, int32_t t) { return conv_head(net, t, 32, 1, 2, 0); }
static int32_t conv3(mo_net_t *net, int32_t t) { return conv_head(net, t, 16, 3, 1, 1); }
static int32_t conv3_2(mo_net_t *net, int32_t t) { return conv_head(net, t, 32, 3, 2, 1); }
static int32_t conv7(mo_net_t *net, int32_t t) { return conv_head(net, t, 16, 7, 1, 3); }
static int32_t conv7_2(mo_net_t *net, int32_t t) { return conv_head(net, t, 16, 7, 2, 3); }
/* clang-format on */

static int32_t two_convs(mo_net_t *net, int32_t t)
{
    t = mo_conv(net, t, "first", 32, 3, 2, 1, MO_INIT_KAIMING);
    return head(net, mo_conv(net, mo_relu(net, t), "second", 16, 1, 1, 0, MO_INIT_KAIMING));
}

/* clang-format off */
static int32_t norm(mo_net_t *net, int32_t t) { return head(net, mo_batchnorm(net, t, "bn", 0, MO_INIT_ONE)); }
/* clang-format on */

static int32_t norm_relu(mo_net_t *net, int32_t t)
{
    t = mo_batchnorm(net, t, "bn", 1, MO_INIT_ONE);
    return mo_linear(net, mo_mean_pool(net, t), "fc", 16);
}

static int32_t conv_norm(mo_net_t *net, int32_t t)
{
    t = mo_batchnorm(net, mo_conv(net, t, "conv1", 16, 3, 1, 1, MO_INIT_KAIMING), "bn1", 1, MO_INIT_ONE);
    t = mo_batchnorm(net, mo_conv(net, t, "conv2", 32, 3, 2, 1, MO_INIT_KAIMING), "bn2", 0, MO_INIT_ONE);
    return head(net, t);
}

/* clang-format off */
static int32_t max_pool(mo_net_t *net, int32_t t) { return head(net, mo_max_pool(net, t, 3, 2, 1)); }
static int32_t max_pool_2(mo_net_t *net, int32_t t) { return head(net, mo_max_pool(net, t, 2, 2, 0)); }
static int32_t mean_pool(mo_net_t *net, int32_t t) { return mo_mean_pool(net, t); }
static int32_t relu(mo_net_t *net, int32_t t) { return mo_mean_pool(net, mo_relu(net, t)); }
static int32_t linear(mo_net_t *net, int32_t t) { return mo_linear(net, t, "fc", 10); }
/* clang-format on */
static int32_t mlp(mo_net_t *net, int32_t t)
{
    return mo_linear(net, mo_relu(net, mo_linear(net, t, "fc.0", 48)), "fc.2", 16);
}
static int32_t same(mo_net_t *net, int32_t t)
{
    (void)net;
    return t;
}

static int32_t block(mo_net_t *net, int32_t src, const char *name, int32_t channels, int32_t stride)
{
    char part[4][32];
    for (int i = 0; i < 4; i++)
        snprintf(part[i], sizeof part[i], "%s.%d", name, i);
    int32_t t = mo_conv(net, src, part[0], channels, 3, stride, 1, MO_INIT_KAIMING), shortcut = src;
    t = mo_batchnorm(net, t, part[0], 1, MO_INIT_ONE);
    if (stride != 1) {
        shortcut = mo_conv(net, src, part[1], channels, 1, stride, 0, MO_INIT_KAIMING);
        shortcut = mo_batchnorm(net, shortcut, part[1], 0, MO_INIT_ONE);
    }
    t = mo_batchnorm(net, mo_conv(net, t, part[2], channels, 3, 1, 1, MO_INIT_KAIMING), part[2], 0, MO_INIT_ONE);
    return mo_residual(net, t, shortcut);
}

/* clang-format off */
static int32_t identity(mo_net_t *net, int32_t t) { return head(net, block(net, t, "a", 16, 1)); }
static int32_t projection(mo_net_t *net, int32_t t) { return head(net, block(net, t, "a", 32, 2)); }
/* clang-format on */
static int32_t blocks(mo_net_t *net, int32_t t)
{
    t = block(net, block(net, t, "a", 16, 1), "b", 16, 1);
    return head(net, block(net, block(net, t, "c", 32, 2), "d", 32, 1));
}

/* ---- of transformers ---- */

/* The last layer of a net that ends in tokens: a linear layer on each, and their mean, so that no
 * gradient is a multiple of another's. */
static int32_t tokens_end(mo_net_t *net, int32_t t)
{
    return mo_mean_pool(net, mo_relu(net, mo_linear(net, t, "end", 16)));
}

static int32_t patches(mo_net_t *net, int32_t t, int32_t channels, int32_t patch, int frozen)
{
    int32_t first =
        mo_token_parameters(net, 1 + (net->shapes[t].h / patch) * (net->shapes[t].w / patch), channels, frozen);
    t = mo_conv_bias(net, t, "patch", channels, patch, patch, MO_INIT_XAVIER, MO_INIT_ZERO, frozen);
    return mo_tokens(net, t, first);
}

static int32_t conv_bias(mo_net_t *net, int32_t t)
{
    return head(net, mo_conv_bias(net, t, "conv", 32, 1, 1, MO_INIT_UNIFORM, MO_INIT_UNIFORM, 0));
}

/* clang-format off */
static int32_t patches3(mo_net_t *net, int32_t t) { return tokens_end(net, patches(net, t, 16, 3, 0)); }
static int32_t patches4(mo_net_t *net, int32_t t) { return tokens_end(net, patches(net, t, 32, 4, 0)); }
static int32_t patches_frozen(mo_net_t *net, int32_t t) { return tokens_end(net, patches(net, t, 16, 4, 1)); }
static int32_t token_linear(mo_net_t *net, int32_t t) { return tokens_end(net, mo_linear(net, t, "fc", 24)); }
static int32_t gelu(mo_net_t *net, int32_t t) { return tokens_end(net, mo_gelu(net, t)); }
static int32_t layer_norm(mo_net_t *net, int32_t t) { return tokens_end(net, mo_layernorm(net, t, "norm")); }
/* clang-format on */
static int32_t two_norms(mo_net_t *net, int32_t t) /* the second one's gradient comes on top of the sum's */
{
    t = mo_linear(net, t, "fc", 32);
    int32_t inner = mo_linear(net, mo_layernorm(net, t, "inner"), "inner.fc", 32);
    return tokens_end(net, mo_layernorm(net, mo_sum(net, inner, t), "outer"));
}
static int32_t class_token(mo_net_t *net, int32_t t)
{
    return mo_linear(net, mo_class_token(net, mo_linear(net, t, "fc", 16)), "end", 16);
}
static int32_t class_and_all(mo_net_t *net, int32_t t)
{
    t = mo_linear(net, t, "fc", 16);
    int32_t first = mo_class_token(net, t);
    return mo_sum(net, mo_linear(net, first, "first", 16), mo_mean_pool(net, mo_linear(net, t, "all", 16)));
}
/* clang-format off */
static int32_t attention1(mo_net_t *net, int32_t t) { return tokens_end(net, mo_attention(net, t, 1)); }
static int32_t attention3(mo_net_t *net, int32_t t) { return tokens_end(net, mo_attention(net, t, 3)); }
static int32_t attention4(mo_net_t *net, int32_t t) { return tokens_end(net, mo_attention(net, t, 4)); }
/* clang-format on */
static int32_t class_attention(mo_net_t *net, int32_t t)
{
    return mo_linear(net, mo_class_attention(net, mo_linear(net, t, "qkv", 72), 3), "end", 16);
}
static int32_t transformer(mo_net_t *net, int32_t t)
{
    int32_t x = patches(net, t, 32, 4, 0);
    t = mo_attention(net, mo_linear(net, mo_layernorm(net, x, "norm1"), "qkv", 96), 4);
    x = mo_sum(net, mo_linear(net, t, "proj", 32), x);
    t = mo_gelu(net, mo_linear(net, mo_layernorm(net, x, "norm2"), "fc1", 128));
    x = mo_sum(net, mo_linear(net, t, "fc2", 32), x);
    return mo_linear(net, mo_layernorm(net, mo_class_token(net, x), "norm"), "end", 16);
}
static int32_t token_batch_norm(mo_net_t *net, int32_t t)
{
    return tokens_end(net, mo_batchnorm(net, t, "bn", 0, MO_INIT_ONE));
}

typedef struct layer_case {
    const char *name;
    rig_body_t body;
    mo_shape_t image;
    int64_t queue;
} layer_case_t;

static const layer_case_t cases[] = {
    {"convolution 1x1", conv1, {16, 5, 7}, 37},
    {"convolution 1x1, stride 2", conv1_2, {16, 7, 7}, 37},
    {"convolution 3x3", conv3, {16, 7, 6}, 37},
    {"convolution 3x3, 3 channels", conv3, {3, 9, 8}, 37},
    {"convolution 3x3, stride 2", conv3_2, {16, 9, 7}, 37},
    {"convolution 3x3, stride 2, even", conv3_2, {16, 8, 6}, 37},
    {"convolution 7x7, 3 channels", conv7, {3, 9, 9}, 37},
    {"convolution 7x7, stride 2, 3 channels", conv7_2, {3, 17, 15}, 37},
    {"convolution 7x7, stride 2, 16 channels", conv7_2, {16, 9, 9}, 37},
    {"two convolutions", two_convs, {16, 9, 9}, 37},
    {"batch norm", norm, {16, 5, 5}, 37},
    {"batch norm of vectors", norm, {48, 1, 1}, 37},
    {"batch norm with ReLU", norm_relu, {32, 5, 3}, 37},
    {"convolutions and batch norms", conv_norm, {16, 7, 7}, 37},
    {"max pool 3x3, stride 2", max_pool, {16, 9, 8}, 37},
    {"max pool 2x2, stride 2, odd", max_pool_2, {16, 7, 7}, 37},
    {"mean pool", mean_pool, {32, 5, 7}, 37},
    {"ReLU", relu, {16, 3, 3}, 37},
    {"linear", linear, {24, 1, 1}, 37},
    {"linear, ReLU, linear", mlp, {32, 1, 1}, 37},
    {"residual, identity", identity, {16, 5, 5}, 37},
    {"residual, projection", projection, {16, 7, 7}, 37},
    {"four residual blocks", blocks, {16, 7, 7}, 37},
    {"convolution 1x1 with bias", conv_bias, {16, 5, 5}, 37},
    {"patches of 3, 5 tokens", patches3, {3, 6, 6}, 37},
    {"patches of 4, 13 tokens", patches4, {3, 12, 16}, 37},
    {"patches, frozen", patches_frozen, {3, 8, 8}, 37},
    {"linear on tokens", token_linear, {16, 7, 1}, 37},
    {"GELU", gelu, {16, 7, 1}, 37},
    {"layer norm, one channel group", layer_norm, {16, 5, 1}, 37},
    {"layer norm, wide", layer_norm, {1040, 3, 1}, 37},
    {"layer norm, many rows", layer_norm, {32, 51, 1}, 37},
    {"layer norm, odd channels", layer_norm, {24, 5, 1}, 37},
    {"layer norms and a sum", two_norms, {16, 7, 1}, 37},
    {"class token", class_token, {16, 5, 1}, 37},
    {"class token beside another reader", class_and_all, {16, 5, 1}, 37},
    {"attention, 1 head", attention1, {48, 5, 1}, 37},
    {"attention, 3 heads of 8, 2 tokens", attention3, {72, 2, 1}, 37},
    {"attention, 3 heads of 8, 17 tokens", attention3, {72, 17, 1}, 37},
    {"attention, 4 heads of 4, 50 tokens", attention4, {48, 50, 1}, 37},
    {"attention, 145 tokens, two images and then one", attention4, {48, 145, 1}, 37},
    {"attention of the class token", class_attention, {16, 17, 1}, 37},
    {"transformer block", transformer, {3, 12, 12}, 37},
    {"batch norm over tokens", token_batch_norm, {16, 7, 1}, 37},
    {"l2 norm alone", mean_pool, {16, 1, 1}, 64},
    {"loss alone", same, {16, 1, 1}, 64},
    {"loss alone, one key", same, {16, 1, 1}, 1},
    {"loss alone, 1000 keys", same, {128, 1, 1}, 1000},
};

static void compare(const layer_case_t *c, int32_t shard, int primitives)
{
    rig_t r;
    twin_t t;
    rig_shape_t shape = {
        .batch = 2 * shard, .groups = 2, .shards_per_group = 1, .sets = 1, .lanes = 1, .primitives = primitives};
    rig_open(&r, shape, c->image, c->queue, c->body);
    if (c->body == same) /* the loss takes rows of unit length */
        rig_units(r.images, shape.batch, r.width, 1);
    twin_open(&t, &r);
    rig_run(&r, 0xff); /* not-a-numbers everywhere */
    rig_assert_forward(&r, &t);
    rig_assert_gradients(&r, &t, 3);
    twin_close(&t);
    rig_close(&r);
}

/* Whether a name begins with one of the texts in a list with '|' between them. */
static int begins_with_one(const char *name, const char *list)
{
    for (size_t length; *list != '\0'; list += length + (list[length] == '|')) {
        length = strcspn(list, "|");
        if (length > 0 && strncmp(name, list, length) == 0)
            return 1;
    }
    return 0;
}

/* On a GPU there are primitives alone. They take their time, as kernels are compiled: the
 * environment variable MOCO_TEST_CASES may have what the names of those that are wanted begin with,
 * and each is told when it begins. */
static int leaves_out(int number, const char *name)
{
    const char *wanted = getenv("MOCO_TEST_CASES");
    if (!on_gpu())
        return 0;
    if (number % 2 == 0 || (wanted != NULL && !begins_with_one(name, wanted)))
        return 1;
    fprintf(stderr, "%s\n", name);
    return 0;
}

START_TEST(test_layer)
{
    if (leaves_out(_i, cases[_i / 2].name))
        return;
    compare(&cases[_i / 2], 3, _i % 2); /* loops, then primitives alone */
}
END_TEST

/* Numbers of images at which versions of oneDNN are wrong. Products of an attention: three times as
 * many as there are tokens (3.7.2, 3.12.1), and more than one with a single query (3.12.1). Copies
 * on a GPU: 16, which sub-groups share (2.6.3). */
START_TEST(test_numbers_of_images)
{
    static const struct {
        layer_case_t layer;
        int32_t images;
    } shapes[] = {{{"attention, 15 images of 5 tokens", attention3, {72, 5, 1}, 37}, 15},
                  {{"attention, 6 images of 2 tokens", attention3, {72, 2, 1}, 37}, 6},
                  {{"attention of the class token, 2 images", class_attention, {16, 17, 1}, 37}, 2},
                  {{"attention of the class token, 15 images of 5 tokens", class_attention, {16, 5, 1}, 37}, 15},
                  {{"patches of 3, one image", patches3, {3, 6, 6}, 37}, 1},
                  {{"loss alone, 16 images", same, {16, 1, 1}, 64}, 16},
                  {{"loss alone, 32 images, 16 keys", same, {32, 1, 1}, 16}, 32},
                  {{"class token, 16 images", class_token, {16, 17, 1}, 37}, 16},
                  {{"patches of 4, 16 images", patches4, {3, 16, 16}, 37}, 16},
                  {{"convolutions and batch norms, 16 images", conv_norm, {16, 7, 7}, 37}, 16},
                  {{"transformer block, 16 images", transformer, {3, 12, 12}, 37}, 16}};
    if (leaves_out(_i, shapes[_i / 2].layer.name))
        return;
    compare(&shapes[_i / 2].layer, shapes[_i / 2].images, _i % 2);
}
END_TEST

/* In-batch InfoNCE: the queue's rows are the batch's keys, and a row's own one is left out. */
START_TEST(test_own_key)
{
    rig_shape_t shape = {
        .batch = 6, .groups = 2, .shards_per_group = 1, .sets = 1, .lanes = 1, .places = 1, .primitives = _i % 2};
    rig_t r;
    twin_t t;
    if (leaves_out(_i, "own key left out"))
        return;
    rig_open(&r, shape, (mo_shape_t){16, 1, 1}, 6, same);
    rig_units(r.images, shape.batch, r.width, 1);
    twin_open(&t, &r);
    rig_run(&r, 0xff);
    rig_assert_forward(&r, &t);
    rig_assert_gradients(&r, &t, 3);
    twin_close(&t);
    rig_close(&r);
}
END_TEST

/* NT-Xent over all rows of a batch in shards that meet, alone and behind a layer whose weights all
 * rows share. The block of the queue holds its rows and the logarithms of their denominators. */
START_TEST(test_nt_xent)
{
    static const struct {
        rig_body_t body;
        int32_t batch, shards, lanes, width;
    } cuts[] = {{same, 2, 1, 1, 16},  {same, 12, 1, 1, 16},   {same, 12, 3, 2, 16},
                {same, 40, 4, 1, 32}, {linear, 12, 1, 1, 24}, {linear, 18, 3, 2, 24}};
    rig_shape_t shape = {.batch = cuts[_i / 2].batch,
                         .groups = 1,
                         .shards_per_group = cuts[_i / 2].shards,
                         .sets = 1,
                         .lanes = cuts[_i / 2].lanes,
                         .primitives = _i % 2,
                         .nt_xent = 1,
                         .apart = _i % 2};
    rig_t r;
    twin_t t;
    if (leaves_out(_i, "NT-Xent"))
        return;
    rig_open(&r, shape, (mo_shape_t){cuts[_i / 2].width, 1, 1}, 2 * shape.batch, cuts[_i / 2].body);
    if (cuts[_i / 2].body == same)
        rig_units(r.images, shape.batch, r.width, 1);
    twin_open(&t, &r);
    rig_run(&r, 0xff);
    rig_assert_forward(&r, &t);
    if (shape.batch > 2) /* a pair alone: loss and gradient are 0 */
        rig_assert_gradients(&r, &t, 3);
    twin_close(&t);
    rig_close(&r);
}
END_TEST

/* ---- bf16 ---- */

static rig_body_t low_body;

/* What reads the images stays float32, so a ReLU does. */
static int32_t behind_relu(mo_net_t *net, int32_t t)
{
    return low_body(net, mo_relu(net, t));
}

static double relative(const float *a, const float *b, int64_t count)
{
    double apart = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        ck_assert(isfinite(a[i])); /* fmax passes over a NaN */
        apart += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return size > 0 ? sqrt(apart / size) : apart > 0;
}

/* A product of two numbers rounded to 8 significant bits is off by 0.42 * 2^-8 * sqrt(2) = 0.0023
 * of itself, root mean square; gradients go through the products behind one another, and the loss
 * divides by its temperature of 0.2. A ReLU cuts other places where rounding has moved a number
 * over 0: that share times 0.8 of them, normal numbers, which changes a gradient by the root of it,
 * 0.045. Three times the root of the sum of squares is allowed; an operand in the wrong place makes
 * about 1. test_low.c asks for exact numbers. */
static double low_bound(const rig_t *r)
{
    double squares = 0;
    for (int32_t i = 0; i < r->net.body_ops; i++) {
        const mo_op_t *op = &r->net.ops[i];
        squares += (op->kind->multiply_adds != NULL) * 25 * 0.0023 * 0.0023;
        squares += (op->activation == MO_ACTIVATION_RELU) * 0.045 * 0.045;
    }
    return 3 * sqrt(squares);
}

START_TEST(test_low_precision)
{
    const layer_case_t *c = &cases[_i / 2];
    rig_t r, low;
    rig_shape_t shape = {.batch = 6, .groups = 2, .shards_per_group = 1, .sets = 1, .lanes = 1, .primitives = _i % 2};
    if (c->body == same || leaves_out(_i, c->name))
        return;
    low_body = c->body;
    rig_open(&r, shape, c->image, c->queue, behind_relu);
    shape.precision = MO_PRECISION_BF16;
    rig_open(&low, shape, c->image, c->queue, behind_relu);
    if (low.made != MOCO_OK) {
        ck_assert_int_eq(low.made, MOCO_ERR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(moco_last_message(), "bf16"));
        if (_i == 0)
            printf("skipped: %s\n", moco_last_message());
    } else {
        int32_t products = 0;
        for (int32_t i = 0; i < r.net.body_ops; i++)
            products += r.net.ops[i].kind->multiply_adds != NULL && r.net.ops[i].src != r.input;
        rig_run(&r, 0xff);
        rig_run(&low, 0xff);
        double most = relative(low.d_images, r.d_images, shape.batch * r.feature);
        for (int64_t leaf = 0; leaf < r.leaves; leaf++)
            for (int32_t i = 0; i < r.net.parameter_count; i++) {
                const int64_t at = leaf * r.net.params + r.net.parameters[i].offset;
                most = fmax(most, relative(low.grads + at, r.grads + at, r.net.parameters[i].count));
            }
        if (getenv("MOCO_TEST_SHOW") != NULL)
            printf("%s: %.2g of %.2g\n", c->name, most, low_bound(&r));
        ck_assert_msg(most <= low_bound(&r), "%s: off by %.3g, wanted at most %g", c->name, most, low_bound(&r));
        ck_assert_msg((most > 0) == (products > 0), "%s: %d products, off by %g", c->name, products, most);
    }
    rig_close(&low);
    rig_close(&r);
}
END_TEST

/* What an arena held before decides nothing. */
START_TEST(test_junk)
{
    rig_t r;
    rig_shape_t shape = {.batch = 4, .groups = 2, .shards_per_group = 1, .sets = 2, .lanes = 2};
    rig_open(&r, shape, (mo_shape_t){16, 7, 7}, 37, blocks);
    rig_run(&r, 0xff);
    size_t grads = (size_t)(r.leaves * r.net.params) * sizeof(float), images = (size_t)(4 * r.feature) * sizeof(float);
    float *kept = malloc(grads), *d_images = malloc(images);
    memcpy(kept, r.grads, grads);
    memcpy(d_images, r.d_images, images);
    rig_run(&r, 0);
    for (int64_t leaf = 0; leaf < r.leaves; leaf++)
        for (int32_t i = 0; i < r.net.parameter_count; i++) /* padding between parameters is nobody's */
            ck_assert_mem_eq(r.grads + leaf * r.net.params + r.net.parameters[i].offset,
                             kept + leaf * r.net.params + r.net.parameters[i].offset,
                             (size_t)r.net.parameters[i].count * sizeof(float));
    ck_assert_mem_eq(r.d_images, d_images, images);
    free(kept);
    free(d_images);
    rig_close(&r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("layers");
    TCase *tc = tcase_create("layers");
    tcase_set_timeout(tc, 240);
    tcase_add_loop_test(tc, test_layer, 0, 2 * (int)(sizeof cases / sizeof cases[0]));
    tcase_add_loop_test(tc, test_numbers_of_images, 0, 22);
    tcase_add_loop_test(tc, test_own_key, 0, 2);
    tcase_add_loop_test(tc, test_nt_xent, 0, 12);
    tcase_add_loop_test(tc, test_low_precision, 0, 2 * (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(tc, test_junk);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
