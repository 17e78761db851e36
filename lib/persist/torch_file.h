/* Files of torch.save as tensor files: the zip container (PyTorch 1.6 and later) and the older
 * sequence of pickles; and the plain pickle of a dictionary of NumPy arrays. */
#ifndef MO_PERSIST_TORCH_FILE_H
#define MO_PERSIST_TORCH_FILE_H

#include "persist/pickle.h"

/* Tensors and texts of a source; the caller makes the file its owner. */
moco_status_t mo_torch_zip_parse(mo_tensor_file_t *file, const mo_source_t *source);
/* The older sequence, or a plain pickle. */
moco_status_t mo_torch_legacy_parse(mo_tensor_file_t *file, const mo_source_t *source);

/* The object of a pickle as named tensors and texts (torch_names.c). `locate` finds where in the
 * source a whole storage is, with its storage->count numbers; an array's lie in the pickle, which
 * begins at the source's byte pickle->at, or in what it has decoded, which the file takes over. */
typedef struct mo_torch_place {
    uint64_t at, size; /* bytes */
    uint32_t crc;      /* CRC-32 of them all; 0 = not known */
} mo_torch_place_t;
typedef moco_status_t (*mo_locate_fn)(void *ctx, const mo_pickle_storage_t *storage, mo_torch_place_t *place);
moco_status_t mo_torch_names(mo_tensor_file_t *file, mo_pickle_t *pickle, const mo_source_t *source,
                             mo_locate_fn locate, void *ctx);

#endif
