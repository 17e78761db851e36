/* Vision transformers: sizes, names and first values as published; what is refused; the whole
 * network against double precision; plans, files, and embeddings from many threads at once.
 * tests/parity/test_vit.py compares with PyTorch. */
#include <pthread.h>
#include <unistd.h>
#include <stdio.h>

#include <moco/moco.h>

#include "buffer_fixtures.h"
#include "engine/plan/plan_internal.h"
#include "engine_fixtures.h"
#include "eval/model.h"
#include "eval/model_file.h"
#include "persist/checkpoint.h"
#include "train/options.h"
#include "util/file.h"
#include "util/fault.h"
#include "util/file.h"
#include "call_options.h"

enum {
    S = MOCO_ARCH_VIT_SMALL,
    B = MOCO_ARCH_VIT_BASE,
    L = MOCO_ARCH_VIT_LARGE,
    H = MOCO_ARCH_VIT_HUGE,
    CONV_S = MOCO_ARCH_VIT_CONV_SMALL,
    CONV_B = MOCO_ARCH_VIT_CONV_BASE,
    LAYER = MOCO_VIT_NORM_LAYER,
    BATCH = MOCO_VIT_NORM_BATCH
};

static mo_encoder_spec_t spec_of(int32_t arch, int32_t image, double width)
{
    return (mo_encoder_spec_t){
        .arch = arch, .head = -1, .width = width, .image_size = image, .dimension = 16, .freeze_patch = 1};
}

/* Small enough for double precision: 17 tokens of 48 channels, two blocks. */
static mo_encoder_spec_t small_spec(int32_t vit_norm)
{
    mo_encoder_spec_t spec = spec_of(S, 32, 0.125);
    spec.patch_size = 8;
    spec.depth = 2;
    spec.heads = 4;
    spec.vit_norm = vit_norm;
    return spec;
}

static mo_net_t built(mo_encoder_spec_t spec)
{
    mo_net_t net = {0};
    RIG_OK(mo_encoder_net(&spec, &net));
    return net;
}

/* ---- sizes and names ---- */

static int64_t counted(const mo_net_t *net, const char *prefix, int trained)
{
    int64_t count = 0;
    for (int32_t i = 0; i < net->parameter_count; i++)
        if (strncmp(net->parameters[i].name, prefix, strlen(prefix)) == 0 && !(trained && net->parameters[i].frozen))
            count += net->parameters[i].count;
    return count;
}

START_TEST(test_sizes)
{
    static const struct {
        int32_t arch, patch, norm;
        int64_t params, trained, stem; /* trained: positions and patch projection are not; 0 = not asked */
        int32_t features, stats;
    } cases[] = {
        {S, 0, LAYER, 21665664, 21294720, 0, 384, 0},
        {B, 0, LAYER, 85798656, 85056768, 0, 768, 0},
        {L, 0, LAYER, 303301632, 0, 0, 1024, 0},
        {H, 0, LAYER, 630764800, 0, 0, 1280, 0},
        {L, 7, LAYER, 303513600, 0, 0, 1024, 0},
        {S, 16, BATCH, 21665664, 21294720, 0, 384, 12 * 2 * 384},
        {CONV_S, 0, LAYER, 0, 0, 1021488, 384, 2 * (48 + 96 + 192 + 384)},
        {CONV_B, 0, LAYER, 0, 0, 4079712, 768, 2 * (96 + 192 + 384 + 768)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mo_encoder_spec_t spec = spec_of(cases[i].arch, 224, 1);
        spec.patch_size = cases[i].patch;
        spec.vit_norm = cases[i].norm;
        mo_net_t net = built(spec);
        ck_assert(cases[i].params == 0 || mo_net_numel(&net) == cases[i].params);
        ck_assert(cases[i].trained == 0 || counted(&net, "", 1) == cases[i].trained);
        ck_assert(cases[i].stem == 0 || counted(&net, "patch_embed.", 0) == cases[i].stem);
        ck_assert(cases[i].stem == 0 ||
                  counted(&net, "patch_embed.", 1) == cases[i].stem); /* freezing is for patches */
        ck_assert(cases[i].stem == 0 || counted(&net, "blocks.11.", 0) == 0);
        ck_assert_int_eq(net.stats, cases[i].stats);
        ck_assert_int_eq(net.shapes[net.backbone].c, cases[i].features);
        ck_assert_int_eq(net.shapes[net.backbone].h * net.shapes[net.backbone].w, 1);
        mo_net_free(&net);
    }
}
END_TEST

START_TEST(test_names)
{
    static const struct {
        int32_t arch, norm;
        const char *name;
        int32_t rank; /* -1: absent */
        int64_t dims[4];
        int frozen;
    } cases[] = {
        {S, LAYER, "cls_token", 3, {1, 1, 384}, 0},
        {S, LAYER, "pos_embed", 3, {1, 197, 384}, 1},
        {S, LAYER, "patch_embed.proj.weight", 4, {384, 3, 16, 16}, 1},
        {S, LAYER, "patch_embed.proj.bias", 1, {384}, 1},
        {S, LAYER, "blocks.0.norm1.weight", 1, {384}, 0},
        {S, LAYER, "blocks.0.attn.qkv.weight", 2, {1152, 384}, 0},
        {S, LAYER, "blocks.0.attn.qkv.bias", 1, {1152}, 0},
        {S, LAYER, "blocks.11.attn.proj.weight", 2, {384, 384}, 0},
        {S, LAYER, "blocks.11.norm2.bias", 1, {384}, 0},
        {S, LAYER, "blocks.11.mlp.fc1.weight", 2, {1536, 384}, 0},
        {S, LAYER, "blocks.11.mlp.fc2.weight", 2, {384, 1536}, 0},
        {S, LAYER, "norm.weight", 1, {384}, 0},
        {S, LAYER, "norm.bias", 1, {384}, 0},
        {S, LAYER, "blocks.12.norm1.weight", -1, {0}, 0},
        {S, BATCH, "blocks.3.norm2.weight", 1, {384}, 0},
        {H, LAYER, "patch_embed.proj.weight", 4, {1280, 3, 14, 14}, 1},
        {H, LAYER, "pos_embed", 3, {1, 257, 1280}, 1},
        {H, LAYER, "blocks.31.mlp.fc1.bias", 1, {5120}, 0},
        {CONV_S, LAYER, "patch_embed.proj.0.weight", 4, {48, 3, 3, 3}, 0},
        {CONV_S, LAYER, "patch_embed.proj.1.weight", 1, {48}, 0},
        {CONV_S, LAYER, "patch_embed.proj.9.weight", 4, {384, 192, 3, 3}, 0},
        {CONV_S, LAYER, "patch_embed.proj.12.weight", 4, {384, 384, 1, 1}, 0},
        {CONV_S, LAYER, "patch_embed.proj.12.bias", 1, {384}, 0},
        {CONV_S, LAYER, "patch_embed.proj.0.bias", -1, {0}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mo_encoder_spec_t spec = spec_of(cases[i].arch, 224, 1);
        spec.vit_norm = cases[i].norm;
        mo_net_t net = built(spec);
        const mo_parameter_t *parameter = NULL;
        for (int32_t k = 0; k < net.parameter_count; k++)
            if (strcmp(net.parameters[k].name, cases[i].name) == 0)
                parameter = &net.parameters[k];
        ck_assert_msg((parameter != NULL) == (cases[i].rank >= 0), "%s is %s", cases[i].name,
                      parameter ? "there" : "missing");
        for (int d = 0; parameter != NULL && d < cases[i].rank; d++)
            ck_assert_msg(parameter->rank == cases[i].rank && parameter->dims[d] == cases[i].dims[d],
                          "%s has other sizes", cases[i].name);
        ck_assert(parameter == NULL || parameter->frozen == cases[i].frozen);
        ck_assert_str_eq(net.parameters[0].name, "cls_token"); /* the order of a state dict */
        ck_assert_str_eq(net.parameters[1].name, "pos_embed");
        int norms = 0;
        for (int32_t k = 0; k < net.bn_count; k++)
            norms += strcmp(net.bns[k].name, "blocks.3.norm2") == 0;
        ck_assert_int_eq(norms, cases[i].norm == BATCH);
        mo_net_free(&net);
    }
}
END_TEST

START_TEST(test_widths)
{
    static const struct {
        int32_t arch, heads;
        double width;
        int32_t channels;
    } cases[] = {{S, 0, 1, 384},
                 {S, 0, 0.25, 96},
                 {S, 0, 0.0625, 48},
                 {S, 3, 0.25, 96},
                 {S, 5, 1, 400},
                 {S, 6, 0.5, 192},
                 {B, 0, 2, 1536},
                 {H, 0, 1, 1280},
                 {L, 16, 0.01, 64},
                 {S, 1, 0.0625, 32},
                 /* on both sides of half a step */
                 {S, 0, 0.1874, 48},
                 {S, 0, 0.1875, 96},
                 {B, 0, 0.0937, 48},
                 {B, 0, 0.09375, 96},
                 {L, 0, 0.0703, 64},
                 {L, 0, 0.0703125, 80},
                 {H, 0, 0.05624, 64},
                 {H, 0, 0.05625, 80},
                 {CONV_S, 0, 0.1874, 48},
                 {CONV_S, 0, 0.1875, 96}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mo_encoder_spec_t spec = spec_of(cases[i].arch, 224, cases[i].width);
        spec.heads = cases[i].heads;
        mo_vit_form_t form = mo_vit_form(&spec);
        ck_assert_int_eq(form.channels, cases[i].channels);
        ck_assert_int_eq(form.channels % 16, 0);
        ck_assert_int_eq(form.channels % form.heads, 0);
        ck_assert_int_ge(form.channels / form.heads, 4);
    }
}
END_TEST

/* ---- first values ---- */

/* Values of the paper's formula, worked out by hand, for D = 8 on a grid of 2 x 2. */
START_TEST(test_positions)
{
    static const double wanted[5][8] = {{0, 0, 0, 0, 0, 0, 0, 0},
                                        {0, 0, 1, 1, 0, 0, 1, 1},
                                        {0, 0, 1, 1, 0.841471, 0.01, 0.540302, 0.99995},
                                        {0.841471, 0.01, 0.540302, 0.99995, 0, 0, 1, 1},
                                        {0.841471, 0.01, 0.540302, 0.99995, 0.841471, 0.01, 0.540302, 0.99995}};
    mo_net_t net = {0};
    int32_t class_token = mo_token_parameters(&net, 5, 8, 1);
    const int64_t end = net.parameters[class_token + 1].offset + net.parameters[class_token + 1].count;
    float *values = calloc((size_t)end + 8, sizeof *values);
    for (int i = 0; i < 8; i++)
        values[end + i] = 7;
    mo_init_params(&net, 1, values);
    for (int i = 0; i < 8; i++)
        ck_assert(values[end + i] == 7); /* nobody else's numbers */
    for (int t = 0; t < 5; t++)
        for (int c = 0; c < 8; c++)
            ck_assert_double_eq_tol(values[net.parameters[class_token + 1].offset + 8 * t + c], wanted[t][c], 1e-6);
    free(values);
    mo_net_free(&net);
}
END_TEST

static void assert_uniform(const mo_parameter_t *s, const float *values, double bound)
{
    double low = 0, high = 0, squares = 0;
    for (int64_t i = 0; i < s->count; i++) {
        low = fmin(low, values[i]);
        high = fmax(high, values[i]);
        squares += (double)values[i] * values[i] / (double)s->count;
    }
    ck_assert_msg(low >= -bound && high <= bound, "%s: %g..%g beyond %g", s->name, low, high, bound);
    ck_assert_msg(s->count < 300 || (low < -0.95 * bound && high > 0.95 * bound), "%s: too narrow", s->name);
    ck_assert_msg(s->count < 300 || fabs(sqrt(3 * squares) / bound - 1) < 0.1, "%s: not uniform", s->name);
}

static int ends(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

START_TEST(test_first_values)
{
    static const struct {
        int32_t arch;
        double qkv, patch;
    } cases[] = {{S, 0.08838834764831845, 0.07216878364870323}, {B, 0.0625, 0.0625}, {CONV_S, 0.08838834764831845, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mo_encoder_spec_t spec = spec_of(cases[i].arch, 224, 1);
        spec.depth = 1;
        mo_net_t net = built(spec);
        float *values = calloc((size_t)net.params, sizeof *values);
        double d = net.shapes[net.backbone].c;
        mo_init_params(&net, 5, values);
        for (int32_t k = 0; k < net.parameter_count; k++) {
            const mo_parameter_t *s = &net.parameters[k];
            const float *v = values + s->offset;
            double size = 0;
            if (strcmp(s->name, "pos_embed") == 0)
                continue;
            if (strcmp(s->name, "cls_token") == 0) {
                for (int64_t j = 0; j < s->count; j++)
                    size += (double)v[j] * v[j] / (double)s->count;
                ck_assert_msg(fabs(sqrt(size) / 1e-6 - 1) < 0.15, "class token of size %g", sqrt(size));
            } else if (ends(s->name, "qkv.weight"))
                assert_uniform(s, v, cases[i].qkv);
            else if (ends(s->name, "attn.proj.weight"))
                assert_uniform(s, v, sqrt(6 / (2 * d)));
            else if (ends(s->name, "fc1.weight") || ends(s->name, "fc2.weight"))
                assert_uniform(s, v, sqrt(6 / (5 * d)));
            else if (strcmp(s->name, "patch_embed.proj.weight") == 0)
                assert_uniform(s, v, cases[i].patch);
            else if (strncmp(s->name, "patch_embed.proj.12", 19) == 0)
                assert_uniform(s, v, 1 / sqrt(d));
            else if (s->rank == 4)
                assert_uniform(s, v, 1 / sqrt((double)(s->count / s->dims[0])));
            else
                for (int64_t j = 0; j < s->count; j++)
                    ck_assert_msg(v[j] == (ends(s->name, ".weight") ? 1.0f : 0.0f), "%s starts at %g", s->name, v[j]);
        }
        free(values);
        mo_net_free(&net);
    }
}
END_TEST

/* ---- refusals ---- */

START_TEST(test_refusals)
{
    static const struct {
        int32_t arch, image, patch;
        const char *message; /* NULL: accepted */
    } cases[] = {
        {S, 224, 0, NULL},
        {S, 224, 7, NULL},
        {H, 224, 0, NULL},
        {S, 16, 16, NULL},
        {CONV_S, 32, 16, NULL},
        {S, 224, 15, "patch_size is 15, wanted a divisor of image_size 224"},
        {H, 32, 0, "patch_size is 14, wanted a divisor of image_size 32"},
        {S, 32, 64, "patch_size is 64, wanted a divisor of image_size 32"},
        {S, 1024, 1, "patch_size is 1, wanted at least 4 for images of 1024 pixels: at most 256 patches a side"},
        {CONV_S, 32, 8, "patch_size is 8, wanted 16 or 0: four convolutions of stride 2 make the patches of this arch"},
        {CONV_B, 40, 0, "patch_size is 16, wanted a divisor of image_size 40"},
        {MOCO_ARCH_RESNET18, 33, 5, NULL}, /* nothing to a ResNet */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        moco_trainer_options_t o;
        mo_net_t net = {0};
        RIG_OK(moco_trainer_options_init(&o, sizeof o, MOCO_RECIPE_V3_VIT, MOCO_ARCH_RECIPE));
        o.arch = cases[i].arch;
        o.image_size = cases[i].image;
        o.patch_size = cases[i].patch;
        o.width = 0.0625;
        moco_status_t wanted = cases[i].message == NULL ? MOCO_OK : MOCO_ERR_ARGUMENT;
        ck_assert_int_eq(mo_options_check_vit(&o), wanted);
        if (cases[i].message != NULL)
            ck_assert_str_eq(moco_last_message(), cases[i].message);
        mo_encoder_spec_t spec = mo_encoder_spec_of(&o);
        ck_assert_int_eq(mo_encoder_net(&spec, &net), wanted);
        mo_net_free(&net);
    }
}
END_TEST

/* ---- the whole network ---- */

static int32_t vit_body(mo_net_t *net, int32_t input)
{
    mo_encoder_spec_t spec = small_spec(LAYER);
    spec.freeze_patch = 0;
    return mo_linear(net, mo_vit(net, &spec, input), "end", 16);
}

static int32_t vit_bn_body(mo_net_t *net, int32_t input)
{
    mo_encoder_spec_t spec = small_spec(BATCH);
    return mo_linear(net, mo_vit(net, &spec, input), "end", 16);
}

START_TEST(test_gradients)
{
    rig_t r;
    twin_t t;
    rig_shape_t shape = {.batch = 4, .groups = 2, .shards_per_group = 1 + _i, .sets = 1, .lanes = 1};
    rig_open(&r, shape, (mo_shape_t){3, 32, 32}, 37, _i == 0 ? vit_body : vit_bn_body);
    twin_open(&t, &r);
    rig_run(&r, 0xff);
    rig_assert_forward(&r, &t);
    rig_assert_gradients(&r, &t, 1);
    twin_close(&t);
    rig_close(&r);
}
END_TEST

/* The same bits on 1, 2 and 3 lanes, whatever lay in the arenas. */
START_TEST(test_lanes)
{
    static const int32_t lanes[] = {1, 2, 3};
    float *first = NULL;
    for (int w = 0; w < 3; w++) {
        rig_t r;
        rig_shape_t shape = {
            .batch = 8, .groups = 2, .shards_per_group = 2, .sets = lanes[w] > 1 ? 2 : 1, .lanes = lanes[w]};
        rig_open(&r, shape, (mo_shape_t){3, 32, 32}, 37, vit_bn_body);
        for (int run = 0; run < 2; run++) {
            rig_run(&r, run == 0 ? 0xff : 0);
            for (int64_t leaf = 0; leaf < r.leaves; leaf++) /* padding between parameters is nobody's */
                for (int32_t i = 0; i < r.net.parameter_count; i++) {
                    const mo_parameter_t *s = &r.net.parameters[i];
                    int64_t end = i + 1 < r.net.parameter_count ? r.net.parameters[i + 1].offset : r.net.params;
                    memset(r.grads + leaf * r.net.params + s->offset + s->count, 0,
                           (size_t)(end - s->offset - s->count) * sizeof(float));
                }
            size_t bytes = (size_t)(r.leaves * r.net.params) * sizeof(float);
            if (first == NULL) {
                first = malloc(bytes);
                memcpy(first, r.grads, bytes);
            }
            ck_assert_mem_eq(first, r.grads, bytes);
        }
        rig_close(&r);
    }
    free(first);
}
END_TEST

/* Inference: sums, GELUs and batch norms are gone, and linear layers run once each. */
START_TEST(test_infer_plan)
{
    moco_device_t *device = NULL;
    RIG_OK(mo_device_open_lanes(1, &device));
    for (int32_t norm = LAYER; norm <= BATCH; norm++) {
        mo_net_t net = built(small_spec(norm));
        mo_plan_t *plan = NULL;
        mo_plan_spec_t spec = {.net = &net,
                               .mode = MO_MODE_INFER,
                               .shard = 2,
                               .shards_per_group = 1,
                               .inputs = {net.input, -1, -1, -1},
                               .outputs = {net.backbone, -1, -1, -1}};
        int linears = 0;
        RIG_OK(mo_plan_create(device, &spec, &plan));
        for (int32_t i = 0; i < plan->instr_count; i++) {
            const mo_op_kind_t *kind = plan->instrs[i].op->kind;
            ck_assert(kind != &mo_kind_sum && kind != &mo_kind_gelu && kind != &mo_kind_batchnorm);
            linears += kind == &mo_kind_linear;
        }
        ck_assert_int_eq(linears, 2 * 4);
        mo_plan_free(plan);
        mo_net_free(&net);
    }
    mo_device_release(device);
}
END_TEST

/* ---- models ---- */

static const mo_transform_t transform = {{0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}, 37, 32};

static void path_of(char path[512], const char *name)
{
    const char *folder = getenv("MOCO_BINARY_DIR");
    snprintf(path, 512, "%s/%s-%d.safetensors", folder != NULL ? folder : "/tmp", name, (int)getpid());
}

/* Numbers of some size everywhere, so that nothing hides behind a zero. */
static void fill(const mo_net_t *net, float **params, float **running)
{
    *params = rig_block(net->params);
    *running = rig_block(net->stats + 1);
    mo_init_params(net, 3, *params);
    rig_normal(*running, net->stats, 1.5, 0.1, 9);
    for (int32_t i = 0; i < net->parameter_count; i++)
        if (net->parameters[i].rank != 2 && net->parameters[i].rank != 4)
            rig_normal(*params + net->parameters[i].offset, net->parameters[i].count, 0.5, 0.2, (uint32_t)i);
}

static moco_model_t *written_and_read(const mo_encoder_spec_t *spec, const char *path)
{
    mo_net_t net = built(*spec);
    moco_model_t *model = NULL;
    float *params, *running;
    fill(&net, &params, &running);
    mo_buffer_t buffer = buffer_of(params, net.params);
    const mo_encoder_t encoder = {.spec = *spec, .net = net, .params = buffer, .running = running, .steps = 7};
    RIG_OK(mo_model_write_encoder(&encoder, &transform, NULL, path));
    RIG_OK(moco_model_load(path, NULL, NULL, &model));
    ck_assert_int_eq(model->encoder.net.params, net.params);
    assert_buffer(model->encoder.params, params, net.params);
    mo_buffer_free(&buffer);
    mo_block_free(params, 0);
    mo_block_free(running, 0);
    mo_net_free(&net);
    return model;
}

START_TEST(test_file)
{
    char path[512], again[512], text[2048];
    mo_encoder_spec_t spec = small_spec(BATCH);
    path_of(path, "vit-file");
    path_of(again, "vit-file-again");
    moco_model_t *model = written_and_read(&spec, path), *second = NULL;
    RIG_OK(moco_model_info(model, text, sizeof text, NULL));
    static const char *const parts[] = {"\"arch\":\"vit_small\"", "\"patch_size\":8",
                                        "\"vit_depth\":2",        "\"vit_heads\":4",
                                        "\"vit_norm\":\"batch\"", "\"backbone_dimension\":48"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        ck_assert_msg(strstr(text, parts[i]) != NULL, "no %s in %s", parts[i], text);
    RIG_OK(moco_model_save(model, again));
    RIG_OK(moco_model_load(again, NULL, NULL, &second));
    float *image = rig_block(3 * 32 * 32), rows[2][48];
    rig_normal(image, 3 * 32 * 32, 0, 1, 4);
    RIG_OK(
        moco_model_embed_tensor(model, 1, image, EMBED(.tap = MOCO_TAP_BACKBONE, .layout = MOCO_LAYOUT_NCHW), rows[0]));
    RIG_OK(moco_model_embed_tensor(second, 1, image, EMBED(.tap = MOCO_TAP_BACKBONE, .layout = MOCO_LAYOUT_NCHW),
                                   rows[1]));
    ck_assert_mem_eq(rows[0], rows[1], sizeof rows[0]);
    mo_block_free(image, 0);
    moco_model_free(model);
    moco_model_free(second);
    remove(path);
    remove(again);
}
END_TEST

/* What a model says that it needs is the sum of its parts, and so much is enough. */
START_TEST(test_memory_cap)
{
    char path[512];
    mo_encoder_spec_t spec = small_spec(BATCH);
    moco_model_options_t options;
    moco_model_t *again = NULL;
    path_of(path, "vit-cap");
    moco_model_t *model = written_and_read(&spec, path);
    const mo_net_t *net = &model->encoder.net;
    uint64_t each = model->arena_bytes + (uint64_t)model->feature, scratch = 0;
    uint64_t wanted = (2 * (uint64_t)net->params + (uint64_t)net->stats) * sizeof(float); /* as trained, and folded */
    for (int i = 0; i < MO_MODEL_SIZES; i++) {
        const uint64_t own = mo_plan_scratchpad_bytes(model->plan[i]);
        wanted += mo_plan_packed_bytes(model->plan[i]);
        scratch = own > scratch ? own : scratch;
    }
    wanted += (uint64_t)mo_device_lanes(model->device) * (each + scratch);
    RIG_OK(moco_model_options_init(&options, sizeof options));
    options.memory_cap = 1;
    ck_assert_int_eq(moco_model_load(path, &options, NULL, &again), MOCO_ERR_MEMORY_CAP);
    ck_assert_uint_eq(strtoull(strchr(moco_last_message(), '(') + 1, NULL, 10), wanted);
    options.memory_cap = (int64_t)wanted - 1;
    ck_assert_int_eq(moco_model_load(path, &options, NULL, &again), MOCO_ERR_MEMORY_CAP);
    options.memory_cap++;
    RIG_OK(moco_model_load(path, &options, NULL, &again));
    moco_model_free(model);
    moco_model_free(again);
    remove(path);
}
END_TEST

/* A model in memory has the bytes of its file and embeds the same; a cut one names itself. */
START_TEST(test_memory)
{
    char path[512];
    uint8_t *file = NULL, *bytes = NULL;
    uint64_t size = 0, needed = 0;
    mo_encoder_spec_t spec = small_spec(LAYER);
    moco_model_t *second = NULL;
    path_of(path, "vit-memory");
    moco_model_t *model = written_and_read(&spec, path);
    RIG_OK(mo_file_read(path, UINT64_MAX, &file, &size));
    RIG_OK(moco_model_save_memory(model, NULL, 0, &needed));
    ck_assert_uint_eq(needed, size);
    RIG_OK(mo_calloc(size, 1, &bytes));
    RIG_OK(moco_model_save_memory(model, bytes, size, NULL));
    ck_assert_mem_eq(bytes, file, size);
    ck_assert_int_eq(moco_model_save_memory(model, bytes, size - 1, NULL), MOCO_ERR_ARGUMENT);
    ck_assert_mem_eq(bytes, file, size);

    RIG_OK(moco_model_load_memory(bytes, size, NULL, NULL, &second));
    moco_model_t *none = NULL;
    ck_assert_int_eq(moco_model_load_memory(bytes, size - 4, NULL, NULL, &none), MOCO_ERR_FORMAT);
    ck_assert_msg(strstr(moco_last_message(), "model in memory: ") == moco_last_message(), "%s", moco_last_message());
    memset(bytes, 0, size); /* the model has copied what it took */
    float *image = rig_block(3 * 32 * 32), rows[2][48];
    rig_normal(image, 3 * 32 * 32, 0, 1, 4);
    RIG_OK(
        moco_model_embed_tensor(model, 1, image, EMBED(.tap = MOCO_TAP_BACKBONE, .layout = MOCO_LAYOUT_NCHW), rows[0]));
    RIG_OK(moco_model_embed_tensor(second, 1, image, EMBED(.tap = MOCO_TAP_BACKBONE, .layout = MOCO_LAYOUT_NCHW),
                                   rows[1]));
    ck_assert_mem_eq(rows[0], rows[1], sizeof rows[0]);
    mo_block_free(image, 0);
    mo_free(bytes);
    mo_free(file);
    moco_model_free(model);
    moco_model_free(second);
    remove(path);
}
END_TEST

/* A file whose metadata says something else than its tensors, or nonsense. */
START_TEST(test_bad_files)
{
    static const struct {
        const char *key, *value; /* value NULL: left out */
        moco_status_t status;
        const char *message;
    } cases[] = {
        {"patch_size", NULL, MOCO_ERR_FORMAT, "the metadata has no 'patch_size'"},
        {"patch_size", "0", MOCO_ERR_FORMAT, "metadata 'patch_size' is '0', wanted a whole number 1 to 1024"},
        {"patch_size", "7", MOCO_ERR_FORMAT, "metadata: patch_size is 7, wanted a divisor of image_size 32"},
        {"patch_size", "16", MOCO_ERR_SHAPE, "'pos_embed' is [1,17,48], wanted [1,5,48]"},
        {"vit_depth", "three", MOCO_ERR_FORMAT, "metadata 'vit_depth' is 'three', wanted a whole number 1 to 1024"},
        {"vit_depth", "3", MOCO_ERR_SHAPE, "tensor 'blocks.2.norm1.weight' is missing"},
        {"vit_heads", "1025", MOCO_ERR_FORMAT, "metadata 'vit_heads' is '1025', wanted a whole number 1 to 1024"},
        {"vit_heads", "1024", MOCO_ERR_SHAPE, "'cls_token' is [1,1,48], wanted [1,1,4096]"},
        {"vit_norm", "group", MOCO_ERR_UNSUPPORTED, "metadata 'vit_norm' is 'group', which this version does not know"},
        {"vit_norm", "batch", MOCO_ERR_SHAPE, "tensor 'blocks.0.norm2.running_mean' is missing"},
        {"width", "8", MOCO_ERR_SHAPE, "'cls_token' is"}, /* not the size that is there */
        {"arch", "vit_tiny", MOCO_ERR_UNSUPPORTED, "metadata 'arch' is 'vit_tiny', which this version does not know"},
        {"head", "mlp-v9", MOCO_ERR_UNSUPPORTED, "metadata 'head' is 'mlp-v9', which this version does not know"},
        {"encoder_prefix", "x.", MOCO_ERR_UNSUPPORTED, /* of a checkpoint */
         "metadata 'encoder_prefix' is 'x.', which this version does not know"},
        {"encoder_prefix", "base_encoder.", MOCO_ERR_SHAPE, "tensor 'base_encoder.cls_token' is missing"},
    };
    mo_encoder_spec_t spec = small_spec(LAYER);
    mo_net_t net = built(spec);
    float *params, *running;
    char path[512];
    path_of(path, "vit-bad");
    fill(&net, &params, &running);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const char *const meta[][2] = {
            {"libmoco", "0.1.0"},    {"format_version", "1"},  {"kind", "model"},   {"arch", "vit_small"},
            {"stem", "imagenet"},    {"head", "none"},         {"width", "0.125"},  {"size", "32"},
            {"dimension", "16"},     {"patch_size", "8"},      {"vit_depth", "2"},  {"vit_heads", "4"},
            {"vit_norm", "layer"},   {"eval_resize", "37"},    {"eval_crop", "32"}, {"steps", "7"},
            {"mean", "0.5,0.5,0.5"}, {"std", "0.25,0.25,0.25"}};
        mo_st_writer_t w = {0};
        moco_model_t *model = NULL;
        const mo_encoder_t encoder = {.net = net, .running = running};
        const int64_t batches = 0;
        for (size_t k = 0; k < sizeof meta / sizeof meta[0]; k++) {
            const char *value = strcmp(meta[k][0], cases[i].key) == 0 ? cases[i].value : meta[k][1];
            if (strcmp(meta[k][0], "kind") == 0 && strcmp(cases[i].key, "encoder_prefix") == 0) {
                RIG_OK(mo_st_meta(&w, cases[i].key, cases[i].value));
                value = "checkpoint";
            }
            if (value != NULL)
                RIG_OK(mo_st_meta(&w, meta[k][0], value));
        }
        RIG_OK(mo_encoder_put(&w, "", &encoder, params, &batches));
        RIG_OK(mo_st_write(&w, path));
        mo_st_writer_free(&w);
        ck_assert_msg(moco_model_load(path, NULL, NULL, &model) == cases[i].status, "%s %s: %s", cases[i].key,
                      cases[i].value != NULL ? cases[i].value : "left out", moco_last_message());
        ck_assert_msg(strstr(moco_last_message(), cases[i].message) && strstr(moco_last_message(), path),
                      "'%s', wanted '%s'", moco_last_message(), cases[i].message);
        ck_assert_ptr_null(model);
    }
    remove(path);
    mo_block_free(params, 0);
    mo_block_free(running, 0);
    mo_net_free(&net);
}
END_TEST

typedef struct crowd {
    moco_model_t *model;
    const float *images, *wanted;
    int failed;
} crowd_t;

static void *embed_often(void *ctx)
{
    crowd_t *c = ctx;
    float rows[5 * 48];
    for (int i = 0; i < 6; i++) {
        int count = 1 + i % 2 * 4;
        c->failed |= moco_model_embed_tensor(c->model, count, c->images,
                                             EMBED(.tap = MOCO_TAP_BACKBONE, .layout = MOCO_LAYOUT_NHWC), rows);
        c->failed |= memcmp(rows, c->wanted + (count == 1 ? 0 : 48), (size_t)count * 48 * sizeof(float)) != 0;
    }
    return NULL;
}

/* Four threads at once get the bits that one gets alone. */
START_TEST(test_crowd)
{
    char path[512];
    mo_encoder_spec_t spec = small_spec(LAYER);
    path_of(path, "vit-crowd");
    moco_model_t *model = written_and_read(&spec, path);
    float *images = rig_block(5 * 3 * 32 * 32), wanted[6 * 48];
    pthread_t threads[4];
    crowd_t crowds[4];
    rig_normal(images, 5 * 3 * 32 * 32, 0, 1, 4);
    RIG_OK(
        moco_model_embed_tensor(model, 1, images, EMBED(.tap = MOCO_TAP_BACKBONE, .layout = MOCO_LAYOUT_NHWC), wanted));
    RIG_OK(moco_model_embed_tensor(model, 5, images, EMBED(.tap = MOCO_TAP_BACKBONE, .layout = MOCO_LAYOUT_NHWC),
                                   wanted + 48));
    for (int i = 0; i < 48; i++)
        ck_assert_double_eq_tol(wanted[i], wanted[48 + i], 1e-4); /* two plan sizes, the same image */
    for (int i = 0; i < 4; i++) {
        crowds[i] = (crowd_t){model, images, wanted, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, embed_often, &crowds[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(crowds[i].failed, 0);
    }
    moco_model_free(model);
    mo_block_free(images, 0);
    remove(path);
}
END_TEST

/* ---- failures while a plan is made: an error, and nothing is left behind (seen by the address
 * sanitizer) ---- */

static moco_status_t make_all(moco_device_t *device, int32_t norm, int32_t primitives, mo_mode_t mode)
{
    moco_status_t status = MOCO_OK;
    mo_net_t net = {0};
    mo_plan_t *plan = NULL;
    mo_encoder_spec_t encoder = small_spec(norm);
    encoder.depth = 1;
    TRY(mo_encoder_net(&encoder, &net));
    mo_plan_spec_t spec = {.net = &net,
                           .mode = mode,
                           .shard = 2,
                           .shards_per_group = 1,
                           .primitives = primitives,
                           .inputs = {net.input, -1, -1, -1},
                           .outputs = {net.backbone, -1, -1, -1}};
    if (mode == MO_MODE_TRAIN) { /* something must give the features a gradient */
        int32_t keys = mo_net_tensor(&net, net.shapes[net.backbone].c, 1, 1);
        spec.inputs[1] = keys;
        mo_infonce_spec_t loss = {
            .queries = net.backbone, .keys = keys, .place = -1, .count = 8, .temperature = 0.2, .batch = 2, .scale = 1};
        spec.outputs[1] = mo_infonce(&net, &loss);
        TRY(mo_net_done(&net));
    }
    TRY(mo_plan_create(device, &spec, &plan));
cleanup:
    mo_plan_free(plan);
    mo_net_free(&net);
    return status;
}

START_TEST(test_faults)
{
    moco_device_t *device = NULL;
    RIG_OK(mo_device_open_lanes(1, &device));
    for (int32_t way = 0; way < 4; way++) {
        mo_mode_t mode = way == 3 ? MO_MODE_INFER : MO_MODE_TRAIN;
        for (int kind = MO_FAULT_ALLOC; kind <= MO_FAULT_ENGINE; kind++) {
            RIG_OK(make_all(device, way == 1, way == 2, mode));
            mo_fault_arm(kind, -1);
            RIG_OK(make_all(device, way == 1, way == 2, mode));
            long total = mo_fault_arm(kind, -1);
            for (long n = 0; n < total; n += 1 + (n > 20) * 3) {
                mo_fault_arm(kind, n);
                moco_status_t status = make_all(device, way == 1, way == 2, mode);
                mo_fault_arm(kind, -1);
                ck_assert_msg(status == (kind == MO_FAULT_ALLOC ? MOCO_ERR_MEMORY : MOCO_ERR_ENGINE),
                              "request %ld of %ld failed, the call gave %d", n, total, status);
            }
        }
    }
    mo_device_release(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vit");
    TCase *tc = tcase_create("vit");
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, test_sizes);
    tcase_add_test(tc, test_names);
    tcase_add_test(tc, test_widths);
    tcase_add_test(tc, test_positions);
    tcase_add_test(tc, test_first_values);
    tcase_add_test(tc, test_refusals);
    tcase_add_loop_test(tc, test_gradients, 0, 2);
    tcase_add_test(tc, test_lanes);
    tcase_add_test(tc, test_infer_plan);
    tcase_add_test(tc, test_file);
    tcase_add_test(tc, test_memory_cap);
    tcase_add_test(tc, test_memory);
    tcase_add_test(tc, test_bad_files);
    tcase_add_test(tc, test_crowd);
    tcase_add_test(tc, test_faults);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
