/* An encoder's backbone from inside the library, for test_vit.py.
 *
 *   encoder_ops init MODEL option=value …                     write a fresh encoder without a head
 *   encoder_ops run MODEL INPUT OUTPUT batch=B [groups=V] [shards=N] [lanes=L] [primitives=1] \
 *                   [times=R] option=value …
 *
 * Options as in docs/options.md, from recipe moco-v3-vit. INPUT holds "images" [B,S,S,3] and
 * "gradient" [B,features], the gradient that comes back to the features. OUTPUT receives "features"
 * and "keys" [B,features] of train and key mode, the sum over all shards of every parameter's
 * gradient as "gradient.NAME", and each group's batch statistics, "mean.NAME" and "variance.NAME"
 * [V,C]. times=R: R runs more, and the seconds of each kind of operation on standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <moco/moco.h>

#include "../../examples/moco/peak.h"
#include "engine/emit.h"
#include "eval/model.h"
#include "eval/model_file.h"
#include "persist/checkpoint.h"
#include "persist/safetensors.h"
#include "util/alloc.h"
#include "util/status.h"

#define CHECK(call)                                                    \
    do {                                                               \
        if ((call) != MOCO_OK) {                                       \
            fprintf(stderr, "encoder_ops: %s\n", moco_last_message()); \
            exit(1);                                                   \
        }                                                              \
    } while (0)

typedef struct job {
    moco_trainer_options_t options;
    mo_encoder_spec_t spec;
    int32_t batch, groups, shards, lanes, primitives, times; /* shards: of a group */
    mo_net_t net;
    int32_t incoming; /* tensor of the gradient of the features */
    int64_t feature, width;
    float *running, *images, *gradient, *stats, *grads, *rows;
    mo_buffer_t params, on_stats, on_grads; /* the last two: what the engine sees of `stats` and `grads` */
} job_t;

static float *block(int64_t floats)
{
    float *values = NULL;
    CHECK(mo_block_create((size_t)floats * sizeof *values, &values));
    return values;
}

/* ---- the end of the net: the gradient that the caller gives ---- */

static moco_status_t end_forward(mo_plan_t *plan, const mo_op_t *op)
{
    (void)plan;
    (void)op;
    return MOCO_OK;
}

static moco_status_t end_backward(mo_plan_t *plan, const mo_op_t *op)
{
    mo_slot_id_t given;
    moco_status_t status = mo_value(plan, op->other, &given);
    return status == MOCO_OK ? mo_gradient_add(plan, op, op->src, given) : status;
}

static const mo_op_kind_t end_kind = {.name = "end", .forward = end_forward, .backward = end_backward};

static void list_end(job_t *j)
{
    j->width = j->net.shapes[j->net.backbone].c;
    j->incoming = mo_net_tensor(&j->net, (int32_t)j->width, 1, 1);
    mo_op_t *op = mo_net_op(&j->net, &end_kind, j->net.backbone, NULL, 0);
    if (op != NULL)
        op->other = j->incoming;
    CHECK(mo_net_done(&j->net));
}

/* ---- what goes in and comes out ---- */

static moco_status_t fill(mo_instance_t *instance, int32_t tensor, const float *from, int64_t count)
{
    float *values;
    moco_status_t status = mo_instance_map(instance, tensor, MO_WRITE, &values);
    if (status != MOCO_OK)
        return status;
    memcpy(values, from, (size_t)count * sizeof *values);
    mo_instance_unmap(instance, tensor, values);
    return MOCO_OK;
}

static moco_status_t begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    job_t *j = ctx;
    int64_t leaf = (int64_t)group * j->shards + shard, each = j->batch / j->groups / j->shards;
    moco_status_t status = MOCO_OK;
    TRY(mo_instance_bind(instance, MO_IN_STATS, mo_buffer_floats(j->on_stats, group * j->net.stats, j->net.stats)));
    TRY(mo_instance_bind(instance, MO_IN_GRADS, mo_buffer_floats(j->on_grads, leaf * j->net.params, j->net.params)));
    TRY(fill(instance, j->net.input, j->images + leaf * each * j->feature, each * j->feature));
    TRY(fill(instance, j->incoming, j->gradient + leaf * each * j->width, each * j->width));
cleanup:
    return status;
}

static moco_status_t end(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    job_t *j = ctx;
    int64_t leaf = (int64_t)group * j->shards + shard, each = j->batch / j->groups / j->shards;
    float *values;
    moco_status_t status = mo_instance_map(instance, j->net.backbone, MO_READ, &values);
    if (status != MOCO_OK)
        return status;
    memcpy(j->rows + leaf * each * j->width, values, (size_t)(each * j->width) * sizeof *values);
    mo_instance_unmap(instance, j->net.backbone, values);
    return MOCO_OK;
}

/* Without the gradient, which key plans do not know. */
static moco_status_t key_begin(void *ctx, mo_instance_t *instance, int32_t group, int32_t shard)
{
    job_t *j = ctx;
    int64_t leaf = (int64_t)group * j->shards + shard, each = j->batch / j->groups / j->shards;
    moco_status_t status =
        mo_instance_bind(instance, MO_IN_STATS, mo_buffer_floats(j->on_stats, group * j->net.stats, j->net.stats));
    if (status != MOCO_OK)
        return status;
    return fill(instance, j->net.input, j->images + leaf * each * j->feature, each * j->feature);
}

/* ---- running ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void show_times(mo_plan_t *plan, double seconds, double peak)
{
    mo_plan_times_t times[32];
    int32_t count = mo_plan_profile(plan, 0, times, 32);
    printf("{\"images_seconds\":%.6f,\"peak_gmacs\":%.2f,\"arena\":%zu,\"layers\":{", seconds, peak * 1e-9,
           mo_plan_arena_bytes(plan));
    for (int32_t i = 0; i < count; i++)
        printf("%s\"%s\":[%.6f,%.6f]", i > 0 ? "," : "", times[i].kind, times[i].forward_seconds,
               times[i].backward_seconds);
    printf("}}\n");
}

static void run(job_t *j, moco_device_t *device, mo_mode_t mode)
{
    mo_plan_t *plan = NULL;
    mo_packed_t *packed = NULL;
    mo_instance_t **instances = NULL;
    mo_buffer_t *arenas = NULL;
    int32_t sets = j->lanes < j->groups ? j->lanes : j->groups, count = sets * j->shards;
    int train = mode == MO_MODE_TRAIN;
    mo_plan_spec_t spec = {.net = &j->net,
                           .mode = mode,
                           .shard = j->batch / j->groups / j->shards,
                           .shards_per_group = j->shards,
                           .inputs = {j->net.input, train ? j->incoming : -1, -1, -1},
                           .outputs = {j->net.backbone, -1, -1, -1},
                           .precision = mo_precision_of(j->options.precision),
                           .primitives = j->primitives};
    CHECK(mo_plan_create(device, &spec, &plan));
    CHECK(mo_buffer_create(device, (size_t)(j->groups * j->net.stats + 1) * sizeof(float), &j->on_stats));
    CHECK(mo_buffer_create(device, (size_t)(j->groups * j->shards * j->net.params) * sizeof(float), &j->on_grads));
    CHECK(mo_buffer_write(j->on_grads, j->grads));
    CHECK(mo_packed_create(plan, j->params, &packed));
    CHECK(mo_packed_refresh(packed));
    CHECK(mo_calloc((size_t)count, sizeof *instances, &instances));
    CHECK(mo_calloc((size_t)count, sizeof *arenas, &arenas));
    for (int32_t i = 0; i < count; i++) {
        void *values;
        CHECK(mo_buffer_create(device, mo_plan_arena_bytes(plan), &arenas[i]));
        CHECK(mo_buffer_map(arenas[i], MO_WRITE, &values));
        memset(values, 0xff, arenas[i].bytes); /* not-a-numbers: nothing may be read before it is written */
        mo_buffer_unmap(arenas[i], values);
        CHECK(mo_instance_create(plan, arenas[i], j->params, packed, &instances[i]));
    }
    mo_pass_t pass = {.plan = plan,
                      .instances = instances,
                      .sets = sets,
                      .groups = j->groups,
                      .begin = train ? begin : key_begin,
                      .end = end,
                      .ctx = j};
    CHECK(mo_pass_prepare(&pass));
    CHECK(mo_pass_run(device, &pass));
    for (int32_t i = 0; i < j->times; i++) {
        mo_plan_times_t none[1];
        double before = peak_rate(j->lanes, 0.3);
        mo_plan_profile(plan, 1, none, 1);
        double start = now();
        CHECK(mo_pass_run(device, &pass));
        double seconds = now() - start;
        show_times(plan, seconds, (before + peak_rate(j->lanes, 0.3)) / 2);
    }
    mo_pass_free(&pass);
    for (int32_t i = 0; i < count; i++) {
        mo_instance_free(instances[i]);
        mo_buffer_free(&arenas[i]);
    }
    CHECK(mo_buffer_read(j->on_stats, j->stats));
    CHECK(mo_buffer_read(j->on_grads, j->grads));
    mo_buffer_free(&j->on_stats);
    mo_buffer_free(&j->on_grads);
    mo_free(instances);
    mo_free(arenas);
    mo_packed_free(packed);
    mo_plan_free(plan);
}

static const float *find(const mo_tensor_file_t *st, const char *name, float *to, int64_t count)
{
    const mo_file_tensor_t *tensor = mo_tensor_file_find(st, name);
    if (tensor == NULL) {
        fprintf(stderr, "encoder_ops: no tensor '%s'\n", name);
        exit(1);
    }
    CHECK(mo_file_floats(tensor, to, count));
    return to;
}

/* All shards' gradients in one, parameter by parameter. */
static void put_gradients(const job_t *j, mo_st_writer_t *w, float *sum)
{
    char name[160];
    for (int32_t i = 0; i < j->net.parameter_count; i++) {
        const mo_parameter_t *s = &j->net.parameters[i];
        for (int64_t k = s->offset; k < s->offset + s->count; k++) {
            double total = 0;
            for (int64_t leaf = 0; leaf < (int64_t)j->groups * j->shards; leaf++)
                total += j->grads[leaf * j->net.params + k];
            sum[k] = (float)total;
        }
        snprintf(name, sizeof name, "gradient.%s", s->name);
        CHECK(mo_st_add(w, name, MO_F32, s->rank, s->dims, sum + s->offset));
    }
}

static void put_statistics(const job_t *j, mo_st_writer_t *w, float *to)
{
    char name[160];
    for (int32_t i = 0; i < j->net.bn_count; i++) {
        const mo_bn_t *bn = &j->net.bns[i];
        int64_t dims[2] = {j->groups, bn->channels};
        for (int part = 0; part < 2; part++) {
            for (int32_t g = 0; g < j->groups; g++)
                memcpy(to + (int64_t)g * bn->channels, j->stats + g * j->net.stats + bn->offset + part * bn->channels,
                       (size_t)bn->channels * sizeof *to);
            snprintf(name, sizeof name, "%s.%s", part == 0 ? "mean" : "variance", bn->name);
            CHECK(mo_st_add(w, name, MO_F32, 2, dims, to));
            to += dims[0] * dims[1];
        }
    }
}

static void run_command(job_t *j, const char *model, const char *input, const char *output)
{
    mo_tensor_file_t st = {0};
    mo_st_writer_t w = {0};
    moco_device_t *device = NULL;
    int64_t leaves = (int64_t)j->groups * j->shards, dims[2] = {j->batch, 0};
    const mo_encoder_t encoder = {.net = j->net, .params = j->params, .running = j->running};
    CHECK(mo_tensor_file_open(&st, model));
    CHECK(mo_encoder_get(&st, "", &encoder));
    mo_tensor_file_close(&st);
    list_end(j);
    dims[1] = j->width;
    j->images = block(j->batch * j->feature);
    j->gradient = block(j->batch * j->width);
    j->stats = block(j->groups * j->net.stats + 1);
    j->grads = block(leaves * j->net.params);
    memset(j->grads, 0xff, (size_t)(leaves * j->net.params) * sizeof(float));
    CHECK(mo_tensor_file_open(&st, input));
    find(&st, "images", j->images, j->batch * j->feature);
    find(&st, "gradient", j->gradient, j->batch * j->width);
    mo_tensor_file_close(&st);
    CHECK(mo_device_open_lanes(j->lanes, &device));
    float *features = j->rows = block(j->batch * j->width), *keys = block(j->batch * j->width);
    run(j, device, MO_MODE_TRAIN);
    CHECK(mo_st_add(&w, "features", MO_F32, 2, dims, features));
    float *sum = block(j->net.params), *statistics = block(j->groups * j->net.stats + 1);
    put_gradients(j, &w, sum);
    put_statistics(j, &w, statistics);
    j->rows = keys;
    run(j, device, MO_MODE_KEY);
    CHECK(mo_st_add(&w, "keys", MO_F32, 2, dims, keys));
    CHECK(mo_st_write(&w, output));
    mo_st_writer_free(&w);
    mo_device_release(device);
}

static void init_command(job_t *j, const char *model)
{
    mo_transform_t transform;
    mo_transform_of(&j->options, &transform);
    mo_encoder_t encoder = {.spec = j->spec, .net = j->net, .params = j->params, .running = j->running, .steps = -1};
    CHECK(mo_encoder_start(&encoder, j->options.seed));
    CHECK(mo_model_write_encoder(&encoder, &transform, NULL, model));
}

static int own_option(job_t *j, const char *name, const char *value)
{
    const struct {
        const char *name;
        int32_t *to;
    } own[] = {{"batch", &j->batch}, {"groups", &j->groups},         {"shards", &j->shards},
               {"lanes", &j->lanes}, {"primitives", &j->primitives}, {"times", &j->times}};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(own[i].name, name) == 0) {
            *own[i].to = atoi(value);
            return 1;
        }
    return 0;
}

int main(int argc, char **argv)
{
    job_t j = {.groups = 1, .shards = 1, .lanes = 1};
    int is_run = argc > 1 && strcmp(argv[1], "run") == 0, first = is_run ? 5 : 3;
    if (argc < first) {
        fputs("usage: encoder_ops init MODEL | run MODEL INPUT OUTPUT, then name=value …\n", stderr);
        return 2;
    }
    CHECK(moco_trainer_options_init(&j.options, sizeof j.options, MOCO_RECIPE_V3_VIT, MOCO_ARCH_RECIPE));
    for (int i = first; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (equals == NULL)
            return 2;
        *equals = '\0';
        if (!own_option(&j, argv[i], equals + 1))
            CHECK(moco_trainer_options_set(&j.options, argv[i], equals + 1));
    }
    j.spec = mo_encoder_spec_of(&j.options);
    j.spec.head = -1;
    CHECK(mo_encoder_net(&j.spec, &j.net));
    j.feature = 3 * (int64_t)j.spec.image_size * j.spec.image_size;
    CHECK(mo_buffer_create(NULL, (size_t)j.net.params * sizeof(float), &j.params));
    j.running = block(j.net.stats + 1);
    if (is_run)
        run_command(&j, argv[2], argv[3], argv[4]);
    else
        init_command(&j, argv[2]);
    return 0;
}
