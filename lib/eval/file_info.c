/* What a file of tensors or of embeddings is, by what describes its numbers. */
#include <string.h>

#include "eval/classifier.h"
#include "eval/loaded.h"
#include "eval/model_file.h"
#include "persist/inventory.h"
#include "persist/npy.h"
#include "util/json.h"
#include "util/status.h"

static json_t *text(const mo_tensor_file_t *file, const char *key)
{
    const char *value = mo_tensor_file_text(file, key);
    return value != NULL ? json_string(mo_show(value).text) : json_null();
}

static json_t *numbers(const mo_tensor_file_t *file)
{
    uint64_t all = 0;
    for (int64_t i = 0; i < file->count; i++) {
        int64_t count = 0;
        if (mo_file_count(&file->tensors[i], &count))
            all += (uint64_t)count;
    }
    return json_integer((json_int_t)all);
}

/* Whether its shapes tell a network, and it has no layer besides. Missing tensors are no reason:
 * the network is known without them. */
static int is_readable(mo_inventory_t *inv, mo_encoder_spec_t *spec)
{
    mo_encoder_t encoder = {0};
    moco_status_t status = MOCO_OK;
    TRY(mo_inventory_spec(inv, &inv->roots.query, spec));
    TRY(mo_encoder_build(&encoder, spec));
    TRY(mo_inventory_strange(inv, &inv->roots.query, &encoder.net));
cleanup:
    mo_encoder_free(&encoder);
    return status == MOCO_OK;
}

/* What the encoder is, or in "unknown" why nobody knows. */
static moco_status_t describe_foreign(const mo_tensor_file_t *file, const char *path, json_t *out)
{
    moco_status_t status = MOCO_OK;
    mo_inventory_t inv = {0};
    mo_encoder_spec_t spec;
    mo_transform_t transform;
    json_t *model = NULL;
    TRY(mo_inventory_open(&inv, file, path, NULL));
    if (is_readable(&inv, &spec)) {
        mo_published_transform(&spec, &transform);
        model = json_pack("{s:s, s:s, s:s, s:o}", "layout", inv.roots.role->layout, "names",
                          inv.roots.query.scheme->name, "encoder", inv.roots.query.prefix, "model",
                          mo_spec_json(&spec, &transform));
        if (model != NULL && inv.roots.key.scheme != NULL &&
            json_object_set_new(model, "key_encoder", json_string(inv.roots.key.prefix)) != 0) {
            json_decref(model);
            model = NULL;
        }
    } else {
        char reason[MO_MESSAGE_SIZE];
        mo_message_copy(reason);
        model = json_pack("{s:o}", "unknown", mo_json_bytes(reason));
    }
    if (model == NULL || json_object_update(out, model) != 0)
        status = mo_fail(MOCO_ERR_MEMORY, "no memory for a description");
cleanup:
    json_decref(model);
    mo_inventory_close(&inv);
    return status;
}

static moco_status_t describe_tensors(const char *path, json_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_tensor_file_t file = {0};
    json_t *made = NULL;
    TRY(mo_tensor_file_open(&file, path));
    const char *kind = mo_is_ours(&file) ? mo_tensor_file_text(&file, "kind") : NULL;
    made = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "container", mo_container_name(file.container), "tensors",
                     (json_int_t)file.count, "numbers", numbers(&file), "kind",
                     mo_is_ours(&file) ? text(&file, "kind") : json_null(), "epoch", text(&file, "epoch"), "arch",
                     text(&file, "arch"));
    if (made == NULL)
        TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a description"));
    if (!mo_is_ours(&file))
        TRY(describe_foreign(&file, path, made));
    if (kind != NULL && strcmp(kind, "classifier") == 0)
        TRY(mo_classifier_describe(&file, path, made));
    *out = made;
    made = NULL;
cleanup:
    json_decref(made);
    mo_tensor_file_close(&file);
    return status;
}

/* *out stays NULL where it is none. */
static moco_status_t describe_npy(const char *path, json_t **out)
{
    moco_status_t status = MOCO_OK;
    mo_source_t *file = NULL;
    uint8_t head[8] = {0};
    int64_t rows, dimension;
    TRY(mo_source_open(path, &file));
    const uint64_t size = mo_source_size(file), read = size < sizeof head ? size : sizeof head;
    TRY(mo_source_read(file, 0, read, head));
    if (!mo_npy_begins(head, read))
        goto cleanup;
    TRY(mo_npy_shape(file, &rows, &dimension));
    *out =
        json_pack("{s:s, s:I, s:I}", "container", "npy", "rows", (json_int_t)rows, "dimension", (json_int_t)dimension);
    if (*out == NULL)
        TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a description"));
cleanup:
    mo_source_close(file);
    return status;
}

moco_status_t mo_file_describe(const char *path, json_t **out)
{
    const moco_status_t status = describe_npy(path, out);
    return status == MOCO_OK && *out == NULL ? describe_tensors(path, out) : status;
}
