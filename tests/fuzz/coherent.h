/* Whether what a reader of tensors has accepted holds together: every number that sizes and strides
 * reach lies inside the file. Used by the tests on damaged files and by the fuzz targets. */
#ifndef TESTS_FUZZ_COHERENT_H
#define TESTS_FUZZ_COHERENT_H

#include <stddef.h>

#include "persist/tensor_file.h"

/* NULL, or what is wrong; `size` is the file's. What a file holds in another form (numbers inside
 * of a pickle) has a source of its own, and an expanded tensor has fewer numbers than its sizes
 * say. Reads small tensors as a caller would. */
static inline const char *incoherent(const mo_tensor_file_t *file, uint64_t size)
{
    for (int64_t i = 0; i < file->count; i++) {
        const mo_file_tensor_t *t = &file->tensors[i];
        const uint64_t each = mo_dtype_bytes(t->dtype),
                       held = t->source == file->source ? size : mo_source_size(t->source);
        int64_t count = 1, reach = 0, whole[64];
        float values[64];
        if (mo_tensor_file_find(file, t->name) != t)
            return "a tensor is not found by its name";
        for (int32_t d = 0; d < t->rank; d++) {
            count *= t->dims[d];
            reach += (t->dims[d] - 1) * t->strides[d];
        }
        if (each > 0 && t->bytes != (uint64_t)count * each)
            return "sizes do not multiply to the bytes";
        if (count == 0)
            continue;
        if (t->at > held || mo_file_stored(t) * each > held || t->at + (uint64_t)(reach + 1) * each > held)
            return "numbers outside of the file";
        if (count <= 64) {
            mo_file_floats(t, values, count);
            mo_file_ints(t, whole, count);
        }
    }
    for (int64_t i = 0; i < file->text_count; i++)
        if (file->texts[i].key == NULL || file->texts[i].value == NULL)
            return "a text without key or value";
    return NULL;
}

#endif
