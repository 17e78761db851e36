/* Pieces of reading what an encoder is from the shapes of its tensors: ResNet (inventory_spec.c),
 * ViT (inventory_vit.c), heads (inventory_head.c). */
#ifndef MO_PERSIST_INVENTORY_SPEC_H
#define MO_PERSIST_INVENTORY_SPEC_H

#include "persist/inventory.h"

/* A tensor's sizes; a rank of -1 if there is none. */
typedef struct mo_sizes {
    int32_t rank;
    int64_t dims[MO_FILE_DIMS];
} mo_sizes_t;
mo_sizes_t mo_inventory_sizes(const mo_inventory_t *inventory, const mo_root_t *root, const char *ours);

moco_status_t mo_inventory_vit(mo_inventory_t *inventory, const mo_root_t *root, mo_encoder_spec_t *spec);
/* head, head_width, head_layers and dimension of the layers called `name`, which follow `features`
 * numbers. A classifier, or a head of another form, is noted and left out. */
moco_status_t mo_inventory_head(mo_inventory_t *inventory, const mo_root_t *root, const char *name, int64_t features,
                                mo_encoder_spec_t *spec);

#endif
