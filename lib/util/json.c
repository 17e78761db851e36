/* JSON that calls answer with, and names of files in it. */
#include "util/json.h"

#include <stdlib.h>

#include "util/alloc.h"
#include "util/printable.h"
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

moco_status_t mo_json_answer(json_t *object, const mo_answer_t *answer)
{
    if (object == NULL || answer->capacity > 0 || answer->needed != NULL)
        return mo_json_text(object, answer->text, answer->capacity, answer->needed);
    json_decref(object);
    return MOCO_OK;
}

json_t *mo_json_bytes(const char *name)
{
    char *text = NULL;
    json_t *value = NULL;
    if (mo_is_utf8(name))
        return json_string_nocheck(name);
    if (mo_name_text(name, &text) == MOCO_OK)
        value = json_string_nocheck(text);
    mo_free(text);
    return value;
}
