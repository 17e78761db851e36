/* JSON objects to the caller's text buffer. */
#include "util/json.h"

#include <stdlib.h>

#include "util/status.h"

moco_status_t mo_json_text(json_t *object, char *text, uint64_t capacity, uint64_t *needed)
{
    char *line = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(object);
    if (line == NULL)
        return mo_fail(MOCO_ERR_MEMORY, "no memory for a JSON text");
    moco_status_t status = mo_text_out(line, text, capacity, needed);
    free(line);
    return status;
}
