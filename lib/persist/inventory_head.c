/* Which projection head an encoder in a file has. */
#include <stdio.h>
#include <string.h>

#include <moco/trainer.h>

#include "persist/inventory_spec.h"
#include "util/status.h"

enum { CLASSES = 1000, MAX_LAYERS = 3, MAX_WIDTH = 65536 };

typedef struct head {
    const mo_inventory_t *inv;
    const mo_root_t *root;
    const char *name;
} head_t;

/* "fc.3" + ".weight"; part -1: "fc.weight". */
static mo_sizes_t sizes(const head_t *h, int part, const char *what)
{
    char full[64];
    if (part < 0)
        snprintf(full, sizeof full, "%s.%s", h->name, what);
    else
        snprintf(full, sizeof full, "%s.%d.%s", h->name, part, what);
    return mo_inventory_sizes(h->inv, h->root, full);
}

static int has(const head_t *h, int part, const char *what)
{
    return sizes(h, part, what).rank >= 0;
}

/* [outputs,inputs] of linear layer `part` if it follows `inputs` numbers; 0 outputs if it does
 * not. */
static int32_t outputs_of(const head_t *h, int part, int64_t inputs)
{
    const mo_sizes_t s = sizes(h, part, "weight");
    return s.rank == 2 && s.dims[1] == inputs && s.dims[0] >= 1 && s.dims[0] <= MAX_WIDTH ? (int32_t)s.dims[0] : 0;
}

/* Whether the head has `count` tensors and no other: one with a layer more is another head. */
static int has_only(const head_t *h, int64_t count)
{
    char ours[64], start[MO_LAYOUT_NAME + MO_PREFIX];
    int64_t found = 0;
    snprintf(ours, sizeof ours, "%s.", h->name);
    mo_scheme_theirs(h->root->scheme, ours, start + snprintf(start, MO_PREFIX, "%s", h->root->prefix));
    for (int64_t i = 0; i < h->inv->file->count; i++) {
        const char *name = h->inv->file->tensors[i].name, *last = strrchr(name, '.');
        found += strncmp(name, start, strlen(start)) == 0 && strcmp(last, ".num_batches_tracked") != 0;
    }
    return found <= count; /* of what is missing the error is its own */
}

/* v2's: linear, ReLU, linear, both with bias. */
static int read_mlp(const head_t *h, int64_t features, mo_encoder_spec_t *spec)
{
    if (!has(h, 0, "bias") || !has(h, 2, "bias") || has(h, 1, "running_mean"))
        return 0;
    int32_t hidden = outputs_of(h, 0, features);
    spec->head = MOCO_HEAD_MLP;
    spec->head_width = hidden == features ? 0 : hidden;
    spec->dimension = outputs_of(h, 2, hidden);
    return hidden > 0 && spec->dimension > 0 && has_only(h, 4);
}

/* v3's, SimCLR's and BYOL's: linear layers without bias, each followed by batch norm; the last
 * one's has no scale and shift (v3), a scale alone (SimCLR), or is not there (BYOL). */
static int read_normed(const head_t *h, int64_t features, mo_encoder_spec_t *spec)
{
    int layers = 0;
    int64_t inputs = features;
    int32_t hidden = 0, outputs = 0;
    while (layers < MAX_LAYERS && has(h, 3 * layers, "weight") && !has(h, 3 * layers, "bias") &&
           has(h, 3 * layers + 1, "running_mean")) {
        outputs = outputs_of(h, 3 * layers, inputs);
        if (outputs == 0 || (layers > 0 && inputs != hidden))
            return 0;
        hidden = layers == 0 ? outputs : hidden;
        inputs = outputs;
        layers++;
    }
    const int last = 3 * layers - 2, more = has(h, 3 * layers, "weight");
    if (layers < 1 || (more && (layers == MAX_LAYERS || has(h, 3 * layers, "bias"))) || (!more && has(h, last, "bias")))
        return 0;
    spec->head = more ? MOCO_HEAD_MLP_BYOL : has(h, last, "weight") ? MOCO_HEAD_MLP_SIMCLR : MOCO_HEAD_MLP_V3;
    spec->head_layers = layers + more;
    spec->head_width = spec->head_layers == 1 || hidden == features ? 0 : hidden;
    spec->dimension = more ? outputs_of(h, 3 * layers, inputs) : outputs;
    const int bare = more ? 0 : spec->head == MOCO_HEAD_MLP_SIMCLR ? 1 : 2; /* of the last norm: no shift, no scale */
    return spec->dimension > 0 && (!more || inputs == hidden) && has_only(h, 5 * layers + more - bare);
}

static int read_linear(const head_t *h, int64_t features, mo_encoder_spec_t *spec)
{
    spec->head = MOCO_HEAD_LINEAR;
    spec->dimension = outputs_of(h, -1, features);
    return has(h, -1, "bias") && spec->dimension > 0 && has_only(h, 2);
}

/* A linear layer without a method around it is a classifier, if it has as many outputs as ImageNet
 * has classes or if the file tells an accuracy. */
static int is_classifier(const mo_inventory_t *inv, int32_t outputs)
{
    return inv->roots.role->key == NULL && (outputs == CLASSES || mo_tensor_file_text(inv->file, "best_acc1") != NULL ||
                                            mo_tensor_file_find(inv->file, "best_acc1") != NULL);
}

moco_status_t mo_inventory_head(mo_inventory_t *inv, const mo_root_t *root, const char *name, int64_t features,
                                mo_encoder_spec_t *spec)
{
    const head_t h = {inv, root, name};
    const mo_encoder_spec_t none = *spec;
    if (read_linear(&h, features, spec)) {
        if (!is_classifier(inv, spec->dimension))
            return MOCO_OK;
        *spec = none;
        spec->head = -1;
        spec->dimension = 1;
        return mo_inventory_note(inv, "the linear layer of %lld outputs is a classifier: ignored",
                                 (long long)sizes(&h, -1, "weight").dims[0]);
    }
    *spec = none;
    if (read_mlp(&h, features, spec))
        return MOCO_OK;
    *spec = none;
    if (read_normed(&h, features, spec))
        return MOCO_OK;
    *spec = none;
    spec->head = -1;
    spec->dimension = 1;
    if (has(&h, -1, "weight") || has(&h, 0, "weight"))
        return mo_inventory_note(inv, "'%s%s' is no projection head of a known form: ignored", root->prefix, name);
    return mo_inventory_missing(inv, "a projection head");
}
