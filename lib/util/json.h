/* JSON as this library uses it. Texts from files may be hostile: their depth and the number of
 * their values are bounded, because a parser's stack and memory follow its input. */
#ifndef MO_UTIL_JSON_H
#define MO_UTIL_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <moco/status.h>

#define MO_JSON_REASON 128
/* Values of a text from a file. A header of the deepest network's training, 49,152 tensors, has
 * 360,000, members of arrays included; 300,000 take some 80 megabytes and two seconds. */
#define MO_JSON_MAX_ITEMS 500000

/* An object or array, in which no key comes twice, with at most `depth` levels of nesting.
 * MOCO_ERR_FORMAT (of the text) or MOCO_ERR_MEMORY (nothing is said of the text) come with a
 * one-line reason for the caller's message. *out is freed with json_decref. */
moco_status_t mo_json_load(const char *text, uint64_t size, int depth, json_t **out, char reason[MO_JSON_REASON]);

/* `value` as text, which mo_free frees; `flags` are those of json_dumps. NULL (no memory while
 * building it) is MOCO_ERR_MEMORY. json_dumps itself is not for us: where memory fails in the midst
 * of a text, it leaves a name out and goes on. Here nothing grows while the text is written. */
moco_status_t mo_json_dump(const json_t *value, size_t flags, char **text);

/* Writes `object` as one line in the text rule of moco_build_info and drops the reference to it;
 * NULL (no memory while building it) is an error. */
moco_status_t mo_json_text(json_t *object, char *text, uint64_t capacity, uint64_t *needed);

/* Where a call's JSON answer goes: the arguments of the text rule. */
typedef struct mo_answer {
    char *text;
    uint64_t capacity, *needed;
} mo_answer_t;

/* mo_json_text for calls whose answer comes beside their work: with neither text nor `needed`
 * nothing is asked for. */
moco_status_t mo_json_answer(json_t *object, const mo_answer_t *answer);

/* File names are bytes, JSON is UTF-8: a name that is not comes as mo_name_text writes it. NULL
 * without memory. */
json_t *mo_json_bytes(const char *name);

#endif
