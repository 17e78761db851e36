/* From a reference checkpoint to a state, and from there to a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/loaded.h"
#include "eval/model_file.h"
#include "persist/check.h"
#include "train/import_internal.h"
#include "train/options.h"
#include "train/schedule.h"
#include "util/alloc.h"
#include "util/headroom.h"
#include "util/number.h"
#include "util/cancel.h"
#include "util/status.h"

enum { MAX_HEAD_WIDTH = 65536 };

static const mo_file_tensor_t *own_entry(const mo_import_t *m, const char *name)
{
    char full[MO_PREFIX + 32];
    snprintf(full, sizeof full, "%s%s", m->inventory.roots.base, name);
    return mo_tensor_file_find(&m->file, full);
}

/* ---- options ---- */

/* MoCo v3: a loss over the batch, a predictor, and LARS or AdamW. The others: a queue and SGD. */
static int is_v3(const mo_import_t *m)
{
    return m->inventory.roots.role->predictor != NULL;
}

static int32_t recipe_of_run(const mo_import_t *m)
{
    if (is_v3(m))
        return mo_is_vit(m->spec.arch) ? MOCO_RECIPE_V3_VIT : MOCO_RECIPE_V3;
    if (m->spec.stem == MOCO_STEM_CIFAR)
        return MOCO_RECIPE_CIFAR;
    return m->spec.head == MOCO_HEAD_MLP ? MOCO_RECIPE_V2 : MOCO_RECIPE_V1;
}

static void take_setting(const mo_import_t *m, const char *name, double *value)
{
    char key[64];
    double found;
    snprintf(key, sizeof key, "optimizer.param_groups.0.%s", name);
    const char *text = mo_tensor_file_text(&m->file, key);
    if (text != NULL && mo_parse_double(text, 0, 1e3, &found) == MOCO_OK)
        *value = found;
}

/* The image's side is in the shape of the positions. */
static void take_vit(mo_import_t *m)
{
    moco_trainer_options_t *o = &m->options;
    o->image_size = m->spec.image_size;
    o->patch_size = m->spec.patch_size;
    o->vit_depth = m->spec.depth;
    o->vit_norm = m->spec.vit_norm;
    o->vit_heads = m->spec.heads;
}

static moco_status_t take_queue(mo_import_t *m)
{
    moco_trainer_options_t *o = &m->options;
    const mo_file_tensor_t *queue = own_entry(m, "queue");
    if (queue == NULL)
        return mo_inventory_missing(&m->inventory, "the queue: a new one");
    uint64_t repeated = 0;
    const moco_status_t status = mo_file_repeats(queue, &repeated);
    if (status != MOCO_OK)
        return status;
    if (queue->rank != 2 || queue->dims[0] != o->dimension || queue->dims[1] < 1)
        return mo_fail(MOCO_ERR_SHAPE, "%s: 'queue' is not [%d,K]", m->inventory.path, o->dimension);
    o->queue_length = queue->dims[1];
    m->has_queue = 1;
    return MOCO_OK;
}

/* The predictor is as wide inside as the projector, unless its own layer says otherwise. */
static moco_status_t take_predictor(mo_import_t *m)
{
    moco_trainer_options_t *o = &m->options;
    const mo_file_tensor_t *first = own_entry(m, "predictor.0.weight");
    if (first == NULL)
        return mo_inventory_missing(&m->inventory, "the predictor: a new one");
    if (first->rank != 2 || first->dims[1] != o->dimension || first->dims[0] < 1 || first->dims[0] > MAX_HEAD_WIDTH)
        return mo_fail(MOCO_ERR_SHAPE, "%s: 'predictor.0.weight' is not [width,%d]", m->inventory.path, o->dimension);
    o->head_width = (int32_t)first->dims[0];
    m->has_predictor = 1;
    return MOCO_OK;
}

static moco_status_t take_network(mo_import_t *m)
{
    moco_trainer_options_t *o = &m->options;
    o->arch = m->spec.arch;
    o->stem = m->spec.stem;
    o->head = m->spec.head;
    o->head_width = m->spec.head_width;
    o->head_layers = m->spec.head_layers;
    o->width = m->spec.width;
    o->dimension = m->spec.dimension;
    if (mo_is_vit(o->arch))
        take_vit(m);
    return is_v3(m) ? take_predictor(m) : take_queue(m);
}

static void take_settings(mo_import_t *m)
{
    moco_trainer_options_t *o = &m->options;
    if (is_v3(m))
        mo_import_optimizer_kind(m);
    take_setting(m, "weight_decay", &o->weight_decay);
    take_setting(m, "momentum", &o->sgd_momentum);
    take_setting(m, "trust_coefficient", &o->lars_trust);
    take_setting(m, "betas.0", &o->adam_beta1);
    take_setting(m, "betas.1", &o->adam_beta2);
    take_setting(m, "eps", &o->adam_epsilon);
}

static moco_status_t check_method(const mo_import_t *m)
{
    const moco_trainer_options_t *o = &m->options;
    if (is_v3(m) && (o->loss != MOCO_LOSS_BATCH || !o->predictor ||
                     (o->optimizer != MOCO_OPTIMIZER_LARS && o->optimizer != MOCO_OPTIMIZER_ADAMW)))
        return mo_fail(MOCO_ERR_ARGUMENT, "the checkpoint is of a loss over the batch, a predictor, and LARS or AdamW; "
                                          "wanted options of moco-v3 or moco-v3-vit");
    if (!is_v3(m) && (o->loss != MOCO_LOSS_QUEUE || o->optimizer != MOCO_OPTIMIZER_SGD))
        return mo_fail(MOCO_ERR_ARGUMENT, "the checkpoint is of a queue and SGD, wanted options of moco-v1, moco-v2 or "
                                          "moco-cifar");
    return mo_options_check(o);
}

/* Given: `options` are the caller's, all but what the file decides. */
static moco_status_t choose_options(mo_import_t *m, int given)
{
    moco_status_t status = MOCO_OK;
    if (!given) {
        TRY(mo_options_defaults(recipe_of_run(m), &m->options));
        take_settings(m);
        TRY(mo_inventory_note(&m->inventory,
                              "batch, rates and views are those of the recipe that the file looks like"));
    }
    TRY(take_network(m));
    TRY(check_method(m));
cleanup:
    return status;
}

/* ---- numbers ---- */

/* What the file has of the query encoder. The key encoder's net is the same without the predictor,
 * which comes last. */
static const mo_net_t *query_net(const mo_import_t *m)
{
    const mo_state_t *s = &m->state;
    return s->options.predictor && !m->has_predictor ? &s->key.net : &s->query.net;
}

static moco_status_t read_encoders(mo_import_t *m)
{
    moco_status_t status = MOCO_OK;
    mo_state_t *s = &m->state;
    mo_inventory_t *inv = &m->inventory;
    int64_t counted;
    float *query = NULL, *key = NULL;
    TRY(mo_encoder_start(&s->query, s->options.seed)); /* what the file does not have is as in a new run */
    TRY(mo_buffer_map(s->query.params, MO_UPDATE, &query));
    TRY(mo_inventory_encoder(inv, &inv->roots.query, query_net(m), query, s->query.running, &m->batches));
    mo_buffer_unmap(s->query.params, query);
    query = NULL;
    m->has_key = inv->roots.key.scheme != NULL;
    if (m->has_key) {
        TRY(mo_buffer_map(s->key.params, MO_UPDATE, &key));
        TRY(mo_inventory_encoder(inv, &inv->roots.key, &s->key.net, key, s->key.running, &counted));
    } else {
        TRY(mo_encoder_copy_numbers(&s->query, &s->key));
        TRY(mo_inventory_missing(inv, "the key encoder: a copy of the query encoder"));
    }
cleanup:
    mo_buffer_unmap(s->query.params, query);
    mo_buffer_unmap(s->key.params, key);
    return status;
}

static moco_status_t take_queue_of_run(mo_import_t *m)
{
    moco_status_t status = MOCO_OK;
    mo_keys_t *q = &m->state.queue;
    const mo_file_tensor_t *columns = own_entry(m, "queue"), *at = own_entry(m, "queue_ptr");
    if (!m->has_queue)
        return q->rows.memory != NULL ? mo_keys_start(q, m->state.options.seed) : MOCO_OK;
    status = mo_queue_read(columns, at, q);
    if (status != MOCO_OK)
        mo_message_of_file(m->inventory.path);
    TRY(status);
    mo_inventory_take(&m->inventory, columns);
    if (at != NULL)
        mo_inventory_take(&m->inventory, at);
    else
        TRY(mo_inventory_missing(&m->inventory, "queue_ptr: 0"));
cleanup:
    return status;
}

/* ---- counters ---- */

static int64_t epochs_done(const mo_import_t *m)
{
    const char *text = mo_tensor_file_text(&m->file, "epoch");
    int64_t epoch = text != NULL ? strtoll(text, NULL, 10) : 0;
    return epoch > 0 && epoch <= 1000000 ? epoch : 0;
}

/* The references count steps only in their batch norms, and the demonstration's do not count at
 * all: then the epoch tells the step, from which push mode reads the epoch again with
 * steps_per_epoch. AdamW counts its own, without those that a loss scaler left out, and its
 * arithmetic needs that number. Velocity of 0 or more needs a step behind it: step 0 would forget
 * it. */
static moco_status_t set_counters(mo_import_t *m)
{
    mo_state_t *s = &m->state;
    const int64_t counted = m->batches / s->method.query_views; /* every view of a batch counts */
    const int64_t steps = m->updates > 0 ? m->updates : counted;
    const int64_t per_epoch = s->options.steps_per_epoch > 0 ? s->options.steps_per_epoch : 1;
    s->epoch = epochs_done(m);
    const int64_t told = s->epoch > 0 ? s->epoch * per_epoch : m->has_state;
    const int64_t by_epochs = told < MO_COUNTER_MAX ? told : MO_COUNTER_MAX;
    s->step = steps > 0 && steps < MO_COUNTER_MAX ? steps : by_epochs;
    s->queue_seen = m->has_queue && s->step > 0 ? s->queue.length : 0;
    if (m->updates > 0 && m->batches > 0 && m->updates != counted)
        return mo_inventory_note(&m->inventory,
                                 "AdamW has made %lld updates, the batch norms have counted %lld steps: the "
                                 "step is %lld",
                                 (long long)m->updates, (long long)counted, (long long)s->step);
    if (m->batches == 0 && m->updates == 0)
        return mo_inventory_missing(&m->inventory, "the number of steps: %lld", (long long)s->step);
    return MOCO_OK;
}

/* The momentum of the step to come; the reference saves between epochs. */
static double next_momentum(const mo_state_t *s)
{
    const int64_t per_epoch = s->options.steps_per_epoch;
    mo_time_t now = {.epoch = s->epoch};
    if (per_epoch > 0) /* push mode counts epochs in steps */
        now = (mo_time_t){s->step / per_epoch, s->step % per_epoch, per_epoch};
    return mo_schedule_momentum(&s->options, now);
}

static moco_status_t move_keys(mo_state_t *s, double momentum)
{
    moco_status_t status = MOCO_OK;
    float *key = NULL, *query = NULL;
    TRY(mo_buffer_map(s->key.params, MO_UPDATE, &key));
    TRY(mo_buffer_map(s->query.params, MO_READ, &query));
    mo_momentum_update(key, query, s->key.net.params, momentum);
cleanup:
    mo_buffer_unmap(s->key.params, key);
    mo_buffer_unmap(s->query.params, query);
    return status;
}

/* The reference moves its key encoder at the start of a step, this library at the end: one move is
 * owed. */
static moco_status_t update_keys(mo_import_t *m, int32_t key_update)
{
    mo_state_t *s = &m->state;
    char text[200] = "a reference checkpoint; key encoder as in the file";
    if (key_update && m->has_key) {
        const double momentum = next_momentum(s);
        char number[MO_NUMBER_TEXT];
        mo_text_double(momentum, 9, number);
        const moco_status_t moved = move_keys(s, momentum);
        if (moved != MOCO_OK)
            return moved;
        snprintf(text, sizeof text,
                 "a reference checkpoint; the key-momentum update that it makes at the start of its "
                 "next step was applied, momentum %s",
                 number);
    }
    moco_status_t status = mo_strdup(text, &s->origin);
    return status == MOCO_OK ? mo_inventory_note(&m->inventory, "%s", text) : status;
}

static moco_status_t check_source(mo_import_t *m)
{
    const char *path = m->inventory.path;
    moco_status_t status = mo_inventory_spec(&m->inventory, &m->inventory.roots.query, &m->spec);
    if (status != MOCO_OK)
        return status;
    if (m->spec.head < 0)
        return mo_fail(MOCO_ERR_UNSUPPORTED, "%s: has no projection head to train with", path);
    if (is_v3(m) && m->spec.head != MOCO_HEAD_MLP_V3)
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "%s: the layout is MoCo v3's, its head is not: wanted linear layers "
                       "without bias, each followed by batch norm, the last without scale and shift",
                       path);
    if (!is_v3(m) && mo_is_vit(m->spec.arch))
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "%s: ViTs go on training from checkpoints of MoCo v3 (base_encoder), this "
                       "one has the layout '%s'",
                       path, m->inventory.roots.role->layout);
    return MOCO_OK;
}

static moco_status_t report_of(const mo_import_t *m, json_t **report)
{
    mo_transform_t transform;
    moco_status_t status = mo_inventory_report(&m->inventory, report);
    if (status != MOCO_OK)
        return status;
    mo_transform_of(&m->options, &transform);
    if (json_object_set_new(*report, "model", mo_spec_json(&m->state.query.spec, &transform)) == 0)
        return MOCO_OK;
    json_decref(*report);
    *report = NULL;
    return mo_fail(MOCO_ERR_MEMORY, "no memory for a report");
}

static moco_status_t import_reference(mo_import_t *m, const char *in, const char *out, const moco_convert_options_t *o,
                                      const mo_answer_t *answer)
{
    moco_status_t status = MOCO_OK;
    const moco_trainer_options_t *training = o->training;
    json_t *report = NULL;
    TRY(mo_inventory_open(&m->inventory, &m->file, in, o->prefix));
    if (training != NULL)
        TRY(mo_options_overlay(training, &m->options));
    m->inventory.vit_heads = o->vit_heads > 0 ? o->vit_heads : m->options.vit_heads;
    TRY(check_source(m));
    TRY(choose_options(m, training != NULL));
    TRY(mo_state_build(&m->state, &m->options));
    TRY(mo_inventory_check(&m->inventory, &m->inventory.roots.query, query_net(m)));
    TRY(mo_headroom_check(MOCO_ERR_MEMORY, "the state of the training needs", mo_blocks_bytes(&m->state.blocks, NULL),
                          ""));
    TRY(mo_state_take(&m->state, NULL));
    TRY(read_encoders(m));
    TRY(mo_cancel_check(o->cancel));
    TRY(take_queue_of_run(m));
    TRY(mo_import_optimizer(m));
    TRY(set_counters(m));
    TRY(update_keys(m, o->key_update));
    TRY(report_of(m, &report));
    status = mo_json_answer(report, answer);
    TRY(status);
    TRY(mo_cancel_check(o->cancel));
    TRY(mo_state_save(&m->state, NULL, out));
cleanup:
    return status;
}

moco_status_t mo_import_training(const char *in, const char *out, const moco_convert_options_t *o,
                                 const mo_answer_t *answer)
{
    moco_status_t status = MOCO_OK;
    mo_import_t m = {0};
    TRY(mo_tensor_file_open(&m.file, in));
    TRY(mo_is_ours(&m.file) ? mo_import_model(&m.file, in, out, o, answer) : import_reference(&m, in, out, o, answer));
cleanup:
    mo_state_free(&m.state);
    mo_inventory_close(&m.inventory);
    mo_tensor_file_close(&m.file);
    return status;
}

/* ---- what it would be ---- */

/* All options, without those that are as the recipe has them. */
static json_t *changed_options(const moco_trainer_options_t *o)
{
    moco_trainer_options_t recipe;
    char *text = NULL;
    json_t *all = NULL;
    if (mo_options_defaults(o->recipe, &recipe) != MOCO_OK ||
        mo_option_to_json(&mo_trainer_options, o, &text) != MOCO_OK)
        return NULL;
    all = json_loads(text, 0, NULL);
    for (int32_t i = 0; all != NULL && i < mo_trainer_options.count; i++) {
        const mo_option_row_t *row = &mo_trainer_options.rows[i];
        if (row->type != MO_OPTION_PRESET && mo_option_get(o, row) == mo_option_get(&recipe, row))
            json_object_del(all, row->name);
    }
    mo_free(text);
    return all;
}

moco_status_t mo_import_describe(const char *path, json_t **training)
{
    moco_status_t status = MOCO_OK;
    mo_import_t m = {0};
    *training = NULL;
    TRY(mo_tensor_file_peek(&m.file, path)); /* names and shapes alone */
    if (mo_is_ours(&m.file))
        goto cleanup;
    TRY(mo_inventory_open(&m.inventory, &m.file, path, NULL));
    if (check_source(&m) != MOCO_OK || choose_options(&m, 0) != MOCO_OK || m.inventory.roots.role->key == NULL)
        goto cleanup;
    *training = changed_options(&m.options);
    if (*training == NULL)
        status = mo_fail(MOCO_ERR_MEMORY, "no memory for a description");
cleanup:
    mo_inventory_close(&m.inventory);
    mo_tensor_file_close(&m.file);
    return status;
}
