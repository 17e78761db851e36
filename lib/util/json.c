/* JSON that calls answer with, and names of files in it. */
#include "util/json.h"

#include "util/alloc.h"
#include "util/printable.h"
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

moco_status_t mo_json_text(json_t *object, char *text, uint64_t capacity, uint64_t *needed)
{
    char *line = NULL;
    moco_status_t status = mo_json_dump(object, JSON_COMPACT | JSON_PRESERVE_ORDER, &line);
    json_decref(object);
    if (status == MOCO_OK)
        status = mo_text_out(line, text, capacity, needed);
    mo_free(line);
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
