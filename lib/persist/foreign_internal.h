/* Pieces of reading what an encoder is: ResNet (foreign_spec.c), ViT (foreign_vit.c), heads (foreign_head.c). */
#ifndef MO_PERSIST_FOREIGN_INTERNAL_H
#define MO_PERSIST_FOREIGN_INTERNAL_H

#include "persist/foreign.h"

/* A tensor's sizes; a rank of -1 if there is none. */
typedef struct mo_sizes {
    int32_t rank;
    int64_t dims[MO_FILE_DIMS];
} mo_sizes_t;
mo_sizes_t mo_foreign_sizes(const mo_foreign_t *foreign, const mo_root_t *root, const char *ours);

moco_status_t mo_foreign_vit(mo_foreign_t *foreign, const mo_root_t *root, mo_encoder_spec_t *spec);
/* head, head_width, head_layers and dimension of the layers called `name`, which follow `features` numbers. A
 * classifier, or a head of another form, is noted and left out. */
moco_status_t mo_foreign_head(mo_foreign_t *foreign, const mo_root_t *root, const char *name, int64_t features,
                              mo_encoder_spec_t *spec);

#endif
