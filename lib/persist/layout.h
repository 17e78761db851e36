/* Where files keep encoders and what they call their tensors, as tables. Our own names are
 * torchvision's for ResNets and timm's for ViTs ("layer1.0.conv1.weight",
 * "blocks.0.attn.qkv.weight"). */
#ifndef MO_PERSIST_LAYOUT_H
#define MO_PERSIST_LAYOUT_H

#include <stdint.h>

#define MO_LAYOUT_NAME 640 /* bytes of a tensor's name, its end included */

typedef struct mo_rename {
    const char *theirs, *ours;
} mo_rename_t;

typedef struct mo_scheme {
    const char *name;
    int vit;                /* names ViTs, and ResNets as torchvision does; 0: ResNets alone */
    const char *markers[3]; /* their names of tensors that every such encoder has one of */
    const char *inside;     /* what some of its other names begin with */
    mo_rename_t inner[8];   /* whole parts between dots: the first row that fits */
    mo_rename_t first[8];   /* the beginning of a name: the first row that fits; after `inner` */
} mo_scheme_t;

/* By name; NULL if there is none. "torchvision" and "timm" leave every name as it is. */
const mo_scheme_t *mo_scheme_find(const char *name);
const mo_scheme_t *mo_schemes(int32_t *count);
/* Cut to the buffer's size where it would not fit; no network has such names. */
void mo_scheme_theirs(const mo_scheme_t *scheme, const char *ours, char theirs[MO_LAYOUT_NAME]);

/* Whether a tensor of this name, theirs, belongs to what gives an encoder's features: one that no
 * layer takes is then a layer that the network does not have. Heads, decoders, mask tokens and
 * counters do not belong to it. */
int mo_scheme_is_inside(const mo_scheme_t *scheme, const char *theirs);

/* What programs call an encoder: the last part of the names before it, such as "encoder_q." */
typedef struct mo_role {
    const char *layout;                  /* name of the method or program */
    const char *query, *key, *predictor; /* NULL: there is none */
} mo_role_t;
const mo_role_t *mo_roles(int32_t *count);
/* The layout whose query encoder stands under this prefix; NULL if there is none. */
const mo_role_t *mo_role_of_query(const char *prefix);
/* Whether a tensor stands beside its encoder in files, not in it: a predictor's. */
int mo_stands_apart(const char *ours);

#endif
