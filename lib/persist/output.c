/* Outputs; see output.h. Called before the work that the output is of. */
#include "persist/output.h"

#include <stdint.h>
#include <string.h>

#include "util/file.h"
#include "util/file_kind.h"
#include "util/source.h"
#include "util/status.h"

static int is_safetensors(const uint8_t *first, uint64_t size)
{
    uint64_t length;
    memcpy(&length, first, sizeof length);
    return size > 8 && first[8] == '{' && length <= 100000000;
}

static int is_npy(const uint8_t *first, uint64_t size)
{
    return size >= 6 && memcmp(first, "\x93NUMPY", 6) == 0;
}

static const struct {
    const char *name;
    int (*is)(const uint8_t *first, uint64_t size);
} kinds[] = {[MO_OUTPUT_SAFETENSORS] = {"safetensors", is_safetensors}, [MO_OUTPUT_NPY] = {".npy", is_npy}};

moco_status_t mo_output_check(const char *path, mo_output_t kind)
{
    moco_status_t status = MOCO_OK;
    mo_source_t *file = NULL;
    uint8_t first[MO_FILE_KIND_BYTES] = {0};
    if (!mo_file_exists(path))
        return MOCO_OK;
    TRY(mo_source_open(path, &file));
    const uint64_t size = mo_source_size(file), seen = size < sizeof first ? size : sizeof first;
    TRY(mo_source_read(file, 0, seen, first));
    const mo_file_kind_t *found = mo_file_kind(first, seen);
    if (size > 0 && !kinds[kind].is(first, seen))
        status = mo_fail(MOCO_ERR_EXISTS, "%s: is there and is %s, which a %s file would replace: wanted another name",
                         path, found != NULL ? found->what : "a file of another kind", kinds[kind].name);
cleanup:
    mo_source_close(file);
    return status;
}
