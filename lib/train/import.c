/* From a reference checkpoint to a trainer's state, and from there to a file. The trainer takes no memory for
 * activations: it only carries the numbers to the writer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/loaded.h"
#include "eval/model_file.h"
#include "train/import_internal.h"
#include "train/options.h"
#include "util/alloc.h"
#include "util/status.h"

static const mo_file_tensor_t *own_entry(const mo_import_t *m, const char *name)
{
    char full[MO_PREFIX + 32];
    snprintf(full, sizeof full, "%s%s", m->foreign.base, name);
    return mo_tensor_file_find(&m->file, full);
}

/* ---- options ---- */

static int32_t likely_recipe(const mo_import_t *m)
{
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

static moco_status_t take_network(mo_import_t *m)
{
    moco_trainer_options_t *o = &m->options;
    const mo_file_tensor_t *queue = own_entry(m, "queue");
    o->arch = m->spec.arch;
    o->stem = m->spec.stem;
    o->head = m->spec.head;
    o->head_width = m->spec.head_width;
    o->head_layers = m->spec.head_layers;
    o->width = m->spec.width;
    o->dimension = m->spec.dimension;
    if (queue == NULL)
        return mo_foreign_missing(&m->foreign, "the queue: a new one");
    if (queue->rank != 2 || queue->dims[0] != o->dimension || queue->dims[1] < 1)
        return mo_fail(MOCO_ERR_SHAPE, "%s: 'queue' is not [%d,K]", m->foreign.path, o->dimension);
    o->queue_length = queue->dims[1];
    m->has_queue = 1;
    return MOCO_OK;
}

static moco_status_t choose_options(mo_import_t *m, const moco_trainer_options_t *training)
{
    moco_status_t status = MOCO_OK;
    if (training != NULL) {
        TRY(mo_options_overlay(training, &m->options));
    } else {
        TRY(mo_options_defaults(likely_recipe(m), &m->options));
        take_setting(m, "momentum", &m->options.sgd_momentum);
        take_setting(m, "weight_decay", &m->options.weight_decay);
        TRY(mo_foreign_note(&m->foreign, "batch, rates and views are those of the recipe that the file looks like"));
    }
    TRY(take_network(m));
    if (m->options.loss != MOCO_LOSS_QUEUE || m->options.optimizer != MOCO_OPTIMIZER_SGD)
        TRY(mo_fail(MOCO_ERR_ARGUMENT, "the checkpoint is of a queue and SGD, wanted options of moco-v1, moco-v2 or "
                    "moco-cifar"));
    TRY(mo_options_check(&m->options));
cleanup:
    return status;
}

/* ---- numbers ---- */

static moco_status_t take_memory(moco_trainer_t *t)
{
    moco_status_t status = MOCO_OK;
    mo_encoder_t *const both[2] = {&t->query, &t->key};
    for (int i = 0; i < 2; i++) {
        TRY(mo_block_create((size_t)both[i]->net.params * sizeof(float), &both[i]->params));
        TRY(mo_block_create((size_t)both[i]->net.stats * sizeof(float), &both[i]->running));
    }
    TRY(mo_block_create((size_t)t->query.net.params * sizeof(float), &t->optim.state[0]));
    TRY(mo_keys_create(&t->queue, t->options.queue_length, t->options.dimension, t->options.seed));
cleanup:
    return status;
}

static moco_status_t read_encoders(mo_import_t *m)
{
    moco_status_t status = MOCO_OK;
    moco_trainer_t *t = m->trainer;
    mo_foreign_t *f = &m->foreign;
    int64_t counted;
    TRY(mo_foreign_encoder(f, &f->query, &t->query.net, t->query.params, t->query.running, &m->batches));
    m->has_key = f->key.scheme != NULL;
    if (m->has_key) {
        TRY(mo_foreign_encoder(f, &f->key, &t->key.net, t->key.params, t->key.running, &counted));
    } else {
        memcpy(t->key.params, t->query.params, (size_t)t->key.net.params * sizeof(float));
        memcpy(t->key.running, t->query.running, (size_t)t->key.net.stats * sizeof(float));
        TRY(mo_foreign_missing(f, "the key encoder: a copy of the query encoder"));
    }
cleanup:
    return status;
}

static moco_status_t read_queue(mo_import_t *m)
{
    moco_status_t status = MOCO_OK;
    mo_keys_t *q = &m->trainer->queue;
    const mo_file_tensor_t *columns = own_entry(m, "queue"), *at = own_entry(m, "queue_ptr");
    const size_t bytes = (size_t)(q->length * q->dimension) * sizeof(float);
    float *values = NULL;
    if (!m->has_queue)
        return MOCO_OK;
    TRY(mo_block_create(bytes, &values));
    TRY(mo_file_floats(columns, values, q->length * q->dimension));
    mo_transpose(values, q->dimension, q->length, q->rows);
    mo_foreign_take(&m->foreign, columns);
    if (at == NULL) {
        TRY(mo_foreign_missing(&m->foreign, "queue_ptr: 0"));
    } else {
        TRY(mo_file_ints(at, &q->pointer, 1));
        mo_foreign_take(&m->foreign, at);
        if (q->pointer < 0 || q->pointer >= q->length)
            TRY(mo_fail(MOCO_ERR_FORMAT, "%s: 'queue_ptr' is %lld, wanted 0 to %lld", m->foreign.path,
                        (long long)q->pointer, (long long)q->length - 1));
    }
cleanup:
    mo_block_free(values, bytes);
    return status;
}

/* ---- counters ---- */

static int64_t epochs_done(const mo_import_t *m)
{
    const char *text = mo_tensor_file_text(&m->file, "epoch");
    int64_t epoch = text != NULL ? strtoll(text, NULL, 10) : 0;
    return epoch > 0 && epoch <= 1000000 ? epoch : 0;
}

/* The reference counts steps only in its batch norms, and the demonstration's do not count at all. Velocity of 0 or
 * more needs a step behind it: step 0 would forget it. */
static moco_status_t set_counters(mo_import_t *m)
{
    moco_trainer_t *t = m->trainer;
    const int64_t steps = m->batches / t->method.query_views; /* every view of a batch counts */
    t->epoch = epochs_done(m);
    t->step = steps > 0 && steps < ((int64_t)1 << 48) ? steps : t->epoch > 0 ? t->epoch : m->has_momentum;
    t->queue_seen = m->has_queue && t->step > 0 ? t->queue.length : 0;
    if (m->batches == 0)
        return mo_foreign_missing(&m->foreign, "the number of steps: %lld", (long long)t->step);
    return MOCO_OK;
}

/* The reference moves its key encoder at the start of a step, this library at the end: one move is owed. */
static moco_status_t update_keys(mo_import_t *m, int32_t key_update)
{
    moco_trainer_t *t = m->trainer;
    char text[200] = "a reference checkpoint; key encoder as in the file";
    if (key_update && m->has_key) {
        mo_momentum_update(t->key.params, t->query.params, t->key.net.params, t->options.key_momentum);
        snprintf(text, sizeof text, "a reference checkpoint; the key-momentum update that it makes at the start of its "
                 "next step was applied, momentum %.9g", t->options.key_momentum);
        for (char *c = text; *c != '\0'; c++)
            if (*c == ',' && c > text && c[-1] >= '0' && c[-1] <= '9')
                *c = '.'; /* whatever the host's locale */
    }
    moco_status_t status = mo_strdup(text, &t->origin);
    return status == MOCO_OK ? mo_foreign_note(&m->foreign, "%s", text) : status;
}

static moco_status_t check_source(mo_import_t *m)
{
    const char *path = m->foreign.path;
    if (mo_is_ours(&m->file))
        return mo_fail(MOCO_ERR_MISMATCH, "'%s' was written by this library: moco_trainer_load reads its checkpoints",
                       path);
    moco_status_t status = mo_foreign_spec(&m->foreign, &m->foreign.query, &m->spec);
    if (status != MOCO_OK)
        return status;
    if (m->foreign.role->predictor != NULL || mo_is_vit(m->spec.arch))
        return mo_fail(MOCO_ERR_UNSUPPORTED, "%s: the training state of MoCo v3 (predictor, LARS or AdamW) is not "
                       "converted; its encoders are, as models", path);
    if (m->spec.head < 0)
        return mo_fail(MOCO_ERR_UNSUPPORTED, "%s: has no projection head to train with", path);
    return MOCO_OK;
}

static moco_status_t report_of(const mo_import_t *m, json_t **report)
{
    mo_model_recipe_t recipe;
    moco_status_t status = mo_foreign_report(&m->foreign, report);
    if (status != MOCO_OK)
        return status;
    mo_model_recipe_of(&m->options, &recipe);
    if (json_object_set_new(*report, "model", mo_spec_json(&m->trainer->spec, &recipe)) == 0)
        return MOCO_OK;
    json_decref(*report);
    *report = NULL;
    return mo_fail(MOCO_ERR_MEMORY, "no memory for a report");
}

moco_status_t mo_import_training(const char *in, const char *out, const moco_trainer_options_t *training,
                                 int32_t key_update, json_t **report)
{
    moco_status_t status = MOCO_OK;
    mo_import_t m = {0};
    TRY(mo_tensor_file_open(&m.file, in));
    TRY(mo_foreign_open(&m.foreign, &m.file, in));
    TRY(check_source(&m));
    TRY(choose_options(&m, training));
    TRY(mo_trainer_new(&m.options, NULL, 0, &m.trainer));
    TRY(mo_foreign_check(&m.foreign, &m.foreign.query, &m.trainer->query.net));
    TRY(take_memory(m.trainer));
    TRY(read_encoders(&m));
    TRY(read_queue(&m));
    TRY(mo_import_momentum(&m));
    TRY(set_counters(&m));
    TRY(update_keys(&m, key_update));
    TRY(report_of(&m, report));
    status = mo_trainer_save_file(m.trainer, out);
    if (status != MOCO_OK) {
        json_decref(*report);
        *report = NULL;
    }
cleanup:
    mo_trainer_delete(m.trainer);
    mo_foreign_close(&m.foreign);
    mo_tensor_file_close(&m.file);
    return status;
}
