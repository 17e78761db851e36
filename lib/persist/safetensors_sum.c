/* Checksums of safetensors files; see safetensors_sum.h. Called by their reader and writer. */
#include "persist/safetensors_sum.h"

#include <string.h>

#include "util/alloc.h"
#include "util/checksum.h"
#include "util/status.h"

#define PART ((uint64_t)1 << 18) /* bytes that stay in a cache between being read and being added */

static void add_text(mo_checksum_t *sum, const char *text)
{
    mo_checksum_add(sum, text, strlen(text) + 1);
}

uint64_t mo_sum_of_tensor(const char *name, const char *dtype, int32_t rank, const int64_t *dims, uint64_t begin,
                          uint64_t end)
{
    mo_checksum_t sum;
    const uint64_t numbers[3] = {(uint64_t)rank, begin, end};
    mo_checksum_start(&sum);
    add_text(&sum, name);
    add_text(&sum, dtype);
    mo_checksum_add(&sum, &numbers[0], sizeof numbers[0]);
    mo_checksum_add(&sum, dims, (uint64_t)rank * sizeof *dims);
    mo_checksum_add(&sum, &numbers[1], 2 * sizeof numbers[1]);
    return mo_checksum_value(&sum);
}

uint64_t mo_sum_of_text(const char *key, const char *value)
{
    mo_checksum_t sum;
    mo_checksum_start(&sum);
    add_text(&sum, key);
    add_text(&sum, value);
    return mo_checksum_value(&sum);
}

static int is_sum(const char *key)
{
    return strcmp(key, MO_DATA_SUM) == 0 || strcmp(key, MO_HEADER_SUM) == 0;
}

/* `part`: "names, shapes and texts" or "numbers". Damage and the work of another program look
 * alike. */
static moco_status_t compare(const char *path, const char *key, const char *written, uint64_t found, const char *part)
{
    char text[MO_CHECKSUM_TEXT];
    mo_checksum_text(found, text);
    if (written != NULL && strcmp(written, text) == 0)
        return MOCO_OK;
    return mo_fail(MOCO_ERR_FORMAT,
                   "%s: its %s are not those that were saved: their checksum is %s, metadata '%s' says %s. Either the "
                   "file is damaged: wanted another copy of it; or a program changed it and kept its checksums: save "
                   "it there again without the metadata '" MO_DATA_SUM "' and '" MO_HEADER_SUM "'",
                   path, part, text, key, written != NULL ? mo_show(written).text : "nothing");
}

moco_status_t mo_header_sum_check(const mo_tensor_file_t *file, uint64_t data, const char *path)
{
    uint64_t sum = 0;
    const char *written = mo_tensor_file_text(file, MO_HEADER_SUM);
    if (written == NULL && mo_tensor_file_text(file, MO_DATA_SUM) == NULL)
        return MOCO_OK;
    for (int64_t i = 0; i < file->count; i++) {
        const mo_file_tensor_t *t = &file->tensors[i];
        sum += mo_sum_of_tensor(t->name, t->dtype_name, t->rank, t->dims, t->at - data, t->at - data + t->bytes);
    }
    for (int64_t i = 0; i < file->text_count; i++)
        if (!is_sum(file->texts[i].key))
            sum += mo_sum_of_text(file->texts[i].key, file->texts[i].value);
    return compare(path, MO_HEADER_SUM, written, sum, "names, shapes and texts");
}

moco_status_t mo_data_sum_check(const mo_tensor_file_t *file, uint64_t data, const char *path)
{
    moco_status_t status = MOCO_OK;
    const char *written = mo_tensor_file_text(file, MO_DATA_SUM);
    const uint64_t size = mo_source_size(file->source);
    uint8_t *part = NULL;
    mo_checksum_t sum;
    if (written == NULL && mo_tensor_file_text(file, MO_HEADER_SUM) == NULL)
        return MOCO_OK;
    TRY(mo_calloc(PART, 1, &part));
    mo_checksum_start(&sum);
    for (uint64_t at = data; at < size; at += PART) {
        const uint64_t now = size - at < PART ? size - at : PART;
        TRY(mo_source_read(file->source, at, now, part));
        mo_checksum_add(&sum, part, now);
    }
    TRY(mo_source_check(file->source));
    TRY(compare(path, MO_DATA_SUM, written, mo_checksum_value(&sum), "numbers"));
cleanup:
    mo_free(part);
    return status;
}
