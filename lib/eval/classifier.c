/* A trained classifier: see classifier.h. Filled once by who makes it, then read only. */
#include "eval/classifier.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/hash.h"
#include "util/json.h"
#include "util/status.h"

moco_status_t mo_classifier_create(int32_t classes, int32_t features, moco_classifier_t **out)
{
    moco_status_t status = MOCO_OK;
    moco_classifier_t *c = NULL;
    TRY(mo_calloc(1, sizeof *c, &c));
    c->result = (moco_classifier_result_t){
        .struct_size = sizeof c->result, .classes = classes, .features = features, .chance = 100.0 / classes};
    TRY(mo_calloc((size_t)classes, sizeof *c->names, &c->names));
    TRY(mo_calloc((size_t)classes, (size_t)features * sizeof *c->weights, &c->weights));
    TRY(mo_calloc((size_t)classes, sizeof *c->bias, &c->bias));
    *out = c;
    c = NULL;
cleanup:
    mo_classifier_delete(c);
    return status;
}

void mo_classifier_delete(moco_classifier_t *c)
{
    if (c == NULL)
        return;
    for (int32_t i = 0; c->names != NULL && i < c->result.classes; i++)
        mo_free(c->names[i]);
    mo_free(c->names);
    mo_free(c->weights);
    mo_free(c->bias);
    mo_free(c->confusion);
    mo_model_release(c->model);
    mo_free(c);
}

moco_classifier_rate_t mo_classifier_rate(const mo_linear_score_t *score, int64_t images, double train_loss)
{
    const int finite = isfinite(score->loss) && isfinite(train_loss);
    return (moco_classifier_rate_t){.struct_size = sizeof(moco_classifier_rate_t),
                                    .top1 = finite ? 100.0 * (double)score->first / (double)images : 0,
                                    .top5 = finite ? 100.0 * (double)score->fifth / (double)images : 0,
                                    .train_loss = finite ? train_loss : (double)NAN,
                                    .test_loss = finite ? score->loss / (double)images : (double)NAN};
}

moco_status_t mo_classifier_keep(moco_classifier_t *c, int32_t best, const float *weights, const float *bias,
                                 moco_model_t *model)
{
    moco_classifier_result_t *r = &c->result;
    const moco_classifier_rate_t *rate = &c->rates[best];
    const moco_status_t status = mo_backbone_hash(model, &r->backbone_hash);
    if (status != MOCO_OK)
        return status;
    memcpy(c->weights, weights, (size_t)r->classes * (size_t)r->features * sizeof *weights);
    memcpy(c->bias, bias, (size_t)r->classes * sizeof *bias);
    c->model = mo_model_retain(model);
    r->best = best;
    r->base_lr = rate->base_lr;
    r->effective_lr = rate->effective_lr;
    r->top1 = rate->top1;
    r->top5 = rate->top5;
    r->train_loss = rate->train_loss;
    r->test_loss = rate->test_loss;
    return MOCO_OK;
}

static uint64_t hash_of(uint64_t hash, const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        hash = mo_hash_add(hash, bits);
    }
    return hash;
}

moco_status_t mo_backbone_hash(const moco_model_t *m, uint64_t *out)
{
    const mo_encoder_t *e = &m->encoder;
    float *params;
    const moco_status_t status = mo_buffer_map(e->params, MO_READ, &params);
    if (status != MOCO_OK)
        return status;
    uint64_t hash = hash_of(MO_HASH_START, params, e->net.body_params);
    mo_buffer_unmap(e->params, params);
    for (int32_t i = 0; i < e->net.op_count; i++) {
        const mo_op_t *op = &e->net.ops[i];
        if (op->bn >= 0 && e->net.parameters[op->weights].offset < e->net.body_params)
            hash = hash_of(hash, e->running + e->net.bns[op->bn].offset, 2 * (int64_t)e->net.bns[op->bn].channels);
    }
    *out = hash;
    return MOCO_OK;
}

json_t *mo_classifier_names(const moco_classifier_t *c)
{
    json_t *names = json_array();
    for (int32_t i = 0; names != NULL && i < c->result.classes; i++)
        if (json_array_append_new(names, mo_json_bytes(c->names[i])) != 0) {
            json_decref(names);
            return NULL;
        }
    return names;
}

/* All names are there, so that nobody needs to ask whether they are: what is not known is null. */
static int put_numbers(json_t *all, const moco_classifier_result_t *result)
{
    static const moco_classifier_result_t zeros = {0};
    json_t *names = mo_classifier_numbers(&zeros), *known = mo_classifier_numbers(result);
    const char *name;
    json_t *value;
    int failed = names == NULL || known == NULL;
    json_object_foreach(names, name, value)
    {
        json_t *got = json_object_get(known, name);
        failed |= json_object_set(all, name, got != NULL ? got : json_null()) != 0;
    }
    json_decref(names);
    json_decref(known);
    return failed;
}

json_t *mo_classifier_json(const moco_classifier_t *c)
{
    const moco_classifier_result_t *r = &c->result;
    char hash[24];
    snprintf(hash, sizeof hash, "%016" PRIx64, r->backbone_hash);
    json_t *all = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:f, s:o, s:o}", "method",
                            r->finetuned ? "finetune" : "probe", "backbone_hash", hash, "classes", r->classes,
                            "features", r->features, "rates", r->rates, "best", r->best, "normalize", r->normalize,
                            "chance", r->chance, "class_names", mo_classifier_names(c), "model",
                            mo_model_json(c->model));
    if (all != NULL && put_numbers(all, r) != 0) {
        json_decref(all);
        return NULL;
    }
    return all;
}
