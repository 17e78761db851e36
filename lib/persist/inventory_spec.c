/* What an encoder is, read from the shapes of its tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <moco/trainer.h>

#include "persist/inventory_spec.h"
#include "util/status.h"

enum { MAX_BLOCKS = 64, BASE = 64 };

mo_sizes_t mo_inventory_sizes(const mo_inventory_t *inv, const mo_root_t *root, const char *ours)
{
    const mo_file_tensor_t *t = mo_inventory_find(inv, root, ours);
    mo_sizes_t s = {.rank = -1};
    if (t != NULL) {
        s.rank = t->rank;
        for (int32_t i = 0; i < t->rank; i++)
            s.dims[i] = t->dims[i];
    }
    return s;
}

static int has(const mo_inventory_t *inv, const mo_root_t *root, const char *ours)
{
    return mo_inventory_find(inv, root, ours) != NULL;
}

/* Numbers of a kind that nothing here reads, whether the networks have such a layer or not. */
static moco_status_t refuse_odd(const mo_inventory_t *inv, const mo_root_t *root)
{
    const size_t prefix = strlen(root->prefix);
    for (int64_t i = 0; i < inv->file->count; i++) {
        const mo_file_tensor_t *t = &inv->file->tensors[i];
        if (t->dtype == MO_DTYPE_OTHER && strncmp(t->name, root->prefix, prefix) == 0 &&
            mo_scheme_is_inside(root->scheme, t->name + prefix))
            return mo_fail(MOCO_ERR_FORMAT, "%s: tensor '%s' is %s, wanted F32, F16, BF16 or F64", inv->path,
                           mo_show(t->name).text, t->dtype_name);
    }
    return MOCO_OK;
}

/* ---- ResNet ---- */

static moco_status_t find_stem(const mo_inventory_t *inv, const mo_root_t *root, mo_encoder_spec_t *spec)
{
    const mo_sizes_t s = mo_inventory_sizes(inv, root, "conv1.weight");
    if (s.rank != 4 || s.dims[1] != 3 || s.dims[2] != s.dims[3] || (s.dims[2] != 7 && s.dims[2] != 3))
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "%s: the first convolution, '%s', is %s, wanted [channels,3,7,7] or [channels,3,3,3]", inv->path,
                       mo_show(mo_inventory_find(inv, root, "conv1.weight")->name).text,
                       mo_shape_text(s.rank, s.dims).text);
    spec->stem = s.dims[2] == 7 ? MOCO_STEM_IMAGENET : MOCO_STEM_CIFAR;
    spec->image_size = spec->stem == MOCO_STEM_IMAGENET ? 224 : 32;
    return MOCO_OK;
}

static moco_status_t find_blocks(const mo_inventory_t *inv, const mo_root_t *root, mo_encoder_spec_t *spec,
                                 int *bottleneck)
{
    int32_t found[4] = {0}, known[4];
    char name[64];
    *bottleneck = has(inv, root, "layer1.0.conv3.weight");
    for (int stage = 0; stage < 4; stage++)
        for (; found[stage] < MAX_BLOCKS; found[stage]++) {
            snprintf(name, sizeof name, "layer%d.%d.conv1.weight", stage + 1, (int)found[stage]);
            if (!has(inv, root, name))
                break;
        }
    for (spec->arch = 0; (mo_resnet_blocks(spec->arch, known)) >= 0; spec->arch++)
        if (mo_resnet_blocks(spec->arch, known) == *bottleneck && known[0] == found[0] && known[1] == found[1] &&
            known[2] == found[2] && known[3] == found[3])
            return MOCO_OK;
    return mo_fail(MOCO_ERR_UNSUPPORTED,
                   "%s: a ResNet with %d,%d,%d,%d %s blocks; ResNet-18, 34, 50, 101 and 152 are "
                   "known",
                   inv->path, found[0], found[1], found[2], found[3], *bottleneck ? "bottleneck" : "basic");
}

/* The multiplier that gives every stage its channels, which are rounded to multiples of 16: where
 * several do, that of the last stage, which is the least rounded. */
static moco_status_t find_width(const mo_inventory_t *inv, const mo_root_t *root, int bottleneck,
                                mo_encoder_spec_t *spec)
{
    int64_t planes[4];
    double low = 0, high = 1e6;
    char name[64];
    for (int stage = 0; stage < 4; stage++) {
        snprintf(name, sizeof name, "layer%d.0.conv1.weight", stage + 1);
        const mo_sizes_t s = mo_inventory_sizes(inv, root, name);
        planes[stage] = s.rank == 4 ? s.dims[0] : 0;
        double base = (double)BASE * (1 << stage), least = ((double)planes[stage] - 8) / base;
        low = planes[stage] > 16 && least > low ? least : low;
        high = fmin(high, ((double)planes[stage] + 8) / base);
    }
    spec->width = (double)planes[3] / (8.0 * BASE);
    if (!(spec->width >= low && spec->width < high))
        spec->width = (low + high) / 2;
    for (int stage = 0; stage < 4; stage++)
        if (spec->width < 0.0625 || spec->width > 8 || mo_scaled_channels(BASE << stage, spec->width) != planes[stage])
            return mo_fail(MOCO_ERR_UNSUPPORTED,
                           "%s: stages of %lld, %lld, %lld, %lld channels; wanted one width 0.0625 to 8 times 64, 128, "
                           "256, 512, in multiples of 16",
                           inv->path, (long long)planes[0], (long long)planes[1], (long long)planes[2],
                           (long long)planes[3]);
    const mo_sizes_t out = mo_inventory_sizes(inv, root, "layer1.0.conv3.weight");
    if (bottleneck && (out.rank != 4 || out.dims[0] != 4 * planes[0]))
        return mo_fail(MOCO_ERR_UNSUPPORTED,
                       "%s: bottlenecks of %lld channels give %lld, wanted four times as many "
                       "(torchvision's wide_resnet and resnext are other networks)",
                       inv->path, (long long)planes[0], (long long)(out.rank == 4 ? out.dims[0] : 0));
    return MOCO_OK;
}

static moco_status_t read_resnet(mo_inventory_t *inv, const mo_root_t *root, mo_encoder_spec_t *spec)
{
    moco_status_t status = MOCO_OK;
    int bottleneck = 0;
    TRY(find_stem(inv, root, spec));
    TRY(find_blocks(inv, root, spec, &bottleneck));
    TRY(find_width(inv, root, bottleneck, spec));
    TRY(mo_inventory_head(inv, root, "fc", (bottleneck ? 4 : 1) * mo_scaled_channels(8 * BASE, spec->width), spec));
cleanup:
    return status;
}

moco_status_t mo_inventory_spec(mo_inventory_t *inv, const mo_root_t *root, mo_encoder_spec_t *spec)
{
    *spec = (mo_encoder_spec_t){0};
    if (root->scheme == NULL && inv->roots.choice != NULL)
        return mo_fail(MOCO_ERR_MISMATCH, "%s: %s", inv->path, inv->roots.choice);
    if (root->scheme == NULL)
        return mo_fail(MOCO_ERR_FORMAT,
                       "%s: has no encoder of a known name, such as conv1.weight, encoder_q.conv1.weight or "
                       "module.base_encoder.conv1.weight; its first tensor is '%s'",
                       inv->path, inv->file->count > 0 ? mo_show(inv->file->tensors[0].name).text : "none");
    const moco_status_t status = refuse_odd(inv, root);
    if (status != MOCO_OK)
        return status;
    return has(inv, root, "conv1.weight") ? read_resnet(inv, root, spec) : mo_inventory_vit(inv, root, spec);
}
