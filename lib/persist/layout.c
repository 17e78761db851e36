/* The tables of names, and the one function that applies a row. */
#include "persist/layout.h"

#include <stdio.h>
#include <string.h>

static const mo_scheme_t schemes[] = {
    /* the ResNets for CIFAR-10 that many programs copy: no layer `downsample`, but `shortcut` */
    {.name = "cifar-shortcut",
     .markers = {"layer2.0.shortcut.0.weight"},
     .inside = "layer1.0.",
     .inner = {{"shortcut.0", "downsample.0"}, {"shortcut.1", "downsample.1"}}},
    /* ResNets; timm names them alike */
    {.name = "torchvision", .markers = {"conv1.weight"}, .inside = "layer1.0."},
    /* timm's and DeiT's ViTs (patch_embed.proj is one convolution, or a stem of several) */
    {.name = "timm",
     .vit = 1,
     .markers = {"patch_embed.proj.weight", "patch_embed.proj.0.weight"},
     .inside = "blocks.0."},
    /* the CIFAR-10 demonstration puts the layers into one list; 2, 7 and 8 have no parameters */
    {.name = "cifar-demo",
     .markers = {"net.0.weight"},
     .inside = "net.3.0.",
     .first = {{"net.0.", "conv1."},
               {"net.1.", "bn1."},
               {"net.3.", "layer1."},
               {"net.4.", "layer2."},
               {"net.5.", "layer3."},
               {"net.6.", "layer4."},
               {"net.9.", "fc."}}},
    {.name = "detectron2",
     .markers = {"stem.conv1.weight"},
     .inside = "res2.0.",
     .inner = {{"conv1.norm", "bn1"},
               {"conv2.norm", "bn2"},
               {"conv3.norm", "bn3"},
               {"shortcut.norm", "downsample.1"},
               {"shortcut", "downsample.0"}},
     .first = {{"res2.", "layer1."}, {"res3.", "layer2."}, {"res4.", "layer3."}, {"res5.", "layer4."}, {"stem.", ""}}},
};
#define SCHEMES ((int32_t)(sizeof schemes / sizeof schemes[0]))

static const mo_role_t roles[] = {
    {"moco", "encoder_q.", "encoder_k.", NULL},
    {"moco-v3", "base_encoder.", "momentum_encoder.", "predictor."},
    {"backbone", "backbone.", NULL, NULL},
    {"plain", "", NULL, NULL},
};

/* First parts of our names that give features, in the networks of these families: ours, and those
 * of their relatives. '#' stands for digits, '*' for any end. */
static const char *const inner_parts[] = {
    /* ResNets: stems of several convolutions, blurred pooling, pooling by attention */
    "conv#", "bn#", "norm#", "gn#", "layer#", "stem", "res#", "maxpool", "attnpool", "global_pool",
    /* ViTs: tokens of other kinds, positions of other kinds, norms in other places, scales */
    "cls_token", "pos_embed*", "patch_embed*", "blocks", "norm", "norm_pre", "pre_norm", "fc_norm", "patch_norm",
    "ln_pre", "ln_post", "reg_token*", "register_token*", "storage_token*", "dist_token", "prompt*", "attn_pool*",
    "rel_pos*", "relative_position*", "rope*", "rotary*", "time_embed*", "temporal*"};

const mo_scheme_t *mo_schemes(int32_t *count)
{
    *count = SCHEMES;
    return schemes;
}

const mo_role_t *mo_roles(int32_t *count)
{
    *count = (int32_t)(sizeof roles / sizeof roles[0]);
    return roles;
}

const mo_role_t *mo_role_of_query(const char *prefix)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(roles[i].query, prefix) == 0)
            return &roles[i];
    return NULL;
}

int mo_stands_apart(const char *ours)
{
    return strncmp(ours, "predictor.", 10) == 0;
}

const mo_scheme_t *mo_scheme_find(const char *name)
{
    for (int32_t i = 0; i < SCHEMES; i++)
        if (strcmp(schemes[i].name, name) == 0)
            return &schemes[i];
    return NULL;
}

/* Where `part` stands between dots or ends in `name`; NULL if nowhere. */
static const char *find_part(const char *name, const char *part)
{
    const size_t length = strlen(part);
    for (const char *at = name; (at = strstr(at, part)) != NULL; at++)
        if ((at == name || at[-1] == '.') && (at[length] == '.' || at[length] == '\0'))
            return at;
    return NULL;
}

void mo_scheme_theirs(const mo_scheme_t *scheme, const char *ours, char theirs[MO_LAYOUT_NAME])
{
    char name[MO_LAYOUT_NAME];
    const char *at = NULL;
    const mo_rename_t *row = scheme->inner;
    while (row->theirs != NULL && (at = find_part(ours, row->ours)) == NULL)
        row++;
    if (at != NULL)
        snprintf(name, sizeof name, "%.*s%s%s", (int)(at - ours), ours, row->theirs, at + strlen(row->ours));
    else
        snprintf(name, sizeof name, "%s", ours);
    row = scheme->first;
    while (row->theirs != NULL && strncmp(name, row->ours, strlen(row->ours)) != 0)
        row++;
    if (row->theirs != NULL)
        snprintf(theirs, MO_LAYOUT_NAME, "%s%s", row->theirs, name + strlen(row->ours));
    else
        snprintf(theirs, MO_LAYOUT_NAME, "%s", name);
}

/* ---- what belongs to an encoder ---- */

/* `length` bytes of a name against a pattern of inner_parts. */
static int matches(const char *pattern, const char *part, size_t length)
{
    const size_t stem = strcspn(pattern, "#*");
    if (length < stem || strncmp(pattern, part, stem) != 0)
        return 0;
    if (pattern[stem] == '*')
        return 1;
    return pattern[stem] == '#' ? length > stem && strspn(part + stem, "0123456789") == length - stem : length == stem;
}

/* Of bookkeeping: batches that a norm has counted, operations that a profiler has. */
static int is_counter(const char *name)
{
    static const char *const ends[] = {"num_batches_tracked", "total_ops", "total_params"};
    const char *last = strrchr(name, '.');
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (strcmp(last != NULL ? last + 1 : name, ends[i]) == 0)
            return 1;
    return 0;
}

int mo_scheme_is_inside(const mo_scheme_t *scheme, const char *theirs)
{
    const mo_rename_t *row = scheme->first;
    char ours[MO_LAYOUT_NAME];
    if (is_counter(theirs))
        return 0;
    while (row->theirs != NULL && strncmp(theirs, row->theirs, strlen(row->theirs)) != 0)
        row++;
    snprintf(ours, sizeof ours, "%s%s", row->theirs != NULL ? row->ours : "",
             theirs + (row->theirs != NULL ? strlen(row->theirs) : 0));
    for (size_t i = 0; i < sizeof inner_parts / sizeof inner_parts[0]; i++)
        if (matches(inner_parts[i], ours, strcspn(ours, ".")))
            return 1;
    return 0;
}
