/* The tables of names, and the one function that applies a row. */
#include "persist/layout.h"

#include <stdio.h>
#include <string.h>

static const mo_scheme_t schemes[] = {
    /* ResNets; timm names them alike */
    {.name = "torchvision", .markers = {"conv1.weight"}},
    /* timm's and DeiT's ViTs (patch_embed.proj is one convolution, or a stem of several) */
    {.name = "timm", .vit = 1, .markers = {"patch_embed.proj.weight", "patch_embed.proj.0.weight"}},
    /* the CIFAR-10 demonstration puts the layers into one list; 2, 7 and 8 have no parameters */
    {.name = "cifar-demo",
     .markers = {"net.0.weight"},
     .first = {{"net.0.", "conv1."},
               {"net.1.", "bn1."},
               {"net.3.", "layer1."},
               {"net.4.", "layer2."},
               {"net.5.", "layer3."},
               {"net.6.", "layer4."},
               {"net.9.", "fc."}}},
    {.name = "detectron2",
     .markers = {"stem.conv1.weight"},
     .inner = {{"conv1.norm", "bn1"},
               {"conv2.norm", "bn2"},
               {"conv3.norm", "bn3"},
               {"shortcut.norm", "downsample.1"},
               {"shortcut", "downsample.0"}},
     .first = {{"res2.", "layer1."}, {"res3.", "layer2."}, {"res4.", "layer3."}, {"res5.", "layer4."}, {"stem.", ""}}},
};
#define SCHEMES ((int32_t)(sizeof schemes / sizeof schemes[0]))

/* A saved object may hold the state dictionary itself, or under a key; a parallel wrapper adds its
 * own part. */
const char *const mo_layout_nests[] = {"", "state_dict.", "model.", "teacher.", NULL};
const char *const mo_layout_wraps[] = {"", "module.", NULL};

static const mo_role_t roles[] = {
    {"moco", "encoder_q.", "encoder_k.", NULL},
    {"moco-v3", "base_encoder.", "momentum_encoder.", "predictor."},
    {"backbone", "backbone.", NULL, NULL},
    {"plain", "", NULL, NULL},
};

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
