/* Files of torch.save as tensor files: the zip container (PyTorch 1.6 and later) and the older
 * sequence of pickles; and the plain pickle of a dictionary of NumPy arrays. */
#ifndef MO_PERSIST_TORCH_FILE_H
#define MO_PERSIST_TORCH_FILE_H

#include "persist/pickle.h"

moco_status_t mo_torch_zip_parse(mo_tensor_file_t *file, const uint8_t *bytes, uint64_t size, const char *path);
/* The older sequence, or a plain pickle. */
moco_status_t mo_torch_legacy_parse(mo_tensor_file_t *file, const uint8_t *bytes, uint64_t size, const char *path);

/* The object of a pickle as named tensors and texts (torch_names.c), which take over what the pickle
 * has decoded. `locate` finds the bytes of a
 * whole storage, which hold storage->count numbers. */
typedef moco_status_t (*mo_locate_fn)(void *ctx, const mo_pickle_storage_t *storage, const uint8_t **bytes);
moco_status_t mo_torch_names(mo_tensor_file_t *file, mo_pickle_t *pickle, mo_locate_fn locate, void *ctx);

#endif
