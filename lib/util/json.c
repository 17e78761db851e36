/* One pass over hostile JSON text for its depth and number of values, then the parser. Called by
 * readers of files. */
#include "util/json.h"

#include <stdio.h>

#include "util/alloc.h"
#include "util/status.h"

/* Where `at` stands after a string that began before it. */
static uint64_t skip_string(const char *text, uint64_t size, uint64_t at)
{
    while (at < size && text[at] != '"')
        at += text[at] == '\\' ? 2 : 1;
    return at + 1;
}

/* NULL, or why the text is refused. Text that is not JSON at all is left to the parser. */
static const char *measure(const char *text, uint64_t size, int depth)
{
    int open = 0;
    uint64_t items = 0;
    for (uint64_t at = 0; at < size;) {
        char c = text[at++];
        if (c == '"')
            at = skip_string(text, size, at);
        open += c == '{' || c == '[';
        open -= c == '}' || c == ']';
        items += c == ',';
        if (open > depth)
            return "nested too deeply";
        if (items > MO_JSON_MAX_ITEMS)
            return "too many values";
    }
    return NULL;
}

moco_status_t mo_json_load(const char *text, uint64_t size, int depth, json_t **out, char reason[MO_JSON_REASON])
{
    json_error_t error;
    const char *refused = measure(text, size, depth);
    if (refused != NULL) {
        snprintf(reason, MO_JSON_REASON, "%s", refused);
        return MOCO_ERR_FORMAT;
    }
    json_t *parsed = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (parsed != NULL) {
        *out = parsed;
        return MOCO_OK;
    }
    /* The parser quotes the text it stumbled over: keep the reason to one line. */
    snprintf(reason, MO_JSON_REASON, "%.*s", MO_JSON_REASON - 1, error.text);
    for (char *c = reason; *c != '\0'; c++)
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    return json_error_code(&error) == json_error_out_of_memory ? MOCO_ERR_MEMORY : MOCO_ERR_FORMAT;
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

json_t *mo_json_bytes(const char *text)
{
    json_t *value = json_string(text);
    char shown[MO_MESSAGE_SIZE];
    if (value != NULL)
        return value;
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < sizeof shown; i++)
        shown[i] = (uint8_t)text[i] >= 0x80 ? '?' : text[i];
    shown[i] = '\0';
    return json_string(shown);
}
