/* JSON values as text; see json.h. */
#include "util/alloc.h"
#include "util/json.h"
#include "util/status.h"

moco_status_t mo_json_dump(const json_t *value, size_t flags, char **text)
{
    moco_status_t status = MOCO_OK;
    char *made = NULL;
    const size_t size = value != NULL ? json_dumpb(value, NULL, 0, flags) : 0;
    TRY(size > 0 ? mo_calloc(size + 1, 1, &made) : mo_fail(MOCO_ERR_MEMORY, "no memory for a JSON text"));
    if (json_dumpb(value, made, size, flags) != size)
        TRY(mo_fail(MOCO_ERR_MEMORY, "no memory for a JSON text"));
    *text = made;
    made = NULL;
cleanup:
    mo_free(made);
    return status;
}
