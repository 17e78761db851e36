/* The two checksums in the metadata of safetensors files that this library writes. Files without
 * them are read too, and other readers see two texts more. */
#ifndef MO_PERSIST_SAFETENSORS_SUM_H
#define MO_PERSIST_SAFETENSORS_SUM_H

#include <stdint.h>
#include <moco/status.h>
#include "persist/tensor_file.h"

#define MO_DATA_SUM "data_xxh3"     /* XXH3 of all bytes after the header, 16 hexadecimal digits */
#define MO_HEADER_SUM "header_xxh3" /* of what the header says, see below                        */

/* The header's checksum is the sum, modulo 2^64, of the XXH3 of each entry: of a tensor its name,
 * NUL, dtype, NUL, then rank, dims, begin and end as int64; of a text its key, NUL, value, NUL. It
 * does not depend on the order of entries or on spaces, so a program that writes the same tensors
 * and texts again gets a file that is whole. The two checksums themselves are no entries. */
uint64_t mo_sum_of_tensor(const char *name, const char *dtype, int32_t rank, const int64_t *dims, uint64_t begin,
                          uint64_t end);
uint64_t mo_sum_of_text(const char *key, const char *value);

/* MOCO_ERR_FORMAT where the file's header is not what was written. `data`: the byte after it. */
moco_status_t mo_header_sum_check(const mo_tensor_file_t *file, uint64_t data, const char *path);
/* The same for all that follows the header, which this reads once. */
moco_status_t mo_data_sum_check(const mo_tensor_file_t *file, uint64_t data, const char *path);

#endif
