/* Encoders as lists: sizes, names and shapes as torchvision has them, and what fresh parameters
 * look like. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <moco/trainer.h>

#include "buffer_fixtures.h"
#include "engine/ops.h"
#include "nets/encoder.h"
#include "train/trainer.h"

typedef struct size_case {
    int32_t arch, stem, image;
    double width;
    int64_t params, stats; /* of the backbone */
    int32_t entries;       /* of a state dict with a linear head; 0 = not asked */
    int32_t features;
} size_case_t;

static const size_case_t sizes[] = {
    {MOCO_ARCH_RESNET18, MOCO_STEM_IMAGENET, 224, 1, 11176512, 9600, 122, 512},
    {MOCO_ARCH_RESNET34, MOCO_STEM_IMAGENET, 224, 1, 21284672, 17024, 218, 512},
    {MOCO_ARCH_RESNET50, MOCO_STEM_IMAGENET, 224, 1, 23508032, 53120, 320, 2048},
    {MOCO_ARCH_RESNET101, MOCO_STEM_IMAGENET, 224, 1, 42500160, 105344, 626, 2048},
    {MOCO_ARCH_RESNET152, MOCO_STEM_IMAGENET, 224, 1, 58143808, 151424, 932, 2048},
    {MOCO_ARCH_RESNET50, MOCO_STEM_IMAGENET, 224, 2, 93907072, 106240, 320, 4096},
    {MOCO_ARCH_RESNET50, MOCO_STEM_IMAGENET, 224, 4, 375378176, 212480, 320, 8192},
    {MOCO_ARCH_RESNET18, MOCO_STEM_CIFAR, 32, 1, 11168832, 9600, 122, 512},
    {MOCO_ARCH_RESNET50, MOCO_STEM_CIFAR, 32, 1, 23500352, 53120, 320, 2048},
};

static mo_net_t built(int32_t arch, int32_t stem, int32_t head, double width, int32_t image, int32_t zero)
{
    mo_net_t net = {0};
    mo_encoder_spec_t spec = {.arch = arch,
                              .stem = stem,
                              .head = head,
                              .width = width,
                              .image_size = image,
                              .dimension = 128,
                              .zero_init_residual = zero};
    ck_assert_int_eq(mo_encoder_net(&spec, &net), MOCO_OK);
    return net;
}

START_TEST(test_sizes)
{
    const size_case_t *c = &sizes[_i];
    mo_net_t net = built(c->arch, c->stem, -1, c->width, c->image, 0);
    ck_assert_int_eq(mo_net_numel(&net), c->params);
    ck_assert_int_eq(net.stats, c->stats);
    ck_assert_int_eq(net.parameter_count + 3 * net.bn_count + 2, c->entries);
    ck_assert_int_eq(net.shapes[net.backbone].c, c->features);
    ck_assert_int_eq(net.shapes[net.backbone].h * net.shapes[net.backbone].w, 1);
    ck_assert_int_eq(net.projection, -1);
    mo_net_free(&net);
}
END_TEST

/* Files of other origins are told by these. */
START_TEST(test_blocks)
{
    static const int32_t wanted[5][5] = {
        {2, 2, 2, 2, 0}, {3, 4, 6, 3, 0}, {3, 4, 6, 3, 1}, {3, 4, 23, 3, 1}, {3, 8, 36, 3, 1}};
    int32_t blocks[4];
    for (int32_t arch = MOCO_ARCH_RESNET18; arch <= MOCO_ARCH_RESNET152; arch++) {
        ck_assert_int_eq(mo_resnet_blocks(arch, blocks), wanted[arch][4]);
        ck_assert_mem_eq(blocks, wanted[arch], sizeof blocks);
    }
    ck_assert_int_eq(mo_resnet_blocks(MOCO_ARCH_RESNET152 + 1, blocks), -1);
    ck_assert_int_eq(mo_resnet_blocks(-1, blocks), -1);
}
END_TEST

START_TEST(test_heads)
{
    mo_net_t v1 = built(MOCO_ARCH_RESNET50, MOCO_STEM_IMAGENET, MOCO_HEAD_LINEAR, 1, 224, 0);
    mo_net_t v2 = built(MOCO_ARCH_RESNET50, MOCO_STEM_IMAGENET, MOCO_HEAD_MLP, 1, 224, 0);
    mo_net_t demo = built(MOCO_ARCH_RESNET18, MOCO_STEM_CIFAR, MOCO_HEAD_LINEAR, 1, 32, 0);
    ck_assert_int_eq(mo_net_numel(&v1), 23770304);
    ck_assert_int_eq(mo_net_numel(&v2), 23508032 + 4458624);
    ck_assert_int_eq(mo_net_numel(&demo), 11234496);
    ck_assert_int_eq(v2.parameter_count + 3 * v2.bn_count, 322);
    ck_assert_int_eq(v1.shapes[v1.projection].c, 128);
    mo_net_free(&v1);
    mo_net_free(&v2);
    mo_net_free(&demo);
}
END_TEST

/* Thousand millions of multiply-adds at 224 pixels with a classifier of 1000, as torchvision
 * publishes them. */
START_TEST(test_multiply_adds)
{
    static const struct published {
        int32_t arch;
        double giga;
    } published[] = {{MOCO_ARCH_RESNET18, 1.814},  {MOCO_ARCH_RESNET34, 3.664},   {MOCO_ARCH_RESNET50, 4.089},
                     {MOCO_ARCH_RESNET101, 7.801}, {MOCO_ARCH_RESNET152, 11.514}, {MOCO_ARCH_VIT_BASE, 17.564}};
    const int64_t stem = 7 * 7 * 3 * 64 * 112 * 112, patches = 16 * 16 * 3 * 768 * 14 * 14;
    /* Behind the last keys and values only the class token goes on: what the other 196 would
     * cost. */
    const int64_t unasked = 196 * (9 * 768 * 768 + 2 * 197 * 768);
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        int vit = published[i].arch == MOCO_ARCH_VIT_BASE;
        mo_encoder_spec_t spec = {
            .arch = published[i].arch, .head = -1, .width = 1, .image_size = 224, .freeze_patch = vit};
        mo_net_t net = {0};
        ck_assert_int_eq(mo_encoder_net(&spec, &net), MOCO_OK);
        int64_t forward = mo_net_multiply_adds(&net, 0, net.op_count, 0);
        int64_t classifier = net.shapes[net.backbone].c * 1000, half = net.op_count / 2;
        ck_assert_double_eq_tol((double)(forward + classifier + vit * unasked) * 1e-9, published[i].giga, 5.01e-4);
        ck_assert_int_eq(mo_net_multiply_adds(&net, 0, half, 0) + mo_net_multiply_adds(&net, half, net.op_count, 0),
                         forward);
        /* An image has no gradient, frozen weights have none. */
        ck_assert_int_eq(mo_net_multiply_adds(&net, 0, net.op_count, 1), 2 * forward - (vit ? 2 * patches : stem));
        mo_net_free(&net);
    }
}
END_TEST

typedef struct name_case {
    int32_t arch, stem, head;
    const char *name;
    int32_t rank;
    int64_t dims[4];
} name_case_t;

enum { R18 = MOCO_ARCH_RESNET18, R50 = MOCO_ARCH_RESNET50, BIG = MOCO_STEM_IMAGENET, SMALL = MOCO_STEM_CIFAR };

static const name_case_t names[] = {
    {R50, BIG, MOCO_HEAD_MLP, "conv1.weight", 4, {64, 3, 7, 7}},
    {R50, BIG, MOCO_HEAD_MLP, "bn1.weight", 1, {64}},
    {R50, BIG, MOCO_HEAD_MLP, "bn1.bias", 1, {64}},
    {R50, BIG, MOCO_HEAD_MLP, "layer1.0.conv1.weight", 4, {64, 64, 1, 1}},
    {R50, BIG, MOCO_HEAD_MLP, "layer1.0.conv2.weight", 4, {64, 64, 3, 3}},
    {R50, BIG, MOCO_HEAD_MLP, "layer1.0.conv3.weight", 4, {256, 64, 1, 1}},
    {R50, BIG, MOCO_HEAD_MLP, "layer1.0.downsample.0.weight", 4, {256, 64, 1, 1}},
    {R50, BIG, MOCO_HEAD_MLP, "layer1.0.downsample.1.bias", 1, {256}},
    {R50, BIG, MOCO_HEAD_MLP, "layer2.0.conv1.weight", 4, {128, 256, 1, 1}},
    {R50, BIG, MOCO_HEAD_MLP, "layer4.0.downsample.0.weight", 4, {2048, 1024, 1, 1}},
    {R50, BIG, MOCO_HEAD_MLP, "layer4.2.bn3.weight", 1, {2048}},
    {R50, BIG, MOCO_HEAD_MLP, "fc.0.weight", 2, {2048, 2048}},
    {R50, BIG, MOCO_HEAD_MLP, "fc.0.bias", 1, {2048}},
    {R50, BIG, MOCO_HEAD_MLP, "fc.2.weight", 2, {128, 2048}},
    {R50, BIG, MOCO_HEAD_MLP, "fc.2.bias", 1, {128}},
    {R50, BIG, MOCO_HEAD_LINEAR, "fc.weight", 2, {128, 2048}},
    {R50, BIG, MOCO_HEAD_LINEAR, "fc.bias", 1, {128}},
    {R18, SMALL, MOCO_HEAD_LINEAR, "conv1.weight", 4, {64, 3, 3, 3}},
    {R18, BIG, MOCO_HEAD_LINEAR, "layer1.0.conv1.weight", 4, {64, 64, 3, 3}},
    {R18, BIG, MOCO_HEAD_LINEAR, "layer2.0.downsample.0.weight", 4, {128, 64, 1, 1}},
    {R18, BIG, MOCO_HEAD_LINEAR, "layer4.1.conv2.weight", 4, {512, 512, 3, 3}},
    {R18, BIG, MOCO_HEAD_LINEAR, "fc.weight", 2, {128, 512}},
    {R18, BIG, MOCO_HEAD_LINEAR, "layer1.0.downsample.0.weight", -1, {0}}, /* basic blocks keep their width there */
    {R18, BIG, MOCO_HEAD_LINEAR, "layer1.0.conv3.weight", -1, {0}},
    {R50, BIG, MOCO_HEAD_MLP, "fc.weight", -1, {0}},
};

static const mo_parameter_t *span_of(const mo_net_t *net, const char *name)
{
    for (int32_t i = 0; i < net->parameter_count; i++)
        if (strcmp(net->parameters[i].name, name) == 0)
            return &net->parameters[i];
    return NULL;
}

START_TEST(test_names)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const name_case_t *c = &names[i];
        mo_net_t net = built(c->arch, c->stem, c->head, 1, 32, 0);
        const mo_parameter_t *parameter = span_of(&net, c->name);
        ck_assert_msg((parameter == NULL) == (c->rank < 0), "%s is %s", c->name,
                      parameter == NULL ? "missing" : "there");
        for (int d = 0; parameter != NULL && d < c->rank; d++)
            ck_assert_msg(parameter->rank == c->rank && parameter->dims[d] == c->dims[d], "%s has other sizes",
                          c->name);
        mo_net_free(&net);
    }
}
END_TEST

/* ---- heads and predictors of v3 and SimCLR ---- */

enum {
    VIT_S = MOCO_ARCH_VIT_SMALL,
    VIT_B = MOCO_ARCH_VIT_BASE,
    VIT_L = MOCO_ARCH_VIT_LARGE,
    VIT_H = MOCO_ARCH_VIT_HUGE
};

/* An encoder with its head and, where asked, the predictor that a query encoder has behind it. */
static mo_net_t with_head(mo_encoder_spec_t spec, int predictor)
{
    mo_net_t net = {0};
    spec.image_size = spec.image_size > 0 ? spec.image_size : 224;
    spec.width = spec.width > 0 ? spec.width : 1;
    spec.freeze_patch = 1;
    ck_assert_int_eq(mo_encoder_net(&spec, &net), MOCO_OK);
    if (predictor)
        ck_assert_int_ge(mo_predictor(&net, &spec, net.projection), 0);
    ck_assert(!net.failed);
    return net;
}

/* Numbers of the parameters that start with PREFIX and are in files. */
static int64_t numbers_of(const mo_net_t *net, const char *prefix)
{
    int64_t count = 0;
    for (int32_t i = 0; i < net->parameter_count; i++)
        if (strncmp(net->parameters[i].name, prefix, strlen(prefix)) == 0 && !net->parameters[i].hidden)
            count += net->parameters[i].count;
    return count;
}

/* Entries of a state dict: what is in files, and three statistics of each batch norm. */
static int32_t entries_of(const mo_net_t *net)
{
    int32_t entries = 3 * net->bn_count;
    for (int32_t i = 0; i < net->parameter_count; i++)
        entries += !net->parameters[i].hidden;
    return entries;
}

/* Trainable numbers as published, or worked out from the published layers (SimCLR). */
START_TEST(test_published_heads)
{
    static const struct {
        int32_t arch, head, layers, width, dimension;
        int64_t projector, predictor; /* predictor: 0 = none */
    } cases[] = {
        {R50, MOCO_HEAD_MLP_V3, 0, 4096, 256, 9445376, 2105344},
        {VIT_S, MOCO_HEAD_MLP_V3, 0, 4096, 256, 19415040, 2105344},
        {VIT_B, MOCO_HEAD_MLP_V3, 0, 4096, 256, 20987904, 2105344},
        {VIT_L, MOCO_HEAD_MLP_V3, 0, 4096, 256, 22036480, 2105344},
        {VIT_H, MOCO_HEAD_MLP_V3, 0, 4096, 256, 23085056, 2105344},
        {R50, MOCO_HEAD_MLP_SIMCLR, 0, 0, 128, 2 * (2048 * 2048 + 2 * 2048) + 2048 * 128 + 128, 0},
        {R50, MOCO_HEAD_MLP_SIMCLR, 2, 0, 128, 2048 * 2048 + 2 * 2048 + 2048 * 128 + 128, 0},
        {R50, MOCO_HEAD_MLP_BYOL, 0, 4096, 256, 2048 * 4096 + 2 * 4096 + 4096 * 256,
         256 * 4096 + 2 * 4096 + 4096 * 256},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mo_encoder_spec_t spec = {.arch = cases[i].arch,
                                  .head = cases[i].head,
                                  .head_layers = cases[i].layers,
                                  .head_width = cases[i].width,
                                  .dimension = cases[i].dimension};
        mo_net_t net = with_head(spec, cases[i].predictor > 0);
        ck_assert_int_eq(numbers_of(&net, mo_is_vit(cases[i].arch) ? "head." : "fc."), cases[i].projector);
        ck_assert_int_eq(numbers_of(&net, "predictor."), cases[i].predictor);
        ck_assert_int_eq(net.shapes[net.projection].c, cases[i].dimension);
        mo_net_free(&net);
    }
}
END_TEST

/* Entries of the state dicts of published training checkpoints: both encoders, predictor, queue and
 * its pointer. */
START_TEST(test_published_entries)
{
    static const struct {
        int32_t arch, stem, head, width, dimension, predictor, queue, entries;
    } cases[] = {
        {R50, BIG, MOCO_HEAD_LINEAR, 0, 128, 0, 2, 642},      {R50, BIG, MOCO_HEAD_MLP, 0, 128, 0, 2, 646},
        {R18, SMALL, MOCO_HEAD_LINEAR, 0, 128, 0, 2, 246},    {R50, BIG, MOCO_HEAD_MLP_V3, 4096, 256, 1, 0, 663},
        {VIT_S, BIG, MOCO_HEAD_MLP_V3, 4096, 256, 1, 0, 342}, {VIT_B, BIG, MOCO_HEAD_MLP_V3, 4096, 256, 1, 0, 342},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mo_encoder_spec_t spec = {.arch = cases[i].arch,
                                  .stem = cases[i].stem,
                                  .head = cases[i].head,
                                  .head_width = cases[i].width,
                                  .dimension = cases[i].dimension};
        mo_net_t query = with_head(spec, cases[i].predictor), key = with_head(spec, 0);
        ck_assert_int_eq(entries_of(&query) + entries_of(&key) + cases[i].queue, cases[i].entries);
        mo_net_free(&query);
        mo_net_free(&key);
    }
}
END_TEST

/* Layer by layer: weights [out,in], scales, what there is none of (-1: no such parameter; 0: a
 * constant in no file). */
START_TEST(test_layers_of_heads)
{
    static const struct {
        int32_t arch, head;
        const char *name;
        int64_t out, in;
    } cases[] = {
        {R50, MOCO_HEAD_MLP_V3, "fc.0.weight", 4096, 2048},
        {R50, MOCO_HEAD_MLP_V3, "fc.0.bias", -1, 0},
        {R50, MOCO_HEAD_MLP_V3, "fc.1.weight", 4096, 1},
        {R50, MOCO_HEAD_MLP_V3, "fc.1.bias", 4096, 1},
        {R50, MOCO_HEAD_MLP_V3, "fc.3.weight", 256, 4096},
        {R50, MOCO_HEAD_MLP_V3, "fc.4.weight", 0, 0},
        {R50, MOCO_HEAD_MLP_V3, "fc.4.bias", 0, 0},
        {R50, MOCO_HEAD_MLP_V3, "fc.6.weight", -1, 0},
        {R50, MOCO_HEAD_MLP_V3, "predictor.0.weight", 4096, 256},
        {R50, MOCO_HEAD_MLP_V3, "predictor.1.bias", 4096, 1},
        {R50, MOCO_HEAD_MLP_V3, "predictor.3.weight", 256, 4096},
        {R50, MOCO_HEAD_MLP_V3, "predictor.3.bias", -1, 0},
        {R50, MOCO_HEAD_MLP_V3, "predictor.4.weight", -1, 0},
        {VIT_S, MOCO_HEAD_MLP_V3, "head.0.weight", 4096, 384},
        {VIT_S, MOCO_HEAD_MLP_V3, "head.1.weight", 4096, 1},
        {VIT_S, MOCO_HEAD_MLP_V3, "head.3.weight", 4096, 4096},
        {VIT_S, MOCO_HEAD_MLP_V3, "head.4.bias", 4096, 1},
        {VIT_S, MOCO_HEAD_MLP_V3, "head.6.weight", 256, 4096},
        {VIT_S, MOCO_HEAD_MLP_V3, "head.7.weight", 0, 0},
        {VIT_S, MOCO_HEAD_MLP_V3, "head.7.bias", 0, 0},
        {VIT_S, MOCO_HEAD_MLP_V3, "predictor.3.weight", 256, 4096},
        {VIT_S, MOCO_HEAD_MLP_V3, "predictor.4.weight", 0, 0},
        {VIT_S, MOCO_HEAD_MLP_V3, "predictor.4.bias", 0, 0},
        {R50, MOCO_HEAD_MLP_SIMCLR, "fc.0.weight", 4096, 2048},
        {R50, MOCO_HEAD_MLP_SIMCLR, "fc.0.bias", -1, 0},
        {R50, MOCO_HEAD_MLP_SIMCLR, "fc.1.bias", 4096, 1},
        {R50, MOCO_HEAD_MLP_SIMCLR, "fc.3.weight", 4096, 4096},
        {R50, MOCO_HEAD_MLP_SIMCLR, "fc.6.weight", 256, 4096},
        {R50, MOCO_HEAD_MLP_SIMCLR, "fc.7.weight", 256, 1},
        {R50, MOCO_HEAD_MLP_SIMCLR, "fc.7.bias", 0, 0},
        {R50, MOCO_HEAD_MLP_BYOL, "fc.0.weight", 4096, 2048},
        {R50, MOCO_HEAD_MLP_BYOL, "fc.0.bias", -1, 0},
        {R50, MOCO_HEAD_MLP_BYOL, "fc.1.bias", 4096, 1},
        {R50, MOCO_HEAD_MLP_BYOL, "fc.3.weight", 256, 4096},
        {R50, MOCO_HEAD_MLP_BYOL, "fc.3.bias", -1, 0},
        {R50, MOCO_HEAD_MLP_BYOL, "fc.4.weight", -1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mo_encoder_spec_t spec = {.arch = cases[i].arch, .head = cases[i].head, .head_width = 4096, .dimension = 256};
        mo_net_t net = with_head(spec, cases[i].head == MOCO_HEAD_MLP_V3);
        const mo_parameter_t *parameter = span_of(&net, cases[i].name);
        ck_assert_msg((parameter == NULL) == (cases[i].out < 0), "%s is %s", cases[i].name,
                      parameter ? "there" : "missing");
        ck_assert_msg(parameter == NULL || parameter->hidden == (cases[i].out == 0), "%s: in a file or not",
                      cases[i].name);
        if (parameter != NULL && !parameter->hidden)
            ck_assert_msg(parameter->dims[0] == cases[i].out &&
                              (parameter->rank == 2 ? parameter->dims[1] : 1) == cases[i].in,
                          "%s has other sizes", cases[i].name);
        mo_net_free(&net);
    }
}
END_TEST

/* Which batch norms a ReLU follows: none that ends a block, a shortcut or a head. */
START_TEST(test_relus)
{
    static const struct {
        int32_t arch, head, predictor;
        const char *plain[4]; /* of the norms of heads */
    } cases[] = {
        {R50, MOCO_HEAD_MLP_V3, 1, {"fc.4"}},
        {R18, MOCO_HEAD_MLP_SIMCLR, 0, {"fc.7"}},
        {R18, MOCO_HEAD_MLP_BYOL, 1, {NULL}},
        {VIT_S, MOCO_HEAD_MLP_V3, 1, {"head.7", "predictor.4"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mo_encoder_spec_t spec = {.arch = cases[i].arch, .head = cases[i].head, .head_width = 96, .dimension = 80};
        mo_net_t net = with_head(spec, cases[i].predictor);
        int norms = 0;
        for (int32_t k = 0; k < net.op_count; k++) {
            if (net.ops[k].bn < 0)
                continue;
            const char *name = net.bns[net.ops[k].bn].name;
            const char *last = strncmp(name, "layer", 5) != 0 ? "none" : cases[i].arch == R50 ? ".bn3" : ".bn2";
            int plain = strstr(name, last) != NULL || strstr(name, "downsample") != NULL;
            for (int n = 0; n < 4 && cases[i].plain[n] != NULL; n++)
                plain |= strcmp(name, cases[i].plain[n]) == 0;
            ck_assert_msg(net.ops[k].activation == (plain ? MO_ACTIVATION_NONE : MO_ACTIVATION_RELU), "%s", name);
            norms++;
        }
        ck_assert_int_eq(norms, net.bn_count);
        mo_net_free(&net);
    }
}
END_TEST

/* A hidden width is taken as given, however small. */
START_TEST(test_narrow_heads)
{
    static const int32_t heads[] = {MOCO_HEAD_MLP, MOCO_HEAD_MLP_V3, MOCO_HEAD_MLP_SIMCLR, MOCO_HEAD_MLP_BYOL};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        mo_encoder_spec_t spec = {.arch = R18, .head = heads[i], .head_width = 1, .dimension = 16};
        mo_net_t net = with_head(spec, 1);
        ck_assert_int_eq(span_of(&net, "fc.0.weight")->dims[0], 1);
        ck_assert_int_eq(span_of(&net, "predictor.0.weight")->dims[0], 1);
        mo_net_free(&net);
    }
}
END_TEST

/* One layer of a head is its last one. */
START_TEST(test_one_layer)
{
    static const int32_t heads[] = {MOCO_HEAD_MLP_V3, MOCO_HEAD_MLP_SIMCLR, MOCO_HEAD_MLP_BYOL};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        mo_encoder_spec_t spec = {.arch = R18, .head = heads[i], .head_layers = 1, .head_width = 32, .dimension = 16};
        mo_net_t net = with_head(spec, 0);
        ck_assert_int_eq(span_of(&net, "fc.0.weight")->dims[0], 16);
        ck_assert_ptr_null(span_of(&net, "fc.3.weight"));
        mo_net_free(&net);
    }
}
END_TEST

/* Parameters lie one after the other on cache lines and are named once; the strides sit in the 3x3
 * convolutions. */
START_TEST(test_layout)
{
    mo_net_t net = built(R50, BIG, MOCO_HEAD_MLP, 1, 224, 0);
    int64_t end = 0;
    ck_assert_str_eq(net.parameters[0].name, "conv1.weight");
    ck_assert_str_eq(net.bns[0].name, "bn1");
    for (int32_t i = 0; i < net.parameter_count; i++) {
        ck_assert_int_eq(net.parameters[i].offset % 16, 0);
        ck_assert_int_ge(net.parameters[i].offset, end);
        ck_assert_int_lt(net.parameters[i].offset - end, 16);
        end = net.parameters[i].offset + net.parameters[i].count;
        for (int32_t j = 0; j < i; j++)
            ck_assert_str_ne(net.parameters[i].name, net.parameters[j].name);
    }
    ck_assert_int_le(end, net.params);
    for (int32_t i = 0; i < net.op_count; i++) {
        const mo_op_t *op = &net.ops[i];
        const mo_sliding_form_t *f = op->kind == &mo_kind_conv ? op->form : NULL;
        if (f != NULL && f->stride == 2 && f->kernel == 1)
            ck_assert_ptr_nonnull(strstr(net.parameters[op->weights].name, "downsample.0"));
        if (op->src >= 0)
            ck_assert_int_lt(op->src, op->dst);
    }
    mo_net_free(&net);
}
END_TEST

/* ---- fresh parameters ---- */

typedef struct moments {
    double mean, deviation, low, high;
} moments_t;

static moments_t moments_of(const float *values, int64_t count)
{
    moments_t m = {0, 0, values[0], values[0]};
    for (int64_t i = 0; i < count; i++) {
        m.mean += values[i] / (double)count;
        m.low = fmin(m.low, values[i]);
        m.high = fmax(m.high, values[i]);
    }
    for (int64_t i = 0; i < count; i++)
        m.deviation += (values[i] - m.mean) * (values[i] - m.mean) / (double)count;
    m.deviation = sqrt(m.deviation);
    return m;
}

/* A mean of n values is off by deviation/sqrt(n), a deviation by deviation/sqrt(2n): five of those
 * are allowed. */
static void assert_normal(const mo_parameter_t *s, const float *values, double deviation)
{
    moments_t m = moments_of(values, s->count);
    double slack = 5 * deviation / sqrt((double)s->count);
    ck_assert_msg(fabs(m.mean) <= slack, "%s: mean %g", s->name, m.mean);
    ck_assert_msg(fabs(m.deviation - deviation) <= slack, "%s: %g, wanted %g", s->name, m.deviation, deviation);
    ck_assert_msg(s->count < 1000 || m.high > 2.2 * deviation, "%s: not normal, ends at %g", s->name, m.high);
}

static void assert_uniform(const mo_parameter_t *s, const float *values, double bound)
{
    moments_t m = moments_of(values, s->count);
    ck_assert_msg(m.low >= -bound && m.high <= bound, "%s: %g..%g beyond %g", s->name, m.low, m.high, bound);
    ck_assert_msg(s->count < 100 || (m.low < -0.9 * bound && m.high > 0.9 * bound), "%s: too narrow", s->name);
    ck_assert_msg(fabs(m.mean) <= 5 * bound / sqrt(3.0 * (double)s->count), "%s: mean %g", s->name, m.mean);
}

static int is_last_of_block(const char *name, int bottleneck)
{
    const char *at = strstr(name, bottleneck ? ".bn3.weight" : ".bn2.weight");
    return strncmp(name, "layer", 5) == 0 && at != NULL;
}

static void check_init(int32_t arch, int32_t stem, int32_t head, double width, int32_t zero)
{
    mo_net_t net = built(arch, stem, head, width, 32, zero);
    float *values = calloc((size_t)net.params, sizeof *values), *stats = calloc((size_t)net.stats, sizeof *stats);
    mo_init_params(&net, 5, values);
    mo_init_stats(&net, stats);
    for (int32_t i = 0; i < net.parameter_count; i++) {
        const mo_parameter_t *s = &net.parameters[i];
        const float *v = values + s->offset;
        if (s->rank == 4 && stem == SMALL && i == 0)
            assert_uniform(s, v, 1 / sqrt(27.0));
        else if (s->rank == 4)
            assert_normal(s, v, sqrt(2.0 / (double)(s->dims[0] * s->dims[2] * s->dims[3])));
        else if (strncmp(s->name, "fc", 2) == 0)
            assert_uniform(s, v,
                           1 / sqrt((double)(strcmp(s->name, "fc.2.bias") == 0 || s->rank == 1
                                                 ? net.shapes[net.backbone].c
                                                 : s->dims[1])));
        else {
            int ones = strstr(s->name, ".weight") != NULL && !(zero && is_last_of_block(s->name, arch == R50));
            for (int64_t j = 0; j < s->count; j++)
                if (v[j] != (ones ? 1.0f : 0.0f))
                    ck_abort_msg("%s starts at %g", s->name, v[j]);
        }
    }
    int fresh = 1;
    for (int32_t b = 0; b < net.bn_count; b++)
        for (int32_t c = 0; c < net.bns[b].channels; c++)
            fresh &= stats[net.bns[b].offset + c] == 0.0f && stats[net.bns[b].offset + net.bns[b].channels + c] == 1.0f;
    ck_assert(fresh);
    free(values);
    free(stats);
    mo_net_free(&net);
}

START_TEST(test_init)
{
    check_init(R18, BIG, MOCO_HEAD_LINEAR, 0.5, 0);
    check_init(R18, SMALL, MOCO_HEAD_MLP, 0.25, 1);
    check_init(R50, BIG, MOCO_HEAD_MLP, 0.25, 1);
}
END_TEST

/* Linear layers of v3's heads and predictors uniform within 1/sqrt(inputs), also behind a ViT,
 * whose own rule is another; those of SimCLR normal with 0.01; batch norms 1 and 0. */
static void check_head_init(int32_t arch, int32_t head)
{
    int v3 = head == MOCO_HEAD_MLP_V3;
    mo_encoder_spec_t spec = {
        .arch = arch, .head = head, .width = 0.25, .image_size = 32, .head_width = 96, .dimension = 80};
    mo_net_t net = with_head(spec, v3);
    float *values = calloc((size_t)net.params, sizeof *values);
    int weights = 0, norms = 0;
    mo_init_params(&net, 5, values);
    for (int32_t i = 0; i < net.parameter_count; i++) {
        const mo_parameter_t *s = &net.parameters[i];
        const float *v = values + s->offset;
        if (strncmp(s->name, "fc.", 3) != 0 && strncmp(s->name, "head.", 5) != 0 &&
            strncmp(s->name, "predictor.", 10) != 0)
            continue;
        if (s->rank == 2 && v3)
            assert_uniform(s, v, 1 / sqrt((double)s->dims[1]));
        else if (s->rank == 2)
            assert_normal(s, v, 0.01);
        else
            for (int64_t j = 0; j < s->count; j++)
                if (v[j] != (strstr(s->name, ".weight") != NULL ? 1.0f : 0.0f))
                    ck_abort_msg("%s starts at %g", s->name, v[j]);
        weights += s->rank == 2;
        norms += s->rank == 1;
    }
    ck_assert_int_eq(weights, v3 ? (mo_is_vit(arch) ? 5 : 4) : 3);
    ck_assert_int_eq(norms, v3 ? (mo_is_vit(arch) ? 10 : 6) : 6); /* hidden ones among them */
    free(values);
    mo_net_free(&net);
}

START_TEST(test_init_of_heads)
{
    check_head_init(R18, MOCO_HEAD_MLP_V3);
    check_head_init(VIT_S, MOCO_HEAD_MLP_V3);
    check_head_init(R50, MOCO_HEAD_MLP_SIMCLR);
}
END_TEST

/* Every parameter of the net, and nothing behind them. */
START_TEST(test_init_ends)
{
    mo_net_t net = built(R18, SMALL, MOCO_HEAD_LINEAR, 0.25, 32, 0);
    float *values = calloc((size_t)net.params, sizeof *values);
    const mo_parameter_t last = net.parameters[net.parameter_count - 1];
    net.parameter_count--;
    mo_init_params(&net, 5, values);
    net.parameter_count++;
    for (int64_t i = last.offset; i < net.params; i++)
        ck_assert(values[i] == 0);
    free(values);
    mo_net_free(&net);
}
END_TEST

/* A factor for each residual branch where paths are dropped, and no such tensor elsewhere. */
START_TEST(test_paths)
{
    static const int32_t branches[][2] = {{R18, 8}, {R50, 16}, {VIT_S, 24}};
    for (size_t i = 0; i < sizeof branches / sizeof *branches; i++)
        for (int drop = 0; drop < 2; drop++) {
            mo_encoder_spec_t spec = {.arch = branches[i][0], .head = -1, .drop_path = drop};
            mo_net_t net = with_head(spec, 0);
            ck_assert_int_eq(net.paths >= 0, drop);
            if (drop)
                ck_assert_int_eq(net.shapes[net.paths].c, branches[i][1]);
            mo_net_free(&net);
        }
}
END_TEST

START_TEST(test_seeds)
{
    mo_net_t net = built(R18, SMALL, MOCO_HEAD_LINEAR, 0.25, 32, 0);
    float *a = calloc((size_t)net.params, sizeof *a), *b = calloc((size_t)net.params, sizeof *b);
    size_t bytes = (size_t)net.params * sizeof *a;
    mo_init_params(&net, 5, a);
    mo_init_params(&net, 5, b);
    ck_assert_mem_eq(a, b, bytes);
    mo_init_params(&net, 6, b);
    ck_assert_mem_ne(a, b, (size_t)net.parameters[0].count * sizeof *a);
    const mo_parameter_t *first = span_of(&net, "layer1.0.conv1.weight"),
                         *second = span_of(&net, "layer1.0.conv2.weight");
    ck_assert_mem_ne(a + first->offset, a + second->offset, (size_t)first->count * sizeof *a);
    free(a);
    free(b);
    mo_net_free(&net);
}
END_TEST

START_TEST(test_channels)
{
    static const struct {
        int32_t base;
        double width;
        int32_t channels;
    } cases[] = {{64, 1, 64},   {64, 0.0625, 16}, {64, 0.25, 16}, {128, 0.25, 32},  {64, 0.37, 16},
                 {64, 0.4, 32}, {64, 2, 128},     {512, 8, 4096}, {512, 0.0625, 32}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_int_eq(mo_scaled_channels(cases[i].base, cases[i].width), cases[i].channels);
}
END_TEST

/* The key encoder starts as the query encoder, with statistics of its own. */
START_TEST(test_key_starts_as_query)
{
    moco_trainer_options_t o;
    moco_trainer_t *t = NULL;
    ck_assert_int_eq(moco_trainer_options_init(&o, sizeof o, MOCO_RECIPE_CIFAR, MOCO_ARCH_RECIPE), MOCO_OK);
    o.arch = R18;
    o.width = 0.0625;
    o.image_size = 16;
    o.batch_size = 4;
    o.bn_groups = 2;
    o.queue_length = 16;
    o.dimension = 16;
    ck_assert_int_eq(moco_trainer_create(&o, NULL, &t), MOCO_OK);
    float *fresh = calloc((size_t)t->state.query.net.params, sizeof *fresh);
    mo_init_params(&t->state.query.net, o.seed, fresh);
    size_t bytes = (size_t)t->state.query.net.params * sizeof *fresh;
    ck_assert_int_eq(t->state.query.net.params, t->state.key.net.params);
    assert_buffer(t->state.query.params, fresh, t->state.query.net.params);
    assert_buffer(t->state.key.params, fresh, t->state.query.net.params);
    ck_assert_mem_eq(t->state.query.running, t->state.key.running, (size_t)t->state.query.net.stats * sizeof(float));
    ck_assert_ptr_ne(t->state.query.params.memory, t->state.key.params.memory);
    ck_assert_ptr_ne(t->state.query.running, t->state.key.running);
    memset(fresh, 0, bytes);
    assert_buffer(t->state.optimizer[0], fresh, t->state.query.net.params);
    free(fresh);
    moco_trainer_free(t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nets");
    TCase *tc = tcase_create("nets");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_sizes, 0, (int)(sizeof sizes / sizeof sizes[0]));
    tcase_add_test(tc, test_multiply_adds);
    tcase_add_test(tc, test_blocks);
    tcase_add_test(tc, test_heads);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_published_heads);
    tcase_add_test(tc, test_published_entries);
    tcase_add_test(tc, test_layers_of_heads);
    tcase_add_test(tc, test_relus);
    tcase_add_test(tc, test_narrow_heads);
    tcase_add_test(tc, test_one_layer);
    tcase_add_test(tc, test_layout);
    tcase_add_test(tc, test_init);
    tcase_add_test(tc, test_init_of_heads);
    tcase_add_test(tc, test_init_ends);
    tcase_add_test(tc, test_paths);
    tcase_add_test(tc, test_seeds);
    tcase_add_test(tc, test_channels);
    tcase_add_test(tc, test_key_starts_as_query);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
