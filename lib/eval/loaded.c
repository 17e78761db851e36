/* Reading an encoder from any file of tensors; see loaded.h. */
#include "eval/loaded.h"

#include <string.h>

#include <moco/trainer.h>

#include "eval/model_file.h"
#include "persist/inventory.h"
#include "util/alloc.h"
#include "util/need.h"
#include "util/status.h"

int mo_is_ours(const mo_tensor_file_t *file)
{
    return file->container == MO_SAFETENSORS && mo_tensor_file_text(file, "libmoco") != NULL;
}

void mo_published_transform(const mo_encoder_spec_t *spec, mo_transform_t *transform)
{
    static const mo_transform_t imagenet = {.mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}},
                                cifar = {.mean = {0.4914, 0.4822, 0.4465}, .std = {0.2023, 0.1994, 0.2010}};
    *transform = spec->stem == MOCO_STEM_CIFAR ? cifar : imagenet;
    transform->eval_crop = spec->image_size;
    transform->eval_resize = mo_eval_resize(spec->stem, spec->image_size);
}

static void apply(const mo_wanted_t *wanted, mo_encoder_spec_t *spec, mo_transform_t *transform)
{
    if (wanted->no_head)
        spec->head = -1;
    if (wanted->vit_heads > 0 && mo_is_vit(spec->arch))
        spec->heads = wanted->vit_heads;
    if (wanted->image_size > 0) {
        spec->image_size = transform->eval_crop = wanted->image_size;
        transform->eval_resize = mo_eval_resize(spec->stem, spec->image_size);
    }
    if (wanted->eval_resize > 0)
        transform->eval_resize = wanted->eval_resize;
    if (wanted->std[0] > 0) {
        memcpy(transform->mean, wanted->mean, sizeof transform->mean);
        memcpy(transform->std, wanted->std, sizeof transform->std);
    }
}

/* `root`: the encoder that was taken. */
static moco_status_t take_report(const mo_inventory_t *inv, const mo_root_t *root, json_t **report)
{
    moco_status_t status = mo_inventory_report(inv, report);
    if (status == MOCO_OK && json_object_set_new(*report, "encoder", json_string(root->prefix)) != 0)
        status = mo_fail(MOCO_ERR_MEMORY, "no memory for a report");
    return status;
}

/* ---- ours ---- */

/* Where files of this library keep their encoders: a model's tensors have no prefix. */
static moco_status_t find_role(const mo_tensor_file_t *file, const char *path, mo_role_t *role)
{
    const char *kind = mo_tensor_file_text(file, "kind"), *query = mo_tensor_file_text(file, "encoder_prefix"),
               *key = mo_tensor_file_text(file, "key_encoder_prefix");
    if (kind == NULL)
        return mo_fail(MOCO_ERR_FORMAT, "'%s': its metadata has no 'kind'", path);
    *role = (mo_role_t){.layout = "libmoco", .query = ""};
    if (strcmp(kind, "checkpoint") != 0)
        return MOCO_OK;
    const char *prefix = query != NULL ? query : "encoder_q."; /* older checkpoints do not say it */
    const mo_role_t *known = mo_role_of_query(prefix);
    if (key == NULL && (known == NULL || known->key == NULL))
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "'%s': metadata 'encoder_prefix' is '%.40s', which this version does not know", path, prefix);
    role->query = prefix;
    role->key = key != NULL ? key : known->key;
    role->predictor = "predictor.";
    return MOCO_OK;
}

static moco_status_t report_ours(const mo_tensor_file_t *file, const char *path, const mo_role_t *role, int key,
                                 mo_loaded_t *l)
{
    moco_status_t status = MOCO_OK;
    mo_inventory_t inv = {0};
    int64_t batches;
    TRY(mo_inventory_open_at(&inv, file, path, role));
    const mo_root_t *root = key ? &inv.roots.key : &inv.roots.query;
    TRY(mo_inventory_mark(&inv, root, &l->encoder.net, &batches));
    TRY(mo_inventory_strange(&inv, root, &l->encoder.net));
    TRY(take_report(&inv, root, &l->report));
cleanup:
    mo_inventory_close(&inv);
    return status;
}

static int has_prefix(const mo_tensor_file_t *file, const char *prefix)
{
    for (int64_t i = 0; i < file->count; i++)
        if (strncmp(file->tensors[i].name, prefix, strlen(prefix)) == 0)
            return 1;
    return 0;
}

/* `numbers`: 0 = look at what describes them alone, and take no memory for them. */
static moco_status_t read_ours(const mo_tensor_file_t *file, const char *path, const mo_wanted_t *wanted, int numbers,
                               mo_loaded_t *l)
{
    moco_status_t status = MOCO_OK;
    mo_role_t role;
    mo_encoder_t *e = &l->encoder;
    mo_encoder_spec_t spec = {0};
    TRY(find_role(file, path, &role));
    TRY(mo_format_check(file, path));
    TRY(mo_model_meta_get(file, &spec, &l->transform, &e->steps));
    if (wanted->key && role.key == NULL)
        TRY(mo_fail(MOCO_ERR_MISMATCH, "'%s' is a model and has no key encoder, wanted a training checkpoint", path));
    if (wanted->key && !has_prefix(file, role.key))
        TRY(mo_fail(MOCO_ERR_MISMATCH, "'%s' has no key encoder: there is no tensor '%s...'", path, role.key));
    const char *prefix = wanted->key ? role.key : role.query;
    apply(wanted, &spec, &l->transform);
    TRY(mo_encoder_build(e, &spec));
    TRY(mo_encoder_get(file, prefix, e)); /* before memory is taken for what the file only claims */
    if (numbers) {
        TRY(mo_encoder_take(e, NULL));
        TRY(mo_encoder_get(file, prefix, e));
    }
    TRY(report_ours(file, path, &role, wanted->key, l));
cleanup:
    return status;
}

/* ---- other programs' ---- */

/* What of the file's own is not there, in the words of its program. */
static moco_status_t note_absent(mo_inventory_t *inv)
{
    char queue[MO_PREFIX + 16];
    moco_status_t status = MOCO_OK;
    if (inv->roots.role->key != NULL && inv->roots.key.scheme == NULL)
        TRY(mo_inventory_missing(inv, "the key encoder"));
    snprintf(queue, sizeof queue, "%squeue", inv->roots.base);
    if (strcmp(inv->roots.role->layout, "moco") == 0 && mo_tensor_file_find(inv->file, queue) == NULL)
        TRY(mo_inventory_missing(inv, "the queue"));
cleanup:
    return status;
}

static moco_status_t read_foreign(const mo_tensor_file_t *file, const char *path, const mo_wanted_t *wanted,
                                  int numbers, mo_loaded_t *l)
{
    moco_status_t status = MOCO_OK;
    mo_inventory_t inv = {0};
    mo_encoder_t *e = &l->encoder;
    mo_encoder_spec_t spec = {0};
    float *params = NULL;
    TRY(mo_inventory_open(&inv, file, path, wanted->prefix));
    inv.vit_heads = wanted->vit_heads;
    const mo_root_t *root = wanted->key ? &inv.roots.key : &inv.roots.query;
    if (wanted->key && inv.roots.role != NULL && root->scheme == NULL)
        TRY(mo_fail(MOCO_ERR_MISMATCH, "%s: has no key encoder", path));
    TRY(mo_inventory_spec(&inv, root, &spec));
    mo_published_transform(&spec, &l->transform);
    apply(wanted, &spec, &l->transform);
    TRY(mo_encoder_build(e, &spec));
    TRY(mo_inventory_check(&inv, root, &e->net));
    if (numbers) {
        TRY(mo_encoder_take(e, NULL));
        TRY(mo_buffer_map(e->params, MO_UPDATE, &params));
        TRY(mo_inventory_encoder(&inv, root, &e->net, params, e->running, &e->steps));
    } else
        TRY(mo_inventory_mark(&inv, root, &e->net, &e->steps));
    if (e->steps == 0)
        e->steps = -1;
    TRY(note_absent(&inv));
    l->foreign = 1;
    TRY(take_report(&inv, root, &l->report));
cleanup:
    mo_buffer_unmap(e->params, params);
    mo_inventory_close(&inv);
    return status;
}

static moco_status_t take(const mo_tensor_file_t *file, const char *path, const mo_wanted_t *wanted, int numbers,
                          mo_loaded_t *out)
{
    moco_status_t status = MOCO_OK;
    mo_loaded_t l = {.encoder.steps = -1};
    TRY(mo_is_ours(file) ? read_ours(file, path, wanted, numbers, &l) : read_foreign(file, path, wanted, numbers, &l));
    *out = l;
    l = (mo_loaded_t){0};
cleanup:
    if (status != MOCO_OK)
        mo_message_of_file(path);
    mo_loaded_free(&l);
    return status;
}

moco_status_t mo_loaded_take(const mo_tensor_file_t *file, const char *path, const mo_wanted_t *wanted,
                             mo_loaded_t *out)
{
    return take(file, path, wanted, 1, out);
}

moco_status_t mo_loaded_look(const char *path, const mo_wanted_t *wanted, mo_loaded_t *out)
{
    mo_tensor_file_t file = {0};
    moco_status_t status = mo_tensor_file_peek(&file, path);
    if (status == MOCO_OK)
        status = take(&file, path, wanted, 0, out);
    else
        mo_message_of_file(path);
    mo_tensor_file_close(&file);
    return status;
}

moco_status_t mo_loaded_read(const char *path, const mo_wanted_t *wanted, mo_loaded_t *out)
{
    mo_tensor_file_t file = {0};
    moco_status_t status = mo_tensor_file_open(&file, path);
    if (status == MOCO_OK)
        status = mo_loaded_take(&file, path, wanted, out);
    else
        mo_message_of_file(path);
    mo_tensor_file_close(&file);
    return status;
}

void mo_loaded_free(mo_loaded_t *l)
{
    mo_encoder_free(&l->encoder);
    json_decref(l->report);
    *l = (mo_loaded_t){0};
}
