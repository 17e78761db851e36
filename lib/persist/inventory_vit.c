/* Which ViT an encoder in a file is. All but the number of attention heads is in the shapes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <moco/trainer.h>

#include "persist/inventory_spec.h"
#include "util/alloc.h"
#include "util/status.h"

enum { MAX_DEPTH = 1024, MAX_GRID = 256 };

static int has(const mo_inventory_t *inv, const mo_root_t *root, const char *ours)
{
    return mo_inventory_find(inv, root, ours) != NULL;
}

/* Patches and channels from the first layers, image size from the positions: [1, 1 + grid * grid,
 * D]. */
static moco_status_t find_patches(const mo_inventory_t *inv, const mo_root_t *root, int conv_stem,
                                  mo_encoder_spec_t *spec, int64_t *channels)
{
    const mo_sizes_t patch = mo_inventory_sizes(inv, root,
                                                conv_stem ? "patch_embed.proj.12.weight" : "patch_embed.proj.weight"),
                     places = mo_inventory_sizes(inv, root, "pos_embed");
    int64_t grid = 1;
    *channels = patch.rank == 4 ? patch.dims[0] : 0;
    if (patch.rank != 4 || patch.dims[2] != patch.dims[3] || patch.dims[2] < 1 || patch.dims[2] > 1024)
        return mo_fail(MOCO_ERR_UNSUPPORTED, "%s: the patch projection of '%s' is not [channels,3,patch,patch]",
                       inv->path, root->prefix);
    spec->patch_size = conv_stem ? 16 : (int32_t)patch.dims[2];
    while (places.rank == 3 && grid < MAX_GRID && 1 + grid * grid < places.dims[1])
        grid++;
    if (places.rank != 3 || places.dims[1] != 1 + grid * grid || grid * spec->patch_size > 1024)
        return mo_fail(
            MOCO_ERR_UNSUPPORTED,
            "%s: 'pos_embed' of '%s' is not for a class token and a square of patches of an image of at most "
            "1024 pixels",
            inv->path, root->prefix);
    spec->image_size = (int32_t)(grid * spec->patch_size);
    return MOCO_OK;
}

/* The published ViT with as many channels; else a small or base one scaled to them. */
static void find_arch(int conv_stem, int64_t channels, mo_encoder_spec_t *spec)
{
    static const struct {
        int64_t channels;
        int32_t arch, conv_arch;
    } rows[] = {{384, MOCO_ARCH_VIT_SMALL, MOCO_ARCH_VIT_CONV_SMALL},
                {768, MOCO_ARCH_VIT_BASE, MOCO_ARCH_VIT_CONV_BASE},
                {1024, MOCO_ARCH_VIT_LARGE, -1},
                {1280, MOCO_ARCH_VIT_HUGE, -1}};
    spec->arch = conv_stem ? MOCO_ARCH_VIT_CONV_SMALL : MOCO_ARCH_VIT_SMALL;
    spec->width = (double)channels / 384;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int32_t arch = conv_stem ? rows[i].conv_arch : rows[i].arch;
        if (rows[i].channels == channels && arch >= 0) {
            spec->arch = arch;
            spec->width = 1;
        }
    }
}

/* Whether the positions are the fixed ones of MoCo v3's ViTs, as precise as half-precision numbers
 * are: programs of other families learn them, or have others. */
static int has_fixed_positions(const mo_inventory_t *inv, const mo_root_t *root)
{
    const mo_file_tensor_t *t = mo_inventory_find(inv, root, "pos_embed");
    const int64_t count = t->dims[1] * t->dims[2]; /* find_patches has looked at them */
    const size_t bytes = (size_t)count * 2 * sizeof(float);
    const mo_parameter_t fixed = {.rank = 3, .dims = {1, t->dims[1], t->dims[2]}, .count = count};
    float *values = NULL;
    int64_t same = 0;
    if (t->dims[2] % 4 != 0 || mo_file_stored(t) < (uint64_t)count || mo_block_create(bytes, &values) != MOCO_OK)
        return 0;
    if (mo_file_floats(t, values, count) == MOCO_OK) {
        mo_init_positions(&fixed, values + count);
        while (same < count && fabsf(values[same] - values[count + same]) <= 4e-3f)
            same++;
    }
    mo_block_free(values, bytes);
    return same == count;
}

/* Heads are in no shape. The caller may say them, and files of this library do. MoCo v3's ViTs have
 * the published number; a plain file is one of them if its positions are. Other programs' ViTs have
 * 64 channels a head, but for the largest, which has 80 everywhere; that, and v3's number in a ViT
 * of other channels than published, is a guess. */
static moco_status_t choose_heads(mo_inventory_t *inv, const mo_root_t *root, int64_t channels, mo_encoder_spec_t *spec)
{
    const char *text = mo_tensor_file_text(inv->file, "vit_heads");
    const long told = text != NULL ? strtol(text, NULL, 10) : 0;
    if (inv->vit_heads > 0) {
        spec->heads = inv->vit_heads;
        return channels % inv->vit_heads == 0
                   ? MOCO_OK
                   : mo_fail(MOCO_ERR_ARGUMENT, "%s: vit_heads is %d, wanted a divisor of the ViT's %lld channels",
                             inv->path, inv->vit_heads, (long long)channels);
    }
    if (told >= 1 && told <= MAX_DEPTH) {
        spec->heads = (int32_t)told;
        return MOCO_OK;
    }
    const int published = spec->width == 1 && mo_vit_form(spec).channels == channels;
    const int fixed = published && has_fixed_positions(inv, root);
    const int plain = inv->roots.role->key == NULL && !fixed && channels % 64 == 0 && spec->arch != MOCO_ARCH_VIT_HUGE;
    spec->heads = plain ? (int32_t)(channels / 64) : mo_vit_form(spec).heads;
    if (!fixed && !(published && inv->roots.role->predictor != NULL))
        inv->guessed_heads = spec->heads;
    return mo_inventory_note(inv, "attention heads are in no shape: %d taken%s", spec->heads,
                             fixed && inv->roots.role->predictor == NULL ? ", as MoCo v3's positions have them" : "");
}

moco_status_t mo_inventory_vit(mo_inventory_t *inv, const mo_root_t *root, mo_encoder_spec_t *spec)
{
    moco_status_t status = MOCO_OK;
    const int conv_stem = has(inv, root, "patch_embed.proj.0.weight");
    int64_t channels = 0;
    char name[48];
    TRY(find_patches(inv, root, conv_stem, spec, &channels));
    find_arch(conv_stem, channels, spec);
    for (spec->depth = 0; spec->depth < MAX_DEPTH; spec->depth++) {
        snprintf(name, sizeof name, "blocks.%d.norm1.weight", (int)spec->depth);
        if (!has(inv, root, name))
            break;
    }
    spec->vit_norm = has(inv, root, "blocks.0.norm2.running_mean") ? MOCO_VIT_NORM_BATCH : MOCO_VIT_NORM_LAYER;
    TRY(choose_heads(inv, root, channels, spec));
    if (spec->depth < 1 || spec->width < 0.0625 || spec->width > 8 || mo_vit_check(spec) != MOCO_OK ||
        mo_vit_form(spec).channels != channels)
        TRY(mo_fail(MOCO_ERR_UNSUPPORTED,
                    "%s: a ViT of %d blocks, %lld channels, %d heads and patches of %d pixels is not "
                    "one that this version has",
                    inv->path, spec->depth, (long long)channels, spec->heads, spec->patch_size));
    TRY(mo_inventory_head(inv, root, "head", channels, spec));
cleanup:
    return status;
}
