/* The inventory of a file of tensors, ours or another program's: which encoders it holds and where
 * (by the tables of layout.h), what they are made of (by the shapes), their numbers, and what was
 * taken, ignored and missing. */
#ifndef MO_PERSIST_INVENTORY_H
#define MO_PERSIST_INVENTORY_H

#include <jansson.h>
#include "nets/encoder.h"
#include "persist/checkpoint.h"
#include "persist/layout.h"
#include "persist/roots.h"

typedef struct mo_inventory {
    const mo_tensor_file_t *file;
    const char *path; /* for messages */
    mo_roots_t roots;
    uint8_t *taken;          /* [file->count] */
    int32_t vit_heads;       /* of a ViT, as the caller says, set after opening; 0 = the file's, or as is usual */
    int32_t guessed_heads;   /* of a ViT of which nothing in the file says them, else 0 */
    json_t *missing, *notes; /* lists of texts */
} mo_inventory_t;

/* Borrows file and path. Finds the encoders, `prefix` as in roots.h; that there is none is no error
 * yet. */
moco_status_t mo_inventory_open(mo_inventory_t *inventory, const mo_tensor_file_t *file, const char *path,
                                const char *prefix);
/* The same of a file whose encoders' places are known; borrows the role, too. */
moco_status_t mo_inventory_open_at(mo_inventory_t *inventory, const mo_tensor_file_t *file, const char *path,
                                   const mo_role_t *role);
void mo_inventory_close(mo_inventory_t *inventory); /* safe on a zeroed struct */

/* What the encoder at `root` is, from its shapes. image_size is what its stem was published with (a
 * ViT's: what its position embedding was made for). MOCO_ERR_FORMAT without an encoder,
 * MOCO_ERR_MISMATCH if there are several and none is meant, MOCO_ERR_UNSUPPORTED for another
 * kind. */
moco_status_t mo_inventory_spec(mo_inventory_t *inventory, const mo_root_t *root, mo_encoder_spec_t *spec);
/* That every tensor of the net is there with its sizes, before memory is taken for it
 * (MOCO_ERR_SHAPE), that a file is not much smaller than them (mo_file_repeats), and that the
 * encoder has no layer besides (as mo_inventory_strange). */
moco_status_t mo_inventory_check(const mo_inventory_t *inventory, const mo_root_t *root, const mo_net_t *net);
/* MOCO_ERR_UNSUPPORTED names a tensor inside the encoder that the net does not have: without its
 * layer the features would be others. */
moco_status_t mo_inventory_strange(const mo_inventory_t *inventory, const mo_root_t *root, const mo_net_t *net);
/* Their numbers; *batches = how many batches the first batch norm has counted, 0 if it did not
 * count. */
moco_status_t mo_inventory_encoder(mo_inventory_t *inventory, const mo_root_t *root, const mo_net_t *net, float *params,
                                   float *running, int64_t *batches);
/* Counts what the net has of `root` as taken, for the report on an encoder whose numbers were read
 * in another way or not at all; *batches as above. */
moco_status_t mo_inventory_mark(mo_inventory_t *inventory, const mo_root_t *root, const mo_net_t *net,
                                int64_t *batches);

/* By its name in the file, or by our name at a root; NULL if absent. */
const mo_file_tensor_t *mo_inventory_find(const mo_inventory_t *inventory, const mo_root_t *root, const char *ours);
void mo_inventory_take(mo_inventory_t *inventory, const mo_file_tensor_t *tensor);
moco_status_t mo_inventory_missing(mo_inventory_t *inventory, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
moco_status_t mo_inventory_note(mo_inventory_t *inventory, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* container, layout, encoder (its prefix), epoch, arch as the file calls it, taken, ignored,
 * missing, notes. Also goes to the log, level INFO. */
moco_status_t mo_inventory_report(const mo_inventory_t *inventory, json_t **report);

#endif
