/* A new run from the weights of a model of this library: its encoder, and step 0. What a model does
 * not have, such as queue, predictor and optimizer, begins as in any new run. */
#include <string.h>

#include "eval/loaded.h"
#include "eval/model_file.h"
#include "train/import_internal.h"
#include "train/options.h"
#include "util/alloc.h"
#include "util/cancel.h"
#include "util/headroom.h"
#include "util/status.h"

static int32_t recipe_of_head(const mo_encoder_spec_t *spec)
{
    switch (spec->head) {
    case MOCO_HEAD_LINEAR: return spec->stem == MOCO_STEM_CIFAR ? MOCO_RECIPE_CIFAR : MOCO_RECIPE_V1;
    case MOCO_HEAD_MLP_V3: return MOCO_RECIPE_V3;
    case MOCO_HEAD_MLP_SIMCLR: return MOCO_RECIPE_SIMCLR;
    case MOCO_HEAD_MLP_BYOL: return MOCO_RECIPE_BYOL;
    default: return mo_is_vit(spec->arch) ? MOCO_RECIPE_V3 : MOCO_RECIPE_V2;
    }
}

/* The network is the model's, and so are image size and transform where the caller has no options
 * of the run. A head of another form than the run's is a new one. */
static void take_model(const mo_loaded_t *l, int given, moco_trainer_options_t *o)
{
    const mo_encoder_spec_t *spec = &l->encoder.spec;
    o->arch = spec->arch;
    o->stem = spec->stem;
    o->width = spec->width;
    if (mo_is_vit(spec->arch)) {
        o->patch_size = spec->patch_size;
        o->vit_depth = spec->depth;
        o->vit_heads = spec->heads;
        o->vit_norm = spec->vit_norm;
    }
    if (mo_is_vit(spec->arch) || !given)
        o->image_size = spec->image_size;
    if (!given) {
        o->mean_r = l->transform.mean[0], o->mean_g = l->transform.mean[1], o->mean_b = l->transform.mean[2];
        o->std_r = l->transform.std[0], o->std_g = l->transform.std[1], o->std_b = l->transform.std[2];
    }
    if (spec->head == o->head) {
        o->head_width = spec->head_width;
        o->head_layers = spec->head_layers;
        o->dimension = spec->dimension;
    }
}

/* What the model's net has comes first in the query encoder's. */
static moco_status_t copy_weights(const mo_encoder_t *from, mo_state_t *s)
{
    moco_status_t status = MOCO_OK;
    float *to = NULL, *weights = NULL;
    TRY(mo_buffer_map(s->query.params, MO_UPDATE, &to));
    TRY(mo_buffer_map(from->params, MO_READ, &weights));
    memcpy(to, weights, (size_t)from->net.params * sizeof *to);
    memcpy(s->query.running, from->running, (size_t)from->net.stats * sizeof *to);
cleanup:
    mo_buffer_unmap(s->query.params, to);
    mo_buffer_unmap(from->params, weights);
    return status;
}

static moco_status_t start_state(const mo_loaded_t *l, mo_state_t *s)
{
    moco_status_t status = MOCO_OK;
    TRY(mo_headroom_check(MOCO_ERR_MEMORY, "the state of the training needs", mo_blocks_bytes(&s->blocks, NULL), ""));
    TRY(mo_state_take(s, NULL));
    TRY(mo_state_start(s));
    TRY(copy_weights(&l->encoder, s));
    if (s->method.key_views > 0)
        TRY(mo_encoder_copy_numbers(&s->query, &s->key));
    TRY(mo_strdup("a new run from the weights of a model of this library", &s->origin));
cleanup:
    return status;
}

/* `with_head`: the model's head is the run's. */
static moco_status_t report_of(mo_loaded_t *l, const mo_state_t *s, int with_head, const mo_answer_t *answer)
{
    mo_transform_t transform;
    json_t *missing = json_object_get(l->report, "missing"), *notes = json_object_get(l->report, "notes");
    int bad = 0;
    mo_transform_of(&s->options, &transform);
    if (!with_head)
        bad |= json_array_append_new(missing, json_string("the projection head: a new one")) != 0;
    if (s->options.predictor)
        bad |= json_array_append_new(missing, json_string("the predictor: a new one")) != 0;
    if (s->queue.length > 0)
        bad |= json_array_append_new(missing, json_string("the queue: a new one")) != 0;
    bad |= json_array_append_new(missing, json_string("the optimizer's state: it begins at 0")) != 0;
    bad |= json_array_append_new(notes, json_string(s->origin)) != 0;
    bad |= json_object_set_new(l->report, "model", mo_spec_json(&s->query.spec, &transform)) != 0;
    return bad ? mo_fail(MOCO_ERR_MEMORY, "no memory for a report") : mo_json_answer(json_incref(l->report), answer);
}

static moco_status_t load(const mo_tensor_file_t *file, const char *in, const moco_convert_options_t *o, int no_head,
                          mo_loaded_t *l)
{
    const mo_wanted_t wanted = {.no_head = no_head, .vit_heads = o->vit_heads};
    mo_loaded_free(l);
    return mo_loaded_take(file, in, &wanted, l);
}

moco_status_t mo_import_model(const mo_tensor_file_t *file, const char *in, const char *out,
                              const moco_convert_options_t *o, const mo_answer_t *answer)
{
    moco_status_t status = MOCO_OK;
    const char *kind = mo_tensor_file_text(file, "kind");
    mo_loaded_t l = {0};
    mo_state_t state = {0};
    moco_trainer_options_t options;
    if (kind != NULL && strcmp(kind, "checkpoint") == 0)
        TRY(mo_fail(
            MOCO_ERR_MISMATCH,
            "'%s' is a training checkpoint of this library already: moco_trainer_load goes on with it. To begin a "
            "new run from its weights, convert it to a model, and that to a training checkpoint",
            in));
    TRY(load(file, in, o, 0, &l));
    TRY(o->training != NULL ? mo_options_overlay(o->training, &options)
                            : mo_options_defaults_for(recipe_of_head(&l.encoder.spec), l.encoder.spec.arch, &options));
    const int with_head = l.encoder.spec.head == options.head;
    if (!with_head)
        TRY(load(file, in, o, 1, &l));
    take_model(&l, o->training != NULL, &options);
    TRY(mo_cancel_check(o->cancel));
    TRY(mo_state_build(&state, &options));
    TRY(start_state(&l, &state));
    TRY(report_of(&l, &state, with_head, answer));
    TRY(mo_cancel_check(o->cancel));
    TRY(mo_state_save(&state, NULL, out));
cleanup:
    mo_state_free(&state);
    mo_loaded_free(&l);
    return status;
}
