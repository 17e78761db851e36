/* Outputs; see output.h. Called before the work that the output is of. */
#include "persist/output.h"

#include <stdint.h>
#include <string.h>

#include "util/file.h"
#include "util/file_kind.h"
#include "util/source.h"
#include "util/status.h"

static const struct {
    const char *name, *what;
} kinds[] = {[MO_OUTPUT_SAFETENSORS] = {"safetensors", MO_WHAT_SAFETENSORS}, [MO_OUTPUT_NPY] = {".npy", MO_WHAT_NPY}};

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
    if (size > 0 && (found == NULL || strcmp(found->what, kinds[kind].what) != 0))
        status = mo_fail(MOCO_ERR_EXISTS, "%s: is there and is %s, which a %s file would replace: wanted another name",
                         path, found != NULL ? found->what : "a file of another kind", kinds[kind].name);
cleanup:
    mo_source_close(file);
    return status;
}
